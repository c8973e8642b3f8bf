use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const GRACE: Duration = Duration::from_secs(60);

fn id(n: usize) -> ContainerId {
    ContainerId::parse(&format!("{n:064x}")).unwrap()
}

fn container(n: usize, status: Status, started_at: u64) -> Container {
    Container {
        id: id(n),
        name: format!("c{n}"),
        hostname: String::new(),
        labels: BTreeMap::new(),
        status,
        started_at,
        stop_signal: Signal::TERM,
        is_on_host_network: false,
        networks: BTreeMap::new(),
        published: BTreeMap::new(),
    }
}

/// A machine, and what it has last said.
struct Bench {
    now: Instant,
    machine: Machine,
    shown: Option<Vec<usize>>,
    reports: Vec<Action>,
    orders: Vec<Action>,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let mut bench = Self {
            now,
            machine: Machine::new(now, GRACE, 1),
            shown: None,
            reports: Vec::new(),
            orders: Vec::new(),
        };
        bench.handle(Input::Tick);
        bench
    }

    /// Connected to an engine with these containers, which have been inspected.
    fn with(containers: &[Container]) -> Self {
        let mut bench = Self::new();
        bench.list(containers);
        for one in containers {
            bench.inspect(one);
        }
        bench
    }

    fn handle(&mut self, input: Input) {
        for action in self.machine.handle(self.now, input) {
            match action {
                Action::Show(up) => {
                    let number = |one: &Arc<Container>| {
                        usize::from_str_radix(one.id.as_str(), 16).expect("it is a number")
                    };
                    self.shown = Some(up.iter().map(number).collect());
                }
                Action::Connected | Action::Lost(_) | Action::GaveUp => self.reports.push(action),
                order => self.orders.push(order),
            }
        }
    }

    fn take(&mut self, is_it: impl Fn(&Action) -> bool) -> Option<Action> {
        let at = self.orders.iter().position(is_it)?;
        Some(self.orders.remove(at))
    }

    fn list(&mut self, containers: &[Container]) {
        let Some(Action::List(order)) = self.take(|order| matches!(order, Action::List(_))) else {
            panic!("no list is asked for: {:?}", self.orders);
        };
        let listed = containers.iter().map(|one| Listed {
            id: one.id.clone(),
            status: one.status,
        });
        let list = List {
            date: 1000,
            containers: listed.collect(),
        };
        self.handle(Input::Listed(order, Ok(list)));
    }

    /// Answers the inspection of this container.
    fn inspect(&mut self, container: &Container) {
        let answer = Ok(Some(container.clone()));
        self.answer(&container.id, answer);
    }

    fn answer(&mut self, id: &ContainerId, answer: Result<Option<Container>, String>) {
        let is_it = |order: &Action| matches!(order, Action::Inspect(of, _) if of == id);
        let Some(Action::Inspect(_, order)) = self.take(is_it) else {
            panic!("no inspection is asked for: {:?}", self.orders);
        };
        self.handle(Input::Inspected(id.clone(), order, answer));
    }

    fn event(&mut self, n: usize, what: What) {
        self.handle(Input::Event(Event {
            id: id(n),
            what,
            has_labels: true,
            time: 50,
        }));
    }

    /// Ends the stream that is open.
    fn cut(&mut self) {
        let is_it = |order: &Action| matches!(order, Action::Open(..));
        let Some(Action::Open(stream, _)) = self.take(is_it) else {
            panic!("no stream is open");
        };
        self.handle(Input::Ended(stream, "cut".to_owned()));
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.machine.deadline() <= end {
            self.now = self.machine.deadline().max(self.now);
            self.handle(Input::Tick);
        }
        self.now = end;
    }
}

fn up(n: usize) -> Container {
    container(n, Status::Up, 10)
}

