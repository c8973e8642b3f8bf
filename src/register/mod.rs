//! Announces an instance, and looks after the program it stands for.
//!
//! ```text
//!              spawned: announce        stop: withdraw             withdrawn, or 2 s      grace over
//!   Starting ───────────────────▶ Up ───────────────────▶ Leaving ─────────────▶ Stopping ─────────▶ killed
//!      │ cannot be started         │ the program ended: withdraw    │ it has ended,   │ ended         │ ended
//!      ▼                           ▼                                │ or none         ▼               ▼
//!     exit 126/127              Leaving                             │               Clearing: others of its group live;
//!                                  │ withdrawn, or 2 s              │                 │   TERM, grace, KILL
//!                                  ▼                                ▼                 ▼
//!                               Clearing ────────────────▶ exit with the program's status, or 0
//! ```
//!
//! The order of stopping is the point: the instance disappears from the store *before* its program hears of the stop,
//! so that nobody is sent to a server that is going away. A store that does not answer never harms the program: the
//! lease is a machine of its own ([`crate::model::lease`]), and it is waited for 2 s at most.

mod lifecycle;
mod plan;
mod run;

pub use plan::{Plan, PlanError, plan};
pub use run::run;
