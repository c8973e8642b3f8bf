//! The command that `sidekick watch -- COMMAND` runs: when it starts, which signals it gets, and how its end becomes
//! the end of `sidekick`.
//!
//! ```text
//!   Waiting ── every target has been published once ──▶ Up ── stop signal ──▶ Stopping ── it ends, or is killed ─┐
//!      │                                                └───────── it ends by itself ─────────▶ Clearing ◀─────────┘
//!      └── stop signal ──▶ Done ◀── its process group is gone, or was killed ──────────────────────┘
//! ```
//!
//! `lifecycle` decides (pure); `shell` starts the command, sends signals and waits for its end.
//!
//! Rule: this room knows the command; it knows nothing of targets or of the store.

pub(super) mod lifecycle;
pub(super) mod shell;
