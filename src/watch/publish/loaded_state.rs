//! What each target's program has loaded, so that a reload that is owed is made, also by the next process. Shell.
//!
//! A publish can die between the swap and the reload. Before the swap the loaded state knows what the program runs on; after
//! the reload it knows that it runs on the new file. Whoever finds another file than that in place owes a reload. If the
//! program refuses what is in place, the file of before comes back, which is kept meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use super::access_state::AccessState;
use super::unchecked::Unchecked;
use crate::model::fingerprint::content_hash;
use crate::system::file;

/// The loaded state of a process.
#[derive(Debug)]
pub(crate) struct LoadedState {
    /// Where it is kept from one process to the next; without a place it lives as long as this one.
    dir: Option<PathBuf>,
    versions: Mutex<BTreeMap<PathBuf, LoadedVersion>>,
    /// What programs have refused last; the next process may try it once more.
    refused: Mutex<BTreeMap<PathBuf, LoadedVersion>>,
    /// It has been told that the programs of these do not read them yet.
    warned_unread: Mutex<BTreeSet<PathBuf>>,
    /// What lies in its place although no check has accepted it.
    pub(crate) unchecked: Unchecked,
    /// To whom the files are open.
    pub(super) access: Arc<AccessState>,
}

/// What a program has loaded: the length and the hash of the file, or nobody knows. A file that the program was told of, and
/// has never been seen to read, is marked as unread behind that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoadedVersion(String);

/// The mark of a file that its program does not read.
const UNREAD: &str = " unread\n";

impl LoadedVersion {
    fn unknown() -> Self {
        Self("unknown\n".to_owned())
    }

    /// There was no file to load before the first one of ours, and no program has loaded that since.
    fn never() -> Self {
        Self("never\n".to_owned())
    }

    fn of(content: &[u8]) -> Self {
        let hash = content_hash([content]);
        Self(format!("{} {hash:016x}\n", content.len()))
    }

    /// Without the mark.
    fn bare(&self) -> Self {
        let bare = self.0.strip_suffix(UNREAD);
        bare.map_or_else(|| self.clone(), |bare| Self(format!("{bare}\n")))
    }

    fn is_unread(&self) -> bool {
        self.0.ends_with(UNREAD)
    }

    /// With the mark, or without it.
    fn marked(self, is_unread: bool) -> Self {
        let Self(text) = self.bare();
        Self(if is_unread {
            format!("{}{UNREAD}", text.trim_end())
        } else {
            text
        })
    }
}

impl LoadedState {
    /// Opens the loaded state in `dir`, which need not be there yet.
    pub(crate) fn open(dir: Option<PathBuf>) -> Self {
        let unchecked = Unchecked::open(dir.as_deref());
        let access = Arc::new(AccessState::open(dir.as_deref()));
        let dir = dir.map(|dir| dir.join("reloaded"));
        let made = dir.as_deref().map_or(Ok(()), file::make_private_dir);
        if let (Err(error), Some(dir)) = (&made, &dir) {
            warn!(
                "{} cannot be made ({error}): a reload that is owed when sidekick ends is forgotten; give --state-dir",
                dir.display()
            );
        }
        Self {
            dir: dir.filter(|_| made.is_ok()),
            versions: Mutex::default(),
            refused: Mutex::default(),
            warned_unread: Mutex::default(),
            unchecked,
            access,
        }
    }

    /// A directory for what need not last.
    pub(crate) fn scratch(&self) -> PathBuf {
        let state = self.dir.as_deref().and_then(Path::parent);
        state.map_or_else(std::env::temp_dir, Path::to_owned)
    }

    /// Whether the program of `dest` has loaded something else than what is live.
    pub(crate) fn owes(&self, dest: &Path, live: &[u8]) -> bool {
        self.get(dest)
            .is_some_and(|version| version.bare() != LoadedVersion::of(live))
    }

