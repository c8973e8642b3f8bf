//! The store: an etcd of one node or three, which can be killed and started again. Shell.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Process, free_port, tool, wait_for};

/// The nodes of one etcd cluster.
pub(crate) struct Etcd {
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    dir: PathBuf,
    client: u16,
    args: Vec<String>,
    process: Option<Process>,
}

impl Etcd {
    /// Starts so many nodes; `also` is a further address at which clients reach them.
    pub(crate) fn start(count: usize, dir: &Path, also: Option<Ipv4Addr>) -> Self {
        let peers: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let members = peers.iter().enumerate();
        let members: Vec<String> = members
            .map(|(n, port)| format!("n{n}=http://127.0.0.1:{port}"))
            .collect();
        let members = members.join(",");
        let node = |(n, peer): (usize, &u16)| {
            let (name, client) = (format!("n{n}"), free_port());
            let own = format!("http://127.0.0.1:{client}");
            let listen = also.map_or(own.clone(), |also| format!("{own},http://{also}:{client}"));
            let peer = format!("http://127.0.0.1:{peer}");
            let data = dir.join(format!("etcd-{n}")).display().to_string();
            let pairs = [
                ("--name", name.as_str()),
                ("--data-dir", data.as_str()),
                ("--listen-client-urls", listen.as_str()),
                ("--advertise-client-urls", own.as_str()),
                ("--listen-peer-urls", peer.as_str()),
                ("--initial-advertise-peer-urls", peer.as_str()),
                ("--initial-cluster", members.as_str()),
                ("--log-outputs", "stderr"),
            ];
            let args = pairs.iter().flat_map(|(name, value)| [*name, *value]);
            Node {
                args: args.map(str::to_owned).collect(),
                name,
                dir: dir.to_owned(),
                client,
                process: None,
            }
        };
        let nodes = peers.iter().enumerate().map(node).collect();
        let mut etcd = Self { nodes };
        etcd.revive();
        etcd
    }

    /// Its URL, with this address of the host.
    pub(crate) fn url(&self, host: Ipv4Addr) -> String {
        let nodes = self
            .nodes
            .iter()
            .map(|node| format!("{host}:{}", node.client));
        format!("etcd://{}", nodes.collect::<Vec<_>>().join(","))
    }

    /// The address of the first node, `http://host:port`.
    pub(crate) fn first(&self) -> String {
        format!("http://127.0.0.1:{}", self.nodes[0].client)
    }

    /// Kills the leader with SIGKILL.
    pub(crate) fn kill_leader(&mut self) {
        let leads = |node: &Node| {
            let answer = node.etcdctl(&["endpoint", "status", "-w", "json"])?;
            let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
            let status = &answer[0]["Status"];
            Some(status["leader"] == status["header"]["member_id"])
        };
        let leader = wait_for("a leader of etcd", || {
            self.nodes.iter().position(|node| leads(node) == Some(true))
        });
        self.nodes[leader].process = None;
    }

    /// Kills all nodes with SIGKILL.
    pub(crate) fn kill(&mut self) {
        for node in &mut self.nodes {
            node.process = None;
        }
    }

    /// Starts the nodes that do not run; they keep their data.
    pub(crate) fn revive(&mut self) {
        for node in &mut self.nodes {
            node.launch();
        }
        for node in &self.nodes {
            wait_for("etcd to answer", || node.etcdctl(&["get", "none"]));
        }
    }
}

impl Node {
    fn launch(&mut self) {
        if self.process.is_none() {
            let log = self.dir.join(format!("{}.log", self.name));
            let mut command = Command::new(tool("etcd"));
            self.process = Some(Process::start(command.args(&self.args), &log));
        }
    }

    /// The output of `etcdctl`, if it succeeds.
    fn etcdctl(&self, args: &[&str]) -> Option<String> {
        let endpoint = format!("127.0.0.1:{}", self.client);
        let output = Command::new(tool("etcdctl"))
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoint])
            .args(args)
            .output()
            .expect("run etcdctl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }
}
