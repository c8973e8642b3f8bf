//! `HAProxies` whose servers are changed while they run: file and runtime are equal after each change, and nothing is
//! reloaded that need not be.

mod pace;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use sidekick::proxy::haproxy::diff::{Change, diff};
use sidekick::proxy::haproxy::runtime::Runtime;
use sidekick::proxy::haproxy::server::Id;
use sidekick::proxy::haproxy::show_servers;
use sidekick::proxy::haproxy::show_servers::Process as Worker;
use sidekick::proxy::haproxy::socket::{Command as Ask, CommandSocket};

use crate::harness::etcd::Etcd;
use crate::harness::{Process, free_port, sidekick, temp_dir, tool, wait_for};
use crate::routing::{answer_with, ask};

mod old;
mod overtaken;

/// A user's template. Some of it is not sidekick's, and one attribute of an instance cannot be changed at run time.
const TEMPLATE: &str = "\
global
    log stderr format raw local0
    stats socket STATS level admin
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    option redispatch
    default-server inter 1s
frontend f
    bind 127.0.0.1:PORT
    default_backend app
backend app
    # Whoever there is.
{%- for i in services.web %}
    server {{ i.id }} {{ i.addr }} check weight {{ i.weight | default(value=10) }} maxconn {{ i.attrs.most | default(value=50) }}
    {%- if i.state == \"maint\" %} disabled{% endif %}
{%- endfor %}
backend other
    server fixed 127.0.0.1:1 weight 5
";

/// An instance: port, weight, most connections, out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Web {
    port: u16,
    weight: u16,
    most: u16,
    is_off: bool,
}

fn web(port: u16) -> Web {
    Web {
        port,
        weight: 10,
        most: 50,
        is_off: false,
    }
}

type Webs = BTreeMap<String, Web>;

fn webs<const N: usize>(list: [(&str, Web); N]) -> Webs {
    list.map(|(id, web)| (id.to_owned(), web)).into()
}

/// A store, and a configuration with one HAProxy.
struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
    port: u16,
    program: PathBuf,
}

impl Bench {
    /// With further sockets, and further lines for the target.
    fn new(sockets: &[&str], lines: &str) -> Self {
        Self::with(tool("haproxy"), TEMPLATE, sockets, lines)
    }

    /// The same with another HAProxy, or another template.
    fn with(program: PathBuf, template: &str, sockets: &[&str], lines: &str) -> Self {
        let bench = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
            port: free_port(),
            program,
        };
        for dir in ["conf.d", "templates"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        let at = bench.dir.path().display().to_string();
        let template = template.replace("STATS", &format!("{at}/stats.sock"));
        fs::write(
            bench.file("templates/a.tera"),
            template.replace("PORT", &bench.port.to_string()),
        )
        .unwrap();
        let sockets = [&["stats.sock"], sockets].concat();
        let sockets: Vec<_> = sockets
            .iter()
            .map(|socket| format!("'{at}/{socket}'"))
            .collect();
        let target = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{at}/haproxy.cfg'\nservices = ['web']\n{lines}\n\
             [template.haproxy]\nsocket = [{}]\n\
             [template.reload]\nhaproxy_master = '{at}/master.sock'\n\
             [template.pace]\nmin_interval = '0s'\n\
             [template.guard]\non_empty = 'render'\nmax_drop = '100%'\n",
            sockets.join(", ")
        );
        fs::write(bench.file("conf.d/a.toml"), target).unwrap();
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Announces these and nobody else, in one revision.
    fn announce(&self, before: &Webs, webs: &Webs) {
        let mut ops = String::new();
        for (id, web) in webs {
            let key = |name: &str| format!("/services/web/{id}/{name}");
            let Web {
                port,
                weight,
                most,
                is_off,
            } = web;
            let fields = [
                ("ip", "127.0.0.1".to_owned()),
                ("port", port.to_string()),
                ("weight", weight.to_string()),
                ("most", most.to_string()),
            ];
            for (name, value) in fields {
                writeln!(ops, "put {} {value}", key(name)).unwrap();
            }
            let state = if *is_off {
                format!("put {} maint", key("state"))
            } else {
                format!("del {}", key("state"))
            };
            writeln!(ops, "{state}").unwrap();
        }
        for id in before.keys().filter(|id| !webs.contains_key(*id)) {
            writeln!(ops, "del --prefix /services/web/{id}/").unwrap();
        }
        self.etcd
            .etcdctl_with(&["txn"], format!("\n{ops}\n\n").as_bytes());
    }

