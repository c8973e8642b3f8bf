//! The scenes: each changes or kills web servers under load, and records the requests. Shell.

use std::time::{Duration, Instant};

use crate::fault::{AFTER, DURING, Fault, Kill, Victim};
use crate::load::Load;
use crate::report::{Recording, Report};
use crate::stage::{self, Stage};

/// The numbers of rounds, and the durations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// Rounds of scenes 1 and 3.
    pub(crate) rounds: usize,
    /// Passes of scene 2.
    pub(crate) passes: usize,
    /// The duration of scene 0.
    pub(crate) floor: Duration,
    /// The time for which all of etcd is down, in scene 5.
    pub(crate) outage: Duration,
}

/// The servers that run from the start, except in scenes 1 and 2.
const CAST: std::ops::RangeInclusive<u8> = 1..=4;
/// The servers that run in scene 2, which takes long, because each restart causes two reloads.
const FEW: std::ops::RangeInclusive<u8> = 1..=3;
/// The pause between two changes: longer than the least time between two reloads, so that no reload is owed.
const REST: Duration = Duration::from_millis(2500);
/// How long a server takes to start in scene 2. In scene 1 servers start at once, since that scene measures the time until
/// the proxies use them.
const BOOT: Duration = Duration::from_millis(300);
/// The quiet period before a kill.
const BEFORE: Duration = Duration::from_secs(2);

/// Scene 0: nothing changes.
pub(crate) fn floor(stage: &mut Stage, report: &mut Report, script: Script) {
    let (load, recording) = begin(stage, CAST.collect());
    std::thread::sleep(script.floor);
    let recording = recording.end(load, stage.reloads());
    report.floor(&recording);
    finish(stage, CAST.collect());
}

/// Scene 1: from two servers to ten and back.
pub(crate) fn scale(stage: &mut Stage, report: &mut Report, rounds: usize, fault: Fault) {
    let (load, mut recording) = begin(stage, vec![1, 2]);
    let mut first = Vec::new();
    for _ in 0..rounds {
        strike(fault, stage, &mut recording);
        recording.mark("2 to 10");
        let started: Vec<(u8, Instant)> = (3..=10).map(|n| (n, stage.start(n))).collect();
        for (number, since) in started {
            first.push(stage::wait_for_answer(number, since, &load) - since);
        }
        heal(fault, stage);
        stage.wait_until_settled();
        std::thread::sleep(REST);
        strike(fault, stage, &mut recording);
        recording.mark("10 to 2");
        stage.stop(3..=10);
        heal(fault, stage);
        stage.wait_until_settled();
        std::thread::sleep(REST);
    }
    let recording = recording.end(load, stage.reloads());
    report.scale(&recording, rounds, &first, fault);
    finish(stage, vec![1, 2]);
}

/// Scene 2: all servers are restarted, one after the other. In every other pass each comes back at a new address, as
/// containers do.
pub(crate) fn rolling(stage: &mut Stage, report: &mut Report, passes: usize, fault: Fault) {
    let (load, mut recording) = begin(stage, FEW.collect());
    let mut restarts = Vec::new();
    stage.boot = BOOT;
    for pass in 1..=passes {
        strike(fault, stage, &mut recording);
        recording.mark(&format!("pass {pass}"));
        stage.moved += u8::from(pass % 2 == 0);
        for number in FEW {
            let start = Instant::now();
            stage.stop([number]);
            stage.start_and_wait([number], &load);
            restarts.push(start.elapsed());
        }
        heal(fault, stage);
    }
    stage.boot = Duration::ZERO;
    stage.wait_until_settled();
    std::thread::sleep(REST);
    let recording = recording.end(load, stage.reloads());
    report.rolling(&recording, &restarts, fault);
    finish(stage, FEW.collect());
}

/// Scene 3: servers are killed with SIGKILL.
pub(crate) fn kill(
    stage: &mut Stage,
    report: &mut Report,
    victim: Victim,
    rounds: usize,
    fault: Fault,
) {
    let mut cast: Vec<u8> = CAST.collect();
    if victim == Victim::Machine {
        cast.extend(victim.numbers());
    }
    let (load, mut recording) = begin(stage, cast.clone());
    let mut kills = Vec::new();
    for _ in 0..rounds {
        let from = Instant::now();
        std::thread::sleep(BEFORE);
        let ips: Vec<_> = victim.numbers().iter().map(|n| stage.ip(*n)).collect();
        strike(fault, stage, &mut recording);
        recording.mark(victim.name());
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
        heal(fault, stage);
        recording.mark("back");
        if let Some(machine) = stage.machine.filter(|_| victim == Victim::Machine) {
            machine.join().expect("bring the machine back");
        }
        for number in victim.numbers() {
            stage.forget(*number);
        }
        stage.start_and_wait(victim.numbers().iter().copied(), &load);
        stage.wait_until_settled();
        std::thread::sleep(REST);
    }
    let recording = recording.end(load, stage.reloads());
    report.kill(&recording, victim, &kills, fault);
    finish(stage, cast);
}

/// Scene 5: all of etcd is down. Meanwhile two servers are started, one is restarted, and one is killed.
pub(crate) fn outage(stage: &mut Stage, report: &mut Report, script: Script) {
    let (load, mut recording) = begin(stage, CAST.collect());
    std::thread::sleep(REST);
    let down = Instant::now();
    recording.mark("etcd is down");
    stage.etcd.kill();
    let step = script.outage / 4;
    let at = |part: u32| {
        std::thread::sleep((down + step * part).saturating_duration_since(Instant::now()));
    };
    at(1);
    recording.mark("two are started");
    let started = [5, 6].map(|number| (number, stage.start(number)));
    at(2);
    recording.mark("one is restarted");
    stage.stop([2]);
    stage.start_and_wait([2], &load);
    at(3);
    recording.mark("one is killed");
    stage.kill_instance(1);
    stage.forget(1);
    at(4);
    recording.mark("etcd is back");
    stage.etcd.revive();
    let back = Instant::now();
    let first = started.map(|(number, since)| stage::wait_for_answer(number, since, &load) - back);
    stage.wait_until_settled();
    let settled = back.elapsed();
    std::thread::sleep(REST);
    let recording = recording.end(load, stage.reloads());
    report.outage(&recording, &first, settled);
    finish(stage, [2, 3, 4, 5, 6].into());
}

/// Begins the fault.
fn strike(fault: Fault, stage: &mut Stage, recording: &mut Recording) {
    match fault {
        Fault::None => (),
        Fault::Leader => {
            recording.mark("etcd's leader is killed");
            stage.etcd.kill_leader();
        }
    }
}

/// Ends the fault.
fn heal(fault: Fault, stage: &mut Stage) {
    match fault {
        Fault::None => (),
        Fault::Leader => stage.etcd.revive(),
    }
}

/// Starts servers, and begins a recording when each has answered and no reload is owed any more.
fn begin(stage: &mut Stage, cast: Vec<u8>) -> (Load, Recording) {
    let load = stage.load();
    stage.start_and_wait(cast, &load);
    stage.wait_until_settled();
    drop(load);
    std::thread::sleep(REST);
    (stage.load(), Recording::begin(stage.reloads()))
}

fn finish(stage: &mut Stage, cast: Vec<u8>) {
    stage.stop(cast);
    // The guard may hold the last file now; that does not affect the next scene.
}
