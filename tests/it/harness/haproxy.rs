//! An HAProxy of a test's own: a master with a worker, and a socket for each of the two.

use std::path::Path;
use std::process::Command;

use super::{Process, free_port, tool, wait_for};

/// Lines of a target that changes this HAProxy while it runs, and reloads it.
const SOCKETS: &str = "\
[template.haproxy]
socket = 'DIR/admin.sock'
[template.reload]
haproxy_master = 'DIR/master.sock'
";

const TEMPLATE: &str = "\
global
    stats socket DIR/admin.sock level admin
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend f
    bind 127.0.0.1:PORT
FRONTEND    default_backend web
backend web
{%- for i in services.web %}
    server {{ i.id }} {{ i.addr }}SERVER
{%- endfor %}
";

/// A template of the service `web`, with further lines of the frontend and further words of each server.
pub(crate) fn template(dir: &Path, frontend: &str, server: &str) -> String {
    TEMPLATE
        .replace("DIR", &dir.display().to_string())
        .replace("PORT", &free_port().to_string())
        .replace("FRONTEND", frontend)
        .replace("SERVER", server)
}

/// The lines of a target that name the sockets of the HAProxy of this directory.
pub(crate) fn sockets(dir: &Path) -> String {
    SOCKETS.replace("DIR", &dir.display().to_string())
}

/// Starts it with a file that was rendered from [`template`], and waits for its sockets.
pub(crate) fn start(dir: &Path, config: &Path) -> Process {
    let [master, admin] = ["master.sock", "admin.sock"].map(|name| dir.join(name));
    let mut haproxy = Command::new(tool("haproxy"));
    haproxy.args(["-W", "-db", "-S"]).arg(&master);
    haproxy.arg("-f").arg(config);
    let process = Process::start(&mut haproxy, &dir.join("haproxy.log"));
    wait_for("HAProxy's sockets", || {
        (master.exists() && admin.exists()).then_some(())
    });
    process
}
