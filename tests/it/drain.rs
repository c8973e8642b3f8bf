//! Acknowledged drain, with the real binary on both stores: a stop is as long as those who watch need, and no longer.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sidekick::model::prefix::Prefix;
use sidekick::model::store_url::Location;
use sidekick::store::Store;
use sidekick::system::dns::srv_records;

use crate::harness::etcd::Etcd;
use crate::harness::{PATIENCE, Process, sidekick, temp_dir, wait_for};

const TEMPLATE: &str = "{% for i in services.web %}{{ i.id }} {{ i.state }}\n{% endfor %}";

/// A store, a configuration of one target, and what the store says.
struct Scene {
    dir: tempfile::TempDir,
    url: String,
    store: Arc<dyn Store>,
    runtime: tokio::runtime::Runtime,
    etcd: Option<Etcd>,
}

impl Scene {
    fn etcd() -> Self {
        let etcd = Etcd::start_new();
        let url = format!("etcd://{}", etcd.endpoint());
        let location = Location::Etcd(etcd.options());
        Self::at(temp_dir(), url, &location, Some(etcd))
    }

    fn directory() -> Self {
        let dir = temp_dir();
        let at = dir.path().join("store");
        let url = format!("dir://{}", at.display());
        Self::at(dir, url, &Location::Directory(at), None)
    }

