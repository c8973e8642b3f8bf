//! `sidekick dashboard`, as a real Chromium shows it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::browser::Browser;
use crate::harness::etcd::Etcd;
use crate::harness::{Process, free_port, sidekick, skipped, temp_dir, wait_for};

/// A dashboard of an etcd.
struct Dashboard {
    dir: TempDir,
    store: String,
    port: u16,
    process: Process,
    starts: usize,
}

impl Dashboard {
    fn of(store: &str) -> Self {
        let (dir, port) = (temp_dir(), free_port());
        let process = Self::launch(store, port, &dir.path().join("log-0"));
        Self {
            dir,
            store: store.to_owned(),
            port,
            process,
            starts: 0,
        }
    }

    fn launch(store: &str, port: u16, log: &std::path::Path) -> Process {
        let listen = format!("127.0.0.1:{port}");
        let mut command = sidekick();
        command.args(["dashboard", "--store", store, "--listen", &listen]);
        let process = Process::start(&mut command, log);
        process.wait_said("the dashboard is at http://127.0.0.1");
        process
    }

    fn stop(&mut self) {
        self.process.signal(Signal::SIGTERM);
        assert!(self.process.wait().success());
    }

    fn start_again(&mut self) {
        self.starts += 1;
        let log = self.dir.path().join(format!("log-{}", self.starts));
        self.process = Self::launch(&self.store, self.port, &log);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// What is answered to a request of these lines.
    fn ask(&self, lines: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A browser that shows the dashboard, and marks the page so that a reload would show.
fn open(dashboard: &Dashboard) -> Browser {
    let mut browser = Browser::start();
    browser.resize(1400, 900, "light");
    browser.go(&dashboard.url());
    browser.wait("document.getElementById('link').dataset.is === 'live'");
    browser.value("window.isStillTheSamePage = true");
    browser
}

/// An expression: whether an instance is shown, with these words.
fn shows(id: &str, words: &str) -> String {
    format!(
        "[...document.querySelectorAll('#graph button.instance')].some(one => one.innerText.includes('{id}') && \
         one.innerText.includes('{words}'))"
    )
}

fn put(etcd: &Etcd, keys: &[(String, &str)]) {
    let puts = keys.iter().fold(String::new(), |mut all, (key, value)| {
        let quoted = serde_json::to_string(value).unwrap();
        writeln!(all, "put {key} {quoted}").unwrap();
        all
    });
    etcd.etcdctl_with(&["txn"], format!("\n{puts}\n\n").as_bytes());
}

/// A watcher of all services, as one announces itself.
fn put_watcher(etcd: &Etcd, id: &str, host: &str, applied: u64, targets: &str) {
    let key = |field: &str| format!("/sidekick/watchers/{id}/{field}");
    put(
        etcd,
        &[
            (key("host"), host),
            (key("applied"), &format!("{applied} /services")),
            (key("targets"), targets),
        ],
    );
}

#[test]
fn what_comes_changes_is_lost_and_is_held_shows_without_a_reload() {
    let etcd = Etcd::start_new();
    etcd.put_instance("web", "a", "10.0.0.1", 80);
    put_watcher(&etcd, "lb-1", "lb", 2, "[]");
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    browser.wait(&shows("a", "10.0.0.1:80"));
    etcd.put_instance("web", "b", "10.0.0.2", 80);
    browser.wait(&shows("b", "10.0.0.2:80"));
    etcd.etcdctl(&["put", "/services/web/a/state", "drain"]);
    browser.wait(&shows("a", "draining"));
    browser.wait("document.querySelectorAll('#edges path').length === 3");
    etcd.etcdctl(&["del", "--prefix", "/services/web/b/"]);
    browser.wait(&format!("!({})", shows("b", "")));
    browser.wait(
        "document.getElementById('event-list').innerText.includes('web/b is gone without a drain')",
    );
    let held = r#"[{"name":"haproxy","since":1000,"held":[{"service":"web","count":1,"since":1700000000,"why":"too many went at once"}]}]"#;
    put_watcher(&etcd, "lb-1", "lb", 2, held);
    browser.wait(&shows("b", "held"));
    browser.wait(
        "document.getElementById('problem-list').innerText.includes('too many went at once')",
    );
    let failing = r#"[{"name":"haproxy","since":1000,"failing":{"since":1700000000,"step":"check","why":"unknown keyword"}}]"#;
    put_watcher(&etcd, "lb-1", "lb", 2, failing);
    browser.wait("document.querySelector('.card.watcher').innerText.includes('fails: check')");
    browser.wait(&format!("!({})", shows("b", "")));
    assert_eq!(browser.value("window.isStillTheSamePage"), true);
    assert!(
        browser.complaints().is_empty(),
        "{:?}",
        browser.complaints()
    );
}

/// A `sidekick watch` of the service `web`, which writes its instances to a file.
fn watch(etcd: &Etcd, dir: &TempDir) -> Process {
    let (conf, templates) = (dir.path().join("conf.d"), dir.path().join("templates"));
    for dir in [&conf, &templates] {
        std::fs::create_dir(dir).unwrap();
    }
    let template = "{% for one in services.web %}{{ one.addr }}\n{% endfor %}";
    std::fs::write(templates.join("servers.tera"), template).unwrap();
    let dest = dir.path().join("servers");
    let target = format!(
        "[template]\nsrc = \"servers.tera\"\ndest = \"{}\"\nservices = [\"web\"]\n",
        dest.display()
    );
    std::fs::write(conf.join("servers.toml"), target).unwrap();
    let mut command = sidekick();
    command
        .args(["watch", "--store", &etcd.url(), "--conf-dir"])
        .arg(dir.path())
        .arg("--state-dir")
        .arg(dir.path().join("state"));
    Process::start(&mut command, &dir.path().join("log"))
}

#[test]
fn a_real_watcher_shows_what_it_has_in_force_and_what_it_holds() {
    let (etcd, dir) = (Etcd::start_new(), temp_dir());
    etcd.put_instance("web", "a", "10.0.0.1", 80);
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    let watcher = watch(&etcd, &dir);
    let card = "document.querySelector('.card.watcher').innerText";
    browser.wait(&format!(
        "{card}.includes('servers') && {card}.includes('in force')"
    ));
    browser.wait("document.querySelectorAll('#edges path').length === 2");
    etcd.etcdctl(&["del", "--prefix", "/services/web/a/"]);
    browser.wait(&format!("{card}.includes('holds 1 instance')"));
    browser.wait(&shows("a", "held"));
    drop(watcher);
    browser.wait(&format!("{card}.includes('gone for')"));
}

#[test]
fn the_page_heals_after_a_restart_of_etcd_and_of_the_dashboard() {
    let mut etcd = Etcd::start_new();
    etcd.put_instance("web", "a", "10.0.0.1", 80);
    let mut dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    browser.wait(&shows("a", ""));
    let alarm = "document.getElementById('alarm')";
    etcd.stop();
    browser.wait(&format!(
        "{alarm}.innerText.includes('The store does not answer')"
    ));
    browser.wait(&shows("a", ""));
    etcd.start();
    etcd.put_instance("web", "b", "10.0.0.2", 80);
    browser.wait(&shows("b", ""));
    browser.wait(&format!("{alarm}.hidden"));
    wait_for("the end of the outage in the log", || {
        let log = dashboard.process.output();
        log.contains("the store answers again").then_some(())
    });
    let log = dashboard.process.output();
    for line in ["the store does not answer", "the store answers again"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    dashboard.stop();
    browser.wait(&format!(
        "{alarm}.innerText.includes('The dashboard does not answer')"
    ));
    browser.wait(&shows("b", ""));
    dashboard.start_again();
    etcd.put_instance("web", "c", "10.0.0.3", 80);
    browser.wait(&shows("c", ""));
    browser.wait(&format!("{alarm}.hidden"));
    assert_eq!(browser.value("window.isStillTheSamePage"), true);
}

#[test]
fn a_dashboard_is_there_before_its_store() {
    let mut etcd = Etcd::start_new();
    etcd.stop();
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    browser
        .wait("document.getElementById('alarm').innerText.includes('The store does not answer')");
    etcd.start();
    etcd.put_instance("web", "a", "10.0.0.1", 80);
    browser.wait(&shows("a", "10.0.0.1:80"));
}

/// What a page would have to take for markup, in every place to which an announcer can write.
const HOSTILE: &str =
    "<img src=x onerror=\"window.isHacked=true\"><script>window.isHacked=true</script>";

#[test]
fn nothing_that_the_store_says_is_markup() {
    let etcd = Etcd::start_new();
    etcd.put_instance("web", "a", "10.0.0.1", 80);
    let targets = serde_json::json!([{
        "name": HOSTILE, "since": 1000,
        "failing": {"since": 1000, "step": HOSTILE, "why": HOSTILE},
        "held": [{"service": HOSTILE, "count": 1, "since": 1000, "why": HOSTILE}],
    }]);
    put(
        &etcd,
        &[
            ("/services/web/a/note".to_owned(), HOSTILE),
            ("/services/web/<b>bold/ip".to_owned(), HOSTILE),
        ],
    );
    let id = "<img/src=x/onerror=window.isHacked=1>".replace('/', "\u{2215}");
    put_watcher(&etcd, &id, HOSTILE, 1, &targets.to_string());
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    browser.wait(&shows("a", "10.0.0.1:80"));
    // Every view and every detail.
    browser.wait("document.querySelector('.card.watcher').innerText.includes('<script>')");
    browser.wait("document.getElementById('problem-list').innerText.includes('<img src=x')");
    let details = "document.querySelectorAll('#graph button:not([aria-expanded])')";
    let count = browser.value(&format!("{details}.length"));
    assert_eq!(
        count, 4,
        "of the watcher, of two services and of the instance"
    );
    for at in 0..4 {
        browser.value(&format!("{details}[{at}].click()"));
        browser.wait("document.getElementById('detail').open");
        browser.value("document.getElementById('detail').close()");
    }
    browser.value("document.querySelector('input[value=table]').click()");
    browser.wait("document.querySelector('table.instances').innerText.includes('onerror')");
    browser.wait("document.getElementById('watcher-rows').innerText.includes('<script>')");
    let ours = "document.images.length === 1 && document.scripts.length === 1 && !document.querySelector('b.level ~ b')";
    assert_eq!(browser.value(ours), true);
    assert_eq!(browser.value("window.isHacked === undefined"), true);
    assert!(
        browser.complaints().is_empty(),
        "{:?}",
        browser.complaints()
    );
}

#[test]
fn everything_can_be_reached_by_keys() {
    let etcd = Etcd::start_new();
    for id in ["a", "b"] {
        etcd.put_instance("web", id, "10.0.0.1", 80);
    }
    etcd.put_instance("api", "c", "10.0.0.1", 80);
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    browser.wait(&shows("c", ""));
    browser.press("/");
    browser.wait("document.activeElement.id === 'search'");
    browser.type_text("web");
    browser.wait(&format!("!({})", shows("c", "")));
    assert_eq!(
        browser.value("document.getElementById('matches').innerText"),
        "2 instances of 3"
    );
    let focused = |key: &str| format!("document.activeElement.dataset.key === '{key}'");
    browser.press("ArrowDown");
    browser.wait(&focused("service:web"));
    browser.press("ArrowLeft");
    browser.wait(&format!("!({})", shows("a", "")));
    browser.press("ArrowRight");
    browser.wait(&shows("a", ""));
    browser.press("ArrowDown");
    browser.wait(&focused("instance:web/a"));
    browser.press("Enter");
    browser.wait("document.getElementById('detail').open && document.getElementById('detail').innerText.includes('10.0.0.1:80')");
    browser.press("Escape");
    browser.wait(&format!(
        "!document.getElementById('detail').open && {}",
        focused("instance:web/a")
    ));
    // What has the focus keeps it when it changes.
    etcd.etcdctl(&["put", "/services/web/a/state", "maint"]);
    browser.wait(&format!(
        "{} && {}",
        shows("a", "in maintenance"),
        focused("instance:web/a")
    ));
    browser.press("Escape");
    browser.wait("document.activeElement.id === 'search'");
    browser.press("Escape");
    browser.wait(&shows("c", ""));
    // By the Tab key alone, everything that can be clicked.
    let missing = "[...document.querySelectorAll('button, input, select, a')].filter(one => one.tabIndex < 0).length";
    assert_eq!(browser.value(missing), 0);
}

/// A thousand instances of twenty services.
fn put_many(etcd: &Etcd) {
    for service in 1..=20 {
        for half in 0..2 {
            let mut txn = String::from("\n");
            for id in half * 25..(half + 1) * 25 {
                let at = format!("/services/service-{service:02}/host-{id:02}");
                writeln!(txn, "put {at}/ip 10.0.{service}.{id}\nput {at}/port 8080").unwrap();
            }
            etcd.etcdctl_with(&["txn"], format!("{txn}\n\n").as_bytes());
        }
    }
}

#[test]
fn a_thousand_instances_are_grouped_found_and_followed() {
    let etcd = Etcd::start_new();
    put_many(&etcd);
    put_watcher(&etcd, "lb-1", "lb", 1, "[]");
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    browser.wait("document.getElementById('totals').innerText.includes('1000')");
    browser.wait(
        "document.querySelectorAll('#graph-services .dots:not([hidden]) .dot').length === 1000",
    );
    browser.picture("thousand");
    browser.press("/");
    browser.type_text("service-07 10.0.7.13:");
    browser.wait("document.querySelectorAll('#graph button.instance').length === 1");
    browser.wait(&shows("host-13", "10.0.7.13:8080"));
    browser.press("Escape");
    browser.value("document.querySelector('input[value=table]').click()");
    browser.value("document.getElementById('unfold').click()");
    browser.wait(
        "document.querySelectorAll('table.instances tbody tr:not(.service)').length === 1001",
    );
    etcd.etcdctl(&["put", "/services/service-20/host-49/state", "drain"]);
    browser.wait("document.querySelector('table.instances').innerText.includes('draining')");
    assert!(
        browser.complaints().is_empty(),
        "{:?}",
        browser.complaints()
    );
}

#[test]
fn narrow_pages_have_nothing_beside_them() {
    let etcd = Etcd::start_new();
    etcd.put_instance(
        "web",
        "a-rather-long-name-of-a-host.example.org-8080",
        "10.100.100.101",
        18080,
    );
    put_watcher(
        &etcd,
        "lb-1",
        "a-load-balancer-with-a-long-name.example.org",
        1,
        "[]",
    );
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    for (view, name) in [("graph", "phone"), ("table", "phone-table")] {
        browser.resize(360, 740, "dark");
        browser.value(&format!(
            "document.querySelector('input[value={view}]').click()"
        ));
        browser.wait(&format!("!document.getElementById('{view}').hidden"));
        browser.wait("document.documentElement.scrollWidth <= 360");
        browser.picture(name);
    }
}

#[test]
fn only_reading_is_answered_under_names_of_this_host_and_to_its_own_page() {
    let store = temp_dir();
    let dashboard = Dashboard::of(&format!("dir://{}", store.path().display()));
    let status = |lines: &[&str]| {
        dashboard
            .ask(lines)
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    let host = "Host: localhost";
    for (first, second, third, want) in [
        ("GET / HTTP/1.1", host, "X: x", "200"),
        ("HEAD / HTTP/1.1", host, "X: x", "200"),
        ("GET /health HTTP/1.1", host, "X: x", "200"),
        ("HEAD /events HTTP/1.1", host, "X: x", "200"),
        ("GET /other HTTP/1.1", host, "X: x", "404"),
        ("GET /../Cargo.toml HTTP/1.1", host, "X: x", "404"),
        ("POST / HTTP/1.1", host, "Content-Length: 0", "405"),
        ("GET / HTTP/1.1", "Host: evil.example", "X: x", "421"),
        (
            "GET /events HTTP/1.1",
            host,
            "Sec-Fetch-Site: cross-site",
            "403",
        ),
    ] {
        assert_eq!(
            status(&[first, second, third]),
            want,
            "{first} {second} {third}"
        );
    }
    let page = dashboard.ask(&["GET / HTTP/1.1", host]);
    let (head, _) = page.split_once("\r\n\r\n").unwrap();
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self';",
        "x-frame-options: DENY",
        "cross-origin-resource-policy: same-origin",
        "content-type: text/html; charset=utf-8",
    ] {
        assert!(head.contains(header), "{head}");
    }
}

#[test]
fn an_address_that_is_taken_is_an_error_with_a_hint() {
    let store = temp_dir();
    let dashboard = Dashboard::of(&format!("dir://{}", store.path().display()));
    let listen = format!("127.0.0.1:{}", dashboard.port);
    let output = sidekick()
        .args([
            "dashboard",
            "--store",
            &dashboard.store,
            "--listen",
            &listen,
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&format!("error: cannot listen at {listen}")),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
}

/// The rules of axe, from a Python package that brings them along; `None`, and a word, where it cannot be had.
fn axe() -> Option<String> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("axe");
    let script = dir.join("axe_playwright_python/axe.min.js");
    if !script.is_file() {
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-input",
            "--disable-pip-version-check",
            "--target",
        ];
        let install = Command::new("python3")
            .args(pip)
            .arg(&dir)
            .arg("axe-playwright-python==0.1.8")
            .output();
        let is_there = install.is_ok_and(|output| output.status.success());
        if !is_there {
            skipped("axe, which judges accessibility, cannot be had by python3 -m pip");
            return None;
        }
    }
    Some(std::fs::read_to_string(script).unwrap())
}

#[test]
fn the_page_breaks_no_rule_of_accessibility() {
    let Some(axe) = axe() else { return };
    let etcd = Etcd::start_new();
    for id in ["a", "b", "c"] {
        etcd.put_instance("web", id, "10.0.0.1", 80);
    }
    etcd.put_instance("api", "d", "10.0.0.2", 80);
    etcd.etcdctl(&["put", "/services/web/a/state", "drain"]);
    etcd.etcdctl(&["put", "/services/api/d/state", "maint"]);
    put(
        &etcd,
        &[("/sidekick/seen/old/host".to_owned(), "somewhere")],
    );
    let targets = r#"[{"name":"haproxy","since":1000,"failing":{"since":1700000000,"step":"check","why":"unknown keyword"}},
        {"name":"nginx","since":1000,"held":[{"service":"web","count":1,"since":1700000000,"why":"too many went at once"}]}]"#;
    put_watcher(&etcd, "lb-1", "lb", 2, targets);
    let dashboard = Dashboard::of(&etcd.url());
    let mut browser = open(&dashboard);
    browser.wait("document.querySelectorAll('#graph button.instance').length === 4");
    etcd.etcdctl(&["del", "--prefix", "/services/web/c/"]);
    browser.wait(&shows("c", "held"));
    // The rules are no part of the page: the protocol puts them in.
    browser.value(&axe);
    for (scheme, width) in [
        ("light", 1400),
        ("dark", 1400),
        ("light", 390),
        ("dark", 390),
    ] {
        browser.resize(width, 900, scheme);
        for view in ["graph", "table"] {
            browser.value(&format!(
                "document.querySelector('input[value={view}]').click()"
            ));
            browser.wait(&format!("!document.getElementById('{view}').hidden"));
            browser.picture(&format!("{view}-{scheme}-{width}"));
            assert_eq!(
                violations(&mut browser),
                [""; 0],
                "{view}, {scheme}, {width}"
            );
        }
        browser.value("document.querySelector('#watcher-rows button').click()");
        browser.wait("document.getElementById('detail').open");
        assert_eq!(
            violations(&mut browser),
            [""; 0],
            "details, {scheme}, {width}"
        );
        browser.press("Escape");
    }
}

/// The rules that the page breaks, and where.
fn violations(browser: &mut Browser) -> Vec<String> {
    // What fades in has its colours at the end.
    browser.wait("document.getAnimations().every(one => one.effect.getTiming().iterations === Infinity || one.playState === 'finished')");
    let found = browser.value(
        "axe.run(document).then(all => JSON.stringify([all.violations, all.passes.length]))",
    );
    let found: Value = serde_json::from_str(found.as_str().unwrap()).unwrap();
    let (broken, kept) = (&found[0], &found[1]);
    assert!(
        kept.as_u64() > Some(20),
        "the rules have been looked at: {kept}"
    );
    let one = |rule: &Value| {
        let nodes = rule["nodes"].as_array().unwrap().iter();
        let places: Vec<String> = nodes
            .map(|node| format!("{} {}", node["html"], node["failureSummary"]))
            .collect();
        format!("{}: {}", rule["id"], places.join("; "))
    };
    broken.as_array().unwrap().iter().map(one).collect()
}
