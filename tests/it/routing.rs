//! The shipped templates in front of live servers: each request arrives where its host name and path ask for.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use sidekick::model::key::Entries;

use crate::harness::{self, Process, wait_for};
use crate::shipped::{fixture, render_files, render_with, root, target};

/// A server that answers whatever it is sent, HTTP or uwsgi, with its name.
pub(crate) fn answer_with(name: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let body = name.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = body.clone();
            thread::spawn(move || serve(stream, &body));
        }
    });
    port
}

fn serve(mut stream: TcpStream, body: &str) {
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    // A check of the connection alone sends nothing.
    if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// What `host` and `path` are answered with: the status, and the body if it is 200.
pub(crate) fn ask(port: u16, host: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    Some(if status == "200" { body } else { status }.to_owned())
}

/// Sends these bytes, and reads until the other side closes.
pub(crate) fn send(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Services with live servers, one instance each but where the state of another one counts.
fn announced() -> Entries {
    let mut entries = Entries::new();
    let mut put = |dir: &str, fields: &[(&str, &str)]| {
        let port = answer_with(dir).to_string();
        for (name, value) in [("ip", "127.0.0.1"), ("port", &port)].iter().chain(fields) {
            let key = format!("/services/{dir}/{name}");
            entries.insert(key.into(), value.as_bytes().into());
        }
    };
    put(
        "web/a",
        &[("vhost", "www.example.org"), ("check", "/health")],
    );
    put("web/b", &[("vhost", "www.example.org"), ("state", "drain")]);
    put("web/c", &[("vhost", "www.example.org"), ("state", "maint")]);
    put("api/a", &[("vhost", "www.example.org"), ("path", "/api/")]);
    put(
        "long/a",
        &[("vhost", "www.example.org"), ("path", "/api/long")],
    );
    put("docs/a", &[("path", "/docs")]);
    put(
        "half/a",
        &[("vhost", "half.example.org"), ("path", "/half")],
    );
    put("home/a", &[("path", "/")]);
    // They claim nothing, so they take nothing: neither the default by their names, nor the others' place by what they speak.
    put("aaa/a", &[]);
    put(
        "web/0",
        &[("protocol", "mysql"), ("vhost", "other.example.org")],
    );
    put("docs/0", &[("protocol", "mysql")]);
    entries
}

const TABLE: [(&str, &str, &str); 15] = [
    ("www.example.org", "/", "web/a"),
    ("WWW.Example.ORG:8080", "/", "web/a"),
    ("www.example.org", "/docs", "web/a"),
    ("www.example.org", "/apiary", "web/a"),
    ("www.example.org", "/api", "api/a"),
    ("www.example.org", "/api?x=1", "api/a"),
    ("www.example.org", "/api/x", "api/a"),
    ("www.example.org", "/api/long/x", "long/a"),
    ("other.example.org", "/", "home/a"),
    ("other.example.org", "/docs/x", "docs/a"),
    ("other.example.org", "/api", "home/a"),
    ("half.example.org", "/half/x", "half/a"),
    ("half.example.org", "/docs/x", "docs/a"),
    ("half.example.org", "/", "home/a"),
    ("sub.www.example.org", "/", "home/a"),
];

#[track_caller]
fn check(name: &str, port: u16, process: &Process) {
    wait_for(name, || {
        ask(port, "www.example.org", "/").filter(|body| body == "web/a")
    });
    for (host, path, want) in TABLE {
        // Several times: what drains must get nothing.
        for _ in 0..3 {
            let got = ask(port, host, path);
            assert_eq!(
                got.as_deref(),
                Some(want),
                "{name} {host}{path}\n{}",
                process.output()
            );
        }
    }
}

/// A proxy that was started, and where it listens.
pub(crate) type Started = (u16, Process);
type Start = fn(&Path, Entries) -> Started;

fn haproxy_env(dir: &Path, http: u16) -> [(&'static str, String); 3] {
    [
        ("HAPROXY_HTTP_BIND", format!("127.0.0.1:{http}")),
        (
            "HAPROXY_STATS_BIND",
            format!("127.0.0.1:{}", harness::free_port()),
        ),
        ("HAPROXY_SOCKET", format!("{}/admin.sock", dir.display())),
    ]
}

/// The operator's file, and beside it what is rendered.
pub(crate) fn haproxy(dir: &Path, entries: Entries) -> Started {
    let port = harness::free_port();
    for (name, text) in render_files(&target("haproxy"), entries, &[]) {
        fs::write(dir.join(name), text).expect("write");
    }
    let mut command = Command::new(harness::tool("haproxy"));
    command.envs(haproxy_env(dir, port)).env("SIDEKICK_D", dir);
    command.arg("-db").arg("-f").arg(base("haproxy/base.cfg"));
    let process = Process::start(command.arg("-f").arg(dir), &dir.join("log"));
    (port, process)
}

pub(crate) fn haproxy_single(dir: &Path, entries: Entries) -> Started {
    let port = harness::free_port();
    let env = haproxy_env(dir, port);
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let file = dir.join("haproxy.cfg");
    let text = render_with(&target("examples/haproxy-single"), entries, &env);
    fs::write(&file, text).expect("write");
    let mut command = Command::new(harness::tool("haproxy"));
    let process = Process::start(command.arg("-db").arg("-f").arg(&file), &dir.join("log"));
    (port, process)
}

/// A file of the operator's, as it is shipped.
pub(crate) fn base(name: &str) -> PathBuf {
    root().join("contrib").join(name)
}

/// The same, listening elsewhere.
pub(crate) fn base_at(name: &str, listen: &str, elsewhere: &str) -> String {
    let text = fs::read_to_string(base(name)).expect("a file of contrib");
    assert_eq!(text.matches(listen).count(), 1, "{text}");
    text.replace(listen, elsewhere)
}

fn start_nginx(dir: &Path, port: u16, http: &str) -> Started {
    let at = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};"));
    let frame = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {}\n{http} }}",
        temp.join(" ")
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, frame).expect("write");
    let mut command = Command::new(harness::tool("nginx"));
    let process = Process::start(
        command.args(["-e", "stderr", "-c"]).arg(&file),
        &dir.join("log"),
    );
    (port, process)
}

