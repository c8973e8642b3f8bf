//! Reads off the sources who imports whom: the layers, the rooms of `watch`, and circles of files.
//!
//! The tests find files and rooms in the tree. A file says in its first lines whether it is pure; the documentation of
//! `src/watch/mod.rs` gives the order of the rooms, and the tables of `docs/architecture.md` give the layers and the crates
//! with one door. A room or a layer that is missing there fails a test, and so does one that is there and not in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

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

/// The table of `docs/architecture.md` that stands below this marker, row by row and cell by cell.
fn table(of: &str) -> Vec<Vec<String>> {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md")).unwrap();
    let marker = format!("<!-- table of {of}: ");
    let lines = page.lines().skip_while(|line| !line.starts_with(&marker));
    // Behind the marker are the names of the columns and a line of dashes.
    let rows = lines.skip(3).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(str::to_owned)
            .collect()
    };
    let table: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(
        !table.is_empty(),
        "docs/architecture.md has no table of {of}"
    );
    table
}

/// What stands in backticks in a cell.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Which of our modules each layer may import, by the table in `docs/architecture.md`.
struct Layers(Vec<Vec<String>>);

impl Layers {
    fn read() -> Self {
        Self(table("layers"))
    }

    fn row(&self, module: &str, is_pure: bool) -> Option<&Vec<String>> {
        let names = |row: &&Vec<String>| quoted(&row[0]) == [module];
        let mut rows = self.0.iter().filter(names);
        let row = rows.find(|row| row[0].contains("(pure files)") == is_pure);
        // Most layers have one row for both kinds of files.
        row.or_else(|| self.0.iter().find(names))
    }

    fn allowed(&self, module: &str, is_pure: bool) -> Vec<&str> {
        let Some(row) = self.row(module, is_pure) else {
            panic!(
                "{module}: a new module needs a row in the table of layers in docs/architecture.md"
            );
        };
        quoted(&row[2])
    }
}

/// The directories of our crates.
const ROOTS: [&str; 4] = [
    "src",
    "tests/it",
    "benches/hitless",
    "benches/instructions/src",
];

struct Source {
    /// The directory of its crate.
    root: &'static str,
    path: String,
    /// The documentation at its top.
    doc: String,
    /// The code without comments and without its tests.
    code: String,
}

impl Source {
    /// Its path as a module: `watch::target::state`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches(self.root);
        let path = path.trim_start_matches('/').trim_end_matches(".rs");
        let mut module: Vec<&str> = path.split('/').collect();
        // Beside the library, `main` is a crate of its own.
        let is_binary = self.root == "src" && module == ["main"];
        if ["mod", "lib", "main"].contains(module.last().unwrap()) && !is_binary {
            module.pop();
        }
        module
    }

    /// The layer it belongs to: the first part of its path.
    fn layer(&self) -> &str {
        let path = self.path.trim_start_matches("src/");
        path.split(['/', '.']).next().unwrap()
    }

    fn is_pure(&self) -> bool {
        self.doc.contains("Pure.") || self.doc.contains("Pure:")
    }

    /// The paths within our crate that it names, from the root: those of its `use` lines and those in its code.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (at, _) in self.code.match_indices("use ") {
            let before = self.code[..at].chars().next_back();
            if before.is_none_or(|c| c == ' ' || c == '\n') {
                let tree = self.code[at + 4..].split(';').next().unwrap();
                flatten(tree, &mut Vec::new(), &mut paths);
            }
        }
        for start in ["crate::", "super::", "sidekick::"] {
            for (at, _) in self.code.match_indices(start) {
                let rest = &self.code[at..];
                let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
                paths.push(segments(&rest[..end]));
            }
        }
        paths
            .iter()
            .filter_map(|path| self.absolute(path))
            .collect()
    }

    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut here: Vec<String> = self.module().iter().map(|&part| part.to_owned()).collect();
        let mut rest = path.iter().map(String::as_str).peekable();
        match *rest.peek()? {
            "crate" => here.clear(),
            "sidekick" if self.root == "src" => here.clear(),
            "self" => {}
            "super" => {
                while rest.next_if_eq(&"super").is_some() {
                    here.pop()?;
                }
                return Some(here.into_iter().chain(rest.map(str::to_owned)).collect());
            }
            child => {
                let declared = format!("mod {child};");
                return self.code.contains(&declared).then(|| {
                    here.extend(path.iter().cloned());
                    here
                });
            }
        }
        rest.next();
        here.extend(rest.map(str::to_owned));
        Some(here)
    }
}

