//! What the whole market did at each moment: sums over coins, then figures per time.
//!
//! Coins come in any order and from any number of workers, so everything summed over coins is an
//! integer (fixed point or a count) and the result is the same to the bit. Ranks come from a fixed
//! histogram per time and variable, so memory does not grow with coins: 6,800 times take 5.2 MB
//! for ranks and 0.5 MB for sums. Everything over several bars is a difference of cumulated
//! integers, so a context that starts at another time gives the same bits too.
//! A coin counts at t only if its bar at t is there (for returns, also the one before).

use super::row::RowBuilder;
use crate::series::Series;
use crate::words::{Symbol, Timeframe, UtcMs};

/// Number of variables coins are ranked by, see [`super::row::CrossVariable`].
pub const RANKS: usize = 6;
/// Bins of a rank histogram.
const BINS: usize = 64;
/// Fewer coins than this at a time give no rank.
const RANK_COINS_MIN: u32 = 10;
/// Log returns are clipped to ± this before they enter a sum.
const RETURN_MAX: f64 = 2.0;
/// Fixed point of returns, shares and logs: 2⁴⁰ steps to one.
const UNIT: f64 = (1_u64 << 40) as f64;
/// Fixed point of squared returns in sums: 2⁵² steps to one.
const SQUARE_UNIT: f64 = (1_u64 << 52) as f64;
/// Fixed point of the cross-sectional variance when cumulated: 2⁴⁴ steps to one.
const VARIANCE_UNIT: f64 = (1_u64 << 44) as f64;
/// Quote volumes are summed in hundredths.
const QUOTE_UNIT: f64 = 100.0;

/// Spans of the market's mean return, bars.
pub const MARKET_SPANS: [usize; 5] = [1, 4, 24, 72, 168];
/// Spans of the cross-sectional dispersion, bars.
pub const DISPERSION_SPANS: [usize; 2] = [24, 168];
/// Spans of the breadth, bars.
pub const BREADTH_SPANS: [usize; 2] = [1, 24];
/// Spans of Bitcoin's and Ether's returns, bars.
pub const LEADER_SPANS: [usize; 3] = [1, 4, 24];

/// A series that does not fit the grid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ContextError {
    /// Bars of another length.
    #[error("{symbol}: bars of {found}, but the market context is made of {expected} bars; resample first")]
    Timeframe {
        /// Whose bars.
        symbol: Symbol,
        /// Their length.
        found: Timeframe,
        /// The context's.
        expected: Timeframe,
    },
    /// Bars that start between the context's.
    #[error(
        "{symbol}: bars start at {found}, which is not on the market's grid from {grid}; align the series first"
    )]
    OffGrid {
        /// Whose bars.
        symbol: Symbol,
        /// Start of the first.
        found: UtcMs,
        /// A time on the grid.
        grid: UtcMs,
    },
    /// Two parts of different grids.
    #[error(
        "market sums over {found} times from {found_start}, expected {expected} from {expected_start}; make all parts over one grid"
    )]
    Grid {
        /// Times in the other part.
        found: usize,
        /// Its start.
        found_start: UtcMs,
        /// Times here.
        expected: usize,
        /// Start here.
        expected_start: UtcMs,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    coins: u32,
    rising: u32,
    falling: u32,
    ret: i64,
    square: i128,
    quote: i128,
}

/// Histograms of the cross-section at one time, counts first and cumulated when finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankTables([[u16; BINS]; RANKS]);

impl serde::Serialize for RankTables {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flatten().flat_map(|count| count.to_le_bytes()).collect();
        to.serialize_bytes(&bytes)
    }
}

impl<'de> serde::Deserialize<'de> for RankTables {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<RankTables, D::Error> {
        let bytes = <&[u8]>::deserialize(from)?;
        if bytes.len() != 2 * RANKS * BINS {
            return Err(serde::de::Error::custom(format!("{} bytes for a table of ranks", bytes.len())));
        }
        let mut tables = RankTables::EMPTY;
        let counts = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        tables.0.iter_mut().flatten().zip(counts).for_each(|(place, count)| *place = count);
        Ok(tables)
    }
}

impl RankTables {
    /// Nobody to be compared with.
    pub const EMPTY: RankTables = RankTables([[0; BINS]; RANKS]);

