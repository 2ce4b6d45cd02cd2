//! Whether the best of many models beats a benchmark, given that it was picked for being the best:
//! Hansen's (2005) test of superior predictive ability.

use super::autocorrelation::dot;
use super::bootstrap::stationary_rows;
use crate::words::Seed;

/// p-values of "no model beats the benchmark"; lower ≤ consistent ≤ upper up to simulation noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuperiorAbility {
    /// Models worse than the benchmark count as exactly equal to it: too liberal.
    pub lower: f64,
    /// Only clearly bad models are set aside (the law of the iterated logarithm): the one to use.
    pub consistent: f64,
    /// All models count as equal to the benchmark (White's reality check, studentised).
    pub upper: f64,
}

/// SPA over `gains` (one column a model, per-period gain over the benchmark, equal lengths n ≥ 10)
/// by a stationary bootstrap with `mean_block` and `repetitions`. Variances are Hansen's, implied
/// by the resampling scheme. `None` when the shapes disagree or no model varies; models that do
/// not vary are left out.
pub fn superior_predictive_ability(
    gains: &[&[f64]],
    mean_block: f64,
    repetitions: usize,
    seed: Seed,
) -> Option<SuperiorAbility> {
    let n = gains.first()?.len();
    if n < 10 || repetitions == 0 || gains.iter().any(|g| g.len() != n) {
        return None;
    }
    let models: Vec<Model<'_>> = gains.iter().filter_map(|g| Model::new(g, mean_block)).collect();
    if models.is_empty() {
        return None;
    }
    let size = n as f64;
    let bad = -(2.0 * size.ln().ln()).sqrt();
    let observed = models.iter().map(Model::t).fold(0.0, f64::max);
    let mut exceeded = [0_usize; 3];
    let mut rng = seed.rng();
    for _ in 0..repetitions {
        let rows = stationary_rows(n, mean_block, &mut rng);
        let mut largest = [0.0_f64; 3];
        for model in &models {
            let drawn = rows.iter().map(|&i| model.gains[i]).sum::<f64>() / size;
            let consistent = if model.t() >= bad { model.mean } else { 0.0 };
            let centres = [model.mean.max(0.0), consistent, model.mean];
            for (top, centre) in largest.iter_mut().zip(centres) {
                *top = top.max((drawn - centre) / model.std_error);
            }
        }
        for (count, top) in exceeded.iter_mut().zip(largest) {
            *count += usize::from(top > observed);
        }
    }
    let [lower, consistent, upper] = exceeded.map(|count| count as f64 / repetitions as f64);
    Some(SuperiorAbility { lower, consistent, upper })
}

struct Model<'a> {
    gains: &'a [f64],
    mean: f64,
    std_error: f64,
}

impl<'a> Model<'a> {
    fn new(gains: &'a [f64], mean_block: f64) -> Option<Model<'a>> {
        let mean = super::moments::mean(gains)?;
        super::moments::std_dev(gains)?;
        let variance = bootstrap_variance(gains, mean, mean_block);
        let std_error = (variance / gains.len() as f64).sqrt();
        (std_error > 0.0).then_some(Model { gains, mean, std_error })
    }

    fn t(&self) -> f64 {
        self.mean / self.std_error
    }
}

/// n × the variance of the resampled mean: γ₀ + 2Σκᵢγᵢ with κᵢ = (1−i/n)(1−q)ⁱ + (i/n)(1−q)ⁿ⁻ⁱ.
fn bootstrap_variance(x: &[f64], mean: f64, mean_block: f64) -> f64 {
    let n = x.len();
    let e: Vec<f64> = x.iter().map(|v| v - mean).collect();
    let stay = 1.0 - 1.0 / mean_block.max(1.0);
    let weight = |i: usize| {
        let share = i as f64 / n as f64;
        (1.0 - share) * stay.powi(i as i32) + share * stay.powi((n - i) as i32)
    };
    let lagged: f64 = (1..n).map(|i| weight(i) * dot(&e[i..], &e[..n - i])).sum();
    (dot(&e, &e) + 2.0 * lagged) / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strong_model_is_found_and_noise_is_not() {
        let noise = |k: usize| -> Vec<f64> {
            (0..120_usize).map(|i| ((i * i * (k + 3) + i * 7) % 101) as f64 / 50.0 - 1.0).collect()
        };
        let plain: Vec<Vec<f64>> = (1..6).map(noise).map(|x| demeaned(&x)).collect();
        let mut strong = plain.clone();
        strong[2].iter_mut().for_each(|v| *v += 0.5);
        let p = |models: &[Vec<f64>]| {
            let columns: Vec<&[f64]> = models.iter().map(Vec::as_slice).collect();
            superior_predictive_ability(&columns, 4.0, 500, Seed(3)).unwrap()
        };
        assert!(p(&strong).consistent < 0.01);
        assert!(p(&plain).consistent > 0.5);
        assert_eq!(superior_predictive_ability(&[&[0.0; 20]], 4.0, 100, Seed(3)), None);
    }

    fn demeaned(x: &[f64]) -> Vec<f64> {
        let m = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|v| v - m).collect()
    }
}
