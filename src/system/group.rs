//! Who is in a process group. Read from `/proc`, since `kill(2)` also finds processes that have ended and that nobody has
//! reaped. Adapter.

use nix::unistd::Pid;

use super::procfs::{self, Stat};

/// Whether the group has a member that has not ended. Where `/proc` cannot answer, it is taken to have one.
pub(super) fn has_living_member(group: Pid) -> bool {
    if !procfs::has_our_numbers() {
        return true;
    }
    let Some(ids) = procfs::process_ids() else {
        return true;
    };
    ids.into_iter()
        .filter_map(Stat::read)
        .any(|stat| !stat.has_ended && stat.group == group.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_in_our_own_group() {
        assert!(has_living_member(nix::unistd::getpgrp()));
    }
}
