//! Other processes that are told something by a signal, and who we are to the system. Adapter.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{self, kill};
use nix::unistd::{Pid, getegid, geteuid};
use thiserror::Error;

use crate::model::facts::Signal;

/// Why a process could not be signalled.
#[derive(Debug, Error)]
pub enum SignalError {
    /// The file with its id cannot be read.
    #[error("the pidfile {} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no process id in the file.
    #[error("there is no process id in the pidfile {}", .0.display())]
    NoPid(PathBuf),
    /// The process is not there, or not ours to signal.
    #[error("process {pid} of the pidfile {} cannot be sent {signal}: {source}", path.display())]
    Kill {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: i32,
        /// The signal.
        signal: Signal,
        /// Why not.
        source: io::Error,
    },
}

/// Sends a signal to the process whose id stands in a file.
pub fn signal_by_file(path: &Path, signal: Signal) -> Result<(), SignalError> {
    let text = std::fs::read_to_string(path).map_err(|source| SignalError::File {
        path: path.to_owned(),
        source,
    })?;
    // HAProxy writes one id per line; the first is the master's.
    let first = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok());
    // 0 and -1 would be our own group, and everybody.
    let Some(pid) = first.filter(|pid| *pid > 0) else {
        return Err(SignalError::NoPid(path.to_owned()));
    };
    let sent =
        signal::Signal::try_from(signal.0).and_then(|number| kill(Pid::from_raw(pid), number));
    sent.map_err(|errno| SignalError::Kill {
        path: path.to_owned(),
        pid,
        signal,
        source: errno.into(),
    })
}

/// Our effective user and group.
#[must_use]
pub fn identity() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pidfile_names_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert!(matches!(
            signal_by_file(&path, Signal::HUP),
            Err(SignalError::File { .. })
        ));
        for text in ["", "-1", "0", "x", "\n1"] {
            std::fs::write(&path, text).unwrap();
            assert!(
                matches!(
                    signal_by_file(&path, Signal::HUP),
                    Err(SignalError::NoPid(_))
                ),
                "{text:?}"
            );
        }
        // Signal 28, a change of the window's size, is ignored by default.
        std::fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        assert!(signal_by_file(&path, Signal(28)).is_ok());
    }
}
