//! How a champion came to its place: what the rule must know so that coins do not flip to and fro.

/// The part of a coin's history that makes the rule stricter. Choices are what evidence or a person
/// decided: promotions by the rule, challenges won, rollbacks. A first champion and one that came
/// because the one before was past its age or broken are no choices.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tenure {
    /// Days since the champion in force was chosen; negative for one chosen after the end of the
    /// data, `None` for one that nobody chose.
    pub days_since_chosen: Option<f64>,
    /// Choices of this coin in the rule's window before the end of the data, those after it included.
    pub choices_lately: usize,
}
