//! Who is in a process group: read off `/proc`, since the kernel's own answer counts the dead that nobody has reaped.
//! Adapter.

use std::fs;

use nix::unistd::{Pid, getpid};

/// Whether the group has a member that has not ended. Where that cannot be told, it has.
pub(super) fn has_living_member(group: Pid) -> bool {
    if !proc_is_ours() {
        return true;
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return true;
    };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
        })
        .filter_map(|entry| fs::read(entry.path().join("stat")).ok())
        .any(|stat| lives_in(&String::from_utf8_lossy(&stat), group.as_raw()))
}

/// Whether `/proc` counts as we do: one that was mounted for another PID namespace has other numbers.
fn proc_is_ours() -> bool {
    let own = getpid().to_string();
    fs::read_link("/proc/self").is_ok_and(|link| link.to_str() == Some(&own))
}

/// Whether the process with this `stat` is a member of the group and has not ended.
fn lives_in(stat: &str, group: i32) -> bool {
    // The name, in parentheses, may contain anything: `pid (name) state ppid pgrp …`.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = rest.split_ascii_whitespace();
    let ended = matches!(fields.next(), Some("Z" | "X" | "x") | None);
    let pgrp = fields.nth(1).and_then(|field| field.parse().ok());
    !ended && pgrp == Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_and_the_others_do_not_count() {
        assert!(lives_in("7 (sh) S 1 5 5 0", 5));
        assert!(lives_in("7 (a) Z 1 9) T 1 5 5 0", 5));
        assert!(!lives_in("7 (sh) Z 1 5 5 0", 5));
        assert!(!lives_in("7 (sh) S 5 1 5 0", 5));
        assert!(!lives_in("", 5));
        assert!(!lives_in("7 (sh) S", 5));
    }

    #[test]
    fn we_are_in_our_own_group() {
        assert!(has_living_member(nix::unistd::getpgrp()));
    }
}
