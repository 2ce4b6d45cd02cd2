//! Canaries as a source of candles: twins of the run's own coins, told when they are asked for.

use super::{DONORS_MIN, EDGE_IN_ROUND_TRIPS_MIN, Kind, LABELS_MIN, NOISE, NotMade, PLANTED};
use crate::engine::Engine;
use crate::engine::survey::{Coin, Survey};
use crate::engine::tape::hedged;
use crate::pool::run_ordered;
use crate::scratch::{Scratch, ScratchError};
use crate::settings::Settings;
use crate::source::{CandleSource, Entry, LoadFailure, Loaded};
use huracan_core::labels::Grid;
use huracan_core::series::{Bars, Series};
use huracan_core::stats::quantiles::median;
use huracan_core::synth::{TwinSigns, noise_twin, planted_drifts, planted_twin, twin_returns};
use huracan_core::trial::plan::Plan;
use huracan_core::words::{Seed, Symbol, UtcMs};

/// One canary, or a twin that only leads the market.
struct Twin<'a> {
    symbol: Symbol,
    kind: Option<Kind>,
    donor: &'a Coin,
    stream: u64,
    /// Which of the drifts it has.
    drift: Option<usize>,
}

/// The canaries of a run, with twins of Bitcoin and Ether where the run has them: those lead this
/// market as they lead the real one, and are judged by nobody.
pub struct CanarySource<'a> {
    scratch: &'a Scratch,
    seed: Seed,
    grid: Grid,
    twins: Vec<Twin<'a>>,
    entries: Vec<Entry>,
    edges: Edges,
}

/// What is added to the signed returns, log return per bar of the grid.
struct Edges {
    /// Of each planted coin.
    drifts: Vec<Vec<f64>>,
    /// Of every twin: minus the twins' mean where the run's book is outright, because next to the
    /// market's own moves no edge of this size could be seen in half a year; nothing where it is hedged.
    common: Option<Vec<f64>>,
}

impl<'a> CanarySource<'a> {
    /// Chooses the coins by a hash of seed and name, and plants the edges. Reads every donor once.
    ///
    /// # Errors
    /// [`NotMade`] when too few coins have a full history, the scratch disk fails, or on a stop.
    pub fn new(engine: &Engine<'a>, survey: &'a Survey) -> Result<CanarySource<'a>, NotMade> {
        let settings = engine.settings;
        let seed = settings.seed.child("canaries", 0);
        let donors = donors(settings, survey, seed)?;
        let mut twins = Vec::with_capacity(NOISE + PLANTED + 2);
        for k in 0..NOISE + PLANTED {
            let kind = if k < NOISE { Kind::Noise } else { Kind::Planted };
            let donor = donors[k % donors.len()];
            let place = if k < NOISE { k } else { k - NOISE };
            let quote = donor.symbol.quote().unwrap_or("USDT");
            let name = format!("{}{place:02}{quote}", kind.code().to_ascii_uppercase());
            let symbol = Symbol::parse(&name, donor.symbol.market())
                .map_err(|error| NotMade::Few(error.to_string()))?;
            let stream = (k / donors.len()) as u64;
            twins.push(Twin { symbol, kind: Some(kind), donor, stream, drift: None });
        }
        for (n, twin) in twins.iter_mut().filter(|t| t.kind == Some(Kind::Planted)).enumerate() {
            twin.drift = Some(n);
        }
        twins.extend(leaders(survey).map(|donor| Twin {
            symbol: donor.symbol.clone(),
            kind: None,
            donor,
            stream: 0,
            drift: None,
        }));
        let start = twins.iter().map(|t| t.donor.start()).min().unwrap_or(survey.until);
        let grid = Grid::covering(settings.timeframe, start, survey.until);
        let edges = plant(engine, seed, grid, &twins)?;
        twins.sort_by_key(|t| t.symbol.to_string());
        let entries = twins.iter().map(|t| Entry::Coin(t.symbol.clone())).collect();
        Ok(CanarySource { scratch: engine.scratch, seed, grid, twins, entries, edges })
    }

    /// Each canary: its name, what it is, the coin it is made of; noise first.
    pub fn canaries(&self) -> impl Iterator<Item = (&Symbol, Kind, &Symbol)> {
        self.twins.iter().filter_map(|t| Some((&t.symbol, t.kind?, &t.donor.symbol)))
    }

    /// The canaries' names.
    pub fn symbols(&self) -> Vec<Symbol> {
        self.canaries().map(|(symbol, ..)| symbol.clone()).collect()
    }

    fn told(&self, twin: &Twin<'_>) -> Result<Series, ScratchError> {
        let real = twin.donor.series(self.scratch)?;
        let signs = TwinSigns::new(self.seed, twin.stream, real.timeframe);
        let start = self.grid.start;
        let Edges { drifts, common } = &self.edges;
        Ok(match (twin.drift.map(|n| &drifts[n]), common) {
            (None, None) => noise_twin(&real, &signs),
            (Some(one), None) | (None, Some(one)) => planted_twin(&real, &signs, start, one),
            (Some(own), Some(common)) => {
                let both: Vec<f64> = own.iter().zip(common).map(|(a, b)| a + b).collect();
                planted_twin(&real, &signs, start, &both)
            }
        })
    }
}

