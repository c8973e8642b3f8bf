//! Changes the state of an instance: publishes the instance anew with the state, on the lease on which it hangs. Adapter.
//!
//! A file `state` that somebody has written by hand is no part of a publication. The owner leaves it alone; a change by an
//! operator removes it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::data::{self, Manifest};
use super::entry::Place;
use super::expiry::is_absent;
use super::layout::Data;
use super::lock::Writer;
use super::publish::with_state;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Claim, Publication};
use crate::model::state_change::{By, STATE, StateChange, StateValue};
use crate::model::times::STATE_SINCE;
use crate::model::update::Revision;
use crate::store::StoreError;

/// Where the new state of an instance made by hand is staged, in the store's own directory.
const STATE_CANDIDATE: &str = "state.new";

impl Writer<'_> {
    /// Changes the state; returns the revision since which the instance has it, or `None` where there is no instance.
    pub(super) fn set_state(&self, change: &StateChange) -> Result<Option<Revision>, StoreError> {
        let key = change.dir.as_str();
        let data = match self.look_up(key)? {
            Place::Publication(data) => data,
            Place::Dir => return self.set_state_by_hand(change),
            Place::Nothing => return Ok(None),
            Place::Foreign(what) => return Err(self.in_the_way(key, what)),
        };
        if self.alive(data.lease).is_err() {
            return Ok(None);
        }
        let (before, by_hand) = (
            self.published_state(&data)?,
            self.state_by_hand(&change.dir)?,
        );
        let state = |value: Option<&StateValue>| value.map(|value| value.state.clone());
        match change.by {
            By::Owner(lease) if lease != data.lease => return Ok(None),
            // A change by hand has no revision of its own; it is older than the current one.
            By::Owner(_) if by_hand => return Ok(Some(Revision::default())),
            By::Owner(_) if before.is_some() => return self.since(&data).map(Some),
            By::Hand if !by_hand && state(before.as_ref()) == state(change.state.as_ref()) => {
                return self.since(&data).map(Some);
            }
            By::Owner(_) | By::Hand => {}
        }
        if by_hand {
            self.remove_state(change)?;
        }
        let Some(publication) = self.publication_without_state(change, &data)? else {
            return Ok(None);
        };
        let publication = match &change.state {
            Some(state) => with_state(&publication, state.clone()),
            None => publication,
        };
        self.make_stand(data.lease, &publication).map(Some)
    }

    /// The state that is a part of a publication.
    pub(super) fn published_state(&self, data: &Data) -> Result<Option<StateValue>, StoreError> {
        let dir = self.layout.data(data);
        let read = || {
            let manifest = Manifest::read(&dir)?.unwrap_or_default();
            let value = |name: &str| match manifest.fields.get(name) {
                Some(newline) => field(&dir, name, *newline),
                None => Ok(None),
            };
            let since = value(STATE_SINCE)?;
            Ok(value(STATE)?.map(|state| StateValue { state, since }))
        };
        read().map_err(|e| self.layout.failed("read", &dir, &e))
    }

    /// The state that a publication gets on this lease: the one that is set there, else the publication's own.
    pub(super) fn state_for(
        &self,
        lease: LeaseId,
        publication: &Publication,
    ) -> Result<Option<StateValue>, StoreError> {
        if publication.fields.contains_key(STATE) || self.state_by_hand(&publication.dir)? {
            return Ok(None);
        }
        let standing = match self.look_up(publication.dir.as_str())? {
            Place::Publication(data) if data.lease == lease => self.published_state(&data)?,
            Place::Publication(data) if publication.predecessors.contains(&data.lease) => {
                return self.published_state(&data);
            }
            Place::Publication(_) | Place::Nothing | Place::Dir | Place::Foreign(_) => None,
        };
        Ok(standing.or_else(|| publication.state.clone()))
    }

    /// The revision of the last publication of this instance.
    fn since(&self, data: &Data) -> Result<Revision, StoreError> {
        let dir = self.layout.data(data);
        let manifest = Manifest::read(&dir).map_err(|e| self.layout.failed("read", &dir, &e))?;
        Ok(manifest.map_or(Revision::default(), |manifest| Revision(manifest.revision)))
    }

    /// The publication as it stands, without its state; `None` if it has no fields.
    fn publication_without_state(
        &self,
        change: &StateChange,
        data: &Data,
    ) -> Result<Option<Publication>, StoreError> {
        let dir = self.layout.data(data);
        let read = || {
            let manifest = Manifest::read(&dir)?.unwrap_or_default();
            let names = manifest.fields.into_iter();
            let mut fields = BTreeMap::new();
            for (name, newline) in names.filter(|(name, _)| name != STATE && name != STATE_SINCE) {
                if let Some(value) = field(&dir, &name, newline)? {
                    fields.insert(name, value);
                }
            }
            Ok(fields)
        };
        let fields = read().map_err(|e: io::Error| self.layout.failed("read", &dir, &e))?;
        Ok((!fields.is_empty()).then(|| Publication {
            dir: change.dir.clone(),
            fields: fields.into(),
            state: None,
            claim: Claim::Whole,
            predecessors: std::collections::BTreeSet::new(),
        }))
    }

    /// Changes the state of an instance that somebody has made by hand.
    fn set_state_by_hand(&self, change: &StateChange) -> Result<Option<Revision>, StoreError> {
        match (&change.by, &change.state) {
            (By::Owner(_), _) => return Ok(None),
            (By::Hand, None) if !self.state_by_hand(&change.dir)? => {
                return Ok(Some(Revision::default()));
            }
            (By::Hand, None) => self.remove_state(change)?,
            (By::Hand, Some(state)) => {
                // A reader that sees the time without the state passes over it.
                match &state.since {
                    Some(since) => self.write_by_hand(&change.dir, STATE_SINCE, since)?,
                    None => self.remove_by_hand(&change.dir, STATE_SINCE)?,
                }
                self.write_by_hand(&change.dir, STATE, &state.state)?;
            }
        }
        self.bump().map(Some)
    }

    fn state_file(&self, dir: &Prefix, name: &str) -> PathBuf {
        self.layout.path_of(dir.as_str()).join(name)
    }

    /// Writes a field of an instance that is made by hand.
    fn write_by_hand(&self, dir: &Prefix, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let file = self.state_file(dir, name);
        // Prepared beside what readers see, and moved there in one step. Its name is ours: we hold the lock.
        let candidate = self.layout.own().join(STATE_CANDIDATE);
        let written = fs::write(&candidate, value);
        let moved = written.and_then(|()| fs::rename(&candidate, &file));
        moved.map_err(|e| self.layout.failed("write", &file, &e))
    }

    /// Whether somebody has written a file `state` by hand.
    fn state_by_hand(&self, dir: &Prefix) -> Result<bool, StoreError> {
        let published = match self.look_up(dir.as_str())? {
            Place::Publication(data) => self.published_state(&data)?.is_some(),
            Place::Dir | Place::Nothing | Place::Foreign(_) => false,
        };
        let file = self.state_file(dir, STATE);
        let kind = data::kind(&file).map_err(|e| self.layout.failed("look at", &file, &e))?;
        Ok(!published && kind == Some(data::Kind::File))
    }

    fn remove_state(&self, change: &StateChange) -> Result<(), StoreError> {
        self.remove_by_hand(&change.dir, STATE)?;
        self.remove_by_hand(&change.dir, STATE_SINCE)
    }

    fn remove_by_hand(&self, dir: &Prefix, name: &str) -> Result<(), StoreError> {
        let file = self.state_file(dir, name);
        match fs::remove_file(&file) {
            Err(error) if !is_absent(&error) => Err(self.layout.failed("remove", &file, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// A published field, as readers see it.
fn field(dir: &Path, name: &str, newline: bool) -> io::Result<Option<Vec<u8>>> {
    let value = data::value(&dir.join(name))?;
    Ok(value.map(|bytes| if newline { bytes } else { data::by_hand(bytes) }))
}
