//! The shipped templates in front of live servers: each request arrives where its host name and path ask for.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use sidekick::model::update::Entries;

use crate::harness::{self, Process, wait_for};
use crate::shipped::{render_with, target};

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
    put("home/a", &[]);
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

fn haproxy(dir: &Path, entries: Entries) -> (u16, Process) {
    let (http, stats) = (harness::free_port(), harness::free_port());
    let (http_bind, stats_bind) = (format!("127.0.0.1:{http}"), format!("127.0.0.1:{stats}"));
    let socket = dir.join("admin.sock").display().to_string();
    let env = [
        ("HAPROXY_HTTP_BIND", http_bind.as_str()),
        ("HAPROXY_STATS_BIND", stats_bind.as_str()),
        ("HAPROXY_SOCKET", socket.as_str()),
    ];
    let file = dir.join("haproxy.cfg");
    fs::write(&file, render_with(&target("haproxy"), entries, &env)).expect("write");
    let mut command = Command::new(harness::tool("haproxy"));
    let process = Process::start(command.arg("-db").arg("-f").arg(&file), &dir.join("log"));
    (http, process)
}

fn nginx(dir: &Path, entries: Entries) -> (u16, Process) {
    let port = harness::free_port();
    let listen = format!("127.0.0.1:{port}");
    let env = [("NGINX_LISTEN", listen.as_str())];
    let fragment = render_with(&target("nginx"), entries, &env);
    let at = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};"));
    let frame = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {}\n{fragment} }}",
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

fn apache(dir: &Path, entries: Entries) -> (u16, Process) {
    let port = harness::free_port();
    let address = format!("127.0.0.1:{port}");
    let env = [("APACHE_VHOST", address.as_str())];
    let rendered = render_with(&target("examples/apache"), entries, &env);
    let at = dir.display();
    let modules = [
        "mpm_event",
        "authz_core",
        "alias",
        "proxy",
        "proxy_http",
        "slotmem_shm",
        "proxy_balancer",
        "lbmethod_byrequests",
    ]
    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let frame = format!(
        "ServerRoot {at}\nUser nobody\nServerName localhost\nDefaultRuntimeDir {at}\nPidFile {at}/pid\nErrorLog {at}/errors\n{}
        Listen {address}\nStartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\n{rendered}",
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

#[test]
fn apache_sends_requests_where_they_belong() {
    let dir = harness::temp_dir();
    let (port, process) = apache(dir.path(), announced());
    check("apache", port, &process);
}

#[test]
fn haproxy_sends_requests_where_they_belong() {
    let dir = harness::temp_dir();
    let (port, process) = haproxy(dir.path(), announced());
    check("haproxy", port, &process);
}

#[test]
fn nginx_sends_requests_where_they_belong() {
    let dir = harness::temp_dir();
    let mut entries = announced();
    let uwsgi = [
        ("ip", "127.0.0.1"),
        ("port", &answer_with("app/a").to_string()),
        ("protocol", "uwsgi"),
        ("vhost", "app.example.org"),
    ]
    .map(|(name, value)| {
        (
            format!("/services/app/a/{name}").into(),
            value.as_bytes().into(),
        )
    });
    entries.extend(uwsgi);
    let (port, process) = nginx(dir.path(), entries);
    check("nginx", port, &process);
    assert_eq!(ask(port, "app.example.org", "/x").as_deref(), Some("app/a"));
}

#[test]
fn without_services_everything_is_503() {
    let dir = harness::temp_dir();
    let (port, process) = haproxy(dir.path(), Entries::new());
    let status = wait_for("haproxy", || ask(port, "a", "/"));
    assert_eq!(status, "503", "{}", process.output());
    let dir = harness::temp_dir();
    let (port, process) = nginx(dir.path(), Entries::new());
    let status = wait_for("nginx", || ask(port, "a", "/"));
    assert_eq!(status, "503", "{}", process.output());
    let dir = harness::temp_dir();
    let (port, process) = apache(dir.path(), Entries::new());
    let status = wait_for("apache", || ask(port, "a", "/"));
    assert_eq!(status, "503", "{}", process.output());
}
