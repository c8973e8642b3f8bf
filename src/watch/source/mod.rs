//! Turns the store into updates for the loop: follows the paths that the targets need, and keeps the last good snapshot
//! on disk.
//!
//! `subscriptions` follows the paths; `snapshot` writes the last state of the store to the state directory and reads it
//! if the store does not answer at a start; `snapshot_format` is the text of that file (pure).
//!
//! Rule: this room knows the store; it knows no target.

pub(super) mod snapshot;
mod snapshot_format;
pub(super) mod subscriptions;
