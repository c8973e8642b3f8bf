//! The manual pages: whole, readable on a terminal of 80 characters, found by `man`, and of the same words as the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::documents::markdown::{codes, rows};
use crate::harness::{sidekick, skipped, temp_dir, unpacked_or_installed};

/// The pages of a binary, as it has written them.
struct Pages {
    dir: TempDir,
    /// By their names: `sidekick-watch(1)`.
    files: BTreeMap<String, PathBuf>,
}

impl Pages {
    fn write() -> Self {
        let dir = temp_dir();
        let output = sidekick().arg("man").arg(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut files = BTreeMap::new();
        for section in ["1", "5"] {
            for file in fs::read_dir(dir.path().join(format!("man{section}"))).unwrap() {
                let path = file.unwrap().path();
                assert_eq!(path.extension().unwrap(), section, "{}", path.display());
                let name = path.file_stem().unwrap().to_str().unwrap();
                files.insert(format!("{name}({section})"), path);
            }
        }
        Self { dir, files }
    }

    fn source(&self, page: &str) -> String {
        fs::read_to_string(&self.files[page]).unwrap()
    }
}

/// Whether a program is there to judge the pages.
fn has(program: &str) -> bool {
    let is_there = unpacked_or_installed(program).is_some();
    if !is_there {
        skipped(&format!("{program} is not there to judge the manual pages"));
    }
    is_there
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines of a page on a terminal of 80 characters, without bold and italic.
fn rendered(file: &Path) -> String {
    let mut mandoc = Command::new("mandoc");
    let text = printed(mandoc.args(["-Tutf8", "-O", "width=80"]).arg(file));
    // Bold is a letter over itself, italic a letter over a line.
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '\u{8}' => {
                plain.pop();
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[test]
fn pages_have_their_sections_and_mandoc_finds_nothing_wrong() {
    let pages = Pages::write();
    assert!(pages.files.len() > 20, "{:?}", pages.files);
    for (page, sections) in [
        (
            "sidekick-register(1)",
            &[
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "EXAMPLES",
                "EXIT STATUS",
                "ENVIRONMENT",
                "FILES",
                "SEE ALSO",
            ][..],
        ),
        (
            "sidekick-conf.d(5)",
            &["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"],
        ),
    ] {
        let text = pages.source(page);
        let headings = text.lines().filter_map(|line| line.strip_prefix(".SH "));
        let known = headings.filter(|heading| sections.contains(heading));
        assert_eq!(known.collect::<Vec<_>>(), sections, "{page}");
    }
    // An example keeps its lines, and an option has its value in the synopsis, too.
    let register = pages.source("sidekick-register(1)");
    for part in [
        "\n    \\-\\-port http=9200",
        "[\\fB\\-\\-store\\fR\\~\\fIURL\\fR]",
    ] {
        assert!(register.contains(part), "{part}: {register}");
    }
    if !has("mandoc") {
        return;
    }
    let found = printed(
        Command::new("mandoc")
            .arg("-Tlint")
            .args(pages.files.values()),
    );
    // Only a release knows its date.
    let is_wrong = |line: &&str| !line.contains("missing date");
    let wrong: Vec<&str> = found.lines().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pages_are_readable_on_a_terminal_of_80_characters() {
    if !has("mandoc") {
        return;
    }
    for (page, file) in &Pages::write().files {
        let text = rendered(file);
        // The examples of commands are as wide as they are typed.
        let (prose, rest) = text.split_once("\nEXAMPLES\n").unwrap_or((&text, ""));
        let (_, rest) = rest.split_once("\nEXIT STATUS\n").unwrap_or_default();
        for line in prose.lines().chain(rest.lines()) {
            // Nothing of the documents' marks is left.
            let marks = ["`", "](", "| --", "**", "\\f"];
            assert!(
                !marks.iter().any(|mark| line.contains(mark)),
                "{page}: {line}"
            );
            // What a setting says to a shell cannot be broken.
            let width = line.chars().count();
            let is_narrow = width <= 80 || line.contains("check_cmd = ");
            assert!(is_narrow, "{page}: {width}: {line}");
        }
    }
}

#[test]
fn pages_are_whole_on_a_terminal_without_utf_8() {
    if !has("groff") {
        return;
    }
    for (page, file) in &Pages::write().files {
        let mut groff = Command::new("groff");
        let output = groff.args(["-man", "-Tascii"]).arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{page}: {said}");
    }
}

#[test]
fn pages_are_found_by_their_names_and_name_only_pages_that_are_there() {
    let pages = Pages::write();
    for (page, file) in &pages.files {
        let text = pages.source(page);
        let (_, references) = text.split_once(".SH SEE ALSO\n").unwrap();
        let words = references.split_whitespace();
        let plain = words.map(|word| word.replace("\\fB", "").replace("\\fR", ""));
        let plain = plain.map(|word| word.replace("\\-", "-").replace(',', ""));
        let named: BTreeSet<String> = plain.filter(|word| word.ends_with(')')).collect();
        assert!(named.iter().any(|other| other.ends_with("(1)")), "{page}");
        for other in &named {
            assert!(pages.files.contains_key(other), "{page} names {other}");
        }
        let other_section = if page.ends_with("(1)") { "(5)" } else { "(1)" };
        assert!(
            named.iter().any(|other| other.ends_with(other_section)),
            "{page}"
        );
        if has("lexgrog") {
            let line = printed(Command::new("lexgrog").arg(file));
            let (name, _) = page.split_once('(').unwrap();
            assert!(line.contains(&format!("\"{name} - ")), "{page}: {line}");
        }
    }
    if has("mandb") {
        let index = Command::new("mandb")
            .args(["-c", "-q"])
            .arg(pages.dir.path())
            .output();
        assert!(index.unwrap().status.success());
        let mut apropos = Command::new("apropos");
        let found = printed(
            apropos
                .arg("-M")
                .arg(pages.dir.path())
                .args(["-s", "5", "sidekick"]),
        );
        for name in [
            "sidekick-conf.d",
            "sidekick-services.toml",
            "sidekick-fixture",
        ] {
            assert!(found.contains(&format!("{name} (5)")), "{name}: {found}");
        }
    }
}

#[test]
fn pages_cover_every_command() {
    let pages = Pages::write();
    for (page, words) in [
        ("sidekick(1)", &["register", "watch"][..]),
        (
            "sidekick-register(1)",
            &["take\\-over", "rise", "sidekick\\-services.toml", "128+n"],
        ),
        (
            "sidekick-watch(1)",
            &["conf\\-dir", "noop", "sidekick\\-conf.d", "128+n"],
        ),
        ("sidekick-ip(1)", &["SPEC"]),
        ("sidekick-render(1)", &["from", "sidekick\\-fixture"]),
        ("sidekick-check(1)", &["conf\\-dir"]),
        ("sidekick-guard(1)", &["list", "release"]),
        ("sidekick-guard-release(1)", &["TARGET", "state\\-dir"]),
    ] {
        let text = pages.source(page);
        for word in words {
            assert!(
                text.contains(word),
                "{page} says nothing of {word}:\n{text}"
            );
        }
    }
}

/// The tags of a page's lists: what stands in bold in the line behind each `.TP`.
fn tags(source: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = source.lines().collect();
    let tags = lines.windows(2).filter(|pair| pair[0] == ".TP");
    let bold = tags.flat_map(|pair| pair[1].split("\\fB").skip(1));
    let names = bold.map(|part| part.split("\\fR").next().unwrap_or_default());
    names.map(|name| name.replace("\\-", "-")).collect()
}

#[test]
fn pages_of_files_have_every_field_of_the_tables_of_their_documents() {
    let pages = Pages::write();
    for (page, document, title) in [
        ("sidekick-conf.d(5)", "docs/conf.d.md", "field"),
        ("sidekick-services.toml(5)", "docs/register.md", "key"),
    ] {
        let rows = rows(document);
        let of_fields = rows.iter().filter(|row| row.titles[0].starts_with(title));
        let documented: BTreeSet<String> = of_fields
            .flat_map(|row| codes(&row.cells[0]))
            .map(str::to_owned)
            .collect();
        assert!(documented.len() > 10, "{documented:?}");
        let tags = tags(&pages.source(page));
        let missing: Vec<_> = documented.difference(&tags).collect();
        assert!(missing.is_empty(), "{page}: {missing:?} {tags:?}");
    }
    // What is beside the wanted sections stays away.
    let conf_d = pages.source("sidekick-conf.d(5)");
    assert!(!conf_d.contains("What is shipped"), "{conf_d}");
    let services = pages.source("sidekick-services.toml(5)");
    assert!(!services.contains("\\-\\-docker"), "{services}");
}

#[test]
fn the_document_has_every_exit_status_of_every_page() {
    let rows = rows("docs/terminal.md");
    let rows = rows.iter().filter(|row| row.titles[0] == "status");
    let documented: BTreeSet<String> = rows
        .flat_map(|row| row.cells[0].split(", "))
        .map(str::to_owned)
        .collect();
    let pages = Pages::write();
    let mut seen = BTreeSet::new();
    for page in pages.files.keys().filter(|page| page.ends_with("(1)")) {
        let source = pages.source(page);
        let (_, list) = source.split_once(".SH EXIT STATUS\n").expect(page);
        let list = list.split("\n.SH ").next().unwrap_or_default();
        seen.extend(tags(list));
        // A command's own status is none of ours, but for those that stand for its end.
        if list.contains("\\fBany\\fR") {
            assert!(list.contains("128+n"), "{page}: {list}");
        }
    }
    assert!(seen.remove("any") && seen.len() > 6, "{seen:?}");
    let missing: Vec<_> = seen.difference(&documented).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