#[test]
fn the_first_set_is_shown_when_all_of_it_is_known() {
    let mut bench = Bench::new();
    let all = [up(1), container(2, Status::Starting, 10), up(3)];
    bench.list(&all);
    assert_eq!(bench.reports, [Action::Connected]);
    assert_eq!(
        bench.take(|order| matches!(order, Action::Open(..))),
        Some(Action::Open(2, 999)),
        "events since the list, and a second more"
    );
    bench.inspect(&all[0]);
    bench.inspect(&all[1]);
    assert_eq!(bench.shown, None);
    bench.inspect(&all[2]);
    assert_eq!(bench.shown, Some(vec![1, 3]));
    let mut none = Bench::new();
    none.list(&[]);
    assert_eq!(none.shown, Some(vec![]), "an empty set is a set too");
}

#[test]
fn what_an_event_leads_to_is_what_the_inspection_shows() {
    let table = [
        (What::Went, Some(Status::Stopped), vec![]),
        (What::Went, Some(Status::Paused), vec![]),
        (What::Went, Some(Status::Unhealthy), vec![]),
        (What::Went, None, vec![]),
        // It runs again already.
        (What::Went, Some(Status::Up), vec![1]),
        (What::Came, Some(Status::Starting), vec![]),
        (What::Came, Some(Status::Up), vec![1]),
    ];
    for (what, status, shown) in table {
        let mut bench = Bench::with(&[up(1)]);
        assert_eq!(bench.shown, Some(vec![1]));
        bench.event(1, what);
        let seen = status.map(|status| container(1, status, 10));
        bench.answer(&id(1), Ok(seen));
        assert_eq!(bench.shown, Some(shown), "{what:?} {status:?}");
    }
}

#[test]
fn a_new_container_comes_with_its_event() {
    let mut bench = Bench::with(&[]);
    bench.event(7, What::Came);
    bench.inspect(&container(7, Status::Starting, 10));
    assert_eq!(bench.shown, Some(vec![]));
    bench.event(7, What::Came);
    bench.inspect(&up(7));
    assert_eq!(bench.shown, Some(vec![7]));
}

#[test]
fn strangers_are_left_alone() {
    let mut bench = Bench::with(&[]);
    let event = |what| Event {
        id: id(1),
        what,
        has_labels: false,
        time: 50,
    };
    bench.handle(Input::Event(event(What::Came)));
    bench.handle(Input::Event(event(What::Went)));
    assert!(
        bench
            .take(|order| matches!(order, Action::Inspect(..)))
            .is_none()
    );
}

#[test]
fn an_inspection_that_is_older_than_an_event_does_not_count() {
    let mut bench = Bench::with(&[up(1)]);
    bench.event(1, What::Came);
    bench.event(1, What::Went);
    bench.inspect(&container(1, Status::Stopped, 10));
    assert_eq!(
        bench.shown,
        Some(vec![1]),
        "it was asked before the second event"
    );
    bench.inspect(&container(1, Status::Paused, 10));
    assert_eq!(bench.shown, Some(vec![]));
}

#[test]
fn who_went_goes_even_if_nobody_can_inspect_it() {
    for is_silent in [false, true] {
        let mut bench = Bench::with(&[up(1), up(2)]);
        bench.event(1, What::Went);
        bench.event(2, What::Came);
        if is_silent {
            bench.wait(INSPECT_WITHIN);
        } else {
            bench.answer(&id(1), Err("no".to_owned()));
            bench.answer(&id(2), Err("no".to_owned()));
        }
        assert_eq!(bench.shown, Some(vec![2]), "silent: {is_silent}");
        bench.wait(INSPECT_AGAIN);
        bench.orders.reverse();
        bench.inspect(&up(1));
        assert_eq!(bench.shown, Some(vec![1, 2]), "it is tried again");
    }
}

#[test]
fn a_late_answer_to_an_order_that_was_given_up_counts_for_nothing() {
    let mut bench = Bench::with(&[up(1)]);
    bench.event(1, What::Went);
    let late = bench.take(|order| matches!(order, Action::Inspect(..)));
    let Some(Action::Inspect(_, late)) = late else {
        panic!("no inspection is asked for");
    };
    bench.wait(INSPECT_WITHIN + INSPECT_AGAIN);
    bench.handle(Input::Inspected(id(1), late, Ok(Some(up(1)))));
    assert_eq!(bench.shown, Some(vec![]));
    bench.inspect(&up(1));
    assert_eq!(bench.shown, Some(vec![1]));
}

