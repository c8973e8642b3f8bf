//! `sidekick register` as a process: keys, signals, exit statuses, and what it does when the store fails.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

const TREE: &str = "/services/web/a";

/// A store of a kind, and what stands in it.
struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
        }
    }

    /// `sidekick register` of the instance `a` of `web` on port 80, with further arguments.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = sidekick();
        command.args([
            "register",
            "--store",
            &format!("etcd://{}", self.etcd.endpoint()),
        ]);
        command.args([
            "--name",
            "web",
            "--id",
            "a",
            "--port",
            "80",
            "--ip",
            "127.0.0.1",
        ]);
        if !args.contains(&"--ttl") {
            command.args(["--ttl", "2s"]);
        }
        command.args(args);
        command
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn start(&self, args: &[&str]) -> Process {
        Process::start(&mut self.command(args), &self.log())
    }

    /// Starts and waits until it is announced.
    fn announced(&self, args: &[&str]) -> Process {
        let process = self.start(args);
        wait_for("the announcement", || self.is_there().then_some(()));
        process
    }

    fn is_there(&self) -> bool {
        !self.keys().is_empty()
    }

    /// Keys and values under the prefix.
    fn keys(&self) -> BTreeMap<String, String> {
        let out = self.etcd.etcdctl(&["get", "--prefix", "/services"]);
        let lines: Vec<&str> = out.lines().collect();
        lines
            .chunks(2)
            .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
            .collect()
    }

    /// The revision at which a key was last written, and the lease it hangs on.
    fn stamp(&self, key: &str) -> (String, String) {
        let json = self.etcd.etcdctl(&["get", key, "-w", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let kv = &json["kvs"][0];
        (kv["mod_revision"].to_string(), kv["lease"].to_string())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .filter(|text| text.ends_with('\n'))
}

#[test]
fn all_keys_come_in_one_transaction_on_one_lease_and_go_in_one() {
    let bench = Bench::new();
    let mut process = bench.announced(&[
        "--port",
        "admin=81",
        "--host",
        "web.example",
        "--weight",
        "7",
        "--attr",
        "settings/vhost=www.example",
    ]);
    let want = [
        ("host", "web.example"),
        ("ip", "127.0.0.1"),
        ("port", "80"),
        ("admin-port", "81"),
        ("weight", "7"),
        ("settings/vhost", "www.example"),
    ];
    let want: BTreeMap<String, String> = want
        .iter()
        .map(|(k, v)| (format!("{TREE}/{k}"), (*v).to_owned()))
        .collect();
    assert_eq!(bench.keys(), want);
    let stamps: std::collections::BTreeSet<_> = want.keys().map(|key| bench.stamp(key)).collect();
    assert_eq!(stamps.len(), 1, "{stamps:?}");

    let before = bench.etcd.revision();
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(bench.keys(), BTreeMap::new());
    // The mark of the drain, and all of them at once.
    assert_eq!(bench.etcd.revision(), before + 2);
}

#[test]
fn a_heartbeat_writes_no_key() {
    let bench = Bench::new();
    let _process = bench.announced(&[]);
    let before = bench.etcd.revision();
    // Three times its life without a heartbeat.
    let end = Instant::now() + Duration::from_secs(6);
    wait_for("three lives of the lease", || {
        (Instant::now() > end).then_some(())
    });
    assert!(bench.is_there());
    assert_eq!(bench.etcd.revision(), before);
}

#[test]
fn the_command_hears_of_a_stop_when_the_instance_is_gone_and_its_status_is_ours() {
    let bench = Bench::new();
    let (seen, up) = (bench.file("seen"), bench.file("up"));
    let script = format!(
        "trap 'ETCDCTL_API=3 etcdctl --endpoints {} get --prefix /services > {}; echo end >> {}; exit 7' TERM; \
         echo up > {}; while :; do sleep 0.05; done",
        bench.etcd.endpoint(),
        seen.display(),
        seen.display(),
        up.display()
    );
    let mut process = bench.announced(&["--", "sh", "-c", &script]);
    wait_for("the command", || read(&up));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(7), "{}", process.output());
    assert_eq!(
        read(&seen).as_deref(),
        Some("end\n"),
        "keys were still there"
    );
}

#[test]
fn exit_statuses_are_the_command_s() {
    let bench = Bench::new();
    let plain = bench.file("plain");
    fs::write(&plain, "not a program").unwrap();
    let plain = plain.to_str().unwrap();
    for (command, status) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 3"], 3),
        (vec!["sh", "-c", "exit 255"], 255),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["sh", "-c", "kill -SEGV $$"], 139),
        (vec!["/no/such/program"], 127),
        (vec![plain], 126),
        (vec!["/"], 126),
    ] {
        let args: Vec<&str> = ["--"].into_iter().chain(command.iter().copied()).collect();
        let mut process = bench.start(&args);
        assert_eq!(process.wait().code(), Some(status), "{command:?}");
        assert!(!bench.is_there(), "{command:?} left keys behind");
    }
}

