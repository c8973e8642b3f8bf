//! Tells a release of which commit it is (`sidekick --version` says so), and makes manual pages of documents.

mod manual;
#[path = "../src/cli/roff.rs"]
mod roff;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=src/cli/roff.rs");
    tell_commit();
    write_pages();
}

/// Writes the manual pages of file formats as a list in Rust: the name and the text of each.
fn write_pages() {
    let pages = manual::PAGES.iter().map(|page| {
        println!("cargo:rerun-if-changed={}", page.document);
        let document = fs::read_to_string(page.document)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", page.document));
        (page.name, manual::text(page, &document))
    });
    let list = format!("&{:?}", pages.collect::<Vec<_>>());
    let dir = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo names a directory"));
    fs::write(dir.join("pages.rs"), list).expect("Cargo's directory can be written");
}

fn tell_commit() {
    println!("cargo:rerun-if-env-changed=SIDEKICK_COMMIT");
    // A build that a developer tests with is not compiled anew for each commit.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = is_release.then(commit).flatten();
    let commit = commit.unwrap_or_else(|| "development".to_owned());
    println!("cargo:rustc-env=SIDEKICK_BUILD={commit}");
}

/// The commit and its date, such as `68a774f 2026-11-26`: of `SIDEKICK_COMMIT` where the sources come without their
/// history (in the Dockerfile), else of git.
fn commit() -> Option<String> {
    let given = env::var("SIDEKICK_COMMIT").unwrap_or_default();
    if !given.is_empty() {
        return Some(given);
    }
    // A package that lies within somebody else's repository has nothing to do with its commits.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = env::var("CARGO_MANIFEST_DIR").ok()?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    // Every commit and every checkout writes a line to this file.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["log", "-1", "--format=%h %cs", "--abbrev=7"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
