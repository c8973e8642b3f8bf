//! One target over time: what it follows, when it is published, and what the log says about it.
//!
//! ```text
//!            change                 quiet, max_wait, min_interval over
//!   Idle ─────────────▶ Settling ─────────────────────────────────────▶ Publishing ──▶ Idle
//!                          ▲  ▲                                          │   │
//!                          │  └──────── something changed meanwhile ─────┘   │ failed
//!                          └───────── newer data ── Retrying ◀───────────────┘
//!                                                      └─ back-off over ─▶ Publishing
//! ```
//!
//! Pure: `schedule` decides when a target is published; `limits` says how long a publish may take; `repair` slows repairs
//! down where another program keeps changing the file; `cause` describes why a target is published; `log_once` tells a new
//! failure from one that is in the log already. Shell: `state` holds all that is known of a target.
//!
//! Rule: this room orders publishes, one at a time for each target; `publish` makes them.

pub(super) mod cause;
mod limits;
mod log_once;
mod repair;
pub(super) mod schedule;
pub(super) mod state;
