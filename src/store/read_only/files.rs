//! Finds and reads the files of a store: one file, or all in a directory and below it whose names end in .yaml, .yml or
//! .json. Adapter.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::merge::Text;
use crate::system::bounded;

/// How deep directories may lie in each other; a link to a directory above it has no end.
const DEPTH: usize = 16;
/// How many bytes all files together may have: far more than keys need, and few enough for any host.
const LIMIT: u64 = 64 * 1024 * 1024;

/// A file, or a directory of files.
#[derive(Debug, Clone)]
pub(super) struct Files {
    path: PathBuf,
}

/// Why the files could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// Somebody has to change something first: a file is missing, or wrong.
    Unusable(String),
    /// The file system does not answer.
    Silent(String),
}

/// What has to be watched to see every change of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Directories in which everything counts.
    pub(super) dirs: BTreeSet<PathBuf>,
    /// Paths that count alone in their directories.
    pub(super) links: BTreeSet<PathBuf>,
}

/// The files, and the directories in which they lie.
#[derive(Debug, Default)]
struct Found {
    files: Vec<PathBuf>,
    dirs: BTreeSet<PathBuf>,
}

impl Files {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads all files. It blocks. A file system that hangs is found as a rule before a file is read, within a second.
    pub(super) fn read(&self) -> Result<Vec<Text>, Unread> {
        let found = bounded::within(&self.path, find);
        read_all(&found.map_err(|error| Unread::Silent(error.to_string()))??)
    }

    /// What is to be watched now. It blocks for a second at most.
    pub(super) fn places(&self) -> Places {
        let places = bounded::within(&self.path, find_places);
        places.unwrap_or_default()
    }
}

fn find_places(root: &Path) -> Places {
    let found = find(root).unwrap_or_default();
    let mut places = Places {
        dirs: found.dirs,
        links: BTreeSet::from([root.to_owned()]),
    };
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
    if is_link(root) {
        // It may lead on to other links beside it, as in a volume of Kubernetes.
        places.dirs.extend(root.parent().map(Path::to_owned));
    }
    let links = found.files.iter().filter(|file| is_link(file));
    places
        .links
        .extend(links.filter_map(|file| file.canonicalize().ok()));
    places
}

fn read_all(found: &Found) -> Result<Vec<Text>, Unread> {
    let is_alone = found.dirs.is_empty();
    let name = |file: &Path| (!is_alone).then(|| file.to_owned());
    let mut left = LIMIT;
    let mut texts = Vec::new();
    for file in &found.files {
        let bytes =
            read_file(file, left).map_err(|what| complaint(name(file).as_deref(), &what))?;
        left -= bytes.len() as u64;
        let extension = file.extension().and_then(|extension| extension.to_str());
        texts.push(Text {
            name: name(file),
            extension: extension.map(str::to_owned),
            bytes,
        });
    }
    if texts.is_empty() {
        // An empty directory may be a volume that is not mounted.
        let what = "there is no file of keys in it (*.yaml, *.yml or *.json); {} in a file stands for no keys";
        return Err(Unread::Unusable(what.to_owned()));
    }
    Ok(texts)
}

fn complaint(file: Option<&Path>, what: &str) -> Unread {
    Unread::Unusable(match file {
        Some(file) => format!("{} {what}", file.display()),
        None => format!("it {what}"),
    })
}

/// What is in a file, or what is wrong with it.
fn read_file(file: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // Before it is opened: a pipe would wait for somebody who writes.
    let meta = fs::metadata(file).map_err(unreadable)?;
    if !meta.is_file() {
        return Err("is neither a file nor a directory".to_owned());
    }
    let too_long = || "is too long: all files together may have 64 MiB".to_owned();
    if meta.len() > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    let mut limited = opened.take(limit + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(bytes)
}

fn find(root: &Path) -> Result<Found, Unread> {
    let mut found = Found::default();
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => visit(root, 0, &mut found)?,
        Ok(_) => found.files.push(root.to_owned()),
        Err(error) => return Err(complaint(None, &format!("cannot be read: {error}"))),
    }
    Ok(found)
}

/// Adds what is in a directory, in the order of names. Hidden files and directories are left out: editors, Kubernetes and
/// others keep their own there. So is the directory of a disk for what was lost, which only root can read.
fn visit(dir: &Path, depth: usize, found: &mut Found) -> Result<(), Unread> {
    if depth > DEPTH {
        return Err(complaint(
            Some(dir),
            "lies too deep: does a link lead back?",
        ));
    }
    let unreadable = |error: io::Error| complaint(Some(dir), &format!("cannot be read: {error}"));
    let entries = fs::read_dir(dir).map_err(unreadable)?;
    let entries: io::Result<Vec<_>> = entries.collect();
    let mut entries = entries.map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    found.dirs.insert(dir.to_owned());
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "lost+found" {
            continue;
        }
        if fs::metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            visit(&path, depth + 1, found)?;
        } else if has_keys(&path) {
            found.files.push(path);
        }
    }
    Ok(())
}

fn has_keys(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}
