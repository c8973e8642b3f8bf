//! How `sidekick` asks the command under it to end. Pure.

use std::time::Duration;

use super::os::Signal;

/// How `sidekick` asks the command under it to end, and which processes get the signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The signal that asks the command to end; without one, the command gets the signal that began the stop.
    pub signal: Option<Signal>,
    /// How long the command may take to end before `sidekick` kills it.
    pub grace: Duration,
    /// Signals go to the command's whole process group, and not to the command alone.
    pub whole_group: bool,
}

impl Stop {
    /// A stop that passes on the signal that began it, to the command alone.
    #[must_use]
    pub fn within(grace: Duration) -> Self {
        Self {
            signal: None,
            grace,
            whole_group: false,
        }
    }

    /// Whether this signal, sent to us, begins a stop.
    #[must_use]
    pub fn begins_with(&self, signal: Signal) -> bool {
        [Signal::TERM, Signal::INT].contains(&signal) || self.signal == Some(signal)
    }

    /// The signal that the command gets when this one has begun the stop.
    #[must_use]
    pub fn signal_for(&self, begun_by: Signal) -> Signal {
        self.signal.unwrap_or(begun_by)
    }

    /// Whether a change of the terminal's size would be taken for a request to stop (Apache ends gracefully at WINCH).
    /// Then the terminal must not send it, neither to the command nor to us.
    #[must_use]
    pub fn is_a_resize(&self) -> bool {
        self.signal == Some(Signal::WINCH)
    }
}

/// The signal of this name or number, if it can ask a command to end.
pub fn parse_stop_signal(text: &str) -> Result<Signal, String> {
    let signal: Signal = text.parse()?;
    let why = match signal.0 {
        1 => "it makes sidekick read its configuration again",
        9 | 19 => "no process can catch it",
        4..=8 | 11 | 31 => "it tells of an error in the process that gets it",
        17 | 18 | 20..=22 => "it is about processes that stop, go on or end, or about the terminal",
        32 | 33 => "the C library keeps it for itself",
        _ => return Ok(signal),
    };
    Err(format!("{signal} cannot be the stop signal: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_signal_begins_a_stop_and_is_what_the_command_gets() {
        let usual = Stop::within(Duration::ZERO);
        let quit = Stop {
            signal: Some(Signal::QUIT),
            ..usual
        };
        for (stop, begun_by, want) in [
            (usual, Signal::TERM, Some(Signal::TERM)),
            (usual, Signal::INT, Some(Signal::INT)),
            (usual, Signal::QUIT, None),
            (quit, Signal::TERM, Some(Signal::QUIT)),
            (quit, Signal::INT, Some(Signal::QUIT)),
            (quit, Signal::QUIT, Some(Signal::QUIT)),
            (quit, Signal::HUP, None),
        ] {
            let got = stop.begins_with(begun_by);
            assert_eq!(got.then(|| stop.signal_for(begun_by)), want, "{begun_by}");
        }
    }

    #[test]
    fn names_and_numbers_of_stop_signals() {
        for (text, number) in [
            ("QUIT", 3),
            ("SIGQUIT", 3),
            ("sigquit", 3),
            ("3", 3),
            ("WINCH", 28),
            ("USR1", 10),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("RTMIN", 34),
            ("64", 64),
        ] {
            assert_eq!(parse_stop_signal(text), Ok(Signal(number)), "{text}");
        }
        for text in [
            "", "SIG", "HUP", "KILL", "9", "STOP", "CHLD", "SEGV", "0", "65", "-3", "32",
            "RTMIN+31", "RTMAX-31", "NO",
        ] {
            assert!(parse_stop_signal(text).is_err(), "{text}");
        }
    }
}
