//! Decides which losses of instances a target believes. An instance that drains before it goes has stopped cleanly: it
//! leaves the file at once. Instances that vanish without draining are lost: they leave the file at once up to a limit,
//! and what is more is held in the file.
//!
//! Pure: `machine` is the guard of one target (its states are drawn there), with `service` for one service, `freeze`
//! for services that are empty at a start, and `inherit` for what it takes over after a config reload. Shell: `guards`
//! has the guards of all targets, `startup` finds what was there before the start, `reconfigure` replaces the guards
//! after a config reload, `state_file` is the file of a guard in the state directory, `record` fills it, `log` writes
//! to the log what guards do, `cli` is `sidekick guard`.
//!
//! Rule: a guard lays held instances over the catalog before a target sees it; it never touches a file that is live.

mod cli;
pub(super) mod guards;
mod log;
mod machine;
mod reconfigure;
mod record;
mod startup;
mod state_file;

pub use self::cli::{GuardCommandError, list, release};
