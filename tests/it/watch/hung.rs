//! A file system that hangs when it is told to: a real one, of FUSE, whose server is stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{skipped, wait_for};

pub(super) struct Hung {
    server: Child,
    mount: PathBuf,
}

impl Hung {
    /// Mounts `dir/hung`; what is written there lies in `dir/below`. `None`, and a word why, where that is not possible.
    pub(super) fn mount(dir: &Path) -> Option<Self> {
        let (below, mount) = (dir.join("below"), dir.join("hung"));
        fs::create_dir_all(&below).unwrap();
        fs::create_dir_all(&mount).unwrap();
        let mut command = Command::new("bindfs");
        // The kernel asks for everything anew.
        command.args([
            "-f",
            "-o",
            "attr_timeout=0,entry_timeout=0,negative_timeout=0",
        ]);
        command.arg(&below).arg(&mount);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let server = match command.spawn() {
            Ok(server) => server,
            Err(error) => {
                skipped(&format!("bindfs cannot be run: {error}"));
                return None;
            }
        };
        let mut own = Self { server, mount };
        let is_mounted = wait_for("the mount", || {
            let mounts = fs::read_to_string("/proc/mounts").unwrap();
            let is_there = mounts.contains(&format!(" {} fuse", own.mount.display()));
            let has_ended = own.server.try_wait().unwrap().is_some();
            (is_there || has_ended).then_some(is_there)
        });
        if !is_mounted {
            skipped("no file system of FUSE can be mounted here");
        }
        is_mounted.then_some(own)
    }

    /// From now on nothing answers there.
    pub(super) fn hang(&self) {
        self.signal(Signal::SIGSTOP);
        let status = format!("/proc/{}/stat", self.server.id());
        wait_for("the server to stand still", || {
            fs::read_to_string(&status)
                .unwrap()
                .contains(") T ")
                .then_some(())
        });
    }

    /// From now on it answers, also what it was asked before.
    pub(super) fn heal(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.server.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Whoever waits for it gets an error then.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.mount).output();
    }
}
