//! When the command of `sidekick watch` starts, what it hears of, and how its end becomes ours. Pure.

use std::time::{Duration, Instant};

use crate::model::facts::{Exit, Signal};

/// What happens to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Every target has been published once.
    Published,
    /// The command could not be started; a shell would report this status.
    NotSpawned(u8),
    /// The command has ended.
    Ended(Exit),
    /// Somebody sent us a signal.
    Signal(Signal),
    /// The deadline has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Start the command.
    Spawn,
    /// Send it a signal.
    Pass(Signal),
    /// Kill what is left of its process group.
    Kill,
    /// Leave, with this status. It is the last action of all.
    Exit(u8),
}

/// The machine: `Waiting ─ published ─▶ Up ─ TERM, INT ─▶ Stopping ─ ended ─▶ Done`; an end leads to `Done` at any time.
#[derive(Debug)]
pub(super) struct Entrypoint {
    stop_grace: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// There is nothing yet that the command could read.
    Waiting,
    Up,
    /// `kill_at` is over once it has been killed.
    Stopping {
        kill_at: Option<Instant>,
    },
    Done,
}

impl Entrypoint {
    pub(super) fn new(stop_grace: Duration) -> Self {
        Self {
            stop_grace,
            state: State::Waiting,
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Stopping { kill_at } => kill_at,
            State::Waiting | State::Up | State::Done => None,
        }
    }

    /// Whether it is about to end, so that nothing needs to be published any more.
    pub(super) fn is_stopping(&self) -> bool {
        match self.state {
            State::Stopping { .. } | State::Done => true,
            State::Waiting | State::Up => false,
        }
    }

    /// The transition.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        match (&mut self.state, input) {
            (State::Done, _) => Vec::new(),
            (State::Waiting, Input::Published) => {
                self.state = State::Up;
                vec![Action::Spawn]
            }
            (_, Input::NotSpawned(status)) => self.exit(status),
            (_, Input::Ended(exit)) => {
                let mut out = vec![Action::Kill];
                out.extend(self.exit(exit.status()));
                out
            }
            (State::Waiting, Input::Signal(signal)) if is_stop(signal) => self.exit(0),
            (State::Up, Input::Signal(signal)) if is_stop(signal) => {
                let kill_at = Some(now + self.stop_grace);
                self.state = State::Stopping { kill_at };
                vec![Action::Pass(signal)]
            }
            (State::Up | State::Stopping { .. }, Input::Signal(signal)) => {
                vec![Action::Pass(signal)]
            }
            (State::Stopping { kill_at }, Input::Tick) if kill_at.is_some_and(|at| now >= at) => {
                *kill_at = None;
                vec![Action::Kill]
            }
            (State::Waiting, Input::Signal(_) | Input::Tick)
            | (State::Up | State::Stopping { .. }, Input::Published | Input::Tick) => Vec::new(),
        }
    }

    fn exit(&mut self, status: u8) -> Vec<Action> {
        self.state = State::Done;
        vec![Action::Exit(status)]
    }
}

fn is_stop(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT].contains(&signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);
    const USR1: Signal = Signal(10);

    /// Feeds inputs a second apart; what each of them leads to.
    fn run(inputs: &[Input]) -> Vec<Vec<Action>> {
        let mut machine = Entrypoint::new(GRACE);
        let mut now = Instant::now();
        let step = |input: &Input| {
            now += Duration::from_secs(1);
            machine.handle(now, *input)
        };
        inputs.iter().map(step).collect()
    }

    #[test]
    fn it_starts_once_when_everything_is_published() {
        let got = run(&[Input::Tick, Input::Published, Input::Published]);
        assert_eq!(got, [vec![], vec![Action::Spawn], vec![]]);
        let got = run(&[Input::Published, Input::NotSpawned(127)]);
        assert_eq!(got[1], [Action::Exit(127)]);
    }

    #[test]
    fn its_end_is_ours_and_the_last_word() {
        for (end, status) in [(Exit::Code(3), 3), (Exit::Signal(Signal::KILL), 137)] {
            let got = run(&[
                Input::Published,
                Input::Ended(end),
                Input::Signal(Signal::TERM),
            ]);
            let exit = vec![Action::Kill, Action::Exit(status)];
            assert_eq!(got, [vec![Action::Spawn], exit, vec![]]);
        }
    }

    #[test]
    fn signals_are_passed_on_and_a_stop_is_bounded() {
        let stop = Input::Signal(Signal::TERM);
        assert_eq!(
            run(&[Input::Signal(USR1), stop]),
            [vec![], vec![Action::Exit(0)]]
        );
        let got = run(&[Input::Published, Input::Signal(USR1), stop, Input::Tick]);
        assert_eq!(got[1], [Action::Pass(USR1)]);
        assert_eq!(got[2..], [vec![Action::Pass(Signal::TERM)], vec![]]);

        let mut machine = Entrypoint::new(GRACE);
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
            [Action::Kill],
            "the grace is over"
        );
        assert_eq!(machine.deadline(), None);
    }
}