#[test]
fn who_is_asked_to_stop_goes_at_once_and_comes_back_with_its_next_start() {
    let table = [
        (Signal::TERM, vec![]),
        (Signal::KILL, vec![]),
        (Signal::HUP, vec![1]),
        (Signal::QUIT, vec![1]),
    ];
    for (signal, shown) in table {
        let mut bench = Bench::with(&[up(1)]);
        bench.event(1, What::Killed(signal));
        assert_eq!(bench.shown, Some(shown.clone()), "{signal}");
        bench.inspect(&up(1));
        assert_eq!(bench.shown, Some(shown), "{signal}: it still runs");
        bench.event(1, What::Came);
        bench.inspect(&container(1, Status::Up, 60));
        assert_eq!(bench.shown, Some(vec![1]), "{signal}: it was started again");
        // An old event that comes once more is about the life before this one.
        bench.event(1, What::Killed(signal));
        assert_eq!(bench.shown, Some(vec![1]));
    }
}

#[test]
fn an_outage_keeps_all_for_the_grace_and_then_none() {
    let mut bench = Bench::with(&[up(1), up(2)]);
    bench.cut();
    assert_eq!(bench.reports.last(), Some(&Action::Lost("cut".to_owned())));
    bench.wait(GRACE / 2);
    assert_eq!(bench.shown, Some(vec![1, 2]));
    bench.wait(GRACE / 2);
    assert_eq!(bench.shown, Some(vec![]));
    let [Action::Connected, Action::Lost(_), Action::GaveUp] = &bench.reports[..] else {
        panic!("each is told once: {:?}", bench.reports);
    };
}

#[test]
fn after_an_outage_everything_is_looked_at_again() {
    let mut bench = Bench::with(&[up(1), up(2)]);
    bench.cut();
    bench.orders.clear();
    bench.wait(Duration::from_secs(5));
    bench.list(&[up(2), up(3)]);
    assert_eq!(bench.shown, Some(vec![1, 2]), "until it is known");
    bench.answer(&id(1), Ok(None));
    assert_eq!(bench.shown, Some(vec![2]));
    bench.inspect(&up(2));
    bench.inspect(&up(3));
    assert_eq!(bench.shown, Some(vec![2, 3]));
    assert_eq!(bench.reports.last(), Some(&Action::Connected));
    bench.wait(LOOK_EVERY);
    assert_eq!(bench.shown, Some(vec![2, 3]), "the grace counts anew");
}

#[test]
fn an_engine_that_hangs_is_noticed() {
    let mut bench = Bench::with(&[up(1)]);
    bench.wait(LOOK_EVERY + LIST_WITHIN);
    let lost = "it has not answered for 10 s".to_owned();
    assert_eq!(bench.reports.last(), Some(&Action::Lost(lost)));
    assert!(bench.take(|order| *order == Action::Close).is_some());
}

#[test]
fn a_look_finds_what_no_event_told() {
    let mut bench = Bench::with(&[up(1), up(2), up(3)]);
    bench.wait(LOOK_EVERY);
    bench.list(&[up(1), container(2, Status::Unhealthy, 10), up(4)]);
    assert!(
        bench
            .take(|order| matches!(order, Action::Inspect(of, _) if *of == id(1)))
            .is_none(),
        "who is as expected is left alone"
    );
    bench.inspect(&container(2, Status::Unhealthy, 10));
    bench.answer(&id(3), Ok(None));
    bench.inspect(&up(4));
    assert_eq!(bench.shown, Some(vec![1, 4]));
}

