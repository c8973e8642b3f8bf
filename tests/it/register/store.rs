//! A store that is away, forgets, or is edited by hand.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, TREE, command, read};
use crate::harness::{Process, temp_dir, wait_for};

#[test]
fn killed_with_its_sidekick_an_instance_expires_within_its_ttl() {
    let bench = Bench::new();
    let process = bench.announced(&[]);
    let killed = Instant::now();
    process.signal(Signal::SIGKILL);
    wait_for("the keys to go", || (!bench.is_there()).then_some(()));
    assert!(
        killed.elapsed() > Duration::from_millis(500),
        "nobody withdrew it"
    );
}

#[test]
fn a_store_that_is_down_harms_nobody_and_the_announcement_comes_later() {
    let mut bench = Bench::new();
    bench.etcd.stop();
    let up = bench.file("up");
    let script = format!("echo up > {}; exec sleep 1000", up.display());
    let mut process = bench.start(&["--", "sh", "-c", &script]);
    wait_for("the command", || read(&up));
    process.wait_said("trying again");
    bench.etcd.start();
    wait_for("the announcement", || bench.is_there().then_some(()));
    assert!(process.ended().is_none());
    assert_eq!(
        process.output().matches("trying again").count(),
        1,
        "told once:\n{}",
        process.output()
    );
}

#[test]
fn a_lease_that_was_revoked_by_hand_is_healed() {
    let bench = Bench::new();
    let _process = bench.announced(&[]);
    let (_, lease) = bench.stamp(&format!("{TREE}/ip"));
    let lease: i64 = lease.parse().unwrap();
    bench
        .etcd
        .etcdctl(&["lease", "revoke", &format!("{lease:x}")]);
    wait_for("the keys to be back", || bench.is_there().then_some(()));
    assert_eq!(bench.keys().len(), 3);
}

#[test]
fn a_wiped_store_is_filled_again() {
    let mut bench = Bench::new();
    let _process = bench.announced(&[]);
    let before = bench.keys();
    bench.etcd.wipe();
    wait_for("the keys to be back", || {
        (bench.keys() == before).then_some(())
    });
}

#[test]
fn a_stop_is_bounded_when_the_store_is_away() {
    let bench = Bench::new();
    let mut process = bench.announced(&["--", "sleep", "1000"]);
    bench.etcd.pause();
    let start = Instant::now();
    process.signal(Signal::SIGTERM);
    let status = process.wait();
    bench.etcd.resume();
    assert_eq!(status.code(), Some(143));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert!(
        process.output().contains("disappears when its lease ends"),
        "{}",
        process.output()
    );
}

#[test]
fn keys_deleted_by_hand_are_back_with_the_next_heartbeat_and_state_by_hand_stays() {
    let bench = Bench::new();
    let process = bench.announced(&[]);
    bench
        .etcd
        .etcdctl(&["put", &format!("{TREE}/state"), "maint"]);
    bench.etcd.etcdctl(&["del", &format!("{TREE}/port")]);
    wait_for("the key to be back", || {
        bench
            .keys()
            .contains_key(&format!("{TREE}/port"))
            .then_some(())
    });
    bench
        .etcd
        .etcdctl(&["put", &format!("{TREE}/ip"), "10.9.9.9"]);
    wait_for("the value to be back", || {
        (bench.keys().get(&format!("{TREE}/ip"))? == "127.0.0.1").then_some(())
    });
    assert_eq!(bench.keys()[&format!("{TREE}/state")], "maint");
    assert!(
        process.output().contains("was changed by somebody else"),
        "{}",
        process.output()
    );
}

#[test]
fn the_directory_store_works_as_well() {
    let dir = temp_dir();
    let store = dir.path().join("store");
    let mut command = command(&format!("dir://{}", store.display()), &["--ttl", "15s"]);
    let mut process = Process::start(&mut command, &dir.path().join("log"));
    let ip = store.join("services/web/a/ip");
    wait_for("the announcement", || fs::read_to_string(&ip).ok());
    process.signal(Signal::SIGINT);
    assert_eq!(process.wait().code(), Some(0));
    assert!(!ip.exists());
}

#[test]
fn an_overwritten_key_of_the_directory_store_is_put_right() {
    let dir = temp_dir();
    let store = dir.path().join("store");
    let mut command = command(&format!("dir://{}", store.display()), &[]);
    let process = Process::start(&mut command, &dir.path().join("log"));
    let ip = store.join("services/web/a/ip");
    wait_for("the announcement", || fs::read_to_string(&ip).ok());
    fs::write(&ip, "10.9.9.9\n").unwrap();
    wait_for("the value to be back", || {
        (fs::read_to_string(&ip).ok()? == "127.0.0.1").then_some(())
    });
    process.wait_said("changed by somebody else");
}
