//! Planted edges: the drift of the next bar as a function of the coin's own past bars.
//!
//! Signals are standard features seen relative to the market factor (what an observer gets by
//! subtracting the market mean): momentum, distance to an exponential average, volume surge,
//! volatility ratio. All have memories of two days and more at hourly bars, so that the edge
//! survives an entry one bar late and is worth a round trip of costs.

use super::MarketSpec;
use super::factors::Factors;
use super::shocks::{self, Shocks};
use rand::RngExt;
use std::collections::BTreeMap;

/// Bars before the first drift: the longest look-back.
const WARM_UP: usize = 336;
/// Span of the volatility that scales signals and drift, bars.
const VOL_SPAN: f64 = 96.0;
/// Drift per bar, in standard deviations of the relative return, per unit of label correlation.
/// With a signal of root-mean-square `s` that keeps a share `ρ` of itself over the 24 bars of the
/// label, the label correlation is about `κ·√24·s·ρ`. The values below are measured: over 16
/// shared and 8 private coins and 180 days the averages are 0.24 and 0.25 (tests).
const SHARED_KAPPA: f64 = 0.42;
const PRIVATE_KAPPA: f64 = 0.38;

/// What a planted coin's drift listens to; weights of signals with variance about one.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    momentum_72: f64,
    momentum_168: f64,
    ema_gap_48: f64,
    volume_surge: f64,
    vol_ratio: f64,
    kappa: f64,
}

impl Rule {
    /// The rule of all shared coins: 72-bar momentum.
    pub fn shared(label_correlation: f64) -> Rule {
        Rule {
            momentum_72: 1.0,
            momentum_168: 0.0,
            ema_gap_48: 0.0,
            volume_surge: 0.0,
            vol_ratio: 0.0,
            kappa: SHARED_KAPPA * label_correlation,
        }
    }

    /// A rule of the coin's own: one price signal, the volume surge, and for every second coin
    /// the volatility ratio, each with its own sign and weight.
    fn private(spec: &MarketSpec, index: usize) -> Rule {
        let mut rng = spec.seed.child("private rule", index as u64).rng();
        let mut rule = Rule { momentum_72: 0.0, ..Rule::shared(0.0) };
        rule.kappa = PRIVATE_KAPPA * spec.label_correlation;
        let price = shocks::toss(&mut rng) * rng.random_range(0.7..1.0);
        match rng.random_range(0..3) {
            0 => rule.momentum_72 = price,
            1 => rule.momentum_168 = price,
            _ => rule.ema_gap_48 = price,
        }
        rule.volume_surge = shocks::toss(&mut rng) * rng.random_range(0.5..0.9);
        if rng.random::<bool>() {
            rule.vol_ratio = shocks::toss(&mut rng) * rng.random_range(0.5..0.9);
        }
        rule
    }
}

/// The observer: running sums over the past bars of one coin.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Cumulative relative log-return after each bar.
    path: Vec<f64>,
    /// Cumulative sum of log-volume, and of its square, after each bar.
    volume: Vec<(f64, f64)>,
    ema: f64,
    variance: f64,
    variance_fast: f64,
    variance_slow: f64,
}

impl Watch {
    pub fn new() -> Watch {
        Watch {
            path: vec![0.0],
            volume: vec![(0.0, 0.0)],
            ema: 0.0,
            variance: 0.0,
            variance_fast: 0.0,
            variance_slow: 0.0,
        }
    }

    /// Takes the bar that has just closed: its relative log-return and the log of its volume.
    pub fn push(&mut self, relative: f64, log_volume: f64) {
        let seen = self.path.len() as f64;
        let here = self.path[self.path.len() - 1] + relative;
        self.path.push(here);
        let (sum, square) = self.volume[self.volume.len() - 1];
        self.volume.push((sum + log_volume, square + log_volume * log_volume));
        self.ema += (here - self.ema) * 2.0 / 49.0;
        // Plain means while young, exponential ones after.
        let blend = |mean: &mut f64, span: f64| {
            *mean += (relative * relative - *mean) / seen.min(span / 2.0);
        };
        blend(&mut self.variance, VOL_SPAN);
        blend(&mut self.variance_fast, 24.0);
        blend(&mut self.variance_slow, WARM_UP as f64);
    }