    fn watch(&self, args: &[&str]) -> Process {
        let mut command = sidekick();
        command.args(["watch", "--store", &self.etcd.url()]);
        command
            .arg("--conf-dir")
            .arg(self.dir.path())
            .arg("--state-dir")
            .arg(self.file("state"))
            .args(args);
        Process::start(&mut command, &self.file("log"))
    }

    /// The first file, for an HAProxy to start with.
    fn first(&self, webs: &Webs) {
        self.announce(&Webs::new(), webs);
        let mut once = self.watch(&["--once"]);
        once.wait();
        assert!(self.file("haproxy.cfg").exists(), "{}", once.output());
    }

    /// Keeps them from now on.
    fn keep(&self, webs: &Webs) -> Process {
        let watch = self.start();
        self.wait(&watch, webs);
        watch
    }

    /// Begins to. The first file could not be loaded by anybody: that is made up for at first.
    fn start(&self) -> Process {
        let watch = self.watch(&[]);
        wait_for("the owed reload", || {
            let log = watch.output();
            log.contains("the reload that was owed has been made")
                .then_some(())
        });
        watch
    }

    fn haproxy(&self, config: &str) -> Process {
        let mut command = Command::new(&self.program);
        command
            .args(["-W", "-db", "-S"])
            .arg(self.file("master.sock"))
            .arg("-f")
            .arg(self.file(config));
        let process = Process::start(&mut command, &self.file("proxy"));
        wait_for("HAProxy", || self.worker("stats.sock"));
        process
    }

    fn ask(&self, socket: &str, command: Ask) -> Option<String> {
        let socket = CommandSocket::new(self.file(socket).as_path().into(), Duration::from_secs(5));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let reply = runtime
            .block_on(socket.send_batch(&[command]))
            .ok()?
            .pop()?;
        reply.is_success().then_some(reply.text)
    }

    fn worker(&self, socket: &str) -> Option<u32> {
        let info = self.ask(socket, Ask::new("show info"))?;
        Worker::parse(&info)
            .filter(|worker| !worker.stopping)
            .map(|worker| worker.pid)
    }

    fn servers(&self, socket: &str) -> Option<show_servers::Servers> {
        let mut servers =
            show_servers::parse_state(&self.ask(socket, Ask::new("show servers state"))?)?;
        // Workers of old versions know their master as a backend.
        servers.retain(|id, _| id.backend.as_str() != "MASTER");
        Some(servers)
    }

    /// Whether the running HAProxy has these servers and no others in service.
    fn has(&self, socket: &str, webs: &Webs) -> Option<()> {
        let mut servers = self.servers(socket)?;
        for (id, web) in webs {
            let seen = servers.remove(&Id::new("app", id)?)?;
            let right = seen.at?.port() == web.port
                && seen.weight == web.weight
                && seen.disabled == web.is_off;
            right.then_some(())?;
        }
        servers.remove(&Id::new("other", "fixed")?)?;
        servers.values().all(|seen| seen.disabled).then_some(())
    }

