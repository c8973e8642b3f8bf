//! What has been published and why: the history in the state directory, which `sidekick history` shows.
//!
//! `entry` is one thing that happened to a target, as a line of JSON (pure); `journal` appends them to a file of bounded size,
//! on a thread of its own, since a difference of large files takes time; `show` reads and prints them.
//!
//! Rule: the history records and decides nothing. If it cannot be written, targets are published all the same.

pub(super) mod entry;
pub(super) mod journal;
mod show;

pub use self::show::{HistoryError, Wanted, show};
