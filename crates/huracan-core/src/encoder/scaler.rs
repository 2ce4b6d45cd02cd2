//! Per-coin robust scaling with winsorising: `z = clip((x − median) / (1.4826 · MAD), ±6)`.
//!
//! Fitted on training rows, then frozen into the coin's recipe. A missing value becomes 0 (the
//! median) after scaling; how much was missing is a feature of its own.

use crate::features::FeatureMatrix;
use std::ops::Range;

/// Winsor bound in robust standard deviations; part of the encoder's identity.
pub const WINSOR: f64 = 6.0;

/// Rows that are looked at when medians are taken; longer spans are read at an even stride.
const SAMPLE_ROWS: usize = 4096;
/// Below this many values of a feature a coin's own centre and scale are not believed at all …
const FEW_VALUES: usize = 50;
/// … and below this many its scale is held up by the common one.
const ENOUGH_VALUES: usize = 240;
/// A feature that moves less than this share of what it moves in other coins is silent: what is left
/// of it is rounding (Bitcoin against Bitcoin), which scaling would blow up to a signal.
const SILENT_SHARE: f64 = 1e-4;

/// Location and scale per feature. A scale of 0 marks a feature that never varied in training: it
/// is 0 for every row.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scaler {
    /// Medians, in the features' own units.
    pub center: Vec<f64>,
    /// 1.4826 × median absolute deviation; where that is 0, the standard deviation; else 0.
    pub scale: Vec<f64>,
}

impl Scaler {
    /// Fits on the rows `span` of a feature matrix; missing values are left out. A feature with fewer
    /// than eight values there is silent.
    pub fn fit(x: &FeatureMatrix, span: Range<usize>) -> Scaler {
        let stride = span.len().div_ceil(SAMPLE_ROWS).max(1);
        let mut center = Vec::with_capacity(x.p);
        let mut scale = Vec::with_capacity(x.p);
        let mut sample = Vec::with_capacity(SAMPLE_ROWS);
        for j in 0..x.p {
            sample.clear();
            sample.extend(x.column(j)[span.clone()].iter().step_by(stride).filter(|v| v.is_finite()));
            let (c, s) = location_and_scale(&mut sample);
            center.push(c);
            scale.push(s);
        }
        Scaler { center, scale }
    }

    /// Fits as [`Scaler::fit`], held by the units common to all coins where the coin itself says too
    /// little: with few values of a feature its centre is the common one, and its scale at least a
    /// quarter of the common one; one that only carries rounding noise is silent.
    pub fn fit_within(x: &FeatureMatrix, span: Range<usize>, units: &Scaler) -> Scaler {
        let mut own = Scaler::fit(x, span.clone());
        for j in 0..x.p {
            let known = x.column(j)[span.clone()].iter().filter(|v| v.is_finite()).count();
            if known < FEW_VALUES {
                own.center[j] = units.center[j];
                own.scale[j] = units.scale[j];
            } else if own.scale[j] < SILENT_SHARE * units.scale[j] {
                own.scale[j] = 0.0;
            } else if known < ENOUGH_VALUES {
                own.scale[j] = own.scale[j].max(0.25 * units.scale[j]);
            }
        }
        own
    }

    /// The scaled value of feature `j`.
    #[inline]
    pub fn apply(&self, j: usize, x: f64) -> f64 {
        if x.is_nan() || self.scale[j] == 0.0 {
            return 0.0;
        }
        ((x - self.center[j]) / self.scale[j]).clamp(-WINSOR, WINSOR)
    }

    /// A whole matrix as rows for a Gram, n × (p + 2): features winsorised by this scaler and
    /// measured in `units` (a scaler common to all coins, so that levels stay comparable between
    /// them), missing values at this scaler's centre; the last but one column is the share of
    /// missing features of the row (−1 none, +1 all), the last all ones.
    ///
    /// A column `w` of it becomes this coin's own scaled feature by `(w − offset) / ratio`, see
    /// [`Scaler::offset_and_ratio`].
    pub fn design(&self, x: &FeatureMatrix, units: &Scaler) -> faer::Mat<f64> {
        let mut out = faer::Mat::zeros(x.n, x.p + 2);
        let mut missing = vec![0_u32; x.n];
        for j in 0..x.p {
            let (low, high) =
                (self.center[j] - WINSOR * self.scale[j], self.center[j] + WINSOR * self.scale[j]);
            let inverse = if units.scale[j] > 0.0 { 1.0 / units.scale[j] } else { 0.0 };
            let fill = (self.center[j] - units.center[j]) * inverse;
            let column = x.column(j);
            let target = out.col_mut(j).try_as_col_major_mut().map(|c| c.as_slice_mut());
            let Some(target) = target else { continue };
            for ((w, &v), m) in target.iter_mut().zip(column).zip(&mut missing) {
                let absent = v.is_nan();
                *m += u32::from(absent);
                let measured = (v.clamp(low, high) - units.center[j]) * inverse;
                *w = if absent { fill } else { measured };
            }
        }
        for i in 0..x.n {
            out[(i, x.p)] = missing_share_scaled(missing[i] as usize, x.p);
            out[(i, x.p + 1)] = 1.0;
        }
        out
    }