#[test]
fn inspections_come_a_few_at_a_time() {
    let all: Vec<Container> = (0..100).map(up).collect();
    let mut bench = Bench::new();
    bench.list(&all);
    for one in &all {
        let out = bench.orders.iter();
        let out = out.filter(|order| matches!(order, Action::Inspect(..)));
        assert!(out.count() <= AT_ONCE);
        bench.inspect(one);
    }
    assert_eq!(bench.shown.map(|shown| shown.len()), Some(100));
}

/// An engine with a few containers, between which and the machine anything can get lost.
struct World {
    bench: Bench,
    containers: BTreeMap<usize, Container>,
    clock: u64,
    is_reachable: bool,
    /// Events on their way; whoever opens a stream gets those since the date of its list.
    history: Vec<Event>,
    stream: Option<u64>,
    lines: VecDeque<Event>,
    answers: Vec<Input>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A container gets this status, or goes.
    Change(usize, Option<Status>),
    /// A change that no event tells of.
    Silent(usize, Option<Status>),
    /// The engine answers what it was asked so far.
    Work,
    /// One of the answers arrives.
    Deliver(Index),
    /// One of the answers, or of the events, is lost.
    Drop(Index),
    DropEvent(Index),
    /// One of the events arrives, not always the first.
    Line(Index),
    /// An old event comes once more.
    Again(Index),
    Cut,
    Unreachable,
    Reachable,
    Wait(u64),
}

