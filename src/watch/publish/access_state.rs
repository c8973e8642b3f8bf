//! What files have besides their contents, remembered for the day when somebody deletes one or puts another in its place:
//! what we make then is open to those it was open to before. Shell.
//!
//! A mode that somebody has given to the file we left is meant, and remembered. A file that has taken its name (an editor's,
//! say) has a mode by accident.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::model::fingerprint::content_hash;
use crate::system::file::{self, Access, FileState, Inode, Properties};
use crate::system::xattr::Attributes;

/// The files of a process, by where they really lie.
#[derive(Debug)]
pub(crate) struct AccessState {
    /// Where they are noted from one process to the next; without a place a note lives as long as this one.
    dir: Option<PathBuf>,
    notes: Mutex<BTreeMap<PathBuf, Option<Note>>>,
}

/// A file as it was last seen or published.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    standing: Properties,
    /// A hash of its content.
    content: u64,
}

impl AccessState {
    pub(super) fn open(state_dir: Option<&Path>) -> Self {
        let dir = state_dir.map(|dir| dir.join("access"));
        let made = dir.as_deref().map_or(Ok(()), file::make_private_dir);
        // That the state directory cannot be used is told by the loaded state.
        Self {
            dir: dir.filter(|_| made.is_ok()),
            notes: Mutex::default(),
        }
    }

    /// What the file at `dest` is to have, if what is found there has no say: it is gone, or another one than the file that
    /// was left.
    pub(super) fn remembered(
        &self,
        dest: &Path,
        found: Option<&(FileState, Properties)>,
    ) -> Option<Properties> {
        let note = self.note_of(dest)?;
        let is_the_same = found.is_some_and(|(look, standing)| note.is_of(look, standing.inode));
        (!is_the_same).then_some(note.standing)
    }

    /// The file at `dest` is this one, and it is right that it is open to whom it is.
    pub(super) fn note(&self, dest: &Path, look: &FileState, standing: Properties) {
        let note = Note {
            standing,
            content: content_hash([&look.content[..]]),
        };
        if self.note_of(dest).as_ref() == Some(&note) {
            return;
        }
        if let Some(place) = self.place(dest) {
            let written = note.encode();
            let written = written.and_then(|text| file::replace_own(&place, &text));
            if let Err(error) = written {
                warn!("{} cannot be written: {error}", place.display());
            }
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(dest.to_owned(), Some(note));
    }

    /// We have just put this in place.
    pub(super) fn note_ours(&self, dest: &Path, content: &[u8]) {
        // What cannot be looked at, or is another file by now, is judged when it is compared.
        if let Ok(Some((look, standing))) = file::read_with_properties(dest)
            && look.content == content
        {
            self.note(dest, &look, standing);
        }
    }

    fn note_of(&self, dest: &Path) -> Option<Note> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = notes.get(dest) {
            return note.clone();
        }
        let read = || Note::decode(&std::fs::read(self.place(dest)?).ok()?);
        let note = read();
        notes.insert(dest.to_owned(), note.clone());
        note
    }

    fn place(&self, dest: &Path) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(file::name_of_path(dest)))
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    mode: u32,
    uid: u32,
    gid: u32,
    inode: u64,
    born: Option<u64>,
    content: u64,
    /// Their names and values; neither need be text.
    attributes: Vec<(CString, Vec<u8>)>,
}

impl Note {
    /// Whether this is the file that was left. A number alone may be that of a new file; the content tells then.
    fn is_of(&self, look: &FileState, inode: Inode) -> bool {
        let has_date = inode.born.is_some();
        self.standing.inode == inode
            && (has_date || self.content == content_hash([&look.content[..]]))
    }

    fn encode(&self) -> std::io::Result<Vec<u8>> {
        let Properties {
            access: Access { mode, uid, gid },
            inode: Inode { number, born },
            attributes: Attributes(attributes),
        } = self.standing.clone();
        Ok(serde_json::to_vec(&Body {
            mode,
            uid,
            gid,
            inode: number,
            born,
            content: self.content,
            attributes: attributes.into_iter().collect(),
        })?)
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(text).ok()?;
        let (mode, uid, gid) = (body.mode, body.uid, body.gid);
        let (number, born) = (body.inode, body.born);
        Some(Self {
            standing: Properties {
                access: Access { mode, uid, gid },
                inode: Inode { number, born },
                attributes: Attributes(body.attributes.into_iter().collect()),
            },
            content: body.content,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &str, mode: u32, number: u64, born: Option<u64>) -> (FileState, Properties) {
        let (uid, gid) = (1, 2);
        let access = Access { mode, uid, gid };
        let content = content.as_bytes().to_vec();
        let attributes = [(c"user.origin".to_owned(), b"\xff".to_vec())];
        let standing = Properties {
            access,
            inode: Inode { number, born },
            attributes: Attributes(attributes.into()),
        };
        (FileState { content, access }, standing)
    }

    #[test]
    fn the_next_process_knows_what_a_file_had_that_is_gone_or_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/a.cfg");
        let open = || AccessState::open(Some(dir.path()));
        let (look, standing) = found("a", 0o600, 7, Some(70));
        assert_eq!(open().remembered(dest, None), None);
        open().note(dest, &look, standing.clone());
        assert_eq!(open().remembered(dest, None), Some(standing.clone()));
        for (now, is_the_same) in [
            (found("a", 0o640, 7, Some(70)), true),
            (found("b", 0o640, 7, Some(70)), true),
            // Its number was free again.
            (found("a", 0o640, 7, Some(71)), false),
            (found("a", 0o640, 8, Some(70)), false),
        ] {
            let want = (!is_the_same).then_some(standing.clone());
            assert_eq!(open().remembered(dest, Some(&now)), want, "{now:?}");
        }
    }

    #[test]
    fn where_files_have_no_date_of_birth_their_contents_tell() {
        let state = AccessState::open(None);
        let dest = Path::new("/etc/a.cfg");
        let (look, standing) = found("a", 0o600, 7, None);
        state.note(dest, &look, standing.clone());
        let same = found("a", 0o640, 7, None);
        assert_eq!(state.remembered(dest, Some(&same)), None);
        let other = found("b", 0o640, 7, None);
        assert_eq!(state.remembered(dest, Some(&other)), Some(standing));
    }
}
