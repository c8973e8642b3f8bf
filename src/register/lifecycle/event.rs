//! What happens to the instances and their program, and what is to be done about it. Pure.

use std::time::Duration;

use crate::model::ending::Left;
use crate::model::lease;
use crate::model::os::{Exit, ProbeResult, Signal};
use crate::model::prefix::Prefix;
use crate::model::state_change::StateChange;
use crate::model::update::Revision;
use crate::model::watcher_entry::Marks;
use crate::register::instances::{Entry, Holder, ProbeRound};

/// What happens to the instances and their program.
#[derive(Debug)]
pub(in crate::register) enum Input {
    /// Begin.
    Start,
    /// The program runs.
    Spawned,
    /// The program could not be started; a shell would report this status.
    NotSpawned(u8),
    /// The program has ended.
    Ended(Exit),
    /// The answer to [`Action::AwaitGroup`]: no process of the program's group is left.
    GroupGone,
    /// Somebody has sent us a signal.
    Signal(Signal),
    /// The answer to [`Action::Probe`]: a round of checks is over.
    Probed(ProbeRound, ProbeResult),
    /// The store's answer to [`Action::Lease`], for the lease of this holder.
    Lease(Holder, lease::Answer),
    /// The answer to [`Action::Mark`]: the revision since which the instance is marked; `None` if it is not.
    Marked(Prefix, Option<Revision>),
    /// The instances are these from now on, after a config reload or because an address has changed.
    Replace(Vec<Entry>),
    /// The answer to [`Action::AwaitWatchers`]: the wait is over.
    Waited,
    /// The deadline has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::register) enum Action {
    /// Start the program.
    Spawn,
    /// Send a signal to the program, or to its whole group if that was asked for.
    Pass(Signal),
    /// Send a signal to what is left of the program's group.
    SignalGroup(Signal),
    /// Wait for the end of the rest of the program's group, which may have ended already.
    AwaitGroup,
    /// Run all checks of an instance once.
    Probe(ProbeRound),
    /// Report that an instance is healthy.
    Rise(Prefix),
    /// Report that an instance is unhealthy, and why.
    Fall(Prefix, String),
    /// Do this about the lease of this holder.
    Lease(Holder, lease::Action),
    /// Report that an instance is not in the store any more.
    Gone(Prefix),
    /// Report that the set of instances is in force. It comes once, and once for each new set.
    Settled,
    /// Mark this instance as one that is about to go.
    Mark(StateChange),
    /// Wait until the watchers have applied these marks, for this long at most.
    AwaitWatchers(Marks, Duration),
    /// Report that a stop has begun, and why.
    Stopping(Why),
    /// Report that the store did not withdraw the instances in time.
    NotWithdrawn,
    /// Report that another owner has the only instance and does not go; a sidecar leaves.
    Refused(Prefix),
    /// Say that these processes could not be ended, and that nobody waits for them any more.
    LeaveBehind(Left),
    /// Leave, with this status. It is the last action of all.
    Exit(u8),
}

/// Why a stop begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::register) enum Why {
    /// Somebody asked for it.
    Asked(Signal),
    /// The program ended by itself.
    Ended(Exit),
}
