//! The end of a command: somebody has asked it to stop, or it has ended, and the rest of its process group follows. Pure.
//!
//! ```text
//!   asked to stop ──▶ Stopping ──── the command has ended ───▶ Clearing ── the group is gone ──▶ exit
//!                      │ grace over: KILL                       │ grace over: KILL
//!                      │ still there: leave it behind           │ still there: leave it behind
//!                      └──────────────▶ exit                    └──────────────▶ exit
//! ```
//!
//! Both states have a deadline at all times, so that `sidekick` ends whatever becomes of the answers.

use std::fmt;
use std::time::{Duration, Instant};

use super::os::{Exit, Signal};
use super::stop::Stop;

/// How long the command has to end after a KILL. The kernel may need seconds to give back the memory of a large one.
pub const COMMAND_DEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long the other processes of the group have to disappear after a KILL.
pub const GROUP_DEAD_WITHIN: Duration = Duration::from_secs(1);

/// The machine; see the module's diagram.
#[derive(Debug)]
pub struct Ending {
    stop: Stop,
    state: State,
    /// The end of the grace, or of the time that follows a KILL.
    until: Instant,
    /// Whether the KILL has been sent.
    killed: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// `signal` has asked the command to stop.
    Stopping { signal: Signal },
    /// The command has ended with `status`, and the rest of its group has been asked to end.
    Clearing { status: u8 },
}

/// What has to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send a signal to all processes that are left of the command's group.
    SignalGroup(Signal),
    /// Say that these processes live although they were killed, and that nobody waits for them any more.
    LeaveBehind(Left),
    /// End `sidekick` with this status. No other step follows.
    Exit(u8),
}

/// Who is still there after a KILL: a process that hangs in the kernel, or that we may not kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The command itself, as far as we know.
    Command,
    /// Other processes of its group.
    Group,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, within) = match self {
            Self::Command => ("the command", COMMAND_DEAD_WITHIN),
            Self::Group => (
                "processes that the command has left behind",
                GROUP_DEAD_WITHIN,
            ),
        };
        write!(
            f,
            "{who} could not be ended: nothing says within {within:?} after a KILL that they are gone; they may hang in \
             the kernel, on a dead file system for example, or run as another user. sidekick ends without them"
        )
    }
}

impl Ending {
    /// `signal` asks the command to stop: it has the grace for it.
    #[must_use]
    pub fn asked(now: Instant, stop: Stop, signal: Signal) -> Self {
        Self::new(now, stop, State::Stopping { signal })
    }

    /// The command has ended by itself, and a TERM asks the rest of its group to end: it has the grace for it.
    #[must_use]
    pub fn ended_by_itself(now: Instant, stop: Stop, status: u8) -> Self {
        Self::new(now, stop, State::Clearing { status })
    }

    fn new(now: Instant, stop: Stop, state: State) -> Self {
        Self {
            stop,
            state,
            until: now + stop.grace,
            killed: false,
        }
    }

