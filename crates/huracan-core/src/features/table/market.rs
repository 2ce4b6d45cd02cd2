//! The market as a whole, its leaders, the coin against them, and its rank among all coins.

use super::super::row::{CROSS_WARM, CrossVariable, Needs, Row, SIGMA_WARM};
use super::super::volatility::Mean;
use super::super::window::{Delay, Pairs, Window};
use super::{Family, FeatureDef, Operator, SIGMA_DECAY, line, log_variance_ratio, per_root, step};

/// The market's return over its span `k` of `n` bars in the coin's σ√n.
fn market(k: usize, n: usize) -> Box<dyn Operator> {
    let scale = per_root(n);
    step(move |row| row.market.returns[k] * row.inv_sigma * scale)
}

fn btc(k: usize, n: usize) -> Box<dyn Operator> {
    let scale = per_root(n);
    step(move |row| row.market.btc[k] * row.inv_sigma * scale)
}

fn eth(k: usize, n: usize) -> Box<dyn Operator> {
    let scale = per_root(n);
    step(move |row| row.market.eth[k] * row.inv_sigma * scale)
}

/// A leader's return minus the coin's own over `n` bars, in σ√n: what may still be caught up.
fn lead(n: usize, leader: impl Fn(&Row) -> f64 + Send + 'static) -> Box<dyn Operator> {
    let (mut back, scale) = (Delay::new(n), per_root(n));
    step(move |row| (leader(row) - (row.close - back.push(row.close))) * row.inv_sigma * scale)
}

/// Correlation of the coin's return with a leader's one bar before, over `n` bars.
fn lead_correlation(n: usize, leader: impl Fn(&Row) -> f64 + Send + 'static) -> Box<dyn Operator> {
    let (mut pairs, mut before) = (Pairs::new(n), 0.0);
    step(move |row| pairs.push(std::mem::replace(&mut before, leader(row)), row.ret).correlation())
}

fn beta(n: usize) -> Box<dyn Operator> {
    let mut pairs = Pairs::new(n);
    step(move |row| pairs.push(row.market_ret, row.ret).slope())
}

/// ln of idiosyncratic against total volatility: ½ ln(1 − ρ²), floor ρ² = 1 − 1e-6.
fn idiosyncratic(n: usize) -> Box<dyn Operator> {
    let mut pairs = Pairs::new(n);
    step(move |row| {
        let rho = pairs.push(row.market_ret, row.ret).correlation();
        0.5 * (1.0 - rho * rho).max(1e-6).ln()
    })
}

/// Own minus β × market return over `n` bars, in residual volatility √n; β and residual volatility
/// over 168 bars. 0 where nothing is left.
fn residual(n: usize) -> Box<dyn Operator> {
    const BETA_BARS: usize = 168;
    let (mut pairs, mut sums): (Pairs, Window<[f64; 2]>) = (Pairs::new(BETA_BARS), Window::new(n));
    let count = n as f64;
    step(move |row| {
        let fit = pairs.push(row.market_ret, row.ret);
        let [own, market] = sums.push([row.ret, row.market_ret]);
        let slope = fit.slope();
        let left = fit.var_y - slope * fit.cov;
        if left > 1e-10 { (own - slope * market) / (left * count).sqrt() } else { 0.0 }
    })
}

/// Mean log volume of 24 against 168 bars, minus the same of the whole market.
fn turnover_share() -> Box<dyn Operator> {
    let (mut day, mut week) = (Mean::new(24), Mean::new(168));
    step(move |row| day.push(row.log_quote) - week.push(row.log_quote) - row.market.volume_surge)
}

const fn here(
    needs: Needs,
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Market, name, lookback, unit, doc, source, make).needing(needs)
}

const fn whole(name: &'static str, make: fn() -> Box<dyn Operator>) -> FeatureDef {
    let doc = "equal-weight mean return of all coins over the span, in the coin's sigma times its root";
    here(Needs::Market, name, SIGMA_WARM, "sigma", doc, "Moskowitz, Ooi & Pedersen 2012", make).in_sigma()
}

const fn leader(needs: Needs, name: &'static str, make: fn() -> Box<dyn Operator>) -> FeatureDef {
    let doc = "the leader's return over the span, in the coin's sigma times its root";
    here(needs, name, SIGMA_WARM, "sigma", doc, LEAD, make).in_sigma()
}

const fn catch_up(needs: Needs, name: &'static str, n: usize, make: fn() -> Box<dyn Operator>) -> FeatureDef {
    let doc = "the leader's return minus the coin's own over the span, in sigma";
    here(needs, name, n + 1, "sigma", doc, LEAD, make).in_sigma()
}

const LEAD: &str = "Lo & MacKinlay 1990, lead-lag";
const BETA: &str = "slope of own returns on the market's over the span; 0 when constant";
const IDIO: &str = "ln of volatility not explained by the market over all volatility, over the span";
const RESIDUAL: &str =
    "own return minus beta times the market's over the span, in residual volatility; 0 when flat";
const BHM: &str = "Blitz, Huij & Martens 2011, residual momentum";
const AHXZ: &str = "Ang, Hodrick, Xing & Zhang 2006";

