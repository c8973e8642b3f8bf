//! A directory made for confd, as it is: what the program makes of it, to the byte, and what confd itself makes of it
//! where there is one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

const FILES: [&str; 3] = ["haproxy.cfg", "nginx.conf", "settings.php"];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/confd")
}

/// An etcd with the fixture's keys, and a copy of its directory that names that etcd.
struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
        };
        let keys = fs::read_to_string(fixture().join("keys.json")).unwrap();
        let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&keys).unwrap();
        let puts = keys.iter().map(|(key, value)| {
            // Inside its double quotes etcdctl takes a value as Go would.
            format!("put {key} {value}\n")
        });
        let txn = format!("\n{}\n\n", puts.collect::<String>());
        bench.etcd.etcdctl_with(&["txn"], txn.as_bytes());
        bench.copy(Path::new(""));
        fs::create_dir(bench.file("out")).unwrap();
        bench
    }

    fn copy(&self, below: &Path) {
        fs::create_dir_all(self.file("etc").join(below)).unwrap();
        for entry in fs::read_dir(fixture().join(below)).unwrap() {
            let entry = entry.unwrap();
            let name = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.copy(&name);
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let text = text.replace("ENDPOINT", &self.etcd.endpoint());
            let text = text.replace("OUT", self.file("out").to_str().unwrap());
            fs::write(self.file("etc").join(name), text).unwrap();
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn out(&self, name: &str) -> String {
        fs::read_to_string(self.file("out").join(name)).unwrap_or_default()
    }

    /// The program with no word about a store: `confd.toml` names it.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = sidekick();
        command.args(["watch", "--conf-dir"]).arg(self.file("etc"));
        command.args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

#[test]
fn a_directory_of_confd_renders_as_it_is() {
    let bench = Bench::new();
    let output = bench.run(&["--once", "--timeout", "30s"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for name in FILES {
        let want = fs::read_to_string(fixture().join("expected").join(name)).unwrap();
        assert_eq!(bench.out(name), want, "{name}");
    }
    let mode = |name| {
        fs::metadata(bench.file("out").join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("haproxy.cfg"), mode("settings.php")), (0o640, 0o644));
    let mut reloads: Vec<_> = bench.out("reloads").lines().map(str::to_owned).collect();
    reloads.sort();
    assert_eq!(reloads, ["haproxy", "nginx"]);
    for warning in [
        "confd.toml:6: log-level is not known here and is ignored",
        "conf.d/web/nginx.toml:5: template.confdir is not known here and is ignored",
    ] {
        assert!(said.contains(warning), "{said}");
    }
    let again = bench.run(&["--noop", "--diff"]);
    assert_eq!(
        (again.status.code(), again.stdout.len()),
        (Some(0), 0),
        "{again:?}"
    );
}

#[test]
fn confd_itself_makes_the_same_of_it() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let confd = std::env::split_paths(&path).map(|dir| dir.join("confd"));
    let Some(confd) = confd.into_iter().find(|file| file.is_file()) else {
        println!("skipped: no confd on the PATH");
        return;
    };
    let bench = Bench::new();
    let node = format!("http://{}", bench.etcd.endpoint());
    let mut command = Command::new(confd);
    command.args(["-onetime", "-backend", "etcdv3", "-node", &node]);
    command
        .args(["-prefix", "/production", "-confdir"])
        .arg(bench.file("etc"));
    command.arg("-config-file").arg("/dev/null");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for name in FILES {
        let want = fs::read_to_string(fixture().join("expected").join(name)).unwrap();
        assert_eq!(bench.out(name), want, "{name}");
    }
}

#[test]
fn changes_below_the_prefix_are_followed() {
    let bench = Bench::new();
    let process = &mut Process::start(&mut bench.command(&[]), &bench.file("log"));
    wait_for("the first file", || {
        bench
            .out("haproxy.cfg")
            .contains("backend WEB")
            .then_some(())
    });
    assert!(!bench.out("haproxy.cfg").contains("10.9.9.9"));
    bench
        .etcd
        .etcdctl(&["del", "--prefix", "/production/services/web/web-1/"]);
    wait_for("the server to go", || {
        (!bench.out("haproxy.cfg").contains("10.0.0.1:")).then_some(())
    });
    // A template that fails leaves its file alone, as with confd.
    let before = bench.out("settings.php");
    bench
        .etcd
        .etcdctl(&["del", "/production/config/app/db/name"]);
    wait_for("the error", || {
        let said = process.output();
        let begins = said.contains("settings.php.tmpl line 6: column ");
        (begins && said.contains(">: key does not exist: /config/app/db/name")).then_some(())
    });
    assert_eq!(bench.out("settings.php"), before);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_target_that_is_wrong_stops_no_other() {
    let bench = Bench::new();
    let file = |name: &str, text: &str| fs::write(bench.file("etc").join(name), text).unwrap();
    file("templates/nginx.conf.tmpl", "a\n{{nope}}\n");
    file(
        "conf.d/settings.toml",
        "[template\nsrc = 'settings.php.tmpl'\n",
    );
    file(
        "conf.d/none.toml",
        "[template]\nsrc = 'setings.php.tmpl'\ndest = '/x'\nkeys = ['/']\n",
    );
    let output = bench.run(&["--once", "--timeout", "30s"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for want in [
        "nginx.conf.tmpl:2: ",
        "settings.toml:1: ",
        "none.toml:2: ",
        "did you mean settings.php.tmpl?",
        "web/nginx: this target has failed; the others are kept",
    ] {
        assert!(said.contains(want), "{want} is not in: {said}");
    }
    assert!(bench.out("haproxy.cfg").contains("backend WEB"));
    assert_eq!(bench.out("nginx.conf"), "");
}

#[test]
fn an_edit_that_is_wrong_leaves_its_target_as_it_was_and_applies_to_the_others() {
    let bench = Bench::new();
    let file = |name: &str, text: &str| fs::write(bench.file("etc").join(name), text).unwrap();
    let keys = "dest = 'OUT/NAME'\nkeys = ['/services']\n[template.pace]\nmin_interval = '0s'\n";
    let target = |name: &str| {
        let keys = keys.replace("NAME", name);
        let keys = keys.replace("OUT", bench.file("out").to_str().unwrap());
        file(
            &format!("conf.d/{name}.toml"),
            &format!("[template]\nsrc = '{name}.tmpl'\n{keys}"),
        );
    };
    let list =
        |word: &str| format!("{word}{{{{range lsdir \"/services/web\"}}}} {{{{.}}}}{{{{end}}}}");
    file("templates/one.tmpl", &list("one"));
    file("templates/two.tmpl", "{{nope}}");
    target("one");
    target("two");
    let process = &mut Process::start(&mut bench.command(&[]), &bench.file("log"));
    let wait_out = |name: &str, want: &str| {
        wait_for(&format!("{name}: {want}"), || {
            (bench.out(name) == want).then_some(())
        });
    };
    wait_out("one", "one web-1 web-2");
    process.wait_said("two: this target is left out until its mistake is corrected");
    file("templates/one.tmpl", "x\n{{end}}");
    process.wait_said("one: this target stays as it was until its mistake is corrected");
    // What it was follows the store, and another one is mended meanwhile.
    file("templates/two.tmpl", &list("two"));
    wait_out("two", "two web-1 web-2");
    let server = "/production/services/web/web-1/";
    bench.etcd.etcdctl(&["del", "--prefix", server]);
    wait_out("one", "one web-2");
    wait_out("two", "two web-2");
    // Each edit that does not mend it is answered; what was not edited is not mentioned again.
    file("templates/one.tmpl", "x\ny\n{{end}}");
    process.wait_said("one.tmpl:3: ");
    assert_eq!(process.output().matches("two: this target").count(), 1);
    file("templates/one.tmpl", &list("mended"));
    wait_out("one", "mended web-2");
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn only_the_targets_that_are_named_have_to_be_right() {
    let bench = Bench::new();
    fs::write(bench.file("etc/templates/nginx.conf.tmpl"), "{{nope}}\n").unwrap();
    let keys = fixture().join("keys.json");
    let run = |args: &[&str]| {
        let mut command = sidekick();
        command.args(args).arg("--conf-dir").arg(bench.file("etc"));
        if args[0] == "render" {
            command.arg("--from").arg(&keys);
        }
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    for (args, code, out, err) in [
        (&["check", "haproxy"][..], 0, "1 target, no mistakes\n", ""),
        (
            &["check", "haproxy", "settings"],
            0,
            "2 targets, no mistakes\n",
            "",
        ),
        (
            &["check", "web/nginx"],
            78,
            "1 target, 1 mistake, 1 warning\n",
            "nginx.conf.tmpl:1: ",
        ),
        (
            &["check"],
            78,
            "3 targets, 1 mistake, 2 warnings\n",
            "warning: ",
        ),
        (&["check", "haprox"], 64, "", "hint: did you mean haproxy?"),
        (&["render", "haproxy"], 0, "backend WEB", ""),
        (&["render", "web/nginx"], 78, "", "nginx.conf.tmpl:1: "),
        (&["render"], 1, "backend WEB", "web/nginx: "),
        (
            &["render", "haporxy"],
            64,
            "",
            "hint: did you mean haproxy?",
        ),
    ] {
        let found = run(args);
        assert_eq!(found.0, Some(code), "{args:?} {found:?}");
        assert!(found.1.contains(out), "{args:?} {found:?}");
        assert!(found.2.contains(err), "{args:?} {found:?}");
    }
}
