//! The scenes: what happens to the web servers, and what the requests of that time say. Shell.

use std::time::{Duration, Instant};

use crate::book::{Book, Take};
use crate::load::Load;
use crate::stage::{self, Stage};

/// How often, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// Rounds of scenes 1 and 3.
    pub(crate) rounds: usize,
    /// Passes of scene 2.
    pub(crate) passes: usize,
    /// How long nothing is changed, for the floor.
    pub(crate) floor: Duration,
    /// How long all of etcd is down.
    pub(crate) outage: Duration,
}

/// What happens to etcd at the moment of each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// SIGKILL to its leader.
    Leader,
}

impl Fault {
    fn strike(self, stage: &mut Stage, take: &mut Take) {
        match self {
            Self::None => (),
            Self::Leader => {
                take.mark("etcd's leader is killed");
                stage.etcd.kill_leader();
            }
        }
    }

    fn heal(self, stage: &mut Stage) {
        match self {
            Self::None => (),
            Self::Leader => stage.etcd.revive(),
        }
    }

    /// What it adds to the name of a row.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Leader => " leader",
        }
    }
}

/// Whom a SIGKILL hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The server alone.
    Server,
    /// The server and its sidekick.
    Instance,
    /// A whole machine.
    Machine,
}

impl Victim {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Server, Self::Instance, Self::Machine];

    /// What it is called in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Instance => "server and sidekick",
            Self::Machine => "machine of two",
        }
    }

    fn numbers(self) -> &'static [u8] {
        match self {
            Self::Server | Self::Instance => &[1],
            Self::Machine => &[100, 101],
        }
    }
}

/// Those that run from the start, but for scene 1.
const CAST: std::ops::RangeInclusive<u8> = 1..=4;
/// Those that run in scene 2, where two reloads a restart take their time.
const FEW: std::ops::RangeInclusive<u8> = 1..=3;
/// How long things rest between two changes: longer than the least time between two reloads, so that none is owed.
const REST: Duration = Duration::from_millis(2500);
/// How long a server takes to start in scene 2. In scene 1 it would only hide what the way to the proxies takes.
const BOOT: Duration = Duration::from_millis(300);
/// The times before a kill, after it, and when it should be over; a lease of 2 s lives 3 s at most.
const BEFORE: Duration = Duration::from_secs(2);
const DURING: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_millis(1500);

/// Nothing changes.
pub(crate) fn floor(stage: &mut Stage, book: &mut Book, script: Script) {
    let (load, take) = begin(stage, CAST.collect());
    std::thread::sleep(script.floor);
    let take = take.end(load, stage.reloads());
    book.floor(&take);
    finish(stage, CAST.collect());
}

/// From two to ten and back.
pub(crate) fn scale(stage: &mut Stage, book: &mut Book, rounds: usize, fault: Fault) {
    let (load, mut take) = begin(stage, vec![1, 2]);
    let mut first = Vec::new();
    for _ in 0..rounds {
        fault.strike(stage, &mut take);
        take.mark("2 to 10");
        let started: Vec<(u8, Instant)> = (3..=10).map(|n| (n, stage.start(n))).collect();
        for (number, since) in started {
            first.push(stage::answered(number, since, &load) - since);
        }
        fault.heal(stage);
        stage.settled();
        std::thread::sleep(REST);
        fault.strike(stage, &mut take);
        take.mark("10 to 2");
        stage.stop(3..=10);
        fault.heal(stage);
        stage.settled();
        std::thread::sleep(REST);
    }
    let take = take.end(load, stage.reloads());
    book.scale(&take, rounds, &first, fault);
    finish(stage, vec![1, 2]);
}

/// All are restarted, one after the other; in every other pass each comes back at a new address, as containers do.
pub(crate) fn rolling(stage: &mut Stage, book: &mut Book, passes: usize, fault: Fault) {
    let (load, mut take) = begin(stage, FEW.collect());
    let mut restarts = Vec::new();
    stage.boot = BOOT;
    for pass in 1..=passes {
        fault.strike(stage, &mut take);
        take.mark(&format!("pass {pass}"));
        stage.moved += u8::from(pass % 2 == 0);
        for number in FEW {
            let start = Instant::now();
            stage.stop([number]);
            stage.start_and_wait([number], &load);
            restarts.push(start.elapsed());
        }
        fault.heal(stage);
    }
    stage.boot = Duration::ZERO;
    stage.settled();
    std::thread::sleep(REST);
    let take = take.end(load, stage.reloads());
    book.rolling(&take, &restarts, fault);
    finish(stage, FEW.collect());
}

