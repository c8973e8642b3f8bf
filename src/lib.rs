//! `sidekick` announces services in a store, and renders the configuration files of proxies from the services that are
//! announced.
//!
//! Two pipelines share one set of nouns ([`model`]) and one kind of store ([`store`]):
//!
//! ```text
//! register:  child + checks ──▶ lifecycle ──▶ lease ──▶ store
//! watch:     store ──▶ catalog ──▶ guard ──▶ schedule ──▶ render ──▶ check ──▶ swap ──▶ reload
//! ```
//!
//! [`cli`] parses the command line, [`config`] checks it together with the environment and the files, [`command`] has a
//! function for each command, which `main.rs` runs, and [`error`] turns a failure into a report and an exit code.
//! [`manage`] has the commands that operators use by hand (drain, undrain, status), [`dashboard`] shows services and
//! watchers in a browser, and [`admin`] answers requests for health, status and metrics.
//!
//! The first lines of each file say of which kind it is. A pure file decides: it is a machine
//! `handle(now, input) -> actions`, or plain functions. A shell performs the actions and brings every result back as an
//! input. An adapter ([`store`], [`system`], [`proxy`]) talks to one part of the outside and imports no other adapter.
//!
//! `docs/architecture.md` describes the layers, the rooms of [`watch`] and the path of one event through the files. A test
//! (`tests/it/architecture.rs`) compares the tables of that page with the `use` lines.

pub mod admin;
pub mod cli;
pub mod command;
pub mod config;
pub mod dashboard;
pub mod docker;
pub mod error;
pub mod manage;
pub mod model;
pub mod proxy;
pub mod register;
pub mod store;
pub mod system;
pub mod watch;
