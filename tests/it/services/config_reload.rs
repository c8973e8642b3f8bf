//! SIGHUP: the configuration is read again, and whoever stays is never absent.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Bench, tree};
use crate::harness::notify::Notify;
use crate::harness::{Process, tool, wait_for};

fn service(id: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = 'web'\nid = '{id}'\nip = '10.0.0.1'\nhost = 'h'\nport = 80\n{more}\n"
    )
}

fn keys_of(id: &str, more: &str) -> String {
    let dir = format!("/services/web/{id}");
    format!("{dir}/host h\n{dir}/ip 10.0.0.1\n{dir}/port 80\n{more}\n")
}

/// Everything that happens in the store from now on, as `etcdctl watch` prints it.
fn watch(bench: &Bench) -> Process {
    let mut command = Command::new(tool("etcdctl"));
    command.env("ETCDCTL_API", "3");
    command.args([
        "--endpoints",
        &bench.etcd.endpoint(),
        "watch",
        "--prefix",
        "/",
    ]);
    let watch = Process::start(&mut command, &bench.file("watch"));
    wait_for("the watch", || {
        bench.etcd.etcdctl(&["put", "/mark", "begin"]);
        watch.output().contains("begin").then_some(())
    });
    bench.etcd.etcdctl(&["del", "/mark"]);
    watch.wait_said("DELETE\n/mark");
    watch
}

/// What was put and deleted, in order.
fn events(watch: &Process) -> Vec<(String, String)> {
    let text = watch.output();
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines
        .windows(2)
        .filter(|two| ["PUT", "DELETE"].contains(&two[0]));
    let pairs = pairs.filter(|two| !two[1].starts_with("/mark"));
    pairs
        .map(|two| (two[0].to_owned(), two[1].to_owned()))
        .collect()
}

#[test]
fn who_stays_is_never_absent_and_who_comes_is_there_before_others_go() {
    let bench = Bench::new();
    let first = [
        service("stays", ""),
        service("changes", ""),
        service("goes", ""),
    ];
    bench.write("web.toml", &first.concat());
    let mut process = bench.start("web.toml", &[]);
    let all = ["stays", "changes", "goes"].map(|id| keys_of(id, ""));
    bench.until(&tree(&all.concat()));
    let before = bench.stamps();

    let watch = watch(&bench);
    let second = [
        service("stays", ""),
        service("changes", "weight = 7"),
        service("comes", ""),
    ];
    bench.write("web.toml", &second.concat());
    process.signal(Signal::SIGHUP);
    let all = [
        keys_of("stays", ""),
        keys_of("changes", "/services/web/changes/weight 7"),
        keys_of("comes", ""),
    ];
    bench.until(&tree(&all.concat()));
    bench.etcd.etcdctl(&["put", "/mark", "end"]);
    watch.wait_said("\nend\n");

    let events = events(&watch);
    let at = |kind: &str, key: &str| {
        let wanted = (kind.to_owned(), format!("/services/web/{key}"));
        events.iter().position(|event| *event == wanted)
    };
    assert!(
        at("PUT", "comes/ip").unwrap() < at("DELETE", "goes/ip").unwrap(),
        "{events:?}"
    );
    assert!(at("PUT", "changes/weight").is_some());
    let deleted = events.iter().filter(|(kind, _)| kind == "DELETE");
    let deleted: Vec<&str> = deleted.map(|(_, key)| key.as_str()).collect();
    assert!(
        deleted
            .iter()
            .all(|key| key.starts_with("/services/web/goes/")),
        "{deleted:?}"
    );
    let after = bench.stamps();
    let key = "/services/web/stays/ip";
    assert_eq!(before[key], after[key], "not even written");
    let lease = |key: &str| after[&format!("/services/web/{key}")].1;
    assert!(
        ["changes/ip", "comes/ip"]
            .iter()
            .all(|key| lease(key) == after["/services/web/stays/ip"].1)
    );

    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.keys(), tree("/mark end"));
}

