//! `docs/attributes.md` has what the shipped templates read of an instance, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use super::markdown::{codes, read, rows};
use super::root;

const PAGE: &str = "docs/attributes.md";
/// What the functions for routes read, in `src/watch/render/routes.rs`, and the fields of every instance that are a matter
/// of choice.
const READ_BY_FUNCTIONS: [&str; 5] = ["protocol", "vhost", "path", "weight", "state"];

/// The attributes and named ports that the shipped templates read.
fn read_by_templates() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for dir in ["templates", "templates/examples"] {
        for entry in fs::read_dir(root().join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let agreed = text.split("agreed(").skip(1);
            let names = agreed.filter_map(|call| call.split("attribute=\"").nth(1));
            found.extend(names.map(|name| word(name).to_owned()));
            for (before, ending) in [("attrs.", ""), ("attrs[\"", ""), ("ports.", "-port")] {
                let names = text.split(before).skip(1);
                found.extend(names.map(|name| format!("{}{ending}", word(name))));
            }
        }
    }
    found.remove("");
    found
}

fn word(text: &str) -> &str {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.split(|c| !is_part(c)).next().unwrap_or_default()
}

#[test]
fn the_page_has_every_attribute_that_a_shipped_template_reads() {
    let mut read_somewhere = read_by_templates();
    assert!(
        read_somewhere.contains("metrics-path"),
        "{read_somewhere:?}"
    );
    for name in READ_BY_FUNCTIONS {
        let code =
            read("src/watch/render/routes.rs") + &read("templates/haproxy-backends.cfg.tera");
        assert!(code.contains(name), "{name}");
        read_somewhere.insert(name.to_owned());
    }
    let rows = rows(PAGE);
    let rows = rows
        .iter()
        .filter(|row| ["attribute", "field"].contains(&row.titles[0].as_str()));
    let documented: BTreeSet<String> = rows
        .filter_map(|row| codes(&row.cells[0]).first().map(|name| (*name).to_owned()))
        .collect();
    assert_eq!(documented, read_somewhere);
}
