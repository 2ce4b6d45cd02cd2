//! `trade_ok`: the product's five gates, and what keeps luck from passing them.
//!
//! The five gates alone pass noise. So a coin must also be significant among all coins of its run
//! (Benjamini & Hochberg 1995 on one-sided HAC p-values), in a run whose whole universe beats every
//! sign-flip placebo, on fresh data, with tradable spread.

/// Limits of the gates; the defaults are the product's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TradeGates {
    /// Net profit over the out-of-sample window must exceed this, percent of capital.
    pub net_pnl_pct_min: f64,
    /// Trades must exceed this …
    pub sample_size_min: usize,
    /// … or, for horizons of a day and longer, reach this …
    pub long_horizon_trades_min: usize,
    /// … on at least this many active days.
    pub long_horizon_active_days_min: usize,
    /// Annualised daily Sharpe must exceed this.
    pub sharpe_min: f64,
    /// Share of winning trades must exceed this, 0..1.
    pub hit_rate_min: f64,
    /// Drawdown must stay below this, percent.
    pub max_drawdown_pct_max: f64,
    /// False-discovery rate allowed over the run's coins.
    pub false_discovery_rate: f64,
    /// Out-of-sample days needed to be ranked at all.
    pub oos_days_min: f64,
}

impl Default for TradeGates {
    fn default() -> Self {
        TradeGates {
            net_pnl_pct_min: 0.0,
            sample_size_min: 100,
            long_horizon_trades_min: 30,
            long_horizon_active_days_min: 60,
            sharpe_min: 0.5,
            hit_rate_min: 0.45,
            max_drawdown_pct_max: 20.0,
            false_discovery_rate: 0.10,
            oos_days_min: 85.0,
        }
    }
}

/// What is known of one coin when it is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Net profit over the out-of-sample window, percent of capital.
    pub net_pnl_pct: f64,
    /// Out-of-sample trades.
    pub sample_size: usize,
    /// Days with a position.
    pub active_days: usize,
    /// Annualised Sharpe of daily net returns.
    pub sharpe: Option<f64>,
    /// Share of winning trades.
    pub hit_rate: Option<f64>,
    /// Maximum drawdown, percent.
    pub max_drawdown_pct: f64,
    /// Out-of-sample days the coin was judged on.
    pub oos_days: f64,
    /// Whether the label's horizon is a day or longer.
    pub long_horizon: bool,
    /// Benjamini–Hochberg adjusted one-sided p of the coin's daily net returns among the run's coins.
    pub q_value: Option<f64>,
    /// Net profit of the run's whole universe, percent of capital, mean over coins.
    pub universe_net_pct: f64,
    /// The best of the run's sign-flip placebos, in the same unit; `None` when none was run.
    pub best_placebo_net_pct: Option<f64>,
    /// Number of data gates for trading that failed (spread, staleness, …).
    pub data_gates_failed: usize,
}

/// One gate's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct GateAnswer {
    /// Stable name of the gate.
    pub gate: &'static str,
    /// What was found; `None` when undefined (which fails).
    pub value: Option<f64>,
    /// What was asked.
    pub limit: Option<f64>,
    /// How value and limit are compared, for people: `>`, `<`, `>=`, `<=`.
    pub comparison: &'static str,
    /// The verdict.
    pub passed: bool,
}

/// The names of the product's own five gates.
pub const PRODUCT_GATES: [&str; 5] = ["net_pnl_pct", "sample_size", "sharpe", "hit_rate", "max_drawdown_pct"];

