//! A proxy (HAProxy or nginx) and the program that keeps its file up to date (`sidekick watch` or confd). Shell.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::files;
use crate::harness::{Process, free_port, sidekick, tool, wait_for};
use crate::variant::{Kind, Method, Variant};

/// A running proxy.
pub(crate) struct Proxy {
    variant: Variant,
    /// Its own directory.
    dir: PathBuf,
    /// The port at 127.0.0.1 for requests.
    pub(crate) port: u16,
    _process: Process,
    /// The program that keeps its file up to date.
    _watch: Process,
}

impl Proxy {
    /// Starts a proxy without servers, then the program that keeps its file up to date.
    pub(crate) fn start(
        variant: Variant,
        dir: PathBuf,
        health: u16,
        store: &str,
        node: &str,
    ) -> Self {
        let port = free_port();
        for name in ["live", "conf/conf.d", "conf/templates"] {
            fs::create_dir_all(dir.join(name)).expect("make the directories of a proxy");
        }
        for (name, text) in files::all(variant, &dir, port, health) {
            fs::write(dir.join(name), text).expect("write a file of a proxy");
        }
        let process = Process::start(
            &mut proxy_command(variant.kind, &dir),
            &dir.join("proxy.log"),
        );
        wait_for("the proxy to listen", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        let mut command = match variant.method {
            Method::Runtime | Method::Reload => {
                let mut command = sidekick();
                command.args(["watch", "--store", store, "--conf-dir"]);
                command
                    .arg(dir.join("conf"))
                    .arg("--state-dir")
                    .arg(dir.join("state"));
                command
            }
            Method::Confd => {
                let mut command = Command::new(tool("confd"));
                command.args(["-watch", "-backend", "etcdv3", "-node", node, "-confdir"]);
                command.arg(dir.join("conf"));
                command
            }
        };
        let watch = Process::start(&mut command, &dir.join("watch.log"));
        Self {
            variant,
            dir,
            port,
            _process: process,
            _watch: watch,
        }
    }

    /// The text of the rendered file.
    pub(crate) fn file(&self) -> String {
        fs::read_to_string(self.dir.join(files::live(self.variant.kind))).unwrap_or_default()
    }

    /// How many reloads the proxy has made.
    pub(crate) fn reloads(&self) -> usize {
        match self.variant.kind {
            Kind::Haproxy => wait_for("HAProxy's master to answer", || {
                reloads_of(&ask(&self.dir.join("master.sock"), "show proc").ok()?)
            }),
            Kind::Nginx => {
                let log = fs::read_to_string(self.dir.join("error.log")).unwrap_or_default();
                log.matches(", reconfiguring").count()
            }
        }
    }
}

fn proxy_command(kind: Kind, dir: &Path) -> Command {
    let mut command = Command::new(tool(kind.program()));
    match kind {
        Kind::Haproxy => {
            command
                .args(["-W", "-db", "-S"])
                .arg(dir.join("master.sock"));
            command.arg("-p").arg(dir.join("pid"));
            // The base configuration, and the directory of the rendered file.
            command.arg("-f").arg(dir.join("base.cfg"));
            command.arg("-f").arg(dir.join("live"));
        }
        Kind::Nginx => {
            command
                .args(["-e", "stderr", "-c"])
                .arg(dir.join("nginx.conf"));
        }
    }
    command
}

/// Sends a command to a socket of HAProxy and returns the answer.
fn ask(socket: &Path, question: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{question}")?;
    // The master closes the connection only after the client has closed its half.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The number of reloads in an answer to `show proc`.
fn reloads_of(answer: &str) -> Option<usize> {
    let mut words = answer.lines().map(str::split_whitespace);
    let mut master = words.find(|line| line.clone().nth(1) == Some("master"))?;
    master.nth(2)?.parse().ok()
}