#[test]
fn a_command_that_does_not_stop_is_killed_after_its_grace() {
    let bench = Bench::new();
    let up = bench.file("up");
    let script = format!(
        "trap '' TERM; echo up > {}; while :; do sleep 0.05; done",
        up.display()
    );
    let mut process = bench.announced(&["--stop-grace", "300ms", "--", "sh", "-c", &script]);
    wait_for("the command", || read(&up));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(137));
    assert!(
        process.output().contains("within its grace"),
        "{}",
        process.output()
    );
}

#[test]
fn a_command_that_was_stopped_is_woken_to_end_in_order() {
    let bench = Bench::new();
    let up = bench.file("up");
    let script = format!(
        "trap 'exit 6' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        up.display()
    );
    let mut process = bench.announced(&["--stop-grace", "1h", "--", "sh", "-c", &script]);
    let pid = wait_for("the command", || read(&up));
    let pid: i32 = pid.trim().parse().unwrap();
    let group = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::killpg(group, Signal::SIGSTOP).unwrap();
    wait_for("the command to stand still", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(6), "{}", process.output());
}

#[test]
fn other_signals_reach_the_whole_group_of_the_command() {
    let bench = Bench::new();
    let got = bench.file("got");
    let script = format!(
        "sh -c 'trap \"echo grandchild >> {0}\" HUP; echo up >> {0}; while :; do sleep 0.05; done' & \
         trap 'echo child >> {0}' HUP; while :; do sleep 0.05; done",
        got.display()
    );
    let process = bench.announced(&["--", "sh", "-c", &script]);
    wait_for("the grandchild", || read(&got));
    process.signal(Signal::SIGHUP);
    wait_for("both to hear of it", || {
        let text = read(&got)?;
        (text.contains("grandchild\n") && text.contains("\nchild\n")).then_some(())
    });
    assert!(bench.is_there());
}

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
fn a_store_that_is_down_harms_nobody_and_the_announcement_comes_later() {
    let mut bench = Bench::new();
    bench.etcd.stop();
    let up = bench.file("up");
    let script = format!("echo up > {}; exec sleep 1000", up.display());
    let mut process = bench.start(&["--", "sh", "-c", &script]);
    wait_for("the command", || read(&up));
    wait_for("word of the outage", || {
        process.output().contains("trying again").then_some(())
    });
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
fn a_service_manager_is_told_and_the_command_cannot_answer_for_us() {
    let bench = Bench::new();
    let path = bench.file("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let env = bench.file("env");
    let script = format!("env > {}; exec sleep 1000", env.display());
    let mut command = bench.command(&["--", "sh", "-c", &script]);
    let mut process = Process::start(command.env("NOTIFY_SOCKET", &path), &bench.log());
    let receive = || {
        let mut buffer = [0; 4096];
        let n = socket.recv(&mut buffer).expect("a notification");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    assert!(receive().starts_with("READY=1\n"));
    assert!(bench.is_there(), "ready means announced");
    let env = wait_for("the command", || read(&env));
    assert!(!env.contains("NOTIFY_SOCKET"));
    process.signal(Signal::SIGTERM);
    assert!(receive().starts_with("STOPPING=1\n"));
    process.wait();
}

/// The arguments of `Bench::command` with another address, which clap would refuse to see twice.
fn elsewhere(bench: &Bench, args: &[&str]) -> Command {
    let mut command = sidekick();
    command.args([
        "register",
        "--store",
        &format!("etcd://{}", bench.etcd.endpoint()),
    ]);
    command.args([
        "--name",
        "web",
        "--id",
        "a",
        "--port",
        "80",
        "--ip",
        "127.0.0.2",
        "--ttl",
        "2s",
    ]);
    command.args(args);
    command
}

#[test]
fn another_owner_of_the_same_id_is_left_alone() {
    let bench = Bench::new();
    let mut first = bench.announced(&[]);
    let began = Instant::now();
    let output = elsewhere(&bench, &[]).output().unwrap();
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
    let mut command = elsewhere(&bench, &["--", "sleep", "1000"]);
    let mut second = Process::start(&mut command, &log);
    wait_for("the conflict to be told", || {
        second.output().contains("another owner").then_some(())
    });
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
        command.args([
            "register",
            "--store",
            &format!("etcd://{}", bench.etcd.endpoint()),
        ]);
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
    let mut command = elsewhere(&bench, &["--take-over"]);
    let _second = Process::start(&mut command, &bench.file("second"));
    let ip = || bench.keys().get(&format!("{TREE}/ip")).cloned();
    wait_for("the take-over", || (ip()? == "127.0.0.2").then_some(()));
    // The old owner notices, is refused, and gives up.
    assert_eq!(first.wait().code(), Some(69), "{}", first.output());
    assert_eq!(ip().as_deref(), Some("127.0.0.2"));
    assert_eq!(bench.keys().len(), 3);
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
fn a_shared_id_lives_as_long_as_one_of_its_owners() {
    let bench = Bench::new();
    let start = |name: &str| {
        let mut command = bench.command(&["--shared", "--host", name]);
        Process::start(&mut command, &bench.file(name))
    };
    let (mut first, second) = (start("one"), start("two"));
    for process in [&first, &second] {
        wait_for("both announcements", || {
            process.output().contains("is announced").then_some(())
        });
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
fn the_directory_store_works_as_well() {
    let dir = temp_dir();
    let store = dir.path().join("store");
    let mut command = sidekick();
    command.args(["register", "--store", &format!("dir://{}", store.display())]);
    command.args([
        "--name",
        "web",
        "--id",
        "a",
        "--port",
        "80",
        "--ip",
        "127.0.0.1",
    ]);
    let mut process = Process::start(&mut command, &dir.path().join("log"));
    let ip = store.join("services/web/a/ip");
    wait_for("the announcement", || fs::read_to_string(&ip).ok());
    process.signal(Signal::SIGINT);
    assert_eq!(process.wait().code(), Some(0));
    assert!(!ip.exists());
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

#[test]
fn an_overwritten_key_of_the_directory_store_is_put_right() {
    let dir = temp_dir();
    let store = dir.path().join("store");
    let mut command = sidekick();
    command.args([
        "register",
        "--store",
        &format!("dir://{}", store.display()),
        "--ttl",
        "2s",
    ]);
    command.args([
        "--name",
        "web",
        "--id",
        "a",
        "--port",
        "80",
        "--ip",
        "127.0.0.1",
    ]);
    let process = Process::start(&mut command, &dir.path().join("log"));
    let ip = store.join("services/web/a/ip");
    wait_for("the announcement", || fs::read_to_string(&ip).ok());
    fs::write(&ip, "10.9.9.9\n").unwrap();
    wait_for("the value to be back", || {
        (fs::read_to_string(&ip).ok()? == "127.0.0.1").then_some(())
    });
    wait_for("word of it", || {
        process
            .output()
            .contains("changed by somebody else")
            .then_some(())
    });
}

#[test]
fn a_program_that_knows_nothing_of_sighup_outlives_a_reload_of_the_configuration() {
    let bench = Bench::new();
    let config = bench.file("services.toml");
    let service =
        |id: &str| format!("[[service]]\nname = 'web'\nid = '{id}'\nport = 80\nip = '127.0.0.1'\n");
    fs::write(&config, service("one")).unwrap();
    let mut command = sidekick();
    command.args([
        "register",
        "--store",
        &format!("etcd://{}", bench.etcd.endpoint()),
    ]);
    command
        .arg("--config")
        .arg(&config)
        .args(["--", "sleep", "1000"]);
    let mut process = Process::start(&mut command, &bench.log());
    wait_for("the first set", || {
        bench
            .keys()
            .contains_key("/services/web/one/ip")
            .then_some(())
    });
    fs::write(&config, service("one") + &service("two")).unwrap();
    process.signal(Signal::SIGHUP);
    wait_for("the second set", || {
        bench
            .keys()
            .contains_key("/services/web/two/ip")
            .then_some(())
    });
    assert!(process.ended().is_none(), "{}", process.output());
}

#[test]
fn a_service_manager_behind_an_abstract_socket_is_told_too() {
    use std::os::linux::net::SocketAddrExt;
    let bench = Bench::new();
    let name = format!("sidekick-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut command = bench.command(&[]);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let _process = Process::start(&mut command, &bench.log());
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).expect("a notification");
    assert!(String::from_utf8_lossy(&buffer[..n]).starts_with("READY=1\n"));
}
