//! The files of `contrib/nginx` and `contrib/apache` as a whole, run by every version that is here: TLS, headers, pages for
//! monitors, and the log.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::access_log;
use crate::forwarded::{BELIEVED, BY_A_PROXY, announced, certify, curl, forge};
use crate::harness::{self, Process, free_port, temp_dir, wait_for};
use crate::routing::{ask, base, send};
use crate::shipped::{render_files, target};

/// A proxy whose shipped files are a base, a site and what switches TLS on.
pub(crate) struct Kind {
    pub(crate) program: &'static str,
    /// The name of each file below `contrib`, and where it belongs below the program's directory.
    pub(crate) files: [(&'static str, &'static str); 3],
    /// The target of the file for announced services, and where that belongs.
    rendered: (&'static str, &'static str),
    /// What puts all of it into a directory, and its listeners on free ports.
    moves: &'static [(&'static str, &'static str)],
    /// What a machine's program has by itself.
    extra: (&'static str, &'static str),
    /// The option that tests a file, and what goes before that of a file to run in the foreground.
    test: [&'static str; 2],
    run: [&'static str; 3],
    /// Makes 127.0.0.1 a proxy of the operator's own.
    trust: &'static [(&'static str, &'static str)],
    alive: &'static str,
    status: (&'static str, &'static str),
    /// The backend and the beginning of the server in its log.
    logged: (&'static str, &'static str),
}

pub(crate) const KINDS: [Kind; 2] = [
    Kind {
        program: "nginx",
        files: [
            ("nginx/base.conf", "nginx.conf"),
            ("nginx/site.conf", "sites-enabled/site.conf"),
            ("nginx/tls.conf", "site.d/tls.conf"),
        ],
        rendered: ("nginx", "conf.d/sidekick.conf"),
        moves: &[
            ("user www-data;", "user root;"),
            ("/run/nginx.pid", "<AT>/pid"),
            ("/var/log/nginx/", "<AT>/"),
            ("/etc/nginx/modules-enabled/", "<AT>/modules/"),
            ("/etc/nginx/conf.d/", "<AT>/conf.d/"),
            ("/etc/nginx/site", "<AT>/site"),
            ("listen 80 ", "listen 127.0.0.1:<HTTP> "),
            ("listen 443 ", "listen 127.0.0.1:<TLS> "),
            ("listen 127.0.0.1:8090", "listen 127.0.0.1:<STATUS>"),
        ],
        extra: (
            "conf.d/temp.conf",
            "client_body_temp_path <AT>/body; proxy_temp_path <AT>/proxy; fastcgi_temp_path <AT>/fastcgi;\
             uwsgi_temp_path <AT>/uwsgi; scgi_temp_path <AT>/scgi;",
        ),
        test: ["-t", "-c"],
        run: ["-g", "daemon off;", "-c"],
        trust: &[(
            "#   set_real_ip_from 10.0.0.1;",
            "set_real_ip_from 127.0.0.1;",
        )],
        alive: "/nginx-alive",
        status: ("/stub_status", "Active connections: "),
        logged: ("svc_web", "127.0.0.1:"),
    },
    Kind {
        program: "apache2",
        files: [
            ("apache/base.conf", "apache2.conf"),
            ("apache/site.conf", "sites-enabled/site.conf"),
            ("apache/tls.conf", "site.d/tls.conf"),
        ],
        rendered: ("examples/apache", "sites-enabled/sidekick.conf"),
        moves: &[
            ("/run/apache2", "<AT>"),
            ("/var/log/apache2", "<AT>"),
            ("/etc/apache2", "<AT>"),
            ("/usr/lib/apache2/modules", "<MODULES>"),
            ("Listen 80\n", "Listen 127.0.0.1:<HTTP>\n"),
            ("Listen 443\n", "Listen 127.0.0.1:<TLS>\n"),
            ("<VirtualHost *:80>", "<VirtualHost 127.0.0.1:<HTTP>>"),
            ("<VirtualHost *:443>", "<VirtualHost 127.0.0.1:<TLS>>"),
            ("127.0.0.1:8091", "127.0.0.1:<STATUS>"),
        ],
        extra: ("empty", ""),
        test: ["-t", "-f"],
        run: ["-D", "FOREGROUND", "-f"],
        trust: &[
            ("#   RemoteIPHeader ", "RemoteIPHeader "),
            (
                "#   RemoteIPInternalProxy 10.0.0.1",
                "RemoteIPInternalProxy 127.0.0.1",
            ),
        ],
        alive: "/apache-alive",
        status: ("/server-status?auto", "\nServerVersion: Apache/"),
        logged: ("balancer://svc_web", "a"),
    },
];

/// The shipped files of one of them, in a directory of their own.
struct Installed {
    dir: tempfile::TempDir,
    http: u16,
    tls: u16,
    status: u16,
}

impl Installed {
    /// `edits` are made before the files are moved.
    fn new(kind: &Kind, program: &Path, with_tls: bool, edits: &[(&str, &str)]) -> Self {
        let installed = Self {
            dir: temp_dir(),
            http: free_port(),
            tls: free_port(),
            status: free_port(),
        };
        let modules = harness::modules_of(program);
        let count = if with_tls { 3 } else { 2 };
        for (name, to) in &kind.files[..count] {
            let mut text = fs::read_to_string(base(name)).unwrap();
            for (from, to) in edits.iter().chain(kind.moves) {
                text = text.replace(from, to);
            }
            installed.write(to, &text.replace("<MODULES>", &modules));
        }
        if with_tls {
            certify(&installed.dir.path().join("site.pem"));
        }
        installed.write(kind.extra.0, kind.extra.1);
        let (name, to) = kind.rendered;
        let (_, text) = render_files(&target(name), announced("http"), &[]).swap_remove(0);
        installed.write(to, &text);
        installed
    }

    fn write(&self, to: &str, text: &str) {
        let text = text
            .replace("<AT>", &self.dir.path().display().to_string())
            .replace("<HTTP>", &self.http.to_string())
            .replace("<TLS>", &self.tls.to_string())
            .replace("<STATUS>", &self.status.to_string());
        let file = self.dir.path().join(to);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn main(&self, kind: &Kind) -> PathBuf {
        self.dir.path().join(kind.files[0].1)
    }

    #[track_caller]
    fn check(&self, kind: &Kind, program: &Path) {
        let mut command = Command::new(program);
        command.args(kind.test).arg(self.main(kind));
        let checked = command.output().unwrap();
        let name = program.display();
        assert!(checked.status.success(), "{name}: {checked:?}");
    }
}

/// Lets every version of the program judge the shipped files, with and without TLS.
#[track_caller]
pub(crate) fn judge(kind: &Kind) {
    for program in harness::versions(kind.program) {
        for with_tls in [false, true] {
            Installed::new(kind, &program, with_tls, &[]).check(kind, &program);
        }
    }
}

/// One that runs.
struct Proxy {
    installed: Installed,
    name: String,
    process: Process,
}

impl Proxy {
    fn start(kind: &Kind, program: &Path, with_tls: bool, edits: &[(&str, &str)]) -> Self {
        let installed = Installed::new(kind, program, with_tls, edits);
        installed.check(kind, program);
        let mut command = Command::new(program);
        command.args(kind.run).arg(installed.main(kind));
        let process = Process::start(&mut command, &installed.dir.path().join("said"));
        let name = program.display().to_string();
        let http = installed.http;
        wait_for(&name, || ask(http, "localhost", kind.alive));
        Self {
            installed,
            name,
            process,
        }
    }

    fn log(&self) -> Vec<Vec<u8>> {
        access_log::lines(&fs::read(self.installed.dir.path().join("access.log")).unwrap())
    }

    #[track_caller]
    fn is_alive(&self, kind: &Kind) {
        let alive = ask(self.installed.http, "localhost", kind.alive);
        let alive = alive.as_deref().map(str::trim_end);
        assert_eq!(alive, Some("alive"), "{}", self.name);
    }
}

/// Starts each version of each.
fn each(with_tls: bool, edits: fn(&Kind) -> &'static [(&'static str, &'static str)]) -> Started {
    let all = KINDS.iter().flat_map(move |kind| {
        let versions = harness::versions(kind.program).into_iter();
        versions.map(move |program| {
            let proxy = Proxy::start(kind, &program, with_tls, edits(kind));
            (kind, proxy)
        })
    });
    Box::new(all)
}

type Started = Box<dyn Iterator<Item = (&'static Kind, Proxy)>>;

#[test]
fn the_files_work_before_there_is_a_certificate() {
    for (kind, proxy) in each(false, |_| &[]) {
        let (name, at) = (&proxy.name, &proxy.installed);
        let told = forge(name, at.http);
        for line in [
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: www.example.org",
        ] {
            let line = format!("\r\n{line}\r\n");
            assert_eq!(told.matches(&line).count(), 1, "{name}: {line} {told}");
        }
        for forged in ["evil", "666", "6.6.6"] {
            assert!(!told.contains(forged), "{name}: {told}");
        }
        assert!(TcpStream::connect(("127.0.0.1", at.tls)).is_err(), "{name}");
        proxy.is_alive(kind);
        let (path, says) = kind.status;
        let page = ask(at.status, "localhost", path).unwrap();
        assert!(page.contains(says), "{name}: {page}");
        // Pages for monitors are not logged.
        let log = access_log::parsed(&proxy.log());
        assert!(log.iter().all(|line| line["path"] == "/"), "{log:?}");
    }
}

#[test]
fn tls_is_on_when_its_file_is_there() {
    for (kind, proxy) in each(true, |_| &[]) {
        let (name, at) = (&proxy.name, &proxy.installed);
        let url = format!("https://127.0.0.1:{}/", at.tls);
        let host = ["-H", "Host: www.example.org:7"];
        let lie = ["-H", "X-Forwarded-Proto: evil", &url];
        let answer = curl(&[host.as_slice(), &lie].concat());
        let said = proxy.process.output();
        assert!(answer.starts_with("HTTP/2 200"), "{name}: {answer} {said}");
        let told = answer.to_lowercase();
        assert!(told.contains("\r\nx-forwarded-proto: https\r\n"), "{told}");
        assert!(
            told.contains("\r\nx-forwarded-host: www.example.org:7\r\n"),
            "{told}"
        );
        // The port is that of the listener, not that which the client names.
        assert!(!told.contains("\r\nx-forwarded-port: 7\r\n"), "{told}");
        assert!(told.contains("\r\nx-forwarded-port: "), "{told}");
        assert!(!told.contains("evil"), "{told}");
        let old = curl(&["--tls-max", "1.1", &url]);
        assert_eq!(old, "", "{name}: no TLS older than 1.2");

        let plain = format!("http://127.0.0.1:{}/a%20b?c", at.http);
        let plain = curl(&["-H", "Host: www.example.org", &plain]);
        assert!(plain.starts_with("HTTP/1.1 301"), "{name}: {plain}");
        assert!(
            plain.contains("Location: https://www.example.org/a%20b?c\r\n"),
            "{name}: {plain}"
        );
        // The health page is not redirected.
        proxy.is_alive(kind);
    }
}

/// The lines of the operator's own proxy are believed, those of anybody else are not.
#[test]
fn the_word_of_a_proxy_of_ones_own_counts() {
    let request = format!("GET / HTTP/1.1\r\nConnection: close\r\n{BY_A_PROXY}\r\n");
    for (_, proxy) in each(true, |kind| kind.trust) {
        let told = send(proxy.installed.http, request.as_bytes()).to_lowercase();
        for line in BELIEVED {
            let name = &proxy.name;
            assert_eq!(told.matches(line).count(), 1, "{name}: {line:?} {told}");
        }
        let log = wait_for("the log", || {
            Some(access_log::parsed(&proxy.log())).filter(|log| !log.is_empty())
        });
        assert_eq!(log[0]["client"], "192.0.2.7");
    }
}

#[test]
fn every_line_of_the_log_is_json() {
    for (kind, proxy) in each(false, |_| &[]) {
        let lines = access_log::play(proxy.installed.http, || proxy.log());
        let lines = access_log::check(kind.program, &lines);
        let (backend, server) = kind.logged;
        assert_eq!(lines[0]["backend"], backend, "{}", lines[0]);
        assert!(
            lines[0]["server"].as_str().unwrap().starts_with(server),
            "{}",
            lines[0]
        );
        let last: &Value = &lines[2];
        assert_eq!(last["query"], "y[not ASCII]", "{last}");
        assert_eq!(last["agent"], "caf[not ASCII]", "{last}");
    }
}
