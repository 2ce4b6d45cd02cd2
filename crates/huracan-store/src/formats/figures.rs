//! Pieces that several documents share: the five figures, a gate's reading, the label.

use serde::{Deserialize, Serialize};

use super::check::{self, Checked};
use super::wire::Span;

/// The five figures by which a model is known; always out of sample and after costs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Annualised Sharpe ratio of daily net returns; `null` when undefined.
    pub sharpe: Option<f64>,
    /// Share of trades with net > 0; `null` without trades.
    pub hit_rate: Option<f64>,
    /// Net result over the window, percent of capital.
    pub net_pnl_pct: f64,
    /// Largest loss from a peak of the net equity curve, percent, positive.
    pub max_drawdown_pct: f64,
    /// Out-of-sample trades.
    pub sample_size: u64,
    /// The out-of-sample window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
}

impl Figures {
    /// Ranges and order.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self, name: &str) -> Checked {
        check::share(&format!("{name}.hit_rate"), self.hit_rate)?;
        check::not_negative(&format!("{name}.max_drawdown_pct"), self.max_drawdown_pct)?;
        check::that(self.sample_size > 0 || self.hit_rate.is_none(), || {
            format!("{name}.hit_rate is {:?} without a trade, expected null", self.hit_rate)
        })?;
        self.window.map_or(Ok(()), |window| window.check(&format!("{name}.window")))
    }

    /// The same figures without their window.
    pub fn without_window(&self) -> Figures {
        Figures { window: None, ..self.clone() }
    }
}

/// What one `trade_ok` gate found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GateReading {
    /// Stable code of the gate, for example `sharpe`.
    pub gate: String,
    /// What was found, in the gate's unit; `null` when undefined (which never passes).
    pub value: Option<f64>,
    /// The limit it was held against; `null` where the gate has none.
    pub limit: Option<f64>,
    /// How the value must compare with the limit: `>`, `>=`, `<`, `<=`; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<String>,
    /// Whether it passed.
    pub passed: bool,
}

/// Holds a verdict against its gates: `trade_ok` needs at least one gate and every gate passed.
///
/// # Errors
/// Which gate contradicts the verdict.
pub fn check_verdict(name: &str, trade_ok: bool, gates: &[GateReading]) -> Checked {
    check::distinct(&format!("{name}.trade_ok_reasons"), gates.iter().map(|g| g.gate.as_str()))?;
    if !trade_ok {
        return Ok(());
    }
    check::that(!gates.is_empty(), || format!("{name} is trade_ok without a gate, expected each gate"))?;
    let failed = gates.iter().find(|g| !g.passed);
    check::that(failed.is_none(), || {
        format!("{name} is trade_ok though the gate {:?} failed", failed.map_or("", |g| &g.gate))
    })
}

/// What a head predicts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Label {
    /// `raw`, `scaled` or `relative`.
    pub kind: String,
    /// Bars from entry to exit.
    pub horizon_bars: u32,
    /// Bars between the score and the entry.
    pub entry_lag_bars: u32,
}

impl Label {
    /// A known kind of a real horizon.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Checked {
        check::named("label.kind", &self.kind)?;
        check::that(self.horizon_bars > 0, || "label.horizon_bars is 0, expected 1 or more".to_owned())
    }
}
