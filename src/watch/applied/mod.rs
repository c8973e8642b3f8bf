//! What others may rely on: the entry in which a watcher says which revisions its proxies have in use.
//!
//! `machine` decides what is said and when that is worth a write (pure); `publisher` writes the entry and keeps it alive;
//! `old_workers` counts the workers that still serve an older configuration.
//!
//! Rule: this room only tells; nothing here changes what is published.

pub(super) mod machine;
pub(super) mod old_workers;
pub(super) mod publisher;