    /// Whether the file has these.
    fn says(&self, webs: &Webs) -> Option<()> {
        let text = fs::read_to_string(self.file("haproxy.cfg")).ok()?;
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains(" maxconn "))
            .collect();
        let line = |(id, web): (&String, &Web)| {
            let off = if web.is_off { " disabled" } else { "" };
            format!(
                "    server {id} 127.0.0.1:{} check weight {} maxconn {}{off}",
                web.port, web.weight, web.most
            )
        };
        (lines == webs.iter().map(line).collect::<Vec<_>>()).then_some(())
    }

    /// Waits until file and runtime are these.
    #[track_caller]
    fn wait(&self, watch: &Process, webs: &Webs) {
        let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("file and runtime", || {
                self.says(webs).and(self.has("stats.sock", webs))
            });
        }));
        assert!(
            arrived.is_ok(),
            "{webs:?}\n{}\n{:?}\n{}",
            fs::read_to_string(self.file("haproxy.cfg")).unwrap_or_default(),
            self.servers("stats.sock"),
            watch.output()
        );
    }

    /// Announces these instead, and waits until file and runtime are these.
    #[track_caller]
    fn change(&self, watch: &Process, webs: &mut Webs, new: Webs) {
        self.announce(webs, &new);
        *webs = new;
        self.wait(watch, webs);
    }
}

/// Clients that ask and ask.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = move |stop: Arc<AtomicBool>| {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = ask(port, "localhost", "/");
                answers.push(answer.unwrap_or_else(|| "no answer".to_owned()));
                std::thread::sleep(Duration::from_millis(2));
            }
            answers
        };
        let threads = (0..4).map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || client(stop))
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// What they were answered. Each server answers with one letter; anything else is a failure.
    #[track_caller]
    fn stop(self, watch: &Process) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        let answers: Vec<String> = threads.flat_map(|thread| thread.join().unwrap()).collect();
        let bad: Vec<_> = answers.iter().filter(|answer| answer.len() != 1).collect();
        assert!(
            bad.is_empty(),
            "{} of {} requests failed: {bad:?}\n{}",
            bad.len(),
            answers.len(),
            watch.output()
        );
        answers
    }
}

#[test]
fn servers_change_without_a_reload_and_nothing_else_does() {
    let bench = Bench::new(&[], "check_cmd = 'haproxy -c -f {{src}}'");
    let mut now = webs([("a", web(1001)), ("b", web(1002))]);
    bench.first(&now);
    let proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let worker = bench.worker("stats.sock").unwrap();
    // What an operator does by hand to others is theirs.
    let fixed = Id::new("other", "fixed").unwrap().word();
    bench
        .ask(
            "stats.sock",
            Ask::new("set server").word(&fixed).then("weight 77"),
        )
        .unwrap();
    let drained = Web {
        weight: 0,
        ..web(1001)
    };
    let off = Web {
        is_off: true,
        ..web(1002)
    };
    for new in [
        webs([("a", drained), ("b", web(1002))]),
        webs([("a", drained), ("b", off)]),
        webs([("a", web(1001)), ("b", Web { port: 1012, ..off })]),
        webs([("a", web(1011)), ("b", web(1002)), ("c", web(1003))]),
        // Everybody at once, one of them under another name, and one that comes back.
        webs([("d", web(1011)), ("e", web(1005))]),
        webs([
            ("a", web(1021)),
            (
                "f",
                Web {
                    is_off: true,
                    ..web(1006)
                },
            ),
        ]),
        webs([]),
        webs([("d", web(1031))]),
    ] {
        bench.change(&watch, &mut now, new);
        assert_eq!(
            bench.worker("stats.sock"),
            Some(worker),
            "{}",
            watch.output()
        );
    }
    assert_eq!(
        bench.servers("stats.sock").unwrap()[&Id::new("other", "fixed").unwrap()].weight,
        77
    );
    // This one cannot be made while it runs.
    bench.change(
        &watch,
        &mut now,
        webs([(
            "d",
            Web {
                most: 7,
                ..web(1031)
            },
        )]),
    );
    wait_for("a reload", || {
        bench.worker("stats.sock").filter(|other| *other != worker)
    });
    assert!(
        watch
            .output()
            .contains("a reload is needed: app/d differs in more than"),
        "{}",
        watch.output()
    );
    drop(proxy);
}

