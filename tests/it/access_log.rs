//! The access logs of the shipped bases: one JSON object a line, with the same fields whichever proxy writes it. The table of
//! `docs/proxies.md` has them.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::forwarded::{certify, haproxy_by};
use crate::harness::{self, free_port, temp_dir, wait_for};
use crate::routing::{ask, send};
use crate::shipped::{is_before_2_5, root};

/// What clients send, by mistake or to break the log. Each is answered, and is one line.
const REQUESTS: [&[u8]; 6] = [
    b"GET /a\"b\\c?d=\"e\" HTTP/1.1\r\nHost: WWW.example.org:77\r\nUser-Agent: \"quoted\" \\ agent\r\nConnection: close\r\n\r\n",
    b"GET /\xff\"x HTTP/1.1\r\nHost: b\xffd\"\r\nUser-Agent: caf\xc3\"\tx\r\nConnection: close\r\n\r\n",
    b"GET /x?y\xff HTTP/1.1\r\nHost: b\r\nUser-Agent: caf\xc3\"x\r\nConnection: close\r\n\r\n",
    b"GET /old\r\n",
    b"\x16\x03\x01\"\\nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: /\"\r\nConnection: close\r\n\r\n",
];

/// The fields of which every line has the same kind of value, in every log.
const NUMBERS: [&str; 3] = ["status", "bytes", "took_ms"];

/// The fields that the table says the log of `program` has.
fn documented(program: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/proxies.md")).unwrap();
    let (_, text) = text.split_once("\n## The access log\n").expect("a chapter");
    let rows = text.lines().skip_while(|line| !line.starts_with("| --- |"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let mut fields = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = cells[1].split('`').skip(1).step_by(2);
        let is_its = cells[2] == "all" || cells[2].to_lowercase().contains(program);
        fields.extend(names.filter(|_| is_its).map(str::to_owned));
    }
    fields
}

pub(crate) fn lines(log: &[u8]) -> Vec<Vec<u8>> {
    let lines = log.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).collect()
}

#[track_caller]
pub(crate) fn parsed(lines: &[Vec<u8>]) -> Vec<Value> {
    let parse = |line: &Vec<u8>| {
        let shown = String::from_utf8_lossy(line);
        serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {shown}"))
    };
    lines.iter().map(parse).collect()
}

/// Makes the requests, one after the other, and returns a line for each.
pub(crate) fn play(port: u16, log: impl Fn() -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let before = log().len();
    for (made, request) in REQUESTS.iter().enumerate() {
        send(port, request);
        wait_for("the log", || (log().len() > before + made).then_some(()));
    }
    log().split_off(before)
}

/// What the lines of [`REQUESTS`] say, all of which is documented.
#[track_caller]
pub(crate) fn check(program: &str, lines: &[Vec<u8>]) -> Vec<Value> {
    let lines = parsed(lines);
    let program = program.trim_end_matches('2');
    let mut seen = BTreeSet::new();
    for line in &lines {
        for (name, value) in line.as_object().expect("an object") {
            let is_number = NUMBERS.contains(&name.as_str());
            assert!(!is_number || value.is_i64(), "{name}: {line}");
            seen.insert(name.clone());
        }
        for name in documented("no program") {
            assert!(line.get(&name).is_some(), "{name} is missing: {line}");
        }
        let time = line["time"].as_str().unwrap();
        let (date, clock) = time.split_once('T').expect(time);
        assert_eq!(date.len(), 10, "{time}");
        assert_eq!(clock.as_bytes()[5], b':', "{time}");
    }
    assert_eq!(seen, documented(program));
    let first = &lines[0];
    for (field, want) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("scheme", "http"),
        ("host", "www.example.org"),
        ("path", "/a\"b\\c"),
        ("query", "d=\"e\""),
        ("protocol", "HTTP/1.1"),
        ("tls", "-"),
        ("agent", "\"quoted\" \\ agent"),
    ] {
        assert_eq!(first[field], want, "{first}");
    }
    assert_eq!(first["status"], 200, "{first}");
    assert!(first["bytes"].as_u64().unwrap() > 100, "{first}");
    assert_eq!(lines[4]["status"], 400, "{}", lines[4]);
    lines
}

/// What the command of the documentation makes of the output of an HAProxy that logs to it.
fn said(log: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(root().join("docs/proxies.md")).unwrap();
    let (_, text) = text.split_once("\n```sh\nsed ").expect("a command");
    let (command, _) = text.split_once("/var/log/haproxy.log\n").expect("its file");
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("sed {command} \"$1\""), "sh"])
        .arg(log)
        .env("LC_ALL", "C")
        .output()
        .expect("run sed");
    assert!(output.status.success(), "{output:?}");
    lines(&output.stdout)
}

#[test]
fn every_line_of_haproxys_log_is_json() {
    let versions = harness::versions("haproxy").into_iter();
    for program in versions.filter(|program| !is_before_2_5(program)) {
        let dir = temp_dir();
        let own = [("HAPROXY_LOG", "stdout")];
        let (http, _, _process) = haproxy_by(&program, dir.path(), &own);
        wait_for("HAProxy", || ask(http, "localhost", "/haproxy-alive"));
        let lines = play(http, || said(&dir.path().join("log")));
        let lines = check("haproxy", &lines);
        assert_eq!(lines[0]["backend"], "web", "{}", lines[0]);
        assert_eq!(lines[0]["server"], "a", "{}", lines[0]);
    }
}

/// Whatever is sent, the line is whole.
#[test]
fn the_longest_line_of_haproxys_log_is_json() {
    let dir = temp_dir();
    let own = [("HAPROXY_LOG", "stdout")];
    let (http, _, _process) = haproxy_by(&harness::tool("haproxy"), dir.path(), &own);
    wait_for("HAProxy", || ask(http, "localhost", "/haproxy-alive"));
    let path = "\"\\".repeat(2000);
    let host = "a".repeat(2000);
    let mut request =
        format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: ");
    request.push_str(&"\u{e9}".repeat(2000));
    request.push_str("\r\n\r\n");
    send(http, request.as_bytes());
    let lines = wait_for("the log", || {
        Some(said(&dir.path().join("log"))).filter(|log| !log.is_empty())
    });
    let line = &parsed(&lines)[0];
    assert_eq!(line["host"].as_str().unwrap().len(), 255, "{line}");
    assert!(lines[0].len() > 3000, "{line}");
}

/// A client that speaks no TLS makes no request, and a line all the same.
#[test]
fn haproxy_logs_a_handshake_that_fails_as_json() {
    let dir = temp_dir();
    let certs = dir.path().join("certs");
    fs::create_dir(&certs).unwrap();
    certify(&certs.join("site.pem"));
    let (tls, certs) = (free_port(), certs.display().to_string());
    let bind = format!("127.0.0.1:{tls}");
    let own = [
        ("HAPROXY_LOG", "stdout"),
        ("SIDEKICK_CERTS", &certs),
        ("HAPROXY_HTTPS_BIND", &bind),
    ];
    let (_, _, _process) = haproxy_by(&harness::tool("haproxy"), dir.path(), &own);
    wait_for("HAProxy", || TcpStream::connect(("127.0.0.1", tls)).ok());
    send(tls, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let lines = wait_for("the log", || {
        let lines = parsed(&said(&dir.path().join("log")));
        Some(lines).filter(|log| {
            log.iter()
                .any(|line| line["error"] == "SSL handshake failure")
        })
    });
    assert!(lines.iter().all(|line| line["status"] == 0), "{lines:?}");
}
