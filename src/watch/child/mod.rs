//! The command that `sidekick watch -- COMMAND` runs: when it starts, what it hears of, how its end becomes ours.
//!
//! ```text
//!   Waiting ── every target has been published once ──▶ Running ── stop ──▶ Stopping ── grace over: KILL ──▶ Ended
//!                                                          └──────────── the command ends by itself ───────────▲
//! ```
//!
//! `lifecycle` decides (pure), `shell` starts, signals and waits.
//!
//! Rule: this room knows the command and nothing of targets or of the store.

pub(super) mod lifecycle;
pub(super) mod shell;