/// SIGKILL.
pub(crate) fn kill(
    stage: &mut Stage,
    book: &mut Book,
    victim: Victim,
    rounds: usize,
    fault: Fault,
) {
    let mut cast: Vec<u8> = CAST.collect();
    if victim == Victim::Machine {
        cast.extend(victim.numbers());
    }
    let (load, mut take) = begin(stage, cast.clone());
    let mut kills = Vec::new();
    for _ in 0..rounds {
        let from = Instant::now();
        std::thread::sleep(BEFORE);
        let ips: Vec<_> = victim.numbers().iter().map(|n| stage.ip(*n)).collect();
        fault.strike(stage, &mut take);
        take.mark(victim.name());
        let at = Instant::now();
        match victim {
            Victim::Server => stage.kill_server(1),
            Victim::Instance => stage.kill_instance(1),
            Victim::Machine => stage.machine.expect("there is one").die(),
        }
        if let Some(packets) = &stage.packets {
            packets.follow(&ips);
        }
        std::thread::sleep(DURING + AFTER);
        kills.push(Kill {
            from,
            at,
            last: stage
                .packets
                .as_ref()
                .map(|packets| packets.last().map_or(Duration::ZERO, |last| last - at)),
        });
        fault.heal(stage);
        take.mark("back");
        if let Some(machine) = stage.machine.filter(|_| victim == Victim::Machine) {
            machine.join().expect("bring the machine back");
        }
        for number in victim.numbers() {
            stage.forget(*number);
        }
        stage.start_and_wait(victim.numbers().iter().copied(), &load);
        stage.settled();
        std::thread::sleep(REST);
    }
    let take = take.end(load, stage.reloads());
    book.kill(&take, victim, &kills, fault);
    finish(stage, cast);
}

/// A kill, and what became of it.
pub(crate) struct Kill {
    /// Since when nothing had changed.
    from: Instant,
    /// When.
    pub(crate) at: Instant,
    /// How long requests were still sent there, if anybody could see that.
    pub(crate) last: Option<Duration>,
}

impl Kill {
    /// The time before it, the one of its effects, and the one when these should be over.
    pub(crate) fn times(&self) -> [(Instant, Instant); 3] {
        let over = self.at + DURING;
        [(self.from, self.at), (self.at, over), (over, over + AFTER)]
    }
}

/// All of etcd is down, and all of it happens meanwhile: two more servers are started, one is restarted, one is killed.
pub(crate) fn outage(stage: &mut Stage, book: &mut Book, script: Script) {
    let (load, mut take) = begin(stage, CAST.collect());
    std::thread::sleep(REST);
    let down = Instant::now();
    take.mark("etcd is down");
    stage.etcd.kill();
    let step = script.outage / 4;
    let at = |part: u32| {
        std::thread::sleep((down + step * part).saturating_duration_since(Instant::now()));
    };
    at(1);
    take.mark("two are started");
    let started = [5, 6].map(|number| (number, stage.start(number)));
    at(2);
    take.mark("one is restarted");
    stage.stop([2]);
    stage.start_and_wait([2], &load);
    at(3);
    take.mark("one is killed");
    stage.kill_instance(1);
    stage.forget(1);
    at(4);
    take.mark("etcd is back");
    stage.etcd.revive();
    let back = Instant::now();
    let first = started.map(|(number, since)| stage::answered(number, since, &load) - back);
    stage.settled();
    let settled = back.elapsed();
    std::thread::sleep(REST);
    let take = take.end(load, stage.reloads());
    book.outage(&take, &first, settled);
    finish(stage, [2, 3, 4, 5, 6].into());
}

/// Brings servers up, and starts to take notes once each has answered and nothing is owed any more.
fn begin(stage: &mut Stage, cast: Vec<u8>) -> (Load, Take) {
    let load = stage.load();
    stage.start_and_wait(cast, &load);
    stage.settled();
    drop(load);
    std::thread::sleep(REST);
    (stage.load(), Take::begin(stage.reloads()))
}

fn finish(stage: &mut Stage, cast: Vec<u8>) {
    stage.stop(cast);
    // With nobody left the last file may stay; who comes next is seen all the same.
}

/// Says what is going on.
#[expect(clippy::print_stderr, reason = "the progress of a benchmark")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}