    /// Share of coins below minus share above, in [−1, 1], for a squashed value in (−1, 1), with a
    /// straight line inside the bin; NaN for NaN or with fewer than ten coins.
    #[inline(always)]
    pub(super) fn rank(&self, variable: usize, x: f64) -> f64 {
        let table = &self.0[variable];
        let total = f64::from(table[BINS - 1]);
        if x.is_nan() || total < f64::from(RANK_COINS_MIN) {
            return f64::NAN;
        }
        let place = (x + 1.0) * (BINS as f64 / 2.0);
        let bin = (place as usize).min(BINS - 1);
        let below = if bin > 0 { f64::from(table[bin - 1]) } else { 0.0 };
        let inside = f64::from(table[bin]) - below;
        (2.0 * (below + (place - bin as f64) * inside) / total - 1.0).clamp(-1.0, 1.0)
    }
}

/// Sums over coins at each time of one grid.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextSums {
    timeframe: Timeframe,
    start: UtcMs,
    sums: Vec<Sums>,
    tables: Vec<RankTables>,
}

impl ContextSums {
    /// Empty sums over `len` bars of length `timeframe` from `start` on.
    pub fn new(timeframe: Timeframe, start: UtcMs, len: usize) -> ContextSums {
        let sums = vec![Sums::default(); len];
        ContextSums { timeframe, start, sums, tables: vec![RankTables::EMPTY; len] }
    }

    /// Adds one coin from its first bar on, as [`ContextSums::add_from`].
    ///
    /// # Errors
    /// When the series' bars are of another length or off the grid.
    pub fn add(&mut self, series: &Series) -> Result<(), ContextError> {
        self.add_from(series, series.start)
    }