pub(crate) fn nginx(dir: &Path, entries: Entries) -> Started {
    let port = harness::free_port();
    let site = base_at(
        "nginx/site.conf",
        "listen 80",
        &format!("listen 127.0.0.1:{port}"),
    );
    let rendered = render_with(&target("nginx"), entries, &[]);
    start_nginx(dir, port, &format!("{rendered}\n{site}"))
}

pub(crate) fn nginx_single(dir: &Path, entries: Entries) -> Started {
    let port = harness::free_port();
    let listen = format!("127.0.0.1:{port}");
    let env = [("NGINX_LISTEN", listen.as_str())];
    let single = target("examples/nginx-single");
    start_nginx(dir, port, &render_with(&single, entries, &env))
}

fn start_apache(dir: &Path, port: u16, rendered: &str) -> Started {
    let at = dir.display();
    let lib = harness::modules("apache2");
    let modules = [
        "mpm_event",
        "authz_core",
        "alias",
        "headers",
        "proxy",
        "proxy_http",
        "slotmem_shm",
        "proxy_balancer",
        "lbmethod_byrequests",
        "macro",
        "rewrite",
        "setenvif",
    ]
    .map(|name| format!("LoadModule {name}_module {lib}/mod_{name}.so\n"));
    let frame = format!(
        "ServerRoot {at}\nUser nobody\nServerName localhost\nDefaultRuntimeDir {at}\nPidFile {at}/pid\nErrorLog {at}/errors\n{}
        Listen 127.0.0.1:{port}\nStartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\n{rendered}",
        modules.concat()
    );
    let file = dir.join("apache.conf");
    fs::write(&file, frame).expect("write");
    let mut command = Command::new(harness::tool("apache2"));
    let process = Process::start(
        command.args(["-D", "FOREGROUND", "-f"]).arg(&file),
        &dir.join("log"),
    );
    (port, process)
}

/// The operator's file names services and paths itself.
pub(crate) fn apache(dir: &Path, entries: Entries) -> Started {
    let port = harness::free_port();
    let site = base_at("apache/site.conf", "*:80", &format!("127.0.0.1:{port}"));
    let rendered = render_with(&target("examples/apache"), entries, &[]);
    start_apache(dir, port, &format!("{rendered}\n{site}"))
}

