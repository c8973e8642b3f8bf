//! What the kernel says of processes under `/proc`: their stat line, signal masks, children and names. Adapter.
//!
//! Every function answers `None` where the process is not there, may not be read, or has ended meanwhile: a caller cannot
//! tell these apart, and the reader of a process that ends has to be ready for the last one in any case. The formats are those
//! of `proc_pid_stat(5)`, `proc_pid_status(5)` and `proc_tid_children(5)`.

use std::fs;

use nix::unistd::getpid;

/// Whether `/proc` counts processes as we do: one that was mounted for another PID namespace has other numbers.
#[must_use]
pub(super) fn has_our_numbers() -> bool {
    let own = getpid().to_string();
    fs::read_link("/proc/self").is_ok_and(|link| link.to_str() == Some(&own))
}

/// The ids of all processes that `/proc` shows us.
#[must_use]
pub(super) fn process_ids() -> Option<Vec<i32>> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Some(ids.collect())
}

/// The name of the program that a process runs, as the kernel cuts it: its first 15 bytes.
#[must_use]
pub(super) fn program_name(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The arguments of a process with a space behind each; a program can replace them by a title of its own.
#[must_use]
pub(super) fn command_line(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).replace('\0', " "))
}

/// The ids of the children of a process; `None` also where the kernel was built without `CONFIG_PROC_CHILDREN`.
#[must_use]
pub(super) fn children(pid: i32) -> Option<Vec<i32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let ids = text.split_whitespace().filter_map(|id| id.parse().ok());
    Some(ids.collect())
}

/// What we need of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// Whether the process has ended; its parent may not have reaped it yet.
    pub(super) has_ended: bool,
    /// The process id of its parent.
    pub(super) parent: i32,
    /// The id of its process group.
    pub(super) group: i32,
    /// When it was started, in clock ticks since the machine was.
    pub(super) started: u64,
}

impl Stat {
    /// Reads the stat line of a process.
    #[must_use]
    pub(super) fn read(pid: i32) -> Option<Self> {
        let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&line))
    }

    /// The line is `pid (name) state ppid pgrp …`, and the name may contain anything; the start is its 22nd field.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
        Some(Self {
            has_ended,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            started: fields.nth(16)?.parse().ok()?,
        })
    }
}

/// The signal masks of a process, from `/proc/PID/status`.
#[derive(Debug)]
pub(super) struct SignalMasks(String);

impl SignalMasks {
    /// Reads the masks of a process.
    #[must_use]
    pub(super) fn read(pid: i32) -> Option<Self> {
        fs::read_to_string(format!("/proc/{pid}/status"))
            .ok()
            .map(Self)
    }

    /// Whether the process has a handler for the signal with this number.
    #[must_use]
    pub(super) fn is_caught(&self, number: i32) -> bool {
        self.has("SigCgt:", number)
    }

    /// Whether the process blocks the signal.
    #[must_use]
    pub(super) fn is_blocked(&self, number: i32) -> bool {
        self.has("SigBlk:", number)
    }

    /// Whether the signal has been sent to the process or its main thread and has not been delivered yet.
    #[must_use]
    pub(super) fn is_pending(&self, number: i32) -> bool {
        self.has("SigPnd:", number) || self.has("ShdPnd:", number)
    }

    fn has(&self, mask: &str, number: i32) -> bool {
        let mut masks = self.0.lines().filter_map(|line| line.strip_prefix(mask));
        let mask = masks
            .next()
            .map(|mask| u64::from_str_radix(mask.trim(), 16));
        matches!(mask, Some(Ok(mask)) if mask >> (number - 1) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_calls_itself() {
        let line = |head: &str| format!("{head} 0 -1 4 1 0 2 0 3 4 0 0 20 0 1 0 12345 4096 100");
        let want = |has_ended| Stat {
            has_ended,
            parent: 1,
            group: 5,
            started: 12345,
        };
        for (head, has_ended) in [
            ("7 (sh) S 1 5 5", false),
            ("7 (a) Z 1 9) T 1 5 5", false),
            ("7 (sh) Z 1 5 5", true),
            ("7 (sh) X 1 5 5", true),
        ] {
            let line = line(head);
            assert_eq!(Stat::parse(&line), Some(want(has_ended)), "{line}");
        }
        for broken in ["", "7 (sh)", "7 (sh) S", "7 (sh) S 1 5 5 0"] {
            assert_eq!(Stat::parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn our_own_process_is_read() {
        let own = getpid().as_raw();
        assert!(has_our_numbers());
        assert!(process_ids().unwrap().contains(&own));
        let stat = Stat::read(own).unwrap();
        assert!(!stat.has_ended);
        assert_eq!(stat.group, nix::unistd::getpgrp().as_raw());
        assert_eq!(stat.parent, nix::unistd::getppid().as_raw());
    }

    #[test]
    fn masks_count_signals_from_one() {
        let masks = SignalMasks("SigPnd:\t1\nShdPnd:\t2\nSigBlk:\t4\nSigCgt:\t8\n".to_owned());
        assert!(masks.is_pending(1) && masks.is_pending(2) && !masks.is_pending(3));
        assert!(masks.is_blocked(3) && !masks.is_blocked(4));
        assert!(masks.is_caught(4) && !masks.is_caught(3));
    }
}
