//! What each target's program has loaded, so that an owed reload is made, also by the next process. Shell.
//!
//! The process can die between the swap and the reload. So before the swap the loaded state records what the program runs on,
//! and after the reload that it runs on the new file. As long as the live file is another one than that, a reload is owed.
//! The previous file is kept until the program has loaded the new one, to be restored if the program refuses that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use super::access_state::AccessState;
use super::awaiting_check::AwaitingCheck;
use crate::model::fingerprint::content_hash;
use crate::system::file;
use crate::system::own_files::OwnFiles;

/// The loaded state of all files of this process, by destination.
#[derive(Debug)]
pub(crate) struct LoadedState {
    /// The directory that keeps it for the next process; without one, it ends with this process.
    dir: Option<PathBuf>,
    own_files: OwnFiles,
    versions: Mutex<BTreeMap<PathBuf, LoadedVersion>>,
    /// What each program has refused last. It is not kept on disk, so the next process tries it once more.
    refused: Mutex<BTreeMap<PathBuf, LoadedVersion>>,
    /// The files of which the log already says that their programs do not read them.
    warned_unread: Mutex<BTreeSet<PathBuf>>,
    /// The live files that no check has accepted yet.
    pub(super) unchecked: AwaitingCheck,
    /// The mode, owners and attributes of the files.
    pub(super) access: Arc<AccessState>,
}

/// What a program has loaded of one file, as a line of text: length and hash of the content, `unknown`, or `never`. The mark
/// `unread` at the end of the line says that the program was reloaded and has never been seen to read the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoadedVersion(String);

/// The mark of a file that its program does not read, with the end of the line.
const UNREAD: &str = " unread\n";

impl LoadedVersion {
    fn unknown() -> Self {
        Self("unknown\n".to_owned())
    }

    /// There was no file before our first one, and no program has been seen to load ours since.
    fn never_loaded() -> Self {
        Self("never\n".to_owned())
    }

    fn of(content: &[u8]) -> Self {
        let hash = content_hash([content]);
        Self(format!("{} {hash:016x}\n", content.len()))
    }

    fn without_mark(&self) -> Self {
        let bare = self.0.strip_suffix(UNREAD);
        bare.map_or_else(|| self.clone(), |bare| Self(format!("{bare}\n")))
    }

    fn is_unread(&self) -> bool {
        self.0.ends_with(UNREAD)
    }

    fn with_mark(self, is_unread: bool) -> Self {
        let Self(text) = self.without_mark();
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
        let unchecked = AwaitingCheck::open(dir.as_deref());
        let access = Arc::new(AccessState::open(dir.as_deref()));
        let dir = dir.map(|dir| dir.join("reloaded"));
        let made = dir.as_deref().map_or(Ok(()), file::make_private_dir);
        if let (Err(error), Some(dir)) = (&made, &dir) {
            warn!(
                %error, "cannot create {} ({error}): a reload that is still owed when sidekick ends will be forgotten; name a \
                 writable directory with --state-dir",
                dir.display()
            );
        }
        Self {
            dir: dir.filter(|_| made.is_ok()),
            own_files: OwnFiles::default(),
            versions: Mutex::default(),
            refused: Mutex::default(),
            warned_unread: Mutex::default(),
            unchecked,
            access,
        }
    }

    /// A directory for temporary files: the state directory, or that of the system.
    pub(super) fn scratch(&self) -> PathBuf {
        let state = self.dir.as_deref().and_then(Path::parent);
        state.map_or_else(std::env::temp_dir, Path::to_owned)
    }

    /// Whether the program of `dest` has loaded something else than the live content, so that a reload is owed. Nothing is
    /// owed for a file that was never swapped.
    pub(super) fn owes_reload(&self, dest: &Path, live: &[u8]) -> bool {
        self.get(dest)
            .is_some_and(|version| version.without_mark() != LoadedVersion::of(live))
    }

    /// Records, before a swap, that the program has loaded what is live now, unless another version is recorded already.
    /// Keeps the live content if it is what the program has loaded.
    pub(super) fn record_swap(&self, dest: &Path, live: Option<&[u8]>) {
        let version = live.map_or_else(LoadedVersion::never_loaded, LoadedVersion::of);
        if self.get(dest).is_none() {
            self.set(dest, version.clone());
        }
        if let (Some(live), Some(place)) = (live, self.previous_file_path(dest))
            && self.get(dest).map(|version| version.without_mark()) == Some(version)
        {
            self.own_files.replace(&place, live);
        }
    }