#[test]
fn a_restart_by_somebody_else_is_noticed() {
    let bench = Bench::new(&[], "");
    let mut now = webs([("a", web(1001)), ("b", web(1002))]);
    bench.first(&now);
    fs::copy(bench.file("haproxy.cfg"), bench.file("older.cfg")).unwrap();
    let proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let new = webs([
        (
            "b",
            Web {
                weight: 3,
                is_off: true,
                ..web(1012)
            },
        ),
        ("c", web(1003)),
    ]);
    bench.change(&watch, &mut now, new);
    drop(proxy);
    // As if it had read the file from before a change, in the moment between the change and the swap.
    let proxy = bench.haproxy("older.cfg");
    let worker = bench.worker("stats.sock");
    bench.wait(&watch, &now);
    assert_eq!(bench.worker("stats.sock"), worker, "{}", watch.output());
    drop(proxy);
    // It is not there: what comes meanwhile is in the file when it starts, and a reload is owed.
    let mut more = now.clone();
    more.insert("d".to_owned(), web(1004));
    bench.announce(&now, &more);
    wait_for("a failed reload", || {
        watch.output().contains("the reload failed").then_some(())
    });
    let _proxy = bench.haproxy("older.cfg");
    bench.wait(&watch, &more);
}

#[test]
fn the_log_names_a_haproxy_that_does_not_read_the_file() {
    let bench = Bench::new(&[], "");
    let now = webs([("a", web(1001))]);
    bench.first(&now);
    let text = fs::read_to_string(bench.file("haproxy.cfg")).unwrap();
    // Also in default_backend.
    let other = text.replace("backend app", "backend else");
    fs::write(bench.file("other.cfg"), other).unwrap();
    let _proxy = bench.haproxy("other.cfg");
    let watch = bench.watch(&[]);
    wait_for("the owed reload", || {
        let said = watch.output();
        said.contains("that was owed has been made").then_some(())
    });
    // Right behind that reload, and nothing is reloaded for it again.
    wait_for("word of it", || {
        let said = watch.output();
        said.contains("does not read it, also after a reload")
            .then_some(())
    });
    let worker = bench.worker("stats.sock");
    watch.signal(Signal::SIGHUP);
    wait_for("another look", || {
        let said = watch.output();
        said.contains("reading the configuration").then_some(())
    });
    bench.announce(&now, &webs([("a", web(1001)), ("b", web(1002))]));
    wait_for("another reload", || {
        bench
            .worker("stats.sock")
            .filter(|new| Some(*new) != worker)
    });
    let said = watch.output();
    assert_eq!(
        said.matches("does not read it, also after a reload")
            .count(),
        1,
        "{said}"
    );
    assert!(!said.contains("does it read that file"), "{said}");
    assert_eq!(said.matches("that was owed").count(), 1, "{said}");
}

#[test]
fn the_log_names_a_removed_socket_and_the_remedy() {
    let bench = Bench::new(&[], "");
    let mut now = webs([("a", web(1001))]);
    bench.first(&now);
    let proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    fs::remove_file(bench.file("stats.sock")).unwrap();
    for port in [1011, 1012] {
        let new = webs([("a", web(port))]);
        bench.announce(&now, &new);
        now = new;
        wait_for("a reload", || {
            bench.says(&now)?;
            let said = watch.output();
            let reloads = said.matches("has been updated").count();
            (reloads == usize::from(port) - 1010).then_some(())
        });
        assert!(
            !bench.file("stats.sock").exists(),
            "a reload makes it again: then docs/haproxy.md is wrong"
        );
    }
    let said = watch.output();
    assert_eq!(
        said.matches("only a restart of HAProxy").count(),
        1,
        "{said}"
    );
    drop(proxy);
    let _proxy = bench.haproxy("haproxy.cfg");
    let worker = bench.worker("stats.sock");
    bench.change(&watch, &mut now, webs([("a", web(1013))]));
    assert_eq!(bench.worker("stats.sock"), worker, "{}", watch.output());
}

