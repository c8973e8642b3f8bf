//! Announces instances, and looks after the program they stand for.
//!
//! ```text
//!          spawned: check, announce  stop: mark    applied, or --drain: withdraw    withdrawn, or 2 s    grace over: kill
//!   Starting ─────────────────▶ Up ────────────▶ Draining ────────▶ Leaving ──────────────────▶ Stopping ────▶ Stopping
//!      │ cannot be started       │ the program ended:     │           │ withdrawn, or 2 s,          │ the program ended
//!      ▼                         │ withdraw               │           │ the program has ended       ▼
//!     exit 126/127               └────────────────────────┴─▶ Leaving ┴───────────────────────▶ Clearing ────▶ Clearing
//!                                                                                       │ nobody of its group is left
//!                                                                                       ▼
//!                                                                exit with the program's status; without a program, 0
//! ```
//!
//! The order of stopping is the point: the instances are marked, whoever sends requests to them is waited for (their entries
//! in the store say what they have applied), and they disappear from the store *before* their program hears of the stop,
//! so that nobody is sent to a server that is going away. A store that does not answer never harms the program: the
//! lease is a machine of its own ([`crate::model::lease`]), and it is waited for 2 s at most.
//!
//! While the program is `Up`, the checks of each instance decide whether anything is wanted from the lease: nothing before
//! they have passed, nothing while they fail. What they say is weighed by a machine of its own too, in `health`; the
//! program hears nothing of it. `instances` holds the instances, one or several, and the leases they hang on; a configuration
//! that is read again, and an address that has changed, give it a new set, from `look`, and it changes what has changed.
//!
//! A program that has ended may leave others of its process group behind: `Clearing` asks them to end (TERM, unless they
//! have just had it), waits for the grace, and kills what is left.

mod health;
mod instances;
mod lifecycle;
mod refresh;
mod resolve;
mod run;
mod status;

pub use self::resolve::{Plan, PlanError, address, plan};
pub use run::run;
