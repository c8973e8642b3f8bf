//! Keeps rendered files equal to what is announced.
//!
//! ```text
//! store ─▶ source ─▶ catalog ─▶ guard ─▶ target ─▶ publish ─▶ applied
//!
//!   publish:  Rendered ─▶ Staged ─▶ Checked ─▶ Swapped ─▶ Live
//!                 │ same: done        │ bad: the live file stays   │ reload failed: the previous file comes back
//!                            │ newer data, and HAProxy has been changed already: Settling, and on from what it has
//! ```
//!
//! Each room has one job, told at the top of its `mod.rs`, and imports only rooms that stand before it in this list:
//!
//! 1. `source`: what the store says, and the snapshot on disk
//! 2. `child`: the command that is run
//! 3. `render`: a template and a catalog become text
//! 4. `host`: the answers to what templates ask of the host
//! 5. `conf`: conf.d becomes targets
//! 6. `reload`: a program is told of its new files, and asked whether it runs them
//! 7. `publish`: one publish of one target
//! 8. `history`: what has been published and why
//! 9. `target`: one target over time, and when it is published
//! 10. `guard`: which losses are believed
//! 11. `applied`: what others may rely on
//! 12. `offline`: rendering and checking without a store
//! 13. `run`: the only loop, which hands each event to the rooms and performs what they say
//!
//! Nothing is published before the store has said everything once, and nothing while it says nothing; at a start without
//! a store, the snapshot has what it said last.

mod applied;
mod child;
mod conf;
mod guard;
mod history;
mod host;
mod offline;
mod publish;
mod reload;
pub mod render;
mod run;
mod source;
mod target;

pub use self::conf::load::{Configuration, LoadError, Loaded, load, load_some};
pub use self::guard::{
    GuardCommandError, list as guard_list, release as guard_release, released_lines,
};
pub use self::history::{HistoryError, Wanted as WantedHistory, show as show_history};
pub use self::offline::{
    Change as WhatIf, Fault, Findings, FixtureError, Show, WhatIfError, change_fixture, check,
    read_fixture, render as render_offline,
};
pub use self::run::{Plan, run};