#[test]
fn a_server_that_went_is_deleted_when_nothing_uses_it() {
    let bench = Bench::new(&[], "");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    bench.first(&webs([("b", web(port))]));
    let _proxy = bench.haproxy("haproxy.cfg");
    let live = fs::read_to_string(bench.file("haproxy.cfg")).unwrap();
    // A request that nobody answers keeps it in use.
    let mut client = std::net::TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let request = silent.accept().unwrap();
    let line = live.lines().find(|line| line.contains("server b")).unwrap();
    let new = live.replace(line, "    server a 127.0.0.1:1001 check");
    let Change::Runtime(ops) = diff("", &live, &new) else {
        panic!("{new}");
    };
    let rest = Duration::from_secs(1);
    let sockets = [bench.file("stats.sock").as_path().into()];
    let runtime = Runtime::new(sockets, Duration::from_secs(5), rest);
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(runtime.apply(&ops)).unwrap();
    let b = Id::new("app", "b").unwrap();
    let look = || tokio.block_on(runtime.reconcile("", &new)).unwrap().deleted;
    let seen = || bench.servers("stats.sock").unwrap().remove(&b);
    wait_for("its rest", || {
        assert_eq!(look(), 0, "it is in use");
        (seen()?.since > rest.as_secs() + 1).then_some(())
    });
    drop((client, request));
    assert_eq!(wait_for("its end", || Some(look()).filter(|n| *n > 0)), 1);
    assert_eq!(seen(), None);
}

