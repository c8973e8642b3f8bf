//! `sidekick register --docker`: containers of a real engine come and go in the store as they do there.

mod engine;
mod outages;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use self::engine::{Container, Engine};
use crate::harness::etcd::Etcd;
use crate::harness::notify::Notify;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// Runs until it is asked to stop, and then for as long again as `$LINGER` says.
const SERVER: &str =
    "trap 'sleep ${LINGER:-0}; exit 0' TERM; while :; do sleep 1000 & wait $!; done";
/// Labels that are enough.
const WEB: &[&str] = &["name=web", "port=8080"];
/// A lease that does not end within a test: whoever goes was withdrawn.
const LONG: &str = "300s";

/// An engine, a store and a place for files.
struct Bench {
    engine: Engine,
    etcd: Etcd,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(engine: Engine) -> Self {
        Self {
            engine,
            etcd: Etcd::start_new(),
            dir: temp_dir(),
        }
    }

    fn command(&self, ttl: &str, args: &[&str]) -> Command {
        let mut command = sidekick();
        command.args(["register", "--store", &self.etcd.url(), "--ttl", ttl]);
        command.args(["--docker", &self.engine.socket()]).args(args);
        command
    }

    fn start(&self, ttl: &str, args: &[&str]) -> Process {
        Process::start(&mut self.command(ttl, args), &self.dir.path().join("log"))
    }

    /// The keys of an instance, without its path.
    fn instance(&self, service: &str, id: &str) -> BTreeMap<String, String> {
        let path = format!("/services/{service}/{id}/");
        let keys = self.etcd.keys(&path).into_iter();
        keys.map(|(key, value)| (key[path.len()..].to_owned(), value))
            .collect()
    }

    /// Waits until an instance, by its service and id, has this field: instances are announced one after the other.
    #[track_caller]
    fn wait_for_field(&self, (service, id): (&str, &str), field: &str, value: &str) {
        wait_for(&format!("{service}/{id} with {field} {value}"), || {
            let keys = self.instance(service, id);
            (keys.get(field).map(String::as_str) == Some(value)).then_some(())
        });
    }

    fn is_there(&self, container: &Container) -> bool {
        !self.instance("web", &container.instance()).is_empty()
    }

    #[track_caller]
    fn wait_for(&self, container: &Container, is_there: bool) {
        let what = format!("{} is there: {is_there}", container.instance());
        wait_for(&what, || {
            (self.is_there(container) == is_there).then_some(())
        });
    }

    /// Looks for a while whether it stays as it is.
    #[track_caller]
    fn stays(&self, container: &Container, is_there: bool) {
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            assert_eq!(
                self.is_there(container),
                is_there,
                "{}",
                container.instance()
            );
        }
    }
}

#[test]
fn containers_come_and_go_with_their_life() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let early = bench.engine.run(
        &["name=web", "port=8080", "attrs.vhost=www.example.org"],
        &[],
    );
    let process = bench.start(LONG, &[]);
    bench.wait_for(&early, true);
    let keys = bench.instance("web", &early.instance());
    let ip = early.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let want = [
        ("host", &early.id[..12]),
        ("ip", &*ip),
        ("port", "8080"),
        ("vhost", "www.example.org"),
    ];
    let want = want.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(keys, want.into());

    // Scale.
    let (second, third) = (bench.engine.run(WEB, &[]), bench.engine.run(WEB, &[]));
    bench.wait_for(&second, true);
    bench.wait_for(&third, true);

    second.must(&["kill"]);
    bench.wait_for(&second, false);
    assert!(bench.is_there(&third) && bench.is_there(&early));

    third.must(&["pause"]);
    bench.wait_for(&third, false);
    third.must(&["unpause"]);
    bench.wait_for(&third, true);

    // The same container is the same instance.
    third.must(&["restart", "-t", "1"]);
    bench.wait_for(&third, true);
    third.must(&["rm", "-f"]);
    bench.wait_for(&third, false);

    process.signal(Signal::SIGTERM);
    bench.wait_for(&early, false);
}

