//! Decides when the command of `sidekick watch` starts, which signals it gets, and with which status `sidekick` ends
//! after it. Pure.

use std::time::{Duration, Instant};

use crate::model::os::{Exit, Signal};
use crate::model::stop::Stop;

/// How long the machine waits for processes to disappear after a KILL. A process that hangs in the kernel, or that we
/// may not kill, is left behind after that.
const DEAD_WITHIN: Duration = Duration::from_secs(1);

/// What happens to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Every target has been published once.
    Published,
    /// The command could not be started. The status is the one that a shell reports: 126 or 127.
    NotSpawned(u8),
    /// The command has ended.
    Ended(Exit),
    /// No process of the command's group is left: the answer to [`Action::AwaitGroup`].
    GroupGone,
    /// `sidekick` has received a signal.
    Signal(Signal),
    /// The deadline has passed.
    Tick,
}

/// What the shell has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the command.
    Spawn,
    /// Send a signal to the command, or to its whole process group if `--signal-group` asks for that.
    PassSignal(Signal),
    /// Send a signal to all processes that are left of the command's group.
    SignalGroup(Signal),
    /// The command has ended: report [`Input::GroupGone`] when the rest of its group has, which may be at once.
    AwaitGroup,
    /// End `sidekick` with this status. No other action follows.
    Exit(u8),
}

/// The machine: `Waiting ─ published ─▶ Up ─ asked to stop ─▶ Stopping ─ ended ─▶ Clearing ─ group gone ─▶ Done`. An
/// end leads from `Up` to `Clearing`.
#[derive(Debug)]
pub(crate) struct ChildLifecycle {
    stop: Stop,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not every target has been published, so the command could find a file missing.
    Waiting,
    Up,
    /// `signal` has asked the command to stop. `kill_at` is the end of its grace, and `None` after the KILL.
    Stopping {
        signal: Signal,
        kill_at: Option<Instant>,
    },
    /// The command has ended with `status`, and the rest of its group has been asked to end. At `until` the rest is
    /// killed; if it is killed already, the machine stops waiting for it.
    Clearing {
        status: u8,
        until: Instant,
        killed: bool,
    },
    Done,
}

impl ChildLifecycle {
    pub(crate) fn new(stop: Stop) -> Self {
        Self {
            stop,
            state: State::Waiting,
        }
    }

