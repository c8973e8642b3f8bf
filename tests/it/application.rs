//! `conf.d/examples` and `templates/examples`: the configuration of a whole application, judged by the programs it is for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use sidekick::model::instance::InstanceId;
use sidekick::model::key::Entries;

use crate::harness::{self, sidekick, skipped, temp_dir};
use crate::shipped::{FIXTURES, Target, assert_valid, check, fixture, render, root, tamed, target};

/// Each with the program that judges it by the target's `check_cmd`, if there is one.
pub(crate) const EXAMPLES: [(&str, Option<&str>); 13] = [
    ("apache", Some("apache2")),
    ("apache-single", Some("apache2")),
    ("dnsmasq", None),
    ("elasticsearch", None),
    ("galera", Some("mariadbd")),
    ("haproxy-galera", Some("haproxy")),
    ("haproxy-single", Some("haproxy")),
    ("kibana", None),
    ("log-shipper", None),
    ("nginx-single", Some("nginx")),
    ("nginx-stream", Some("nginx")),
    ("php", Some("php")),
    ("prometheus", Some("promtool")),
];

pub(crate) fn example(name: &str) -> Target {
    target(&format!("examples/{name}"))
}

/// Whether a program is there. Every one has to be, but promtool, which Debian's mirror has to give.
fn judge(program: &str) -> bool {
    if program == "promtool" {
        let is_there = harness::unpacked_or_installed(program).is_some();
        if !is_there {
            skipped("promtool is not installed, and contrib/prometheus.sh has not unpacked it");
        }
        return is_there;
    }
    harness::tool(program);
    true
}

/// The fields that the templates read of the services they name.
const FIELDS: [&str; 16] = [
    "host",
    "ip",
    "port",
    "weight",
    "state",
    "protocol",
    "vhost",
    "path",
    "check",
    "check-port",
    "gcomm-port",
    "http-port",
    "transport-port",
    "metrics-port",
    "metrics-path",
    "note",
];
const SERVICES: [&str; 5] = ["cache", "database", "galera", "logcollector", "logstorage"];

/// The hostile fixture, and each of its values in each of the fields, and as the id, of an instance of each of the
/// services that the templates name; `change` is what becomes of the values.
fn hostile(change: fn(&[u8]) -> &[u8]) -> Entries {
    let given = fixture("hostile");
    let values: Vec<Vec<u8>> = given
        .iter()
        .filter(|(key, _)| key.starts_with("/services/f-note/") && key.ends_with("/note"))
        .map(|(_, value)| value.to_vec())
        .collect();
    assert!(values.len() > 40, "the fixture has its values elsewhere");
    let mut entries: Entries = given
        .iter()
        .map(|(key, value)| (key.clone(), change(value).to_vec().into()))
        .collect();
    for service in SERVICES {
        let mut put = |id: &str, field: &str, value: &[u8]| {
            let key = format!("/services/{service}/{id}/{field}");
            entries.insert(key.into(), value.to_vec().into());
        };
        put("good", "ip", b"10.0.0.9");
        put("good", "port", b"4000");
        for (n, value) in values.iter().enumerate() {
            let text = std::str::from_utf8(value).expect("the fixture is text");
            let valid = text.parse::<InstanceId>().is_ok();
            if !valid && text.contains("evil") {
                put(text, "ip", b"10.6.6.6");
                put(text, "port", b"4000");
            }
            for field in FIELDS {
                let id = format!("{field}-{n:02}");
                for (name, whole) in [("ip", "10.0.0.1"), ("port", "80"), ("metrics-port", "81")] {
                    put(&id, name, whole.as_bytes());
                }
                put(&id, field, change(value));
            }
        }
    }
    entries
}

#[test]
fn the_programs_take_what_is_rendered() {
    for (name, program) in EXAMPLES {
        if !program.is_none_or(judge) {
            continue;
        }
        let target = example(name);
        for given in FIXTURES {
            let what = format!("{name}, {given}");
            assert_valid(&target, &what, &render(&target, fixture(given)));
        }
        let all = render(&target, hostile(|value| value));
        assert_valid(&target, &format!("{name}, hostile everywhere"), &all);
        if program.is_some() {
            let refused = check(&target, "<?php nonsense } here\n");
            assert!(refused.is_err(), "{name}: nonsense is taken");
        }
    }
}

/// As for the main templates: a hostile value and a tame one that is just as invalid give the same bytes.
#[test]
fn no_hostile_value_leaves_a_trace() {
    let (evil, tame) = (hostile(|value| value), hostile(tamed));
    for (name, _) in EXAMPLES {
        let target = example(name);
        let text = render(&target, evil.clone());
        assert_eq!(text, render(&target, tame.clone()), "{name}");
        assert!(!text.contains("10.6.6.6"), "{name}\n{text}");
        assert!(text.contains("10.0.0."), "{name} has instances\n{text}");
    }
}

#[test]
fn what_has_an_example_is_judged() {
    let files = fs::read_dir(root().join("conf.d/examples")).expect("examples");
    let found: BTreeSet<String> = files
        .map(|file| file.expect("an entry").path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let known: BTreeSet<String> = EXAMPLES.map(|(name, _)| name.to_owned()).into();
    assert_eq!(found, known);
}

/// Every file of conf.d, each alone and all together, as it would be copied.
#[test]
fn every_target_loads() {
    let mut files: Vec<_> = ["conf.d", "conf.d/examples"]
        .iter()
        .flat_map(|dir| fs::read_dir(root().join(dir)).expect("conf.d"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    files.sort();
    assert_eq!(files.len(), EXAMPLES.len() + 2);
    let each = files.chunks(1);
    for chosen in each.chain([files.as_slice()]) {
        let dir = temp_dir();
        for sub in ["conf.d", "store"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        // The examples below conf.d, as the README copies them, are none of the targets.
        for sub in ["templates", "conf.d/examples"] {
            symlink(root().join(sub), dir.path().join(sub)).unwrap();
        }
        let mut dests = 0;
        for file in chosen {
            let own = dir.path().join("conf.d").join(file.file_name().unwrap());
            let text = fs::read_to_string(file).unwrap();
            let lines = text.lines().map(|line| match line.split_once('=') {
                // Somewhere that is there, whatever is installed here.
                Some((field, _)) if field.trim() == "dest" => {
                    dests += 1;
                    format!("dest = '{}.{dests}'", own.display())
                }
                Some(_) | None => line.to_owned(),
            });
            fs::write(&own, lines.collect::<Vec<_>>().join("\n")).unwrap();
        }
        let output = sidekick()
            .args(["watch", "--once", "--noop", "--conf-dir"])
            .arg(dir.path())
            .arg("--store")
            .arg(format!("dir://{}", dir.path().join("store").display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{chosen:?}: {said}");
        let written = said.matches("would change").count();
        // The files of a group are told of in one line.
        assert_eq!(written, chosen.len(), "{said}");
        assert_eq!(said.matches(".toml.").count(), dests, "{said}");
    }
}