fn segments(path: &str) -> Vec<String> {
    let parts = path.split("::").map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The paths of a `use` tree: `a::{b, c::{d, e}}` gives `a::b`, `a::c::d` and `a::c::e`.
fn flatten(tree: &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let tree = tree.split(" as ").next().unwrap().trim();
    let Some((path, group)) = tree.split_once('{') else {
        let mut path = [prefix.clone(), segments(tree)].concat();
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        found.push(path);
        return;
    };
    let length = prefix.len();
    prefix.extend(segments(path));
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    flatten(&group[start..at], prefix, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    prefix.truncate(length);
}

fn sources() -> Vec<Source> {
    let found = sources_of("src");
    assert!(found.len() > 20, "the sources are somewhere else");
    found
}

fn sources_of(root: &'static str) -> Vec<Source> {
    let mut dirs = vec![PathBuf::from(root)];
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                dirs.extend((!path.ends_with("tests")).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(entry.path()).unwrap();
                found.push(source(root, path.to_str().unwrap(), &text));
            }
        }
    }
    found
}

fn source(root: &'static str, path: &str, text: &str) -> Source {
    let doc = text.lines().take_while(|line| line.starts_with("//!"));
    let code = text.split("\n#[cfg(test)]\n").map(|part| {
        let is_tests =
            part.starts_with("mod tests {") || part.starts_with("pub(super) mod tests {");
        if is_tests { "" } else { part }
    });
    let code = code.collect::<Vec<_>>().join("\n");
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    Source {
        root,
        path: path.to_owned(),
        doc: doc.collect::<Vec<_>>().join("\n"),
        code: lines.collect::<Vec<_>>().join("\n"),
    }
}

/// Which files need which others, as modules. That a file needs the module it lies in, for what that one offers to all
/// below it, is no dependency of its own.
fn dependencies(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<String> = sources.iter().map(|one| one.module().join("::")).collect();
    let file_of = |path: &[String]| {
        let mut ends = (1..=path.len()).rev().map(|end| path[..end].join("::"));
        ends.find(|module| modules.contains(module))
    };
    let needs = |one: &Source| {
        let own = one.module().join("::");
        let files = one
            .paths()
            .iter()
            .filter_map(|path| file_of(path))
            .collect::<BTreeSet<_>>();
        let is_above = |file: &String| own == *file || own.starts_with(&format!("{file}::"));
        (
            own.clone(),
            files.into_iter().filter(|file| !is_above(file)).collect(),
        )
    };
    sources.iter().map(needs).collect()
}

/// A way from `from` to `to`, if there is one.
fn way(
    from: &str,
    to: &str,
    needs: &BTreeMap<String, BTreeSet<String>>,
    seen: &mut BTreeSet<String>,
) -> Option<String> {
    for next in needs.get(from)? {
        if next == to {
            return Some(format!("{from} → {to}"));
        }
        if seen.insert(next.clone())
            && let Some(way) = way(next, to, needs, seen)
        {
            return Some(format!("{from} → {way}"));
        }
    }
    None
}

#[test]
fn no_files_need_each_other() {
    for root in ROOTS {
        let sources = sources_of(root);
        assert!(!sources.is_empty(), "the sources of {root} are elsewhere");
        let needs = dependencies(&sources);
        let circle = |file: &String| way(file, file, &needs, &mut BTreeSet::new());
        let circles: Vec<String> = needs.keys().filter_map(circle).collect();
        assert!(circles.is_empty(), "{root}: {circles:#?}");
    }
}

