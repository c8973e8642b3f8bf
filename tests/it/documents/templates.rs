//! `docs/templates.md`: each of its examples gives what stands beside it, and no function, filter or test is missing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sidekick::model::catalog::Catalog;
use sidekick::model::key::Entries;
use sidekick::model::keyspace;
use sidekick::model::os::Srv;
use sidekick::model::prefix::Prefix;
use sidekick::model::update::{Revision, Snapshot, Update};
use sidekick::watch::render::{Host, Template, View};

use super::markdown::{Row, blocks, codes, read, rows};

const PAGE: &str = "docs/templates.md";

/// What the page says of the store and of the host.
fn view() -> View {
    let all = blocks(PAGE);
    let store = all.iter().find(|block| block.language == "json").unwrap();
    let store: serde_json::Value = serde_json::from_str(&store.text).unwrap();
    let mut entries = Entries::new();
    flatten(String::new(), &store, &mut entries);
    let prefix = |path: &str| Prefix::parse(path).unwrap();
    let mut catalog = Catalog::new(prefix(keyspace::DEFAULT_PREFIX));
    let snapshot = Snapshot {
        revision: Revision(1),
        entries,
    };
    catalog.apply(&prefix("/"), Update::Reset(snapshot));
    View {
        target: "example".to_owned(),
        catalog: Arc::new(catalog),
        services: Vec::new(),
        keys: vec![prefix("/services"), prefix("/app")],
        root: prefix("/"),
        env: Arc::new(BTreeMap::from([("CITY".to_owned(), "Berlin".to_owned())])),
        host: host(),
    }
}

/// What a template gives with the keys of the page.
pub(super) fn rendered(source: &str) -> Result<String, String> {
    let given = Template::compile("t.tera", source).and_then(|template| template.render(&view()));
    given.map_err(|error| format!("{error}, {}", error.hint().unwrap_or_default()))
}

fn flatten(at: String, value: &serde_json::Value, entries: &mut Entries) {
    match value {
        serde_json::Value::Object(names) => {
            for (name, below) in names {
                flatten(format!("{at}/{name}"), below, entries);
            }
        }
        serde_json::Value::String(text) => {
            entries.insert(at.into(), text.clone().into_bytes().into());
        }
        other => {
            entries.insert(at.into(), other.to_string().into_bytes().into());
        }
    }
}

fn host() -> Host {
    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }
    Host {
        addresses: |_| addresses(&["2001:db8::9", "10.0.0.9"]),
        services: |_| {
            vec![Srv {
                target: "web.example.org".to_owned(),
                port: 8080,
                priority: 1,
                weight: 1,
            }]
        },
        file_exists: |path| path == "/etc/hostname",
        now: || Duration::ZERO,
        hostname: || "proxy-1".to_owned(),
        interface_addresses: |_| addresses(&["10.9.9.9", "2001:db8::99"]),
    }
}

/// The languages in which a row has an example, each with the ending of its templates and what it gives.
fn examples(row: &Row) -> Vec<(&'static str, &str, String)> {
    let cell = |title: &str| {
        let at = row.titles.iter().position(|one| one == title);
        at.map(|at| row.cells[at].as_str())
    };
    let Some(gives) = cell("gives") else {
        return Vec::new();
    };
    let wanted = codes(gives);
    let kinds = [("Tera", "t.tera"), ("Go", "t.tmpl")];
    let given = kinds.into_iter().filter_map(|(title, name)| {
        let source = *codes(cell(title)?)
            .first()
            .unwrap_or_else(|| panic!("{}: no example", row.place));
        Some((title, name, source))
    });
    let given = given.map(|(title, name, source)| {
        // "`a`, in Go `b`", where they differ.
        let at = usize::from(title == "Go" && wanted.len() > 1);
        (
            name,
            source,
            wanted.get(at).copied().unwrap_or_default().to_owned(),
        )
    });
    given.collect()
}

#[test]
fn every_example_gives_what_stands_beside_it() {
    let view = view();
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows(PAGE) {
        let fails = row.cells.iter().any(|cell| cell.starts_with("error: "));
        for (name, source, want) in examples(&row) {
            count += 1;
            let given = Template::compile(name, source).and_then(|template| template.render(&view));
            let is_right = match &given {
                Ok(text) => !fails && text.trim_end() == want,
                Err(error) => {
                    fails && {
                        let hint = error.hint().unwrap_or_default();
                        format!("{error} {hint}").contains(&want)
                    }
                }
            };
            let place = &row.place;
            wrong.extend(
                (!is_right)
                    .then(|| format!("{place}: {source}\n  gives {given:?}\n  and not {want:?}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "few examples are found: {count}");
}

#[test]
fn every_block_gives_the_block_behind_it() {
    let view = view();
    let all = blocks(PAGE);
    let mut count = 0;
    for (block, next) in all.iter().zip(all.iter().skip(1)) {
        if block.language != "tera" {
            continue;
        }
        count += 1;
        let template = Template::compile("t.tera", &block.text).unwrap();
        assert_eq!(
            template.render(&view).unwrap(),
            next.text,
            "{}",
            block.place
        );
    }
    assert!(count > 0, "no example is found");
}

/// What stands in place of confd's templates, and they themselves, are templates.
#[test]
fn the_templates_of_the_migration_compile() {
    let mut count = 0;
    for row in rows("docs/migration.md") {
        for (title, cell) in row.titles.iter().zip(&row.cells) {
            let name = match title.as_str() {
                "confd's template" => "t.tmpl",
                "Tera" | "here" => "t.tera",
                _ => continue,
            };
            for code in codes(cell).into_iter().filter(|code| code.starts_with('{')) {
                count += 1;
                // Half a loop, as the list of what is announced shows it, is none.
                let whole = if code.starts_with("{% for") && !code.contains("endfor") {
                    format!("{code}{{% endfor %}}")
                } else {
                    code.to_owned()
                };
                let compiled = Template::compile(name, &whole);
                assert!(compiled.is_ok(), "{}: {code}: {compiled:?}", row.place);
            }
        }
    }
    assert!(count > 10, "few templates are found: {count}");
}

/// The names in the first column of the table at the beginning of a source: the reference of the language.
fn reference(source: &str) -> Vec<String> {
    let source = read(source);
    let rows = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "));
    let mut names = Vec::new();
    for row in rows {
        for code in codes(row.split(" | ").next().unwrap_or_default()) {
            let name = code.split('(').next().unwrap_or_default();
            names.push(name.to_owned());
        }
    }
    names
}

/// The functions of the Go engine.
fn go_functions() -> Vec<String> {
    let dir = "src/watch/render/gotmpl/functions";
    let mut names = Vec::new();
    for entry in std::fs::read_dir(super::root().join(dir)).unwrap() {
        let name = entry.unwrap().file_name();
        let text = read(&format!("{dir}/{}", name.to_str().unwrap()));
        let parts = text.split("name: \"").skip(1);
        names.extend(parts.filter_map(|part| part.split('"').next().map(str::to_owned)));
    }
    names
}

#[test]
fn no_function_filter_or_test_is_missing() {
    let page = read(PAGE);
    let words: std::collections::BTreeSet<&str> = page
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let mut names = reference("src/watch/render/functions.rs");
    names.extend(reference("src/watch/render/filters.rs"));
    assert!(
        names.len() > 50,
        "the reference is somewhere else: {names:?}"
    );
    let go = go_functions();
    assert!(go.len() > 80, "the functions are somewhere else: {go:?}");
    names.extend(go);
    names.retain(|name| !words.contains(name.as_str()));
    assert!(names.is_empty(), "{PAGE} lacks {names:?}");
}