/// Every gate's answer, the product's five first.
pub fn judge(evidence: &Evidence, gates: &TradeGates) -> Vec<GateAnswer> {
    let above = |gate, value: Option<f64>, limit: f64| GateAnswer {
        gate,
        value,
        limit: Some(limit),
        comparison: ">",
        passed: value.is_some_and(|v| v > limit),
    };
    let at_least = |gate, value: f64, limit: f64| GateAnswer {
        gate,
        value: Some(value),
        limit: Some(limit),
        comparison: ">=",
        passed: value >= limit,
    };
    let below = |gate, value: Option<f64>, limit: f64| GateAnswer {
        gate,
        value,
        limit: Some(limit),
        comparison: "<",
        passed: value.is_some_and(|v| v < limit),
    };
    let e = evidence;
    let trades = e.sample_size as f64;
    let few_but_long = e.long_horizon
        && e.sample_size >= gates.long_horizon_trades_min
        && e.active_days >= gates.long_horizon_active_days_min;
    let mut sample = above("sample_size", Some(trades), gates.sample_size_min as f64);
    if !sample.passed && e.long_horizon {
        sample = at_least("sample_size", trades, gates.long_horizon_trades_min as f64);
        sample.passed = few_but_long;
    }
    let mut answers = vec![
        above("net_pnl_pct", Some(e.net_pnl_pct), gates.net_pnl_pct_min),
        sample,
        above("sharpe", e.sharpe, gates.sharpe_min),
        above("hit_rate", e.hit_rate, gates.hit_rate_min),
        below("max_drawdown_pct", Some(e.max_drawdown_pct), gates.max_drawdown_pct_max),
    ];
    if e.long_horizon {
        let needed = gates.long_horizon_active_days_min as f64;
        let mut active = at_least("active_days", e.active_days as f64, needed);
        active.passed |= e.sample_size > gates.sample_size_min;
        answers.push(active);
    }
    answers.push(at_least("oos_days", e.oos_days, gates.oos_days_min));
    let mut significance = below("significance_q", e.q_value, gates.false_discovery_rate);
    significance.comparison = "<=";
    significance.passed = e.q_value.is_some_and(|q| q <= gates.false_discovery_rate);
    answers.push(significance);
    answers.push(GateAnswer {
        gate: "universe_beats_placebos",
        value: Some(e.universe_net_pct),
        limit: e.best_placebo_net_pct,
        comparison: ">",
        passed: e.best_placebo_net_pct.is_some_and(|best| e.universe_net_pct > best),
    });
    let failed = e.data_gates_failed as f64;
    let mut data = below("data_gates_failed", Some(failed), 0.0);
    data.comparison = "<=";
    data.passed = e.data_gates_failed == 0;
    answers.push(data);
    answers
}

/// Whether every gate passed.
pub fn trade_ok(answers: &[GateAnswer]) -> bool {
    answers.iter().all(|a| a.passed)
}

/// Whether the product's five gates passed, whatever the others say.
pub fn product_gates_ok(answers: &[GateAnswer]) -> bool {
    answers.iter().filter(|a| PRODUCT_GATES.contains(&a.gate)).all(|a| a.passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Evidence = Evidence {
        net_pnl_pct: 12.0,
        sample_size: 120,
        active_days: 90,
        sharpe: Some(1.4),
        hit_rate: Some(0.53),
        max_drawdown_pct: 6.0,
        oos_days: 150.0,
        long_horizon: true,
        q_value: Some(0.02),
        universe_net_pct: 0.5,
        best_placebo_net_pct: Some(0.1),
        data_gates_failed: 0,
    };

    #[test]
    fn each_gate_stops_on_its_own_figure_and_a_good_coin_passes() {
        let failing = |evidence: Evidence| -> Vec<&'static str> {
            let answers = judge(&evidence, &TradeGates::default());
            answers.iter().filter(|a| !a.passed).map(|a| a.gate).collect()
        };
        assert!(failing(GOOD).is_empty());
        assert_eq!(failing(Evidence { net_pnl_pct: 0.0, ..GOOD }), ["net_pnl_pct"]);
        assert_eq!(failing(Evidence { sharpe: None, ..GOOD }), ["sharpe"]);
        assert_eq!(failing(Evidence { hit_rate: Some(0.45), ..GOOD }), ["hit_rate"]);
        assert_eq!(failing(Evidence { max_drawdown_pct: 20.0, ..GOOD }), ["max_drawdown_pct"]);
        assert_eq!(failing(Evidence { q_value: Some(0.11), ..GOOD }), ["significance_q"]);
        assert_eq!(failing(Evidence { q_value: None, ..GOOD }), ["significance_q"]);
        assert_eq!(
            failing(Evidence { best_placebo_net_pct: Some(0.5), ..GOOD }),
            ["universe_beats_placebos"]
        );
        assert_eq!(failing(Evidence { best_placebo_net_pct: None, ..GOOD }), ["universe_beats_placebos"]);
        assert_eq!(failing(Evidence { data_gates_failed: 1, ..GOOD }), ["data_gates_failed"]);
        assert_eq!(failing(Evidence { oos_days: 84.0, ..GOOD }), ["oos_days"]);
    }

    #[test]
    fn long_horizons_may_have_fewer_trades_if_they_are_active_long_enough() {
        let sample = |evidence: Evidence| judge(&evidence, &TradeGates::default())[1].passed;
        assert!(sample(Evidence { sample_size: 30, active_days: 60, ..GOOD }));
        assert!(!sample(Evidence { sample_size: 29, active_days: 90, ..GOOD }));
        assert!(!sample(Evidence { sample_size: 50, active_days: 59, ..GOOD }));
        assert!(!sample(Evidence { sample_size: 100, long_horizon: false, ..GOOD }));
    }
}
