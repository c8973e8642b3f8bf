//! The JSON of every command, compared with the tables of `docs/json.md`: each field with its type, and when it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// A field of a form.
#[derive(Debug)]
struct Field {
    kind: String,
    is_always: bool,
}

/// What a section of the document says of a command, or of an object.
type Form = BTreeMap<String, Field>;

/// The tables, by the headings above them without their backquotes.
struct Forms(BTreeMap<String, Form>);

/// A form and a field of it that a command has printed.
type Seen = BTreeSet<(String, String)>;

impl Forms {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
        let text = fs::read_to_string(path).unwrap();
        let (mut forms, mut headings) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("##") {
                let heading = heading.trim_start_matches('#').replace('`', "");
                headings = heading
                    .split(',')
                    .map(|one| one.trim().to_owned())
                    .collect();
                continue;
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let ["", field, kind, there, meaning, ""] = cells.as_slice() else {
                continue;
            };
            if *field == "field" || field.starts_with("---") {
                continue;
            }
            assert!(!meaning.is_empty(), "{line}");
            for heading in &headings {
                let form: &mut Form = forms.entry(heading.clone()).or_default();
                let field = Field {
                    kind: without_links(kind),
                    is_always: *there == "always",
                };
                form.insert(cells[1].trim_matches('`').to_owned(), field);
            }
        }
        Self(forms)
    }

    fn form(&self, name: &str) -> &Form {
        let form = self.0.get(name);
        form.unwrap_or_else(|| panic!("docs/json.md has no table for {name:?}"))
    }

    /// Asserts that what a command has printed is what its section says.
    fn check_command(&self, command: &str, value: &Value, seen: &mut Seen) {
        let form = self.form(command);
        match form.get("(all)") {
            Some(all) => {
                seen.insert((command.to_owned(), "(all)".to_owned()));
                self.check(&all.kind, value, command, seen);
            }
            None => self.check(command, value, command, seen),
        }
    }

    fn check(&self, kind: &str, value: &Value, place: &str, seen: &mut Seen) {
        if let Some(kind) = kind.strip_suffix(" or null") {
            if !value.is_null() {
                self.check(kind, value, place, seen);
            }
        } else if let Some(kind) = kind.strip_prefix("list of ") {
            let list = value.as_array();
            let list = list.unwrap_or_else(|| panic!("{place} is no list: {value}"));
            for one in list {
                self.check(kind, one, &format!("{place}[]"), seen);
            }
        } else if let Some(kind) = kind.strip_prefix("map of ") {
            let map = value.as_object();
            let map = map.unwrap_or_else(|| panic!("{place} is no object: {value}"));
            for (name, one) in map {
                self.check(kind, one, &format!("{place}.{name}"), seen);
            }
        } else {
            let is_so = match kind {
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                "boolean" => value.is_boolean(),
                form => return self.check_object(form, value, place, seen),
            };
            assert!(is_so, "{place} is no {kind}: {value}");
        }
    }

    fn check_object(&self, form: &str, value: &Value, place: &str, seen: &mut Seen) {
        let fields = self.form(form);
        let object = value.as_object();
        let object = object.unwrap_or_else(|| panic!("{place} is no {form}: {value}"));
        for (name, one) in object {
            let place = format!("{place}.{name}");
            let field = fields.get(name);
            let field = field.unwrap_or_else(|| panic!("{place} is not in docs/json.md: {value}"));
            self.check(&field.kind, one, &place, seen);
            seen.insert((form.to_owned(), name.clone()));
        }
        for (name, field) in fields {
            let is_there = object.contains_key(name) || !field.is_always;
            assert!(
                is_there,
                "{place} has no {name}, which is always there: {value}"
            );
        }
    }

    /// Asserts that each field of the document has been printed at least once.
    fn assert_all_seen(&self, seen: &Seen) {
        for (form, fields) in &self.0 {
            for name in fields.keys() {
                let is_seen = seen.contains(&(form.clone(), name.clone()));
                assert!(
                    is_seen,
                    "nothing has printed {name} of {form}: does it still exist?"
                );
            }
        }
    }
}

/// A type, with `[name](#anchor)` as `name`.
fn without_links(kind: &str) -> String {
    let mut text = String::new();
    for part in kind.split('[') {
        match part.split_once("](#") {
            Some((name, rest)) => {
                text.push_str(name);
                text.push_str(rest.split_once(')').unwrap().1);
            }
            None => text.push_str(part),
        }
    }
    text
}

/// A store, a state directory and a configuration in which everything is that can be printed.
struct Scene {
    dir: tempfile::TempDir,
    _register: Process,
}