    /// What turns design columns into this coin's own scaled features: `(w − offset) / ratio` per
    /// column, the missing share (offset 0, ratio 1) included; ratio 0 for a feature that never
    /// varies.
    pub fn offset_and_ratio(&self, units: &Scaler) -> (Vec<f64>, Vec<f64>) {
        let inverse = |j: usize| if units.scale[j] > 0.0 { 1.0 / units.scale[j] } else { 0.0 };
        let mut offset: Vec<f64> =
            (0..self.center.len()).map(|j| (self.center[j] - units.center[j]) * inverse(j)).collect();
        let mut ratio: Vec<f64> = (0..self.center.len()).map(|j| self.scale[j] * inverse(j)).collect();
        offset.push(0.0);
        ratio.push(1.0);
        (offset, ratio)
    }
}

/// The missing share of a row as a feature: −1 when all are there, +1 when none is.
pub fn missing_share_scaled(missing: usize, p: usize) -> f64 {
    2.0 * missing as f64 / p.max(1) as f64 - 1.0
}

fn location_and_scale(sample: &mut [f64]) -> (f64, f64) {
    if sample.len() < 8 {
        return (0.0, 0.0);
    }
    let middle = sample.len() / 2;
    let median = *sample.select_nth_unstable_by(middle, f64::total_cmp).1;
    let mean = sample.iter().sum::<f64>() / sample.len() as f64;
    let variance = sample.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / sample.len() as f64;
    sample.iter_mut().for_each(|v| *v = (*v - median).abs());
    let mad = 1.4826 * *sample.select_nth_unstable_by(middle, f64::total_cmp).1;
    let deviation = variance.sqrt();
    let tiny = 1e-12 * median.abs().max(1e-12);
    match (mad > tiny, deviation > tiny) {
        (true, _) => (median, mad),
        (false, true) => (median, deviation),
        (false, false) => (median, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(columns: &[Vec<f64>]) -> FeatureMatrix {
        FeatureMatrix { n: columns[0].len(), p: columns.len(), data: columns.concat() }
    }

    #[test]
    fn rows_outside_the_span_do_not_move_the_scaler() {
        let a: Vec<f64> = (0..100).map(|i| (i as f64 * 0.7).sin()).collect();
        let mut b = a.clone();
        b[60..].iter_mut().for_each(|v| *v = 1e9);
        let fit = |c: Vec<f64>| Scaler::fit(&matrix(&[c]), 0..60);
        assert_eq!(fit(a), fit(b));
    }

    #[test]
    fn a_coin_that_says_too_little_is_held_by_the_common_units() {
        let units = Scaler { center: vec![1.0], scale: vec![8.0] };
        let fit = |n: usize| {
            let column = (0..300).map(|i| if i < n { 5.0 + (i % 2) as f64 } else { f64::NAN }).collect();
            let own = Scaler::fit_within(&matrix(&[column]), 0..300, &units);
            (own.center[0], own.scale[0])
        };
        assert_eq!(fit(20), (1.0, 8.0));
        assert_eq!(fit(100).1, 2.0);
        assert!(fit(300).1 < 2.0);
        let noise = (0..300).map(|i| 1.0 + 1e-15 * (i % 7) as f64).collect();
        assert_eq!(Scaler::fit_within(&matrix(&[noise]), 0..300, &units).scale, [0.0]);
    }

    #[test]
    fn missing_is_zero_outliers_are_clipped_and_constants_are_silent() {
        let mut a: Vec<f64> = (0..100).map(|i| i as f64).collect();
        a[3] = f64::NAN;
        a[4] = 1e12;
        let x = matrix(&[a, vec![5.0; 100]]);
        let scaler = Scaler::fit(&x, 0..100);
        let units = Scaler { center: vec![10.0, 0.0], scale: vec![4.0, 1.0] };
        let w = scaler.design(&x, &units);
        let (offset, ratio) = scaler.offset_and_ratio(&units);
        let z = |i: usize| (w[(i, 0)] - offset[0]) / ratio[0];
        assert_eq!((z(3), ratio[1], w[(7, 1)]), (0.0, 0.0, 5.0));
        assert!((z(4) - WINSOR).abs() < 1e-12);
        assert!((z(10) - scaler.apply(0, 10.0)).abs() < 1e-12);
        assert_eq!((w[(3, 2)], w[(5, 2)], w[(0, 3)]), (0.0, -1.0, 1.0));
    }
}
