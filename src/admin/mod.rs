//! What a running `sidekick` tells of itself over HTTP: `/health`, `/ready`, `/status` and `/metrics`. Adapter.
//!
//! The server has a thread of its own, so that it can say that the loop is stuck. The loops write down what happens, with
//! one call for each event ([`watch::WatchAdmin`], [`register::RegisterAdmin`]); without `--admin` such a call does nothing.
//! Nothing that decides anything knows of all this, and nothing here changes anything.
//!
//! Labels of metrics are targets and services of the configuration, results and outcomes: there are as many as there are
//! of those, and never one for each instance.

mod beat;
mod change_clock;
mod exposition;
pub mod register;
mod routes;
pub mod watch;

pub use self::beat::LoopBeat;
