//! The admin endpoint of a running `sidekick`: `/health`, `/ready`, `/status` and `/metrics` over HTTP. Adapter.
//!
//! The server has a thread of its own, so that it still answers when the loop is stuck. The loops report each event with one
//! call ([`watch::WatchAdmin`], [`register::RegisterAdmin`]); without `--admin` such a call does nothing. No decision depends
//! on this module.
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
