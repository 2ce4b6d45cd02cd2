//! The tape every lane trades on: bar returns (hedged or not, real or sign-flipped), position size,
//! the grid of policies, and what is kept of the trades. What a lane expects is not known here.

use super::Market;
use super::lanes::PLACEBO;
use super::prepare::{Prepared, Signs};
use crate::settings::{BookChoice, Settings};
use huracan_core::costs::CostModel;
use huracan_core::labels::{LabelKind, carried_log_returns};
use huracan_core::regime::Regime;
use huracan_core::series::Series;
use huracan_core::trial::metrics::Trade;
use huracan_core::trial::simulate::{FullLedger, Tape};
use huracan_core::words::{Market as MarketKind, UtcMs};

/// Whether coins are judged against the market.
pub fn hedged(settings: &Settings, market: MarketKind) -> bool {
    match settings.trading.book {
        BookChoice::Outright => false,
        BookChoice::Hedged => market == MarketKind::Perp,
        BookChoice::Auto => market == MarketKind::Perp && settings.label.kind == LabelKind::Relative,
    }
}

/// Entry multiples and exit bands that compete on validation, the most cautious entry last.
pub fn policy_grid(settings: &Settings) -> Vec<(f64, f64)> {
    let bands = &settings.trading.exit_bands;
    let multiples = settings.trading.entry_cost_multiples.iter();
    multiples.flat_map(|&multiple| bands.iter().map(move |&band| (multiple, band))).collect()
}

/// Share of the capital that a position takes: smaller where a day's σ exceeds the target.
pub fn position_size(settings: &Settings, costs: &CostModel) -> f64 {
    let day_sigma_pct = costs.calibration.sigma_day_bps / 100.0;
    (settings.trading.day_sigma_target_pct / day_sigma_pct).min(1.0)
}

/// What one lane did in one fold at one threshold.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FoldRecord {
    /// (days since the test span's first day, net bps), ascending.
    pub daily: Vec<(u32, f64)>,
    /// Closed trades.
    pub trades: Vec<Trade>,
    /// Regime at each trade's decision.
    pub regimes: Vec<Regime>,
    /// Bars with a position.
    pub bars_held: usize,
}

/// Bar returns of one coin as every lane sees them.
pub(in crate::engine) struct CoinTape {
    pub(in crate::engine) outright_bps: Vec<f64>,
    real_bps: Vec<f64>,
    placebo_bps: Vec<Vec<f64>>,
    carry_bps: f64,
    lanes: usize,
}

impl CoinTape {
    pub(in crate::engine) fn new(
        settings: &Settings,
        market: &Market,
        series: &Series,
        signs: &[Signs],
    ) -> CoinTape {
        let hedge = hedged(settings, series.symbol.market());
        let own = carried_log_returns(series);
        let index = market.returns.bar_returns_for(series);
        let flip = settings.placebo_run.map(|seed| Signs::new(seed, settings.timeframe).of(series));
        let sign = |i: usize| flip.as_ref().map_or(1.0, |s| s[i]);
        let outright: Vec<f64> = own.iter().enumerate().map(|(i, r)| sign(i) * 1e4 * r.exp_m1()).collect();
        let real: Vec<f64> = (0..series.len())
            .map(|i| outright[i] - if hedge { sign(i) * 1e4 * index[i] } else { 0.0 })
            .collect();
        let placebo_bps = signs
            .iter()
            .map(|s| s.of(series).iter().zip(&real).map(|(sign, r)| sign * r).collect())
            .collect();
        let funding = if series.symbol.market() == MarketKind::Perp {
            settings.trading.funding_bps_per_8h
        } else {
            0.0
        };
        CoinTape {
            outright_bps: outright,
            real_bps: real,
            placebo_bps,
            carry_bps: funding * settings.timeframe.ms() as f64 / (8 * UtcMs::HOUR) as f64,
            lanes: PLACEBO + signs.len(),
        }
    }

    /// The same from a bar on.
    pub(in crate::engine) fn after(&self, first: usize) -> CoinTape {
        let of = |returns: &Vec<f64>| returns[first.min(returns.len())..].to_vec();
        CoinTape {
            outright_bps: of(&self.outright_bps),
            real_bps: of(&self.real_bps),
            placebo_bps: self.placebo_bps.iter().map(of).collect(),
            ..*self
        }
    }

    pub(in crate::engine) fn view<'a>(
        &'a self,
        lane: usize,
        from: usize,
        to: usize,
        edge: &'a [f64],
        sides: &'a [f64],
        size: f64,
    ) -> Tape<'a> {
        let placebo = (PLACEBO..self.lanes).contains(&lane).then(|| &self.placebo_bps[lane - PLACEBO]);
        Tape {
            edge_bps: edge,
            return_bps: &placebo.unwrap_or(&self.real_bps)[from..to],
            one_side_bps: sides,
            carry_bps: self.carry_bps,
            size,
        }
    }
}

/// What is kept of a lane's fold: net per UTC day since `first_day`, and every trade.
pub(in crate::engine) fn record(
    ledger: &FullLedger,
    prepared: &Prepared,
    regimes: &[Regime],
    lag_bars: usize,
    from: usize,
    first_day: i64,
) -> FoldRecord {
    let series = &prepared.series;
    let mut daily: Vec<(u32, f64)> = Vec::new();
    for &(i, net) in &ledger.bars {
        let day = (series.time(from + i).day() - first_day).max(0) as u32;
        match daily.last_mut() {
            Some((last, sum)) if *last == day => *sum += net,
            _ => daily.push((day, net)),
        }
    }
    let close = |i: usize| UtcMs(series.time(from + i).0 + series.timeframe.ms());
    let trades: Vec<Trade> = ledger
        .trades
        .iter()
        .map(|t| Trade {
            entry: close(t.entry),
            exit: close(t.exit),
            side: t.side,
            gross_bps: t.gross_bps,
            cost_bps: t.cost_bps,
            orders: t.orders,
        })
        .collect();
    let decided = |entry: usize| regimes[(from + entry).saturating_sub(lag_bars)];
    let regimes = ledger.trades.iter().map(|t| decided(t.entry)).collect();
    FoldRecord { daily, trades, regimes, bars_held: ledger.trades.iter().map(|t| t.exit - t.entry).sum() }
}
