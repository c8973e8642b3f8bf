//! `docs/conf.d.md`: its tables have every setting. Its examples are judged with those of all pages (`blocks.rs`).

use std::collections::BTreeSet;

use super::markdown::{codes, read, rows};

const PAGE: &str = "docs/conf.d.md";
/// Where settings are read.
const SOURCES: [&str; 4] = [
    "src/config/target/group.rs",
    "src/config/target/haproxy.rs",
    "src/config/target/reload.rs",
    "src/config/guard.rs",
];

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
