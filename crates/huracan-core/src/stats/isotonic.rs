//! Monotone calibration: isotonic regression by pooling adjacent violators (Ayer et al. 1955).

/// A non-decreasing piecewise linear function, constant outside the range it was fitted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Isotonic {
    /// Strictly ascending knots.
    pub x: Vec<f64>,
    /// Non-decreasing values at the knots.
    pub y: Vec<f64>,
}

/// The non-decreasing fit of `y` on `x` that minimises Σ w(y − f(x))²; equal x are averaged first
/// (as scikit-learn). `weights` of `None` counts every row once. `None` when empty, the lengths
/// disagree, a value is not finite or a weight is not positive.
pub fn fit_isotonic(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> Option<Isotonic> {
    let usable = weights.is_none_or(|w| w.len() == x.len() && w.iter().all(|v| *v > 0.0 && v.is_finite()));
    if x.is_empty() || x.len() != y.len() || !usable || x.iter().chain(y).any(|v| !v.is_finite()) {
        return None;
    }
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut knots: Vec<Block> = Vec::new();
    for &i in &order {
        let row = Block { first: x[i], value: y[i], weight: weights.map_or(1.0, |w| w[i]), knots: 1 };
        match knots.last_mut() {
            Some(last) if last.first == row.first => last.absorb(&row),
            _ => knots.push(row),
        }
    }
    knots.iter_mut().for_each(|knot| knot.knots = 1);
    let mut pooled: Vec<Block> = Vec::with_capacity(knots.len());
    for knot in &knots {
        let mut block = knot.clone();
        while let Some(before) = pooled.pop_if(|before| before.value >= block.value) {
            let mut joined = before;
            joined.absorb(&block);
            block = joined;
        }
        pooled.push(block);
    }
    let y = pooled.iter().flat_map(|block| std::iter::repeat_n(block.value, block.knots)).collect();
    Some(Isotonic { x: knots.iter().map(|knot| knot.first).collect(), y })
}

impl Isotonic {
    /// The fitted value at `x`, linear between knots, clipped to the end values; NaN for NaN.
    pub fn predict(&self, x: f64) -> f64 {
        if x.is_nan() {
            return f64::NAN;
        }
        let above = self.x.partition_point(|knot| *knot <= x);
        let last = self.x.len() - 1;
        if above == 0 || above > last {
            return self.y[if above == 0 { 0 } else { last }];
        }
        let (x0, x1, y0, y1) = (self.x[above - 1], self.x[above], self.y[above - 1], self.y[above]);
        y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    }
}

#[derive(Clone)]
struct Block {
    first: f64,
    value: f64,
    weight: f64,
    knots: usize,
}

impl Block {
    fn absorb(&mut self, next: &Block) {
        let weight = self.weight + next.weight;
        self.value = (self.value * self.weight + next.value * next.weight) / weight;
        self.weight = weight;
        self.knots += next.knots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled_and_the_ends_are_flat() {
        let fit = fit_isotonic(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0], None).unwrap();
        assert_eq!(fit.y, vec![1.0, 2.5, 2.5, 4.0]);
        assert_eq!((fit.predict(0.0), fit.predict(9.0), fit.predict(1.5)), (1.0, 4.0, 1.75));
        assert!(fit.predict(f64::NAN).is_nan());
    }

    #[test]
    fn ties_are_averaged_and_weights_count() {
        let fit = fit_isotonic(&[1.0, 1.0, 2.0], &[0.0, 4.0, 1.0], Some(&[1.0, 1.0, 2.0])).unwrap();
        assert_eq!((fit.x, fit.y), (vec![1.0, 2.0], vec![1.5, 1.5]));
        assert_eq!(fit_isotonic(&[], &[], None), None);
        assert_eq!(fit_isotonic(&[1.0], &[f64::NAN], None), None);
    }
}
