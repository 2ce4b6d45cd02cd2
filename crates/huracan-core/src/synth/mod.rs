//! The generated market: hundreds of coins with known truth, one at a time, from one seed.
//!
//! It is the demo, the project's own test fixture and the canary. What lives here: the market's
//! description ([`MarketSpec`]), its shared part ([`Factors`]), one coin's bars with their truth
//! ([`coin`]), defects, and twins of real series ([`noise_twin`], [`planted_twin`]). What does
//! not: anything that judges, trains or trades; the generator never uses the rest of the core, so
//! that it cannot share a mistake with what it tests.
//!
//! # How a price comes about
//! The efficient log-price moves per bar by
//!
//! `β·F + γ·S + I + μ`
//!
//! with a market factor `F`, a sector factor `S`, the coin's own `I` and, for planted coins only,
//! a drift `μ`. Each of `F`, `S`, `I` is `σ·w·g`: `σ` a stochastic volatility (log-AR(1), common
//! and own parts, times an intraday pattern), `w` the mixing scale that makes `w·g` Student-t
//! with 6 degrees of freedom, `g` a standard normal draw independent of everything else. Inside a
//! bar the price follows a bridge of eight trades; each trade pays the coin's half-spread up or
//! down by an independent coin toss, and all prices of a bar are rounded to the tick by one
//! shared uniform dither.
//!
//! # Why a noise coin has no edge
//! 1. `σ`, `w` and the volumes are driven by draws independent of every `g`. Given their whole
//!    paths, each bar's efficient return is symmetric around zero and independent of the past, so
//!    the expectation of any forward return, also volatility-scaled and clipped, given the past
//!    of *all* coins is exactly zero.
//! 2. Relative to the market mean too: the market mean is `β̄·F` plus averages of the same kind
//!    plus the average of the planted drifts, and that average is exactly zero in every bar
//!    (planted drifts are demeaned over the planted coins, which are all listed from the start).
//!    A market with a single planted coin cannot do this and leaks `μ / coins`.
//! 3. The observed price adds the bounce and the rounding. Both are independent from bar to bar
//!    given the efficient price (the dither makes rounding unbiased: `E[⌊p/tick + u⌋·tick] = p`),
//!    so a label entered one bar late shares no noise with a feature of the past. Without the
//!    entry lag the bounce is visible as reversal, exactly as in real data, and is smaller than
//!    the spread.
//!
//! Exempt by nature: stablecoins (they revert to 1, by 10⁻⁴) and dirty coins.
//!
//! # What a planted coin has
//! `μ` of the next bar is `κ·σ̂·tanh(z)`: `σ̂` and `z` are functions of the coin's own past bars
//! relative to the market, nothing later. All shared coins have `z` = 72-bar momentum; each private coin has its own signed mix of one
//! price signal, the volume surge and the volatility ratio. `κ` is sized so that `tanh(z)` has a
//! correlation of about [`MarketSpec::label_correlation`] with the 24-bar label entered one bar
//! late.

mod dirt;
mod factors;
mod paint;
mod plant;
mod shocks;
mod twins;

pub use dirt::Defect;
pub use factors::Factors;
pub use twins::{TwinSigns, noise_twin, planted_drifts, planted_twin, twin_returns};

use crate::series::Bars;
use crate::words::{Market, Seed, Symbol, Timeframe, UtcMs};
use factors::Role;

/// What market to generate. Two equal specifications give the same bytes.
///
/// The first two coins are always `BTCUSDT` and `ETHUSDT`; the special roles below are dealt over
/// the others by the seed and stop when the coins run out (in the order of the fields).
#[derive(Clone, Debug, PartialEq)]
pub struct MarketSpec {
    /// Origin of every draw.
    pub seed: Seed,
    /// Coins in all.
    pub coins: usize,
    /// Length of the market, in days.
    pub days: usize,
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// Start of the first bar.
    pub start: UtcMs,
    /// Spot or perpetual names.
    pub market: Market,
    /// Sectors (at least one is used).
    pub sectors: usize,
    /// Coins that share one planted edge: 72-bar momentum relative to the market.
    pub planted_shared: usize,
    /// Coins with a planted edge of their own.
    pub planted_private: usize,
    /// Correlation of a planted coin's signal with its 24-bar label, on average over coins.
    /// Above 0.3 the edge feeds its own momentum and comes out up to a sixth stronger. At 0.25 a
    /// perfect forecaster passes a one-sided 1 % test after costs on 150 days for 30 to 50 % of
    /// the coins, at 0.35 for nine in ten.
    pub label_correlation: f64,
    /// Pegged coins.
    pub stablecoins: usize,
    /// Coins with a defect; the kinds of [`Defect::ALL`] in turn.
    pub dirty: usize,
    /// Noise coins listed after the start, between 30 % and 97 % of the span.
    pub late_listings: usize,
    /// Noise coins that trade less than a million USD a day.
    pub thin: usize,
    /// Exchange-wide outages of two to five hours: no coin has a bar then.
    pub outages: usize,
}

