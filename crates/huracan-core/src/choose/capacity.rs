//! Capacity: the order size at which a round trip no longer earns anything.
//!
//! Under the square-root law slippage grows with √Q and everything else does not, so the size at
//! which the expected edge is gone has a closed form. What the trip costs comes from
//! [`CostModel::round_trip_bps`] itself: at capacity that function leaves exactly nothing.

use crate::costs::CostModel;

/// Largest order as a share of a day's median volume: by judgement; beyond it one order is no
/// longer small and the square-root law, measured on small ones, says nothing.
pub const ADV_SHARE_MAX: f64 = 0.01;

/// The circumstances of a round trip, as in [`CostModel::round_trip_bps`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// σ now over mean σ; not known (NaN, ≤ 0) counts as 1.
    pub sigma_ratio: f64,
    /// How long the position is held, milliseconds.
    pub hold_ms: i64,
    /// What the held side pays for eight hours, bps; negative when it is paid.
    pub funding_bps_per_8h: f64,
    /// What else the trip costs whatever its size, bps, such as the hedge's round trip.
    pub other_bps: f64,
}

impl Default for Trip {
    /// Mean volatility, nothing held, no hedge.
    fn default() -> Trip {
        Trip { sigma_ratio: 1.0, hold_ms: 0, funding_bps_per_8h: 0.0, other_bps: 0.0 }
    }
}

/// How large an order may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Where the expected net edge is zero, USD; 0 when there is none at any size.
    pub zero_edge_usd: f64,
    /// The most one order may be of a day's volume, USD.
    pub adv_limit_usd: f64,
}

impl Capacity {
    /// The smaller of the two, USD.
    pub fn usd(&self) -> f64 {
        self.zero_edge_usd.min(self.adv_limit_usd)
    }

    /// Whether the volume binds and not the edge.
    pub fn is_limited_by_volume(&self) -> bool {
        self.adv_limit_usd < self.zero_edge_usd
    }
}

/// Capacity of an expected gross edge a trade, in bps, at no more than `adv_share_max` of a day's
/// volume: `Q_ref · ((gross − 2·fee − spread − funding − other) / (2·slip(Q_ref)))²`.
///
/// `None` when it cannot be known: a value that is not finite, slippage or reference order not
/// above zero, a negative volume or share.
pub fn capacity(gross_edge_bps: f64, costs: &CostModel, trip: &Trip, adv_share_max: f64) -> Option<Capacity> {
    let reference = costs.reference_order_usd;
    let slippage = 2.0 * costs.slippage_bps(reference, trip.sigma_ratio);
    let all = costs.round_trip_bps(reference, trip.sigma_ratio, trip.hold_ms, trip.funding_bps_per_8h);
    let left = gross_edge_bps - trip.other_bps - (all - slippage);
    let adv_limit_usd = adv_share_max * costs.adv_usd;
    let positive = slippage > 0.0 && reference > 0.0 && adv_limit_usd >= 0.0;
    if !(positive && left.is_finite() && adv_limit_usd.is_finite()) {
        return None;
    }
    let zero_edge_usd = reference * (left.max(0.0) / slippage).powi(2);
    zero_edge_usd.is_finite().then_some(Capacity { zero_edge_usd, adv_limit_usd })
}

