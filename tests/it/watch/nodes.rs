//! The configuration names another store while `sidekick watch` runs: other nodes in `confd.toml`, another store in the file
//! of the host.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::{TEMPLATE, UNGUARDED, line};
use crate::etcd::auth;
use crate::harness::command::arg;
use crate::harness::etcd::{Cluster, Etcd, Setup};
use crate::harness::pki::Pki;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// A directory made for confd, with a target that lists the instances of `web`.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: temp_dir() };
        for dir in ["conf.d", "templates"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        bench.write("templates/a.tera", TEMPLATE);
        bench.target("['web']", UNGUARDED);
        bench
    }

    fn target(&self, services: &str, more: &str) {
        let dest = arg(&self.file("a.cfg"));
        let text =
            format!("[template]\nsrc = 'a.tera'\ndest = '{dest}'\nservices = {services}\n{more}");
        self.write("conf.d/a.toml", &text);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn name_nodes(&self, nodes: &[&Etcd]) {
        let nodes: Vec<String> = nodes.iter().map(|node| node.endpoint()).collect();
        self.write("confd.toml", &format!("nodes = {nodes:?}\n"));
    }

    fn start(&self, args: &[&str]) -> Process {
        self.start_logging_to("log", args)
    }

    fn start_logging_to(&self, log: &str, args: &[&str]) -> Process {
        let mut command = sidekick();
        command.arg("watch").arg("--conf-dir").arg(self.dir.path());
        command.arg("--admin").arg(self.admin()).args(args);
        command.env("SIDEKICK_STATE_DIR", self.file("state"));
        command.env("SIDEKICK_ENV_FILE", self.file("host.env"));
        Process::start(&mut command, &self.file(log))
    }

    fn admin(&self) -> String {
        format!("unix:{}", self.file("admin").display())
    }

    /// What `/status` says.
    fn status(&self) -> serde_json::Value {
        let mut stream = UnixStream::connect(self.file("admin")).unwrap();
        let question = b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(question).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn wait_live(&self, want: &str) {
        wait_for(&format!("the file to say {want:?}"), || {
            let live = fs::read_to_string(self.file("a.cfg")).ok()?;
            (live == want).then_some(())
        });
    }

    /// Waits until the snapshot on disk is of this store and has this instance.
    fn wait_saved(&self, store: &Etcd, id: &str) {
        wait_for("the snapshot of the new store", || {
            let mut files = fs::read_dir(self.file("state/snapshots")).ok()?;
            let text = files.find_map(|file| fs::read_to_string(file.unwrap().path()).ok())?;
            let saved: serde_json::Value = serde_json::from_str(&text).ok()?;
            let has_it = saved["entries"][format!("/services/web/{id}/ip")].is_string();
            (saved["store"] == store.url() && has_it).then_some(())
        });
    }
}

fn put(etcd: &Etcd, id: &str) {
    etcd.put_instance("web", id, "10.0.0.1", 80);
}

/// The watchers that are announced there.
fn watchers(etcd: &Etcd) -> Vec<String> {
    let keys = etcd.etcdctl(&["get", "--prefix", "--keys-only", "/sidekick/watchers/"]);
    let ids = keys.lines().filter_map(|key| key.split('/').nth(3));
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    ids.dedup();
    ids
}

fn wait_watchers(etcd: &Etcd, count: usize) -> Vec<String> {
    wait_for(&format!("{count} watchers at {}", etcd.url()), || {
        Some(watchers(etcd)).filter(|ids| ids.len() == count)
    })
}

fn stop(mut process: Process) {
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0), "{}", process.output());
}

