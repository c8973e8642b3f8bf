//! The order of events in `sidekick register`: the program's start, signals, drain, withdrawal, the program's end, exit. Pure.

use std::time::{Duration, Instant};

pub(super) use self::event::{Action, Input, Why};
use super::instances;
use super::instances::InstanceSet;
use crate::model::ending::{Ending, Step};
use crate::model::os::{Exit, Signal};
use crate::model::prefix::Prefix;
use crate::model::report::code;
use crate::model::stop::Stop;
use crate::model::watcher_entry::Marks;

/// How long a stop waits for the store to mark the instances. A store that does not answer will not withdraw them either.
const MARK_WITHIN: Duration = Duration::from_secs(2);
/// How long a stop waits for the store to withdraw the instances. If it does not, the keys expire with their lease.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(2);

/// The machine; see the module's diagram.
#[derive(Debug)]
pub(super) struct Lifecycle {
    /// Whether there is a program, or we are the sidecar of one.
    has_program: bool,
    stop: Stop,
    /// How long a stop waits for watchers to apply the drain.
    drain: Duration,
    instances: InstanceSet,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    /// `stop`: asked to while the program was being started.
    Starting {
        stop: Option<Signal>,
    },
    /// The instances are announced, or kept from it by their checks.
    Up,
    /// The store marks the instances, and then we wait for watchers to apply that, until `drained_at` at the latest.
    Draining {
        until: Instant,
        drained_at: Instant,
        then: Then,
    },
    /// The store withdraws the instances.
    Leaving {
        until: Instant,
        then: Then,
    },
    /// The program has been asked to stop, or has ended and others of its group have been asked to.
    Ending(Ending),
    Done,
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Pass(Signal),
    /// Others of the program's group live.
    Clear(u8),
    Exit(u8),
}

impl Lifecycle {
    pub(super) fn new(
        has_program: bool,
        stop: Stop,
        drain: Duration,
        instances: InstanceSet,
    ) -> Self {
        Self {
            has_program,
            stop,
            drain,
            instances,
            state: State::New,
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            State::New | State::Starting { .. } | State::Up => None,
            State::Draining { until, .. } | State::Leaving { until, .. } => Some(*until),
            State::Ending(ending) => Some(ending.deadline()),
            State::Done => return None,
        };
        own.into_iter().chain(self.instances.deadline()).min()
    }

