//! The stage of the scenes: a store, two proxies, and web servers that are started, stopped and killed. Shell.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::etcd::Etcd;
use crate::harness::{Process, free_port, sidekick, wait_for};
use crate::load::Load;
use crate::machine::{self, Machine};
use crate::packets::Packets;
use crate::proxy::Proxy;
use crate::variant::Variant;

/// How many proxies there are.
pub(crate) const PROXIES: usize = 2;
/// The shortest TTL of a lease.
pub(crate) const TTL: &str = "2s";

/// All processes of a scene.
pub(crate) struct Stage<'a> {
    dir: PathBuf,
    rate: u32,
    /// The port for requests, at each server's own address.
    service: u16,
    /// The port for health checks.
    health: u16,
    /// The store.
    pub(crate) etcd: Etcd,
    /// The machine that can die; `None` without root.
    pub(crate) machine: Option<&'a Machine>,
    /// The capture of packets; `None` without root.
    pub(crate) packets: Option<Packets>,
    /// How long a server takes from its start until it listens.
    pub(crate) boot: Duration,
    /// How often the servers of this host have changed their addresses.
    pub(crate) moved: u8,
    proxies: Vec<Proxy>,
    instances: BTreeMap<String, Instance>,
}

struct Instance {
    ip: Ipv4Addr,
    /// `sidekick register`, with the server as its child.
    process: Process,
}

impl<'a> Stage<'a> {
    /// Starts the store and the proxies, and no server.
    pub(crate) fn new(
        variant: Variant,
        nodes: usize,
        machine: Option<&'a Machine>,
        dir: PathBuf,
        rate: u32,
    ) -> Self {
        fs::create_dir_all(&dir).expect("make a directory");
        let (service, health) = (free_port(), free_port());
        let etcd = Etcd::start(nodes, &dir, machine.map(|_| machine::HERE));
        let (url, node) = (etcd.url(Ipv4Addr::LOCALHOST), etcd.first());
        let proxy = |n| Proxy::start(variant, dir.join(format!("proxy-{n}")), health, &url, &node);
        let proxies = (0..PROXIES).map(proxy).collect();
        Self {
            rate,
            service,
            health,
            etcd,
            machine,
            packets: Packets::watch(service).ok(),
            boot: Duration::ZERO,
            moved: 0,
            proxies,
            instances: BTreeMap::new(),
            dir,
        }
    }

    /// Starts the load.
    pub(crate) fn load(&self) -> Load {
        let ports: Vec<u16> = self.proxies.iter().map(|proxy| proxy.port).collect();
        Load::start(&ports, self.rate)
    }

    /// The number of reloads of both proxies so far.
    pub(crate) fn reloads(&self) -> usize {
        self.proxies.iter().map(Proxy::reloads).sum()
    }

    /// Starts an instance on this host, or on the machine if `number` is 100 or more. The number determines its name and
    /// address. Returns the time of the start.
    pub(crate) fn start(&mut self, number: u8) -> Instant {
        let id = id(number);
        let there = number.checked_sub(100).zip(self.machine);
        let ip = there.map_or(Ipv4Addr::new(127, 44, self.moved, number), |(n, _)| {
            machine::THERE[usize::from(n)]
        });
        let store = self
            .etcd
            .url(there.map_or(Ipv4Addr::LOCALHOST, |_| machine::HERE));
        let this = std::env::current_exe().expect("the path of this program");
        let mut command = sidekick();
        command.args([
            "register", "--store", &store, "--name", "web", "--id", &id, "--attr", "path=/",
        ]);
        command.args(["--ip", &ip.to_string(), "--port", &self.service.to_string()]);
        command.args([
            "--ttl",
            TTL,
            "--check",
            &format!("http://:{}/health", self.health),
        ]);
        command.args(["--check-interval", "200ms", "--rise", "1", "--"]);
        command
            .arg(this)
            .args(["serve", "--id", &id, "--ip", &ip.to_string()]);
        command.args(["--boot", &self.boot.as_millis().to_string()]);
        command.args(["--port", &self.service.to_string()]);
        command.args(["--health", &self.health.to_string(), "--pid"]);
        command.arg(self.pid_file(number));
        // The server writes this file when it starts.
        let _ = fs::remove_file(self.pid_file(number));
        if let Some((_, machine)) = there {
            command = machine.command(&command);
        }
        let log = self.dir.join(format!("{id}.log"));
        let when = Instant::now();
        let process = Process::start(&mut command, &log);
        self.instances.insert(id, Instance { ip, process });
        when
    }

    /// Starts instances, and waits until each has answered a request.
    pub(crate) fn start_and_wait(&mut self, numbers: impl IntoIterator<Item = u8>, load: &Load) {
        let started: Vec<(u8, Instant)> = numbers
            .into_iter()
            .map(|number| (number, self.start(number)))
            .collect();
        for (number, since) in started {
            wait_for_answer(number, since, load);
        }
    }

    /// Stops instances with SIGTERM, all at a time, and waits for their end.
    pub(crate) fn stop(&mut self, numbers: impl IntoIterator<Item = u8>) {
        let numbers: Vec<u8> = numbers.into_iter().collect();
        for number in &numbers {
            self.instances[&id(*number)].process.signal(Signal::SIGTERM);
        }
        for number in &numbers {
            let mut instance = self.instances.remove(&id(*number)).expect("it runs");
            instance.process.wait();
        }
    }

    /// Kills the server alone: its sidekick notices it and withdraws the instance.
    pub(crate) fn kill_server(&self, number: u8) {
        let pid = wait_for("the pid of a server", || {
            fs::read_to_string(self.pid_file(number)).ok()?.parse().ok()
        });
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill a server");
    }

    /// Kills an instance, its sidekick first, so that nothing withdraws it.
    pub(crate) fn kill_instance(&self, number: u8) {
        self.instances[&id(number)].process.signal(Signal::SIGKILL);
        self.kill_server(number);
    }

    /// Forgets an instance that was killed.
    pub(crate) fn forget(&mut self, number: u8) {
        self.instances.remove(&id(number));
    }

    /// The address of an instance.
    pub(crate) fn ip(&self, number: u8) -> Ipv4Addr {
        self.instances[&id(number)].ip
    }

    /// Waits until the file of each proxy has exactly the servers that run.
    pub(crate) fn wait_until_settled(&self) {
        wait_for("the files to name those that run", || {
            let right = |proxy: &Proxy| {
                let file = proxy.file();
                let named = file.matches(&format!(":{} ", self.service)).count();
                let mut ips = self.instances.values().map(|instance| instance.ip);
                named == self.instances.len()
                    && ips.all(|ip| file.contains(&format!(" {ip}:{} ", self.service)))
            };
            self.proxies.iter().all(right).then_some(())
        });
    }
}

impl Stage<'_> {
    fn pid_file(&self, number: u8) -> PathBuf {
        self.dir.join(format!("{}.pid", id(number)))
    }
}

/// The name of an instance.
pub(crate) fn id(number: u8) -> String {
    format!("i{number:03}")
}

/// Waits until an instance has answered a request, and returns the time of the answer.
pub(crate) fn wait_for_answer(number: u8, since: Instant, load: &Load) -> Instant {
    wait_for(&format!("an answer from {}", id(number)), || {
        load.first_answer(&id(number), since)
    })
}