/// A circle of three files, of which one names the next by a path from the root, by `super`, or in a group.
#[test]
fn a_circle_is_found_whichever_way_its_files_name_each_other() {
    let files = [
        ("src/a/mod.rs", "mod one;\nmod two;"),
        ("src/a/one.rs", "use super::two::{Two, other::Thing};"),
        ("src/a/two.rs", "fn f() { crate::b::g() }"),
        ("src/b.rs", "use crate::{a::one::One, c};"),
        ("src/c.rs", "// use crate::b;"),
    ];
    let sources = files.map(|(path, text)| source("src", path, text));
    let needs = dependencies(&sources);
    let circle = |file: &str| way(file, file, &needs, &mut BTreeSet::new());
    assert_eq!(circle("b").as_deref(), Some("b → a::one → a::two → b"));
    assert_eq!((circle("c"), circle("a")), (None, None));
}

/// The rooms of `watch` in the order in which its documentation lists them: each imports only those before it.
#[test]
fn rooms_import_only_rooms_above_them() {
    let sources = sources();
    let map = sources
        .iter()
        .find(|one| one.path == "src/watch/mod.rs")
        .unwrap();
    let numbered = map.doc.lines().filter(|line| line.contains(". "));
    let names = numbered.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned));
    let order: Vec<String> = names.collect();
    let told: Vec<String> = table("rooms")
        .iter()
        .map(|row| quoted(&row[0])[0].to_owned())
        .collect();
    assert_eq!(told, order, "docs/architecture.md, and src/watch/mod.rs");
    for room in &order {
        let dir = format!("src/watch/{room}");
        let is_there = |one: &Source| {
            one.path == format!("{dir}.rs") || one.path.starts_with(&format!("{dir}/"))
        };
        assert!(sources.iter().any(is_there), "there is no room {room}");
    }
    let place = |room: &str| {
        let place = order.iter().position(|name| name == room);
        place.unwrap_or_else(|| panic!("the list in src/watch/mod.rs has not: {room}"))
    };
    for (file, needs) in dependencies(&sources) {
        let room = |module: &str| {
            let rest = module.strip_prefix("watch::")?;
            Some(place(rest.split("::").next().unwrap()))
        };
        for need in needs {
            if let (Some(own), Some(other)) = (room(&file), room(&need)) {
                assert!(other <= own, "{file} needs {need}, which comes later");
            }
        }
    }
}

/// Modules whose files are a plain list: nouns, settings, commands, parts of the operating system, tables of functions.
const LISTS: [&str; 6] = [
    "src/command/mod.rs",
    "src/config/mod.rs",
    "src/model/mod.rs",
    "src/proxy/mod.rs",
    "src/system/mod.rs",
    "src/watch/render/gotmpl/functions/mod.rs",
];

