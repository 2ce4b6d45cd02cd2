//! `runtime/overrides.json`: what the operator asked for while Hamilton runs.

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::{Coin, Time};

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Overrides {
    /// How many coins to trade.
    pub trade_n: u64,
    /// Trade only these; empty means any.
    pub user_allowlist: Vec<Coin>,
    /// Never trade these; beats the allowlist.
    pub user_blocklist: Vec<Coin>,
    /// Open nothing.
    pub paused: bool,
    /// Pretend or trade.
    pub mode: Mode,
    /// 1 for the first, one more with every change.
    pub revision: u64,
    /// When it was last changed.
    pub updated_at: Time,
    /// By whom.
    pub updated_by: String,
}

/// Whether orders are real.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Orders are simulated.
    Shadow,
    /// Orders are real.
    Live,
}

impl Document for Overrides {
    const NAME: &'static str = "overrides";

    fn check(&self) -> Checked {
        for (name, list) in
            [("user_allowlist", &self.user_allowlist), ("user_blocklist", &self.user_blocklist)]
        {
            let names: Vec<String> = list.iter().map(Coin::to_string).collect();
            check::distinct(name, names.iter().map(String::as_str))?;
        }
        check::named("updated_by", &self.updated_by)
    }
}
