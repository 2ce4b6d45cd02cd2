//! A pool of workers over numbered items whose results are taken in order.
//!
//! Whatever the number of workers, the sink sees item 0, 1, 2, …: what is summed or written there is
//! the same to the byte. At most a few results wait, so memory is O(workers). A panic in one item is
//! fenced and handed on as its message. Nothing here knows about coins.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The run was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A result that panicked instead: the panic's message.
pub type Fenced<T> = Result<T, String>;

struct State<T> {
    next: usize,
    consumed: usize,
    ready: BTreeMap<usize, Fenced<T>>,
    stop: bool,
}

/// Runs `work` for `0..items` on `workers` threads and feeds `sink` in order on the caller's thread.
///
/// # Errors
/// [`Interrupted`] when `stop` was raised; items in flight are finished, their results dropped.
pub fn run_ordered<T: Send>(
    workers: usize,
    items: usize,
    stop: &AtomicBool,
    work: impl Fn(usize) -> T + Sync,
    mut sink: impl FnMut(usize, Fenced<T>),
) -> Result<(), Interrupted> {
    let workers = workers.clamp(1, items.max(1));
    let window = 2 * workers;
    let state = Mutex::new(State { next: 0, consumed: 0, ready: BTreeMap::new(), stop: false });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| worker(&state, &changed, items, window, stop, &work));
        }
        let mut finished = Ok(());
        for item in 0..items {
            let mut guard = lock(&state);
            let result = loop {
                if let Some(result) = guard.ready.remove(&item) {
                    break Some(result);
                }
                if stop.load(Ordering::Relaxed) {
                    break None;
                }
                guard = wait(&changed, guard);
            };
            guard.consumed = item + 1;
            guard.stop |= result.is_none();
            drop(guard);
            changed.notify_all();
            match result {
                Some(result) => sink(item, result),
                None => {
                    finished = Err(Interrupted);
                    break;
                }
            }
        }
        finished
    })
}

fn worker<T>(
    state: &Mutex<State<T>>,
    changed: &Condvar,
    items: usize,
    window: usize,
    stop: &AtomicBool,
    work: &(impl Fn(usize) -> T + Sync),
) {
    loop {
        let mut guard = lock(state);
        while guard.next < items && guard.next >= guard.consumed + window && !guard.stop {
            guard = wait(changed, guard);
        }
        if guard.next >= items || guard.stop || stop.load(Ordering::Relaxed) {
            guard.stop |= stop.load(Ordering::Relaxed);
            drop(guard);
            changed.notify_all();
            return;
        }
        let item = guard.next;
        guard.next += 1;
        drop(guard);
        let result = catch_unwind(AssertUnwindSafe(|| work(item))).map_err(|panic| message(&*panic));
        lock(state).ready.insert(item, result);
        changed.notify_all();
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

fn lock<'a, T>(mutex: &'a Mutex<State<T>>) -> MutexGuard<'a, State<T>> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(workers: usize) -> Vec<(usize, Fenced<usize>)> {
        let mut seen = Vec::new();
        let stop = AtomicBool::new(false);
        let work = |i: usize| {
            assert!(i != 13, "item thirteen");
            i * i
        };
        run_ordered(workers, 50, &stop, work, |i, r| seen.push((i, r))).unwrap();
        seen
    }

    #[test]
    fn results_come_in_order_whatever_the_number_of_workers_and_panics_are_fenced() {
        let one = collect(1);
        assert_eq!(one, collect(4));
        assert_eq!(one.len(), 50);
        assert_eq!(one[7], (7, Ok(49)));
        assert_eq!(one[13], (13, Err("item thirteen".to_owned())));
    }

    #[test]
    fn a_raised_stop_ends_the_run() {
        let stop = AtomicBool::new(false);
        let mut seen = 0;
        let result = run_ordered(
            2,
            1000,
            &stop,
            |i| i,
            |i, _| {
                seen += 1;
                if i == 5 {
                    stop.store(true, Ordering::Relaxed);
                }
            },
        );
        assert_eq!(result, Err(Interrupted));
        assert!(seen < 1000);
    }

    #[test]
    fn nothing_to_do_is_done() {
        let stop = AtomicBool::new(false);
        assert_eq!(run_ordered(3, 0, &stop, |i| i, |_, _| unreachable!()), Ok(()));
    }
}
