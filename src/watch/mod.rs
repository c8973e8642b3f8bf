//! `sidekick watch`: keeps rendered files equal to what is announced in the store.
//!
//! ```text
//! store ─▶ source ─▶ catalog ─▶ guard ─▶ target ─▶ publish ─▶ applied
//!
//!   publish:  Rendered ─▶ Staged ─▶ Checked ─▶ Swapped ─▶ Live
//!                 │ same: done        │ bad: the live file stays   │ reload failed: the previous file comes back
//!                            │ newer data while HAProxy has been changed already: the check ends, the next publish goes on
//! ```
//!
//! Each room has one job, which the top of its `mod.rs` describes, and imports only rooms that stand before it in this list:
//!
//! 1. `source` subscribes to the store and keeps a snapshot of it on disk.
//! 2. `child` runs the command that this process was given.
//! 3. `render` makes text from a template and the catalog.
//! 4. `host` answers what templates ask about the host (DNS, files, the time).
//! 5. `conf` reads conf.d into targets.
//! 6. `reload` reloads a program and verifies that it runs the new files.
//! 7. `publish` makes one publish of one target.
//! 8. `history` records what was published and why.
//! 9. `target` decides when each target is published.
//! 10. `guard` decides which losses are believed.
//! 11. `applied` announces in the store which revision the proxies have applied.
//! 12. `offline` renders and checks targets without a store.
//! 13. `run` is the only event loop. It hands each event to the rooms and performs the actions they return.
//!
//! Nothing is published before the store has sent its whole contents once, and nothing changes during an outage. At a start
//! without a store, the contents come from the snapshot on disk.

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
    Change as WhatIf, Findings, FixtureError, Show, WhatIfError, change_fixture, check,
    read_fixture, render as render_offline, unfollowed,
};
pub use self::run::{Plan, run};