    /// A swap is about to be made: what is live now is what the program has, unless the loaded state knows better.
    pub(crate) fn begin(&self, dest: &Path, live: Option<&[u8]>) {
        let version = live.map_or_else(LoadedVersion::never, LoadedVersion::of);
        if self.get(dest).is_none() {
            self.set(dest, version.clone());
        }
        if let (Some(live), Some(place)) = (live, self.place_before(dest))
            && self.get(dest).map(|known| known.bare()) == Some(version)
            && let Err(error) = file::replace_own(&place, live)
        {
            warn!("{} cannot be written: {error}", place.display());
        }
    }

    /// What the program of `dest` is known to have loaded last, if that is not what is live.
    pub(crate) fn before(&self, dest: &Path, live: &[u8]) -> Option<Vec<u8>> {
        let kept = std::fs::read(self.place_before(dest)?).ok()?;
        let version = self.get(dest)?.bare();
        let is_it = [LoadedVersion::of(&kept), LoadedVersion::unknown()].contains(&version);
        (kept != live && is_it).then_some(kept)
    }

    /// The program has loaded this, as far as it can be told: whether it reads a file that is marked as unread, only its
    /// servers tell.
    pub(crate) fn loaded(&self, dest: &Path, content: &[u8]) {
        let is_unread = self.is_unread(dest);
        self.set(dest, LoadedVersion::of(content).marked(is_unread));
        if !is_unread {
            self.forget_warning(dest);
        }
        if let Some(place) = self.place_before(dest) {
            // Mostly there is none.
            let _ = std::fs::remove_file(place);
        }
    }

    /// Nobody knows what the program has loaded.
    pub(crate) fn lost(&self, dest: &Path) {
        if !self.was_never_loaded(dest) {
            let is_unread = self.is_unread(dest);
            self.set(dest, LoadedVersion::unknown().marked(is_unread));
        }
    }

    /// Whether the program of `dest` has never been seen to load it, and had no such file before it was first published.
    pub(crate) fn was_never_loaded(&self, dest: &Path) -> bool {
        self.get(dest) == Some(LoadedVersion::never())
    }

    /// The program has been reloaded and does not have what this file says: it is marked until the program has it.
    pub(crate) fn mark_unread(&self, dest: &Path) {
        if let Some(version) = self.get(dest) {
            self.set(dest, version.marked(true));
        }
    }

    /// The program has what this file says.
    pub(crate) fn is_read(&self, dest: &Path) {
        if self.is_unread(dest)
            && let Some(version) = self.get(dest)
        {
            self.set(dest, version.marked(false));
            self.forget_warning(dest);
        }
    }

    /// Whether the program of `dest` has been told of it, and has never been seen to read it.
    pub(crate) fn is_unread(&self, dest: &Path) -> bool {
        self.get(dest).is_some_and(|version| version.is_unread())
    }

    fn forget_warning(&self, dest: &Path) {
        let mut warned = self
            .warned_unread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        warned.remove(dest);
    }

    /// Whether it is to be told that the program of `dest` does not read it yet: once, until it does.
    pub(crate) fn warns_unread(&self, dest: &Path) -> bool {
        let mut warned = self
            .warned_unread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        warned.insert(dest.to_owned())
    }

