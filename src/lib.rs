//! `sidekick`: announces services in a store and keeps configuration files equal to what is announced.
//!
//! Two pipelines share one set of nouns ([`model`]) and one kind of store ([`store`]):
//!
//! ```text
//! register:  child + checks ──▶ lifecycle ──▶ lease ──▶ store
//! watch:     store ──▶ catalog ──▶ guard ──▶ schedule ──▶ render ──▶ check ──▶ swap ──▶ reload
//! ```
//!
//! [`cli`] is what was typed, [`config`] what that and the files mean, [`command`] makes a job of it, which `main.rs` runs,
//! [`error`] how a failure is told. [`manage`] is what people do by hand.
//!
//! A functional core decides, an imperative shell acts. The pure files (all of [`model`]; `health`, `lifecycle` and `instances`
//! of [`register`]; `announce`, `entrypoint`, `guard`, `proof`, `render`, `schedule` and others of [`watch`]) are machines
//! `handle(now, input) -> actions` and plain functions; the shells (`register::run`, `watch::run`) perform the actions and
//! bring every result back as an input. The adapters ([`store`], [`system`], [`proxy`]) know the outside and nothing of each
//! other; they have pure files, too, such as the plan of what changes in a running HAProxy. A test
//! (`tests/it/architecture.rs`) lists the pure files, reads the `use` lines, and keeps it so.

pub mod cli;
pub mod command;
pub mod config;
pub mod error;
pub mod manage;
pub mod model;
pub mod proxy;
pub mod register;
pub mod store;
pub mod system;
pub mod watch;
