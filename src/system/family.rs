//! A daemon and its children, read from `/proc`. Adapter.

use super::procfs::{self, SignalMasks, Stat};
use crate::model::os::{Family, Member, Signal};

/// A daemon that can be read again and again: a process that gets the same id later is not taken for it.
#[derive(Debug)]
pub struct Parent {
    pid: i32,
    /// In clock ticks since the machine was started.
    started: u64,
}

/// The name of the program that a process runs, its first 15 bytes; `None` if `/proc` cannot say.
#[must_use]
pub fn program_name(pid: i32) -> Option<String> {
    if !procfs::has_our_numbers() {
        return None;
    }
    procfs::program_name(pid)
}

impl Parent {
    /// The process with this id, if it runs and its children can be read.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let started = start_of_living(pid)?;
        // Where this file is missing, the kernel was built without it.
        procfs::children(pid)?;
        Some(Self { pid, started })
    }

    /// Whether the process would have to wait with this signal, and its children that run; `None` if it has ended.
    #[must_use]
    pub fn read(&self, Signal(number): Signal) -> Option<Family> {
        if start_of_living(self.pid) != Some(self.started) {
            return None;
        }
        let masks = SignalMasks::read(self.pid)?;
        let members = procfs::children(self.pid)?.into_iter();
        Some(Family {
            holds: masks.is_blocked(number) || masks.is_pending(number),
            children: members.filter_map(living_child).collect(),
        })
    }
}

fn living_child(pid: i32) -> Option<Member> {
    let title = procfs::command_line(pid)?;
    start_of_living(pid)?;
    Some(Member { pid, title })
}

/// When a process was started; `None` if it has ended.
fn start_of_living(pid: i32) -> Option<u64> {
    let stat = Stat::read(pid)?;
    (!stat.has_ended).then_some(stat.started)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::getpid;

    #[test]
    fn we_and_our_children() {
        let own = getpid().as_raw();
        let parent = Parent::find(own).unwrap();
        assert!(program_name(own).is_some());
        assert!(parent.read(Signal::HUP).is_some());
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let of_child = Parent::find(pid).unwrap();
        assert_eq!(of_child.read(Signal::HUP).unwrap().children, []);
        child.kill().unwrap();
        let ended = std::time::Instant::now();
        // A process that has ended and is not reaped counts as ended.
        while of_child.read(Signal::HUP).is_some() {
            assert!(ended.elapsed() < std::time::Duration::from_secs(30));
        }
        child.wait().unwrap();
        assert!(Parent::find(pid).is_none());
    }
}
