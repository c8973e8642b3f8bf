//! How a command is stopped.

use super::input::{Found, Said};
use super::{Problem, parse_duration};
use crate::cli::StopArgs;
use crate::model::os::Signal;
use crate::model::stop::{Stop, parse_stop_signal};

/// What the flags about the stop mean.
pub(super) fn stop(args: &StopArgs) -> Result<Stop, Vec<Problem>> {
    let mut found = Found::default();
    let grace = Said::flag("--stop-grace", &args.stop_grace).parse(&mut found, parse_duration);
    let signal = given(args)
        .map(|text| Said::flag("--stop-signal", text).parse(&mut found, parse_stop_signal));
    match grace {
        Some(grace) if found.problems.is_empty() => Ok(Stop {
            signal: signal.flatten(),
            grace,
            whole_group: args.signal_group,
        }),
        Some(_) | None => Err(found.problems),
    }
}

/// The chosen signal, if one is and it is right: it is held back from the first moment on.
#[must_use]
pub fn stop_signal(args: &StopArgs) -> Option<Signal> {
    parse_stop_signal(given(args)?).ok()
}

/// What is set to nothing is not set.
fn given(args: &StopArgs) -> Option<&str> {
    args.stop_signal.as_deref().filter(|text| !text.is_empty())
}
