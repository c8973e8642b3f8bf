//! Decides when the command of `sidekick watch` starts, which signals it gets, and with which status `sidekick` ends
//! after it. Pure.

use std::time::Instant;

use crate::model::ending::{Ending, Left, Step};
use crate::model::os::{Exit, Signal};
use crate::model::stop::Stop;

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
    /// Say that these processes could not be ended, and that nobody waits for them any more.
    LeaveBehind(Left),
    /// End `sidekick` with this status. No other action follows.
    Exit(u8),
}

/// The machine: `Waiting ─ published ─▶ Up ─ asked to stop, or ended ─▶ Ending ─▶ Done`.
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
    /// The command has been asked to stop, or has ended and the rest of its group has been asked to end.
    Ending(Ending),
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
        match &self.state {
            State::Ending(ending) => Some(ending.deadline()),
            State::Waiting | State::Up | State::Done => None,
        }
    }

    /// Whether the command is about to end or has ended, so that nothing needs to be published any more.
    pub(crate) fn is_stopping(&self) -> bool {
        match self.state {
            State::Ending(_) | State::Done => true,
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
            Input::GroupGone => match &self.state {
                State::Ending(ending) => {
                    let step = ending.group_gone();
                    self.follow(step)
                }
                State::Waiting | State::Up | State::Done => Vec::new(),
            },
            Input::Signal(signal) => self.handle_signal(now, signal),
            Input::Tick => self.tick(now),
        }
    }

    /// The command has ended: the rest of its group has to follow it.
    fn child_ended(&mut self, now: Instant, status: u8) -> Vec<Action> {
        let step = match &mut self.state {
            State::Ending(ending) if ending.is_stopping() => ending.command_ended(now, status),
            State::Ending(_) | State::Done => return Vec::new(),
            State::Waiting | State::Up => {
                self.state = State::Ending(Ending::ended_by_itself(now, self.stop, status));
                Some(Step::SignalGroup(Signal::TERM))
            }
        };
        let mut actions = vec![Action::AwaitGroup];
        actions.extend(self.follow(step));
        actions
    }

    fn handle_signal(&mut self, now: Instant, signal: Signal) -> Vec<Action> {
        match &self.state {
            // The command never ran, so the status must not say that it succeeded.
            State::Waiting if self.stop.begins_with(signal) => {
                self.exit_with(Exit::Signal(signal).status())
            }
            State::Waiting | State::Done => Vec::new(),
            State::Up if self.stop.begins_with(signal) => {
                let signal = self.stop.signal_for(signal);
                self.state = State::Ending(Ending::asked(now, self.stop, signal));
                vec![Action::PassSignal(signal)]
            }
            State::Up => vec![Action::PassSignal(signal)],
            State::Ending(ending) if ending.is_stopping() => vec![Action::PassSignal(signal)],
            State::Ending(_) => vec![Action::SignalGroup(signal)],
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Ending(ending) => {
                let steps = ending.tick(now);
                self.follow(steps)
            }
            State::Waiting | State::Up | State::Done => Vec::new(),
        }
    }

    /// Does what comes next in the end of the command.
    fn follow(&mut self, steps: impl IntoIterator<Item = Step>) -> Vec<Action> {
        let mut actions = Vec::new();
        for step in steps {
            match step {
                Step::SignalGroup(signal) => actions.push(Action::SignalGroup(signal)),
                Step::LeaveBehind(left) => actions.push(Action::LeaveBehind(left)),
                Step::Exit(status) => actions.extend(self.exit_with(status)),
            }
        }
        actions
    }

    fn exit_with(&mut self, status: u8) -> Vec<Action> {
        self.state = State::Done;
        vec![Action::Exit(status)]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::ending::{COMMAND_DEAD_WITHIN, GROUP_DEAD_WITHIN};

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
            let clear = vec![Action::AwaitGroup, Action::SignalGroup(Signal::TERM)];
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
        let late = start + GRACE + COMMAND_DEAD_WITHIN;
        assert_eq!(
            machine.deadline(),
            Some(late),
            "nobody may say that it ended"
        );
        let given_up = [Action::LeaveBehind(Left::Command), Action::Exit(137)];
        assert_eq!(machine.handle(late, Input::Tick), given_up);
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
        assert_eq!(asked, [Action::AwaitGroup, term]);
        assert!(machine.is_stopping());
        assert_eq!(machine.deadline(), Some(now + GRACE));
        let over = now + GRACE;
        let kill = Action::SignalGroup(Signal::KILL);
        assert_eq!(machine.handle(over, Input::Tick), [kill]);
        let late = over + GROUP_DEAD_WITHIN;
        let given_up = [Action::LeaveBehind(Left::Group), Action::Exit(3)];
        assert_eq!(machine.handle(late, Input::Tick), given_up);
    }

    #[test]
    fn command_and_group_share_one_grace_and_a_group_gets_one_term() {
        for (whole_group, want) in [
            (
                false,
                vec![Action::AwaitGroup, Action::SignalGroup(Signal::TERM)],
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

    proptest! {
        /// Whichever answers come, in whatever order, and whichever are lost: once somebody has asked the command to stop,
        /// `sidekick` ends in time.
        #[test]
        fn a_stop_ends_whatever_answers_are_lost(script in proptest::collection::vec((0u8..5, 0u64..4000), 0..12)) {
            let start = Instant::now();
            let mut machine = ChildLifecycle::new(Stop::within(GRACE));
            machine.handle(start, Input::Published);
            machine.handle(start, Input::Signal(Signal::TERM));
            let (mut now, mut script) = (start, script.into_iter());
            let mut exits = 0;
            while let Some(due) = machine.deadline() {
                let (step, pause) = script.next().unwrap_or((4, 60_000));
                let next = now + Duration::from_millis(pause);
                now = due.min(next).max(now);
                let input = match step {
                    _ if due <= next => Input::Tick,
                    0 => Input::Ended(Exit::Code(0)),
                    1 => Input::GroupGone,
                    2 => Input::Signal(USR1),
                    3 => Input::Published,
                    _ => Input::Tick,
                };
                let actions = machine.handle(now, input);
                exits += actions.iter().filter(|action| matches!(action, Action::Exit(_))).count();
            }
            prop_assert_eq!(exits, 1);
            prop_assert!(now <= start + GRACE + COMMAND_DEAD_WITHIN + GROUP_DEAD_WITHIN);
        }
    }
}
