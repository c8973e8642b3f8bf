//! The entry of this watcher in the store, which says which revision of the store its proxies have in use (the applied
//! revision). `sidekick drain`, `sidekick status` and instances that stop rely on it.
//!
//! `machine` decides what the entry says and when it is worth a write (pure); `publisher` writes the entry and keeps it
//! alive; `old_workers` counts the workers that still serve an older configuration.
//!
//! Rule: this room reports only; nothing here changes what is published.

pub(super) mod machine;
pub(super) mod old_workers;
pub(super) mod publisher;
