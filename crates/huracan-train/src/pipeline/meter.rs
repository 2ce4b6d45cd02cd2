//! What this process has used so far, as the kernel tells it under `/proc`; nothing elsewhere.

use std::fs;

/// Clock ticks of `/proc/self/stat` in a second: fixed by Linux's user interface.
const TICKS_PER_S: f64 = 100.0;

/// Totals since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Processor time of all threads; `None` where it cannot be told.
    pub cpu_s: Option<f64>,
    /// Bytes read, caches included.
    pub bytes_read: u64,
    /// Bytes written, caches included.
    pub bytes_written: u64,
}

impl Usage {
    /// The totals of now.
    pub fn now() -> Usage {
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Usage {
            cpu_s: cpu_s(&stat),
            bytes_read: field(&io, "rchar:").unwrap_or(0),
            bytes_written: field(&io, "wchar:").unwrap_or(0),
        }
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu_s: self.cpu_s.zip(before.cpu_s).map(|(now, then)| (now - then).max(0.0)),
            bytes_read: self.bytes_read.saturating_sub(before.bytes_read),
            bytes_written: self.bytes_written.saturating_sub(before.bytes_written),
        }
    }
}

/// Largest resident memory so far; `None` where it cannot be told.
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    field(&status, "VmHWM:").map(|kib| 1024 * kib)
}

/// User and system time: fields 14 and 15, counted after the name in parentheses.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_S)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_process_name() {
        let stat = "7 (a b) c) S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 1 1 1";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(cpu_s("garbage"), None);
        assert_eq!(field("VmPeak: 9 kB\nVmHWM:\t  12 kB\n", "VmHWM:"), Some(12));
    }

    #[test]
    fn use_only_grows() {
        let before = Usage::now();
        let since = Usage::now().since(&before);
        assert!(since.cpu_s.is_none_or(|s| s >= 0.0));
    }
}
