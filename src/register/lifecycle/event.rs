//! What happens to the instances and their program, and what is to be done about it. Pure.

use std::time::Duration;

use crate::model::ending::Left;
use crate::model::os::{Exit, Signal};
use crate::model::prefix::Prefix;
use crate::model::watchers::Marks;
use crate::register::instances;

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
    /// Nobody of the program's group is left; it comes after [`Action::AwaitGroup`].
    GroupGone,
    /// Somebody sent us a signal.
    Signal(Signal),
    /// Something about the instances.
    Roster(instances::Input),
    /// The answer to [`Action::AwaitWatchers`]: they have been waited for.
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
    /// Send a signal to whoever is left of the program's group.
    SignalGroup(Signal),
    /// The program has ended: tell when the rest of its group has, which may be at once.
    AwaitGroup,
    /// Do this about the instances.
    Roster(instances::Action),
    /// Tell when nobody who watches sends anything new to these any more, or this time is over.
    AwaitWatchers(Marks, Duration),
    /// Say that a stop has begun, and why.
    Stopping(Why),
    /// Say that the store did not take the instances back in time.
    NotWithdrawn,
    /// Say that another owner has the only instance and does not go; a sidecar leaves.
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
