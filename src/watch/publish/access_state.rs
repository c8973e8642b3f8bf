//! Remembers the mode, owners and attributes of published files. If somebody deletes one or puts another file in its place,
//! the next new file is open to the same people as before. Shell.
//!
//! A mode that somebody gives to our own file is meant, so it is remembered. A file that takes our file's name (an editor
//! makes such files) has its mode by accident.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::fingerprint::content_hash;
use crate::system::file::{self, Access, FileState, Inode, Properties};
use crate::system::own_files::OwnFiles;
use crate::system::xattr::Attributes;

/// What is remembered of all files of this process, by their paths after symbolic links.
#[derive(Debug)]
pub(super) struct AccessState {
    /// The directory that keeps the notes for the next process; without one, they end with this process.
    dir: Option<PathBuf>,
    own_files: OwnFiles,
    notes: Mutex<BTreeMap<PathBuf, Option<Note>>>,
}

/// Our file as it was last published, or seen to be right.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    properties: Properties,
    /// A hash of its content.
    content: u64,
}

impl AccessState {
    pub(super) fn open(state_dir: Option<&Path>) -> Self {
        let dir = state_dir.map(|dir| dir.join("access"));
        let made = dir.as_deref().map_or(Ok(()), file::make_private_dir);
        // The loaded state warns of a state directory that cannot be used.
        Self {
            dir: dir.filter(|_| made.is_ok()),
            own_files: OwnFiles::default(),
            notes: Mutex::default(),
        }
    }

    /// What the next file at `dest` gets from our last one, if that is gone or another file has taken its place; `None` if
    /// the file that is `found` there is ours or nothing is remembered.
    pub(super) fn find_remembered(
        &self,
        dest: &Path,
        found: Option<&(FileState, Properties)>,
    ) -> Option<Properties> {
        let note = self.find_note(dest)?;
        let is_the_same =
            found.is_some_and(|(look, properties)| note.is_of(look, properties.inode));
        (!is_the_same).then_some(note.properties)
    }

    /// Remembers the file at `dest`, whose mode, owners and attributes are right.
    pub(super) fn remember(&self, dest: &Path, look: &FileState, properties: Properties) {
        let note = Note {
            properties,
            content: content_hash([&look.content[..]]),
        };
        if self.find_note(dest).as_ref() == Some(&note) {
            return;
        }
        if let Some(place) = self.note_path(dest) {
            let written = note.encode();
            let written = written.and_then(|text| file::replace_own(&place, &text));
            self.own_files.log(&place, "", written);
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(dest.to_owned(), Some(note));
    }

    /// Remembers the file with this content that we have just put in place.
    pub(super) fn remember_published(&self, dest: &Path, content: &[u8]) {
        // If the file cannot be read, or is another one by now, the next comparison judges it.
        if let Ok(Some((look, properties))) = file::read_with_properties(dest)
            && look.content == content
        {
            self.remember(dest, &look, properties);
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

    fn note_path(&self, dest: &Path) -> Option<PathBuf> {
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
    /// Names and values; neither has to be text.
    attributes: Vec<(CString, Vec<u8>)>,
}

impl Note {
    /// Whether the file found is ours. A new file may get the inode number of a deleted one, so the date of birth is
    /// compared too, or the content where the file system knows no date.
    fn is_of(&self, look: &FileState, inode: Inode) -> bool {
        let has_date = inode.born.is_some();
        self.properties.inode == inode
            && (has_date || self.content == content_hash([&look.content[..]]))
    }

    fn encode(&self) -> std::io::Result<Vec<u8>> {
        let Properties {
            access: Access { mode, uid, gid },
            inode: Inode { number, born },
            attributes: Attributes(attributes),
        } = self.properties.clone();
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
            properties: Properties {
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
        let properties = Properties {
            access,
            inode: Inode { number, born },
            attributes: Attributes(attributes.into()),
        };
        (FileState { content, access }, properties)
    }

    #[test]
    fn the_next_process_remembers_the_access_of_a_file_that_was_deleted_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Path::new("/etc/a.cfg");
        let open = || AccessState::open(Some(dir.path()));
        let (look, properties) = found("a", 0o600, 7, Some(70));
        assert_eq!(open().find_remembered(dest, None), None);
        open().remember(dest, &look, properties.clone());
        assert_eq!(open().find_remembered(dest, None), Some(properties.clone()));
        for (now, is_the_same) in [
            (found("a", 0o640, 7, Some(70)), true),
            (found("b", 0o640, 7, Some(70)), true),
            // A new file got the old inode number.
            (found("a", 0o640, 7, Some(71)), false),
            (found("a", 0o640, 8, Some(70)), false),
        ] {
            let want = (!is_the_same).then_some(properties.clone());
            assert_eq!(open().find_remembered(dest, Some(&now)), want, "{now:?}");
        }
    }

    #[test]
    fn contents_identify_a_file_where_the_file_system_knows_no_date_of_birth() {
        let state = AccessState::open(None);
        let dest = Path::new("/etc/a.cfg");
        let (look, properties) = found("a", 0o600, 7, None);
        state.remember(dest, &look, properties.clone());
        let same = found("a", 0o640, 7, None);
        assert_eq!(state.find_remembered(dest, Some(&same)), None);
        let other = found("b", 0o640, 7, None);
        assert_eq!(state.find_remembered(dest, Some(&other)), Some(properties));
    }
}
