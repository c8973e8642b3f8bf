//! A machine that can die: a network namespace with its own addresses, connected to the host by a pair of interfaces. Shell.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::tool;

/// The host's address, at which the machine finds etcd. The network is reserved for benchmarks (RFC 2544).
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 1);
/// The addresses of the machine, one for each of its instances.
pub(crate) const THERE: [Ipv4Addr; 2] =
    [Ipv4Addr::new(198, 18, 77, 2), Ipv4Addr::new(198, 18, 77, 3)];
/// The name of the interface within the namespace.
const INSIDE: &str = "eth0";
const FILE: &str = "namespace";

/// A network namespace, which [`remove`] takes away.
pub(crate) struct Machine {
    name: String,
}

impl Machine {
    /// Creates the machine; the error says why this is not possible.
    pub(crate) fn make(dir: &Path) -> Result<Self, String> {
        // The name of an interface has 15 characters at most.
        let name = format!("hl{}", std::process::id());
        ip(&["netns", "add", &name])?;
        std::fs::write(dir.join(FILE), &name).map_err(|error| error.to_string())?;
        let machine = Self { name };
        let (name, ns) = (machine.name.as_str(), ["-n", machine.name.as_str()]);
        ip(&[
            "link", "add", name, "type", "veth", "peer", "name", INSIDE, "netns", name,
        ])?;
        ip(&["addr", "add", &format!("{HERE}/24"), "dev", name])?;
        ip(&["link", "set", name, "up"])?;
        ip(&[&ns[..], &["link", "set", "lo", "up"]].concat())?;
        ip(&[&ns[..], &["link", "set", INSIDE, "up"]].concat())?;
        machine.join()?;
        Ok(machine)
    }

    /// Gives the machine its addresses, at its start and after its death.
    pub(crate) fn join(&self) -> Result<(), String> {
        let link = ip(&["-n", &self.name, "-o", "link", "show", INSIDE])?;
        let mac = link
            .split_whitespace()
            .skip_while(|word| *word != "link/ether")
            .nth(1);
        let mac = mac.ok_or("an interface without an address")?;
        for address in THERE {
            let net = format!("{address}/24");
            ip(&["-n", &self.name, "addr", "add", &net, "dev", INSIDE])?;
            // The host's neighbour entry is permanent, so that it sends packets to the dead machine, as it would to a router.
            let address = address.to_string();
            ip(&[
                "neigh",
                "replace",
                &address,
                "lladdr",
                mac,
                "dev",
                &self.name,
                "nud",
                "permanent",
            ])?;
        }
        Ok(())
    }

    /// The command, to run on the machine.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new(tool("ip"));
        inside.args(["netns", "exec", &self.name]);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Ends the machine like a power failure: it sends no packet any more, and all its processes are killed.
    pub(crate) fn die(&self) {
        ip(&["-n", &self.name, "addr", "flush", "dev", INSIDE]).expect("take the addresses away");
        for pid in ip(&["netns", "pids", &self.name])
            .expect("ask who runs there")
            .lines()
        {
            let pid = Pid::from_raw(pid.trim().parse().expect("a pid"));
            // The process may have ended with another one.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Removes the machine of a run and its interfaces, if there is one.
pub(crate) fn remove(dir: &Path) {
    if let Ok(name) = std::fs::read_to_string(dir.join(FILE)) {
        // The host's interface is removed first, since the namespace lives on while a dying process has a socket.
        let _ = ip(&["link", "del", &name]);
        let _ = ip(&["netns", "del", &name]);
    }
}

fn ip(args: &[&str]) -> Result<String, String> {
    let output = Command::new(tool("ip")).args(args).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("ip {}: {}", args.join(" "), said.trim()))
    }
}
