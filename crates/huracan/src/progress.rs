//! What a person sees while a run works: bars with an estimate on a terminal, plain lines
//! elsewhere.
//!
//! Everything goes to standard error; standard output belongs to results.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What long work says about itself. Calls may come from any thread.
pub trait Observer: Send + Sync {
    /// A stage begins; `total` is its number of steps, 0 when unknown.
    fn stage_started(&self, name: &str, total: u64);
    /// `done` steps of a stage are finished; `detail` is the latest, a symbol for example.
    fn stage_advanced(&self, name: &str, done: u64, detail: &str);
    /// A stage is over.
    fn stage_finished(&self, name: &str, seconds: f64);
    /// Something worth a line.
    fn note(&self, text: &str);
}

/// Bars where standard error is a terminal, lines elsewhere. Logs written through
/// [`AboveBars`] of the same `bars` do not tear them.
pub fn observer(bars: &MultiProgress) -> Arc<dyn Observer> {
    if std::io::stderr().is_terminal() {
        Arc::new(Bars { all: bars.clone(), running: Mutex::default() })
    } else {
        let start = Instant::now();
        Arc::new(Lines::new(Box::new(std::io::stderr()), Box::new(move || start.elapsed())))
    }
}

/// Progress bars, one a running stage.
pub struct Bars {
    all: MultiProgress,
    running: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Observer for Bars {
    fn stage_started(&self, name: &str, total: u64) {
        let template = if total > 0 {
            "{prefix:<18} {bar:28} {pos}/{len}  {elapsed} elapsed, {eta} left  {msg}"
        } else {
            "{prefix:<18} {spinner} {pos}  {elapsed} elapsed  {msg}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = if total > 0 { ProgressBar::new(total) } else { ProgressBar::new_spinner() };
        let bar = self.all.add(bar).with_style(style.progress_chars("=> ")).with_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Some(old) = locked(&self.running).insert(name.to_owned(), bar) {
            old.finish_and_clear();
        }
    }

    fn stage_advanced(&self, name: &str, done: u64, detail: &str) {
        if let Some(bar) = locked(&self.running).get(name) {
            bar.set_position(done);
            bar.set_message(detail.to_owned());
        }
    }

    fn stage_finished(&self, name: &str, seconds: f64) {
        if let Some(bar) = locked(&self.running).remove(name) {
            bar.finish_and_clear();
        }
        self.note(&format!("{name}: done in {}", duration(seconds)));
    }

    fn note(&self, text: &str) {
        let mut above = AboveBars(self.all.clone());
        // A closed standard error is no reason to stop a run.
        let _ = writeln!(above, "{text}");
    }
}

/// Writes to standard error without tearing the bars that are drawn there.
#[derive(Clone)]
pub struct AboveBars(pub MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Plain lines, at most one a stage within [`Lines::EVERY`].
pub struct Lines {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    inner: Mutex<LinesState>,
}

struct LinesState {
    out: Box<dyn Write + Send>,
    stages: BTreeMap<String, Stage>,
}

struct Stage {
    total: u64,
    started: Duration,
    said: Duration,
}

impl Lines {
    /// How long a stage keeps quiet after a line.
    pub const EVERY: Duration = Duration::from_secs(10);

    /// Lines to `out`, timed by `clock`, which counts from any fixed moment.
    pub fn new(out: Box<dyn Write + Send>, clock: Box<dyn Fn() -> Duration + Send + Sync>) -> Lines {
        Lines { clock, inner: Mutex::new(LinesState { out, stages: BTreeMap::new() }) }
    }

    fn say(state: &mut LinesState, text: &str) {
        // A closed standard error is no reason to stop a run.
        let _ = writeln!(state.out, "{text}");
    }
}

impl Observer for Lines {
    fn stage_started(&self, name: &str, total: u64) {
        let now = (self.clock)();
        let mut state = locked(&self.inner);
        let steps = if total > 0 { format!(" 0/{total}") } else { String::new() };
        Lines::say(&mut state, &format!("{name}: started{steps}"));
        state.stages.insert(name.to_owned(), Stage { total, started: now, said: now });
    }

    fn stage_advanced(&self, name: &str, done: u64, detail: &str) {
        let now = (self.clock)();
        let mut state = locked(&self.inner);
        let Some(stage) = state.stages.get_mut(name) else { return };
        if now.saturating_sub(stage.said) < Lines::EVERY {
            return;
        }
        stage.said = now;
        let elapsed = now.saturating_sub(stage.started).as_secs_f64();
        let left = match (stage.total, done) {
            (total, done) if total > 0 && done > 0 => {
                let seconds = elapsed * total.saturating_sub(done) as f64 / done as f64;
                format!("/{total}, about {} left", duration(seconds))
            }
            (0, _) => String::new(),
            (total, _) => format!("/{total}"),
        };
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        Lines::say(&mut state, &format!("{name}: {done}{left}{detail}"));
    }

    fn stage_finished(&self, name: &str, seconds: f64) {
        let mut state = locked(&self.inner);
        state.stages.remove(name);
        Lines::say(&mut state, &format!("{name}: done in {}", duration(seconds)));
    }

    fn note(&self, text: &str) {
        Lines::say(&mut locked(&self.inner), text);
    }
}

/// A panic of another thread while it drew leaves at worst a torn line.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds for people: `0.4 s`, `75 s`, `12 min`, `3.5 h`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);
    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            locked(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_throttled_and_estimate_what_is_left() {
        let (memory, seconds) = (Memory::default(), Arc::new(AtomicU64::new(0)));
        let clock = seconds.clone();
        let lines = Lines::new(
            Box::new(memory.clone()),
            Box::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))),
        );
        lines.stage_started("read", 100);
        for second in 1..=25 {
            seconds.store(second, Ordering::Relaxed);
            lines.stage_advanced("read", second * 2, "BTCUSDT");
        }
        lines.stage_finished("read", 25.0);
        lines.stage_advanced("read", 99, "late");
        lines.note("hello");
        let text = String::from_utf8(locked(&memory.0).clone()).unwrap();
        let expected = [
            "read: started 0/100",
            "read: 20/100, about 40 s left (BTCUSDT)",
            "read: 40/100, about 30 s left (BTCUSDT)",
            "read: done in 25 s",
            "hello",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_stage_of_unknown_length_promises_nothing() {
        let (memory, seconds) = (Memory::default(), Arc::new(AtomicU64::new(0)));
        let clock = seconds.clone();
        let lines = Lines::new(
            Box::new(memory.clone()),
            Box::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))),
        );
        lines.stage_started("scan", 0);
        seconds.store(60, Ordering::Relaxed);
        lines.stage_advanced("scan", 7, "");
        let text = String::from_utf8(locked(&memory.0).clone()).unwrap();
        assert_eq!(text, "scan: started\nscan: 7\n");
    }

    #[test]
    fn durations_for_people() {
        let texts = [0.44, 75.4, 720.0, 12_600.0].map(duration);
        assert_eq!(texts, ["0.4 s", "75 s", "12 min", "3.5 h"]);
    }
}
