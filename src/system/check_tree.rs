//! A copy of a directory for a check that has to see a whole tree, with candidates in the places of the files
//! that they are to replace. Adapter.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::file;

const PREFIX: &str = "tree.";
/// An older one belongs to nobody: the process that made it was killed.
const LITTER: Duration = Duration::from_secs(60 * 60);

/// A directory of links to what another one holds. Dropping it removes it.
#[derive(Debug)]
pub struct CheckTree(TempDir);

impl CheckTree {
    /// Makes a copy of `root` in `scratch`, for the target `name`, which has one at a time. Each pair of `replaced` is a
    /// file, which need not be there yet, and what stands in its place; one outside of `root` is passed over.
    pub fn make(
        root: &Path,
        replaced: &[(&Path, &Path)],
        (scratch, name): (&Path, &str),
    ) -> io::Result<Self> {
        clear_litter(scratch);
        let below = |(dest, candidate): &(&Path, &Path)| {
            let below = dest.strip_prefix(root).ok()?;
            Some((below.to_owned(), candidate.to_path_buf()))
        };
        let replaced: Vec<(PathBuf, PathBuf)> = replaced.iter().filter_map(below).collect();
        // The same path each time, so that what a check says of it is the same each time too. Whatever lies there was left
        // behind by an earlier process with our id.
        let name = file::name_of_path(Path::new(name));
        let own = format!("{PREFIX}{}.{name}", std::process::id());
        let _ = fs::remove_dir_all(scratch.join(&own));
        let dir = tempfile::Builder::new()
            .prefix(&own)
            .rand_bytes(0)
            .tempdir_in(scratch)?;
        fill(root, dir.path(), &replaced)?;
        Ok(Self(dir))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Links what is in `from`; a directory that holds something replaced is made anew.
fn fill(from: &Path, to: &Path, replaced: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    let mut own = Vec::new();
    let mut deeper: Vec<(PathBuf, Vec<(PathBuf, PathBuf)>)> = Vec::new();
    for (path, candidate) in replaced {
        let mut parts = path.components();
        let Some(first) = parts.next() else {
            continue;
        };
        let first = PathBuf::from(first.as_os_str());
        let rest = parts.as_path();
        if rest.as_os_str().is_empty() {
            symlink(candidate, to.join(&first))?;
            own.push(first);
            continue;
        }
        let inside = (rest.to_owned(), candidate.clone());
        match deeper.iter_mut().find(|(dir, _)| *dir == first) {
            Some((_, all)) => all.push(inside),
            None => deeper.push((first, vec![inside])),
        }
    }
    for (dir, inside) in &deeper {
        fs::create_dir(to.join(dir))?;
        fill(&from.join(dir), &to.join(dir), inside)?;
    }
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        // It will be made with the first file in it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = PathBuf::from(entry?.file_name());
        if !own.contains(&name) && !deeper.iter().any(|(dir, _)| *dir == name) {
            symlink(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

/// Removes what was left behind by those who were killed.
fn clear_litter(scratch: &Path) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        let is_mirror = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes());
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_mirror && age().is_some_and(|age| age > LITTER) {
            // Next time, then.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_targets_share_a_mirror() {
        let (live, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let trees = ["a/b", "a-b", "a%2Fb"]
            .map(|name| CheckTree::make(live.path(), &[], (scratch.path(), name)).unwrap());
        let paths: std::collections::BTreeSet<&Path> = trees.iter().map(CheckTree::path).collect();
        assert_eq!(paths.len(), 3);
        assert!(paths.iter().all(|path| path.is_dir()), "{paths:?}");
    }

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn candidates_stand_in_the_places_of_their_files_and_all_else_is_linked() {
        let (live, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = live.path().join("etc");
        write(
            &root,
            &[
                ("main.cfg", "main"),
                ("d/a.cfg", "old a"),
                ("d/b.cfg", "b"),
                ("e/f/g", "g"),
            ],
        );
        write(
            live.path(),
            &[("new-a", "new a"), ("new-c", "new c"), ("x", "x")],
        );
        let at = |name: &str| live.path().join(name);
        let replaced = [
            (root.join("d/a.cfg"), at("new-a")),
            (root.join("made/later/c.cfg"), at("new-c")),
            (at("elsewhere"), at("x")),
        ];
        let pairs: Vec<_> = replaced
            .iter()
            .map(|(a, b)| (a.as_path(), b.as_path()))
            .collect();
        let tree = CheckTree::make(&root, &pairs, (scratch.path(), "a/b")).unwrap();
        for (path, text) in [
            ("main.cfg", "main"),
            ("d/a.cfg", "new a"),
            ("d/b.cfg", "b"),
            ("e/f/g", "g"),
            ("made/later/c.cfg", "new c"),
        ] {
            assert_eq!(
                fs::read_to_string(tree.path().join(path)).unwrap(),
                text,
                "{path}"
            );
        }
        assert_eq!(fs::read_dir(tree.path()).unwrap().count(), 4);
        drop(tree);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(root.join("d/a.cfg")).unwrap(), "old a");
    }
}
