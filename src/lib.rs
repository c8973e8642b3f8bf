//! `sidekick`: announces services in a store and keeps configuration files equal to what is announced.
//!
//! Two pipelines share one set of nouns ([`model`]) and one kind of store ([`store`]):
//!
//! ```text
//! register:  child + checks ──▶ lifecycle ──▶ lease ──▶ store
//! watch:     store ──▶ catalog ──▶ schedule ──▶ render ──▶ check ──▶ swap ──▶ reload
//! ```
//!
//! [`manage`] is what people do by hand.
//!
//! A functional core decides, an imperative shell acts. The pure files (all of [`model`], and in the pipelines
//! `health`, `lifecycle`, `roster`, `announce`, `schedule`, `guard` and `render`) are machines `handle(now, input) -> actions`
//! and plain functions; the shells (`register::run`, `watch::run`) perform the actions and bring every result back as an input. The adapters
//! ([`store`], [`system`], [`proxy`]) know the outside and nothing of each other. A test (`tests/it/architecture.rs`) reads the
//! `use` lines and keeps it so.

pub mod cli;
pub mod config;
pub mod error;
pub mod manage;
pub mod model;
pub mod proxy;
pub mod register;
pub mod store;
pub mod system;
pub mod watch;
