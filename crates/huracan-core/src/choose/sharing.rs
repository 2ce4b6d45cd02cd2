//! What sharing gave each coin: paired out-of-sample differences, with false-discovery control.

use crate::stats::bootstrap::{percentile_interval, stationary_means};
use crate::stats::hac::{SmallSample, newey_west_mean};
use crate::stats::multiple_testing::benjamini_hochberg;
use crate::words::Seed;

/// The measured answer for one coin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SharingVerdict {
    /// Better with sharing, beyond chance over all coins.
    Helped,
    /// Worse with sharing, beyond chance over all coins.
    Hurt,
    /// The data cannot tell.
    Undecided,
}

impl SharingVerdict {
    /// The word written in files.
    pub fn code(self) -> &'static str {
        match self {
            SharingVerdict::Helped => "helped",
            SharingVerdict::Hurt => "hurt",
            SharingVerdict::Undecided => "undecided",
        }
    }
}

/// One coin's paired difference, bps a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharingGain {
    /// Mean of (with − without).
    pub mean_bps: f64,
    /// 90 % stationary-bootstrap interval of the mean; `None` when the two never differed.
    pub interval_bps: Option<[f64; 2]>,
    /// The verdict after false-discovery control over all coins.
    pub verdict: SharingVerdict,
}

/// Verdicts for all coins from their daily paired differences (with − without, bps).
///
/// Two-sided HAC tests with `lag_days`, Benjamini–Hochberg at `rate` over the coins that differ at
/// all. Bootstrap seeds are children of `seed` by position.
pub fn gains(
    differences: &[Vec<f64>],
    rate: f64,
    mean_block_days: f64,
    lag_days: usize,
    seed: Seed,
) -> Vec<SharingGain> {
    let verdicts = verdicts(differences, rate, lag_days);
    (0..differences.len())
        .map(|i| {
            let d = &differences[i];
            let varies = d.iter().any(|v| *v != d[0]);
            let resample = || stationary_means(d, mean_block_days, 400, seed.child("sharing", i as u64));
            SharingGain {
                mean_bps: if d.is_empty() { 0.0 } else { d.iter().sum::<f64>() / d.len() as f64 },
                interval_bps: varies.then(|| percentile_interval(resample(), 0.90)).flatten(),
                verdict: verdicts[i],
            }
        })
        .collect()
}

/// Which coins sharing hurt, by the same test.
pub fn hurt(differences: &[Vec<f64>], rate: f64, lag_days: usize) -> Vec<bool> {
    verdicts(differences, rate, lag_days).into_iter().map(|v| v == SharingVerdict::Hurt).collect()
}

fn verdicts(differences: &[Vec<f64>], rate: f64, lag_days: usize) -> Vec<SharingVerdict> {
    let tests: Vec<_> =
        differences.iter().map(|d| newey_west_mean(d, lag_days, SmallSample::Student)).collect();
    let testable: Vec<usize> = (0..tests.len()).filter(|&i| tests[i].is_some()).collect();
    let two_sided = |i: &usize| tests[*i].map_or(1.0, |t| 2.0 * t.p_one_sided.min(1.0 - t.p_one_sided));
    let adjusted = benjamini_hochberg(&testable.iter().map(two_sided).collect::<Vec<_>>());
    let mut out = vec![SharingVerdict::Undecided; tests.len()];
    for (&i, q) in testable.iter().zip(adjusted) {
        let gained = tests[i].is_some_and(|t| t.mean > 0.0);
        if q <= rate {
            out[i] = if gained { SharingVerdict::Helped } else { SharingVerdict::Hurt };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn strong_differences_are_named_and_noise_is_not() {
        let mut rng = Seed(4).rng();
        let mut draw = |mean: f64| -> Vec<f64> {
            (0..150)
                .map(|_| {
                    let noise: f64 = StandardNormal.sample(&mut rng);
                    mean + 10.0 * noise
                })
                .collect()
        };
        let mut days: Vec<Vec<f64>> = (0..60).map(|_| draw(0.0)).collect();
        days.push(draw(5.0));
        days.push(draw(-5.0));
        days.push(vec![0.0; 150]);
        let found = gains(&days, 0.10, 3.0, 2, Seed(9));
        assert!(found[..60].iter().filter(|g| g.verdict != SharingVerdict::Undecided).count() <= 3);
        assert_eq!(found[60].verdict, SharingVerdict::Helped);
        assert_eq!(found[61].verdict, SharingVerdict::Hurt);
        assert_eq!((found[62].verdict, found[62].interval_bps), (SharingVerdict::Undecided, None));
    }
}
