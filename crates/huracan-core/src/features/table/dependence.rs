//! Serial dependence: does the coin trend, revert or cluster.

use super::super::dependence::{Autocorrelation, Efficiency, StepVariance, VarianceRatio};
use super::{Family, FeatureDef, Operator, line, log_variance_ratio, step};

fn autocorrelation(lag: usize, n: usize) -> Box<dyn Operator> {
    let mut corr = Autocorrelation::new(lag, n);
    step(move |row| corr.push(row.ret))
}

fn clustering(lag: usize, n: usize) -> Box<dyn Operator> {
    let mut corr = Autocorrelation::new(lag, n);
    step(move |row| corr.push(row.abs_ret))
}

/// ln of the variance ratio.
fn variance_ratio(q: usize, n: usize) -> Box<dyn Operator> {
    let mut ratio = VarianceRatio::new(q, n);
    step(move |row| ratio.push(row.ret).max(1e-3).ln())
}

/// Half the slope of ln Var(q-step) on ln q between q = 1 and q = 64.
fn hurst(n: usize) -> Box<dyn Operator> {
    let (mut one, mut many) = (StepVariance::new(1, n), StepVariance::new(64, n));
    let scale = 0.5 / 64_f64.ln();
    step(move |row| log_variance_ratio(many.push(row.ret), one.push(row.ret)) * scale)
}

fn efficiency(n: usize) -> Box<dyn Operator> {
    let mut ratio = Efficiency::new(n);
    step(move |row| ratio.push(row.ret))
}

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Dependence, name, lookback, unit, doc, source, make)
}

const AUTO: &str = "correlation of a return with the one before, over the span; 0 when flat";
const VR: &str = "ln of Var(q-step)/(q Var(1-step)); 0 for a random walk or when flat";
const LM: &str = "Lo & MacKinlay 1988";
const ER: &str = "net change over path length, -1 to 1; 0 when flat";

pub(super) const TABLE: &[FeatureDef] = &[
    here("autocorr_1_48", 50, "ratio", AUTO, "Pearson", || autocorrelation(1, 48)),
    here("autocorr_1_168", 170, "ratio", AUTO, "Pearson", || autocorrelation(1, 168)),
    here(
        "autocorr_24_720",
        745,
        "ratio",
        "correlation of a return with the one 24 bars before, over 720 pairs; 0 when flat",
        "Pearson; Heston, Korajczyk & Sadka 2010",
        || autocorrelation(24, 720),
    ),
    here(
        "clustering_1_168",
        170,
        "ratio",
        "correlation of |return| with the one before, over 168 pairs; 0 when flat",
        "Ding, Granger & Engle 1993",
        || clustering(1, 168),
    ),
    here("variance_ratio_4_72", 73, "log", VR, LM, || variance_ratio(4, 72)),
    here("variance_ratio_8_168", 169, "log", VR, LM, || variance_ratio(8, 168)),
    here("variance_ratio_24_720", 721, "log", VR, LM, || variance_ratio(24, 720)),
    here(
        "hurst_720",
        721,
        "ratio",
        "scaling exponent of the variance between 1 and 64 bars; 0.5 for a random walk, 0 when flat",
        "Hurst 1951; Mandelbrot & Van Ness 1968",
        || hurst(720),
    ),
    here("efficiency_24", 25, "ratio", ER, "Kaufman", || efficiency(24)),
    here("efficiency_96", 97, "ratio", ER, "Kaufman", || efficiency(96)),
    here("efficiency_336", 337, "ratio", ER, "Kaufman", || efficiency(336)),
];
