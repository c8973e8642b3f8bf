//! `--store file:` and `--store env:` with the real program: keys that come from files and from the environment.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::{PATIENCE, Process, free_port, sidekick, temp_dir, tool, wait_for};
use crate::routing::ask;

const TEMPLATE: &str = "{% for i in services.web %}{{ i.id }} {{ i.addr }}\n{% endfor %}";
const HAPROXY: &str = "defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend f
    bind 127.0.0.1:PORT
    http-request return status 200 content-type text/plain string \"{% for i in services.web %}{{ i.addr }} {% endfor %}\"
";
const A: &str = "services: {web: {a: {ip: 10.0.0.1, port: 80}}}\n";
const B: &str = "services: {web: {b: {ip: 10.0.0.2, port: 80}}}\n";

/// A configuration with one target, and a place for keys.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new(template: &str, lines: &str) -> Self {
        let bench = Self(temp_dir());
        for dir in ["conf.d", "templates", "out", "keys"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        fs::write(bench.file("templates/a.tera"), template).unwrap();
        let target = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['web']\n{lines}\n\
             [template.guard]\non_empty = 'render'\nmax_drop = '100%'\n",
            bench.file("out/a.cfg").display()
        );
        fs::write(bench.file("conf.d/a.toml"), target).unwrap();
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.file(name), text).unwrap();
    }

    /// Puts a file in place at once.
    fn replace(&self, name: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.file("new"), self.file(name)).unwrap();
    }

    fn url(&self, name: &str) -> String {
        format!("file:{}", self.file(name).display())
    }

    fn watch(&self, store: &str, args: &[&str]) -> Command {
        let mut watch = sidekick();
        watch.args(["watch", "--store", store, "--conf-dir"]);
        watch.arg(self.0.path()).arg("--state-dir");
        watch.arg(self.file("state")).args(args);
        watch
    }

    fn start(&self, name: &str, args: &[&str]) -> Process {
        let mut watch = self.watch(&self.url(name), args);
        Process::start(&mut watch, &self.file("log"))
    }

    fn live(&self) -> Option<String> {
        fs::read_to_string(self.file("out/a.cfg")).ok()
    }

    #[track_caller]
    fn wait_live(&self, want: &str, process: &Process) {
        let start = Instant::now();
        while self.live().as_deref() != Some(want) {
            let said = process.output();
            assert!(start.elapsed() < PATIENCE, "{:?}: {said}", self.live());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Puts what HAProxy is to judge into words that it takes.
fn judged_by_haproxy() -> (String, String, u16) {
    let port = free_port();
    let check = format!(
        "check_cmd = '{} -c -f {{{{src}}}}'",
        tool("haproxy").display()
    );
    (HAPROXY.replace("PORT", &port.to_string()), check, port)
}

#[test]
fn one_pass_renders_a_file_that_haproxy_takes() {
    let (template, check, _) = judged_by_haproxy();
    let bench = Bench::new(&template, &check);
    bench.write("keys.yaml", A);
    let store = bench.url("keys.yaml");
    let output = bench.watch(&store, &["--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(bench.live().unwrap().contains("\"10.0.0.1:80 \""));
    let first = format!("the store is {store} (from --store), prefix /services");
    assert!(said(&output).contains(&first), "{}", said(&output));
    // A path of people, from where they are.
    let mut relative = bench.watch("file:keys.yaml", &["--once", "--noop"]);
    let output = relative.current_dir(bench.0.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn one_pass_does_not_wait_for_a_file_to_be_corrected() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("wrong.yaml", "services:\n  web: [\n");
    bench.write("keys/a.yaml", "services:\n  web:\n    a:\n");
    bench.write("keys/b.json", "{\n\"a\": 1,\n}");
    for (store, want) in [
        ("wrong.yaml", "wrong.yaml cannot be used: line 3: "),
        (
            "missing.yaml",
            "missing.yaml cannot be used: it cannot be read: No such file",
        ),
        ("keys", "keys/a.yaml: line 3: /services/web/a is null"),
        ("keys", "keys/b.json: line 3: trailing comma"),
    ] {
        let store = bench.url(store);
        for mode in ["--once", "--noop"] {
            let start = Instant::now();
            let output = bench
                .watch(&store, &[mode, "--timeout", "10m"])
                .output()
                .unwrap();
            let said = said(&output);
            assert_eq!(output.status.code(), Some(69), "{said}");
            assert!(
                said.contains(want) && said.contains("nothing was changed"),
                "{said}"
            );
            assert!(start.elapsed() < PATIENCE / 2, "it has waited");
        }
        assert_eq!(bench.live(), None);
    }
}

#[test]
fn a_file_is_followed_however_it_is_changed() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys/a.yaml", A);
    let watch = bench.start("keys/a.yaml", &[]);
    bench.wait_live("a 10.0.0.1:80\n", &watch);
    bench.write("keys/a.yaml", B);
    bench.wait_live("b 10.0.0.2:80\n", &watch);
    bench.replace("keys/a.yaml", A);
    bench.wait_live("a 10.0.0.1:80\n", &watch);
    bench.replace("keys/a.yaml", "services/web: {}\n");
    bench.wait_live("", &watch);
    assert!(!watch.output().contains("WARN"), "{}", watch.output());
}

#[test]
fn a_file_behind_links_is_followed_as_in_a_volume_of_kubernetes() {
    let bench = Bench::new(TEMPLATE, "");
    for (version, text) in [("..1", A), ("..2", B)] {
        fs::create_dir(bench.file("keys").join(version)).unwrap();
        bench.write(&format!("keys/{version}/web.yaml"), text);
    }
    symlink("..1", bench.file("keys/..data")).unwrap();
    symlink("..data/web.yaml", bench.file("keys/web.yaml")).unwrap();
    let turn = |to: &str| {
        symlink(to, bench.file("keys/..new")).unwrap();
        fs::rename(bench.file("keys/..new"), bench.file("keys/..data")).unwrap();
    };
    for store in ["keys", "keys/web.yaml"] {
        let watch = bench.start(store, &[]);
        bench.wait_live("a 10.0.0.1:80\n", &watch);
        turn("..2");
        bench.wait_live("b 10.0.0.2:80\n", &watch);
        turn("..1");
        bench.wait_live("a 10.0.0.1:80\n", &watch);
    }
}

#[test]
fn files_come_to_a_directory_and_go() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys/a.yaml", A);
    let watch = bench.start("keys", &[]);
    bench.wait_live("a 10.0.0.1:80\n", &watch);
    fs::create_dir(bench.file("keys/more")).unwrap();
    bench.write(
        "keys/more/b.json",
        r#"{"/services/web/b/ip": "10.0.0.2", "/services/web/b/port": 80}"#,
    );
    bench.wait_live("a 10.0.0.1:80\nb 10.0.0.2:80\n", &watch);
    fs::remove_file(bench.file("keys/a.yaml")).unwrap();
    bench.wait_live("b 10.0.0.2:80\n", &watch);
    // Nothing at all may be a volume that is not mounted.
    fs::remove_dir_all(bench.file("keys/more")).unwrap();
    watch.wait_said("there is no file of keys in it");
    assert_eq!(bench.live().as_deref(), Some("b 10.0.0.2:80\n"));
    bench.write("keys/none.yaml", "{}");
    bench.wait_live("", &watch);
}

#[test]
fn a_mistake_is_told_once_and_leaves_everything_as_it_is_until_it_is_corrected() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys/a.yaml", A);
    let port = free_port();
    let watch = bench.start("keys", &["--admin", &format!("127.0.0.1:{port}")]);
    bench.wait_live("a 10.0.0.1:80\n", &watch);
    bench.write("keys/b.yaml", "services/web/a: {ip: 10.0.0.9}\n");
    let (a, b) = (bench.file("keys/a.yaml"), bench.file("keys/b.yaml"));
    let twice = format!(
        "/services/web/a/ip is in both {} and {}",
        a.display(),
        b.display()
    );
    watch.wait_said(&twice);
    wait_for("/ready to name the mistake", || {
        let ready = ask(port, "localhost", "/ready")?;
        (ready.starts_with("ready") && ready.contains(&twice)).then_some(())
    });
    let status = ask(port, "localhost", "/status").unwrap();
    assert!(status.contains(&twice), "{status}");
    // The same mistake in new words of the file is not told again; that the next one is told shows that tries go on.
    bench.write("keys/b.yaml", "services/web/a: {ip: 10.0.0.8}\n");
    bench.write("keys/b.yaml", "a: [\n");
    watch.wait_said("b.yaml: line 2: ");
    assert_eq!(watch.output().matches(&twice).count(), 1);
    assert_eq!(bench.live().as_deref(), Some("a 10.0.0.1:80\n"));
    bench.write("keys/b.yaml", B);
    bench.wait_live("a 10.0.0.1:80\nb 10.0.0.2:80\n", &watch);
    watch.wait_said("the store can be used again, after ");
    wait_for("/ready to be silent again", || {
        (ask(port, "localhost", "/ready")? == "ready\n").then_some(())
    });
}