#[test]
fn another_cluster_with_tls_takes_the_place_of_the_first() {
    let bench = Bench::new();
    let pki = Some(Pki::make());
    let (a, b) = (
        Etcd::start_new(),
        Etcd::with(Setup {
            pki,
            ..Setup::default()
        }),
    );
    put(&a, "a");
    put(&b, "b");
    bench.name_nodes(&[&a]);
    let process = bench.start(&[]);
    bench.wait_live(&line("a"));
    wait_watchers(&a, 1);

    // What is wrong changes nothing but is told, and the first store is followed as before.
    bench.write("confd.toml", "nodes = ['http://a b:1']\n");
    process.wait_said("confd.toml:1: nodes: \"http://a b:1\" is not an endpoint");
    process.wait_said("the configuration has errors, so the previous one stays in force");
    put(&a, "a2");
    bench.wait_live(&(line("a") + &line("a2")));

    let nodes = format!("nodes = ['https://{}']\n", b.endpoint());
    bench.write("confd.toml", &format!("{nodes}client_cakeys = '/none'\n"));
    process.wait_said("/none: cannot be read");
    process.wait_said(&format!("so {} stays in use", a.url()));
    let ca = arg(&b.pki().file("ca.pem"));
    bench.write("confd.toml", &format!("{nodes}client_cakeys = '{ca}'\n"));
    process.wait_said("the configuration names a store that can be used again");
    process.wait_said(&format!("in place of {}", a.url()));
    process.wait_said("the files are those of this store from now on");
    bench.wait_live(&line("b"));
    wait_watchers(&b, 1);
    wait_watchers(&a, 0);
    let status = wait_for("the status of the new store", || {
        let status = bench.status();
        (status["store"]["up"] == true).then_some(status)
    });
    let described = status["store"]["description"].as_str().unwrap();
    assert!(described.contains(&b.url()), "{status:#}");
    bench.wait_saved(&b, "b");

    put(&a, "a3");
    put(&b, "b2");
    bench.wait_live(&(line("b") + &line("b2")));
    stop(process);
    wait_watchers(&b, 0);
    let next = bench.start_logging_to("log-next", &[]);
    next.wait_said(&format!("the store is {}", b.url()));
    wait_watchers(&b, 1);
    stop(next);
}

#[test]
fn a_store_that_is_down_gives_way_to_another_one() {
    let bench = Bench::new();
    let (mut a, mut b) = (Etcd::start_new(), Etcd::start_new());
    // Of equal revisions, so that nothing but the names tells the two apart.
    put(&a, "a");
    put(&b, "b");
    bench.name_nodes(&[&a]);
    let process = bench.start(&[]);
    bench.wait_live(&line("a"));
    a.stop();
    process.wait_said("does not answer");
    b.stop();
    bench.name_nodes(&[&b]);
    process.wait_said(&format!("etcd at {} does not answer", b.endpoint()));
    bench.wait_live(&line("a"));
    // A target that needs another path waits for the new store, too.
    bench.target("['db', 'web']", UNGUARDED);
    process.wait_said("the previous one stays in force until it does");
    b.start();
    bench.wait_live(&line("b"));
    process.wait_said("1 target");
    assert_eq!(wait_watchers(&b, 1).len(), 1);
    stop(process);
}

#[test]
fn files_never_have_a_part_of_each_store() {
    let bench = Bench::new();
    bench.write("templates/b.tmpl", "{{getv \"/app/motd\" \"none\"}}");
    let motd = bench.file("b.cfg");
    let dest = arg(&motd);
    let text = format!("[template]\nsrc = 'b.tmpl'\ndest = '{dest}'\nkeys = ['/app']\n");
    bench.write("conf.d/b.toml", &text);
    // `app` may use /services/ there, and nothing else.
    let (a, (b, _)) = (Etcd::start_new(), auth::start());
    for (etcd, id) in [(&a, "a"), (&b, "b")] {
        put(etcd, id);
        etcd.etcdctl(&["put", "/app/motd", id]);
    }
    let wait_motd = |want: &str| {
        wait_for(&format!("the other file to say {want}"), || {
            (fs::read_to_string(&motd).ok()? == want).then_some(())
        });
    };
    bench.name_nodes(&[&a]);
    let process = bench.start(&[]);
    bench.wait_live(&line("a"));
    wait_motd("a");
    let login = "username = 'app'\npassword = 'secret'\n";
    bench.write(
        "confd.toml",
        &format!("nodes = ['{}']\n{login}", b.endpoint()),
    );
    // It says so after its second try: what may be read has come by then.
    process.wait_said("refused: ");
    put(&b, "b2");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(fs::read_to_string(bench.file("a.cfg")).unwrap(), line("a"));
    b.etcdctl(&[
        "role",
        "grant-permission",
        "app",
        "readwrite",
        "/app",
        "--prefix=true",
    ]);
    bench.wait_live(&(line("b") + &line("b2")));
    wait_motd("b");
    process.wait_said("the files are those of this store from now on");
    stop(process);
}