    /// Adds one coin as a member of the market from `member_from` on. Bars before that or outside the grid
    /// only warm its state up.
    ///
    /// # Errors
    /// When the series' bars are of another length or off the grid.
    pub fn add_from(&mut self, series: &Series, member_from: UtcMs) -> Result<(), ContextError> {
        let shift = grid_shift(self.timeframe, self.start, series)?;
        let mut builder = RowBuilder::new(series.timeframe);
        let mut was_present = false;
        for i in 0..series.len() {
            let (row, cross) = builder.push(series.time(i), &series.bar(i));
            let present = row.missing == 0.0;
            let pair = present && was_present;
            was_present = present;
            if series.time(i) < member_from {
                continue;
            }
            let Ok(at) = usize::try_from(i as i64 + shift) else { continue };
            let Some(sums) = self.sums.get_mut(at).filter(|_| present) else { continue };
            sums.quote += (row.quote * QUOTE_UNIT).round() as i128;
            if pair {
                let ret = row.ret.clamp(-RETURN_MAX, RETURN_MAX);
                sums.coins += 1;
                sums.rising += u32::from(ret > 0.0);
                sums.falling += u32::from(ret < 0.0);
                sums.ret += (ret * UNIT).round() as i64;
                sums.square += (ret * ret * SQUARE_UNIT).round() as i128;
            }
            for (table, x) in self.tables[at].0.iter_mut().zip(cross) {
                if !x.is_nan() {
                    let bin = ((x + 1.0) * (BINS as f64 / 2.0)) as usize;
                    let count = &mut table[bin.min(BINS - 1)];
                    *count = count.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    /// Adds what another worker summed over other coins.
    ///
    /// # Errors
    /// When the other is over another grid.
    pub fn merge(&mut self, other: &ContextSums) -> Result<(), ContextError> {
        if (self.timeframe, self.start, self.sums.len()) != (other.timeframe, other.start, other.sums.len()) {
            return Err(ContextError::Grid {
                found: other.sums.len(),
                found_start: other.start,
                expected: self.sums.len(),
                expected_start: self.start,
            });
        }
        for (mine, theirs) in self.sums.iter_mut().zip(&other.sums) {
            mine.coins += theirs.coins;
            mine.rising += theirs.rising;
            mine.falling += theirs.falling;
            mine.ret += theirs.ret;
            mine.square += theirs.square;
            mine.quote += theirs.quote;
        }
        for (mine, theirs) in self.tables.iter_mut().zip(&other.tables) {
            for (mine, theirs) in mine.0.iter_mut().flatten().zip(theirs.0.iter().flatten()) {
                *mine = mine.saturating_add(*theirs);
            }
        }
        Ok(())
    }

    /// The finished context, with Bitcoin's and Ether's series where there are any.
    ///
    /// # Errors
    /// When one of the two is of another bar length or off the grid.
    pub fn finish(self, btc: Option<&Series>, eth: Option<&Series>) -> Result<MarketContext, ContextError> {
        let leaders = [self.leader(btc)?, self.leader(eth)?];
        let mut tables = self.tables;
        for table in tables.iter_mut().flat_map(|t| t.0.iter_mut()) {
            for bin in 1..BINS {
                table[bin] = table[bin].saturating_add(table[bin - 1]);
            }
        }
        let mut total = Cumulated::default();
        let steps = self.sums.iter().enumerate().map(|(i, sums)| {
            total.add(sums);
            Step { coins: sums.coins, total, leaders: [leaders[0][i], leaders[1][i]] }
        });
        let steps = steps.collect();
        Ok(MarketContext { timeframe: self.timeframe, start: self.start, steps, tables })
    }

    /// A leader's last known log close at each time in fixed point, and whether its bar is there.
    fn leader(&self, series: Option<&Series>) -> Result<Vec<Leader>, ContextError> {
        let mut known = vec![Leader::default(); self.sums.len()];
        let Some(series) = series else { return Ok(known) };
        let shift = grid_shift(self.timeframe, self.start, series)?;
        let mut last = Leader::default();
        let mut next = 0;
        for (at, slot) in known.iter_mut().enumerate() {
            last.present = false;
            while next < series.len() && next as i64 + shift <= at as i64 {
                let close = series.close[next];
                last.present = close > 0.0 && next as i64 + shift == at as i64;
                if close > 0.0 {
                    last.log_close = Some((close.ln() * UNIT).round() as i64);
                }
                next += 1;
            }
            *slot = last;
        }
        Ok(known)
    }
}

/// Grid position of the series' first bar, possibly negative.
fn grid_shift(timeframe: Timeframe, start: UtcMs, series: &Series) -> Result<i64, ContextError> {
    let symbol = || series.symbol.clone();
    if series.timeframe != timeframe {
        return Err(ContextError::Timeframe {
            symbol: symbol(),
            found: series.timeframe,
            expected: timeframe,
        });
    }
    let offset = series.start.0 - start.0;
    if offset.rem_euclid(timeframe.ms()) != 0 {
        return Err(ContextError::OffGrid { symbol: symbol(), found: series.start, grid: start });
    }
    Ok(offset.div_euclid(timeframe.ms()))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Leader {
    log_close: Option<i64>,
    present: bool,
}

/// Market figures cumulated from the start of the grid, in fixed point.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Cumulated {
    ret: i64,
    variance: i64,
    breadth: i64,
    log_quote: i64,
    last_log_quote: i64,
}

impl Cumulated {
    fn add(&mut self, sums: &Sums) {
        if sums.quote > 0 {
            self.last_log_quote = ((sums.quote as f64 / QUOTE_UNIT).ln() * UNIT).round() as i64;
        }
        self.log_quote += self.last_log_quote;
        if sums.coins == 0 {
            return;
        }
        let n = f64::from(sums.coins);
        let mean = sums.ret as f64 / n;
        let variance = sums.square as f64 / (n * SQUARE_UNIT) - (mean / UNIT) * (mean / UNIT);
        self.ret += mean.round() as i64;
        self.variance += (variance.max(0.0) * VARIANCE_UNIT).round() as i64;
        self.breadth += ((f64::from(sums.rising) - f64::from(sums.falling)) / n * UNIT).round() as i64;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Step {
    coins: u32,
    total: Cumulated,
    leaders: [Leader; 2],
}

/// The market at each time of one grid.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MarketContext {
    timeframe: Timeframe,
    start: UtcMs,
    steps: Vec<Step>,
    tables: Vec<RankTables>,
}

/// The market's figures at one time. Log returns; NaN where no coin, or no history, tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarketFigures {
    /// Coins with a return at this time.
    pub coins: f64,
    /// Equal-weight mean return over [`MARKET_SPANS`].
    pub returns: [f64; 5],
    /// Root mean cross-sectional variance of one-bar returns over [`DISPERSION_SPANS`].
    pub dispersion: [f64; 2],
    /// Share of rising minus share of falling coins, mean over [`BREADTH_SPANS`].
    pub breadth: [f64; 2],
    /// Mean log of the market's quote volume over 24 bars minus that over 168.
    pub volume_surge: f64,
    /// Bitcoin's return over [`LEADER_SPANS`].
    pub btc: [f64; 3],
    /// Ether's return over [`LEADER_SPANS`].
    pub eth: [f64; 3],
}

impl MarketFigures {
    /// A time nothing is known about.
    pub const UNDEFINED: MarketFigures = MarketFigures {
        coins: 0.0,
        returns: [f64::NAN; 5],
        dispersion: [f64::NAN; 2],
        breadth: [f64::NAN; 2],
        volume_surge: f64::NAN,
        btc: [f64::NAN; 3],
        eth: [f64::NAN; 3],
    };
}

/// The market at one time: figures, and the histograms a coin is ranked by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarketRow {
    /// The figures.
    pub figures: MarketFigures,
    /// The histograms.
    pub tables: RankTables,
}

impl MarketRow {
    /// A time nothing is known about.
    pub const UNDEFINED: MarketRow =
        MarketRow { figures: MarketFigures::UNDEFINED, tables: RankTables::EMPTY };
}

impl MarketContext {
    /// A market nobody looked at: every context feature is undefined.
    pub fn empty(timeframe: Timeframe) -> MarketContext {
        MarketContext { timeframe, start: UtcMs(0), steps: Vec::new(), tables: Vec::new() }
    }

    /// First time of the grid.
    pub fn start(&self) -> UtcMs {
        self.start
    }

    /// Bar length of the grid.
    pub fn timeframe(&self) -> Timeframe {
        self.timeframe
    }

    /// Number of times in the grid.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether the grid has no time at all.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The market at the bar that starts at `time`; undefined outside the grid.
    pub fn row_at(&self, time: UtcMs) -> MarketRow {
        let at = self.position(time);
        at.map_or(MarketRow::UNDEFINED, |at| MarketRow { figures: self.values(at), tables: self.tables[at] })
    }

    /// Grid position of a bar that starts at `time`.
    #[inline(always)]
    pub(super) fn position(&self, time: UtcMs) -> Option<usize> {
        let (offset, ms) = (time.0 - self.start.0, self.timeframe.ms());
        let at = usize::try_from(offset.div_euclid(ms)).ok()?;
        (at < self.steps.len() && offset.rem_euclid(ms) == 0).then_some(at)
    }

    #[inline(always)]
    pub(super) fn tables(&self, at: usize) -> &RankTables {
        &self.tables[at]
    }

    #[inline(always)]
    pub(super) fn values(&self, at: usize) -> MarketFigures {
        let now = &self.steps[at];
        let over = |span: usize, pick: fn(&Cumulated) -> i64| -> f64 {
            match (at + 1).checked_sub(span) {
                None => f64::NAN,
                Some(0) => pick(&now.total) as f64,
                Some(from) => (pick(&now.total) - pick(&self.steps[from - 1].total)) as f64,
            }
        };
        let quote = |span: usize| over(span, |c| c.log_quote) / (UNIT * span as f64);
        let mut row = MarketFigures {
            coins: f64::from(now.coins),
            volume_surge: quote(24) - quote(168),
            btc: self.leader(at, 0),
            eth: self.leader(at, 1),
            ..MarketFigures::UNDEFINED
        };
        if now.coins > 0 {
            row.returns = MARKET_SPANS.map(|k| over(k, |c| c.ret) / UNIT);
            row.dispersion =
                DISPERSION_SPANS.map(|k| (over(k, |c| c.variance) / (VARIANCE_UNIT * k as f64)).sqrt());
            row.breadth = BREADTH_SPANS.map(|k| over(k, |c| c.breadth) / (UNIT * k as f64));
        }
        row
    }

    #[inline(always)]
    fn leader(&self, at: usize, which: usize) -> [f64; 3] {
        let now = self.steps[at].leaders[which];
        LEADER_SPANS.map(|span| {
            let before = at.checked_sub(span).and_then(|from| self.steps[from].leaders[which].log_close);
            match (now.present, now.log_close, before) {
                (true, Some(now), Some(before)) => (now - before) as f64 / UNIT,
                _ => f64::NAN,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_months_of_hours_fit_in_eight_megabytes() {
        let per_time = size_of::<RankTables>() + size_of::<Sums>() + size_of::<Step>();
        assert!(per_time * 6_800 < 8_000_000, "{per_time} bytes a time");
    }

    #[test]
    fn a_rank_runs_straight_through_its_bin() {
        let mut tables = RankTables::EMPTY;
        tables.0[0][32] = 20;
        (33..BINS).for_each(|bin| tables.0[0][bin] = 20);
        let middle_of_bin = 1.0 / 64.0;
        assert_eq!(tables.rank(0, -0.5), -1.0);
        assert_eq!(tables.rank(0, 0.0), -1.0);
        assert_eq!(tables.rank(0, middle_of_bin), 0.0);
        assert_eq!(tables.rank(0, 0.9), 1.0);
        assert!(tables.rank(1, 0.0).is_nan());
    }
}
