//! The files of `contrib/nginx` as a whole, run by every nginx that is here: TLS, headers, pages for monitors, and the log.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::forwarded::{announced, certify, curl, forge};
use crate::harness::{self, Process, free_port, temp_dir, wait_for};
use crate::routing::{ask, base};
use crate::shipped::{render_files, target};

/// nginx with the shipped files, in a directory of its own.
struct Nginx {
    dir: tempfile::TempDir,
    http: u16,
    tls: u16,
    status: u16,
    process: Process,
}

impl Nginx {
    /// Starts `program` with the words of `edits` replaced in the shipped files; what is announced answers with what it is sent.
    fn start(program: &Path, with_tls: bool, edits: &[(&str, &str)]) -> Self {
        let dir = temp_dir();
        let [http, tls, status] = [free_port(), free_port(), free_port()];
        let at = dir.path().display().to_string();
        let installed = |name: &str, to: &str| {
            let mut text = fs::read_to_string(base(&format!("nginx/{name}"))).unwrap();
            for (from, to) in edits {
                text = text.replace(from, to);
            }
            let own = [
                ("user www-data;", "user root;"),
                ("/run/nginx.pid", &format!("{at}/pid")),
                ("/var/log/nginx/", &format!("{at}/")),
                ("/etc/nginx/modules-enabled/", &format!("{at}/modules/")),
                ("/etc/nginx/conf.d/", &format!("{at}/conf.d/")),
                ("/etc/nginx/site", &format!("{at}/site")),
                ("listen 80 ", &format!("listen 127.0.0.1:{http} ")),
                ("listen 443 ", &format!("listen 127.0.0.1:{tls} ")),
                (
                    "listen 127.0.0.1:8090",
                    &format!("listen 127.0.0.1:{status}"),
                ),
            ];
            for (from, to) in own {
                text = text.replace(from, to);
            }
            let file = dir.path().join(to);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        installed("base.conf", "nginx.conf");
        installed("site.conf", "sites-enabled/site.conf");
        if with_tls {
            certify(&dir.path().join("site.pem"));
            installed("tls.conf", "site.d/tls.conf");
        }
        fs::create_dir_all(dir.path().join("conf.d")).unwrap();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"));
        fs::write(dir.path().join("conf.d/temp.conf"), temp.concat()).unwrap();
        let (_, text) = render_files(&target("nginx"), announced("http"), &[]).swap_remove(0);
        fs::write(dir.path().join("conf.d/sidekick.conf"), text).unwrap();

        let file = dir.path().join("nginx.conf");
        let checked = Command::new(program)
            .arg("-t")
            .arg("-c")
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            checked.status.success(),
            "{}: {checked:?}",
            program.display()
        );
        let mut command = Command::new(program);
        command.args(["-g", "daemon off;", "-c"]).arg(&file);
        let process = Process::start(&mut command, &dir.path().join("said"));
        let nginx = Self {
            dir,
            http,
            tls,
            status,
            process,
        };
        wait_for("nginx", || ask(nginx.http, "localhost", "/nginx-alive"));
        nginx
    }

