//! Which losses a target believes: a clean stop at once, a loss by expiry up to a limit; what is more is held.
//!
//! Pure: `machine` is the guard of one target (its states are drawn there), with `service` for one service, `freeze` for what
//! it does about the time before its start, and `inherit` for what it takes over from another configuration's guard. Shell:
//! `guards` holds those of all targets, `startup` finds what was there before the start, `reconfigure` exchanges them when
//! conf.d changes, `state_file` keeps them over restarts, `log` says what they do, `cli` is `sidekick guard`.
//!
//! Rule: a guard lays held instances over the catalog before a target sees it; it never touches a file that is live.

mod cli;
pub(super) mod guards;
mod log;
mod machine;
mod reconfigure;
mod startup;
mod state_file;

pub use self::cli::{GuardCommandError, list, release, released_lines};