/// A reader who opens a directory finds in its `mod.rs` what each of its files is for.
#[test]
fn each_directory_names_its_files() {
    for map in sources() {
        let path = &map.path;
        if !path.ends_with("/mod.rs") || path == "src/watch/mod.rs" || LISTS.contains(&&**path) {
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let named: BTreeSet<&str> = map.doc.split(|c| !is_name(c)).collect();
        let lines = map.code.lines().filter_map(|line| line.strip_suffix(';'));
        let declared = lines.filter_map(|line| line.split_once("mod ").map(|(_, name)| name));
        for file in declared.filter(|file| *file != "tests") {
            assert!(named.contains(file), "{path} does not say what {file} is");
        }
        let is_room = path.starts_with("src/watch/") && path.matches('/').count() == 3;
        let has_rule = map.doc.contains("\n//! Rule: ");
        assert!(has_rule || !is_room, "{path} gives no rule");
    }
}

/// A room that the table calls pure has only pure files, except those that the table names there.
#[test]
fn pure_rooms_have_pure_files_only() {
    let sources = sources();
    let rooms = table("rooms");
    let mut pure = 0;
    for row in rooms {
        let Some((_, except)) = row[1].split_once("; pure") else {
            continue;
        };
        pure += 1;
        let room = format!("src/watch/{}/", quoted(&row[0])[0]);
        let excepted: Vec<String> = quoted(except)
            .iter()
            .map(|file| format!("{room}{file}.rs"))
            .collect();
        for source in sources.iter().filter(|one| one.path.starts_with(&room)) {
            let is_pure = source.is_pure() || !source.code.contains("fn ");
            let is_excepted = excepted.contains(&source.path);
            assert!(is_pure != is_excepted, "{}, pure: {is_pure}", source.path);
        }
    }
    assert!(pure > 0, "docs/architecture.md names no pure room");
}

#[test]
fn files_that_do_something_say_whether_they_are_pure() {
    for source in sources() {
        let layered = [
            "model", "register", "watch", "store", "proxy", "system", "admin", "manage",
        ];
        if layered.contains(&source.layer()) && source.code.contains("fn ") {
            let kinds = ["Pure.", "Pure:", "Shell.", "Adapter."];
            let says = kinds.iter().any(|kind| source.doc.contains(kind));
            assert!(says, "{} does not say what it is", source.path);
        }
    }
}

#[test]
fn modules_import_what_their_layer_allows() {
    let layers = Layers::read();
    let sources = sources();
    for row in &layers.0 {
        let is_there = |one: &Source| quoted(&row[0]) == [one.layer()];
        assert!(sources.iter().any(is_there), "there is no layer {}", row[0]);
    }
    for source in sources {
        let layer = source.layer();
        // It is the list of all modules.
        if layer == "lib" {
            continue;
        }
        let allowed = layers.allowed(layer, source.is_pure());
        for path in source.paths() {
            let Some(import) = path.first() else { continue };
            let fine = import == layer || allowed.contains(&import.as_str());
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
    let doors = table("doors");
    for source in sources() {
        let uses = |name: &str| {
            source.code.lines().any(|line| {
                let line = line.trim_start().trim_start_matches("pub ");
                line.starts_with(&format!("use {name}::"))
                    || line.starts_with(&format!("use {name};"))
            })
        };
        for row in &doors {
            let (name, paths) = (quoted(&row[0])[0], quoted(&row[1]));
            let may = paths.iter().any(|path| source.path.starts_with(path));
            assert!(may || !uses(name), "{} uses {name}", source.path);
        }
    }
}

/// A file system that hangs under one target holds up no other one: what runs in the loop of `watch` asks the files of
/// targets within a bound. sidekick's own state directory is another matter: there is one, of the operator's choice.
#[test]
fn the_loop_asks_no_file_of_a_target_without_a_bound() {
    let in_the_loop =
        ["run", "guard", "target", "applied", "source"].map(|room| format!("src/watch/{room}/"));
    let own = [
        "src/watch/guard/state_file.rs",
        "src/watch/source/snapshot.rs",
    ];
    let asks = [
        "fs::",
        "file::read(",
        "file::resolve(",
        ".exists()",
        ".is_file()",
        ".is_dir()",
        ".metadata()",
    ];
    for source in sources() {
        let is_in_the_loop = in_the_loop.iter().any(|room| source.path.starts_with(room));
        if !is_in_the_loop || own.contains(&source.path.as_str()) {
            continue;
        }
        // The bound stands in the same line, or in the one call that is made of the function.
        let lines = source.code.lines().filter(|line| !line.contains("within("));
        let is_bounded = source
            .code
            .contains("within(&output.dest, places_to_watch)");
        for line in lines.filter(|_| !is_bounded) {
            let ask = asks.iter().find(|ask| line.contains(**ask));
            assert!(ask.is_none(), "{}: {line}", source.path);
        }
    }
}

/// The formats of `/proc/PID` are known in one place.
#[test]
fn one_file_reads_what_the_kernel_says_of_processes() {
    let formats =
        ["stat", "status", "comm", "cmdline", "children"].map(|file| format!("/{file}\""));
    let readers: BTreeSet<String> = sources()
        .into_iter()
        .filter(|source| source.code.contains("\"/proc/{"))
        .filter(|source| formats.iter().any(|format| source.code.contains(format)))
        .map(|source| source.path)
        .collect();
    assert_eq!(readers, ["src/system/procfs.rs".to_owned()].into());
}

/// A clock that can be stepped decides nothing that matters: metrics show it, the directory store begins to count its revisions there,
/// and compares it with the time stamps of files to know which of them to read once more. A template of confd may print
/// it.
#[test]
fn the_wall_clock_decides_nothing() {
    for source in sources() {
        let looks = source.code.contains("SystemTime");
        let files = [
            "src/store/directory/revision.rs",
            "src/store/directory/cache.rs",
            "src/system/clock.rs",
            "src/admin/exposition.rs",
        ];
        let may = files.contains(&source.path.as_str());
        assert!(!looks || may, "{} looks at the wall clock", source.path);
    }
}