    /// The program has been told of this, and will not have it.
    pub(crate) fn refused(&self, dest: &Path, content: &[u8]) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(dest.to_owned(), LoadedVersion::of(content));
    }

    /// Whether this is what the program has refused last.
    pub(crate) fn has_refused(&self, dest: &Path, content: &[u8]) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(dest) == Some(&LoadedVersion::of(content))
    }

    fn get(&self, dest: &Path) -> Option<LoadedVersion> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = versions.get(dest) {
            return Some(version.clone());
        }
        let kept = std::fs::read_to_string(self.place(dest)?).ok()?;
        versions.insert(dest.to_owned(), LoadedVersion(kept.clone()));
        Some(LoadedVersion(kept))
    }

    fn set(&self, dest: &Path, version: LoadedVersion) {
        if self.get(dest).as_ref() == Some(&version) {
            return;
        }
        if let Some(place) = self.place(dest)
            && let Err(error) = file::replace_own(&place, version.0.as_bytes())
        {
            warn!("{} cannot be written: {error}", place.display());
        }
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(dest.to_owned(), version);
    }

    /// One file per destination, named after it.
    fn place(&self, dest: &Path) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(file::name_of_path(dest)))
    }

    /// Where its file of before is kept.
    fn place_before(&self, dest: &Path) -> Option<PathBuf> {
        // No name of a path begins so: they begin with a percent sign.
        let name = format!("before.{}", file::name_of_path(dest));
        Some(self.dir.as_ref()?.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        assert!(!open().owes(dest, b"old"), "nobody has ever said");
        open().begin(dest, Some(b"old"));
        assert!(!open().owes(dest, b"old") && open().owes(dest, b"new"));
        open().loaded(dest, b"new");
        open().begin(dest, Some(b"newer"));
        assert!(!open().owes(dest, b"new") && open().owes(dest, b"newer"));
        open().lost(dest);
        assert!(open().owes(dest, b"new"));
    }

    #[test]
    fn the_file_of_before_is_kept_until_the_new_one_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        open().begin(dest, Some(b"old"));
        assert_eq!(open().before(dest, b"new").as_deref(), Some(&b"old"[..]));
        assert_eq!(open().before(dest, b"old"), None, "it is live");
        // Another one is put in place, and was not loaded either.
        open().begin(dest, Some(b"new"));
        assert_eq!(open().before(dest, b"newer").as_deref(), Some(&b"old"[..]));
        open().lost(dest);
        assert_eq!(open().before(dest, b"new").as_deref(), Some(&b"old"[..]));
        open().loaded(dest, b"new");
        open().begin(dest, Some(b"new"));
        assert_eq!(open().before(dest, b"newer").as_deref(), Some(&b"new"[..]));
        open().loaded(dest, b"newer");
        assert_eq!(open().before(dest, b"newest"), None);
    }

    #[test]
    fn a_file_that_was_not_there_is_one_that_was_never_loaded_until_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        assert!(!open().was_never_loaded(dest), "nobody has ever said");
        open().begin(dest, None);
        open().lost(dest);
        open().begin(dest, Some(b"new"));
        assert!(open().was_never_loaded(dest) && open().owes(dest, b"new"));
        let loaded_state = open();
        assert!(loaded_state.warns_unread(dest) && !loaded_state.warns_unread(dest));
        loaded_state.loaded(dest, b"new");
        loaded_state.lost(dest);
        assert!(!loaded_state.was_never_loaded(dest) && !open().was_never_loaded(dest));
        assert!(loaded_state.warns_unread(dest), "it did read it meanwhile");

        let other = Path::new("/etc/haproxy/other.cfg");
        open().begin(other, Some(b"of somebody else"));
        assert!(!open().was_never_loaded(other), "it may have been loaded");
    }

    #[test]
    fn a_file_that_its_program_does_not_read_is_marked_until_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        open().mark_unread(dest);
        assert!(!open().is_unread(dest), "nobody has ever been told of it");
        let first = open();
        first.begin(dest, None);
        first.loaded(dest, b"old");
        first.mark_unread(dest);
        assert!(first.warns_unread(dest));
        // The next process knows of it, and no reload is owed for that alone.
        assert!(open().is_unread(dest) && !open().owes(dest, b"old"));
        assert!(open().owes(dest, b"new"));
        first.begin(dest, Some(b"old"));
        assert_eq!(open().before(dest, b"new").as_deref(), Some(&b"old"[..]));
        first.lost(dest);
        assert!(open().is_unread(dest) && open().owes(dest, b"old"));
        first.loaded(dest, b"new");
        assert!(open().is_unread(dest) && !open().owes(dest, b"new"));
        assert!(!first.warns_unread(dest), "it has been told");
        first.is_read(dest);
        assert!(!open().is_unread(dest) && !open().owes(dest, b"new"));
        assert!(first.warns_unread(dest), "it did read it meanwhile");
    }

    #[test]
    fn without_a_place_it_lives_as_long_as_the_process() {
        let (loaded_state, dest) = (LoadedState::open(None), Path::new("/a"));
        loaded_state.begin(dest, None);
        assert!(loaded_state.owes(dest, b"new"));
        assert!(!LoadedState::open(None).owes(dest, b"new"));
    }
}
