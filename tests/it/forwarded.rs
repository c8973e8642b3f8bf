//! What servers are told of the client, by each of the shipped set-ups; and the listeners of HAProxy's base file.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use sidekick::model::key::Entries;

use crate::harness::{self, Process, free_port, temp_dir, tool, wait_for};
use crate::routing::{self, ask, base};

/// Lines that a client sends to be taken for somebody else. The first names are read by nobody under any other name.
const FORGED: [&str; 13] = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-For: 6.6.6.7",
    "x-forwarded-for: 6.6.6.8",
    "X-Forwarded-Proto: evil",
    "X-Forwarded-Host: evil.example.org",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Server: evil",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-Ssl: evil",
    "X-Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6;proto=evil",
    "X_Forwarded_For: 6.6.6.6",
    "X_Forwarded_Proto: evil",
];

/// A server that answers with what it was sent.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut request = [0; 16384];
                let Ok(read @ 1..) = stream.read(&mut request) else {
                    return;
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {read}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&request[..read]);
            });
        }
    });
    port
}

/// One service at the root, which answers with what it was sent.
pub(crate) fn announced(protocol: &str) -> Entries {
    let port = echo().to_string();
    let fields = [
        ("ip", "127.0.0.1"),
        ("port", &port),
        ("path", "/"),
        ("protocol", protocol),
    ];
    let key = |(name, value): (&str, &str)| {
        let key = format!("/services/web/a/{name}");
        (key.into(), value.as_bytes().to_vec().into())
    };
    fields.map(key).into()
}

/// What a server is sent when a client sends the forged lines, in small letters.
#[track_caller]
pub(crate) fn forge(name: &str, port: u16) -> String {
    wait_for(name, || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n{}\r\n\r\n",
            FORGED.join("\r\n")
        );
        stream.write_all(request.as_bytes()).ok()?;
        // What uwsgi is sent is no text.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        answer.starts_with("http/1.1 200").then_some(answer)
    })
}

#[test]
fn no_line_about_the_client_that_a_client_sent_reaches_a_server() {
    type Start = fn(&Path, Entries) -> (u16, Process);
    let table: [(&str, &str, Start); 8] = [
        ("haproxy", "http", routing::haproxy),
        ("haproxy-single", "http", routing::haproxy_single),
        ("nginx", "http", routing::nginx),
        ("nginx", "uwsgi", routing::nginx),
        ("nginx-single", "http", routing::nginx_single),
        ("nginx-single", "uwsgi", routing::nginx_single),
        ("apache", "http", routing::apache),
        ("apache-single", "http", routing::apache_single),
    ];
    for (name, protocol, start) in table {
        let dir = temp_dir();
        let (port, _process) = start(dir.path(), announced(protocol));
        let told = forge(name, port);
        for forged in ["evil", "666", "6.6.6"] {
            assert!(!told.contains(forged), "{name} {protocol}: {told}");
        }
        let wanted = match protocol {
            "http" => [
                "x-forwarded-for: 127.0.0.1\r\n",
                "x-forwarded-proto: http\r\n",
            ],
            _ => [
                "http_x_forwarded_for\t\x00127.0.0.1",
                "http_x_forwarded_proto\u{4}\0http",
            ],
        };
        for line in wanted {
            assert_eq!(
                told.matches(line).count(),
                1,
                "{name} {protocol}: {line:?} in {told:?}"
            );
        }
    }
}

/// HAProxy with the base file alone and these words in its environment.
fn haproxy(dir: &Path, env: &[(&str, &str)]) -> (u16, u16, Process) {
    haproxy_by(&tool("haproxy"), dir, env)
}

/// The same by this one of its versions.
pub(crate) fn haproxy_by(program: &Path, dir: &Path, env: &[(&str, &str)]) -> (u16, u16, Process) {
    haproxy_with(program, &base("haproxy/base.cfg"), dir, env)
}

