//! How a champion came to its place: what the rule must know so that coins do not flip to and fro, and
//! so that looking every night does not promote by luck.

use crate::stats::distributions::normal_quantile;

/// The part of a coin's history that makes the rule stricter. Choices are what evidence or a person
/// decided: promotions by the rule, challenges won, rollbacks. A first champion and one that came
/// because the one before was past its age or broken are no choices.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tenure {
    /// Days since the champion in force was chosen; negative for one chosen after the end of the
    /// data, `None` for one that nobody chose.
    pub days_since_chosen: Option<f64>,
    /// Days since the champion in force took its place: over so many nights it has been challenged.
    pub days_watched: f64,
    /// Choices of this coin in the rule's window before the end of the data, those after it included.
    pub choices_lately: usize,
}

/// The rate to ask of one night so that, over all nights since the champion took its place, a false
/// promotion is no likelier than `rate`.
///
/// Each night looks at the last `window_days`; a day later the look is almost the same one. For a standardised
/// mean over a sliding window the chance of ever exceeding the level u is about `(1 + T/w · u²) · P(Z > u)`
/// (Pickands 1969, with triangular correlation), T days of watching, w of window.
pub fn rate_of_one_night(rate: f64, days_watched: f64, window_days: f64) -> f64 {
    if !(days_watched > 0.0 && window_days > 0.0 && rate > 0.0 && rate < 0.5) {
        return rate;
    }
    let mut one = rate;
    for _ in 0..50 {
        let u = -normal_quantile(one);
        one = rate / (1.0 + days_watched / window_days * u * u);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Seed;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn many_nights_together_promise_what_one_does() {
        // Null differences, a window of 100 days, a look every night for 200 nights.
        let (window, nights, rate, runs) = (100, 200, 0.10, 1500);
        let one = rate_of_one_night(rate, nights as f64, window as f64);
        let level = |r: f64| -normal_quantile(r) * (window as f64).sqrt();
        let (mut naive, mut held) = (0, 0);
        for run in 0..runs {
            let mut rng = Seed(run).rng();
            let days: Vec<f64> = (0..window + nights).map(|_| StandardNormal.sample(&mut rng)).collect();
            let mut sum: f64 = days[..window].iter().sum();
            let mut highest = sum;
            for d in window..days.len() {
                sum += days[d] - days[d - window];
                highest = highest.max(sum);
            }
            naive += usize::from(highest > level(rate));
            held += usize::from(highest > level(one));
        }
        let share = |n: usize| n as f64 / runs as f64;
        assert!(share(naive) > 0.3, "{}", share(naive));
        assert!(share(held) < rate + 0.02 && share(held) > 0.02, "{} at {one}", share(held));
    }

    #[test]
    fn the_first_night_is_asked_nothing_more() {
        assert_eq!(rate_of_one_night(0.1, 0.0, 150.0), 0.1);
        let later = rate_of_one_night(0.1, 30.0, 150.0);
        assert!(later < 0.1 && later > 0.04 && rate_of_one_night(0.1, 300.0, 150.0) < later, "{later}");
    }
}
