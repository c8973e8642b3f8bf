//! Real etcd servers: one node or three, which can be stopped, killed, paused, wiped and started again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sidekick::model::store_url::{EtcdOptions, Password, TlsFiles};
use tempfile::TempDir;

use super::command::run;
use super::pki::Pki;
use super::{Process, free_port, temp_dir, tool, wait_for};

/// What a server prints when it takes requests.
const READY: &str = "ready to serve client requests";
/// What it prints when somebody else took its port between our look and its start.
const TAKEN: &str = "address already in use";

/// One server.
pub(crate) struct Etcd {
    name: String,
    dir: TempDir,
    client_port: u16,
    peer_port: u16,
    /// What the ports are not part of.
    extra: Vec<String>,
    /// `name=url` of every member.
    members: String,
    process: Option<Process>,
    starts: usize,
    pki: Option<Pki>,
    user: Option<(String, String)>,
}

/// How a test wants its server to be.
#[derive(Default)]
pub(crate) struct Setup {
    /// Further arguments.
    pub(crate) args: Vec<String>,
    /// Certificates; the server speaks TLS.
    pub(crate) pki: Option<Pki>,
    /// Whether it asks clients for a certificate.
    pub(crate) client_certs: bool,
}

impl Etcd {
    /// A new and empty server that answers.
    pub(crate) fn start_new() -> Self {
        Self::with(Setup::default())
    }

    /// The same, not quite as usual.
    pub(crate) fn with(setup: Setup) -> Self {
        let mut etcd = Self::idle("one", setup);
        loop {
            etcd.members = etcd.member();
            etcd.launch();
            if etcd.comes_up() {
                return etcd;
            }
            etcd.move_away();
        }
    }

    fn idle(name: &str, setup: Setup) -> Self {
        let mut extra = setup.args;
        if let Some(pki) = &setup.pki {
            extra.extend(pki.server_args(setup.client_certs));
        }
        Self {
            name: name.to_owned(),
            dir: temp_dir(),
            client_port: free_port(),
            peer_port: free_port(),
            extra,
            members: String::new(),
            process: None,
            starts: 0,
            pki: setup.pki,
            user: None,
        }
    }

    fn member(&self) -> String {
        format!("{}=http://127.0.0.1:{}", self.name, self.peer_port)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join(format!("log-{}", self.starts))
    }

