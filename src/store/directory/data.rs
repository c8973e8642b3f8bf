//! A data directory: the files of one publication, its manifest, and files that somebody has added by hand. Adapter.
//!
//! ```text
//! .sidekick/leases/1f/u1/.manifest        which fields were published, under which key, at which revision
//! .sidekick/leases/1f/u1/ip               a published field
//! .sidekick/leases/1f/u1/state            set by hand, through the link /services/web/a: not in the manifest
//! ```
//!
//! Writers never change a publication; the next one gets another directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::expiry::is_absent;
use super::layout::{Layout, is_key_part};
use crate::model::publication::Publication;

/// The largest value, in bytes; etcd takes no larger ones either.
const LARGEST_VALUE: u64 = 1536 * 1024;

/// What was published in a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Manifest {
    /// The revision of the publication.
    pub(super) revision: u64,
    /// The key of the publication's directory.
    pub(super) dir: String,
    /// The fields, and whether the published value ends with a newline: editing a file by hand adds one.
    pub(super) fields: BTreeMap<String, bool>,
}

impl Manifest {
    /// Reads the manifest; `None` if it is not there: the directory is not yet complete, or about to be removed.
    pub(super) fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(Layout::manifest(data_dir)) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .ok_or_else(|| io::Error::other("not a manifest; remove this directory")),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (revision, dir) = lines.next()?.split_once(' ')?;
        let fields = lines.map(|line| match line.split_once(' ')? {
            ("=", field) => Some((field.to_owned(), false)),
            ("n", field) => Some((field.to_owned(), true)),
            (_, _) => None,
        });
        Some(Self {
            revision: revision.parse().ok()?,
            dir: dir.to_owned(),
            fields: fields.collect::<Option<_>>()?,
        })
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {}", self.revision, self.dir)?;
        for (field, newline) in &self.fields {
            writeln!(f, "{} {field}", if *newline { "n" } else { "=" })?;
        }
        Ok(())
    }
}

/// Makes a directory and those above it.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
}

/// Writes a publication into a new data directory.
pub(super) fn write(data_dir: &Path, publication: &Publication, revision: u64) -> io::Result<()> {
    make_dir(data_dir)?;
    for (field, value) in &publication.fields {
        let file = data_dir.join(field);
        if field.contains('/')
            && let Some(parent) = file.parent()
        {
            make_dir(parent)?;
        }
        fs::write(file, value)?;
    }
    let ends = |value: &[u8]| value.last() == Some(&b'\n');
    let manifest = Manifest {
        revision,
        dir: publication.dir.as_str().to_owned(),
        fields: publication
            .fields
            .iter()
            .map(|(field, value)| (field.clone(), ends(value)))
            .collect(),
    };
    let mut file = File::create_new(Layout::manifest(data_dir))?;
    file.write_all(manifest.to_string().as_bytes())
}

/// Removes a data directory. The manifest goes first, so that a reader which is just reading it notices.
pub(super) fn remove(data_dir: &Path) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    };
    absent_is_fine(fs::remove_file(Layout::manifest(data_dir)))?;
    absent_is_fine(fs::remove_dir_all(data_dir))
}

/// Removes the directory of a lease: manifests first, the heartbeat last, so that it is a dead lease to the end.
pub(super) fn remove_lease(dir: &Path) -> io::Result<()> {
    for (name, kind) in list(dir)? {
        if kind == Kind::Dir {
            remove(&dir.join(name))?;
        }
    }
    fs::remove_dir_all(dir)
}

/// What kind of thing stands at a path; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    File,
    Dir,
    Link,
    /// A socket, a pipe, a device.
    Other,
}

impl From<fs::FileType> for Kind {
    fn from(kind: fs::FileType) -> Self {
        if kind.is_symlink() {
            Self::Link
        } else if kind.is_dir() {
            Self::Dir
        } else if kind.is_file() {
            Self::File
        } else {
            Self::Other
        }
    }
}

/// What stands at a path, if anything.
pub(super) fn kind(path: &Path) -> io::Result<Option<Kind>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type().into())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The entries of a directory whose names can be parts of keys, sorted; none, if the directory is not there.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(String, Kind)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_key_part(&name) {
            match entry.file_type() {
                Ok(kind) => found.push((name, kind.into())),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The regular files below a directory, as paths relative to it. `enter` is called with each directory before it is read.
pub(super) fn files(dir: &Path, enter: &mut dyn FnMut(&Path)) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        let path = dir.join(&below);
        enter(&path);
        for (name, kind) in list(&path)? {
            let relative = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            match kind {
                Kind::File => found.push(relative),
                Kind::Dir => open.push(relative),
                Kind::Link | Kind::Other => {}
            }
        }
    }
    Ok(found)
}