    /// When what stands in the store begins to disappear unless it is renewed.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.instances.expires()
    }

    /// The transition.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        if matches!(self.state, State::Done) {
            return out;
        }
        match input {
            Input::Start => self.start(now, &mut out),
            Input::Spawned => self.spawned(now, &mut out),
            Input::NotSpawned(status) => self.exit(status, &mut out),
            Input::Ended(exit) => self.ended(now, exit, &mut out),
            Input::GroupGone => self.group_gone(&mut out),
            Input::Signal(signal) => self.signal(now, signal, &mut out),
            Input::Probed(round, result) => {
                self.hand_to_instances(now, instances::Input::Probed(round, result), &mut out);
            }
            Input::Lease(holder, answer) => {
                self.hand_to_instances(now, instances::Input::Lease(holder, answer), &mut out);
            }
            Input::Marked(dir, since) => {
                self.hand_to_instances(now, instances::Input::Marked(dir, since), &mut out);
            }
            Input::Replace(entries) => {
                self.hand_to_instances(now, instances::Input::Replace(entries), &mut out);
            }
            Input::Waited => self.end_drain(now, &mut out),
            Input::Tick => self.tick(now, &mut out),
        }
        out
    }

    fn start(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.has_program {
            self.state = State::Starting { stop: None };
            out.push(Action::Spawn);
        } else {
            self.announce(now, out);
        }
    }

    fn spawned(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.state {
            State::Starting { stop: Some(signal) } => {
                self.pass_and_wait(now, self.stop.signal_for(signal), out);
            }
            State::Starting { stop: None } => self.announce(now, out),
            State::New | State::Up | State::Draining { .. } | State::Leaving { .. } => {}
            State::Ending(_) | State::Done => {}
        }
    }

    fn announce(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.state = State::Up;
        self.hand_to_instances(now, instances::Input::Start, out);
    }

    fn ended(&mut self, now: Instant, exit: Exit, out: &mut Vec<Action>) {
        let status = exit.status();
        // A group does not end with its leader.
        out.push(Action::AwaitGroup);
        match &mut self.state {
            State::New | State::Starting { .. } | State::Up => {
                out.push(Action::Stopping(Why::Ended(exit)));
                self.withdraw(now, Then::Clear(status), out);
            }
            // No process is left that could answer a request.
            State::Draining { .. } => self.withdraw(now, Then::Clear(status), out),
            State::Leaving { then, .. } => *then = Then::Clear(status),
            State::Ending(ending) => {
                let step = ending.command_ended(now, status);
                self.follow(step, out);
            }
            State::Done => {}
        }
    }

    fn group_gone(&mut self, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Leaving { then, .. } => {
                if let Then::Clear(status) = *then {
                    *then = Then::Exit(status);
                }
            }
            State::Ending(ending) => {
                let step = ending.group_gone();
                self.follow(step, out);
            }
            State::New | State::Starting { .. } | State::Up => {}
            State::Draining { .. } | State::Done => {}
        }
    }

    fn signal(&mut self, now: Instant, signal: Signal, out: &mut Vec<Action>) {
        // Without a program, a request to dump core or the like has nobody else to go to.
        let stops = self.stop.begins_with(signal) || (!self.has_program && signal == Signal::QUIT);
        match (&mut self.state, stops) {
            (State::New | State::Done, _) => {}
            (State::Starting { stop }, true) => *stop = Some(signal),
            // The program that would get the signal does not run yet.
            (State::Starting { .. }, false) => {}
            (State::Up, true) => {
                out.push(Action::Stopping(Why::Asked(signal)));
                let then = if self.has_program {
                    Then::Pass(self.stop.signal_for(signal))
                } else {
                    Then::Exit(0)
                };
                self.drain(now, then, out);
            }
            // A second stop signal means that somebody is in a hurry.
            (State::Draining { .. }, true) => self.end_drain(now, out),
            (State::Leaving { .. }, true) => self.end_withdrawal(now, false, out),
            (State::Ending(_), true) | (_, false) => {
                self.pass(signal, out);
            }
        }
    }

    fn pass(&self, signal: Signal, out: &mut Vec<Action>) {
        let action = match &self.state {
            State::Up if self.has_program => Action::Pass(signal),
            State::Ending(ending) if ending.is_stopping() => Action::Pass(signal),
            State::Ending(_) => Action::SignalGroup(signal),
            State::Draining { then, .. } | State::Leaving { then, .. } => match then {
                Then::Pass(_) => Action::Pass(signal),
                Then::Clear(_) => Action::SignalGroup(signal),
                Then::Exit(_) => return,
            },
            State::New | State::Starting { .. } | State::Up | State::Done => return,
        };
        out.push(action);
    }

    fn drain(&mut self, now: Instant, then: Then, out: &mut Vec<Action>) {
        self.state = State::Draining {
            until: now + MARK_WITHIN,
            drained_at: now + self.drain,
            then,
        };
        self.hand_to_instances(now, instances::Input::Drain, out);
    }

    /// Begins to wait for the watchers, now that the store has answered the marks.
    fn marked(&mut self, now: Instant, marks: Marks, out: &mut Vec<Action>) {
        let State::Draining {
            until, drained_at, ..
        } = &mut self.state
        else {
            return;
        };
        *until = *drained_at;
        let left = drained_at.saturating_duration_since(now);
        if marks.is_empty() || left.is_zero() {
            self.end_drain(now, out);
        } else {
            out.push(Action::AwaitWatchers(marks, left));
        }
    }

    /// Ends the wait for the watchers: they have applied the drain, or the time is up.
    fn end_drain(&mut self, now: Instant, out: &mut Vec<Action>) {
        if let State::Draining { then, .. } = self.state {
            self.withdraw(now, then, out);
        }
    }

    fn withdraw(&mut self, now: Instant, then: Then, out: &mut Vec<Action>) {
        let until = now + WITHDRAW_WITHIN;
        self.state = State::Leaving { until, then };
        self.hand_to_instances(now, instances::Input::Stop, out);
    }

    /// Ends the wait for the withdrawal: it is done, or the time is up.
    fn end_withdrawal(&mut self, now: Instant, withdrawn: bool, out: &mut Vec<Action>) {
        let State::Leaving { then, .. } = self.state else {
            return;
        };
        if !withdrawn {
            out.push(Action::NotWithdrawn);
        }
        match then {
            Then::Pass(signal) => self.pass_and_wait(now, signal, out),
            Then::Clear(status) => {
                let ending = Ending::ended_by_itself(now, self.stop, status);
                self.state = State::Ending(ending);
                out.push(Action::SignalGroup(Signal::TERM));
            }
            Then::Exit(status) => self.exit(status, out),
        }
    }

    fn pass_and_wait(&mut self, now: Instant, signal: Signal, out: &mut Vec<Action>) {
        self.state = State::Ending(Ending::asked(now, self.stop, signal));
        out.push(Action::Pass(signal));
    }

    /// Does what comes next in the end of the program.
    fn follow(&mut self, steps: impl IntoIterator<Item = Step>, out: &mut Vec<Action>) {
        for step in steps {
            match step {
                Step::SignalGroup(signal) => out.push(Action::SignalGroup(signal)),
                Step::LeaveBehind(left) => out.push(Action::LeaveBehind(left)),
                Step::Exit(status) => self.exit(status, out),
            }
        }
    }

    /// Hands an event to the machine of the instances. Its actions about all instances move the lifecycle on; the others are
    /// for the shell.
    fn hand_to_instances(&mut self, now: Instant, input: instances::Input, out: &mut Vec<Action>) {
        for action in self.instances.handle(now, input) {
            out.push(match action {
                instances::Action::Withdrawn => {
                    self.end_withdrawal(now, true, out);
                    continue;
                }
                instances::Action::Drained(marks) => {
                    self.marked(now, marks, out);
                    continue;
                }
                instances::Action::Refused(dir) => {
                    self.refused(now, dir, out);
                    continue;
                }
                instances::Action::Probe(round) => Action::Probe(round),
                instances::Action::Rise(dir) => Action::Rise(dir),
                instances::Action::Fall(dir, why) => Action::Fall(dir, why),
                instances::Action::Lease(holder, action) => Action::Lease(holder, action),
                instances::Action::Gone(dir) => Action::Gone(dir),
                instances::Action::Settled => Action::Settled,
                instances::Action::Mark(change) => Action::Mark(change),
            });
        }
    }

    /// Lets a sidecar leave whose only instance has another owner.
    fn refused(&mut self, now: Instant, dir: Prefix, out: &mut Vec<Action>) {
        if matches!(self.state, State::Up) && !self.has_program {
            out.push(Action::Refused(dir));
            self.withdraw(now, Then::Exit(code::UNAVAILABLE), out);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Draining { until, .. } if now >= *until => self.end_drain(now, out),
            State::Leaving { until, .. } if now >= *until => self.end_withdrawal(now, false, out),
            State::Ending(ending) => {
                let steps = ending.tick(now);
                self.follow(steps, out);
            }
            State::New | State::Starting { .. } | State::Up | State::Done => {}
            State::Draining { .. } | State::Leaving { .. } => {}
        }
        if !matches!(self.state, State::Done) {
            self.hand_to_instances(now, instances::Input::Tick, out);
        }
    }

    fn exit(&mut self, status: u8, out: &mut Vec<Action>) {
        self.state = State::Done;
        out.push(Action::Exit(status));
    }
}

mod event;
#[cfg(test)]
mod tests;
