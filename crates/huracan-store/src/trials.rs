//! The ledger of trials: how much was tried before the best was shown. Append-only, hash-chained, one
//! line a run.

use crate::chained;
use crate::error::Result;
use crate::formats::trials::{RunTrials, TrialLine};
use crate::path::StorePath;
use crate::store::Store;

fn path() -> Result<StorePath> {
    StorePath::new("champions/trials.jsonl")
}

/// The whole ledger with its chain verified; empty before the first run.
///
/// # Errors
/// `Corrupt` naming the first line that is not what it was, or does not follow the one before.
pub fn read(store: &dyn Store) -> Result<Vec<TrialLine>> {
    chained::read(store, &path()?)
}

/// Notes what a run has tried; `false` when the run is in the ledger already.
///
/// # Errors
/// `Corrupt` when the ledger's chain is broken, `Refused` when a number is not finite.
pub fn append(store: &dyn Store, run: &RunTrials) -> Result<bool> {
    let added = chained::append(store, &path()?, |log: &mut Vec<TrialLine>| {
        if log.iter().all(|line| line.run.run_id != run.run_id) {
            log.push(TrialLine::chain(run.clone(), log.last())?);
        }
        Ok(())
    })?;
    Ok(added > 0)
}

/// Trials of the runs that a run must count besides its own: those whose lines stand before its own
/// (all, when it has none yet). `input_hash` is the second half of its run id, which is known before
/// the end of its data is. Which of them ended strictly before its data end, the run itself sees.
///
/// A repeated run finds the lines it found the first time, whatever was added since.
///
/// # Errors
/// As [`read`].
pub fn before(store: &dyn Store, input_hash: &str) -> Result<Vec<RunTrials>> {
    let own = |line: &TrialLine| line.run.run_id.split_once('-').is_some_and(|(_, hash)| hash == input_hash);
    Ok(read(store)?.into_iter().take_while(|line| !own(line)).map(|line| line.run).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;
    use crate::store::PutMode;
    use huracan_core::words::UtcMs;

    fn run(number: u32) -> RunTrials {
        let day = UtcMs(1_754_006_400_000 + i64::from(number) * UtcMs::DAY);
        RunTrials {
            run_id: format!("{}T000000Z-{number:08x}", day.date()),
            until: day.into(),
            coins: 10 * u64::from(number),
            ..samples::run_trials()
        }
    }

    #[test]
    fn trials_add_up_and_a_run_counts_once() {
        let store = MemoryStore::default();
        assert_eq!(read(&store).unwrap(), []);
        for (number, new) in [(1, true), (2, true), (1, false), (3, true), (2, false)] {
            assert_eq!(append(&store, &run(number)).unwrap(), new, "{number}");
        }
        let log = read(&store).unwrap();
        let variants = run(1).variants;
        let cumulative: Vec<u64> = log.iter().map(|line| line.cumulative_trials).collect();
        assert_eq!(cumulative, [10 * variants, 30 * variants, 60 * variants]);
    }

    #[test]
    fn a_repeated_run_finds_what_it_found_the_first_time() {
        let store = MemoryStore::default();
        append(&store, &run(1)).unwrap();
        assert_eq!(before(&store, "00000002").unwrap(), [run(1)]);
        append(&store, &run(2)).unwrap();
        append(&store, &run(3)).unwrap();
        assert_eq!(before(&store, "00000002").unwrap(), [run(1)]);
        assert_eq!(before(&store, "00000004").unwrap(), [run(1), run(2), run(3)]);
        assert_eq!(before(&store, "00000001").unwrap(), []);
    }

    #[test]
    fn a_line_changed_lost_or_swapped_shows() {
        let store = MemoryStore::default();
        (1..=3).for_each(|number| assert!(append(&store, &run(number)).unwrap()));
        let whole = String::from_utf8(store.get(&path().unwrap()).unwrap().unwrap().bytes).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let check = |text: String| {
            store.put(&path().unwrap(), text.as_bytes(), PutMode::Overwrite).unwrap();
            assert_eq!(read(&store).unwrap_err().code(), "store_corrupt", "{text}");
            assert_eq!(append(&store, &run(4)).unwrap_err().code(), "store_corrupt");
        };
        check(whole.replacen("\"coins\":10", "\"coins\":1", 1));
        check(whole.replacen("\"sharpe_variance\":0.004", "\"sharpe_variance\":0.001", 1));
        check(format!("{}\n{}\n", lines[0], lines[2]));
        check(format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]));
        check(format!("{}\n{}\n", lines[1], lines[2]));
        check(whole.trim_end().to_owned());
    }
}