pub(super) const TABLE: &[FeatureDef] = &[
    whole("market_ret_1", || market(0, 1)),
    whole("market_ret_4", || market(1, 4)),
    whole("market_ret_24", || market(2, 24)),
    whole("market_ret_72", || market(3, 72)),
    whole("market_ret_168", || market(4, 168)),
    here(
        Needs::Market,
        "dispersion_24_168",
        1,
        "log",
        "ln of cross-sectional dispersion of returns over 24 against 168 bars",
        "Stivers & Sun 2010",
        || {
            step(|row| {
                let [near, far] = row.market.dispersion;
                0.5 * log_variance_ratio(near * near, far * far)
            })
        },
    ),
    here(
        Needs::Market,
        "dispersion_sigma_24",
        SIGMA_WARM,
        "log",
        "ln of cross-sectional dispersion over 24 bars against the coin's sigma",
        "Stivers & Sun 2010",
        || step(|row| 0.5 * log_variance_ratio(row.market.dispersion[0] * row.market.dispersion[0], row.sigma * row.sigma)),
    )
    .decays(SIGMA_DECAY),
    here(Needs::Market, "breadth_1", 1, "ratio", "share of rising minus share of falling coins", "market breadth", || {
        step(|row| row.market.breadth[0])
    }),
    here(Needs::Market, "breadth_24", 1, "ratio", "mean breadth over 24 bars", "market breadth", || {
        step(|row| row.market.breadth[1])
    }),
    leader(Needs::Bitcoin, "btc_ret_1", || btc(0, 1)),
    leader(Needs::Bitcoin, "btc_ret_4", || btc(1, 4)),
    leader(Needs::Bitcoin, "btc_ret_24", || btc(2, 24)),
    leader(Needs::Ether, "eth_ret_1", || eth(0, 1)),
    leader(Needs::Ether, "eth_ret_4", || eth(1, 4)),
    leader(Needs::Ether, "eth_ret_24", || eth(2, 24)),
    catch_up(Needs::Bitcoin, "btc_lead_1", 1, || lead(1, |row| row.market.btc[0])),
    catch_up(Needs::Bitcoin, "btc_lead_4", 4, || lead(4, |row| row.market.btc[1])),
    catch_up(Needs::Bitcoin, "btc_lead_24", 24, || lead(24, |row| row.market.btc[2])),
    catch_up(Needs::Ether, "eth_lead_1", 1, || lead(1, |row| row.market.eth[0])),
    catch_up(Needs::Ether, "eth_lead_4", 4, || lead(4, |row| row.market.eth[1])),
    catch_up(Needs::Ether, "eth_lead_24", 24, || lead(24, |row| row.market.eth[2])),
    here(
        Needs::Bitcoin,
        "btc_lead_corr_168",
        169,
        "ratio",
        "correlation of own return with Bitcoin's one bar before, over 168 bars; 0 when constant",
        LEAD,
        || lead_correlation(168, |row| row.btc_ret),
    ),
    here(
        Needs::Ether,
        "eth_lead_corr_168",
        169,
        "ratio",
        "correlation of own return with Ether's one bar before, over 168 bars; 0 when constant",
        LEAD,
        || lead_correlation(168, |row| row.eth_ret),
    ),
    here(Needs::Market, "beta_168", 169, "ratio", BETA, "Sharpe 1964", || beta(168)),
    here(Needs::Market, "beta_720", 721, "ratio", BETA, "Sharpe 1964", || beta(720)),
    here(Needs::Market, "idiosyncratic_168", 169, "log", IDIO, AHXZ, || idiosyncratic(168)),
    here(Needs::Market, "idiosyncratic_720", 721, "log", IDIO, AHXZ, || idiosyncratic(720)),
    here(Needs::Market, "residual_24", 169, "sigma", RESIDUAL, BHM, || residual(24)),
    here(Needs::Market, "residual_72", 169, "sigma", RESIDUAL, BHM, || residual(72)),
    here(Needs::Market, "residual_168", 169, "sigma", RESIDUAL, BHM, || residual(168)),
    here(
        Needs::Market,
        "turnover_share_24_168",
        168,
        "log",
        "mean log volume of 24 against 168 bars, minus the same of the whole market",
        "Lo & Wang 2000",
        turnover_share,
    )
    .decays(1_500),
];

const fn ranked(name: &'static str, doc: &'static str, make: fn() -> Box<dyn Operator>) -> FeatureDef {
    let source = "Jegadeesh & Titman 1993; ranks as in Gu, Kelly & Xiu 2020";
    line(Family::CrossSection, name, CROSS_WARM, "rank", doc, source, make)
        .needing(Needs::CrossSection)
        .decays(1_500)
}

pub(super) const RANKS: &[FeatureDef] = &[
    ranked("rank_ret_24", "rank of the 24-bar return in sigma among all coins, -1 to 1", || {
        step(|row| row.rank(CrossVariable::Return24))
    }),
    ranked("rank_ret_72", "rank of the 72-bar return in sigma among all coins, -1 to 1", || {
        step(|row| row.rank(CrossVariable::Return72))
    }),
    ranked("rank_ret_168", "rank of the 168-bar return in sigma among all coins, -1 to 1", || {
        step(|row| row.rank(CrossVariable::Return168))
    }),
    ranked("rank_volatility", "rank of sigma among all coins, -1 to 1", || {
        step(|row| row.rank(CrossVariable::Volatility))
    }),
    ranked("rank_volume_surge", "rank of the volume surge (24 against 168 bars) among all coins, -1 to 1", || {
        step(|row| row.rank(CrossVariable::VolumeSurge))
    }),
    ranked("rank_turnover", "rank of 24-bar quote volume in USD among all coins, -1 to 1", || {
        step(|row| row.rank(CrossVariable::Turnover))
    }),
    ranked("rank_turn_24_168", "rank of the 24-bar minus rank of the 168-bar return, over 2", || {
        step(|row| 0.5 * (row.rank(CrossVariable::Return24) - row.rank(CrossVariable::Return168)))
    }),
];
