//! The heartbeat of a lease: a file with the time at which the lease ends. Adapter.
//!
//! The clock is `CLOCK_BOOTTIME`: no administrator sets it, it counts on while the machine sleeps, and it is the same
//! in every container of a host. It starts anew with each boot, so a heartbeat names its boot, and a lease whose heartbeat
//! names another boot is dead.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::time::ClockId;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The time at which a lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heartbeat {
    boot: String,
    /// Milliseconds of the clock; 0 is a revoked lease.
    expires: u64,
    ttl: u64,
}

/// The clock of this boot.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    boot: String,
}

impl Clock {
    pub(super) fn new() -> io::Result<Self> {
        let boot = fs::read_to_string(BOOT_ID)
            .map_err(|error| io::Error::new(error.kind(), format!("{BOOT_ID}: {error}")))?;
        Ok(Self {
            boot: boot.trim().to_owned(),
        })
    }

    /// Milliseconds since this boot.
    pub(super) fn now() -> u64 {
        let Ok(now) = ClockId::CLOCK_BOOTTIME.now() else {
            // The kernel has had this clock since 2.6.39; without one, no lease would ever be alive.
            return u64::MAX;
        };
        millis(now.into())
    }

    /// The heartbeat of a lease that lives for `ttl` from now on.
    pub(super) fn heartbeat(&self, ttl: Duration) -> Heartbeat {
        let ttl = millis(ttl);
        Heartbeat {
            boot: self.boot.clone(),
            expires: Self::now().saturating_add(ttl),
            ttl,
        }
    }

    /// When the lease of this heartbeat ends, in milliseconds of the clock; `None` if it is not alive at `now`.
    pub(super) fn end_of(&self, heartbeat: &Heartbeat, now: u64) -> Option<u64> {
        (heartbeat.boot == self.boot && heartbeat.expires > now).then_some(heartbeat.expires)
    }
}

impl Heartbeat {
    /// The last heartbeat of a lease that was revoked.
    pub(super) fn last(&self) -> Self {
        Self {
            expires: 0,
            ..self.clone()
        }
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl)
    }

    /// Reads the heartbeat of a lease; `None` without one that can be read, which is a dead lease.
    pub(super) fn read(file: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the heartbeat; a reader sees the old one or the new one.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let text = format!("{} {} {}\n", self.boot, self.expires, self.ttl);
        replace(file, &text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split_whitespace();
        let heartbeat = Self {
            boot: parts.next()?.to_owned(),
            expires: parts.next()?.parse().ok()?,
            ttl: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(heartbeat)
    }
}

/// Replaces a small file in one step. Callers hold the lock, so the name of the candidate is theirs.
pub(super) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let candidate = file.with_extension("new");
    fs::write(&candidate, text)?;
    fs::rename(candidate, file)
}

/// Whether an error says that the file is not there (any more), or not as a file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_lives_for_its_ttl_within_its_boot() {
        let clock = Clock::new().unwrap();
        let heartbeat = clock.heartbeat(Duration::from_secs(5));
        let end = heartbeat.expires;
        assert_eq!(clock.end_of(&heartbeat, end - 1), Some(end));
        assert_eq!(clock.end_of(&heartbeat, end), None);
        assert_eq!(clock.end_of(&heartbeat.last(), 0), None);
        let other = Clock {
            boot: "another".to_owned(),
        };
        assert_eq!(other.end_of(&heartbeat, end - 1), None);
    }

    #[test]
    fn a_beat_is_read_as_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("beat");
        assert_eq!(Heartbeat::read(&file).unwrap(), None);
        let heartbeat = Clock::new().unwrap().heartbeat(Duration::from_secs(5));
        heartbeat.write(&file).unwrap();
        assert_eq!(Heartbeat::read(&file).unwrap(), Some(heartbeat));
        for garbage in ["", "x", "x 1", "x 1 y", "x 1 2 3"] {
            fs::write(&file, garbage).unwrap();
            assert_eq!(Heartbeat::read(&file).unwrap(), None, "{garbage}");
        }
    }
}
