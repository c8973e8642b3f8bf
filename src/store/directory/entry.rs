//! What the file system has at the path of a key, and above it. Adapter.

use std::fs;
use std::io;

use super::data::{self, Kind, make_dir};
use super::layout::{Data, Layout};
use super::lock::Writer;
use crate::store::StoreError;

/// What the file system has at the path of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Nothing,
    Publication(Data),
    /// A directory, made by hand or to hold publications.
    Dir,
    Foreign(&'static str),
}

impl Writer<'_> {
    /// Checks the directories above a key, and with `make` makes those that are missing. Fails if something else is there.
    pub(super) fn check_parents(&self, key: &str, make: bool) -> Result<(), StoreError> {
        let ends = key.match_indices('/').map(|(at, _)| at).skip(1);
        for parent in ends.map(|at| &key[..at]) {
            match self.look_up(parent)? {
                Place::Dir => {}
                Place::Nothing if make => {
                    let place = self.layout.path_of(parent);
                    make_dir(&place).map_err(|e| self.layout.failed("make", &place, &e))?;
                }
                Place::Nothing => return Ok(()),
                Place::Publication(_) => {
                    return Err(self.in_the_way(parent, "a publication, which holds no other"));
                }
                Place::Foreign(what) => return Err(self.in_the_way(parent, what)),
            }
        }
        Ok(())
    }

    pub(super) fn look_up(&self, key: &str) -> Result<Place, StoreError> {
        let place = self.layout.path_of(key);
        let failed = |error: io::Error| self.layout.failed("look at", &place, &error);
        Ok(match data::kind(&place).map_err(failed)? {
            None => Place::Nothing,
            Some(Kind::Dir) => Place::Dir,
            Some(Kind::File) => Place::Foreign("a file"),
            Some(Kind::Other) => Place::Foreign("neither a file nor a directory"),
            Some(Kind::Link) => {
                let text = fs::read_link(&place).map_err(failed)?;
                match Layout::parse_link(key, &text) {
                    Some(data) => Place::Publication(data),
                    None => Place::Foreign("a link that no publication made"),
                }
            }
        })
    }

    pub(super) fn in_the_way(&self, key: &str, what: &str) -> StoreError {
        let place = self.layout.path_of(key);
        self.layout.refused(format!(
            "{} is {what}; remove it, or publish elsewhere",
            place.display()
        ))
    }
}
