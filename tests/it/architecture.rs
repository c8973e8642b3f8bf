//! Who may import whom: the layers of `src/lib.rs`, read off the `use` lines.

use std::fs;
use std::path::{Path, PathBuf};

/// The files that decide and never act.
const PURE: &[&str] = &[
    "src/model/",
    "src/register/health.rs",
    "src/register/lifecycle",
    "src/watch/announce.rs",
    "src/watch/entrypoint.rs",
    "src/watch/fixture",
    "src/register/roster",
    "src/watch/guard.rs",
    "src/watch/guard/",
    "src/watch/paths",
    "src/watch/proof.rs",
    "src/proxy/haproxy/processes.rs",
    "src/proxy/haproxy/context.rs",
    "src/proxy/haproxy/converge.rs",
    "src/proxy/haproxy/diff.rs",
    "src/proxy/haproxy/plan.rs",
    "src/proxy/haproxy/reply.rs",
    "src/proxy/haproxy/server.rs",
    "src/proxy/haproxy/state.rs",
    "src/proxy/haproxy/text.rs",
    "src/watch/saved.rs",
    "src/watch/schedule.rs",
    "src/watch/trouble.rs",
    "src/watch/render/",
];

/// What pure files have no use for: clocks, dice, files, sockets, locks, tasks, logs.
const IMPURE: [&str; 14] = [
    "async fn",
    ".await",
    "Instant::now",
    "SystemTime",
    "fastrand",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "tokio::",
    "tracing::",
    "Mutex",
];

/// Which of our modules a module may import, besides itself.
fn allowed(module: &str, is_pure: bool) -> &'static [&'static str] {
    match module {
        "model" => &["model"],
        "cli" => &["cli"],
        "store" | "system" | "proxy" => &["model"],
        "config" => &["model", "config", "cli"],
        "register" | "watch" if is_pure => &["model"],
        "register" | "watch" => &["model", "config", "store", "system", "proxy"],
        "manage" => &["model", "store"],
        "error" => &["model", "config", "manage", "register", "watch"],
        // Both see everything: the map, and the phases of the program.
        "lib" | "main" => &[
            "cli", "config", "error", "manage", "model", "proxy", "register", "store", "system",
            "watch",
        ],
        other => panic!("{other}: a new module has to find its place in the layers"),
    }
}

/// Crates with one door.
const DOORS: &[(&str, &str)] = &[
    ("etcd_client", "src/store/etcd"),
    ("tera", "src/watch/render/"),
    ("regex_lite", "src/watch/render/gotmpl/functions/texts.rs"),
    ("ring", "src/watch/render/gotmpl/functions/texts.rs"),
    ("clap", "src/cli"),
    ("saphyr_parser", "src/watch/fixture/yaml.rs"),
    ("hyper", "src/system/probe"),
    ("hyper_util", "src/system/probe"),
    ("sd_notify", "src/system/notify.rs"),
    ("zbus", "src/system/unit.rs"),
    ("tokio::process", "src/system/"),
];

/// The kernel's events have two: one for keys, one for the configuration.
const NOTIFY: [&str; 2] = ["src/store/directory", "src/system/watched.rs"];

struct Source {
    path: String,
    /// The code without comments and without its tests.
    code: String,
}

impl Source {
    fn module(&self) -> &str {
        let path = self.path.trim_start_matches("src/");
        path.split(['/', '.']).next().unwrap()
    }

    fn is_pure(&self) -> bool {
        PURE.iter().any(|pure| self.path.starts_with(pure))
    }

    /// The first segments of what it takes from our own crate.
    fn imports(&self) -> Vec<&str> {
        ["crate::", "sidekick::"]
            .iter()
            .flat_map(|root| self.code.split(root).skip(1))
            .map(|rest| {
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
                    .unwrap()
            })
            .filter(|name| !name.is_empty())
            .collect()
    }
}

fn sources() -> Vec<Source> {
    let mut dirs = vec![PathBuf::from("src")];
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                dirs.extend((!path.ends_with("tests")).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(entry.path()).unwrap();
                let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
                let lines = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                found.push(Source {
                    path: path.to_str().unwrap().to_owned(),
                    code: lines.collect::<Vec<_>>().join("\n"),
                });
            }
        }
    }
    assert!(found.len() > 20, "the sources are somewhere else");
    found
}

#[test]
fn modules_import_what_their_layer_allows() {
    for source in sources() {
        let module = source.module();
        let allowed = allowed(module, source.is_pure());
        for import in source.imports() {
            // `sidekick::` in main.rs, and macros such as `crate::name!`, are caught by the same list.
            let fine = import == module || allowed.contains(&import);
            assert!(fine, "{} imports {import}", source.path);
        }
    }
}

#[test]
fn pure_files_are_pure() {
    for source in sources().iter().filter(|source| source.is_pure()) {
        for impure in IMPURE {
            assert!(
                !source.code.contains(impure),
                "{} has {impure}",
                source.path
            );
        }
    }
}

#[test]
fn crates_with_one_door_are_imported_there_only() {
    for source in sources() {
        let uses = |name: &str| {
            source.code.lines().any(|line| {
                let line = line.trim_start().trim_start_matches("pub ");
                line.starts_with(&format!("use {name}::"))
                    || line.starts_with(&format!("use {name};"))
            })
        };
        let may = NOTIFY.iter().any(|door| source.path.starts_with(door));
        assert!(may || !uses("notify"), "{} uses notify", source.path);
        for (name, door) in DOORS {
            let used = uses(name);
            let is_main = source.path == "src/main.rs" && *name == "clap";
            assert!(
                !used || source.path.starts_with(door) || is_main,
                "{} uses {name}",
                source.path
            );
        }
    }
}

/// A clock that can be stepped decides nothing that matters: the directory store begins to count its revisions there,
/// and compares it with the time stamps of files to know which of them to read once more. A template of confd may print
/// it.
#[test]
fn the_wall_clock_decides_nothing() {
    for source in sources() {
        let looks = source.code.contains("SystemTime");
        let files = [
            "src/store/directory/revision.rs",
            "src/store/directory/cache.rs",
            "src/watch/world.rs",
        ];
        let may = files.contains(&source.path.as_str());
        assert!(!looks || may, "{} looks at the wall clock", source.path);
    }
}