/// [`capacity`] as one number, USD, at no more than [`ADV_SHARE_MAX`] of a day's volume.
pub fn capacity_usd(gross_edge_bps: f64, costs: &CostModel, trip: &Trip) -> Option<f64> {
    capacity(gross_edge_bps, costs, trip, ADV_SHARE_MAX).map(|found| found.usd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::costs::slippage::CostSource;
    use crate::costs::spread::{SpreadEstimate, SpreadEstimator};
    use crate::costs::{Calibration, FeeSchedule};
    use crate::words::{Market, Seed, UtcMs};
    use rand::RngExt;

    fn model(slippage_bps: f64, adv_usd: f64) -> CostModel {
        CostModel {
            taker_fee_bps: FeeSchedule::default().of(Market::Perp).taker_bps,
            maker_fee_bps: 2.0,
            spread_bps: 1.5,
            slippage_bps_per_sigma: slippage_bps,
            reference_order_usd: 1_000.0,
            sigma_bar_bps: 80.0,
            tick_size: None,
            step_size: None,
            min_notional: None,
            adv_usd,
            fitted_at: UtcMs(0),
            expires_at: UtcMs(UtcMs::DAY),
            calibration: Calibration {
                source: CostSource::Candles,
                lookback_days: 30.0,
                n: 700,
                intercept_bps: None,
                slope: None,
                std_error: None,
                r2: None,
                clamped: false,
                slippage_prior_bps: slippage_bps,
                sigma_day_bps: 400.0,
                spread_estimator: SpreadEstimator::Quoted,
                spread: SpreadEstimate {
                    median_bps: 1.5,
                    estimator: SpreadEstimator::Quoted,
                    interval_bps: None,
                    valid_days: 30,
                    positive_days: 30,
                    open_is_previous_close: None,
                    tick_bps: None,
                    edge_bps: None,
                    close_high_low_bps: None,
                    corwin_schultz_bps: None,
                    abdi_ranaldo_bps: None,
                    roll_bps: None,
                },
            },
        }
    }

    #[test]
    fn at_capacity_the_cost_function_leaves_nothing() {
        let mut rng = Seed(4).rng();
        let mut positive = 0;
        for _ in 0..500 {
            let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
            let costs = model(between(0.01, 5.0), 1e9);
            let trip = Trip {
                sigma_ratio: between(0.2, 4.0),
                hold_ms: (between(0.0, 48.0) * UtcMs::HOUR as f64) as i64,
                funding_bps_per_8h: between(-2.0, 2.0),
                other_bps: between(0.0, 12.0),
            };
            let gross = between(0.0, 120.0);
            let found = capacity(gross, &costs, &trip, 1.0).unwrap();
            let net = |usd: f64| {
                let trip_bps =
                    costs.round_trip_bps(usd, trip.sigma_ratio, trip.hold_ms, trip.funding_bps_per_8h);
                gross - trip.other_bps - trip_bps
            };
            if found.zero_edge_usd == 0.0 {
                assert!(net(1e-6) < 1e-3);
                continue;
            }
            positive += 1;
            let size = found.zero_edge_usd;
            assert!(net(size).abs() < 1e-9, "{}", net(size));
            assert!(net(0.9 * size) > 0.0 && net(1.1 * size) < 0.0);
        }
        assert!(positive > 300);
    }

    #[test]
    fn more_edge_is_more_room_and_storms_funding_and_hedges_take_it() {
        let costs = model(0.5, 1e9);
        let size = |gross: f64, trip: Trip| capacity(gross, &costs, &trip, 1.0).unwrap().zero_edge_usd;
        let calm = size(30.0, Trip::default());
        assert!(size(40.0, Trip::default()) > calm);
        assert!((size(30.0, Trip { sigma_ratio: 2.0, ..Trip::default() }) / calm - 0.25).abs() < 1e-12);
        let funded = Trip { hold_ms: UtcMs::DAY, funding_bps_per_8h: 1.0, ..Trip::default() };
        assert_eq!(size(30.0, funded), size(30.0, Trip { other_bps: 3.0, ..Trip::default() }));
        assert!(size(30.0, funded) < calm);
        assert_eq!(size(30.0, Trip { sigma_ratio: f64::NAN, ..Trip::default() }), calm);
        assert_eq!(size(11.5, Trip::default()), 0.0);
        assert_eq!(size(-50.0, Trip::default()), 0.0);
    }

    #[test]
    fn volume_binds_where_the_edge_does_not() {
        let costs = model(0.5, 2e6);
        let found = capacity(100.0, &costs, &Trip::default(), ADV_SHARE_MAX).unwrap();
        assert!(found.is_limited_by_volume() && found.zero_edge_usd > 2e6);
        assert_eq!((found.usd(), found.adv_limit_usd), (2e4, 2e4));
        assert_eq!(capacity_usd(100.0, &costs, &Trip::default()), Some(2e4));
        let thin = capacity(12.0, &costs, &Trip::default(), ADV_SHARE_MAX).unwrap();
        assert!(!thin.is_limited_by_volume() && thin.usd() == thin.zero_edge_usd);
    }

    #[test]
    fn what_is_not_known_has_no_capacity() {
        let size = |gross: f64, slippage: f64, adv: f64| {
            capacity_usd(gross, &model(slippage, adv), &Trip::default())
        };
        for (gross, slippage, adv) in [
            (f64::NAN, 0.5, 1e6),
            (f64::INFINITY, 0.5, 1e6),
            (20.0, 0.0, 1e6),
            (20.0, f64::NAN, 1e6),
            (20.0, 0.5, f64::NAN),
            (20.0, 0.5, -1.0),
        ] {
            assert_eq!(size(gross, slippage, adv), None, "{gross} {slippage} {adv}");
        }
    }
}
