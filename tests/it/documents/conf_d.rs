//! `docs/conf.d.md`: each of its examples is a configuration without mistakes, and its tables have every setting.

use std::collections::BTreeSet;
use std::fs;

use super::markdown::{blocks, codes, read, rows};
use super::root;
use crate::harness::{sidekick, temp_dir, tool};

const PAGE: &str = "docs/conf.d.md";
/// Where settings are read.
const SOURCES: [&str; 4] = [
    "src/config/target/group.rs",
    "src/config/target/haproxy.rs",
    "src/config/target/reload.rs",
    "src/config/guard.rs",
];

#[test]
fn every_example_is_a_configuration_without_mistakes() {
    for name in ["haproxy", "nginx"] {
        tool(name);
    }
    let examples = blocks(PAGE)
        .into_iter()
        .filter(|block| block.language == "toml");
    let mut count = 0;
    for example in examples {
        count += 1;
        let dir = temp_dir();
        let templates = dir.path().join("templates");
        fs::create_dir(&templates).unwrap();
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        fs::write(dir.path().join("conf.d/example.toml"), &example.text).unwrap();
        fs::write(templates.join("example.cfg.tera"), "").unwrap();
        for entry in fs::read_dir(root().join("templates")).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                fs::copy(entry.path(), templates.join(entry.file_name())).unwrap();
            }
        }
        let output = sidekick()
            .args(["check", "--conf-dir"])
            .arg(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}", example.place);
        assert!(
            said.contains("1 target, no mistakes"),
            "{}: {said}",
            example.place
        );
    }
    assert!(count > 6, "few examples are found: {count}");
}

/// The names in the lists of what a table may hold: `finish(&[...])`, and `KNOWN`.
fn settings() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in SOURCES {
        let text = read(source);
        let lists = ["finish(&[", "const KNOWN: [&str; 20] = ["];
        for list in lists.iter().flat_map(|begin| text.split(begin).skip(1)) {
            let list = list.split(']').next().unwrap_or_default();
            let quoted = list.split('"').skip(1).step_by(2);
            names.extend(quoted.map(str::to_owned));
        }
    }
    names.retain(|name| !name.starts_with('['));
    names
}

#[test]
fn the_tables_have_every_setting() {
    let settings = settings();
    assert!(
        settings.len() > 25,
        "the lists are somewhere else: {settings:?}"
    );
    let rows = rows(PAGE);
    let rows = rows.iter().filter(|row| row.titles[0].starts_with("field"));
    let documented: BTreeSet<String> = rows
        .flat_map(|row| codes(&row.cells[0]))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, settings);
}
