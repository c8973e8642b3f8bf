//! The flags that say how a command is stopped.

use super::input::{Problems, Setting};
use super::{Problem, parse_duration};
use crate::cli::StopArgs;
use crate::model::os::Signal;
use crate::model::stop::{Stop, parse_stop_signal};

/// Reads the flags about the stop of a command.
pub(super) fn parse_stop(args: &StopArgs) -> Result<Stop, Vec<Problem>> {
    let mut found = Problems::default();
    let grace = Setting::flag("--stop-grace", &args.stop_grace).parse(&mut found, parse_duration);
    let signal = given(args)
        .map(|text| Setting::flag("--stop-signal", text).parse(&mut found, parse_stop_signal));
    match grace {
        Some(grace) if found.problems.is_empty() => Ok(Stop {
            signal: signal.flatten(),
            grace,
            whole_group: args.signal_group,
        }),
        Some(_) | None => Err(found.problems),
    }
}

/// The signal of `--stop-signal`, if it is given and valid. The process holds it back from the first moment on.
#[must_use]
pub fn stop_signal(args: &StopArgs) -> Option<Signal> {
    parse_stop_signal(given(args)?).ok()
}

/// The text of `--stop-signal`. An empty one, as from an empty variable, counts as not given.
fn given(args: &StopArgs) -> Option<&str> {
    args.stop_signal.as_deref().filter(|text| !text.is_empty())
}
