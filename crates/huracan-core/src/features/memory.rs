//! How far back an operator remembers, told by the engines it is made of as they are made.
//!
//! A rolling window ends where its length says; its folds are the same bits whenever blocks of that length
//! begin at the same bars. So an operator of windows alone may be started late, at a bar that all of its
//! lengths divide, and gives the bits of one that was started with the series. Exponential averages and
//! running totals never forget, not to the last bit.

use std::cell::RefCell;

std::thread_local! {
    /// What the engines made by this thread since the last [`of`] remember.
    static MADE: RefCell<Memory> = const { RefCell::new(Memory { lengths: Vec::new(), is_endless: false }) };
}

/// What an operator remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Bars of its windows.
    lengths: Vec<usize>,
    is_endless: bool,
}

/// An engine that forgets after so many bars was made.
pub(super) fn note_window(length: usize) {
    MADE.with_borrow_mut(|made| made.lengths.push(length));
}

/// An engine that never forgets was made.
pub(super) fn note_endless() {
    MADE.with_borrow_mut(|made| made.is_endless = true);
}

/// Makes an operator, and what it remembers.
pub(super) fn of<T>(make: impl FnOnce() -> T) -> (T, Memory) {
    MADE.take();
    let made = make();
    (made, MADE.take())
}

impl Memory {
    /// The latest bar at which the operator may be started to give from `first` on the bits of one that was
    /// started at bar 0. `lookback` are the bars it needs for a value.
    pub(super) fn start(&self, lookback: usize, first: usize) -> usize {
        if self.is_endless {
            return 0;
        }
        // Windows over what windows give: each is whole two of its blocks after what feeds it is.
        let settled = lookback + 2 * self.lengths.iter().sum::<usize>();
        let common = self.lengths.iter().copied().fold(1, lowest_common_multiple);
        first.saturating_sub(settled) / common * common
    }
}

fn lowest_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x.max(1) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_where_all_blocks_begin_and_early_enough() {
        let memory = Memory { lengths: vec![24, 36], is_endless: false };
        assert_eq!(memory.start(37, 1_000), 792);
        assert_eq!(memory.start(37, 100), 0);
        assert_eq!(Memory::default().start(3, 10), 7);
        assert_eq!(Memory { is_endless: true, ..memory }.start(1, 5_000), 0);
    }
}
