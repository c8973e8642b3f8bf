//! Live files that no check has accepted yet, and the last accepted files before them. Shell.
//!
//! A check that can judge only the live file runs after the swap. A process that dies in between leaves an unchecked file;
//! the next process finds it here, checks it, and can restore the last accepted one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::model::fingerprint::content_hash;
use crate::system::file;
use crate::system::own_files::OwnFiles;

/// The unchecked files of this process, by destination.
#[derive(Debug)]
pub(super) struct AwaitingCheck {
    /// The directory that keeps the notes for the next process; without one, they end with this process.
    dir: Option<PathBuf>,
    own_files: OwnFiles,
    notes: Mutex<BTreeMap<PathBuf, Option<Note>>>,
}

/// What is noted for a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    /// Length and hash of each content that no check has accepted. The last one is live or about to be; an earlier one may
    /// still be live.
    contents: Vec<String>,
    /// The last accepted content; `None` if there was no file.
    before: Option<Vec<u8>>,
}

impl AwaitingCheck {
    pub(super) fn open(state_dir: Option<&Path>) -> Self {
        let dir = state_dir.map(|dir| dir.join("unchecked"));
        let made = dir.as_deref().map_or(Ok(()), file::make_private_dir);
        // The loaded state warns of a state directory that cannot be used.
        Self {
            dir: dir.filter(|_| made.is_ok()),
            own_files: OwnFiles::default(),
            notes: Mutex::default(),
        }
    }

    /// Notes that `new`, which no check has accepted, is about to replace `live`.
    pub(super) fn record(&self, dest: &Path, live: Option<&[u8]>, new: &[u8]) {
        let noted = live.and_then(|live| self.find_note(dest).filter(|note| note.has(live)));
        let mut note = noted.unwrap_or_else(|| Note {
            contents: Vec::new(),
            before: live.map(<[u8]>::to_vec),
        });
        note.contents.push(digest(new));
        if let Some(place) = self.note_path(dest) {
            self.own_files.replace(&place, &note.encode());
        }
        self.set_note(dest, Some(note));
    }

    /// The last accepted content before the live one, which no check has accepted; `None` if the live one is accepted.
    #[expect(clippy::option_option, reason = "there may have been no file")]
    pub(super) fn last_accepted(&self, dest: &Path, live: &[u8]) -> Option<Option<Vec<u8>>> {
        let note = self.find_note(dest).filter(|note| note.has(live))?;
        Some(note.before)
    }

    /// Forgets the note: a check has accepted the live file, or the last accepted one was restored.
    pub(super) fn forget(&self, dest: &Path) {
        self.set_note(dest, None);
        if let Some(place) = self.note_path(dest) {
            // An error is expected: mostly there is no such file.
            let _ = std::fs::remove_file(place);
        }
    }

    fn find_note(&self, dest: &Path) -> Option<Note> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = notes.get(dest) {
            return note.clone();
        }
        let read = || Note::decode(&std::fs::read(self.note_path(dest)?).ok()?);
        let note = read();
        notes.insert(dest.to_owned(), note.clone());
        note
    }

    fn set_note(&self, dest: &Path, note: Option<Note>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(dest.to_owned(), note);
    }

    fn note_path(&self, dest: &Path) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(file::name_of_path(dest)))
    }
}

fn digest(content: &[u8]) -> String {
    format!("{} {:016x}", content.len(), content_hash([content]))
}

/// The first line of a note: there was no file before, or there was one.
const BEFORE: [&str; 2] = ["none", "before"];

impl Note {
    fn has(&self, content: &[u8]) -> bool {
        self.contents.contains(&digest(content))
    }

    /// A line that says whether there was a file before, a line for each unchecked content, an empty line, and the last
    /// accepted content.
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
    fn the_next_process_knows_the_last_accepted_file_after_any_number_of_unchecked_ones() {
        let dir = tempfile::tempdir().unwrap();
        let open = || AwaitingCheck::open(Some(dir.path()));
        let dest = Path::new("/etc/nginx/a.conf");
        assert_eq!(open().last_accepted(dest, b"old"), None);
        open().record(dest, Some(b"old\n\n"), b"bad");
        assert_eq!(
            open().last_accepted(dest, b"bad"),
            Some(Some(b"old\n\n".to_vec()))
        );
        assert_eq!(
            open().last_accepted(dest, b"old\n\n"),
            None,
            "not swapped yet"
        );
        open().record(dest, Some(b"bad"), b"worse");
        for live in [&b"bad"[..], b"worse"] {
            let before = open().last_accepted(dest, live);
            assert_eq!(before, Some(Some(b"old\n\n".to_vec())), "{live:?}");
        }
        open().forget(dest);
        assert_eq!(open().last_accepted(dest, b"worse"), None);
        // A note whose swap was never made is replaced.
        open().record(dest, Some(b"old"), b"new");
        open().record(dest, Some(b"by hand"), b"new");
        assert_eq!(
            open().last_accepted(dest, b"new"),
            Some(Some(b"by hand".to_vec()))
        );
    }

    #[test]
    fn a_note_works_without_a_previous_file_and_without_a_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/a");
        AwaitingCheck::open(Some(dir.path())).record(dest, None, b"new");
        assert_eq!(
            AwaitingCheck::open(Some(dir.path())).last_accepted(dest, b"new"),
            Some(None)
        );
        let unchecked = AwaitingCheck::open(None);
        unchecked.record(dest, Some(b""), b"new");
        assert_eq!(
            unchecked.last_accepted(dest, b"new"),
            Some(Some(Vec::new()))
        );
        unchecked.forget(dest);
        assert_eq!(unchecked.last_accepted(dest, b"new"), None);
    }
}
