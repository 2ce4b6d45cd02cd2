//! What a reader should know about a coin's data although no gate forbids it.

use std::fmt;

use super::table::{Facts, adv_usd};

/// A repair, a cut or an oddity, with a stable code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Stable code.
    pub code: &'static str,
    /// One sentence without a full stop.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Every warning about the coin, in a fixed order.
pub(super) fn of(facts: &Facts<'_>) -> Vec<Warning> {
    let profile = facts.profile;
    let counted = [
        ("unsorted_rows", profile.unsorted_rows, "rows were out of order; sorted"),
        ("duplicates_exact", profile.duplicates_exact, "rows repeat another one; dropped"),
        (
            "duplicates_contradictory",
            profile.duplicates_contradictory,
            "rows contradict an earlier row of the same bar; the first was kept",
        ),
        ("off_grid", profile.off_grid_rows, "rows are off the grid; dropped"),
        ("bad_price_rows", profile.bad_price_rows, "rows have impossible prices or volumes; made missing"),
        ("ohlc_violations", profile.ohlc_violations, "rows have inconsistent OHLC; made missing"),
        ("ohlc_repaired", profile.repaired_rows, "rows had rounding noise in high or low; repaired"),
        ("after_until", profile.rows_after_until, "rows are not complete at the run's end; ignored"),
        ("extreme_wicks", profile.wick_bars, "bars have a wick beyond half or twice the price"),
    ];
    let mut warnings: Vec<Warning> = counted
        .into_iter()
        .filter(|&(_, count, _)| count > 0)
        .map(|(code, count, what)| Warning { code, text: format!("{count} {what}") })
        .collect();
    if let Some(cut) = profile.cut {
        let text = format!(
            "history before {} was cut ({} bars): relisted or redenominated there (log-return {:.2})",
            cut.at, cut.bars, cut.log_return
        );
        warnings.push(Warning { code: "history_cut", text });
    }
    if profile.adv_quote.is_some() && adv_usd(profile).is_none() {
        let text = "the quote is not a dollar, so the daily volume was not judged".to_owned();
        warnings.push(Warning { code: "volume_not_in_usd", text });
    }
    let notes = profile.notes.iter().filter(|note| !note.untrustworthy);
    warnings.extend(notes.map(|note| Warning { code: note.code, text: note.text.clone() }));
    warnings
}