    /// The content that the program of `dest` has loaded last, if it is kept and is not what is live.
    pub(super) fn previous_file(&self, dest: &Path, live: &[u8]) -> Option<Vec<u8>> {
        let kept = std::fs::read(self.previous_file_path(dest)?).ok()?;
        let version = self.get(dest)?.without_mark();
        let is_it = [LoadedVersion::of(&kept), LoadedVersion::unknown()].contains(&version);
        (kept != live && is_it).then_some(kept)
    }

    /// Records that the program has loaded this content. The mark `unread` stays, since only a look at the program's servers
    /// can tell whether it reads the file at all.
    pub(super) fn record_loaded(&self, dest: &Path, content: &[u8]) {
        let is_unread = self.is_unread(dest);
        self.set(dest, LoadedVersion::of(content).with_mark(is_unread));
        if !is_unread {
            self.forget_warning(dest);
        }
        if let Some(place) = self.previous_file_path(dest) {
            // An error is expected: mostly there is no such file.
            let _ = std::fs::remove_file(place);
        }
    }

    /// Records that it is unknown what the program has loaded.
    pub(super) fn mark_unknown(&self, dest: &Path) {
        if !self.was_never_loaded(dest) {
            let is_unread = self.is_unread(dest);
            self.set(dest, LoadedVersion::unknown().with_mark(is_unread));
        }
    }

    /// Whether there was no file at `dest` before our first one, and its program has never been seen to load ours.
    pub(super) fn was_never_loaded(&self, dest: &Path) -> bool {
        self.get(dest) == Some(LoadedVersion::never_loaded())
    }

    /// Marks the file as unread: its program has reloaded, and does not have the servers of this file.
    pub(super) fn mark_unread(&self, dest: &Path) {
        if let Some(version) = self.get(dest) {
            self.set(dest, version.with_mark(true));
        }
    }

    /// Removes the mark: the program has the servers of this file.
    pub(super) fn mark_read(&self, dest: &Path) {
        if self.is_unread(dest)
            && let Some(version) = self.get(dest)
        {
            self.set(dest, version.with_mark(false));
            self.forget_warning(dest);
        }
    }

    /// Whether the program of `dest` has reloaded, and has never been seen to read the file.
    pub(super) fn is_unread(&self, dest: &Path) -> bool {
        self.get(dest).is_some_and(|version| version.is_unread())
    }

    fn forget_warning(&self, dest: &Path) {
        let mut warned = self
            .warned_unread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        warned.remove(dest);
    }

    /// Whether the log still has to say that the program of `dest` does not read the file: once, until the program reads it.
    pub(super) fn needs_unread_warning(&self, dest: &Path) -> bool {
        let mut warned = self
            .warned_unread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        warned.insert(dest.to_owned())
    }

