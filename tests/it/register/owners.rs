//! Several owners of one id: who gives way, who waits, who shares.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, TREE};
use crate::harness::{Process, sidekick, wait_for};

/// Another address than that of the first owner.
const ELSEWHERE: &[&str] = &["--ip", "127.0.0.2"];

#[test]
fn an_instance_that_comes_back_replaces_itself() {
    let bench = Bench::new();
    let first = bench.announced(&["--ttl", "60s", "--attr", "old=1"]);
    let (_, first_lease) = bench.stamp(&format!("{TREE}/ip"));
    first.signal(Signal::SIGKILL);
    let _second = bench.start(&["--attr", "new=1"]);
    wait_for("the new one", || {
        bench
            .keys()
            .contains_key(&format!("{TREE}/new"))
            .then_some(())
    });
    assert!(
        !bench.keys().contains_key(&format!("{TREE}/old")),
        "{:?}",
        bench.keys()
    );
    assert_ne!(bench.stamp(&format!("{TREE}/ip")).1, first_lease);
}

#[test]
fn another_owner_of_the_same_id_is_left_alone() {
    let bench = Bench::new();
    let mut first = bench.announced(&[]);
    let began = Instant::now();
    let output = bench.command(ELSEWHERE).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "it waits one TTL for the other one to go"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("another owner") && said.contains("--take-over"),
        "{said}"
    );
    assert_eq!(bench.keys()[&format!("{TREE}/ip")], "127.0.0.1");

    // With a program, that goes on unannounced, and takes the place when it is free.
    let log = bench.file("second");
    let mut command = bench.command(&[ELSEWHERE, &["--", "sleep", "1000"]].concat());
    let mut second = Process::start(&mut command, &log);
    second.wait_said("another owner");
    assert_eq!(bench.keys()[&format!("{TREE}/ip")], "127.0.0.1");
    assert!(second.ended().is_none());
    first.signal(Signal::SIGTERM);
    first.wait();
    wait_for("the place to be taken", || {
        (bench.keys().get(&format!("{TREE}/ip"))? == "127.0.0.2").then_some(())
    });
    assert_eq!(
        second.output().matches("another owner").count(),
        1,
        "{}",
        second.output()
    );
}

/// The id is made of the host's name, which a clone has too, and the address is another one.
#[test]
fn a_clone_of_a_machine_does_not_take_its_twin_s_place() {
    let bench = Bench::new();
    let twin = |ip: &str| {
        let mut command = sidekick();
        command.args(["register", "--store", &bench.etcd.url()]);
        command.args(["--name", "web", "--port", "80", "--ttl", "2s", "--ip", ip]);
        command
    };
    let _first = Process::start(&mut twin("127.0.0.1"), &bench.log());
    wait_for("the announcement", || bench.is_there().then_some(()));
    let before = bench.keys();
    let output = twin("127.0.0.2").output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert_eq!(bench.keys(), before);
}

#[test]
fn a_take_over_wins_and_the_old_owner_s_end_harms_nothing() {
    let bench = Bench::new();
    let mut first = bench.announced(&[]);
    let mut command = bench.command(&[ELSEWHERE, &["--take-over"]].concat());
    let _second = Process::start(&mut command, &bench.file("second"));
    let ip = || bench.keys().get(&format!("{TREE}/ip")).cloned();
    wait_for("the take-over", || (ip()? == "127.0.0.2").then_some(()));
    // The old owner notices, is refused, and gives up.
    assert_eq!(first.wait().code(), Some(69), "{}", first.output());
    assert_eq!(ip().as_deref(), Some("127.0.0.2"));
    assert_eq!(bench.keys().len(), 3);
}

#[test]
fn a_shared_id_lives_as_long_as_one_of_its_owners() {
    let bench = Bench::new();
    let start = |name: &str| {
        let mut command = bench.command(&["--shared", "--host", name]);
        Process::start(&mut command, &bench.file(name))
    };
    let (mut first, second) = (start("one"), start("two"));
    for process in [&first, &second] {
        process.wait_said("is announced");
    }
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait().code(), Some(0));
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        assert!(bench.is_there(), "the second owner keeps it alive");
    }
    second.signal(Signal::SIGKILL);
    wait_for("the keys to go with the last one", || {
        (!bench.is_there()).then_some(())
    });
}

#[test]
fn of_two_at_the_same_address_the_older_one_gives_way_and_they_do_not_quarrel() {
    let bench = Bench::new();
    let mut older = bench.announced(&[]);
    let newer = Process::start(&mut bench.command(&[]), &bench.file("newer"));
    assert_eq!(older.wait().code(), Some(69), "{}", older.output());
    assert!(
        older.output().contains("who came later"),
        "{}",
        older.output()
    );
    assert!(bench.is_there());
    assert!(
        !newer.output().contains("was changed by somebody else"),
        "{}",
        newer.output()
    );
}