#[test]
fn an_edit_is_one_change_also_of_several_paths() {
    let bench = Bench::new("", "");
    let seen = bench.file("seen");
    let template = "{{getv \"/app/v\"}} {{getv \"/other/v\"}}\n";
    bench.write("templates/b.tmpl", template);
    let (dest, all) = (bench.file("out/b.cfg"), seen.display());
    bench.write(
        "conf.d/b.toml",
        format!(
            "[template]\nsrc = 'b.tmpl'\ndest = '{0}'\nkeys = ['/app', '/other']\n\
             reload_cmd = 'cat {0} >> {all}'\n[template.pace]\nmin_interval = '0s'\n",
            dest.display()
        ),
    );
    let edit = |v: usize| format!("app: {{v: {v}}}\nother: {{v: {v}}}\n");
    bench.write("keys.yaml", edit(0));
    let watch = bench.start("keys.yaml", &[]);
    let mut want = String::new();
    for v in 0..8 {
        bench.replace("keys.yaml", &edit(v));
        let both = format!("{v} {v}\n");
        want += &both;
        wait_for(&format!("the edit {v} to be published"), || {
            let now = fs::read_to_string(&dest).ok()?;
            (now == both).then_some(())
        });
        wait_for("its reload", || {
            let told = fs::read_to_string(&seen).ok()?;
            told.ends_with(&both).then_some(())
        });
    }
    assert_eq!(
        fs::read_to_string(&seen).unwrap(),
        want,
        "{}",
        watch.output()
    );
}