#[test]
fn another_member_of_the_same_cluster_goes_on_without_a_gap() {
    let bench = Bench::new();
    let mut cluster = Cluster::start_new();
    let [one, two, _] = &cluster.nodes[..] else {
        panic!("there are three");
    };
    put(one, "a");
    bench.name_nodes(&[one]);
    let process = bench.start(&[]);
    bench.wait_live(&line("a"));
    let ids = wait_watchers(one, 1);
    bench.name_nodes(&[two]);
    process.wait_said("the files are those of this store from now on");
    // Never is it absent: the new entry takes the place of the old one.
    for _ in 0..20 {
        assert_eq!(watchers(two), ids);
    }
    cluster.nodes[0].stop();
    put(&cluster.nodes[1], "b");
    bench.wait_live(&(line("a") + &line("b")));
    assert_eq!(watchers(&cluster.nodes[1]), ids);
    stop(process);
}

#[test]
fn what_the_new_store_lacks_is_weighed_by_the_guard() {
    let bench = Bench::new();
    bench.target("['web']", "");
    let (a, b) = (Etcd::start_new(), Etcd::start_new());
    put(&a, "a");
    put(&a, "a2");
    bench.name_nodes(&[&a]);
    let process = bench.start(&[]);
    let both = line("a") + &line("a2");
    bench.wait_live(&both);
    bench.name_nodes(&[&b]);
    process.wait_said("the files are those of this store from now on");
    process.wait_said("all 2 instances are lost");
    bench.wait_live(&both);
    stop(process);
}

#[test]
fn a_store_that_is_named_otherwise_takes_precedence() {
    let bench = Bench::new();
    let (a, b) = (Etcd::start_new(), Etcd::start_new());
    put(&a, "a");
    put(&b, "b");
    bench.name_nodes(&[&a]);
    let process = bench.start(&["--store", &a.url()]);
    bench.wait_live(&line("a"));
    bench.name_nodes(&[&b]);
    process.signal(Signal::SIGHUP);
    process.wait_said("reading the configuration");
    put(&a, "a2");
    bench.wait_live(&(line("a") + &line("a2")));
    assert!(!process.output().contains(&b.endpoint()));
    stop(process);
}

#[test]
fn the_file_of_the_host_names_another_store_and_what_needs_a_restart_is_told() {
    let bench = Bench::new();
    let (a, b) = (Etcd::start_new(), Etcd::start_new());
    put(&a, "a");
    put(&b, "b");
    let host = |store: &Etcd, more: &str| {
        bench.write(
            "host.env",
            &format!("SIDEKICK_STORE={}\n{more}", store.url()),
        );
    };
    host(&a, "");
    let process = bench.start(&[]);
    bench.wait_live(&line("a"));
    host(&b, "");
    process.signal(Signal::SIGHUP);
    bench.wait_live(&line("b"));
    host(&a, "SIDEKICK_PREFIX=/other\n");
    process.signal(Signal::SIGHUP);
    process.wait_said("another prefix needs a restart of sidekick");
    // As while an editor writes it: nothing is named.
    bench.write("host.env", "SIDEKICK_STORE=dir:///none\n");
    process.signal(Signal::SIGHUP);
    process.wait_said("a directory as the store needs a restart of sidekick");
    put(&b, "b2");
    bench.wait_live(&(line("b") + &line("b2")));
    stop(process);
}
