//! Keeps rendered files equal to what is announced.
//!
//! ```text
//! store ──▶ catalog ──▶ guard, schedule (one of each per target) ──▶ publish
//!
//!            change                 quiet, max_wait, min_interval over
//!   Idle ─────────────▶ Settling ─────────────────────────────────────▶ Publishing ──▶ Idle
//!                          ▲  ▲                                          │   │
//!                          │  └──────── something changed meanwhile ─────┘   │ failed
//!                          └───────── newer data ── Retrying ◀───────────────┘
//!                                                      └─ back-off over ─▶ Publishing
//!
//!   publish:  Rendered ─▶ Staged ─▶ Checked ─▶ Swapped ─▶ Live
//!                 │ same: done        │ bad: the live file stays   │ reload failed: the previous file comes back
//!                            │ newer data, and HAProxy has been changed already: Settling, and on from what it has
//! ```
//!
//! [`render`] turns a template and a catalog into text; what becomes of the text is the business of `publish`, and when
//! that happens, of `schedule`. Nothing is published before the store has said everything once, and nothing while it
//! says nothing; at a start without a store, `memory` has what it said last.
//!
//! What is lost without a word is believed up to a limit: `guard` decides, `guards` is its shell, and lays over the catalog
//! what is held.
//!
//! Equal reloads are gathered by `reload`; `tell` makes one, and `proof` sees whether the program runs the new files;
//! `confirm` asks it which generation it has read.
//!
//! With a command, `sidekick watch` is the entrypoint of the proxy: `entrypoint` decides when it starts and stops, `ward`
//! is its shell.

mod announce;
mod census;
mod check;
mod confirm;
mod entrypoint;
mod fixture;
mod following;
mod guard;
mod guards;
mod haproxy;
mod herald;
mod kept;
mod ledger;
mod load;
mod memory;
mod offline;
mod paths;
mod proof;
mod publish;
mod reload;
pub mod render;
mod repair;
mod run;
mod saved;
mod schedule;
mod tell;
mod trouble;
mod unchecked;
mod ward;
mod world;

pub use check::{Findings, check};
pub use fixture::Fault;
pub use guards::{HandError, list as guard_list, release as guard_release};
pub use load::{Configuration, LoadError, Loaded, load, load_some};
pub use offline::{FixtureError, Show, fixture, render as render_offline};
pub use run::{Plan, run};
