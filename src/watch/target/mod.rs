//! One target over time: what it follows, when it is published, and what the log says of it.
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
//! `schedule` decides when (pure); `limits` says how long a publish may take (pure); `state` holds what is known of the target; `repair` slows down where another program
//! keeps changing the file (pure); `log_once` tells a new failure from one that the log names already (pure).
//!
//! Rule: this room orders publishes, one at a time for a target; what a publish does is the business of `publish`.

pub(super) mod cause;
mod limits;
mod log_once;
mod repair;
pub(super) mod schedule;
pub(super) mod state;