#[test]
fn another_mistake_takes_the_place_of_the_one_before() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys.yaml", A);
    let port = free_port();
    let watch = bench.start("keys.yaml", &["--admin", &format!("127.0.0.1:{port}")]);
    bench.wait_live("a 10.0.0.1:80\n", &watch);
    bench.replace("keys.yaml", "x: *nobody\n");
    watch.wait_said("cannot be used: line 1: ");
    bench.replace("keys.yaml", "x: 1\ny:\n");
    let second = "cannot be used: line 2: /y is null";
    watch.wait_said(second);
    wait_for("/ready to name the second mistake alone", || {
        let ready = ask(port, "localhost", "/ready")?;
        (ready.contains(second) && !ready.contains("line 1: ")).then_some(())
    });
    assert_eq!(watch.output().matches(second).count(), 1);
}

#[test]
fn a_watcher_waits_for_a_file_that_is_wrong_at_the_start() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys.yaml", "a: [");
    let mut watch = bench.start("keys.yaml", &[]);
    watch.wait_said("cannot be used: line ");
    assert_eq!(bench.live(), None);
    bench.write("keys.yaml", A);
    bench.wait_live("a 10.0.0.1:80\n", &watch);
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.wait().code(), Some(0));
    assert!(
        !bench.file("state/snapshots").exists(),
        "the file is its own snapshot"
    );
}

#[test]
fn hostile_contents_do_no_harm() {
    let bench = Bench::new(TEMPLATE, "");
    let deep = "x: ".to_owned() + &"{a: ".repeat(10_000);
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    for (text, want) in [
        (deep.as_bytes(), "nested too deep"),
        (bomb.as_bytes(), "an alias (*name) is not supported"),
        (b"a: \xff".as_slice(), "line 1: it is not UTF-8"),
        (b"a: !!python/object:os.system x".as_slice(), "/a is tagged"),
        (b"".as_slice(), "there is nothing in it"),
    ] {
        bench.write("keys.yaml", text);
        let output = bench.watch(&bench.url("keys.yaml"), &["--once"]).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(69));
        assert!(said(&output).contains(want), "{}", said(&output));
    }
    // Names and values that would forge a line of the log, or leave the file.
    let names = "\"services/web/x\\n2026-01-01 ERROR forged\": {ip: 10.0.0.1, port: 80}\n\
                 \"/services/../../etc/passwd\": x\n\"services/web/b/ip\": \"10.0.0.1\\nserver evil\"\n";
    bench.write("keys.yaml", format!("{names}{A}"));
    let output = bench.watch(&bench.url("keys.yaml"), &["--once"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(bench.live().as_deref(), Some("a 10.0.0.1:80\n"));
    let forged = said(&output)
        .lines()
        .any(|line| line.starts_with("2026-01-01 ERROR"));
    assert!(!forged, "{}", said(&output));
}

#[test]
fn who_would_change_such_a_store_is_refused() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys.yaml", A);
    for store in [bench.url("keys.yaml"), "env:".to_owned()] {
        for args in [
            &[
                "register", "--name", "web", "--port", "80", "--ip", "10.0.0.9",
            ][..],
            &["drain", "web", "a"],
            &["undrain", "web", "a"],
        ] {
            let mut command = sidekick();
            command.args(args).args(["--store", &store]);
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(64), "{}", said(&output));
            let want = format!(
                "sidekick {} changes the store, and {store} is only read (from --store)",
                args[0]
            );
            assert!(said(&output).contains(&want), "{}", said(&output));
            assert!(said(&output).contains("hint: write the change where the keys come from"));
        }
    }
    assert_eq!(fs::read_to_string(bench.file("keys.yaml")).unwrap(), A);
}

