//! The members of etcd by SRV records, which a real dnsmasq gives.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::harness::command::arg;
use crate::harness::etcd::{Cluster, Etcd, Setup};
use crate::harness::pki::Pki;
use crate::harness::{Process, free_port, sidekick, temp_dir, tool, wait_for};

const DOMAIN: &str = "etcd.test";

/// A name server, and a directory for what asks it.
struct Bench {
    dir: tempfile::TempDir,
    port: u16,
    dns: Option<Process>,
    starts: usize,
}

/// The line of dnsmasq for a member: its name is `localhost`, since the system's resolver looks that up.
fn record(question: &str, port: &str, priority: u16, weight: u16) -> String {
    format!("srv-host={question}._tcp.{DOMAIN},localhost,{port},{priority},{weight}\n")
}

fn port_of(etcd: &Etcd) -> String {
    etcd.endpoint().rsplit_once(':').unwrap().1.to_owned()
}

/// Records of equal rank for these members.
fn members(etcds: &[&Etcd]) -> String {
    let records = etcds
        .iter()
        .map(|etcd| record("_etcd-client", &port_of(etcd), 0, 1));
    records.collect()
}

impl Bench {
    fn new(records: &str) -> Self {
        let mut bench = Self {
            dir: temp_dir(),
            port: free_port(),
            dns: None,
            starts: 0,
        };
        for dir in ["conf.d", "templates"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        bench.write(
            "templates/a.tera",
            "{% for i in services.web %}{{ i.id }} {% endfor %}",
        );
        let dest = arg(&bench.file("a.cfg"));
        bench.write(
            "conf.d/a.toml",
            &format!(
                "[template]\nsrc = 'a.tera'\ndest = '{dest}'\nservices = ['web']\n\
                 [template.guard]\non_empty = 'render'\nmax_drop = '100%'\n"
            ),
        );
        let server = format!("nameserver 127.0.0.1:{}\n", bench.port);
        bench.write("resolv.conf", &server);
        bench.answer(records);
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// From now on, the name server has these records.
    fn answer(&mut self, records: &str) {
        self.dns = None;
        self.write("dnsmasq.conf", records);
        self.starts += 1;
        let log = self.file(&format!("dns-{}", self.starts));
        let mut command = Command::new(tool("dnsmasq"));
        command
            .args(["--no-daemon", "--no-resolv", "--no-hosts", "--local=/test/"])
            .args(["--listen-address=127.0.0.1", "--bind-interfaces"])
            .arg(format!("--port={}", self.port))
            .arg(format!(
                "--conf-file={}",
                self.file("dnsmasq.conf").display()
            ));
        let process = Process::start(&mut command, &log);
        process.wait_said("started, version");
        self.dns = Some(process);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = sidekick();
        command.args(args);
        command.env("SIDEKICK_RESOLV_CONF", self.file("resolv.conf"));
        command.env("SIDEKICK_STATE_DIR", self.file("state"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that has to succeed; what it printed.
    fn print(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn watch(&self, args: &[&str]) -> Process {
        let mut command = self.command(&["watch", "--log-level", "debug"]);
        command.arg("--conf-dir").arg(self.dir.path()).args(args);
        Process::start(&mut command, &self.file("log"))
    }

    fn register(&self, args: &[&str]) -> Process {
        let own = ["register", "--name", "web", "--id", "a", "--port", "80"];
        let mut command = self.command(&own);
        command.args(["--ttl", "2s", "--ip", "10.0.0.1"]).args(args);
        Process::start(&mut command, &self.file("register"))
    }

    fn wait_live(&self, want: &str) {
        wait_for(&format!("the file to say {want:?}"), || {
            let live = fs::read_to_string(self.file("a.cfg")).ok()?;
            (live.trim() == want).then_some(())
        });
    }
}

fn put(etcd: &Etcd, id: &str) {
    etcd.put_instance("web", id, "10.0.0.2", 80);
}

#[test]
fn every_command_finds_the_members_and_follows_those_that_change() {
    let mut cluster = Cluster::start_new();
    let [one, two, three] = &cluster.nodes[..] else {
        panic!("there are three");
    };
    let later = members(&[two, three]);
    let mut bench = Bench::new(&members(&[one]));
    let srv = ["--store-srv", DOMAIN];
    let watch = bench.watch(&srv);
    watch.wait_said("the store is etcd+srv://etcd.test (from --store-srv)");
    let register = bench.register(&srv);
    bench.wait_live("a");
    assert!(bench.print(&["ls", "--store-srv", DOMAIN]).contains("web"));
    assert!(
        bench
            .print(&["status", "web", "--store-srv", DOMAIN])
            .contains("10.0.0.1")
    );
    assert!(
        bench
            .print(&["export", "--store-srv", DOMAIN])
            .contains("/services/web/a/ip")
    );
    bench.print(&["drain", "web", "a", "--store-srv", DOMAIN]);
    bench.print(&["undrain", "web", "a", "--store-srv", DOMAIN]);
    let mut by_variable = bench.command(&["ls"]);
    let output = by_variable
        .env("SIDEKICK_STORE_SRV", DOMAIN)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // The way towards the store leads over loopback, which others cannot use: the members were looked up.
    let chosen = bench.run(&["ip", "store", "--store-srv", DOMAIN]);
    let said = String::from_utf8_lossy(&chosen.stderr);
    assert!(said.contains("refused: loopback"), "{said}");

    bench.answer(&later);
    cluster.nodes[0].stop();
    watch.wait_said("the DNS names other members of etcd.test: ");
    put(&cluster.nodes[1], "b");
    bench.wait_live("a b");
    register.signal(Signal::SIGTERM);
    bench.wait_live("b");

    // Who knows the members needs no name server to come back to them.
    bench.dns = None;
    cluster.nodes[0].start();
    for node in [1, 2] {
        cluster.nodes[node].kill();
        cluster.nodes[node].start();
    }
    put(&cluster.nodes[0], "c");
    bench.wait_live("b c");
}

#[test]
fn another_cluster_behind_the_same_domain_is_told_apart_by_its_number() {
    let (mut a, b) = (Etcd::start_new(), Etcd::start_new());
    // Equal keys at equal revisions: no landmark tells the two apart.
    put(&a, "x");
    put(&b, "x");
    put(&a, "a");
    put(&b, "b");
    let keys = ["put", "/services/web/x/weight", "1"];
    a.etcdctl(&keys);
    b.etcdctl(&keys);
    let mut bench = Bench::new(&members(&[&a]));
    assert_eq!(a.revision(), b.revision());
    let watch = bench.watch(&["--store-srv", DOMAIN]);
    bench.wait_live("a x");
    // An answer of the DNS counts for a second, and so long the snapshot waits. With an older one the watch would look for
    // the first cluster until it lists everything, whoever answers.
    watch.wait_said("the snapshot was written");
    bench.answer(&members(&[&b]));
    a.stop();
    bench.wait_live("b x");
    watch.wait_said("it is another cluster");
}

#[test]
fn priorities_are_followed_and_a_name_tells_clusters_apart() {
    let (one, two) = (Etcd::start_new(), Etcd::start_new());
    put(&one, "one");
    put(&two, "two");
    let (first, second) = (port_of(&one), port_of(&two));
    let (nobody, mut records) = (free_port().to_string(), String::new());
    for (port, priority, weight) in [(&nobody, 5, 9), (&second, 30, 999), (&first, 20, 0)] {
        records += &record("_etcd-client", port, priority, weight);
    }
    records += &record("_etcd-client-two", &second, 0, 0);
    let bench = Bench::new(&records);
    let watch = bench.watch(&["--store-srv", DOMAIN]);
    watch.wait_said(&format!(
        "the members of etcd.test are localhost:{nobody}, localhost:{first}, localhost:{second}"
    ));
    bench.wait_live("one");
    let named = ["export", "--store-srv", DOMAIN, "--store-srv-name", "two"];
    assert!(bench.print(&named).contains("/services/web/two/ip"));
}

#[test]
fn members_with_tls_are_never_given_up_for_those_without() {
    let etcd = Etcd::with(Setup {
        pki: Some(Pki::make()),
        ..Setup::default()
    });
    put(&etcd, "a");
    let plain = Etcd::start_new();
    let ca = arg(&etcd.pki().file("ca.pem"));
    let both = record("_etcd-client-ssl", &port_of(&etcd), 0, 1) + &members(&[&plain]);
    let mut bench = Bench::new(&both);
    let export = ["export", "--store-srv", DOMAIN, "--cacert", &ca];
    assert!(bench.print(&export).contains("/services/web/a/ip"));
    // By the authorities of the system it is nobody's; the other member is not asked.
    let output = bench.run(&export[..3]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("certificate"), "{said}");
    bench.answer(&members(&[&plain]));
    let output = bench.run(&export);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(
        said.contains("_etcd-client-ssl._tcp.etcd.test, and without TLS sidekick does not connect"),
        "{said}"
    );
    assert!(bench.run(&export[..3]).status.success());
}

#[test]
fn what_is_not_found_says_what_was_asked_and_of_whom_and_is_found_later() {
    let etcd = Etcd::start_new();
    put(&etcd, "a");
    let mut bench = Bench::new("");
    let list = ["ls", "--store-srv", DOMAIN];
    let failure = |bench: &Bench| {
        let output = bench.run(&list);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        said
    };
    let server = format!("127.0.0.1:{}", bench.port);
    let said = failure(&bench);
    let want = format!(
        "etcd at etcd.test does not answer: {server} has no SRV record of _etcd-client-ssl._tcp.etcd.test, and none of \
         _etcd-client._tcp.etcd.test"
    );
    assert!(said.contains(&want), "{said}");
    assert!(said.contains("SIDEKICK_STORE_SRV"), "{said}");
    bench.dns = None;
    let said = failure(&bench);
    assert!(said.contains("cannot be looked up: "), "{said}");
    assert!(said.contains(&format!("{server}: ")), "{said}");
    // confd.toml names the domain, and the name server comes later.
    bench.write("confd.toml", &format!("srv_domain = '{DOMAIN}'\n"));
    let watch = bench.watch(&[]);
    watch.wait_said("etcd at etcd.test does not answer");
    bench.answer(&members(&[&etcd]));
    bench.wait_live("a");
}
