//! Lookahead analysis: does any value of the past change when the future does?
//!
//! Every column of every coin is computed four times: on the whole series, on all series cut off at a
//! random time, and on series whose bars from that time on are garbage; market context is computed
//! anew each time from the same cut or garbled series. Values at rows that were known before the cut
//! must be equal bit for bit. Features are also streamed bar by bar, and their first value must come
//! exactly where their warm-up says. A new feature, label or tag must pass; whatever is a function of
//! series can be handed in as a [`Probe`].

use crate::settings::Settings;
use huracan_core::costs;
use huracan_core::features::row::CROSS_WARM;
use huracan_core::features::{self, ContextError, ContextSums, FEATURES, LiveFeatures, MarketContext, Needs};
use huracan_core::labels::{self, Grid, MarketSums};
use huracan_core::series::{Bar, Series};
use huracan_core::words::{Seed, Symbol, Timeframe, UtcMs};
use std::collections::BTreeMap;

/// A column under analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The group it is counted in.
    pub family: String,
    /// Its name.
    pub name: String,
}

/// Columns of one coin: one value a bar of its series, NaN where undefined, column after column.
pub type Values<'a> = Box<dyn Fn(&Series) -> Vec<Vec<f64>> + 'a>;

/// Something that turns series into columns and may only look back.
pub trait Probe {
    /// Its columns, always the same.
    fn columns(&self) -> Vec<Column>;

    /// Bars after a row whose closes the row's value needs: 0 for what is known at its own close, the
    /// label's window for a label. Such a value must be missing until they are there.
    fn bars_ahead(&self) -> usize {
        0
    }

    /// Gets ready on the series of all coins, and answers for one of them.
    ///
    /// # Errors
    /// When the series do not lie on one grid.
    fn open<'a>(&'a self, market: &'a [Series]) -> Result<Values<'a>, ContextError>;
}

/// One way of asking whether a column knows the future.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// All series end at the cut.
    Truncated,
    /// From the cut on all series are garbage.
    Garbled,
    /// The operators take the bars one by one.
    Streamed,
    /// The first value comes exactly at the declared warm-up, and none is missing after it.
    WarmUp,
}

impl Check {
    /// Every check, in order.
    pub const ALL: [Check; 4] = [Check::Truncated, Check::Garbled, Check::Streamed, Check::WarmUp];

    /// The name in tables and files.
    pub fn code(self) -> &'static str {
        match self {
            Check::Truncated => "truncated",
            Check::Garbled => "garbled",
            Check::Streamed => "streamed",
            Check::WarmUp => "warm_up",
        }
    }
}

/// A value that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Of which column.
    pub column: Column,
    /// By which check.
    pub check: Check,
    /// Rows of this column that differ in this check, over all coins and cuts.
    pub rows: u64,
    /// Whose value the first of them is.
    pub symbol: Symbol,
    /// The start of its bar.
    pub at: UtcMs,
    /// With the future changed.
    pub found: f64,
    /// As it was; NaN where there should be none, infinite where any number is due.
    pub expected: f64,
}

/// What was compared in one family.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FamilyLine {
    /// Columns.
    pub columns: usize,
    /// Values compared.
    pub rows: u64,
    /// Values that differ, by check.
    pub differing: BTreeMap<Check, u64>,
}

/// What the analysis found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// By family, in the order of the probes.
    pub families: Vec<(String, FamilyLine)>,
    /// Columns that differ, the most rows first.
    pub worst: Vec<Difference>,
    /// Coins looked at.
    pub coins: usize,
    /// When the series were cut.
    pub cuts: Vec<UtcMs>,
}

impl Findings {
    /// Whether nothing knows the future.
    pub fn clean(&self) -> bool {
        self.worst.is_empty()
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Random times at which series are cut.
    pub cuts: usize,
    /// Where they are drawn from.
    pub seed: Seed,
}

/// The features of the table at `columns`, in their market.
pub struct FeatureProbe {
    /// Indices into [`FEATURES`].
    pub columns: Vec<usize>,
}

impl Probe for FeatureProbe {
    fn columns(&self) -> Vec<Column> {
        let one = |&i: &usize| Column {
            family: FEATURES[i].family.code().to_owned(),
            name: FEATURES[i].name.to_owned(),
        };
        self.columns.iter().map(one).collect()
    }

