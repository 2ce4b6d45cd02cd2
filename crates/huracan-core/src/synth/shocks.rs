//! One coin before any drift: its fixed traits, and per bar the return, the scale of the path
//! inside the bar, and the volume.
//!
//! Volatilities, mixing scales and volumes come from a stream of their own (`scales`), the signs
//! and sizes of returns from another (`returns`): the independence the no-edge argument needs is
//! visible in the code.

use super::MarketSpec;
use super::factors::{Factors, Role, bridge_scale};
use crate::words::Timeframe;
use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

/// Own log-volatility: standard deviation and memory in days.
const OWN_LOG_VOL: (f64, f64) = (0.3, 2.0);
/// Own log-volume beyond what volatility explains: standard deviation and memory in days.
const OWN_LOG_VOLUME: (f64, f64) = (0.4, 0.5);
/// Volume rises with volatility to this power (real perpetuals: 0.6 to 1.2).
const VOLUME_PER_VOL: f64 = 0.9;
/// Brings the median day to the coin's typical volume; measured, since the parts are not
/// centred and are autocorrelated.
const VOLUME_LEVEL: f64 = 0.37;
/// How much of the common log-volatility enters a coin's own.
const COMMON_SHARE: f64 = 0.6;

/// What does not change over a coin's life.
#[derive(Clone, Debug)]
pub(super) struct Traits {
    pub beta: f64,
    pub sector: usize,
    pub sector_load: f64,
    /// Volatility of the coin's own part, per day.
    pub own_day: f64,
    pub adv_usd: f64,
    pub spread_bps: f64,
    pub price: f64,
    /// First bar of the coin on the market's grid.
    pub listed: usize,
}

/// Per bar of the full grid.
#[derive(Clone, Debug)]
pub(super) struct Shocks {
    /// Log-return of the efficient price, without planted drift.
    pub ret: Vec<f64>,
    /// Standard deviation of this bar's return given its mixing scales.
    pub scale: Vec<f64>,
    /// Natural logarithm of the bar's quote volume in USD.
    pub log_volume: Vec<f64>,
}

/// A standard normal draw.
pub(super) fn draw(rng: &mut StdRng) -> f64 {
    StandardNormal.sample(rng)
}

/// `w` with `E[w²] = 1` such that `w·g` is Student-t with 6 degrees of freedom: `√(4/χ²₆)`, where
/// `χ²₆ = −2·ln(u₁u₂u₃)`. Capped at 5, a bound a listed coin reaches about once in its life.
pub(super) fn mixing_scale(rng: &mut StdRng) -> f64 {
    let product = uniform(rng) * uniform(rng) * uniform(rng);
    (-2.0 / product.ln()).sqrt().min(5.0)
}

/// Uniform on (0, 1].
pub(super) fn uniform(rng: &mut StdRng) -> f64 {
    1.0 - rng.random::<f64>()
}

/// Uniform in the logarithm between two positive bounds.
fn log_uniform(rng: &mut StdRng, low: f64, high: f64) -> f64 {
    (low.ln() + (high / low).ln() * rng.random::<f64>()).exp()
}

/// A log-AR(1) whose exponential squared has mean 1.
pub(super) struct LogVol {
    value: f64,
    keep: f64,
    kick: f64,
    centre: f64,
}

impl LogVol {
    /// Starts in the stationary distribution.
    pub fn new((sd, memory_days): (f64, f64), timeframe: Timeframe, rng: &mut StdRng) -> LogVol {
        let keep = (-1.0 / (memory_days * timeframe.bars_per_day())).exp();
        let kick = sd * (1.0 - keep * keep).sqrt();
        LogVol { value: sd * draw(rng), keep, kick, centre: -sd * sd }
    }

    pub fn step(&mut self, rng: &mut StdRng) -> f64 {
        self.value = self.keep * self.value + self.kick * draw(rng);
        self.value + self.centre
    }
}