impl Default for MarketSpec {
    /// 400 perpetuals, hourly, 240 days from 2024-11-01: 24 shared and 12 private edges, 2
    /// stablecoins, 9 defects, 20 late listings, 12 thin coins, 2 outages.
    fn default() -> MarketSpec {
        MarketSpec {
            seed: Seed(1),
            coins: 400,
            days: 240,
            timeframe: Timeframe::H1,
            start: UtcMs(1_730_419_200_000),
            market: Market::Perp,
            sectors: 8,
            planted_shared: 24,
            planted_private: 12,
            label_correlation: 0.25,
            stablecoins: 2,
            dirty: 9,
            late_listings: 20,
            thin: 12,
            outages: 2,
        }
    }
}

impl MarketSpec {
    /// Bars from the first to the last, outages included.
    pub fn bars(&self) -> usize {
        (self.days as f64 * self.timeframe.bars_per_day()).round() as usize
    }

    /// The moment the last bar is complete.
    pub fn end(&self) -> UtcMs {
        UtcMs(self.start.0 + self.bars() as i64 * self.timeframe.ms())
    }

    /// The name of coin `index`: `BTCUSDT`, `ETHUSDT`, then `SYN002USDT`, …; it does not tell
    /// the coin's role.
    pub fn symbol(&self, index: usize) -> Symbol {
        let pair = match index {
            0 => "BTCUSDT".to_owned(),
            1 => "ETHUSDT".to_owned(),
            other => format!("SYN{other:03}USDT"),
        };
        Symbol::parse(&pair, self.market).expect("generated names are symbols")
    }
}

/// What a generated coin really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No edge, outright or relative to the market.
    Noise,
    /// The edge all shared coins have.
    PlantedShared,
    /// An edge of its own.
    PlantedPrivate,
    /// A peg: nothing to trade.
    Stable,
    /// A series that must be refused, cut or repaired; no edge.
    Dirty(Defect),
}

impl Kind {
    /// Whether a correct pipeline could earn money on this coin.
    pub fn is_planted(self) -> bool {
        matches!(self, Kind::PlantedShared | Kind::PlantedPrivate)
    }

    /// Stable name for files: `noise`, `planted_shared`, `planted_private`, `stable`, or
    /// the defect's code.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Noise => "noise",
            Kind::PlantedShared => "planted_shared",
            Kind::PlantedPrivate => "planted_private",
            Kind::Stable => "stable",
            Kind::Dirty(defect) => defect.code(),
        }
    }
}

/// The answer sheet of one coin.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// What the coin is.
    pub kind: Kind,
    /// Full quoted spread that every trade paid half of, basis points of the price.
    pub true_spread_bps: f64,
    /// Typical daily volume, USD.
    pub adv_usd: f64,
    /// Loading on the market factor.
    pub beta: f64,
    /// Sector number.
    pub sector: usize,
    /// Start of the coin's first bar.
    pub listed_at: UtcMs,
    /// Conditional drift, log-return per bar, on the market's full grid: `drift[k]` belongs to the
    /// bar starting at `start + k × timeframe` and is a function of bars before `k` only. Empty
    /// for coins without a planted edge.
    pub drift: Vec<f64>,
}

/// One generated coin.
#[derive(Clone, Debug, PartialEq)]
pub struct Coin {
    /// Its name.
    pub symbol: Symbol,
    /// What it really is.
    pub truth: Truth,
    /// Its bars as a source would deliver them, defects included.
    pub bars: Bars,
}

/// Coin `index` of the market: a function of the specification, its factors and the index alone,
/// so coins may be made in any order, on any thread.
///
/// # Panics
/// When `index` is not below `spec.coins`, or `factors` belong to another specification.
pub fn coin(spec: &MarketSpec, factors: &Factors, index: usize) -> Coin {
    assert!(index < spec.coins, "coin {index} of a market of {} coins", spec.coins);
    assert!(factors.is_of(spec), "factors of another market");
    let role = factors.role(index);
    let traits = shocks::traits(spec, role, index);
    let drift = factors.drift(index);
    let mut rng = spec.seed.child("path", index as u64).rng();
    let full = match role {
        Role::Stable => paint::peg(spec, &traits, &mut rng),
        _ => {
            let shocks = shocks::shocks(spec, factors, &traits, index);
            paint::bars(spec, &traits, &shocks, drift, &mut rng)
        }
    };
    let mut bars = dirt::keep(&full, |i| i >= traits.listed && !factors.is_outage(i));
    let kind = match role {
        Role::Noise | Role::Late | Role::Thin => Kind::Noise,
        Role::Shared => Kind::PlantedShared,
        Role::Private => Kind::PlantedPrivate,
        Role::Stable => Kind::Stable,
        Role::Dirty(defect) => {
            bars = dirt::soil(bars, defect, spec.timeframe, &mut rng);
            Kind::Dirty(defect)
        }
    };
    let truth = Truth {
        kind,
        true_spread_bps: traits.spread_bps,
        adv_usd: traits.adv_usd,
        beta: traits.beta,
        sector: traits.sector,
        listed_at: UtcMs(bars.open_time.first().copied().unwrap_or(spec.end().0)),
        drift: drift.to_vec(),
    };
    Coin { symbol: spec.symbol(index), truth, bars }
}

/// Every coin of the market, made one at a time.
pub fn coins(spec: &MarketSpec) -> impl Iterator<Item = Coin> + '_ {
    let factors = Factors::new(spec);
    (0..spec.coins).map(move |index| coin(spec, &factors, index))
}

#[cfg(test)]
mod tests;