/// Coins fit to be told again, in the order of their hashes: through all gates, with bars to the
/// run's end and from early enough to be in every fold; Bitcoin and Ether are kept for themselves.
fn donors<'a>(settings: &Settings, survey: &'a Survey, seed: Seed) -> Result<Vec<&'a Coin>, NotMade> {
    let plan = Plan::new(
        &settings.walk,
        settings.timeframe,
        settings.label.window_bars(),
        survey.grid.start,
        survey.until,
        settings.fold_train_days_min,
    )
    .map_err(|error| NotMade::Few(error.to_string()))?;
    let bars = (plan.test_end.0 - plan.test_start.0) / settings.timeframe.ms();
    let labels = bars as f64 / settings.label.horizon_bars as f64;
    if labels < LABELS_MIN {
        return Err(NotMade::Few(format!(
            "the folds test {labels:.0} horizons of {} bars, at least {LABELS_MIN:.0} are needed to tell an edge \
             from luck",
            settings.label.horizon_bars
        )));
    }
    let whole = |c: &&Coin| {
        c.verdict.trade.is_empty()
            && c.end() == survey.until
            && starts_in_time(&plan, settings, c.start())
            && !matches!(c.symbol.underlying(), "BTC" | "ETH")
    };
    let hash = |c: &Coin| seed.child(&c.symbol.to_string(), 0).0;
    let mut found: Vec<&Coin> = survey.coins.iter().chain(&survey.bystanders).filter(whole).collect();
    found.sort_by(|a, b| hash(a).cmp(&hash(b)).then_with(|| a.symbol.cmp(&b.symbol)));
    found.truncate(NOISE + PLANTED);
    if found.len() < DONORS_MIN {
        return Err(NotMade::Few(format!(
            "{} coins pass every gate with bars in all folds, at least {DONORS_MIN} are needed",
            found.len()
        )));
    }
    let in_round_trips: Vec<f64> = found.iter().map(|c| edge_in_round_trips(settings, c)).collect();
    let typical = median(&in_round_trips).unwrap_or(0.0);
    if settings.canaries.label_correlation > 0.0 && typical < EDGE_IN_ROUND_TRIPS_MIN {
        return Err(NotMade::Few(format!(
            "an edge of correlation {} would be worth {typical:.1} round trips of costs, at least \
             {EDGE_IN_ROUND_TRIPS_MIN} are needed: use longer bars or raise canaries.label_correlation",
            settings.canaries.label_correlation
        )));
    }
    Ok(found)
}

/// Whether a coin has the training days of the first fold before its inner validation.
fn starts_in_time(plan: &Plan, settings: &Settings, start: UtcMs) -> bool {
    let first = plan.folds.first().map_or(plan.test_start, |fold| fold.inner_train_end);
    start.0 + (settings.fold_train_days_min * UtcMs::DAY as f64) as i64 <= first.0
}

/// Bars over which the planted edge is sized.
const EDGE_BARS: f64 = 24.0;