/// Draws a coin's traits.
pub(super) fn traits(spec: &MarketSpec, role: Role, index: usize) -> Traits {
    let mut rng = spec.seed.child("traits", index as u64).rng();
    let planted = matches!(role, Role::Shared | Role::Private);
    let beta = if planted { rng.random_range(0.9..1.1) } else { rng.random_range(0.7..1.3) };
    let adv_usd = match role {
        Role::Thin => log_uniform(&mut rng, 5e4, 6e5),
        Role::Shared | Role::Private => log_uniform(&mut rng, 3e7, 2e9),
        Role::Stable => log_uniform(&mut rng, 5e7, 1e9),
        _ => log_uniform(&mut rng, 2e6, 5e9),
    };
    let spread_noise = if planted { 0.0 } else { 0.4 * draw(&mut rng) };
    let spread_bps = (2.5 * (1e8 / adv_usd).powf(0.35) * spread_noise.exp()).clamp(0.5, 60.0);
    let listed = match role {
        Role::Late => (spec.bars() as f64 * rng.random_range(0.3..0.97)) as usize,
        _ => 0,
    };
    let drawn = Traits {
        beta,
        sector: rng.random_range(0..spec.sectors.max(1)),
        sector_load: rng.random_range(0.5..1.2),
        own_day: log_uniform(&mut rng, 0.022, 0.055),
        adv_usd,
        spread_bps,
        price: log_uniform(&mut rng, 0.01, 300.0),
        listed,
    };
    match index {
        0 => Traits {
            beta: 0.85,
            sector_load: 0.2,
            own_day: 0.008,
            adv_usd: 1.2e10,
            spread_bps: 0.5,
            price: 68_000.0,
            ..drawn
        },
        1 => Traits {
            beta: 1.0,
            sector_load: 0.3,
            own_day: 0.014,
            adv_usd: 8e9,
            spread_bps: 0.5,
            price: 2_600.0,
            ..drawn
        },
        _ => drawn,
    }
}

/// Draws a coin's bars before drift.
pub(super) fn shocks(spec: &MarketSpec, factors: &Factors, traits: &Traits, index: usize) -> Shocks {
    let bars = spec.bars();
    let mut scales = spec.seed.child("scales", index as u64).rng();
    let mut returns = spec.seed.child("returns", index as u64).rng();
    let per_bar = spec.timeframe.bars_per_day();
    let own_bar = traits.own_day / per_bar.sqrt();
    let volume_bar = (traits.adv_usd / per_bar).ln() + VOLUME_LEVEL;
    let mut log_vol = LogVol::new(OWN_LOG_VOL, spec.timeframe, &mut scales);
    let mut log_volume = LogVol::new(OWN_LOG_VOLUME, spec.timeframe, &mut scales);
    let (market, sector) = (factors.market(), factors.sector(traits.sector));
    let mut out = Shocks {
        ret: Vec::with_capacity(bars),
        scale: Vec::with_capacity(bars),
        log_volume: Vec::with_capacity(bars),
    };
    for i in 0..bars {
        let level = COMMON_SHARE * factors.common_log_vol()[i] + log_vol.step(&mut scales);
        let mixing = mixing_scale(&mut scales);
        let own_scale = own_bar * factors.intraday()[i] * level.exp() * mixing;
        let own = own_scale * draw(&mut returns);
        let common = traits.beta * market.ret[i] + traits.sector_load * sector.ret[i];
        out.ret.push(common + own);
        out.scale.push(bridge_scale(traits, market.scale[i], sector.scale[i], own_scale));
        // The mixing scale is the bar's surprise in activity: a big bar is a busy bar, up or down.
        let activity = VOLUME_PER_VOL * (level + mixing.ln() + factors.intraday()[i].ln());
        out.log_volume.push(volume_bar + activity + log_volume.step(&mut scales));
    }
    out
}

/// A fair coin toss: +1 or −1.
pub(super) fn toss(rng: &mut StdRng) -> f64 {
    if rng.random::<bool>() { 1.0 } else { -1.0 }
}
