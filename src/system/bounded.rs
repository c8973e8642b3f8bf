//! Calls of the file system that end: one that hangs holds its caller up for so long, and nobody else. Adapter.
//!
//! A call runs on a thread that is kept for the next one. When it does not answer in time, that thread is left to it,
//! further calls about the same path fail at once until it answers, and the next call gets a thread of its own.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a call may take. A file system that works answers within milliseconds.
const LIMIT: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// The thread that is free, by the way to it.
static FREE: Mutex<Option<Sender<Job>>> = Mutex::new(None);
/// The paths about which a call has not answered.
static HUNG: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Makes a call about a path. Fails with [`io::ErrorKind::TimedOut`] when it does not answer within a second, or while an
/// earlier call about this path has not answered.
pub fn within<T: Send + 'static>(
    path: &Path,
    call: impl FnOnce(&Path) -> T + Send + 'static,
) -> io::Result<T> {
    if hung(|paths| paths.contains(path)) {
        return Err(hangs());
    }
    let (answer, answered) = sync_channel(1);
    let about = path.to_owned();
    let job: Job = Box::new(move || {
        // Nobody waits any more if it has hung.
        let _ = answer.send(call(&about));
        hung(|paths| paths.remove(&about));
    });
    let worker = worker(job)?;
    // The answer of a call that ended just now is there, whatever is said of its path.
    let result = answered.recv_timeout(LIMIT);
    if let Ok(value) = result {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        return Ok(value);
    }
    hung(|paths| paths.insert(path.to_owned()));
    match answered.try_recv() {
        Ok(value) => {
            hung(|paths| paths.remove(path));
            Ok(value)
        }
        Err(_) => Err(hangs()),
    }
}

/// Gives a job to the free thread, or to a new one; the way to it.
fn worker(job: Job) -> io::Result<Sender<Job>> {
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let job = match free {
        None => job,
        Some(worker) => match worker.send(job) {
            Ok(()) => return Ok(worker),
            Err(unsent) => unsent.0,
        },
    };
    let (worker, jobs) = channel::<Job>();
    let thread = std::thread::Builder::new().name("files".to_owned());
    thread.spawn(move || jobs.into_iter().for_each(|job| job()))?;
    let sent = worker.send(job);
    sent.map_err(|_| io::Error::other("a thread has ended"))?;
    Ok(worker)
}

fn hung<T>(work: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    work(&mut HUNG.lock().unwrap_or_else(PoisonError::into_inner))
}

fn hangs() -> io::Error {
    let why = "its file system does not answer";
    io::Error::new(io::ErrorKind::TimedOut, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_given_up_and_others_go_on() {
        let (release, held) = channel::<()>();
        let (ended, end) = channel::<()>();
        let stuck = within(Path::new("/stuck"), move |_| {
            let _ = held.recv();
            let _ = ended.send(());
        });
        assert_eq!(stuck.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(within(Path::new("/fine"), |_| 1).unwrap(), 1);
        let again = within(Path::new("/stuck"), |_| 2);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::TimedOut);
        release.send(()).unwrap();
        end.recv().unwrap();
        while within(Path::new("/stuck"), |_| 3).is_err() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn calls_that_answer_share_a_thread() {
        let thread = || std::thread::current().id();
        let first = within(Path::new("/a"), move |_| thread()).unwrap();
        assert_ne!(first, std::thread::current().id());
    }
}