    /// When [`Input::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Stopping { kill_at, .. } => kill_at,
            State::Clearing { until, .. } => Some(until),
            State::Waiting | State::Up | State::Done => None,
        }
    }

    /// Whether the command is about to end or has ended, so that nothing needs to be published any more.
    pub(crate) fn is_stopping(&self) -> bool {
        match self.state {
            State::Stopping { .. } | State::Clearing { .. } | State::Done => true,
            State::Waiting | State::Up => false,
        }
    }

    /// Takes one input in; returns what the shell has to do for it.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        if matches!(self.state, State::Done) {
            return Vec::new();
        }
        match input {
            Input::Published if matches!(self.state, State::Waiting) => {
                self.state = State::Up;
                vec![Action::Spawn]
            }
            Input::Published => Vec::new(),
            Input::NotSpawned(status) => self.exit_with(status),
            Input::Ended(exit) => self.child_ended(now, exit.status()),
            Input::GroupGone => match self.state {
                State::Clearing { status, .. } => self.exit_with(status),
                State::Waiting | State::Up | State::Stopping { .. } | State::Done => Vec::new(),
            },
            Input::Signal(signal) => self.handle_signal(now, signal),
            Input::Tick => self.tick(now),
        }
    }

    /// The command has ended: what is left of its group has the rest of the command's own grace.
    fn child_ended(&mut self, now: Instant, status: u8) -> Vec<Action> {
        let (until, killed, has_heard) = match self.state {
            State::Stopping { signal, kill_at } => {
                let has_heard = self.stop.whole_group && signal == Signal::TERM;
                // The KILL went to the whole group, so no process is left that could react to a TERM.
                let has_heard = has_heard || kill_at.is_none();
                let until = kill_at.unwrap_or(now + DEAD_WITHIN);
                (until, kill_at.is_none(), has_heard)
            }
            State::Waiting | State::Up | State::Clearing { .. } | State::Done => {
                (now + self.stop.grace, false, false)
            }
        };
        self.state = State::Clearing {
            status,
            until,
            killed,
        };
        let term = (!has_heard).then_some(Action::SignalGroup(Signal::TERM));
        term.into_iter().chain([Action::AwaitGroup]).collect()
    }

    fn handle_signal(&mut self, now: Instant, signal: Signal) -> Vec<Action> {
        match self.state {
            // The command never ran, so the status must not say that it succeeded.
            State::Waiting if self.stop.begins_with(signal) => {
                self.exit_with(Exit::Signal(signal).status())
            }
            State::Waiting | State::Done => Vec::new(),
            State::Up if self.stop.begins_with(signal) => {
                let signal = self.stop.signal_for(signal);
                self.state = State::Stopping {
                    signal,
                    kill_at: Some(now + self.stop.grace),
                };
                vec![Action::PassSignal(signal)]
            }
            State::Up | State::Stopping { .. } => vec![Action::PassSignal(signal)],
            State::Clearing { .. } => vec![Action::SignalGroup(signal)],
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Stopping { kill_at, .. } if kill_at.is_some_and(|at| now >= at) => {
                *kill_at = None;
                vec![Action::SignalGroup(Signal::KILL)]
            }
            State::Clearing { until, killed, .. } if now >= *until && !*killed => {
                (*until, *killed) = (now + DEAD_WITHIN, true);
                vec![Action::SignalGroup(Signal::KILL)]
            }
            State::Clearing { until, status, .. } if now >= *until => {
                let status = *status;
                self.exit_with(status)
            }
            State::Waiting | State::Up | State::Done => Vec::new(),
            State::Stopping { .. } | State::Clearing { .. } => Vec::new(),
        }
    }

    fn exit_with(&mut self, status: u8) -> Vec<Action> {
        self.state = State::Done;
        vec![Action::Exit(status)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);
    const USR1: Signal = Signal(10);

    /// Hands inputs to a machine, one second apart; returns the actions of each.
    fn run(inputs: &[Input]) -> Vec<Vec<Action>> {
        let mut machine = ChildLifecycle::new(Stop::within(GRACE));
        let mut now = Instant::now();
        let step = |input: &Input| {
            now += Duration::from_secs(1);
            machine.handle(now, *input)
        };
        inputs.iter().map(step).collect()
    }

    #[test]
    fn the_command_starts_once_when_every_target_is_published() {
        let got = run(&[Input::Tick, Input::Published, Input::Published]);
        assert_eq!(got, [vec![], vec![Action::Spawn], vec![]]);
        let got = run(&[Input::Published, Input::NotSpawned(127)]);
        assert_eq!(got[1], [Action::Exit(127)]);
    }

    #[test]
    fn the_end_of_the_command_is_the_end_of_sidekick() {
        for (end, status) in [(Exit::Code(3), 3), (Exit::Signal(Signal::KILL), 137)] {
            let got = run(&[
                Input::Published,
                Input::Ended(end),
                Input::GroupGone,
                Input::Signal(Signal::TERM),
            ]);
            let clear = vec![Action::SignalGroup(Signal::TERM), Action::AwaitGroup];
            let exit = vec![Action::Exit(status)];
            assert_eq!(got, [vec![Action::Spawn], clear, exit, vec![]]);
        }
    }

    #[test]
    fn signals_are_passed_on_and_a_stop_is_bounded() {
        let stop = Input::Signal(Signal::TERM);
        assert_eq!(
            run(&[Input::Signal(USR1), stop]),
            [vec![], vec![Action::Exit(143)]]
        );
        let got = run(&[Input::Published, Input::Signal(USR1), stop, Input::Tick]);
        assert_eq!(got[1], [Action::PassSignal(USR1)]);
        assert_eq!(got[2..], [vec![Action::PassSignal(Signal::TERM)], vec![]]);

        let mut machine = ChildLifecycle::new(Stop::within(GRACE));
        let start = Instant::now();
        machine.handle(start, Input::Published);
        assert_eq!((machine.deadline(), machine.is_stopping()), (None, false));
        machine.handle(start, stop);
        assert_eq!(
            (machine.deadline(), machine.is_stopping()),
            (Some(start + GRACE), true)
        );
        assert_eq!(
            machine.handle(start + GRACE, Input::Tick),
            [Action::SignalGroup(Signal::KILL)],
            "the grace is over"
        );
        assert_eq!(machine.deadline(), None);
    }

    #[test]
    fn the_chosen_signal_stops_the_command_whatever_asked_for_it() {
        let stop = Stop {
            signal: Some(Signal::QUIT),
            ..Stop::within(GRACE)
        };
        for asked in [Signal::TERM, Signal::INT, Signal::QUIT] {
            let mut machine = ChildLifecycle::new(stop);
            let now = Instant::now();
            machine.handle(now, Input::Published);
            let passed = machine.handle(now, Input::Signal(asked));
            assert_eq!(passed, [Action::PassSignal(Signal::QUIT)], "{asked}");
            assert_eq!(machine.deadline(), Some(now + GRACE));
            // A second signal is passed on as it is.
            let again = machine.handle(now, Input::Signal(Signal::TERM));
            assert_eq!(again, [Action::PassSignal(Signal::TERM)]);
        }
    }

    #[test]
    fn what_the_command_leaves_behind_is_asked_to_end_and_killed_after_the_grace() {
        let mut machine = ChildLifecycle::new(Stop::within(GRACE));
        let now = Instant::now();
        machine.handle(now, Input::Published);
        let term = Action::SignalGroup(Signal::TERM);
        let asked = machine.handle(now, Input::Ended(Exit::Code(3)));
        assert_eq!(asked, [term, Action::AwaitGroup]);
        assert!(machine.is_stopping());
        assert_eq!(machine.deadline(), Some(now + GRACE));
        let over = now + GRACE;
        let kill = Action::SignalGroup(Signal::KILL);
        assert_eq!(machine.handle(over, Input::Tick), [kill]);
        let late = over + DEAD_WITHIN;
        assert_eq!(machine.handle(late, Input::Tick), [Action::Exit(3)]);
    }

    #[test]
    fn command_and_group_share_one_grace_and_a_group_gets_one_term() {
        for (whole_group, want) in [
            (
                false,
                vec![Action::SignalGroup(Signal::TERM), Action::AwaitGroup],
            ),
            (true, vec![Action::AwaitGroup]),
        ] {
            let stop = Stop {
                whole_group,
                ..Stop::within(GRACE)
            };
            let mut machine = ChildLifecycle::new(stop);
            let now = Instant::now();
            machine.handle(now, Input::Published);
            machine.handle(now, Input::Signal(Signal::TERM));
            let later = now + GRACE / 2;
            assert_eq!(machine.handle(later, Input::Ended(Exit::Code(0))), want);
            assert_eq!(machine.deadline(), Some(now + GRACE));
        }
    }
}
