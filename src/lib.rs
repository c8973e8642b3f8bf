//! `sidekick`: announces services in a store and keeps configuration files equal to what is announced.
//!
//! Two pipelines share one set of nouns ([`model`]) and one kind of store ([`store`]):
//!
//! ```text
//! register:  child + checks ──▶ lifecycle ──▶ lease ──▶ store
//! watch:     store ──▶ catalog ──▶ guard ──▶ schedule ──▶ render ──▶ check ──▶ swap ──▶ reload
//! ```
//!
//! [`cli`] parses what was typed, [`config`] works out what that, the environment and the files mean, [`command`] makes a
//! job of it, which `main.rs` runs, and [`error`] turns a failure into a report and an exit code. [`manage`] has what
//! operators do by hand (drain, undrain, status), and [`dashboard`] shows them all of it in a browser.
//!
//! Pure code decides, a shell acts. The first lines of each file say which of the two it is: a pure file is a machine
//! `handle(now, input) -> actions` or plain functions; a shell performs the actions and brings every result back as an
//! input; an adapter ([`store`], [`system`], [`proxy`]) talks to one part of the outside and imports no other adapter.
//!
//! `docs/architecture.md` has the layers, the rooms of [`watch`] and the way of one event through the files. A test
//! (`tests/it/architecture.rs`) reads the tables of that page and the `use` lines, and compares them.

pub mod admin;
pub mod cli;
pub mod command;
pub mod config;
pub mod dashboard;
pub mod error;
pub mod manage;
pub mod model;
pub mod proxy;
pub mod register;
pub mod store;
pub mod system;
pub mod watch;