    /// Records that the program has refused this content.
    pub(super) fn record_refused(&self, dest: &Path, content: &[u8]) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(dest.to_owned(), LoadedVersion::of(content));
    }

    /// Whether the program has refused this content last.
    pub(super) fn has_refused(&self, dest: &Path, content: &[u8]) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(dest) == Some(&LoadedVersion::of(content))
    }

    fn get(&self, dest: &Path) -> Option<LoadedVersion> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = versions.get(dest) {
            return Some(version.clone());
        }
        let kept = std::fs::read_to_string(self.version_path(dest)?).ok()?;
        versions.insert(dest.to_owned(), LoadedVersion(kept.clone()));
        Some(LoadedVersion(kept))
    }

    fn set(&self, dest: &Path, version: LoadedVersion) {
        if self.get(dest).as_ref() == Some(&version) {
            return;
        }
        if let Some(place) = self.version_path(dest) {
            self.own_files.replace(&place, version.0.as_bytes());
        }
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(dest.to_owned(), version);
    }

    /// Where the version of `dest` is kept.
    fn version_path(&self, dest: &Path) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(file::name_of_path(dest)))
    }

    /// Where the previous file of `dest` is kept.
    fn previous_file_path(&self, dest: &Path) -> Option<PathBuf> {
        // No name of a version file begins like this, since those begin with a percent sign.
        let name = format!("before.{}", file::name_of_path(dest));
        Some(self.dir.as_ref()?.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owed_reload_is_known_to_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        assert!(!open().owes_reload(dest, b"old"), "no version is recorded");
        open().record_swap(dest, Some(b"old"));
        assert!(!open().owes_reload(dest, b"old") && open().owes_reload(dest, b"new"));
        open().record_loaded(dest, b"new");
        open().record_swap(dest, Some(b"newer"));
        assert!(!open().owes_reload(dest, b"new") && open().owes_reload(dest, b"newer"));
        open().mark_unknown(dest);
        assert!(open().owes_reload(dest, b"new"));
    }

    #[test]
    fn the_previous_file_is_kept_until_the_new_one_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        open().record_swap(dest, Some(b"old"));
        assert_eq!(
            open().previous_file(dest, b"new").as_deref(),
            Some(&b"old"[..])
        );
        assert_eq!(open().previous_file(dest, b"old"), None, "it is live");
        // Another file is swapped in, and is not loaded either.
        open().record_swap(dest, Some(b"new"));
        assert_eq!(
            open().previous_file(dest, b"newer").as_deref(),
            Some(&b"old"[..])
        );
        open().mark_unknown(dest);
        assert_eq!(
            open().previous_file(dest, b"new").as_deref(),
            Some(&b"old"[..])
        );
        open().record_loaded(dest, b"new");
        open().record_swap(dest, Some(b"new"));
        assert_eq!(
            open().previous_file(dest, b"newer").as_deref(),
            Some(&b"new"[..])
        );
        open().record_loaded(dest, b"newer");
        assert_eq!(open().previous_file(dest, b"newest"), None);
    }

    #[test]
    fn a_first_file_counts_as_never_loaded_until_its_program_loads_it() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        assert!(!open().was_never_loaded(dest), "no version is recorded");
        open().record_swap(dest, None);
        open().mark_unknown(dest);
        open().record_swap(dest, Some(b"new"));
        assert!(open().was_never_loaded(dest) && open().owes_reload(dest, b"new"));
        let loaded_state = open();
        assert!(
            loaded_state.needs_unread_warning(dest) && !loaded_state.needs_unread_warning(dest)
        );
        loaded_state.record_loaded(dest, b"new");
        loaded_state.mark_unknown(dest);
        assert!(!loaded_state.was_never_loaded(dest) && !open().was_never_loaded(dest));
        assert!(
            loaded_state.needs_unread_warning(dest),
            "the program has read it meanwhile"
        );

        let other = Path::new("/etc/haproxy/other.cfg");
        open().record_swap(other, Some(b"of somebody else"));
        assert!(!open().was_never_loaded(other), "it may have been loaded");
    }

    #[test]
    fn a_file_stays_marked_as_unread_until_its_program_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/haproxy/haproxy.cfg");
        let open = || LoadedState::open(Some(dir.path().join("state")));
        open().mark_unread(dest);
        assert!(!open().is_unread(dest), "no version is recorded");
        let first = open();
        first.record_swap(dest, None);
        first.record_loaded(dest, b"old");
        first.mark_unread(dest);
        assert!(first.needs_unread_warning(dest));
        // The next process knows the mark, and the mark alone owes no reload.
        assert!(open().is_unread(dest) && !open().owes_reload(dest, b"old"));
        assert!(open().owes_reload(dest, b"new"));
        first.record_swap(dest, Some(b"old"));
        assert_eq!(
            open().previous_file(dest, b"new").as_deref(),
            Some(&b"old"[..])
        );
        first.mark_unknown(dest);
        assert!(open().is_unread(dest) && open().owes_reload(dest, b"old"));
        first.record_loaded(dest, b"new");
        assert!(open().is_unread(dest) && !open().owes_reload(dest, b"new"));
        assert!(!first.needs_unread_warning(dest), "the log says so already");
        first.mark_read(dest);
        assert!(!open().is_unread(dest) && !open().owes_reload(dest, b"new"));
        assert!(
            first.needs_unread_warning(dest),
            "the program has read it meanwhile"
        );
    }

    #[test]
    fn without_a_state_directory_the_loaded_state_ends_with_the_process() {
        let (loaded_state, dest) = (LoadedState::open(None), Path::new("/a"));
        loaded_state.record_swap(dest, None);
        assert!(loaded_state.owes_reload(dest, b"new"));
        assert!(!LoadedState::open(None).owes_reload(dest, b"new"));
    }
}
