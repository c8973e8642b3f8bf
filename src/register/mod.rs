//! `sidekick register`: announces instances in the store, and runs the program that serves them.
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
//! The order of stopping is the point. `register` marks the instances, waits for the watchers that send requests to them
//! (their entries in the store say what they have applied), and withdraws the instances *before* it stops the program, so
//! that no client is sent to a server that is going away. A store that does not answer never harms the program: the lease
//! is a machine of its own ([`crate::model::lease`]), and `register` waits for it 2 s at most.
//!
//! `run` is the loop and `lifecycle` the machine of this diagram. `resolve` finds the addresses and ids of what is configured.
//! `status` reports to the log, to systemd and to the admin endpoint; `announced` knows since when each instance is announced.
//!
//! While the program is `Up`, the checks of each instance decide whether it is announced: not before they have passed, and
//! not while they fail. `health` counts their results; the program hears nothing of them. `instances` has the instances and
//! the leases on which they hang. After a config reload, or when an address has changed, `refresh` gives it a new set, and
//! `instances` changes only what is different.
//!
//! With `--docker`, `containers` follows the engine of this host and turns labels into announcements. They are one more
//! source of the set: `refresh` resolves them with the configured ones.
//!
//! A program that has ended may leave other processes of its group behind. In `Clearing`, `register` asks them to end (by
//! TERM, unless they have just had it), waits for the grace, and kills what is left.

mod announced;
mod containers;
mod health;
mod instances;
mod lifecycle;
mod refresh;
mod resolve;
mod run;
mod status;

pub use self::resolve::{Plan, PlanError, choose_address, resolve};
pub use run::run;