/// The planted edge over the label's horizon, one sigma of it, in round trips of the coin's costs. Its
/// drift lasts about [`EDGE_BARS`]; a shorter label earns its part of it.
fn edge_in_round_trips(settings: &Settings, coin: &Coin) -> f64 {
    let days = EDGE_BARS / settings.timeframe.bars_per_day();
    let part = (settings.label.horizon_bars as f64 / EDGE_BARS).min(1.0);
    let sigma_bps = coin.costs.calibration.sigma_day_bps * days.sqrt() * part;
    let hold_ms = settings.label.horizon_bars as i64 * settings.timeframe.ms();
    let order = settings.costs.reference_order_usd;
    let trip = coin.costs.round_trip_bps(order, 1.0, hold_ms, settings.trading.funding_bps_per_8h);
    settings.canaries.label_correlation * sigma_bps / trip
}

/// The first Bitcoin and the first Ether of the run.
fn leaders(survey: &Survey) -> impl Iterator<Item = &Coin> {
    ["BTC", "ETH"].into_iter().filter_map(|name| {
        survey.coins.iter().chain(&survey.bystanders).find(|c| c.symbol.underlying() == name)
    })
}

/// The edges. The mean over twins is summed in their order.
fn plant(engine: &Engine<'_>, seed: Seed, grid: Grid, twins: &[Twin<'_>]) -> Result<Edges, NotMade> {
    let (mut sum, mut count) = (vec![0.0; grid.len], vec![0.0; grid.len]);
    let mut paths = Vec::new();
    let mut broken = None;
    run_ordered(
        engine.workers,
        twins.len(),
        engine.stop,
        |k| {
            let series = twins[k].donor.series(engine.scratch)?;
            let signs = TwinSigns::new(seed, twins[k].stream, series.timeframe);
            Ok(twin_returns(&series, &signs, grid.start, grid.len))
        },
        |k, path: Result<Result<Vec<f64>, ScratchError>, String>| {
            let path = match path {
                Ok(Ok(path)) => path,
                Ok(Err(error)) => return broken = broken.take().or(Some(error.into())),
                Err(panic) => return broken = broken.take().or(Some(NotMade::Few(panic))),
            };
            for (t, r) in path.iter().enumerate().filter(|(_, r)| !r.is_nan()) {
                sum[t] += r;
                count[t] += 1.0;
            }
            if twins[k].drift.is_some() {
                paths.push(path);
            }
        },
    )?;
    if let Some(error) = broken {
        return Err(error);
    }
    let market: Vec<f64> = sum.iter().zip(&count).map(|(s, n)| if *n > 0.0 { s / n } else { 0.0 }).collect();
    let settings = engine.settings;
    let hedge = twins.first().is_some_and(|t| hedged(settings, t.symbol.market()));
    Ok(Edges {
        drifts: planted_drifts(&paths, &market, settings.canaries.label_correlation),
        common: (!hedge).then(|| market.iter().map(|r| -r).collect()),
    })
}

impl CandleSource for CanarySource<'_> {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let gone = |text: String| LoadFailure { code: "unreadable".to_owned(), text };
        let twin = self.twins.get(index).ok_or_else(|| gone("no such canary".to_owned()))?;
        let series = self.told(twin).map_err(|error| gone(error.to_string()))?;
        Ok(Loaded { bars: bars(&series), inputs: Vec::new(), notes: Vec::new() })
    }

    fn fingerprint(&self, index: usize, _: Option<UtcMs>) -> String {
        self.twins.get(index).map_or_else(String::new, |t| t.symbol.to_string())
    }
}

/// The bars that are there.
fn bars(series: &Series) -> Bars {
    let there: Vec<usize> = (0..series.len()).filter(|&i| !series.close[i].is_nan()).collect();
    let pick = |column: &Vec<f64>| there.iter().map(|&i| column[i]).collect::<Vec<f64>>();
    Bars {
        open_time: there.iter().map(|&i| series.time(i).0).collect(),
        open: pick(&series.open),
        high: pick(&series.high),
        low: pick(&series.low),
        close: pick(&series.close),
        volume: pick(&series.volume),
        quote_volume: Some(pick(&series.quote_volume)),
        trades: series.trades.as_ref().map(pick),
        taker_buy_base: series.taker_buy_base.as_ref().map(pick),
        taker_buy_quote: None,
    }
}