    /// Every line of the access log.
    fn log(&self) -> Vec<Vec<u8>> {
        let log = fs::read(self.dir.path().join("access.log")).unwrap();
        let lines = log.split(|byte| *byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }
}

/// Sends these bytes, and reads until the other side closes.
fn send(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_files_work_before_there_is_a_certificate() {
    for program in harness::versions("nginx") {
        let nginx = Nginx::start(&program, false, &[]);
        let name = program.display().to_string();
        let told = forge(&name, nginx.http);
        assert!(
            told.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
            "{told}"
        );
        assert!(told.contains("\r\nx-forwarded-proto: http\r\n"), "{told}");
        assert!(
            told.contains("\r\nx-forwarded-host: www.example.org\r\n"),
            "{told}"
        );
        assert!(
            TcpStream::connect(("127.0.0.1", nginx.tls)).is_err(),
            "{name}"
        );
        assert_eq!(
            ask(nginx.http, "localhost", "/nginx-alive").as_deref(),
            Some("alive\n")
        );
        let page = ask(nginx.status, "localhost", "/stub_status").unwrap();
        assert!(page.starts_with("Active connections: "), "{name}: {page}");
    }
}

#[test]
fn tls_is_on_when_its_file_is_there() {
    for program in harness::versions("nginx") {
        let nginx = Nginx::start(&program, true, &[]);
        let url = format!("https://127.0.0.1:{}/", nginx.tls);
        let answer = curl(&[
            "-H",
            "Host: www.example.org",
            "-H",
            "X-Forwarded-Proto: evil",
            &url,
        ]);
        assert!(
            answer.starts_with("HTTP/2 200"),
            "{answer} {}",
            nginx.process.output()
        );
        let told = answer.to_lowercase();
        assert!(told.contains("\r\nx-forwarded-proto: https\r\n"), "{told}");
        assert!(
            told.contains("\r\nx-forwarded-host: www.example.org\r\n"),
            "{told}"
        );
        assert!(!told.contains("evil"), "{told}");
        assert_eq!(
            curl(&["--tls-max", "1.1", &url]),
            "",
            "no TLS older than 1.2"
        );

        let plain = format!("http://127.0.0.1:{}/a?b", nginx.http);
        let plain = curl(&["-H", "Host: www.example.org", &plain]);
        assert!(plain.starts_with("HTTP/1.1 301"), "{plain}");
        assert!(
            plain.contains("Location: https://www.example.org/a?b\r\n"),
            "{plain}"
        );
        let alive = ask(nginx.http, "localhost", "/nginx-alive");
        assert_eq!(
            alive.as_deref(),
            Some("alive\n"),
            "the health page is not redirected"
        );
    }
}

/// The lines of the operator's own proxy are believed, those of anybody else are not.
#[test]
fn the_word_of_a_proxy_of_ones_own_counts() {
    let trusted = (
        "#   set_real_ip_from 10.0.0.1;",
        "set_real_ip_from 127.0.0.1;",
    );
    let request = "GET / HTTP/1.1\r\nHost: inner\r\nConnection: close\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n\
                   X-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.org\r\nX-Forwarded-Port: 443\r\n\r\n";
    for program in harness::versions("nginx") {
        let nginx = Nginx::start(&program, true, &[trusted]);
        let told = send(nginx.http, request.as_bytes()).to_lowercase();
        for line in [
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: https",
            "x-forwarded-host: www.example.org",
            "x-forwarded-port: 443",
        ] {
            assert!(told.contains(&format!("\r\n{line}\r\n")), "{line}: {told}");
        }
        let line: Value = serde_json::from_slice(&nginx.log()[0]).unwrap();
        assert_eq!(line["client"], "192.0.2.7");
    }
}

#[test]
fn every_line_of_the_log_is_json() {
    let requests: [&[u8]; 6] = [
        b"GET /a\"b\\c?d=\"e\" HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: \"quoted\" \\ agent\r\nConnection: close\r\n\r\n",
        b"GET /\xff\"x HTTP/1.1\r\nHost: b\xffd\"\r\nUser-Agent: caf\xc3\"\tx\r\nConnection: close\r\n\r\n",
        b"GET /x?y\xff HTTP/1.1\r\nHost: b\r\nUser-Agent: caf\xc3\"x\r\nConnection: close\r\n\r\n",
        b"GET /old\r\n",
        b"\x16\x03\x01\"\\nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: /\"\r\n\r\n",
    ];
    for program in harness::versions("nginx") {
        let nginx = Nginx::start(&program, false, &[]);
        for request in requests {
            send(nginx.http, request);
        }
        let lines = wait_for("the log", || {
            Some(nginx.log()).filter(|log| log.len() == requests.len())
        });
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| {
                let shown = String::from_utf8_lossy(line);
                serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {shown}"))
            })
            .collect();
        let first = &lines[0];
        assert_eq!(first["path"], "/a\"b\\c", "{first}");
        assert_eq!(first["query"], "d=\"e\"", "{first}");
        assert_eq!(first["agent"], "\"quoted\" \\ agent", "{first}");
        assert_eq!(first["host"], "www.example.org", "{first}");
        assert_eq!(first["status"], 200, "{first}");
        assert_eq!(first["backend"], "svc_web", "{first}");
        assert!(
            first["server"].as_str().unwrap().starts_with("127.0.0.1:"),
            "{first}"
        );
        assert!(
            first["took_ms"].is_u64() && first["bytes"].is_number(),
            "{first}"
        );
        assert_eq!(lines[1]["path"], "/[not ASCII]", "{}", lines[1]);
        assert_eq!(lines[2]["query"], "y[not ASCII]", "{}", lines[2]);
        assert_eq!(lines[2]["agent"], "caf[not ASCII]", "{}", lines[2]);
    }
}
