//! Publishes and withdraws instances, one at a time under the lock of the store. Adapter.
//!
//! Readers see each change as one `rename(2)`; what precedes and follows it is invisible to them. The files that a writer
//! leaves when it dies lie in the directory of its lease, and are removed with it.

use std::fs;
use std::io;
use std::path::Path;

use super::data::{self, Kind, Manifest, make_dir};
use super::entry::Place;
use super::layout::{Data, Layout};
use super::lock::Writer;
use crate::model::lease_id::LeaseId;
use crate::model::publication::{Claim, Publication, Standing};
use crate::model::state_change::{STATE, StateValue};
use crate::model::times::STATE_SINCE;
use crate::model::update::Revision;
use crate::store::StoreError;

impl Writer<'_> {
    /// What stands where a publication's link leads, if that is a data directory of this lease.
    pub(super) fn verify(
        &self,
        lease: LeaseId,
        publication: &Publication,
    ) -> Result<Standing, StoreError> {
        let mut found = Standing {
            is_whole: false,
            state: None,
        };
        let Place::Publication(data) = self.look_up(publication.dir.as_str())? else {
            return Ok(found);
        };
        if data.lease != lease {
            return Ok(found);
        }
        if !publication.fields.contains_key(STATE) {
            found.state = self.published_state(&data)?;
        }
        let dir = self.layout.data(&data);
        // Several owners of one shared id may have announced different values.
        let is_shared = publication.claim == Claim::Whole;
        let stands = |(field, ours): (&String, &Vec<u8>)| {
            let value = self.value(&dir, field)?;
            Ok(value.is_some_and(|value| is_shared || value == *ours))
        };
        let stand: Vec<bool> = publication
            .fields
            .iter()
            .map(stands)
            .collect::<Result<_, StoreError>>()?;
        found.is_whole = stand.into_iter().all(|stands| stands);
        Ok(found)
    }

    /// Refuses to take a place from an owner who is alive and somebody else.
    fn check_claim(
        &self,
        lease: LeaseId,
        data: &Data,
        publication: &Publication,
    ) -> Result<(), StoreError> {
        if data.lease == lease || self.alive(data.lease).is_err() {
            return Ok(());
        }
        let dir = self.layout.data(data);
        for field in publication.fields.keys() {
            let value = self.value(&dir, field)?;
            if let Some(reason) = value.and_then(|value| publication.conflict(field, &value)) {
                return Err(StoreError::Conflict(reason));
            }
        }
        Ok(())
    }

    fn value(&self, dir: &Path, field: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let file = dir.join(field);
        data::value(&file).map_err(|e| self.layout.failed("read", &file, &e))
    }

    /// Whether somebody else has published here.
    fn is_others(&self, lease: LeaseId, key: &str) -> Result<bool, StoreError> {
        let standing = self.look_up(key)?;
        Ok(matches!(standing, Place::Publication(data) if data.lease != lease))
    }

    pub(super) fn publish(
        &self,
        lease: LeaseId,
        publication: &Publication,
    ) -> Result<Revision, StoreError> {
        self.layout.check(publication)?;
        self.alive(lease)?;
        let key = publication.dir.as_str();
        if publication.fields.is_empty() {
            self.check_parents(key, false)?;
            if publication.claim != Claim::Ours || !self.is_others(lease, key)? {
                self.clear(key)?;
            }
            return self.bump();
        }
        match self.state_for(lease, publication)? {
            None => self.make_stand(lease, publication),
            Some(state) => self.make_stand(lease, &with_state(publication, state)),
        }
    }

    /// Publishes exactly these fields, beside files that somebody has set by hand.
    pub(super) fn make_stand(
        &self,
        lease: LeaseId,
        publication: &Publication,
    ) -> Result<Revision, StoreError> {
        let key = publication.dir.as_str();
        self.check_parents(key, true)?;
        let old = match self.look_up(key)? {
            Place::Nothing => None,
            Place::Publication(data) => {
                self.check_claim(lease, &data, publication)?;
                Some(self.layout.data(&data))
            }
            Place::Dir => {
                self.clear_below(key)?;
                Some(self.layout.path_of(key))
            }
            Place::Foreign(what) => return Err(self.in_the_way(key, what)),
        };
        let revision = self.next_revision()?;
        let data = Data {
            lease,
            name: format!("{:016x}", fastrand::u64(..)),
        };
        let data_dir = self.layout.data(&data);
        self.write_and_link(key, &data, &data_dir, publication, old.as_deref(), revision)
            .map_err(|e| self.layout.failed("publish by way of", &data_dir, &e))?;
        self.write_revision(revision)?;
        if let Some(old) = old.filter(|old| old.starts_with(self.layout.own())) {
            self.discard(&old);
        }
        Ok(Revision(revision))
    }

    /// Writes a data directory and links the key to it.
    fn write_and_link(
        &self,
        key: &str,
        data: &Data,
        data_dir: &Path,
        publication: &Publication,
        old: Option<&Path>,
        revision: u64,
    ) -> io::Result<()> {
        data::write(data_dir, publication, revision)?;
        if let Some(old) = old {
            data::carry(old, data_dir)?;
        }
        let link = data_dir.with_extension("link");
        std::os::unix::fs::symlink(Layout::link_text(key, data), &link)?;
        let displaced = data::put_in_place(&link, &self.layout.path_of(key))?;
        // Files that somebody has set by hand in the meantime.
        if let Some(old) = displaced.as_deref().or(old) {
            data::carry(old, data_dir)?;
        }
        if let Some(displaced) = displaced {
            self.discard(&displaced);
        }
        Ok(())
    }

    /// Removes a publication; files that somebody has set in it by hand stay.
    pub(super) fn withdraw(&self, key: &str, data: &Data) -> Result<(), StoreError> {
        let (place, data_dir) = (self.layout.path_of(key), self.layout.data(data));
        let withdraw = || {
            let manifest = Manifest::read(&data_dir)?;
            if !data::has_hand_set(&data_dir, manifest.as_ref())? {
                return fs::remove_file(&place);
            }
            let kept = data_dir.with_extension("kept");
            if data::kind(&kept)?.is_some() {
                data::remove(&kept)?;
            }
            make_dir(&kept)?;
            data::carry(&data_dir, &kept)?;
            data::put_in_place(&kept, &place)?;
            data::carry(&data_dir, &place)
        };
        withdraw().map_err(|e| self.layout.failed("withdraw", &place, &e))?;
        Ok(())
    }

    /// Removes what is published at a key and below it.
    fn clear(&self, key: &str) -> Result<(), StoreError> {
        match self.look_up(key)? {
            Place::Nothing => Ok(()),
            Place::Publication(data) => {
                self.withdraw(key, &data)?;
                self.discard(&self.layout.data(&data));
                Ok(())
            }
            Place::Dir => self.clear_below(key),
            Place::Foreign(what) => Err(self.in_the_way(key, what)),
        }
    }

    fn clear_below(&self, key: &str) -> Result<(), StoreError> {
        let place = self.layout.path_of(key);
        let found = data::list(&place).map_err(|e| self.layout.failed("list", &place, &e))?;
        for (name, kind) in found {
            let below = format!("{key}/{name}");
            let is_published = match kind {
                Kind::Dir => true,
                Kind::Link => matches!(self.look_up(&below)?, Place::Publication(_)),
                Kind::File | Kind::Other => false,
            };
            if is_published {
                self.clear(&below)?;
            }
        }
        Ok(())
    }

    /// Removes a data directory to which no link leads any more. If that fails, it is removed with its lease.
    fn discard(&self, path: &Path) {
        let removed = match data::kind(path) {
            Ok(Some(Kind::Dir)) => data::remove(path),
            Ok(Some(Kind::File | Kind::Link | Kind::Other)) => fs::remove_file(path),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::debug!(
                %error,
                "{} of {}, of an earlier publication, cannot be removed and goes with its lease: {error}",
                path.display(),
                self.layout
            );
        }
    }
}

/// The publication with this state as a part of it.
pub(super) fn with_state(publication: &Publication, value: StateValue) -> Publication {
    let mut publication = publication.clone();
    publication.fields.insert(STATE.to_owned(), value.state);
    let since = value.since.map(|since| (STATE_SINCE.to_owned(), since));
    publication.fields.extend(since);
    publication
}