#[test]
fn a_broken_file_keeps_what_was_and_says_where() {
    let bench = Bench::new();
    fs::create_dir(bench.file("conf")).unwrap();
    bench.write("conf/a.toml", &service("a", ""));
    bench.write("conf/b.toml", &service("b", ""));
    let process = bench.start("conf", &[]);
    let both = tree(&[keys_of("a", ""), keys_of("b", "")].concat());
    bench.until(&both);
    let before = bench.etcd.revision();
    bench.write("conf/a.toml", &service("new", ""));
    bench.write("conf/b.toml", &service("b", "prot = 81\nrise = 2"));
    process.signal(Signal::SIGHUP);
    wait_for("the problems", || {
        let log = process.output();
        log.contains("the instances of the previous one stay announced")
            .then_some(())
    });
    let log = process.output();
    for want in [
        "b.toml:7: service.prot is not known",
        "b.toml:8: service.rise: it has an effect",
    ] {
        assert!(log.contains(want), "{want} is not in\n{log}");
    }
    assert_eq!((bench.keys(), bench.etcd.revision()), (both, before));

    // Put right, it counts.
    bench.write("conf/b.toml", &service("b", ""));
    process.signal(Signal::SIGHUP);
    bench.until(&tree(&[keys_of("new", ""), keys_of("b", "")].concat()));
}

#[test]
fn the_command_hears_of_it_too_and_a_service_manager_is_told() {
    let bench = Bench::new();
    let notify = Notify::at(&bench.file("notify"));
    bench.write("web.toml", &[service("a", ""), service("b", "")].concat());
    let got = bench.file("got");
    let script = format!(
        "trap 'echo hup >> {0}' HUP; echo up >> {0}; while :; do sleep 0.05; done",
        got.display()
    );
    let mut command = bench.command("web.toml", &["--", "sh", "-c", &script]);
    let process = Process::start(notify.pass_socket_to(&mut command), &bench.file("log"));
    let ready = notify.receive();
    assert!(ready.starts_with("READY=1\n"), "{ready}");
    assert!(ready.contains("2 of 2 instances are announced"), "{ready}");
    assert_eq!(bench.keys().len(), 6, "ready means announced");
    wait_for("the command", || fs::read_to_string(&got).ok());

    bench.write("web.toml", &[service("a", ""), service("c", "")].concat());
    process.signal(Signal::SIGHUP);
    let reloading = notify.receive();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    let ready = notify.receive();
    assert!(ready.starts_with("READY=1\n"), "{ready}");
    assert!(
        bench.keys().contains_key("/services/web/c/ip"),
        "ready means announced"
    );
    wait_for("the command to hear of it", || {
        fs::read_to_string(&got).ok()?.contains("hup").then_some(())
    });

    bench.write("web.toml", "nonsense");
    process.signal(Signal::SIGHUP);
    let told = std::iter::from_fn(|| Some(notify.receive()));
    let told: Vec<String> = told
        .skip_while(|told| !told.starts_with("RELOADING=1"))
        .take(2)
        .collect();
    assert!(
        told[1].starts_with("READY=1\n") && told[1].contains("is wrong"),
        "{told:?}"
    );
}

#[test]
fn one_in_conflict_stops_none_of_the_others() {
    let bench = Bench::new();
    bench.write("first", &service("b", ""));
    let mut first = bench.start("first", &[]);
    bench.until(&tree(&keys_of("b", "")));
    let elsewhere = service("b", "").replace("10.0.0.1", "10.0.0.2");
    bench.write(
        "all",
        &[service("a", ""), elsewhere, service("c", "")].concat(),
    );
    let mut all = bench.start("all", &[]);
    bench.until(&tree(&["a", "b", "c"].map(|id| keys_of(id, "")).concat()));
    all.wait_said("/services/web/b is announced by another owner");
    first.signal(Signal::SIGTERM);
    first.wait();
    wait_for("the place to be taken", || {
        (bench.keys().get("/services/web/b/ip")? == "10.0.0.2").then_some(())
    });
    assert!(all.ended().is_none());
}

#[test]
fn a_wrong_configuration_is_told_before_anything_starts() {
    let bench = Bench::new();
    bench.write("bad.toml", "[[service]]\nname = 'a/b'\nport = 0\n");
    let output = bench.command("bad.toml", &["--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("bad.toml:2: ") && said.contains("bad.toml:3: "),
        "{said}"
    );
    for with in [["--name", "web"], ["--port", "80"], ["--check", "tcp"]] {
        let output = bench.command("bad.toml", &with).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{with:?}");
    }
}