#[test]
fn who_is_asked_to_stop_goes_while_it_still_runs() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let container = bench.engine.run(WEB, &["-e", "LINGER=20"]);
    let _process = bench.start(LONG, &[]);
    bench.wait_for(&container, true);
    container.must(&["kill", "-s", "HUP"]);
    bench.stays(&container, true);
    container.must(&["kill", "-s", "TERM"]);
    bench.wait_for(&container, false);
    assert_eq!(container.inspect("{{.State.Running}}"), "true");
    bench.stays(&container, false);
}

#[test]
fn health_decides() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let _process = bench.start(LONG, &[]);
    let check = [
        "--health-cmd",
        "[ -e /tmp/fine ]",
        "--health-interval",
        "300ms",
    ];
    let patience = ["--health-retries", "1", "--health-start-period", "1h"];
    let container = bench.engine.run(WEB, &[check, patience].concat());
    let other = bench.engine.run(WEB, &[]);
    bench.wait_for(&other, true);
    assert_eq!(container.inspect("{{.State.Health.Status}}"), "starting");
    bench.stays(&container, false);

    let touch = |script: &str| container.exec(&["sh", "-c", script]);
    touch("echo >/tmp/fine");
    bench.wait_for(&container, true);
    touch("rm /tmp/fine");
    bench.wait_for(&container, false);
    assert_eq!(container.inspect("{{.State.Running}}"), "true");
    assert!(bench.is_there(&other));
    touch("echo >/tmp/fine");
    bench.wait_for(&container, true);
}

#[test]
fn several_services_and_bad_labels() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let bad = bench
        .engine
        .run(&["name=we/b", "port=0", "attrs.ip=x"], &[]);
    let first = bench.engine.run(&["name=web", "port=1", "id=taken"], &[]);
    let second = bench.engine.run(&["name=web", "port=2", "id=taken"], &[]);
    let labels = [
        "a.name=web",
        "a.port=8080",
        "b.name=search",
        "b.ports.http=9200",
    ];
    let good = bench.engine.run(&labels, &[]);
    let process = bench.start(LONG, &[]);
    bench.wait_for(&good, true);
    let search = format!("{}-9200", &good.id[..12]);
    bench.wait_for_field(("search", &search), "http-port", "9200");
    bench.wait_for_field(("web", "taken"), "port", "1");

    let bad = format!("({}) is not announced: ", &bad.id[..12]);
    for wanted in [
        "sidekick.name: service \"we/b\" is not a valid name",
        "sidekick.port: port \"0\" is not",
        "sidekick.attrs.ip: attribute ip has a meaning of its own",
    ] {
        process.wait_said(wanted);
    }
    let claim = format!(
        "({}) is not announced: web taken is announced already",
        &second.id[..12]
    );
    process.wait_said(&claim);
    let more = bench.engine.run(WEB, &[]);
    bench.wait_for(&more, true);
    for once in [&bad, &claim] {
        assert_eq!(process.output().matches(&**once).count(), 1, "{once}");
    }
    // The place is free when the first one goes.
    first.must(&["rm", "-f"]);
    bench.wait_for_field(("web", "taken"), "port", "2");
}