#[test]
fn such_a_store_is_shown_and_exported() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys.yaml", A);
    let run = |args: &[&str]| {
        let mut command = sidekick();
        command
            .args(args)
            .args(["--store", &bench.url("keys.yaml")]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["ls", "web"]).contains("10.0.0.1:80"));
    assert!(run(&["status"]).contains("10.0.0.1:80"));
    let exported: serde_json::Value = serde_json::from_str(&run(&["export"])).unwrap();
    assert_eq!(exported["/services/web/a/ip"], "10.0.0.1");
    bench.write("keys.yaml", "a: [");
    let mut list = sidekick();
    let output = list
        .args(["ls", "--store", &bench.url("keys.yaml")])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(69));
    let said = said(&output);
    assert!(
        said.contains("keys.yaml cannot be used: line ") && said.contains("hint: correct it"),
        "{said}"
    );
}

#[test]
fn one_pass_renders_the_environment_into_a_file_that_haproxy_takes() {
    let (template, check, _) = judged_by_haproxy();
    let bench = Bench::new(&template, &check);
    let mut watch = bench.watch("env:", &["--once"]);
    watch.envs([
        ("SERVICES_WEB_A_IP", "10.0.0.1"),
        ("SERVICES_WEB_A_PORT", "80"),
        ("SERVICES_WEB_B-2_IP", "10.0.0.2"),
        ("SERVICES_WEB_B-2_PORT", "81"),
        ("SERVICESX_WEB_C_IP", "10.0.0.3"),
    ]);
    let output = watch.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let live = bench.live().unwrap();
    assert!(live.contains("\"10.0.0.1:80 10.0.0.2:81 \""), "{live}");
}

#[test]
fn confd_toml_names_the_environment_and_files() {
    let dir = temp_dir();
    let at = |name: &str| dir.path().join(name);
    for name in ["conf.d", "templates"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(
        at("conf.d/app.toml"),
        format!(
            "[template]\nsrc = 'app.tmpl'\ndest = '{}'\nkeys = ['/app']\n",
            at("app.conf").display()
        ),
    )
    .unwrap();
    fs::write(
        at("templates/app.tmpl"),
        "{{getv \"/app/db/host\"}} {{range getvs \"/app/names/*\"}}{{.}},{{end}}\n",
    )
    .unwrap();
    fs::write(
        at("keys.yaml"),
        "app:\n  db: {host: file}\n  names: [x, y]\n",
    )
    .unwrap();
    let files = format!(
        "backend = 'file'\nfile = ['{}']\n",
        at("keys.yaml").display()
    );
    for (confd, want) in [
        ("backend = 'env'\n", "env v,w,\n"),
        (files.as_str(), "file x,y,\n"),
    ] {
        fs::write(at("confd.toml"), confd).unwrap();
        let mut watch = sidekick();
        watch
            .args(["watch", "--once", "--conf-dir"])
            .arg(dir.path());
        watch.envs([
            ("APP_DB_HOST", "env"),
            ("APP_NAMES_1", "v"),
            ("APP_NAMES_2", "w"),
        ]);
        let output = watch.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(fs::read_to_string(at("app.conf")).unwrap(), want);
    }
}

#[test]
fn the_way_to_another_store_of_this_kind_needs_a_restart() {
    let bench = Bench::new(TEMPLATE, "");
    bench.write("keys.yaml", A);
    let keys = bench.file("keys.yaml");
    let confd = format!("backend = 'file'\nfile = ['{}']\n", keys.display());
    bench.write("confd.toml", confd);
    let mut command = sidekick();
    command.args(["watch", "--conf-dir"]).arg(bench.0.path());
    let watch = Process::start(&mut command, &bench.file("log"));
    bench.wait_live("a 10.0.0.1:80\n", &watch);
    bench.replace("confd.toml", "backend = 'env'\n");
    watch.wait_said("needs a restart of sidekick: now the store is env:");
    bench.replace("keys.yaml", B);
    bench.wait_live("b 10.0.0.2:80\n", &watch);
}