    fn launch(&mut self) {
        self.starts += 1;
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://127.0.0.1:{}", self.client_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let mut command = Command::new(tool("etcd"));
        command
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.members])
            .args(["--log-outputs", "stderr"])
            .args(&self.extra);
        self.process = Some(Process::start(&mut command, &self.log()));
    }

    /// Waits until the server answers; false if a port of its was taken.
    fn comes_up(&mut self) -> bool {
        let process = self.process.as_mut().expect("it was launched");
        wait_for("etcd to answer", || {
            let output = process.output();
            if output.contains(READY) {
                return Some(true);
            }
            let status = process.ended()?;
            assert!(output.contains(TAKEN), "etcd ended with {status}: {output}");
            Some(false)
        })
    }

    fn move_away(&mut self) {
        self.process = None;
        self.client_port = free_port();
        self.peer_port = free_port();
        self.remove_data();
    }

    fn remove_data(&self) {
        let data = self.data();
        if data.exists() {
            std::fs::remove_dir_all(data).expect("remove the data of an etcd");
        }
    }

    /// `host:port` for clients.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// What `--store` calls it.
    pub(crate) fn url(&self) -> String {
        format!("etcd://{}", self.endpoint())
    }

    /// What a client needs to know.
    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: vec![self.endpoint()],
            tls: self.pki.as_ref().map(|pki| TlsFiles {
                cacert: Some(pki.file("ca.pem")),
                identity: None,
            }),
            auth: self
                .user
                .clone()
                .map(|(user, password)| (user, Password::Given(password))),
        }
    }

    /// Its certificates.
    pub(crate) fn pki(&self) -> &Pki {
        self.pki.as_ref().expect("the server speaks TLS")
    }

    /// From now on, `etcdctl` and [`Etcd::options`] name this user.
    pub(crate) fn log_in(&mut self, user: &str, password: &str) {
        self.user = Some((user.to_owned(), password.to_owned()));
    }

    /// Runs `etcdctl`, which must succeed; the answer is what it printed.
    pub(crate) fn etcdctl(&self, args: &[impl AsRef<OsStr>]) -> String {
        self.etcdctl_with(args, b"")
    }

    /// The same, with something to read.
    pub(crate) fn etcdctl_with(&self, args: &[impl AsRef<OsStr>], input: &[u8]) -> String {
        let mut command = Command::new(tool("etcdctl"));
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(args);
        if let Some(pki) = &self.pki {
            command.args(pki.client_args());
        }
        if let Some((user, password)) = &self.user {
            command.args(["--user", &format!("{user}:{password}")]);
        }
        run(&mut command, input)
    }

    /// Keys and values under a prefix, if all of them are of one line; without those that hold the time at which an instance
    /// was announced.
    pub(crate) fn keys(&self, prefix: &str) -> BTreeMap<String, String> {
        let out = self.etcdctl(&["get", "--prefix", prefix]);
        let lines: Vec<&str> = out.lines().collect();
        let pair = |pair: &[&str]| (pair[0].to_owned(), pair[1].to_owned());
        let pairs = lines.chunks(2).map(pair);
        pairs
            .filter(|(key, _)| !key.ends_with("/announced_at"))
            .collect()
    }

    /// Puts an instance, in one transaction.
    pub(crate) fn put_instance(&self, service: &str, id: &str, ip: &str, port: u16) {
        let at = format!("/services/{service}/{id}");
        let txn = format!("\nput {at}/ip {ip}\nput {at}/port {port}\n\n\n");
        self.etcdctl_with(&["txn"], txn.as_bytes());
    }

    /// The revision of the store.
    pub(crate) fn revision(&self) -> u64 {
        let answer = self.etcdctl(&["get", "none", "-w", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("etcdctl prints JSON");
        answer["header"]["revision"].as_u64().expect("a revision")
    }

    /// A number of its own metrics, by its name with all labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(self.endpoint()).ok()?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Whether it is the leader of its cluster.
    pub(crate) fn leads(&self) -> bool {
        let answer = self.etcdctl(&["endpoint", "status", "-w", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("etcdctl prints JSON");
        let status = &answer[0]["Status"];
        status["leader"] == status["header"]["member_id"]
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::SIGTERM);
        process.wait();
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again with what it had, and waits until it answers.
    pub(crate) fn start(&mut self) {
        wait_for("the ports of an etcd to be free again", || {
            self.launch();
            self.comes_up().then_some(())
        });
    }

    /// Ends it, forgets everything, and starts it again at the same place.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        self.remove_data();
        self.start();
    }

    /// Holds it, with its connections open.
    pub(crate) fn pause(&self) {
        let process = self.process.as_ref().expect("it runs");
        process.signal(Signal::SIGSTOP);
        // The signal is sent, and its threads stop one by one.
        wait_for("every thread to stop", || {
            threads(process.pid())
                .all(|state| state == "T")
                .then_some(())
        });
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        let process = self.process.as_ref().expect("it runs");
        process.signal(Signal::SIGCONT);
    }
}

/// Three servers that are one store.
pub(crate) struct Cluster {
    /// The members.
    pub(crate) nodes: Vec<Etcd>,
}

impl Cluster {
    /// A new and empty cluster that answers.
    pub(crate) fn start_new() -> Self {
        loop {
            let names = ["one", "two", "three"];
            let nodes = names.map(|name| Etcd::idle(name, Setup::default()));
            let mut nodes = Vec::from(nodes);
            let members: Vec<String> = nodes.iter().map(Etcd::member).collect();
            for node in &mut nodes {
                node.members = members.join(",");
                node.launch();
            }
            if nodes.iter_mut().all(Etcd::comes_up) {
                return Self { nodes };
            }
        }
    }

    /// What a client needs to know; the first node is the first endpoint.
    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: self.nodes.iter().map(Etcd::endpoint).collect(),
            tls: None,
            auth: None,
        }
    }

    /// Which node leads.
    pub(crate) fn leader(&self) -> usize {
        wait_for("a leader", || self.nodes.iter().position(Etcd::leads))
    }
}

/// The states of the threads of a process, as `ps` shows them.
fn threads(pid: Pid) -> impl Iterator<Item = String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("list threads");
    tasks.flatten().map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The name before the state may hold anything, and ends with the last parenthesis.
        let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
        let state = rest.split_whitespace().next().unwrap_or_default();
        state.to_owned()
    })
}
