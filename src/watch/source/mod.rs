//! What the store says, as updates for the loop: the paths that the targets follow, and the last good snapshot on disk.
//!
//! `subscriptions` follows the paths; `snapshot` keeps on disk what the store said last, in the form of
//! `snapshot_format`, for a start without a store.
//!
//! Rule: this room turns a store into updates and knows no target.

pub(super) mod snapshot;
mod snapshot_format;
pub(super) mod subscriptions;