    fn at(dir: tempfile::TempDir, url: String, location: &Location, etcd: Option<Etcd>) -> Self {
        for name in ["conf/conf.d", "conf/templates", "out"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("conf/templates/a.tera"), TEMPLATE).unwrap();
        Self {
            dir,
            url,
            store: sidekick::store::open(location, srv_records).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            etcd,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One target, checked with this command.
    fn target(&self, check: &str) {
        let text = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['web']\ncheck_cmd = '{check}'\n",
            self.file("out/a.cfg").display()
        );
        fs::write(self.file("conf/conf.d/a.toml"), text).unwrap();
    }

    fn command(&self, name: &str) -> Command {
        let mut command = sidekick();
        command.args([name, "--store", &self.url]);
        command.env("SIDEKICK_STATE_DIR", self.file("state"));
        command
    }

    fn watch(&self) -> Process {
        let mut command = self.command("watch");
        command.arg("--conf-dir").arg(self.file("conf"));
        Process::start(&mut command, &self.file("watch.log"))
    }

    /// Registers a program that says when it is told to stop.
    fn register(&self, args: &[&str]) -> Process {
        let mut command = self.command("register");
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
        let program = "trap 'echo the program is told; exit 0' TERM; while :; do sleep 0.05; done";
        command.args(args).args(["--", "sh", "-c", program]);
        let process = Process::start(&mut command, &self.file("register.log"));
        // Not only in the store: sidekick knows it, too.
        process.wait_said("/services/web/a is announced");
        process
    }

    fn entries(&self, path: &str) -> Vec<(String, String)> {
        let prefix = Prefix::parse(path).unwrap();
        let snapshot = self.runtime.block_on(self.store.snapshot(&prefix));
        let entries = snapshot.map(|s| s.entries).unwrap_or_default().into_iter();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        entries.map(|(k, v)| (k.to_string(), text(&v))).collect()
    }

    /// Deletes a key, as a hand would.
    fn remove(&self, key: &str) {
        match &self.etcd {
            Some(etcd) => drop(etcd.etcdctl(&["del", key])),
            None => fs::remove_file(self.file("store").join(&key[1..])).unwrap(),
        }
    }

    fn get(&self, key: &str) -> Option<String> {
        Some(self.entries(key).pop()?.1)
    }

    /// What the only watcher has applied of the service.
    fn applied(&self) -> Option<u64> {
        let entries = self.entries("/sidekick/watchers");
        let (_, applied) = entries.iter().find(|(key, _)| key.ends_with("/applied"))?;
        applied.split(' ').next()?.parse().ok()
    }

    fn wait_live(&self, want: &str) {
        wait_for(&format!("the file to say {want:?}"), || {
            let live = fs::read_to_string(self.file("out/a.cfg")).ok()?;
            (live == want).then_some(())
        });
    }

    /// A watcher that serves the instance, and has said so.
    fn watched(&self) -> Process {
        let watch = self.watch();
        wait_for("the watcher", || self.applied().filter(|a| *a > 0));
        self.wait_live("a up\n");
        watch
    }
}

/// Runs a test on both stores.
fn both(test: impl Fn(&Scene)) {
    test(&Scene::directory());
    test(&Scene::etcd());
}

/// Stops a process; how long that took.
fn stop(process: &mut Process) -> Duration {
    let start = Instant::now();
    process.signal(Signal::SIGTERM);
    process.wait();
    start.elapsed()
}

/// The order of lines in a log.
fn assert_order(log: &str, lines: &[&str]) {
    let mut rest = log;
    for line in lines {
        let at = rest.find(line);
        let at = at.unwrap_or_else(|| panic!("{line:?} is not there, or not in its place:\n{log}"));
        rest = &rest[at..];
    }
}

#[test]
fn where_nobody_watches_nobody_is_waited_for() {
    both(|scene| {
        // A deadline that would fail the test.
        let mut register = scene.register(&["--drain", "120s"]);
        stop(&mut register);
        let order = [
            "there is no watcher to wait for",
            "is withdrawn",
            "the program is told",
        ];
        assert_order(&register.output(), &order);
        assert_eq!(scene.entries("/services"), []);
    });
}

#[test]
fn a_stop_lasts_until_the_watcher_has_applied_the_drain() {
    both(|scene| {
        let gate = scene.file("gate");
        fs::write(&gate, "").unwrap();
        // The check holds the watcher up, and the watcher the stop.
        let (busy, log) = (scene.file("busy"), scene.file("register.log"));
        let wait = format!("until [ -e {} ]; do sleep 0.02; done", gate.display());
        scene.target(&format!(
            "if ! [ -e {} ]; then touch {}; {wait}; echo the check is over >> {}; fi",
            gate.display(),
            busy.display(),
            log.display()
        ));
        let mut register = scene.register(&["--drain", "120s"]);
        let watch = scene.watched();
        fs::remove_file(&gate).unwrap();
        register.signal(Signal::SIGTERM);
        wait_for("the check", || busy.exists().then_some(()));
        let state = scene.get("/services/web/a/state");
        assert_eq!(state.as_deref(), Some("drain"));
        assert!(register.ended().is_none(), "{}", register.output());
        assert!(scene.get("/services/web/a/ip").is_some());
        fs::write(&gate, "").unwrap();
        register.wait();
        let order = [
            "the check is over",
            "have applied the drain",
            "is withdrawn",
            "the program is told",
        ];
        assert_order(&register.output(), &order);
        drop(watch);
    });
}

#[test]
fn a_target_that_fails_holds_a_stop_up_for_the_drain_and_is_named() {
    both(|scene| {
        let gate = scene.file("gate");
        fs::write(&gate, "").unwrap();
        scene.target(&format!("test -e {}", gate.display()));
        let mut register = scene.register(&["--drain", "2s"]);
        let watch = scene.watched();
        fs::remove_file(&gate).unwrap();
        let took = stop(&mut register);
        assert!(took >= Duration::from_secs(2), "{took:?}");
        let name = scene.entries("/sidekick/watchers")[0].0.clone();
        let name = name.split('/').nth(3).unwrap().to_owned();
        let said = format!("have not applied the drain: {name}");
        let order = [said.as_str(), "is withdrawn", "the program is told"];
        assert_order(&register.output(), &order);
        drop(watch);
    });
}

#[test]
fn what_waits_for_its_reload_is_not_in_use() {
    both(|scene| {
        scene.target("true");
        // The first reload is the last one for an hour; nobody listens there.
        let target = scene.file("conf/conf.d/a.toml");
        let more = "reload_cmd = 'true'\n[template.pace]\nmin_interval = '1h'\n\
            [template.haproxy]\nsocket = '/nowhere/stats.sock'\n";
        fs::write(&target, fs::read_to_string(&target).unwrap() + more).unwrap();
        let mut register = scene.register(&["--drain", "2s"]);
        let _watch = scene.watched();
        let took = stop(&mut register);
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert_order(&register.output(), &["have not applied the drain"]);
    });
}

#[test]
fn a_killed_watcher_is_waited_for_until_it_expires() {
    both(|scene| {
        scene.target("true");
        let mut register = scene.register(&["--drain", "120s"]);
        let mut watch = scene.watched();
        watch.signal(Signal::SIGKILL);
        watch.wait();
        let took = stop(&mut register);
        // Its TTL is 15 s; the rest is for a loaded machine.
        assert!(took < Duration::from_secs(15 + 30), "{took:?}");
        assert_order(&register.output(), &["is withdrawn", "the program is told"]);
        assert_eq!(scene.entries("/sidekick/watchers"), []);
    });
}

#[test]
fn a_watcher_that_stops_is_waited_for_no_longer() {
    both(|scene| {
        scene.target("true");
        let mut register = scene.register(&["--drain", "120s"]);
        let mut watch = scene.watched();
        stop(&mut watch);
        assert_eq!(scene.entries("/sidekick"), []);
        stop(&mut register);
        assert_order(&register.output(), &["there is no watcher to wait for"]);
    });
}

#[test]
fn without_a_drain_the_mark_is_still_a_change_of_its_own() {
    both(|scene| {
        scene.target("sleep 1000");
        let mut register = scene.register(&["--drain", "0s"]);
        let watch = scene.watch();
        let prefix = Prefix::parse("/services").unwrap();
        let states = scene.runtime.block_on(async {
            let snapshot = scene.store.snapshot(&prefix).await.unwrap();
            let mut watch = scene.store.watch(&prefix, snapshot.revision).await.unwrap();
            register.signal(Signal::SIGTERM);
            let mut seen = String::new();
            while !seen.contains("Delete(\"/services/web/a/ip\")") {
                let update = tokio::time::timeout(PATIENCE, watch.next()).await;
                seen = format!("{seen}{:?}\n", update.unwrap().unwrap());
            }
            seen
        });
        register.wait();
        // A directory has no history: its watch says how things are by the time it looks.
        if scene.url.starts_with("etcd") {
            assert!(states.contains("Put(\"/services/web/a/state\""), "{states}");
        }
        drop(watch);
    });
}

#[test]
fn a_program_that_ends_by_itself_waits_for_nobody() {
    both(|scene| {
        scene.target("true");
        let mut command = scene.command("register");
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
        let end = scene.file("end");
        let program = format!("until [ -e {} ]; do sleep 0.05; done", end.display());
        command.args(["--drain", "120s", "--", "sh", "-c", &program]);
        let mut register = Process::start(&mut command, &scene.file("register.log"));
        let watch = scene.watched();
        fs::write(end, "").unwrap();
        register.wait();
        assert!(
            !register.output().contains("drain"),
            "{}",
            register.output()
        );
        drop(watch);
    });
}

#[test]
fn an_entry_of_a_watcher_is_no_reason_to_render() {
    both(|scene| {
        scene.target("true");
        let toml = scene.file("conf/conf.d/a.toml");
        let text = fs::read_to_string(&toml).unwrap();
        let text = text.replace("services = ['web']", "keys = ['/']");
        fs::write(&toml, text).unwrap();
        let template = "{% for k in gets(pattern=\"/*/*/*/*\") %}{{ k.key }}\n{% endfor %}";
        fs::write(scene.file("conf/templates/a.tera"), template).unwrap();
        let register = scene.register(&[]);
        let watch = scene.watch();
        wait_for("the watcher", || scene.applied().filter(|a| *a > 0));
        let log = watch.output();
        assert_eq!(log.matches("has been updated").count(), 1, "{log}");
        drop((register, watch));
    });
}

#[test]
fn drained_and_put_back_by_hand() {
    both(|scene| {
        scene.target("true");
        let register = scene.register(&["--ttl", "2s"]);
        let watch = scene.watched();
        let run = |args: &[&str]| {
            let mut command = scene.command(args[0]);
            let output = command.args(&args[1..]).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(text).unwrap())
        };
        let unknown = run(&["drain", "web", "b"]);
        assert_eq!(unknown.0, Some(69), "{unknown:?}");
        assert!(unknown.1.contains("there is a"), "{unknown:?}");
        let drained = run(&["drain", "web", "a", "--wait", "120s"]);
        assert_eq!(drained.0, Some(0), "{drained:?}");
        assert!(drained.1.contains("applied after"), "{drained:?}");
        // What is said to be applied is.
        let live = fs::read_to_string(scene.file("out/a.cfg")).unwrap();
        assert_eq!(live, "a drain\n");
        // Heartbeats and heals leave it alone.
        let healed = register.output().matches("announcing it again").count();
        scene.remove("/services/web/a/ip");
        wait_for("the instance to be healed", || {
            let again = register.output().matches("announcing it again").count();
            (again > healed && scene.get("/services/web/a/ip").is_some()).then_some(())
        });
        assert_eq!(scene.get("/services/web/a/state").as_deref(), Some("drain"));
        let status = run(&["status", "web", "--format", "json"]);
        assert!(status.1.contains("\"state\": \"drain\""), "{status:?}");
        assert!(status.1.contains("\"watchers\": [\n    {"), "{status:?}");
        // Since when, and by whom.
        assert!(
            status.1.contains("\"state_by\": \"operator\""),
            "{status:?}"
        );
        let since = scene.get("/services/web/a/state_since").unwrap();
        assert!(since.ends_with("Z operator"), "{since}");
        let table = run(&["ls", "web"]).1;
        assert!(
            table.contains("  drain  ") && table.contains(" operator  "),
            "{table}"
        );
        let put_back = run(&["undrain", "web", "a", "--wait", "120s"]);
        assert_eq!(put_back.0, Some(0), "{put_back:?}");
        scene.wait_live("a up\n");
        assert_eq!(scene.get("/services/web/a/state_since"), None);
        let table = run(&["status", "web"]).1;
        assert!(
            table.starts_with("INSTANCE  ADDRESS       STATE  AGE")
                && table.contains("\nweb/a     127.0.0.1:80  up     "),
            "{table}"
        );
        // A watcher that hangs is named.
        watch.signal(Signal::SIGSTOP);
        let late = run(&["drain", "web", "a", "--wait", "300ms"]);
        assert_eq!(late.0, Some(1), "{late:?}");
        assert!(late.1.contains("is not applied by"), "{late:?}");
        watch.signal(Signal::SIGCONT);
    });
}

/// A lease that is lost takes a drain with it that was set by hand; whoever has seen it puts it back.
#[test]
fn a_drain_outlives_a_lost_lease() {
    let scene = Scene::etcd();
    let register = scene.register(&["--ttl", "2s"]);
    let mut drain = scene.command("drain");
    assert!(drain.args(["web", "a"]).status().unwrap().success());
    // The heartbeat that misses a key has seen the drain too.
    scene.remove("/services/web/a/port");
    wait_for("the instance to be healed", || {
        scene.get("/services/web/a/port")
    });
    let etcd = scene.etcd.as_ref().unwrap();
    let leases = etcd.etcdctl(&["lease", "list"]);
    let lease = leases.lines().last().unwrap();
    etcd.etcdctl(&["lease", "revoke", lease]);
    wait_for("the instance to be back", || {
        let is_lost = register.output().contains("is lost");
        (is_lost && scene.get("/services/web/a/ip").is_some()).then_some(())
    });
    assert_eq!(scene.get("/services/web/a/state").as_deref(), Some("drain"));
}