    /// Drift of the bar to come; zero before the warm-up.
    pub fn drift(&self, rule: &Rule) -> f64 {
        let now = self.path.len() - 1;
        if now < WARM_UP || self.variance <= 0.0 {
            return 0.0;
        }
        let sigma = self.variance.sqrt();
        let momentum =
            |bars: usize| (self.path[now] - self.path[now - bars]) / (sigma * (bars as f64).sqrt());
        let mut z = 0.0;
        if rule.momentum_72 != 0.0 {
            z += rule.momentum_72 * momentum(72);
        }
        if rule.momentum_168 != 0.0 {
            z += rule.momentum_168 * momentum(168);
        }
        if rule.ema_gap_48 != 0.0 {
            // An EMA of span n lags a random walk by a gap of standard deviation σ·√(n/4).
            z += rule.ema_gap_48 * (self.path[now] - self.ema) / (sigma * 12.0_f64.sqrt());
        }
        if rule.volume_surge != 0.0 {
            z += rule.volume_surge * self.volume_surge();
        }
        if rule.vol_ratio != 0.0 {
            z += rule.vol_ratio * 2.0 * (self.variance_fast / self.variance_slow).ln();
        }
        rule.kappa * sigma * z.tanh()
    }

    /// Mean log-volume of 24 bars against the last 336, in standard deviations of a bar, doubled
    /// because a mean of 24 varies about half as much as a bar.
    fn volume_surge(&self) -> f64 {
        let now = self.volume.len() - 1;
        let mean = |bars: usize| {
            let (a, b) = (self.volume[now], self.volume[now - bars]);
            ((a.0 - b.0) / bars as f64, (a.1 - b.1) / bars as f64)
        };
        let ((short, _), (long, square)) = (mean(24), mean(WARM_UP));
        let variance = square - long * long;
        if variance > 0.0 { 2.0 * (short - long) / variance.sqrt() } else { 0.0 }
    }
}

/// Drifts of all planted coins, bar by bar together: each follows its own rule, less the mean of
/// all, so that they add up to zero in every bar and the market mean stays unpredictable. The
/// factor √(n/(n−1)) gives back the variance that taking out the mean of n costs.
///
/// Memory while running: planted coins × bars × 40 bytes.
pub(super) fn drifts(spec: &MarketSpec, factors: &Factors) -> BTreeMap<usize, Vec<f64>> {
    struct Planted {
        rule: Rule,
        watch: Watch,
        shocks: Shocks,
        drift: Vec<f64>,
    }
    let mut planted: BTreeMap<usize, Planted> = BTreeMap::new();
    for (index, shared) in factors.planted() {
        let rule = match shared {
            true => Rule::shared(spec.label_correlation),
            false => Rule::private(spec, index),
        };
        let traits = shocks::traits(spec, factors.role(index), index);
        let shocks = shocks::shocks(spec, factors, &traits, index);
        let drift = Vec::with_capacity(spec.bars());
        planted.insert(index, Planted { rule, watch: Watch::new(), shocks, drift });
    }
    let n = planted.len() as f64;
    let stretch = if planted.len() > 1 { (n / (n - 1.0)).sqrt() } else { 1.0 };
    let market = &factors.market().ret;
    let mut wish = vec![0.0; planted.len()];
    for bar in 0..spec.bars() {
        for (wish, coin) in wish.iter_mut().zip(planted.values()) {
            *wish = coin.watch.drift(&coin.rule);
        }
        let mean = if wish.len() > 1 { wish.iter().sum::<f64>() / n } else { 0.0 };
        for (wish, coin) in wish.iter().zip(planted.values_mut()) {
            let drift = (wish - mean) * stretch;
            coin.drift.push(drift);
            let relative = coin.shocks.ret[bar] + drift - market[bar];
            coin.watch.push(relative, coin.shocks.log_volume[bar]);
        }
    }
    planted.into_iter().map(|(index, coin)| (index, coin.drift)).collect()
}
