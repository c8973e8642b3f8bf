//! The admin endpoint of a running `sidekick`: `/health`, `/ready`, `/status` and `/metrics` over HTTP. Adapter.
//!
//! The server has a thread of its own, so that it still answers when the loop is stuck. The loops report each event with one
//! call ([`watch::WatchAdmin`], [`register::RegisterAdmin`]); without `--admin` such a call does nothing. No decision depends
//! on this module.
//!
//! `watch` and `register` take in the events and have the metrics; `routes` has the paths, which both share; `exposition` writes
//! metrics as text; `liveness` sees whether the loop is stuck; `change_latency` measures how long changes take.
//!
//! Labels of metrics are targets, services, results and outcomes. Instances are never labels, so the number of metrics does
//! not grow with them.

mod change_latency;
mod exposition;
mod liveness;
pub mod register;
mod routes;
pub mod watch;

pub use self::liveness::LoopBeat;
