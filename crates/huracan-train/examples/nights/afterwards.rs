//! What frozen heads did after their night: every head of every night traded to the end of the data,
//! on the same bars, at the same costs (calibrated anew at each night), at the same size.

use super::Night;
use huracan_core::costs::{CostModel, calibrate};
use huracan_core::features::{self, FEATURES, FeatureMatrix};
use huracan_core::labels::{carried_log_returns, ewma_sigma};
use huracan_core::series::Series;
use huracan_core::trial::simulate::{FullLedger, Policy, Tape, simulate};
use huracan_core::words::UtcMs;
use huracan_train::engine::tape::position_size;
use huracan_train::engine::{Engine, EngineError, Market, market, survey};
use huracan_train::source::CandleSource;
use std::collections::BTreeMap;

/// Net bps a day of every head after its night.
pub struct Traded {
    /// Per night and coin: net by day since `first_day`.
    net: Vec<BTreeMap<String, Vec<f64>>>,
    first_day: i64,
    /// The day after the last.
    pub end_day: i64,
}

impl Traded {
    /// Net of a night's head on a day; `None` where the coin could not be traded afterwards.
    pub fn net(&self, night: usize, symbol: &str, day: i64) -> Option<f64> {
        let days = self.net.get(night)?.get(symbol)?;
        days.get(usize::try_from(day - self.first_day).ok()?).copied()
    }
}

/// Trades every head.
///
/// # Errors
/// As the Engine's first two passes.
pub fn trade(
    engine: &Engine<'_>,
    source: &dyn CandleSource,
    nights: &[Night],
) -> Result<Traded, EngineError> {
    let survey = survey::survey(engine, source)?;
    let market = market(engine, &survey)?;
    let first_day = nights.first().map_or(0, |night| night.until.day());
    let end_day = survey.until.day();
    let mut columns: Vec<usize> = Vec::new();
    for (i, feature) in FEATURES.iter().enumerate() {
        if nights.iter().any(|night| night.feature_names.iter().any(|name| *name == feature.name)) {
            columns.push(i);
        }
    }
    let mut traded = Traded { net: nights.iter().map(|_| BTreeMap::new()).collect(), first_day, end_day };
    for coin in survey.coins.iter().chain(&survey.bystanders) {
        let symbol = coin.symbol.to_string();
        let series = coin.series(engine.scratch)?;
        let Some(road) = Road::new(engine, &market, &series, nights) else { continue };
        let x = features::matrix(&series, &market.context, &columns);
        for (k, night) in nights.iter().enumerate() {
            let Some(candidate) = night.candidates.get(&symbol) else { continue };
            let from = series.index_at_or_after(night.until);
            let edge = edges(engine, night, candidate, &x, &columns, &series, &road.sigma, from);
            let mut days = vec![0.0; (end_day - first_day).max(0) as usize];
            for (i, net) in road.drive(engine, night, &edge, from) {
                if let Some(day) = days.get_mut((series.time(i).day() - first_day).max(0) as usize) {
                    *day += net;
                }
            }
            traded.net[k].insert(symbol.clone(), days);
        }
    }
    Ok(traded)
}

/// Expected edges of a frozen head, bps, of the rows from `from` on.
fn edges(
    engine: &Engine<'_>,
    night: &Night,
    candidate: &super::Candidate,
    x: &FeatureMatrix,
    columns: &[usize],
    series: &Series,
    sigma: &[f64],
    from: usize,
) -> Vec<f64> {
    let p = night.feature_names.len() - 1;
    let at: Vec<Option<usize>> = night.feature_names[..p]
        .iter()
        .map(|name| columns.iter().position(|&i| FEATURES[i].name == name))
        .collect();
    let weight = |j: usize| {
        let deviation = night.deviation[j];
        if deviation > 0.0 { candidate.weights[j] / deviation } else { 0.0 }
    };
    let weights: Vec<f64> = (0..=p).map(weight).collect();
    let intercept: f64 = -(0..=p).map(|j| weights[j] * candidate.mean[j]).sum::<f64>();
    let root = (engine.settings.label.horizon_bars as f64).sqrt();
    (from..series.len())
        .map(|i| {
            let (mut score, mut missing) = (intercept, 0.0);
            for j in 0..p {
                let value = at[j].map_or(f64::NAN, |column| x.column(column)[i]);
                missing += f64::from(u8::from(value.is_nan()));
                score += weights[j] * candidate.scaler.apply(j, value);
            }
            let share = 2.0 * missing / p as f64 - 1.0;
            score += weights[p] * share;
            if series.close[i].is_nan() || share >= 0.0 { f64::NAN } else { 1e4 * score * sigma[i] * root }
        })
        .collect()
}

/// What every head of a coin trades on.
struct Road {
    returns_bps: Vec<f64>,
    one_side_bps: Vec<f64>,
    sigma: Vec<f64>,
    size: f64,
}

impl Road {
    /// `None` where costs are not known at some night.
    fn new(engine: &Engine<'_>, market: &Market, series: &Series, nights: &[Night]) -> Option<Road> {
        let settings = engine.settings;
        let cost = |series: &Series, night: &Night| -> Option<CostModel> {
            calibrate(series, series.index_at_or_after(night.until), &settings.fees, &settings.costs)
        };
        let order = settings.costs.reference_order_usd;
        let sigma = ewma_sigma(series, settings.label.sigma_half_life_bars);
        let mut one_side_bps = vec![f64::NAN; series.len()];
        let mut size = None;
        for (k, night) in nights.iter().enumerate() {
            let Some(model) = cost(series, night) else { continue };
            size = size.or_else(|| Some(position_size(settings, &model)));
            let hedge = market.bitcoin.as_ref().and_then(|bitcoin| cost(bitcoin, night));
            let hedge = hedge.map_or(5.0, |model| model.one_side_bps(order, 1.0));
            let until = nights.get(k + 1).map_or(series.len(), |next| series.index_at_or_after(next.until));
            for i in series.index_at_or_after(night.until)..until {
                let tradable = !series.close[i].is_nan() && sigma[i].is_finite();
                let side = model.one_side_bps(order, 1e4 * sigma[i] / model.sigma_bar_bps) + hedge;
                one_side_bps[i] = if tradable { side } else { f64::NAN };
            }
        }
        let own = carried_log_returns(series);
        let index = market.returns.bar_returns_for(series);
        let returns_bps = own.iter().zip(&index).map(|(r, m)| 1e4 * (r.exp_m1() - m)).collect();
        size.map(|size| Road { returns_bps, one_side_bps, sigma, size })
    }

    /// Net bps by row of the series.
    fn drive(&self, engine: &Engine<'_>, night: &Night, edge: &[f64], from: usize) -> Vec<(usize, f64)> {
        let settings = engine.settings;
        let bar_ms = settings.timeframe.ms() as f64;
        let tape = Tape {
            edge_bps: edge,
            return_bps: &self.returns_bps[from..],
            one_side_bps: &self.one_side_bps[from..],
            carry_bps: settings.trading.funding_bps_per_8h * bar_ms / (8 * UtcMs::HOUR) as f64,
            size: self.size,
        };
        let policy = Policy {
            entry_cost_multiple: night.policy.0,
            exit_band: night.policy.1,
            horizon_bars: settings.label.horizon_bars,
            lag_bars: settings.label.entry_lag_bars,
            shorts: true,
        };
        let mut ledger = FullLedger::default();
        simulate(&tape, &policy, &mut ledger);
        ledger.bars.into_iter().map(|(i, net)| (from + i, net)).collect()
    }
}