    fn open<'a>(&'a self, market: &'a [Series]) -> Result<Values<'a>, ContextError> {
        let context = context(market)?;
        Ok(Box::new(move |series| {
            let m = features::matrix(series, &context, &self.columns);
            (0..m.p).map(|j| m.column(j).to_vec()).collect()
        }))
    }
}

/// Labels of every horizon.
pub struct LabelProbe<'s> {
    /// Kind, lag and horizons are the run's.
    pub settings: &'s Settings,
    /// Which of the run's horizons, bars.
    pub horizon: usize,
}

impl Probe for LabelProbe<'_> {
    fn columns(&self) -> Vec<Column> {
        vec![Column { family: "label".to_owned(), name: format!("label_{}", self.horizon) }]
    }

    fn bars_ahead(&self) -> usize {
        self.settings.label.entry_lag_bars + self.horizon
    }

    fn open<'a>(&'a self, market: &'a [Series]) -> Result<Values<'a>, ContextError> {
        let spec = &self.settings.label;
        let (start, end) = span(market);
        let grid = Grid::covering(self.settings.timeframe, start, end);
        let mut sums = MarketSums::new(grid, spec.entry_lag_bars, &[self.horizon]);
        market.iter().for_each(|series| sums.add(series));
        let returns = sums.finish();
        Ok(Box::new(move |series| {
            let sigma = labels::ewma_sigma(series, spec.sigma_half_life_bars);
            vec![labels::labels(series, &sigma, &returns, spec, self.horizon)]
        }))
    }
}

/// The volatility that scales labels, and the costs a fold that starts at a bar is charged, each
/// fourth day.
pub struct CostProbe<'s> {
    /// Fees and cost options are the run's.
    pub settings: &'s Settings,
}

impl Probe for CostProbe<'_> {
    fn columns(&self) -> Vec<Column> {
        let column = |family: &str, name: &str| Column { family: family.to_owned(), name: name.to_owned() };
        vec![
            column("sigma", "ewma_sigma"),
            column("costs", "spread_bps"),
            column("costs", "slippage_bps_per_sigma"),
            column("costs", "adv_usd"),
        ]
    }

    fn open<'a>(&'a self, _: &'a [Series]) -> Result<Values<'a>, ContextError> {
        let settings = self.settings;
        let every = 4 * settings.timeframe.bars_in_days(1.0).max(1);
        Ok(Box::new(move |series| {
            let n = series.len();
            let mut columns = vec![labels::ewma_sigma(series, settings.label.sigma_half_life_bars)];
            columns.resize(4, vec![f64::NAN; n]);
            for i in (0..n).step_by(every) {
                // The costs known when bar i has closed.
                let Some(model) = costs::calibrate(series, i + 1, &settings.fees, &settings.costs) else {
                    continue;
                };
                columns[1][i] = model.spread_bps;
                columns[2][i] = model.slippage_bps_per_sigma;
                columns[3][i] = model.adv_usd;
            }
            columns
        }))
    }
}

/// Analyses `probes` and, where there are any, the operators of the features `streamed` (indices
/// into [`FEATURES`]), on the coins `judged` (positions in `market`). `market` is on one grid.
///
/// # Errors
/// When the series do not lie on one grid.
pub fn analyse(
    market: &[Series],
    judged: &[usize],
    probes: &[&dyn Probe],
    streamed: &[usize],
    options: &Options,
) -> Result<Findings, ContextError> {
    let mut tally = Tally::default();
    let cuts = cuts(market, options);
    let mut futures = Vec::new();
    for (n, &cut) in cuts.iter().enumerate() {
        let truncated = market.iter().map(|s| until(s, cut)).collect::<Vec<Series>>();
        let seed = options.seed.child("garbage", n as u64);
        let garbled = market.iter().enumerate().map(|(k, s)| garble(s, cut, seed.child("coin", k as u64)));
        futures.push((cut, Check::Garbled, garbled.collect()));
        futures.push((cut, Check::Truncated, truncated));
    }
    for probe in probes {
        let columns = probe.columns();
        columns.iter().for_each(|column| tally.know(column));
        let now = probe.open(market)?;
        let then = futures
            .iter()
            .map(|(cut, check, series)| Ok((*cut, *check, series, probe.open(series)?)))
            .collect::<Result<Vec<_>, ContextError>>()?;
        for &coin in judged {
            let series = &market[coin];
            let expected = now(series);
            for (cut, check, changed, values) in &then {
                let known = series.index_at_or_after(*cut).saturating_sub(probe.bars_ahead());
                let found = values(&changed[coin]);
                for (j, column) in columns.iter().enumerate() {
                    let rows = (0..known.min(found[j].len())).map(|i| (i, found[j][i], expected[j][i]));
                    tally.compare(column, *check, series, rows);
                    // What is not yet known must not be there either.
                    if *check == Check::Truncated {
                        let early = (known..found[j].len()).map(|i| (i, found[j][i], f64::NAN));
                        tally.compare(column, *check, series, early);
                    }
                }
            }
        }
    }
    if !streamed.is_empty() {
        stream(market, judged, streamed, &mut tally)?;
    }
    Ok(tally.findings(judged.len(), cuts))
}