/// Reads a value; `None` if there is no regular file (any more), or one too large to be a value.
pub(super) fn value(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Neither a link nor a pipe that somebody has put here is waited for.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if is_absent(&error) || error.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    match file.take(LARGEST_VALUE + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > LARGEST_VALUE => {
            tracing::debug!(
                "{} is too large to be a value, so sidekick skips it",
                path.display()
            );
            Ok(None)
        }
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        Err(error) => Err(error),
    }
}

/// The value in a file that somebody has made by hand: without the newline that editors and `echo` put at its end.
pub(super) fn by_hand(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

/// Carries files that somebody has set by hand over into another directory, unless a file of the same name is there.
///
/// It links them where that can be done and copies them elsewhere, so that a process that is just writing to one writes into
/// both directories.
pub(super) fn carry(from: &Path, into: &Path) -> io::Result<()> {
    let published = Manifest::read(from)?.map(|m| m.fields).unwrap_or_default();
    for file in files(from, &mut |_| {})? {
        if published.contains_key(&file) {
            continue;
        }
        let (old, new) = (from.join(&file), into.join(&file));
        match carry_one(&old, &new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if is_absent(&error) => {
                tracing::debug!(
                    %error,
                    "what was published takes the place of {}, which was set by hand: {error}",
                    new.display()
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn carry_one(old: &Path, new: &Path) -> io::Result<()> {
    if let Some(parent) = new.parent() {
        make_dir(parent)?;
    }
    match fs::hard_link(old, new) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !is_absent(&error) => {
            let mut copy = File::create_new(new)?;
            io::copy(&mut File::open(old)?, &mut copy).map(drop)
        }
        other => other,
    }
}

/// Whether somebody has set a file by hand in this directory.
pub(super) fn has_hand_set(dir: &Path, manifest: Option<&Manifest>) -> io::Result<bool> {
    let files = files(dir, &mut |_| {})?;
    let published = |file: &String| manifest.is_some_and(|m| m.fields.contains_key(file));
    Ok(files.iter().any(|file| !published(file)))
}

/// Moves `staged` to `place` in one step; returns where the former entry of `place` is now, unless the
/// move has replaced it.
pub(super) fn put_in_place(staged: &Path, place: &Path) -> io::Result<Option<PathBuf>> {
    let is_dir = |path| Ok::<_, io::Error>(kind(path)? == Some(Kind::Dir));
    if kind(place)?.is_none() || !(is_dir(staged)? || is_dir(place)?) {
        fs::rename(staged, place)?;
        return Ok(None);
    }
    // A link cannot replace a directory, nor a directory a link, except by changing places.
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, staged, here, place, rustix::fs::RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Some(staged.to_owned())),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            let aside = staged.with_extension("old");
            fs::rename(place, &aside)?;
            fs::rename(staged, place)?;
            Ok(Some(aside))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_is_written() {
        let manifest = Manifest {
            revision: 7,
            dir: "/services/web/a".to_owned(),
            fields: [("ip", false), ("settings/zone", true)]
                .map(|(field, newline)| (field.to_owned(), newline))
                .into(),
        };
        assert_eq!(
            Manifest::parse(&manifest.to_string()),
            Some(manifest.clone())
        );
        for garbage in ["", "7", "x /a", "7 /a\nip", "7 /a\n? ip"] {
            assert_eq!(Manifest::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn one_newline_of_a_hand_is_dropped() {
        for (file, value) in [
            ("x\n", "x"),
            ("x", "x"),
            ("x\n\n", "x\n"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(by_hand(file.into()), value.as_bytes(), "{file:?}");
        }
    }

    #[test]
    fn pipes_links_and_directories_are_no_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(path("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        fs::create_dir(path("dir")).unwrap();
        fs::write(path("huge"), vec![b'x'; 1536 * 1024 + 1]).unwrap();
        for name in ["link", "dir", "huge", "missing"] {
            assert_eq!(value(&path(name)).unwrap(), None, "{name}");
        }
        assert_eq!(
            value(&path("pipe")).unwrap(),
            Some(Vec::new()),
            "and it did not wait"
        );
        assert_eq!(value(&path("file")).unwrap(), Some(b"x".to_vec()));
        assert_eq!(files(dir.path(), &mut |_| {}).unwrap(), ["file", "huge"]);
    }
}