/// The same with a base that has been edited.
fn haproxy_with(
    program: &Path,
    base: &Path,
    dir: &Path,
    env: &[(&str, &str)],
) -> (u16, u16, Process) {
    let (http, stats) = (free_port(), free_port());
    for (name, text) in
        crate::shipped::render_files(&crate::shipped::target("haproxy"), announced("http"), &[])
    {
        fs::write(dir.join(name), text).unwrap();
    }
    let mut command = Command::new(program);
    command
        .env("HAPROXY_HTTP_BIND", format!("127.0.0.1:{http}"))
        .env("HAPROXY_STATS_BIND", format!("127.0.0.1:{stats}"))
        .env("HAPROXY_SOCKET", dir.join("admin.sock"))
        .env("SIDEKICK_D", dir)
        .envs(env.iter().copied());
    command.arg("-db").arg("-f").arg(base).arg("-f").arg(dir);
    let process = Process::start(&mut command, &dir.join("log"));
    (http, stats, process)
}

/// What a proxy in front sends: a client that lied to it, and what it saw itself.
pub(crate) const BY_A_PROXY: &str = "Host: inner\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
     X-Forwarded-Host: www.example.org\r\nX-Forwarded-Port: 443\r\n";

/// What a server has to hear of it.
pub(crate) const BELIEVED: [&str; 4] = [
    "\r\nx-forwarded-for: 192.0.2.7\r\n",
    "\r\nx-forwarded-proto: https\r\n",
    "\r\nx-forwarded-host: www.example.org\r\n",
    "\r\nx-forwarded-port: 443\r\n",
];

/// The second request of the connection as well.
#[test]
fn the_base_believes_the_proxy_that_it_names() {
    let text = fs::read_to_string(base("haproxy/base.cfg")).unwrap();
    let (named, own) = (
        "#   http-request set-var(txn.own_proxy) bool(true) if { src 10.0.0.1 }",
        "http-request set-var(txn.own_proxy) bool(true) if { src 127.0.0.1 }",
    );
    assert!(text.contains(named), "{text}");
    let versions = harness::versions("haproxy").into_iter();
    for program in versions.filter(|program| !crate::shipped::is_before_2_5(program)) {
        let dir = temp_dir();
        let edited = temp_dir();
        let file = edited.path().join("base.cfg");
        fs::write(&file, text.replace(named, own)).unwrap();
        let certs = edited.path().join("certs");
        fs::create_dir(&certs).unwrap();
        certify(&certs.join("site.pem"));
        // With TLS, so that what the proxy calls https is not redirected.
        let (certs, tls) = (certs.display().to_string(), free_port());
        let bind = format!("127.0.0.1:{tls}");
        let env = [
            ("HAPROXY_LOG", "stdout"),
            ("SIDEKICK_CERTS", certs.as_str()),
            ("HAPROXY_HTTPS_BIND", &bind),
        ];
        let (http, _, process) = haproxy_with(&program, &file, dir.path(), &env);
        wait_for("HAProxy", || ask(http, "localhost", "/haproxy-alive"));
        let requests = format!(
            "GET / HTTP/1.1\r\n{BY_A_PROXY}\r\nGET / HTTP/1.1\r\nConnection: close\r\n{BY_A_PROXY}\r\n"
        );
        let told = routing::send(http, requests.as_bytes()).to_lowercase();
        for line in BELIEVED {
            let said = process.output();
            assert_eq!(told.matches(line).count(), 2, "{line:?}: {told} {said}");
        }
        assert!(!told.contains("6.6.6.6"), "{told}");
        wait_for("the log", || {
            let said = process.output();
            (said.matches("\"client\":\"192.0.2.7\"").count() == 2).then_some(())
        });
    }
}

/// Makes a certificate of localhost, with its key in the same file.
pub(crate) fn certify(pem: &Path) {
    let key = pem.with_extension("key");
    let made = Command::new(tool("openssl"))
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout".split(' '))
        .arg(&key)
        .arg("-out")
        .arg(pem)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let both = fs::read_to_string(pem).unwrap() + &fs::read_to_string(&key).unwrap();
    fs::write(pem, both).unwrap();
    fs::remove_file(key).unwrap();
}