/// The operators bar by bar, and their warm-up.
fn stream(
    market: &[Series],
    judged: &[usize],
    columns: &[usize],
    tally: &mut Tally,
) -> Result<(), ContextError> {
    let context = context(market)?;
    let names = FeatureProbe { columns: columns.to_vec() }.columns();
    names.iter().for_each(|column| tally.know(column));
    let longest = FEATURES.iter().map(|def| def.lookback as i64).max().unwrap_or(0);
    let others_warm = |needs: Needs| {
        let leader = |name: &str| market.iter().find(|s| s.symbol.underlying() == name).map(|s| s.start.0);
        let start = match needs {
            Needs::Bitcoin => leader("BTC"),
            Needs::Ether => leader("ETH"),
            _ => Some(span(market).0.0),
        };
        start.map_or(i64::MAX, |start| start + longest * context.timeframe().ms())
    };
    for &coin in judged {
        let series = &market[coin];
        let batch = features::matrix(series, &context, columns);
        let rows = features::rows(series, &context);
        let mut live = LiveFeatures::new(columns, series.symbol.clone(), series.timeframe);
        for (i, row) in rows.iter().enumerate() {
            let time = series.time(i);
            let pushed = live.push(time, &series.bar(i), &context.row_at(time));
            let streamed = pushed.map_or_else(|_| vec![f64::NAN; columns.len()], <[f64]>::to_vec);
            for (j, (&index, name)) in columns.iter().zip(&names).enumerate() {
                let def = &FEATURES[index];
                let value = batch.column(j)[i];
                tally.compare(name, Check::Streamed, series, [(i, streamed[j], value)]);
                // Too early: a value where there should be none. Too late: none where one is due; what a
                // feature needs of others must be warm, too.
                let allowed = i + 1 >= def.lookback && row.defined & def.needs.bit() != 0;
                let warm = match def.needs {
                    Needs::Ohlcv | Needs::Trades | Needs::Taker => true,
                    Needs::CrossSection => i + 1 >= CROSS_WARM && time.0 >= others_warm(def.needs),
                    Needs::Market | Needs::Bitcoin | Needs::Ether => time.0 >= others_warm(def.needs),
                };
                let late = allowed && warm && value.is_nan();
                let expected = match allowed {
                    true if late => f64::INFINITY,
                    true => value,
                    false => f64::NAN,
                };
                tally.compare(name, Check::WarmUp, series, [(i, value, expected)]);
            }
        }
    }
    Ok(())
}

/// What was compared so far.
#[derive(Default)]
struct Tally {
    order: Vec<String>,
    families: BTreeMap<String, (Vec<String>, FamilyLine)>,
    worst: Vec<Difference>,
}

impl Tally {
    fn know(&mut self, column: &Column) {
        let family = self.families.entry(column.family.clone()).or_insert_with(|| {
            self.order.push(column.family.clone());
            Default::default()
        });
        if !family.0.contains(&column.name) {
            family.0.push(column.name.clone());
            family.1.columns += 1;
        }
    }

