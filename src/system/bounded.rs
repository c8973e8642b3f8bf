//! Calls of the file system with a limit: one that hangs holds up its caller for a second, and nobody else. Adapter.
//!
//! A call runs on a thread that is kept for the next one. When the call does not answer in time, it keeps that thread,
//! further calls about the same path fail at once until it answers, and the next call gets a thread of its own. A second
//! call then tries the whole mount: one that hangs costs its callers the limit twice, however many files they have there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a call may take. A file system that works answers within milliseconds.
const LIMIT: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// The channel to the thread that is free.
static FREE: Mutex<Option<Sender<Job>>> = Mutex::new(None);
/// The paths and mounts about which a call has not answered.
static HUNG: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Makes a call about a path. Fails with [`io::ErrorKind::TimedOut`] when it does not answer within a second, or while an
/// earlier call about this path, or the mount on which it lies, has not answered.
pub fn within<T: Send + 'static>(
    path: &Path,
    call: impl FnOnce(&Path) -> T + Send + 'static,
) -> io::Result<T> {
    if with_hung_paths(|paths| {
        paths.contains(path) || !paths.is_empty() && paths.contains(&mount_of(path))
    }) {
        return Err(hangs_error());
    }
    let result = call_on_thread(path, call);
    if is_hung(&result) {
        // Is it all of the mount? The path may be a link that leads away from a mount that answers.
        let mount = mount_of(path);
        let _ = call_on_thread(&mount, |mount| drop(fs::metadata(mount)));
    }
    result
}

fn is_hung<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Makes a call on a thread, and remembers the path while the call is late.
fn call_on_thread<T: Send + 'static>(
    path: &Path,
    call: impl FnOnce(&Path) -> T + Send + 'static,
) -> io::Result<T> {
    if with_hung_paths(|paths| paths.contains(path)) {
        return Err(hangs_error());
    }
    let (answer, answered) = sync_channel(1);
    let about = path.to_owned();
    let job: Job = Box::new(move || {
        // Nobody waits any more if it has hung.
        let _ = answer.send(call(&about));
        with_hung_paths(|paths| paths.remove(&about));
    });
    let worker = start_on_worker(job)?;
    if let Ok(value) = answered.recv_timeout(LIMIT) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        return Ok(value);
    }
    with_hung_paths(|paths| paths.insert(path.to_owned()));
    // It may have answered just now, and taken its path back before that was remembered.
    match answered.try_recv() {
        Ok(value) => {
            with_hung_paths(|paths| paths.remove(path));
            Ok(value)
        }
        Err(_) => Err(hangs_error()),
    }
}

/// Gives a job to the free thread, or to a new one; returns the channel to it.
fn start_on_worker(job: Job) -> io::Result<Sender<Job>> {
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

/// The mount on which a path lies by its name; the kernel's list is asked, not the file system. What lies on none but the
/// root stands for itself: it may be a link to somewhere else, and the root has everything.
fn mount_of(path: &Path) -> PathBuf {
    let list = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mount_among(&list, path)
}

fn mount_among(list: &str, path: &Path) -> PathBuf {
    let points = list.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ")));
    let own = points.filter(|point| point.parent().is_some() && path.starts_with(point));
    own.max_by_key(|point| point.components().count())
        .unwrap_or_else(|| path.to_owned())
}

fn with_hung_paths<T>(work: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    work(&mut HUNG.lock().unwrap_or_else(PoisonError::into_inner))
}

fn hangs_error() -> io::Error {
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
    fn a_path_lies_on_the_nearest_mount() {
        let list = "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /data rw - fuse b rw\n3 2 0:3 / /data/a\\040b rw - nfs c rw\n";
        for (path, mount) in [
            ("/data/x/y", "/data"),
            ("/data", "/data"),
            ("/data/a b/y", "/data/a b"),
            ("/database/y", "/database/y"),
        ] {
            assert_eq!(mount_among(list, Path::new(path)), Path::new(mount));
        }
    }

    #[test]
    fn calls_that_answer_share_a_thread() {
        let thread = || std::thread::current().id();
        let first = within(Path::new("/a"), move |_| thread()).unwrap();
        assert_ne!(first, std::thread::current().id());
    }
}