#[test]
fn a_socket_that_hangs_is_logged_and_the_program_reloaded_instead() {
    let bench = Bench::new(&["hangs.sock"], "");
    let _hangs = UnixListener::bind(bench.file("hangs.sock")).unwrap();
    let mut now = webs([("a", web(1001))]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let worker = bench.worker("stats.sock").unwrap();
    bench.change(&watch, &mut now, webs([("a", web(1001)), ("b", web(1002))]));
    wait_for("a reload", || {
        bench.worker("stats.sock").filter(|other| *other != worker)
    });
    let said = wait_for("a word about it", || {
        Some(watch.output()).filter(|log| log.contains("has not answered"))
    });
    assert!(said.contains("hangs.sock"), "{said}");
}

#[test]
fn several_haproxies_are_all_changed() {
    let bench = Bench::new(&["second.sock"], "");
    let mut now = webs([("a", web(1001))]);
    bench.first(&now);
    // The second one has the same file, but for where it listens.
    let text = fs::read_to_string(bench.file("haproxy.cfg")).unwrap();
    let text = text
        .replace("stats.sock", "second.sock")
        .replace(&bench.port.to_string(), &free_port().to_string());
    fs::write(bench.file("second.cfg"), text).unwrap();
    let _first = bench.haproxy("haproxy.cfg");
    let mut command = Command::new(tool("haproxy"));
    let _second = Process::start(
        command.arg("-db").arg("-f").arg(bench.file("second.cfg")),
        &bench.file("second"),
    );
    wait_for("the second", || bench.worker("second.sock"));
    let watch = bench.keep(&now);
    let workers = ["stats.sock", "second.sock"].map(|socket| bench.worker(socket));
    bench.change(
        &watch,
        &mut now,
        webs([
            (
                "a",
                Web {
                    weight: 2,
                    ..web(1001)
                },
            ),
            ("b", web(1002)),
        ]),
    );
    wait_for("the second to have it", || bench.has("second.sock", &now));
    assert_eq!(
        workers,
        ["stats.sock", "second.sock"].map(|socket| bench.worker(socket)),
        "{}",
        watch.output()
    );
}

#[test]
fn a_check_that_fails_changes_haproxy_back() {
    let bench = Bench::new(
        &[],
        "check_cmd = 'sleep 0.2; echo x >> {{dest}}.checks; ! grep -q forbidden {{src}}'",
    );
    let checks = || {
        let told = std::fs::read_to_string(bench.file("haproxy.cfg.checks"));
        told.map_or(0, |told| told.lines().count())
    };
    let mut now = webs([("a", web(1001))]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let worker = bench.worker("stats.sock").unwrap();
    let with = webs([
        (
            "a",
            Web {
                weight: 99,
                ..web(1001)
            },
        ),
        ("forbidden", web(1002)),
    ]);
    bench.announce(&now, &with);
    wait_for("the check", || {
        watch.output().contains("the check refused").then_some(())
    });
    wait_for("the runtime of before", || bench.has("stats.sock", &now));
    bench.says(&now).unwrap();
    // What was refused once is checked first: the runtime does not go back and forth.
    let tries = checks() + 2;
    wait_for("two more tries", || {
        assert!(
            bench.has("stats.sock", &now).is_some(),
            "{}",
            watch.output()
        );
        (checks() >= tries).then_some(())
    });
    bench.announce(&with, &now);
    bench.change(&watch, &mut now, webs([("a", web(1001)), ("b", web(1002))]));
    assert_eq!(
        bench.worker("stats.sock"),
        Some(worker),
        "{}",
        watch.output()
    );
}

#[test]
fn no_request_is_lost_while_servers_come_and_go() {
    let bench = Bench::new(&[], "check_cmd = 'haproxy -c -f {{src}}'");
    let live = ["a", "b", "c", "d"].map(|name| (name, web(answer_with(name))));
    let [a, b, c, d] = live;
    let mut now = webs([a, b]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let worker = bench.worker("stats.sock").unwrap();
    let clients = Clients::start(bench.port);
    for _ in 0..5 {
        for new in [webs([c, d]), webs([a, b, c, d]), webs([b]), webs([a, b])] {
            bench.change(&watch, &mut now, new);
        }
    }
    let answers = clients.stop(&watch);
    for (name, _) in live {
        assert!(
            answers.iter().any(|answer| answer == name),
            "{name} was never asked"
        );
    }
    assert_eq!(
        bench.worker("stats.sock"),
        Some(worker),
        "{}",
        watch.output()
    );
}

/// Whether a change takes a reload: of what cannot be changed at run time, or because a server that has gone a moment
/// ago comes back as another one.
fn takes_reload(before: &Webs, after: &Webs, gone: &BTreeMap<String, u16>) -> bool {
    after.iter().any(|(id, web)| match before.get(id) {
        Some(was) => was.most != web.most,
        None => gone.get(id).is_some_and(|most| *most != web.most),
    })
}

fn some_webs() -> impl Strategy<Value = Webs> {
    let most = prop_oneof![9 => Just(50_u16), 1 => Just(51)];
    let web = (1001_u16..1004, 0_u16..3, most, prop::bool::weighted(0.2)).prop_map(
        |(port, weight, most, is_off)| Web {
            port,
            weight,
            most,
            is_off,
        },
    );
    prop::collection::btree_map("[a-e]", web, 0..5)
}

#[test]
fn after_any_change_file_and_runtime_are_equal() {
    let bench = Bench::new(&[], "");
    let mut now = webs([("a", web(1001))]);
    bench.first(&now);
    let _proxy = bench.haproxy("haproxy.cfg");
    let watch = bench.keep(&now);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut gone = BTreeMap::new();
    for step in 0..60 {
        let new = some_webs().new_tree(&mut runner).unwrap().current();
        let worker = bench.worker("stats.sock").unwrap();
        let takes_reload = takes_reload(&now, &new, &gone);
        for (id, was) in &now {
            if !new.contains_key(id) {
                gone.insert(id.clone(), was.most);
            }
        }
        gone.retain(|id, _| !new.contains_key(id));
        bench.change(&watch, &mut now, new);
        if takes_reload {
            gone.clear();
            wait_for("a reload", || {
                bench.worker("stats.sock").filter(|other| *other != worker)
            });
            bench.wait(&watch, &now);
            // The reload has to be over: the next step begins with its worker.
            wait_for("the end of it", || {
                let log = watch.output();
                let ends =
                    log.matches("has been updated").count() + log.matches("has been made").count();
                (ends >= step).then_some(())
            });
        } else {
            assert_eq!(
                bench.worker("stats.sock"),
                Some(worker),
                "step {step}: {}",
                watch.output()
            );
        }
    }
}
