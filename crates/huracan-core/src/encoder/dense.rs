//! Products of a matrix and one row, with sums in a fixed order: the same bits for a row alone, in any
//! batch and on any machine (a multiplication and an addition each, never fused).

use faer::traits::ComplexField;
use std::ops::{Add, Mul};

/// Runs `work` compiled for the widest vectors this machine has.
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    <f32 as ComplexField>::Arch::default().dispatch(work)
}

/// `out += W·x`, with `weights[i * out.len() + o]` from input i to output o; every sum goes over the
/// inputs in order.
pub(super) fn add_product<T: Copy + Add<Output = T> + Mul<Output = T>>(
    weights: &[T],
    x: &[T],
    out: &mut [T],
) {
    if out.is_empty() {
        return;
    }
    vectorised(
        #[inline(always)]
        || add_product_unrolled(weights, x, out),
    );
}

/// Four inputs a pass, so that an output is read and written once for four sums.
#[inline(always)]
fn add_product_unrolled<T: Copy + Add<Output = T> + Mul<Output = T>>(weights: &[T], x: &[T], out: &mut [T]) {
    let m = out.len();
    let fours = x.len() / 4;
    for (w, x) in weights.chunks_exact(4 * m).zip(x.chunks_exact(4)) {
        let (w, x) = ([&w[..m], &w[m..2 * m], &w[2 * m..3 * m], &w[3 * m..4 * m]], [x[0], x[1], x[2], x[3]]);
        for o in 0..m {
            out[o] = out[o] + w[0][o] * x[0] + w[1][o] * x[1] + w[2][o] * x[2] + w[3][o] * x[3];
        }
    }
    for (w, &x) in weights[fours * 4 * m..].chunks_exact(m).zip(&x[fours * 4..]) {
        for o in 0..m {
            out[o] = out[o] + w[o] * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_plain_loop_bit_for_bit() {
        for (inputs, outputs) in [(0, 3), (3, 1), (9, 5), (150, 33)] {
            let value = |i: usize| ((i * 7919 + 13) as f32 * 0.37).sin();
            let weights: Vec<f32> = (0..inputs * outputs).map(value).collect();
            let x: Vec<f32> = (0..inputs).map(|i| value(i + 5)).collect();
            let mut out: Vec<f32> = (0..outputs).map(|i| value(i + 11)).collect();
            let plain: Vec<f32> = (0..outputs)
                .map(|o| (0..inputs).fold(out[o], |sum, i| sum + weights[i * outputs + o] * x[i]))
                .collect();
            add_product(&weights, &x, &mut out);
            assert_eq!(out, plain);
        }
    }
}
