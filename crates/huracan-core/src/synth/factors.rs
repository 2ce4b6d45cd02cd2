//! What all coins share: market and sector returns, common volatility, outages, roles, and the
//! planted drifts, which must be known together because they add up to zero in every bar.

use super::plant;
use super::shocks::{self, LogVol, draw, mixing_scale};
use super::{Defect, MarketSpec};
use crate::words::UtcMs;
use rand::RngExt;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// Daily volatility of the market factor and of a sector factor.
const MARKET_DAY: f64 = 0.026;
const SECTOR_DAY: f64 = 0.012;
/// Log-volatility of the factors: standard deviation and memory in days.
const COMMON_LOG_VOL: (f64, f64) = (0.35, 4.0);

/// What part a coin plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Noise,
    Late,
    Thin,
    Shared,
    Private,
    Stable,
    Dirty(Defect),
}

/// One common return series with the scale its draws had.
#[derive(Clone, Debug)]
pub(super) struct Factor {
    /// Log-return per bar.
    pub ret: Vec<f64>,
    /// Standard deviation of each bar's draw given its mixing scale (for the path inside a bar).
    pub scale: Vec<f64>,
}

/// The shared part of a market: a few series of the market's length, computed once, read by every
/// coin.
#[derive(Clone, Debug)]
pub struct Factors {
    spec: MarketSpec,
    roles: Vec<Role>,
    market: Factor,
    sectors: Vec<Factor>,
    common_log_vol: Vec<f64>,
    intraday: Vec<f64>,
    outage: Vec<bool>,
    drifts: BTreeMap<usize, Vec<f64>>,
}

impl Factors {
    /// Draws the shared part of the market, planted drifts included.
    pub fn new(spec: &MarketSpec) -> Factors {
        let bars = spec.bars();
        let mut rng = spec.seed.child("common volatility", 0).rng();
        let mut log_vol = LogVol::new(COMMON_LOG_VOL, spec.timeframe, &mut rng);
        let common_log_vol: Vec<f64> = (0..bars).map(|_| log_vol.step(&mut rng)).collect();
        let intraday: Vec<f64> = (0..bars).map(|i| intraday(spec, i)).collect();
        let factor = |purpose: &str, index: usize, day: f64| {
            let mut scales = spec.seed.child(purpose, 2 * index as u64).rng();
            let mut returns = spec.seed.child(purpose, 2 * index as u64 + 1).rng();
            let bar = day / spec.timeframe.bars_per_day().sqrt();
            let scale: Vec<f64> = (0..bars)
                .map(|i| bar * intraday[i] * common_log_vol[i].exp() * mixing_scale(&mut scales))
                .collect();
            Factor { ret: scale.iter().map(|s| s * draw(&mut returns)).collect(), scale }
        };
        let market = factor("market", 0, MARKET_DAY);
        let sectors = (0..spec.sectors.max(1)).map(|k| factor("sector", k, SECTOR_DAY)).collect();
        let mut factors = Factors {
            spec: spec.clone(),
            roles: deal(spec),
            market,
            sectors,
            common_log_vol,
            intraday,
            outage: outages(spec),
            drifts: BTreeMap::new(),
        };
        factors.drifts = plant::drifts(spec, &factors);
        factors
    }

    /// Indices of the coins with a planted edge, and whether each is a shared one.
    pub(super) fn planted(&self) -> impl Iterator<Item = (usize, bool)> + '_ {
        let planted = |&(_, role): &(usize, &Role)| matches!(role, Role::Shared | Role::Private);
        self.roles.iter().enumerate().filter(planted).map(|(i, role)| (i, *role == Role::Shared))
    }

    pub(super) fn is_of(&self, spec: &MarketSpec) -> bool {
        self.spec == *spec
    }

    pub(super) fn role(&self, index: usize) -> Role {
        self.roles[index]
    }

    pub(super) fn drift(&self, index: usize) -> &[f64] {
        self.drifts.get(&index).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_outage(&self, bar: usize) -> bool {
        self.outage[bar]
    }

    pub(super) fn market(&self) -> &Factor {
        &self.market
    }

    pub(super) fn sector(&self, sector: usize) -> &Factor {
        &self.sectors[sector]
    }

    pub(super) fn common_log_vol(&self) -> &[f64] {
        &self.common_log_vol
    }

    pub(super) fn intraday(&self) -> &[f64] {
        &self.intraday
    }
}

/// BTC and ETH are noise; the special roles are dealt over the others.
fn deal(spec: &MarketSpec) -> Vec<Role> {
    let majors = spec.coins.min(2);
    let defects = Defect::ALL.iter().cycle().take(spec.dirty).map(|&d| Role::Dirty(d));
    let mut hand: Vec<Role> = std::iter::repeat_n(Role::Shared, spec.planted_shared)
        .chain(std::iter::repeat_n(Role::Private, spec.planted_private))
        .chain(std::iter::repeat_n(Role::Stable, spec.stablecoins))
        .chain(defects)
        .chain(std::iter::repeat_n(Role::Late, spec.late_listings))
        .chain(std::iter::repeat_n(Role::Thin, spec.thin))
        .take(spec.coins - majors)
        .collect();
    hand.resize(spec.coins - majors, Role::Noise);
    hand.shuffle(&mut spec.seed.child("roles", 0).rng());
    let mut roles = vec![Role::Noise; majors];
    roles.append(&mut hand);
    roles
}

/// Volatility by hour of the day: quietest at 03:00 UTC, liveliest at 15:00 UTC, mean square 1.
fn intraday(spec: &MarketSpec, bar: usize) -> f64 {
    if spec.timeframe.bars_per_day() <= 1.0 {
        return 1.0;
    }
    let middle = spec.start.0 + bar as i64 * spec.timeframe.ms() + spec.timeframe.ms() / 2;
    let hour = middle.rem_euclid(UtcMs::DAY) as f64 / UtcMs::HOUR as f64;
    const DEPTH: f64 = 0.25;
    let wave = 1.0 + DEPTH * ((hour - 15.0) / 24.0 * std::f64::consts::TAU).cos();
    wave / (1.0 + DEPTH * DEPTH / 2.0).sqrt()
}

/// Bars in which the whole exchange was away.
fn outages(spec: &MarketSpec) -> Vec<bool> {
    let bars = spec.bars();
    let mut away = vec![false; bars];
    let mut rng = spec.seed.child("outages", 0).rng();
    for _ in 0..spec.outages {
        let hours = rng.random_range(2..=5_i64);
        let length = (hours * UtcMs::HOUR / spec.timeframe.ms()) as usize;
        if bars > 4 * length + 2 {
            let from = rng.random_range(1..bars - length - 1);
            away[from..from + length].fill(true);
        }
    }
    away
}

/// Volume of the factors in a coin's bar scale: `√(β²F² + γ²S² + I²)` of the drawn scales.
pub(super) fn bridge_scale(traits: &shocks::Traits, market: f64, sector: f64, own: f64) -> f64 {
    let (m, s) = (traits.beta * market, traits.sector_load * sector);
    (m * m + s * s + own * own).sqrt()
}