pub(crate) fn apache_single(dir: &Path, entries: Entries) -> Started {
    let port = harness::free_port();
    let address = format!("127.0.0.1:{port}");
    let env = [("APACHE_VHOST", address.as_str())];
    let single = target("examples/apache-single");
    start_apache(dir, port, &render_with(&single, entries, &env))
}

#[test]
fn apache_sends_requests_where_they_belong() {
    let dir = harness::temp_dir();
    let (port, process) = apache_single(dir.path(), announced());
    check("apache", port, &process);
}

#[test]
fn apache_sends_requests_where_its_own_virtual_hosts_say() {
    let dir = harness::temp_dir();
    let (port, process) = apache(dir.path(), announced());
    for (path, want) in [
        ("/", "web/a"),
        ("/apiary", "web/a"),
        ("/api", "api/a"),
        ("/api/x", "api/a"),
    ] {
        let got = wait_for("apache", || ask(port, "www.example.org", path));
        assert_eq!(got, want, "{path}: {}", process.output());
    }
}

#[test]
fn haproxy_sends_requests_where_they_belong() {
    for start in [haproxy as Start, haproxy_single] {
        let dir = harness::temp_dir();
        let (port, process) = start(dir.path(), announced());
        check("haproxy", port, &process);
    }
}

#[test]
fn nginx_sends_requests_where_they_belong() {
    for start in [nginx as Start, nginx_single] {
        let dir = harness::temp_dir();
        let mut entries = announced();
        let uwsgi = [
            ("ip", "127.0.0.1"),
            ("port", &answer_with("app/a").to_string()),
            ("protocol", "uwsgi"),
            ("vhost", "app.example.org"),
        ]
        .map(|(name, value)| {
            let key = format!("/services/app/a/{name}");
            (key.into(), value.as_bytes().into())
        });
        entries.extend(uwsgi);
        let (port, process) = start(dir.path(), entries);
        check("nginx", port, &process);
        assert_eq!(ask(port, "app.example.org", "/x").as_deref(), Some("app/a"));
    }
}

#[test]
fn without_services_everything_is_503() {
    let all: [Start; 5] = [haproxy, haproxy_single, nginx, nginx_single, apache_single];
    for start in all {
        let dir = harness::temp_dir();
        let (port, process) = start(dir.path(), Entries::new());
        let status = wait_for("an answer", || ask(port, "a", "/"));
        assert_eq!(status, "503", "{}", process.output());
    }
}

/// Whatever is announced, the operator's listeners are all there are, and nothing is answered by anybody else.
#[test]
fn what_is_announced_opens_no_port_and_takes_none_away() {
    for start in [haproxy as Start, nginx, apache] {
        let dir = harness::temp_dir();
        let (port, process) = start(dir.path(), Entries::new());
        wait_for("an answer", || ask(port, "a", "/"));
        let count = listeners(&process).len();
        drop(process);
        let dir = harness::temp_dir();
        let (port, process) = start(dir.path(), fixture("hostile"));
        wait_for("an answer", || ask(port, "a", "/"));
        let found = listeners(&process);
        assert!(found.contains(&port), "{found:?} {}", process.output());
        assert_eq!(found.len(), count, "{found:?} {}", process.output());
    }
}

/// The TCP ports that a process listens on, as the kernel has them.
fn listeners(process: &Process) -> BTreeSet<u16> {
    let dir = format!("/proc/{}/fd", process.pid());
    let links = fs::read_dir(dir).expect("its files").flatten();
    let links = links.filter_map(|link| fs::read_link(link.path()).ok());
    let open: BTreeSet<String> = links
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?;
            Some(inode.strip_suffix(']')?.to_owned())
        })
        .collect();
    let mut ports = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(&local), Some(&"0A"), Some(&inode)) =
                (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let port = local.rsplit(':').next().expect("an address");
            if open.contains(inode) {
                ports.insert(u16::from_str_radix(port, 16).expect("a port"));
            }
        }
    }
    ports
}