impl Scene {
    fn start() -> Self {
        let dir = temp_dir();
        let store = format!("dir://{}", dir.path().join("store").display());
        let socket = format!("unix:{}", dir.path().join("admin.sock").display());
        let mut register = sidekick();
        register.args(["register", "--store", &store, "--admin", &socket]);
        register.args(["--name=web", "--id=a", "--port=80", "--port=admin=81"]);
        register.args(["--ip=127.0.0.1", "--weight=7", "--attr=vhost=x.example.org"]);
        let log = dir.path().join("log");
        let register = Process::start(register.args(["--", "sleep", "600"]), &log);
        let scene = Self {
            dir,
            _register: register,
        };
        wait_for("the instance", || {
            scene.path("store/services/web/a/ip").exists().then_some(())
        });
        scene.write_store();
        scene.write_state();
        scene.write_configuration();
        scene
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn write_store(&self) {
        let targets = r#"[
            {"name": "good", "since": 100, "revision": 7},
            {"name": "bad", "failing": {"since": 120, "step": "check", "why": "no"}, "owed": true, "stale": 90,
             "held": [{"service": "web", "count": 2, "since": 110, "until": 130, "why": "few"},
                      {"count": 0, "since": 110, "why": "whole"}]}
        ]"#;
        for (key, value) in [
            ("services/web/b/ip", "10.0.0.2"),
            ("services/web/b/port", "80"),
            ("services/web/b/state", "drain"),
            (
                "services/web/b/state_since",
                "2026-11-26T03:12:07Z operator",
            ),
            ("services/web/broken/ip", "no address"),
            ("services/web/broken/port", "80"),
            ("sidekick/watchers/lb-1/host", "lb"),
            (
                "sidekick/watchers/lb-1/applied",
                "99999999999999999 /services",
            ),
            ("sidekick/watchers/lb-1/old_workers", "2"),
            ("sidekick/watchers/lb-1/version", "0.1.0"),
            ("sidekick/watchers/lb-1/targets", targets),
            ("sidekick/watchers/lb-1/config", "a.toml:3: no"),
            ("sidekick/seen/gone-1/host", "gone"),
            ("sidekick/seen/gone-1/targets", "haproxy"),
        ] {
            self.write(&format!("store/{key}"), value);
        }
    }

    fn write_state(&self) {
        let record = serde_json::json!({
            "target": "haproxy", "dest": "/etc/haproxy/a.cfg", "pid": std::process::id(), "shown": null,
            "held": [
                {"service": "web", "why": "few", "since": 110, "until": 130, "instances": ["a", "b"]},
                {"service": null, "why": "whole", "since": 110, "until": null, "instances": []},
            ],
            "lost_total": 2, "holds_total": 2, "held_total": 2, "released_total": 0, "outside": 0,
        });
        self.write("state/guards/x.json", &record.to_string());
        let entry = r#"{"at":100,"target":"haproxy","action":"failed","revision":7,"cause":"+web/b","error":"no","took_ms":12,
            "steps":[{"step":"render","took_us":900}],"files":["/etc/haproxy/a.cfg"],"diff":"-a\n+b\n"}"#;
        self.write("state/history.jsonl", &(entry.replace('\n', "") + "\n"));
    }

    fn write_configuration(&self) {
        let target = "[template]\nsrc = 'none.tera'\ndest = 'relative'\nservices = ['web']\ncheck_cdm = 'true'\n";
        self.write("conf/conf.d/a.toml", target);
        self.write("conf/templates/a.tera", "");
    }

    /// What a command prints, and its exit status.
    fn run(&self, args: &[&str]) -> (Option<i32>, Value) {
        let mut command = sidekick();
        command.args(args);
        if args[0] != "export" {
            command.args(["--format", "json"]);
        }
        let store = format!("dir://{}", self.path("store").display());
        command.env("SIDEKICK_STORE", store);
        command.env("SIDEKICK_STATE_DIR", self.path("state"));
        command.env("SIDEKICK_CONF_DIR", self.path("conf"));
        let socket = format!("unix:{}", self.path("admin.sock").display());
        command.env("SIDEKICK_ADMIN", socket);
        let output = command.output().unwrap();
        let json = serde_json::from_slice(&output.stdout);
        let json = json.unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"));
        (output.status.code(), json)
    }
}

#[test]
fn every_command_prints_what_the_document_says_and_no_more() {
    let scene = Scene::start();
    let (forms, mut seen) = (Forms::read(), Seen::new());
    for (form, args, status) in [
        ("sidekick status", &["status"][..], 1),
        ("sidekick status", &["status", "web", "--wide"], 1),
        ("sidekick ls", &["ls"], 0),
        ("sidekick ls SERVICE", &["ls", "web"], 0),
        ("sidekick drain", &["drain", "web", "a"], 0),
        ("sidekick undrain", &["undrain", "web", "a"], 0),
        ("sidekick drain", &["drain", "web", "b", "--no-wait"], 0),
        ("sidekick history", &["history", "--diff"], 0),
        ("sidekick guard list", &["guard", "list"], 0),
        (
            "sidekick guard release",
            &["guard", "release", "haproxy", "--service", "db"],
            1,
        ),
        ("sidekick ip", &["ip", "iface:none,127.0.0.1"], 0),
        ("sidekick ip", &["ip", "iface:lo"], 0),
        ("sidekick ip", &["ip", "iface:none"], 69),
        ("sidekick check", &["check"], 78),
        ("sidekick health", &["health", "--ready"], 0),
        ("sidekick export", &["export"], 0),
    ] {
        let (found, json) = scene.run(args);
        assert_eq!(found, Some(status), "{args:?}: {json:#}");
        forms.check_command(form, &json, &mut seen);
    }
    // `undrain` prints the same, and is not asked for all of it.
    let undrain = forms.form("sidekick undrain").keys();
    seen.extend(undrain.map(|name| ("sidekick undrain".to_owned(), name.clone())));
    forms.assert_all_seen(&seen);
}

#[test]
fn nothing_is_an_empty_list() {
    let dir = temp_dir();
    let store = format!("dir://{}", dir.path().display());
    for args in [&["ls"][..], &["history"], &["guard", "list"]] {
        let mut command = sidekick();
        command.args(args).args(["--format", "json"]);
        command.env("SIDEKICK_STORE", &store);
        command.env("SIDEKICK_STATE_DIR", dir.path());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(output.stdout, b"[]\n", "{args:?}");
    }
}
