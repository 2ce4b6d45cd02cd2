//! A multiset that answers rank questions in O(log n): a tree of counts over places (Fenwick 1994).
//!
//! Places come from sorting all values once ([`Places`]). The order of two values says nothing of
//! the others, so what a window of the past answers does not depend on what comes later.

/// Each value's place among the distinct values, and these in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    /// Distinct values, ascending; −0 and 0 are one.
    pub values: Vec<f64>,
    /// Place of each input value in `values`; `None` for NaN.
    pub of: Vec<Option<usize>>,
}

impl Places {
    /// Sorts `x` once.
    pub fn new(x: &[f64]) -> Places {
        let mut values: Vec<f64> = x.iter().copied().filter(|v| !v.is_nan()).map(|v| v + 0.0).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        let place = |v: &f64| (!v.is_nan()).then(|| values.partition_point(|known| known < v));
        let of = x.iter().map(place).collect();
        Places { values, of }
    }
}

/// How often each place 0..n is held.
#[derive(Clone, Debug)]
pub struct OrderCounts {
    tree: Vec<usize>,
    total: usize,
}

impl OrderCounts {
    /// Nothing at any of `places` places.
    pub fn new(places: usize) -> OrderCounts {
        OrderCounts { tree: vec![0; places + 1], total: 0 }
    }

    /// How many are held.
    pub fn total(&self) -> usize {
        self.total
    }

    /// One more at `place`.
    pub fn add(&mut self, place: usize) {
        self.total += 1;
        self.walk(place, |count| count + 1);
    }

    /// One less at `place`, where there is one.
    pub fn remove(&mut self, place: usize) {
        if self.below(place + 1) > self.below(place) {
            self.total -= 1;
            self.walk(place, |count| count - 1);
        }
    }

    fn walk(&mut self, place: usize, change: impl Fn(usize) -> usize) {
        let mut node = place + 1;
        while node < self.tree.len() {
            self.tree[node] = change(self.tree[node]);
            node += node & node.wrapping_neg();
        }
    }

    /// How many are held at places before `place`.
    pub fn below(&self, place: usize) -> usize {
        let mut node = place.min(self.tree.len() - 1);
        let mut count = 0;
        while node > 0 {
            count += self.tree[node];
            node &= node - 1;
        }
        count
    }

    /// Share held before `place`, those at it counting half; `None` when nothing is held.
    pub fn percentile(&self, place: usize) -> Option<f64> {
        let twice = self.below(place) + self.below(place + 1);
        (self.total > 0).then(|| 0.5 * twice as f64 / self.total as f64)
    }

    /// The place of the `k`-th smallest (0 is the smallest); `None` when fewer are held.
    pub fn select(&self, k: usize) -> Option<usize> {
        if k >= self.total {
            return None;
        }
        let (mut node, mut left) = (0, k);
        let mut step = self.tree.len().next_power_of_two();
        while step > 0 {
            let next = node + step;
            if next < self.tree.len() && self.tree[next] <= left {
                left -= self.tree[next];
                node = next;
            }
            step /= 2;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Seed;
    use rand::RngExt;

    #[test]
    fn a_sliding_window_answers_as_a_sorted_one() {
        let mut rng = Seed(3).rng();
        let x: Vec<f64> = (0..300).map(|_| f64::from(rng.random_range(0..40_u8)) - 20.0).collect();
        let places = Places::new(&x);
        let mut counts = OrderCounts::new(places.values.len());
        for i in 0..x.len() {
            if i >= 50 {
                counts.remove(places.of[i - 50].unwrap());
            }
            counts.add(places.of[i].unwrap());
            let mut seen = x[(i + 1).saturating_sub(50)..=i].to_vec();
            seen.sort_by(f64::total_cmp);
            assert_eq!(counts.total(), seen.len());
            for (k, v) in seen.iter().enumerate() {
                assert_eq!(places.values[counts.select(k).unwrap()], *v);
            }
            let below = seen.iter().filter(|v| **v < x[i]).count();
            let same = seen.iter().filter(|v| **v == x[i]).count();
            let expected = (below as f64 + 0.5 * same as f64) / seen.len() as f64;
            assert!((counts.percentile(places.of[i].unwrap()).unwrap() - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn nothing_has_no_rank_and_what_is_not_there_is_not_taken() {
        let mut counts = OrderCounts::new(3);
        assert_eq!((counts.percentile(1), counts.select(0)), (None, None));
        counts.remove(1);
        counts.add(2);
        counts.remove(0);
        assert_eq!((counts.total(), counts.select(0), counts.select(1)), (1, Some(2), None));
        let places = Places::new(&[f64::NAN, 1.0, -0.0, 0.0]);
        assert_eq!((places.values, places.of), (vec![0.0, 1.0], vec![None, Some(1), Some(0), Some(0)]));
        assert_eq!(OrderCounts::new(0).select(0), None);
    }
}