    /// Rows as (position, found, expected).
    fn compare(
        &mut self,
        column: &Column,
        check: Check,
        series: &Series,
        rows: impl IntoIterator<Item = (usize, f64, f64)>,
    ) {
        let (mut compared, mut differing, mut first) = (0, 0, None);
        for (i, found, expected) in rows {
            compared += 1;
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            if !same {
                differing += 1;
                first = first.or(Some((i, found, expected)));
            }
        }
        let Some((_, line)) = self.families.get_mut(&column.family) else { return };
        line.rows += compared;
        let Some((i, found, expected)) = first else { return };
        *line.differing.entry(check).or_default() += differing;
        match self.worst.iter_mut().find(|d| d.column == *column && d.check == check) {
            Some(known) => known.rows += differing,
            None => self.worst.push(Difference {
                column: column.clone(),
                check,
                rows: differing,
                symbol: series.symbol.clone(),
                at: series.time(i),
                found,
                expected,
            }),
        }
    }

    fn findings(mut self, coins: usize, cuts: Vec<UtcMs>) -> Findings {
        let take = |name: String| {
            let line = self.families.remove(&name).unwrap_or_default().1;
            (name, line)
        };
        let families = self.order.into_iter().map(take).collect();
        self.worst.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.column.name.cmp(&b.column.name)));
        Findings { families, worst: self.worst, coins, cuts }
    }
}

/// First start and last end of the series.
fn span(market: &[Series]) -> (UtcMs, UtcMs) {
    let start = market.iter().filter(|s| !s.is_empty()).map(|s| s.start).min().unwrap_or(UtcMs(0));
    let end = market.iter().map(Series::end).max().unwrap_or(start);
    (start, end.max(start))
}

/// The market's context, Bitcoin and Ether its leaders where they are there.
fn context(market: &[Series]) -> Result<MarketContext, ContextError> {
    let (start, end) = span(market);
    let Some(first) = market.first() else { return Ok(MarketContext::empty(Timeframe::H1)) };
    let grid = Grid::covering(first.timeframe, start, end);
    let mut sums = ContextSums::new(first.timeframe, grid.start, grid.len);
    market.iter().filter(|s| !s.is_empty()).try_for_each(|series| sums.add(series))?;
    let leader = |name: &str| market.iter().find(|s| s.symbol.underlying() == name && !s.is_empty());
    sums.finish(leader("BTC"), leader("ETH"))
}

