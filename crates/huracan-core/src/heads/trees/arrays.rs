//! An ensemble as named arrays of finite numbers, for any container that stores such; and back,
//! trusting nothing.

use super::ensemble::{Ensemble, Node, Tree};
use std::collections::BTreeMap;

/// Most features an ensemble that is read may have.
const FEATURES_MAX: usize = 1 << 16;

/// Why arrays are no ensemble.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TreesError {
    /// An array is not there.
    #[error("trees: array {name} is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// An array has another length than the others say.
    #[error("trees: array {name} has {found} values, expected {expected}")]
    Length {
        /// Its name.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
    },
    /// A value that cannot be.
    #[error("trees: {name} value {at} is {found}, expected {expected}")]
    Value {
        /// The array's name.
        name: &'static str,
        /// Which value.
        at: usize,
        /// What it is.
        found: f64,
        /// What it should be.
        expected: &'static str,
    },
}

impl Ensemble {
    /// One-dimensional arrays of finite numbers, from which [`Ensemble::from_arrays`] makes the same
    /// ensemble: `base` and `features` (1 each), `nodes` (one a tree), `feature`, `threshold`,
    /// `missing_left`, `left`, `right`, `gain` (one a node), `value` (one a leaf). A child is a node
    /// of its tree, or −1 − leaf.
    pub fn to_arrays(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let nodes = |read: fn(&Node) -> f64| -> Vec<f64> {
            self.trees.iter().flat_map(|tree| &tree.nodes).map(read).collect()
        };
        BTreeMap::from([
            ("base", vec![self.base]),
            ("features", vec![self.features as f64]),
            ("nodes", self.trees.iter().map(|tree| tree.nodes.len() as f64).collect()),
            ("feature", nodes(|n| n.feature as f64)),
            ("threshold", nodes(|n| n.threshold)),
            ("missing_left", nodes(|n| f64::from(u8::from(n.missing_left)))),
            ("left", nodes(|n| f64::from(n.left))),
            ("right", nodes(|n| f64::from(n.right))),
            ("gain", nodes(|n| n.gain)),
            ("value", self.trees.iter().flat_map(|tree| tree.values.iter().copied()).collect()),
        ])
    }

    /// The ensemble the arrays describe; `array` finds one by name.
    ///
    /// # Errors
    /// The first thing that does not fit: an absent array, a length, a number that is not finite or
    /// not whole, a child that is not exactly one later node or leaf.
    pub fn from_arrays<'a>(array: impl Fn(&str) -> Option<&'a [f64]>) -> Result<Ensemble, TreesError> {
        let read = |name: &'static str, expected: Option<usize>| {
            let values = array(name).ok_or(TreesError::Missing { name })?;
            match expected {
                Some(expected) if values.len() != expected => {
                    Err(TreesError::Length { name, found: values.len(), expected })
                }
                _ => Array { name, values }.finite(),
            }
        };
        let base = read("base", Some(1))?.values[0];
        let features = read("features", Some(1))?.whole(0, FEATURES_MAX, "a whole number up to 65536")?;
        let counts = read("nodes", None)?;
        let feature = read("feature", None)?;
        let total = feature.values.len();
        let sizes: Vec<usize> = (0..counts.values.len())
            .map(|t| counts.whole(t, total, "a whole number, in all as many as there are nodes"))
            .collect::<Result<_, _>>()?;
        // Each is at most `total`; so many trees that the sum runs over do not fit in memory.
        let found = sizes.iter().fold(0, |sum: usize, &size| sum.saturating_add(size));
        if found != total {
            return Err(TreesError::Length { name: "feature", found: total, expected: found });
        }
        let threshold = read("threshold", Some(total))?;
        let missing_left = read("missing_left", Some(total))?;
        let (left, right) = (read("left", Some(total))?, read("right", Some(total))?);
        let gain = read("gain", Some(total))?;
        let value = read("value", Some(total + sizes.len()))?;

        let (mut trees, mut node, mut leaf) = (Vec::with_capacity(sizes.len()), 0, 0);
        for size in sizes {
            let mut taken = Taken::of(size);
            let mut nodes = Vec::with_capacity(size);
            for k in 0..size {
                let at = node + k;
                nodes.push(Node {
                    feature: match features {
                        0 => return Err(feature.wrong(at, "no cut where there is no feature")),
                        _ => feature.whole(at, features - 1, "the number of a feature")?,
                    },
                    threshold: threshold.values[at],
                    missing_left: missing_left.whole(at, 1, "0 or 1")? == 1,
                    left: taken.take(left, at, k)?,
                    right: taken.take(right, at, k)?,
                    gain: gain.values[at],
                });
            }
            trees.push(Tree { nodes, values: value.values[leaf..=leaf + size].to_vec() });
            node += size;
            leaf += size + 1;
        }
        Ok(Ensemble { features, base, trees })
    }
}

/// A named array.
#[derive(Clone, Copy)]
struct Array<'a> {
    name: &'static str,
    values: &'a [f64],
}

impl<'a> Array<'a> {
    fn wrong(self, at: usize, expected: &'static str) -> TreesError {
        TreesError::Value { name: self.name, at, found: self.values[at], expected }
    }

    fn finite(self) -> Result<Array<'a>, TreesError> {
        match self.values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(self.wrong(at, "a finite number")),
            None => Ok(self),
        }
    }

    fn whole(self, at: usize, most: usize, expected: &'static str) -> Result<usize, TreesError> {
        let value = self.values[at];
        if value.fract() == 0.0 && value >= 0.0 && value <= most as f64 {
            Ok(value as usize)
        } else {
            Err(self.wrong(at, expected))
        }
    }
}

/// Which nodes and leaves of a tree already have a parent.
struct Taken {
    nodes: Vec<bool>,
    leaves: Vec<bool>,
}

impl Taken {
    fn of(size: usize) -> Taken {
        Taken { nodes: vec![false; size], leaves: vec![false; size + 1] }
    }

    /// The child named at `at` of node `parent`. Every walk ends, as children come after parents;
    /// a tree of n nodes has 2n children, so that none taken twice means all taken.
    fn take(&mut self, children: Array<'_>, at: usize, parent: usize) -> Result<i32, TreesError> {
        let expected = "a later node or a leaf that has no parent yet";
        let child = children.values[at];
        let size = self.nodes.len() as f64;
        if child.fract() != 0.0 || child < -1.0 - size || child >= size {
            return Err(children.wrong(at, expected));
        }
        let child = child as i32;
        let place = match usize::try_from(child) {
            Ok(node) if node > parent => &mut self.nodes[node],
            Ok(_) => return Err(children.wrong(at, expected)),
            Err(_) => &mut self.leaves[!child as usize],
        };
        if std::mem::replace(place, true) { Err(children.wrong(at, expected)) } else { Ok(child) }
    }
}