#[test]
fn published_ports_and_networks() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    // It outlives the containers that are in it.
    let network = bench.engine.network();
    let args = ["--docker-address", "published", "--ip", "127.0.0.1"];
    let process = bench.start(LONG, &args);
    let open = bench.engine.run(WEB, &["-p", "8080"]);
    let local = bench.engine.run(WEB, &["-p", "127.0.0.1::8080"]);
    let closed = bench.engine.run(WEB, &[]);
    bench.wait_for(&open, true);
    let port = open.inspect("{{(index .NetworkSettings.Ports \"8080/tcp\" 0).HostPort}}");
    let keys = bench.instance("web", &open.instance());
    assert_eq!((&*keys["ip"], &*keys["port"]), ("127.0.0.1", &*port));
    process.wait_said("port 8080 is published on a loopback address only");
    process.wait_said("port 8080 is not published");
    assert!(!bench.is_there(&local) && !bench.is_there(&closed));
    drop(process);

    let address = |name: &str| {
        open.inspect(&format!(
            "{{{{(index .NetworkSettings.Networks \"{name}\").IPAddress}}}}"
        ))
    };
    bench
        .engine
        .must(&["network", "connect", &network.name, &open.id]);
    let etcd = Etcd::start_new();
    let bench = Bench { etcd, ..bench };
    let process = bench.start(LONG, &["--docker-network", &network.name]);
    bench.wait_for(&open, true);
    assert_eq!(
        bench.instance("web", &open.instance())["ip"],
        address(&network.name)
    );
    process.wait_said("it has no address in the network");
    // A change of its networks is told too.
    bench
        .engine
        .must(&["network", "connect", &network.name, &closed.id]);
    bench.wait_for(&closed, true);
    bench
        .engine
        .must(&["network", "disconnect", &network.name, &closed.id]);
    bench.wait_for(&closed, false);
}

/// No container is a set too, and a service manager that waited for one would wait in vain.
#[test]
fn it_is_ready_without_a_container() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let notify = Notify::at(&bench.dir.path().join("notify"));
    let mut command = bench.command(LONG, &[]);
    let process = Process::start(
        notify.pass_socket_to(&mut command),
        &bench.dir.path().join("log"),
    );
    assert!(notify.receive().starts_with("READY=1\n"));
    process.wait_said("connected to Docker");
    let container = bench.engine.run(WEB, &[]);
    bench.wait_for(&container, true);
}

#[test]
fn a_drained_container_stays_drained() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let container = bench.engine.run(WEB, &[]);
    let process = bench.start(LONG, &[]);
    bench.wait_for(&container, true);
    let id = container.instance();
    let drain = sidekick()
        .args(["drain", "--store", &bench.etcd.url(), "web", &id])
        .output()
        .expect("run sidekick drain");
    assert!(drain.status.success(), "{drain:?}");
    assert_eq!(bench.instance("web", &id)["state"], "drain");
    let other = bench.engine.run(WEB, &[]);
    bench.wait_for(&other, true);
    assert_eq!(bench.instance("web", &id)["state"], "drain");
    // It goes and comes: then it is a new start, which takes requests.
    container.must(&["restart", "-t", "1"]);
    process.signal(Signal::SIGTERM);
    bench.wait_for(&other, false);
    bench.wait_for(&container, false);
}

#[test]
fn the_containers_join_what_is_configured() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let config = bench.dir.path().join("services.toml");
    let write = |port: u16| {
        let text = format!(
            "[[service]]\nname = 'own'\nid = 'a'\nport = {port}\nip = '127.0.0.1'\n\
             [[service]]\nname = 'web'\nid = 'claimed'\nport = 1\nip = '127.0.0.1'\n"
        );
        std::fs::write(&config, text).unwrap();
    };
    write(80);
    let path = config.to_str().unwrap().to_owned();
    let container = bench.engine.run(WEB, &[]);
    let thief = bench.engine.run(&["name=web", "port=2", "id=claimed"], &[]);
    let process = bench.start(LONG, &["--config", &path]);
    bench.wait_for(&container, true);
    process.wait_said("a container claims /services/web/claimed, which is configured here");
    bench.wait_for_field(("web", "claimed"), "port", "1");
    bench.wait_for_field(("own", "a"), "port", "80");
    write(81);
    process.signal(Signal::SIGHUP);
    bench.wait_for_field(("own", "a"), "port", "81");
    assert!(bench.is_there(&container));
    container.must(&["rm", "-f"]);
    bench.wait_for(&container, false);
    assert_eq!(bench.instance("own", "a")["port"], "81");
    drop(thief);
}
