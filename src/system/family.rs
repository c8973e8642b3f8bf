//! A daemon and its children, read off `/proc`. Adapter.

use std::fs;

use nix::unistd::getpid;

use super::process::masked;
use crate::model::os::{Family, Member, Signal};

/// A daemon that can be looked at again and again: a process id that is used anew is another one.
#[derive(Debug)]
pub struct Parent {
    pid: i32,
    born: u64,
}

/// What the name of a process's program is.
#[must_use]
pub fn program(pid: i32) -> Option<String> {
    // A `/proc` of another PID namespace has other numbers.
    let own = fs::read_link("/proc/self").ok()?;
    if own.to_str() != Some(&getpid().to_string()) {
        return None;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

impl Parent {
    /// The process with this id, if it can be looked at.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let born = born(pid)?;
        // Where this file is missing, the kernel was built without it.
        children(pid)?;
        Some(Self { pid, born })
    }

    /// How it is now; `None` if it has ended.
    #[must_use]
    pub fn look(&self, Signal(number): Signal) -> Option<Family> {
        if born(self.pid) != Some(self.born) {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let holds = ["SigBlk:", "SigPnd:", "ShdPnd:"]
            .iter()
            .any(|mask| masked(&status, mask, number));
        let members = children(self.pid)?.into_iter().filter_map(member);
        Some(Family {
            holds,
            children: members.collect(),
        })
    }
}

fn children(pid: i32) -> Option<Vec<i32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    Some(pids.collect())
}

/// A child that has not ended.
fn member(pid: i32) -> Option<Member> {
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    born(pid)?;
    let title = String::from_utf8_lossy(&title).replace('\0', " ");
    Some(Member { pid, title })
}

/// When a process was started, in ticks since the machine was; `None` if it has ended.
fn born(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything: `pid (name) state …`, and this is the 22nd field.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let ended = matches!(fields.next(), Some("Z" | "X" | "x") | None);
    let born = fields.nth(18)?.parse().ok();
    born.filter(|_| !ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_and_our_children() {
        let own = getpid().as_raw();
        let parent = Parent::find(own).unwrap();
        assert!(program(own).is_some());
        assert!(parent.look(Signal::HUP).is_some());
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let of_child = Parent::find(pid).unwrap();
        assert_eq!(of_child.look(Signal::HUP).unwrap().children, []);
        child.kill().unwrap();
        let ended = std::time::Instant::now();
        // Dead and not reaped is dead.
        while of_child.look(Signal::HUP).is_some() {
            assert!(ended.elapsed() < std::time::Duration::from_secs(30));
        }
        child.wait().unwrap();
        assert!(Parent::find(pid).is_none());
    }
}
