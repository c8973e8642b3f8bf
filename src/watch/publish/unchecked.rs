//! Files that lie in their places although no check has accepted them yet, and what was there before. Shell.
//!
//! A check that judges the live file runs behind the swap. A process that dies in between leaves a file that nobody has
//! judged; the next one finds it here, judges it, and can put back what was there before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::model::fingerprint::content_hash;
use crate::system::file;

/// The files of a process.
#[derive(Debug)]
pub(crate) struct Unchecked {
    /// Where they are noted from one process to the next; without a place a note lives as long as this one.
    dir: Option<PathBuf>,
    notes: Mutex<BTreeMap<PathBuf, Option<Note>>>,
}

/// What is noted of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    /// The contents that nobody has accepted: the last one is about to be live or is, those before may still be.
    contents: Vec<String>,
    /// What was there before them; nothing if there was no file.
    before: Option<Vec<u8>>,
}

impl Unchecked {
    pub(crate) fn open(state_dir: Option<&Path>) -> Self {
        let dir = state_dir.map(|dir| dir.join("unchecked"));
        let made = dir.as_deref().map_or(Ok(()), file::make_private_dir);
        // That the state directory cannot be used is told by the loaded state.
        Self {
            dir: dir.filter(|_| made.is_ok()),
            notes: Mutex::default(),
        }
    }

    /// `new` is about to take the place of `live`, and no check has accepted it.
    pub(crate) fn begin(&self, dest: &Path, live: Option<&[u8]>, new: &[u8]) {
        let noted = live.and_then(|live| self.note(dest).filter(|note| note.has(live)));
        let mut note = noted.unwrap_or_else(|| Note {
            contents: Vec::new(),
            before: live.map(<[u8]>::to_vec),
        });
        note.contents.push(digest(new));
        if let Some(place) = self.place(dest)
            && let Err(error) = file::replace_own(&place, &note.encode())
        {
            warn!("{} cannot be written: {error}", place.display());
        }
        self.set(dest, Some(note));
    }

    /// What was there before a file that no check has accepted; `None` if one has.
    #[expect(clippy::option_option, reason = "there may have been no file")]
    pub(crate) fn before(&self, dest: &Path, live: &[u8]) -> Option<Option<Vec<u8>>> {
        let note = self.note(dest).filter(|note| note.has(live))?;
        Some(note.before)
    }

    /// The live file has been accepted, or the one of before is back.
    pub(crate) fn end(&self, dest: &Path) {
        self.set(dest, None);
        if let Some(place) = self.place(dest) {
            // Mostly there is none.
            let _ = std::fs::remove_file(place);
        }
    }

    fn note(&self, dest: &Path) -> Option<Note> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = notes.get(dest) {
            return note.clone();
        }
        let read = || Note::decode(&std::fs::read(self.place(dest)?).ok()?);
        let note = read();
        notes.insert(dest.to_owned(), note.clone());
        note
    }

    fn set(&self, dest: &Path, note: Option<Note>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(dest.to_owned(), note);
    }

    fn place(&self, dest: &Path) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(file::name_of_path(dest)))
    }
}

fn digest(content: &[u8]) -> String {
    format!("{} {:016x}", content.len(), content_hash([content]))
}

/// Whether there was a file before, as the first line says it.
const BEFORE: [&str; 2] = ["none", "before"];

impl Note {
    fn has(&self, content: &[u8]) -> bool {
        self.contents.contains(&digest(content))
    }

    /// A line that says whether there was a file before, one for each content, an empty one, and the file of before.
    fn encode(&self) -> Vec<u8> {
        let first = BEFORE[usize::from(self.before.is_some())];
        let head = format!("{first}\n{}\n\n", self.contents.join("\n"));
        [head.as_bytes(), self.before.as_deref().unwrap_or_default()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.lines();
        let had_file = lines.next()? == BEFORE[1];
        Some(Self {
            contents: lines.map(str::to_owned).collect(),
            before: had_file.then(|| bytes[end + 2..].to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_accepted_file_is_known_to_the_next_process_however_many_were_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Unchecked::open(Some(dir.path()));
        let dest = Path::new("/etc/nginx/a.conf");
        assert_eq!(open().before(dest, b"old"), None);
        open().begin(dest, Some(b"old\n\n"), b"bad");
        assert_eq!(open().before(dest, b"bad"), Some(Some(b"old\n\n".to_vec())));
        assert_eq!(open().before(dest, b"old\n\n"), None, "not swapped yet");
        open().begin(dest, Some(b"bad"), b"worse");
        for live in [&b"bad"[..], b"worse"] {
            let before = open().before(dest, live);
            assert_eq!(before, Some(Some(b"old\n\n".to_vec())), "{live:?}");
        }
        open().end(dest);
        assert_eq!(open().before(dest, b"worse"), None);
        // A note whose swap was never made is nothing to start from.
        open().begin(dest, Some(b"old"), b"new");
        open().begin(dest, Some(b"by hand"), b"new");
        assert_eq!(open().before(dest, b"new"), Some(Some(b"by hand".to_vec())));
    }

    #[test]
    fn there_may_have_been_no_file_and_no_place_for_notes() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/a");
        Unchecked::open(Some(dir.path())).begin(dest, None, b"new");
        assert_eq!(
            Unchecked::open(Some(dir.path())).before(dest, b"new"),
            Some(None)
        );
        let unchecked = Unchecked::open(None);
        unchecked.begin(dest, Some(b""), b"new");
        assert_eq!(unchecked.before(dest, b"new"), Some(Some(Vec::new())));
        unchecked.end(dest);
        assert_eq!(unchecked.before(dest, b"new"), None);
    }
}
