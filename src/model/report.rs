//! How `sidekick` reports results: its exit codes, and errors with their causes. Pure.

use std::error::Error;
use std::fmt::Display;

/// Exit codes; those from 64 on are `sysexits.h`'s.
pub mod code {
    /// A target failed (`--once`).
    pub const FAILED: u8 = 1;
    /// A target would change (`--noop`).
    pub const PENDING: u8 = 2;
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// The store, or something else that the command needs, is not available.
    pub const UNAVAILABLE: u8 = 69;
    /// Standard output cannot be written.
    pub const OUTPUT: u8 = 74;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

/// The causes of an error, the nearest first.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// An error and its causes in one line, each behind a colon.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Names as part of a sentence: `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn enumerate<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    match names.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        other => other.concat(),
    }
}

/// A number of things: `1 target`, `2 targets`.
#[must_use]
pub fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}