fn status() -> impl Strategy<Value = Option<Status>> {
    prop_oneof![
        3 => Just(Some(Status::Up)),
        1 => Just(Some(Status::Stopped)),
        1 => Just(Some(Status::Paused)),
        1 => Just(Some(Status::Starting)),
        1 => Just(Some(Status::Unhealthy)),
        1 => Just(None),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        4 => (0..4_usize, status()).prop_map(|(n, status)| Step::Change(n, status)),
        1 => (0..4_usize, status()).prop_map(|(n, status)| Step::Silent(n, status)),
        5 => Just(Step::Work),
        6 => index().prop_map(Step::Deliver),
        1 => index().prop_map(Step::Drop),
        1 => index().prop_map(Step::DropEvent),
        5 => index().prop_map(Step::Line),
        1 => index().prop_map(Step::Again),
        1 => Just(Step::Cut),
        1 => Just(Step::Unreachable),
        2 => Just(Step::Reachable),
        2 => (0..20_000_u64).prop_map(Step::Wait),
    ]
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            containers: BTreeMap::new(),
            clock: 1_000_000_000_000,
            is_reachable: true,
            history: Vec::new(),
            stream: None,
            lines: VecDeque::new(),
            answers: Vec::new(),
        }
    }

    fn change(&mut self, n: usize, status: Option<Status>, is_told: bool) {
        self.clock += 1_000_000;
        let running = |status: Option<Status>| status.is_some_and(|one| one != Status::Stopped);
        let before = self.containers.get(&n);
        let started_at = match before {
            Some(before) if running(Some(before.status)) => before.started_at,
            Some(_) | None => self.clock,
        };
        match status {
            None => drop(self.containers.remove(&n)),
            Some(status) => {
                let one = container(n, status, started_at);
                self.containers.insert(n, one);
            }
        }
        let what = match status {
            Some(Status::Up | Status::Starting) => What::Came,
            Some(Status::Stopped | Status::Paused | Status::Unhealthy) | None => What::Went,
        };
        let event = Event {
            id: id(n),
            what,
            has_labels: true,
            time: self.clock,
        };
        if is_told {
            self.history.push(event.clone());
            if self.stream.is_some() {
                self.lines.push_back(event);
            }
        }
    }

    /// Answers what was ordered; an engine that cannot be reached answers nothing.
    fn work(&mut self) {
        for order in std::mem::take(&mut self.bench.orders) {
            if !self.is_reachable && order != Action::Close {
                continue;
            }
            match order {
                Action::List(order) => {
                    let running = self
                        .containers
                        .values()
                        .filter(|one| one.status != Status::Stopped);
                    let listed = running.map(|one| Listed {
                        id: one.id.clone(),
                        status: one.status,
                    });
                    let list = List {
                        date: self.clock / 1_000_000_000,
                        containers: listed.collect(),
                    };
                    self.answers.push(Input::Listed(order, Ok(list)));
                }
                Action::Open(order, since) => {
                    self.stream = Some(order);
                    let since = since * 1_000_000_000;
                    let missed = self.history.iter().filter(|event| event.time >= since);
                    self.lines = missed.cloned().collect();
                }
                Action::Close => {
                    self.stream = None;
                    self.lines.clear();
                }
                Action::Inspect(id, order) => {
                    let one = self.containers.values().find(|one| one.id == id).cloned();
                    self.answers.push(Input::Inspected(id, order, Ok(one)));
                }
                _ => unreachable!("it is no order"),
            }
        }
    }

    fn deliver(&mut self, index: Index) {
        if !self.answers.is_empty() {
            let at = index.index(self.answers.len());
            let answer = self.answers.remove(at);
            self.bench.handle(answer);
        }
    }

    fn cut(&mut self) {
        self.lines.clear();
        if let Some(stream) = self.stream.take() {
            self.bench.handle(Input::Ended(stream, "cut".to_owned()));
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(n, status) => self.change(*n, *status, true),
            Step::Silent(n, status) => self.change(*n, *status, false),
            Step::Work => self.work(),
            Step::Deliver(index) => self.deliver(*index),
            Step::Drop(index) if !self.answers.is_empty() => {
                self.answers.remove(index.index(self.answers.len()));
            }
            Step::DropEvent(index) if !self.lines.is_empty() => {
                self.lines.remove(index.index(self.lines.len()));
            }
            Step::Line(index) if !self.lines.is_empty() => {
                let event = self.lines.remove(index.index(self.lines.len()));
                self.bench.handle(Input::Event(event.unwrap()));
            }
            Step::Again(index) if !self.history.is_empty() => {
                let event = self.history[index.index(self.history.len())].clone();
                self.bench.handle(Input::Event(event));
            }
            Step::Drop(_) | Step::DropEvent(_) | Step::Line(_) | Step::Again(_) => {}
            Step::Cut => self.cut(),
            Step::Unreachable => {
                self.is_reachable = false;
                self.answers.clear();
                self.cut();
            }
            Step::Reachable => self.is_reachable = true,
            Step::Wait(milliseconds) => self.bench.wait(Duration::from_millis(*milliseconds)),
        }
    }

    /// Everything works for a while.
    fn calm(&mut self) {
        self.is_reachable = true;
        for _ in 0..200 {
            self.work();
            while let Some(answer) = self.answers.pop() {
                self.bench.handle(answer);
            }
            while let Some(event) = self.lines.pop_front() {
                self.bench.handle(Input::Event(event));
            }
            self.bench.wait(Duration::from_millis(250));
        }
    }

    fn up(&self) -> Vec<usize> {
        let all = self.containers.iter();
        let up = all.filter(|(_, one)| one.status == Status::Up);
        up.map(|(n, _)| *n).collect()
    }
}

proptest! {
    /// In whatever order things come, and whatever is lost: when the engine works again, exactly those that can serve are
    /// shown.
    #[test]
    fn in_the_end_the_set_is_that_of_the_engine(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.calm();
        prop_assert_eq!(world.bench.shown.clone(), Some(world.up()));
    }

    /// Nobody stays whom nobody has seen for the grace.
    #[test]
    fn without_the_engine_nobody_is_shown_for_longer_than_the_grace(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.step(&Step::Unreachable);
        world.bench.orders.clear();
        world.bench.wait(LOOK_EVERY + LIST_WITHIN + GRACE);
        prop_assert!(world.bench.shown.is_none_or(|shown| shown.is_empty()));
    }

    /// The machine always wants to be woken, and a wake-up leads on: it never spins.
    #[test]
    fn time_goes_on(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
            let mut wakes = 0;
            while world.bench.machine.deadline() <= world.bench.now {
                world.bench.handle(Input::Tick);
                wakes += 1;
                prop_assert!(wakes < 10);
            }
        }
    }
}