pub(crate) fn curl(args: &[&str]) -> String {
    let mut command = Command::new(tool("curl"));
    let output = command
        .args(["-sk", "--max-time", "10", "-i"])
        .args(args)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_base_serves_tls_where_a_directory_of_certificates_is_named() {
    let dir = temp_dir();
    let certs = dir.path().join("certs");
    fs::create_dir(&certs).unwrap();
    certify(&certs.join("site.pem"));

    let (tls, certs) = (free_port(), certs.display().to_string());
    let bind = format!("127.0.0.1:{tls}");
    let env = [
        ("SIDEKICK_CERTS", certs.as_str()),
        ("HAPROXY_HTTPS_BIND", &bind),
    ];
    let (http, _, process) = haproxy(dir.path(), &env);
    let url = format!("https://127.0.0.1:{tls}/");
    let answer = wait_for("an answer by TLS", || {
        Some(curl(&["-H", "X-Forwarded-Proto: evil", &url])).filter(|text| text.contains("200"))
    });
    assert!(
        answer.starts_with("HTTP/2 200"),
        "{answer} {}",
        process.output()
    );
    assert!(answer.contains("x-forwarded-proto: https\r\n"), "{answer}");
    assert!(!answer.contains("evil"), "{answer}");
    let old = curl(&["--tls-max", "1.1", &url]);
    assert_eq!(old, "", "no TLS older than 1.2");

    let plain = curl(&[
        "-H",
        "Host: www.example.org",
        &format!("http://127.0.0.1:{http}/a?b"),
    ]);
    assert!(plain.starts_with("HTTP/1.1 301"), "{plain}");
    assert!(
        plain.contains("location: https://www.example.org/a?b\r\n"),
        "{plain}"
    );
    let alive = curl(&[&format!("http://127.0.0.1:{http}/haproxy-alive")]);
    assert!(alive.contains("200 OK"), "{alive}");
}

#[test]
fn the_base_tells_monitors_and_the_log() {
    let dir = temp_dir();
    let log = UnixDatagram::bind(dir.path().join("syslog")).unwrap();
    log.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let at = dir.path().join("syslog").display().to_string();
    let env = [("HAPROXY_LOG", at.as_str()), ("HAPROXY_CHROOT", "no")];
    // HAProxy's workers are another user.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(dir.path().join("syslog"), everybody).unwrap();
    fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let (http, stats, process) = haproxy(dir.path(), &env);
    let alive = wait_for("HAProxy", || {
        Some(ask(http, "localhost", "/haproxy-alive")?).filter(|body| body.contains("200"))
    });
    assert!(alive.contains("200"), "{alive}");
    let metrics = curl(&[&format!("http://127.0.0.1:{stats}/metrics")]);
    assert!(
        metrics.contains("\nhaproxy_backend_status"),
        "{metrics} {}",
        process.output()
    );
    let page = curl(&[&format!("http://127.0.0.1:{stats}/")]);
    assert!(page.contains("Statistics Report"), "{page}");

    let missing = ask(http, "localhost", "/nothing").unwrap();
    assert!(
        missing.contains("GET /nothing"),
        "the service answers: {missing}"
    );
    let mut seen = String::new();
    while !seen.contains(r#""method":"GET","scheme":"http","host":"localhost","path":"\/nothing""#)
    {
        let mut line = [0; 4096];
        let read = log
            .recv(&mut line)
            .unwrap_or_else(|error| panic!("{error}: {seen}"));
        seen.push_str(&String::from_utf8_lossy(&line[..read]));
    }
    // Facility local0 and severity info, as Debian's snippets for rsyslog expect of the program haproxy.
    assert!(
        seen.contains("<134>") && seen.contains(" haproxy["),
        "{seen}"
    );
}

/// All that Debian's own file has is in the base, so that what Debian's package brings beside it goes on working.
#[test]
fn the_base_has_what_debian_has() {
    let Ok(debian) = fs::read_to_string("/etc/haproxy/haproxy.cfg") else {
        return harness::skipped("HAProxy is not installed from Debian's package");
    };
    let base = fs::read_to_string(base("haproxy/base.cfg")).unwrap();
    let first = |text: &str, count: usize| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '.']));
        let words = |line: &str| {
            line.split_whitespace()
                .take(count)
                .collect::<Vec<_>>()
                .join(" ")
        };
        lines.map(words).collect()
    };
    let has = [first(&base, 1), first(&base, 2)].concat();
    for line in first(&debian, 2) {
        // In its place there is a log-format.
        if line == "option httplog" {
            continue;
        }
        let (keyword, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let is_exact = ["option", "timeout", "errorfile", "stats", "mode"].contains(&keyword);
        let wanted = if is_exact {
            format!("{keyword} {argument}")
        } else {
            keyword.to_owned()
        };
        assert!(
            has.contains(&wanted),
            "{line:?} of Debian's file is not in the base"
        );
    }
}
