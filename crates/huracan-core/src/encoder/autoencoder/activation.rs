//! Hyperbolic tangent as a ratio of two polynomials (the one of Eigen and XLA): exact to a few units in
//! the last place of f32, the same on every machine, and made of operations that vectorise.

/// Beyond this f32 cannot tell tanh from ±1.
const SATURATED: f32 = 7.905_311;
/// Odd coefficients of the numerator, highest first.
const NUMERATOR: [f32; 7] = [
    -2.760_768_5e-16,
    2.000_188e-13,
    -8.604_672e-11,
    5.122_297_2e-8,
    1.485_722_4e-5,
    6.372_619_5e-4,
    4.893_524_6e-3,
];
/// Even coefficients of the denominator, highest first.
const DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_7e-3, 4.893_525e-3];

/// tanh of `x`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let x = x.clamp(-SATURATED, SATURATED);
    let square = x * x;
    let numerator = NUMERATOR.iter().fold(0.0, |sum, &c| sum * square + c);
    let denominator = DENOMINATOR.iter().fold(0.0, |sum, &c| sum * square + c);
    x * numerator / denominator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tanh() {
        for i in -4000..=4000 {
            let x = i as f32 * 0.005;
            let error = (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
            assert!(error < 4e-7, "tanh({x}) is off by {error}");
        }
        assert!(tanh(f32::NAN).is_nan());
        assert!((tanh(f32::INFINITY) - 1.0).abs() < 4e-7);
    }
}
