//! The numbers the gates compare with; the only place that holds them.

/// Limits of the gates. The defaults are the house's (`METHOD.md`, "Bars, gates"); those marked
/// as a judgement were chosen on 800 real series.
#[derive(Clone, Debug, PartialEq)]
pub struct GateLimits {
    /// Least history to train, days.
    pub history_days_min: f64,
    /// Least history to be ranked and traded, days: 60 to train and 85 out of sample.
    pub trade_history_days_min: f64,
    /// Least present share of the expected bars, 0..1.
    pub coverage_min: f64,
    /// Longest missing run, hours.
    pub missing_run_hours_max: f64,
    /// Largest share of bars without volume in the last 30 days, 0..1.
    pub zero_volume_share_max: f64,
    /// Largest share of bars with high = low in the last 30 days, 0..1.
    pub flat_share_max: f64,
    /// Least median daily quote volume of the last 30 days, USD.
    pub adv_usd_min: f64,
    /// Largest median spread to train, bps.
    pub spread_bps_max: f64,
    /// Largest median spread to trade, bps.
    pub trade_spread_bps_max: f64,
    /// Largest share of rows dropped for bad prices or inconsistent OHLC, 0..1 (a judgement).
    pub bad_rows_share_max: f64,
    /// Largest share of bars with a wick beyond a factor of two, 0..1 (a judgement).
    pub wick_share_max: f64,
    /// Largest |log-return| across a missing run that is no relisting.
    pub gap_log_return_max: f64,
    /// Least standard deviation of closes over their mean.
    pub close_variation_min: f64,
    /// Least realised volatility of the last 30 days, annualised percent.
    pub realised_vol_pct_min: f64,
    /// Most bars between the last bar's end and the run's end.
    pub stale_bars_max: i64,
    /// Longest stretch at the end without volume or movement, hours (a judgement).
    pub dead_tail_hours_max: f64,
    /// Largest share of rows off the grid before the source is of another bar, 0..1 (a judgement).
    pub off_grid_share_max: f64,
    /// Largest share of rows that contradict another row of the same bar before two sources must
    /// be mixed under one name, 0..1 (a judgement).
    pub contradictory_share_max: f64,
}

impl Default for GateLimits {
    fn default() -> GateLimits {
        GateLimits {
            history_days_min: 60.0,
            trade_history_days_min: 145.0,
            coverage_min: 0.95,
            missing_run_hours_max: 24.0,
            zero_volume_share_max: 0.05,
            flat_share_max: 0.10,
            adv_usd_min: 1_000_000.0,
            spread_bps_max: 50.0,
            trade_spread_bps_max: 25.0,
            bad_rows_share_max: 0.001,
            wick_share_max: 0.02,
            gap_log_return_max: 1.5,
            close_variation_min: 0.001,
            realised_vol_pct_min: 5.0,
            stale_bars_max: 3,
            dead_tail_hours_max: 24.0,
            off_grid_share_max: 0.01,
            contradictory_share_max: 0.01,
        }
    }
}
