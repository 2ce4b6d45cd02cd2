//! Asymmetry, tails and jumps of returns.

use super::super::volatility::{Bipower, Semivariance, Shape};
use super::super::window::{Highest, Window};
use super::{Family, FeatureDef, Operator, line, step};

/// (up − down)/(up + down) of the semivariances.
fn balance(n: usize) -> Box<dyn Operator> {
    let mut parts = Semivariance::new(n);
    step(move |row| {
        let (up, down) = parts.push(row.ret);
        if up + down > 0.0 { (up - down) / (up + down) } else { 0.0 }
    })
}

fn skew(n: usize) -> Box<dyn Operator> {
    let mut shape = Shape::new(n);
    step(move |row| shape.push(row.ret).0)
}

fn kurtosis(n: usize) -> Box<dyn Operator> {
    let mut shape = Shape::new(n);
    step(move |row| (shape.push(row.ret).1 / 3.0).max(1e-3).ln())
}

/// 1 − bipower/realised variance, scaled for the pair that is missing.
fn jumps(n: usize) -> Box<dyn Operator> {
    let mut parts = Bipower::new(n);
    let pairs = n as f64 / (n as f64 - 1.0);
    step(move |row| {
        let (realised, smooth) = parts.push(row.ret);
        if realised > 0.0 { 1.0 - pairs * smooth / realised } else { 0.0 }
    })
}

/// Largest rise of `n` bars in σ.
fn largest(n: usize) -> Box<dyn Operator> {
    let mut top = Window::new(n);
    step(move |row| top.push(Highest(row.ret)).0 * row.inv_sigma)
}

/// Largest fall of `n` bars in σ, at most 0 on any bar that fell.
fn smallest(n: usize) -> Box<dyn Operator> {
    let mut bottom = Window::new(n);
    step(move |row| -bottom.push(Highest(-row.ret)).0 * row.inv_sigma)
}

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Distribution, name, lookback, unit, doc, source, make)
}

const BALANCE: &str = "upward minus downward semivariance over their sum; 0 when flat";
const BNKS: &str = "Barndorff-Nielsen, Kinnebrock & Shephard 2010";
const SKEW: &str = "skewness of returns over the span; 0 when flat";
const KURTOSIS: &str = "ln of kurtosis/3 of returns over the span; 0 when flat";
const JUMPS: &str = "share of realised variance that is not bipower variation; 0 when flat";
const BNS: &str = "Barndorff-Nielsen & Shephard 2004";
const BCW: &str = "Bali, Cakici & Whitelaw 2011 (MAX effect)";

pub(super) const TABLE: &[FeatureDef] = &[
    here("semivariance_24", 25, "ratio", BALANCE, BNKS, || balance(24)),
    here("semivariance_168", 169, "ratio", BALANCE, BNKS, || balance(168)),
    here("skew_72", 73, "ratio", SKEW, "sample skewness", || skew(72)),
    here("skew_336", 337, "ratio", SKEW, "sample skewness", || skew(336)),
    here("kurtosis_168", 169, "log", KURTOSIS, "sample kurtosis", || kurtosis(168)),
    here("kurtosis_720", 721, "log", KURTOSIS, "sample kurtosis", || kurtosis(720)),
    here("jump_share_24", 25, "ratio", JUMPS, BNS, || jumps(24)),
    here("jump_share_168", 169, "ratio", JUMPS, BNS, || jumps(168)),
    here("largest_rise_72", 73, "sigma", "largest one-bar return of 72 bars, in sigma", BCW, || largest(72))
        .in_sigma(),
    here("largest_fall_72", 73, "sigma", "smallest one-bar return of 72 bars, in sigma", BCW, || smallest(72))
        .in_sigma(),
];