/// Random times between a third of the span and its end, ascending.
fn cuts(market: &[Series], options: &Options) -> Vec<UtcMs> {
    let (start, end) = span(market);
    let ms = market.first().map_or(1, |s| s.timeframe.ms());
    let bars = (end.0 - start.0) / ms;
    let at = |n: usize| {
        let share = (1.0 + 2.0 * uniform(options.seed, "cut", n as u64)) / 3.0;
        UtcMs(start.0 + (share * bars as f64) as i64 * ms)
    };
    let mut cuts: Vec<UtcMs> = (0..options.cuts).map(at).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The bars complete by a time.
fn until(series: &Series, cut: UtcMs) -> Series {
    series.rows(0..series.index_at_or_after(cut))
}

/// A number in [0, 1) for a purpose and a place.
fn uniform(seed: Seed, what: &str, at: u64) -> f64 {
    (seed.child(what, at).0 >> 11) as f64 / (1_u64 << 53) as f64
}

/// Every bar from a time on as no market would make it: leaps, silence, walls of volume, gaps.
fn garble(series: &Series, cut: UtcMs, seed: Seed) -> Series {
    let mut out = series.clone();
    let n = series.len();
    for i in series.index_at_or_after(cut)..n {
        let draw = |what: &str| uniform(seed, what, i as u64);
        let leap = (6.0 * draw("leap") - 3.0).exp();
        let price = 100.0 * leap;
        let volume = if draw("silence") < 0.25 { 0.0 } else { 1e9 * leap };
        let gone = draw("gap") < 0.2 && i + 1 < n;
        let bar = if gone {
            Bar::MISSING
        } else {
            Bar {
                open: price,
                high: 9.0 * price,
                low: price / 9.0,
                close: price * (0.2 + 4.8 * draw("close")),
                volume,
                quote_volume: volume * price,
                trades: volume,
                taker_buy_base: 0.5 * volume,
            }
        };
        (out.open[i], out.high[i], out.low[i], out.close[i]) = (bar.open, bar.high, bar.low, bar.close);
        (out.volume[i], out.quote_volume[i]) = (bar.volume, bar.quote_volume);
        out.trades.iter_mut().for_each(|column| column[i] = bar.trades);
        out.taker_buy_base.iter_mut().for_each(|column| column[i] = bar.taker_buy_base);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing;
    use crate::source::{CandleSource, Entry, SynthSource};
    use huracan_core::series;
    use huracan_core::synth::MarketSpec;

    fn market() -> Vec<Series> {
        let spec = MarketSpec { coins: 14, days: 60, dirty: 0, stablecoins: 0, ..MarketSpec::default() };
        let source = SynthSource::new(&spec);
        let one = |(i, entry): (usize, &Entry)| {
            let Entry::Coin(symbol) = entry else { panic!("generated coins have names") };
            let bars = source.load(i).unwrap().bars;
            series::align(symbol, spec.timeframe, bars, None).unwrap().0
        };
        source.entries().iter().enumerate().map(one).collect()
    }

    const OPTIONS: Options = Options { cuts: 2, seed: Seed(4) };

    #[test]
    fn nothing_of_ours_knows_the_future() {
        let settings = testing::settings();
        let all: Vec<usize> = (0..FEATURES.len()).collect();
        let features = FeatureProbe { columns: all.clone() };
        let label = LabelProbe { settings: &settings, horizon: 24 };
        let costs = CostProbe { settings: &settings };
        let found = analyse(&market(), &[0, 5, 9], &[&features, &label, &costs], &all, &OPTIONS).unwrap();
        assert!(found.clean(), "{:#?}", &found.worst[..found.worst.len().min(3)]);
        assert_eq!(found.families.len(), 15 + 3);
        let columns: usize = found.families.iter().map(|(_, line)| line.columns).sum();
        assert_eq!(columns, FEATURES.len() + 1 + 4);
        assert!(found.families.iter().all(|(_, line)| line.rows > 1_000));
    }

    /// One column, from all series, the coin's own and a row.
    struct Leak {
        name: &'static str,
        ahead: usize,
        value: fn(&[Series], &Series, usize) -> f64,
    }

    impl Probe for Leak {
        fn columns(&self) -> Vec<Column> {
            vec![Column { family: "leak".to_owned(), name: self.name.to_owned() }]
        }

        fn bars_ahead(&self) -> usize {
            self.ahead
        }

        fn open<'a>(&'a self, market: &'a [Series]) -> Result<Values<'a>, ContextError> {
            Ok(Box::new(move |series| {
                vec![(0..series.len()).map(|i| (self.value)(market, series, i)).collect()]
            }))
        }
    }

    #[test]
    fn whatever_knows_the_future_is_named() {
        let check = |leak: Leak, checks: &[Check]| {
            let found = analyse(&market(), &[2], &[&leak], &[], &OPTIONS).unwrap();
            let caught: Vec<(&str, Check)> =
                found.worst.iter().map(|d| (d.column.name.as_str(), d.check)).collect();
            let mut expected: Vec<(&str, Check)> = checks.iter().map(|c| (leak.name, *c)).collect();
            expected.sort_unstable_by_key(|(_, check)| *check);
            let mut caught_sorted = caught.clone();
            caught_sorted.sort_unstable_by_key(|(_, check)| *check);
            assert_eq!(caught_sorted, expected);
        };
        let next = |_: &[Series], s: &Series, i: usize| s.close.get(i + 1).copied().unwrap_or(f64::NAN);
        let both = [Check::Truncated, Check::Garbled];
        check(Leak { name: "next_close", ahead: 0, value: next }, &both);
        check(Leak { name: "next_close_said_so", ahead: 1, value: next }, &[]);
        let length = |_: &[Series], s: &Series, _: usize| s.len() as f64;
        check(Leak { name: "length_of_history", ahead: 0, value: length }, &[Check::Truncated]);
        let market_mean = |market: &[Series], _: &Series, i: usize| {
            market.iter().filter_map(|s| s.close.get(i + 3)).sum::<f64>()
        };
        check(Leak { name: "market_in_three_bars", ahead: 0, value: market_mean }, &both);
        let early = |_: &[Series], s: &Series, i: usize| s.close[i];
        check(Leak { name: "label_there_too_early", ahead: 5, value: early }, &[Check::Truncated]);
        let past = |_: &[Series], s: &Series, i: usize| s.close[i.saturating_sub(1)];
        check(Leak { name: "last_close", ahead: 0, value: past }, &[]);
    }
}