    /// When [`Ending::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.until
    }

    /// Whether the command itself still runs, as far as we know.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }

    /// The command has ended: the rest of its group has what is left of the grace. Returns the TERM that the rest has
    /// not heard yet.
    pub fn command_ended(&mut self, now: Instant, status: u8) -> Option<Step> {
        let State::Stopping { signal } = self.state else {
            return None;
        };
        self.state = State::Clearing { status };
        if self.killed {
            // The KILL went to the whole group, so no process is left that could react to a TERM.
            self.until = now + GROUP_DEAD_WITHIN;
            return None;
        }
        // Background processes ignore an interrupt, so only a TERM counts.
        let has_heard = self.stop.whole_group && signal == Signal::TERM;
        (!has_heard).then_some(Step::SignalGroup(Signal::TERM))
    }

    /// No process of the group is left. Returns the exit, unless the command itself has not been seen to end.
    #[must_use]
    pub fn group_gone(&self) -> Option<Step> {
        match self.state {
            State::Clearing { status } => Some(Step::Exit(status)),
            State::Stopping { .. } => None,
        }
    }

    /// Time has passed: what is due now.
    pub fn tick(&mut self, now: Instant) -> Vec<Step> {
        if now < self.until {
            return Vec::new();
        }
        if !self.killed {
            self.killed = true;
            self.until = now
                + match self.state {
                    State::Stopping { .. } => COMMAND_DEAD_WITHIN,
                    State::Clearing { .. } => GROUP_DEAD_WITHIN,
                };
            return vec![Step::SignalGroup(Signal::KILL)];
        }
        match self.state {
            // A shell reports the same status of a command that a KILL has ended.
            State::Stopping { .. } => {
                let status = Exit::Signal(Signal::KILL).status();
                vec![Step::LeaveBehind(Left::Command), Step::Exit(status)]
            }
            State::Clearing { status } => vec![Step::LeaveBehind(Left::Group), Step::Exit(status)],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[test]
    fn a_command_that_a_kill_does_not_end_is_left_behind() {
        let now = Instant::now();
        let mut ending = Ending::asked(now, Stop::within(GRACE), Signal::TERM);
        let over = now + GRACE;
        assert_eq!(ending.deadline(), over);
        assert_eq!(ending.tick(now), []);
        assert_eq!(ending.tick(over), [Step::SignalGroup(Signal::KILL)]);
        let late = over + COMMAND_DEAD_WITHIN;
        assert_eq!(ending.deadline(), late);
        let given_up = [Step::LeaveBehind(Left::Command), Step::Exit(137)];
        assert_eq!(ending.tick(late), given_up);
    }

    #[test]
    fn a_group_that_a_kill_does_not_end_is_left_behind() {
        let now = Instant::now();
        let mut ending = Ending::ended_by_itself(now, Stop::within(GRACE), 3);
        let over = now + GRACE;
        assert_eq!(ending.tick(over), [Step::SignalGroup(Signal::KILL)]);
        let late = over + GROUP_DEAD_WITHIN;
        let given_up = [Step::LeaveBehind(Left::Group), Step::Exit(3)];
        assert_eq!(ending.tick(late), given_up);
    }

    #[test]
    fn the_texts_name_who_is_left() {
        for (left, want) in [(Left::Command, "the command"), (Left::Group, "processes")] {
            let text = left.to_string();
            assert!(text.starts_with(want) && text.contains("could not be ended"));
        }
    }

    proptest! {
        /// Whichever answers come, and whichever are lost: the exit comes within the grace and the times after a KILL, and
        /// the KILL comes at most once.
        #[test]
        fn the_exit_comes_in_time(is_asked in any::<bool>(), answers in proptest::collection::vec((0u8..3, 0u64..4000), 0..8)) {
            let start = Instant::now();
            let mut ending = if is_asked {
                Ending::asked(start, Stop::within(GRACE), Signal::TERM)
            } else {
                Ending::ended_by_itself(start, Stop::within(GRACE), 3)
            };
            let (mut now, mut answers, mut kills) = (start, answers.into_iter(), 0);
            let exited = loop {
                let (answer, pause) = answers.next().unwrap_or((0, 60_000));
                let next = now + Duration::from_millis(pause);
                let is_due = ending.deadline() <= next;
                now = next.min(ending.deadline()).max(now);
                let steps = match answer {
                    _ if is_due => ending.tick(now),
                    1 => ending.command_ended(now, 0).into_iter().collect(),
                    2 => ending.group_gone().into_iter().collect(),
                    _ => ending.tick(now),
                };
                kills += steps.iter().filter(|step| **step == Step::SignalGroup(Signal::KILL)).count();
                if let Some(Step::Exit(_)) = steps.last() {
                    break now;
                }
            };
            prop_assert!(exited <= start + GRACE + COMMAND_DEAD_WITHIN + GROUP_DEAD_WITHIN);
            prop_assert!(kills <= 1);
        }
    }
}
