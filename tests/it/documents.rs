//! The documents: what they name is there, be it a file, a heading or another document; what they show as an example is so.

mod attributes;
mod blocks;
pub(crate) mod commands;
mod conf_d;
mod forms;
mod installed;
mod judges;
pub(crate) mod markdown;
mod scenes;
mod sentences;
mod shell;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where paths that a document names begin.
const TREES: [&str; 8] = [
    "src/",
    "build/",
    "tests/",
    "docs/",
    "benches/",
    "contrib/",
    "templates/",
    ".ci/",
];

/// A document: where it lies below the root, and its lines outside of blocks of code.
struct Document {
    path: PathBuf,
    lines: Vec<String>,
}

impl Document {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let mut is_code = false;
        let mut lines = Vec::new();
        for line in text.lines() {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            // The number of a line is its place.
            let is_text = !is_code && !is_fence;
            lines.push(if is_text { line } else { "" }.to_owned());
        }
        assert!(!is_code, "{}: a block of code is open", path.display());
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    fn numbered(&self) -> impl Iterator<Item = (String, &str)> {
        let place = |at: usize| format!("{}:{}", self.path.display(), at + 1);
        let lines = self.lines.iter().enumerate();
        lines.map(move |(at, line)| (place(at), line.as_str()))
    }

    /// The anchors of its headings, as code hosts make them: small letters, digits, `-` and `_`, and `-` for each space.
    fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for line in &self.lines {
            let title = line.trim_start_matches('#');
            if title.len() == line.len() || !title.starts_with(' ') {
                continue;
            }
            let plain: String = title.trim().to_lowercase().replace(' ', "-");
            let keep = |c: &char| c.is_alphanumeric() || *c == '-' || *c == '_';
            let anchor: String = plain.chars().filter(keep).collect();
            let times = (1..).map(|n| format!("{anchor}-{n}"));
            let mut names = std::iter::once(anchor.clone()).chain(times);
            anchors.extend(names.find(|name| !anchors.contains(name)));
        }
        anchors
    }

    /// Where its links lead, each with the place of the link.
    fn links(&self) -> Vec<(String, String)> {
        let mut links = Vec::new();
        for (place, line) in self.numbered() {
            let line = without_code(line);
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split(')').next().unwrap();
                links.push((place.clone(), target.to_owned()));
            }
        }
        links
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The line without what stands in backticks: a link in there is none.
fn without_code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    let text = parts.map(|(at, part)| if at % 2 == 0 { part } else { "_" });
    text.collect()
}

/// All documents: those at the root, and those below `docs`.
fn documents() -> BTreeMap<PathBuf, Document> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::new(), PathBuf::from("docs")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root().join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                dirs.extend(path.starts_with("docs").then_some(path));
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.insert(path.clone(), Document::read(&path));
            }
        }
    }
    assert!(found.len() > 10, "the documents are somewhere else");
    found
}

/// A path without `.` and `..`, as far as it stays below the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => plain.pop().then_some(())?,
            Component::CurDir => {}
            _ => plain.push(part),
        }
    }
    Some(plain)
}

/// Why a link of a document leads nowhere.
fn broken(link: &str, from: &Document, all: &BTreeMap<PathBuf, Document>) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => from.path.clone(),
        path => {
            let dir = from.path.parent().unwrap();
            let Some(target) = plain(&dir.join(path)) else {
                return Some("leads out of the project".to_owned());
            };
            target
        }
    };
    if !root().join(&target).exists() {
        return Some(format!("there is no {}", target.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    let has = all
        .get(&target)
        .is_some_and(|document| document.anchors().contains(anchor));
    (!has).then(|| format!("{} has no heading #{anchor}", target.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let all = documents();
    let mut wrong = Vec::new();
    for document in all.values() {
        for (place, link) in document.links() {
            let why = broken(&link, document, &all);
            wrong.extend(why.map(|why| format!("{place}: {link}: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The paths below the root that a line names.
fn paths(line: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let words = line.split(|c| !is_part(c));
    let paths = words.filter(|word| TREES.iter().any(|tree| word.starts_with(tree)));
    paths.map(|path| path.trim_end_matches('.')).collect()
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, document) in documents() {
        // What has been stays as it was.
        if name == Path::new("CHANGELOG.md") {
            continue;
        }
        for (place, line) in document.numbered() {
            for path in paths(line) {
                count += 1;
                let missing = !root().join(path).exists();
                wrong.extend(missing.then(|| format!("{place}: {path}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 50, "few paths are found: {count}");
}

/// Each document can be reached from the README.
#[test]
fn no_document_stands_alone() {
    let all = documents();
    let mut seen = BTreeSet::new();
    let mut next = vec![PathBuf::from("README.md")];
    while let Some(path) = next.pop() {
        let Some(document) = all.get(&path).filter(|_| seen.insert(path.clone())) else {
            continue;
        };
        let dir = path.parent().unwrap();
        for (_, link) in document.links() {
            let target = link.split('#').next().unwrap();
            next.extend(plain(&dir.join(target)));
        }
    }
    let alone: Vec<&PathBuf> = all.keys().filter(|path| !seen.contains(*path)).collect();
    assert!(alone.is_empty(), "{alone:?}");
}

/// The identifiers among the code of a line, such as `a::b`, `a()`, `a_b` and `Type`. Other code is a path, a flag or a
/// command.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    // Every other part stands between backticks.
    let code = line.split('`').skip(1).step_by(2);
    code.filter_map(|code| {
        let (name, has_arguments) = match code.split_once('(') {
            Some((name, rest)) => (name, rest.ends_with(')')),
            None => (code, false),
        };
        let is_part = |part: &str| {
            let is_word = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            is_word && part.starts_with(|c: char| c.is_ascii_alphabetic())
        };
        let is_name = name.split("::").all(is_part);
        let is_type = name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase);
        let is_identifier = has_arguments || is_type || name.contains("::") || name.contains('_');
        (is_name && is_identifier).then_some(name)
    })
}

/// Whether a text has this name as a word of its own.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

/// What the documents for contributors name in code, the source has.
#[test]
fn every_identifier_that_a_document_for_contributors_names_exists() {
    let mut sources = String::new();
    let mut next = vec![root().join("src")];
    while let Some(path) = next.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            next.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            sources += &fs::read_to_string(&path).unwrap();
        }
    }
    let (mut wrong, mut count) = (Vec::new(), 0);
    for name in [
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/glossary.md",
    ] {
        let document = Document::read(Path::new(name));
        for (place, line) in document.numbered() {
            for identifier in identifiers(line) {
                count += 1;
                let exists = has_word(&sources, identifier);
                wrong.extend((!exists).then(|| format!("{place}: {identifier}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 15, "few identifiers are found: {count}");
}

/// The glossary is read as a whole, so it stays short; and a word has one meaning.
#[test]
fn the_glossary_has_forty_rows_at_most_and_no_word_twice() {
    let document = Document::read(Path::new("docs/glossary.md"));
    let mut words = Vec::new();
    let mut rows = 0;
    for (_, line) in document.numbered() {
        let Some(cell) = line
            .strip_prefix("| ")
            .and_then(|row| row.split('|').next())
        else {
            continue;
        };
        if cell.trim() == "word" || cell.starts_with('-') {
            continue;
        }
        rows += 1;
        words.extend(cell.split(',').map(|word| word.trim().to_owned()));
    }
    assert!((30..=40).contains(&rows), "{rows} rows");
    let count = words.len();
    words.sort();
    words.dedup();
    assert_eq!(words.len(), count, "a word is there twice");
}
