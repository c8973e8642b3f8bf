//! `sidekick` as PID 1: in a PID namespace of its own, at a terminal, and in a container where there is a Docker Engine.

mod docker;
mod leftovers;
mod orphans;
mod signals;
mod terminal;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Process, sidekick, skipped, temp_dir, tool, wait_for};

/// A directory for a store, a log, and what programs write.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(temp_dir())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The lines of a file, none if it is not there; a line that is still being written does not count.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    fn has_line(&self, name: &str, line: &str) -> bool {
        self.lines(name).iter().any(|it| it == line)
    }

    /// `sidekick register`, announcing in a directory store, with `args`; `sh` is to run `script`, where `$DIR` is this
    /// place.
    fn register(&self, args: &[&str], script: &str) -> Command {
        let mut command = self.register_program(args, &["sh", "-c", script]);
        command.env("DIR", self.0.path());
        command
    }

    fn register_program(&self, args: &[&str], program: &[&str]) -> Command {
        let mut command = sidekick();
        let store = format!("dir://{}", self.file("store").display());
        let id = "--name web --id a --port 80 --ip 10.0.0.1";
        command.args(["register", "--store", &store]);
        command.args(id.split(' ')).args(args).arg("--");
        command.args(program);
        command
    }

    fn is_announced(&self) -> bool {
        self.file("store/services/web/a/ip").exists()
    }

    fn start(&self, command: &mut Command) -> Process {
        Process::start(command, &self.file("log"))
    }
}

/// The same command as PID 1 of a namespace, which ends with it. `None`, said aloud, where that is not allowed.
fn as_pid_1(command: &Command) -> Option<Command> {
    let unshare = tool("unshare");
    let new = || {
        let mut command = Command::new(&unshare);
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command
    };
    let trial = new().arg("true").output().unwrap();
    if !trial.status.success() {
        let why = String::from_utf8_lossy(&trial.stderr);
        skipped(&format!("no PID namespace can be made: {}", why.trim()));
        return None;
    }
    let mut whole = new();
    whole.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    Some(whole)
}

/// The children of a process, with their states.
fn children(parent: i32) -> Vec<(i32, char)> {
    let stats = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let read = |stat: String| {
        let (head, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let ppid: i32 = fields.next()?.parse().ok()?;
        let pid = head.split(' ').next()?.parse().ok()?;
        (ppid == parent).then_some((pid, state))
    };
    stats.filter_map(read).collect()
}

/// The `sidekick` that `unshare` has started, by its number outside of the namespace.
fn pid_1_of(unshare: &Process) -> i32 {
    wait_for("PID 1", || {
        let (pid, _) = *children(unshare.pid().as_raw()).first()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "sidekick").then_some(pid)
    })
}

/// Sends a signal by its number, real-time signals included.
fn kill(pid: i32, number: i32) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{number} {pid}")])
        .status();
    assert!(sent.unwrap().success(), "kill -{number} {pid}");
}

/// Creates a fifo and holds it open.
fn fifo(path: &Path) -> fs::File {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// A fifo on which a line comes again and again: a shell looks after its traps between two commands only, and may miss a
/// signal that comes just before it begins to read.
struct Ticks(Arc<AtomicBool>);

fn ticking_fifo(path: &Path) -> Ticks {
    let (mut fifo, over) = (fifo(path), Arc::new(AtomicBool::new(false)));
    let end = Arc::clone(&over);
    std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            // Few lines wait at a time: two shells at most read them as they come.
            let _ = fifo.write_all(b"\n\n");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    Ticks(over)
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
