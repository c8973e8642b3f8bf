//! Prints how far the benchmark is. Shell.

/// Prints a line about the progress.
#[expect(clippy::print_stderr, reason = "the progress of a benchmark")]
pub(crate) fn print_progress(what: &str) {
    eprintln!("{what}");
}
