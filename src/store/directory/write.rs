//! Changes to the tree, one at a time under the lock of the store. Adapter.
//!
//! Each change is one `rename(2)` that readers see, with preparations before it and clearing up after it. What a writer
//! that dies leaves behind lies in the directory of its lease, and goes with it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::beat::{Beat, Clock, is_absent, replace};
use super::data::{self, Kind, Manifest, make_dir};
use super::layout::{Data, Layout, parse_lease};
use super::lock::Writer;
use crate::model::update::{self as model, Claim, LeaseId, Publication, Revision, STATE};
use crate::store::StoreError;

/// Revisions that writers make are this far apart; readers use those between for changes that no writer has counted:
/// an expiry, an edit by hand.
pub(super) const STEP: u64 = 1000;
/// No lease is shorter.
const MIN_TTL: Duration = Duration::from_secs(2);

/// The number in the store's own file; 0 for a directory that nobody has ever announced to.
pub(super) fn read_revision(layout: &Layout) -> Result<u64, StoreError> {
    let file = layout.revision();
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
        Err(error) if is_absent(&error) => Ok(0),
        Err(error) => Err(layout.failed("read", &file, &error)),
    }
}

impl Writer<'_> {
    pub(super) fn grant(&self, ttl: Duration) -> Result<(LeaseId, Duration), StoreError> {
        self.sweep()?;
        loop {
            let lease = LeaseId(fastrand::i64(1..i64::MAX));
            let dir = self.layout.lease(lease);
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let beat = self.clock.beat(ttl.max(MIN_TTL));
                    self.write_beat(lease, &beat)?;
                    return Ok((lease, beat.ttl()));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.layout.failed("make", &dir, &error)),
            }
        }
    }

    /// A lease of this very id; one that is alive is joined.
    pub(super) fn join(
        &self,
        lease: LeaseId,
        ttl: Duration,
    ) -> Result<(LeaseId, Duration), StoreError> {
        // Removes it if it is dead, and with it what hung on it.
        self.sweep()?;
        let dir = self.layout.lease(lease);
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.layout.failed("make", &dir, &error)),
        }
        let beat = self.clock.beat(ttl.max(MIN_TTL));
        self.write_beat(lease, &beat)?;
        Ok((lease, beat.ttl()))
    }

    /// What stands where a publication's link leads, if that is a data directory of this lease.
    pub(super) fn stands(
        &self,
        lease: LeaseId,
        publication: &Publication,
    ) -> Result<model::Standing, StoreError> {
        let mut found = model::Standing {
            is_whole: false,
            state: None,
        };
        let Place::Publication(data) = self.place(publication.dir.as_str())? else {
            return Ok(found);
        };
        if data.lease != lease {
            return Ok(found);
        }
        if !publication.fields.contains_key(STATE) {
            found.state = self.published_state(&data)?;
        }
        let dir = self.layout.data(&data);
        // Several owners of one place may differ in what they say.
        let is_shared = publication.claim == Claim::Whole;
        let stands = |(field, ours): (&String, &Vec<u8>)| {
            let file = dir.join(field);
            let value = data::value(&file).map_err(|e| self.layout.failed("read", &file, &e))?;
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
            let file = dir.join(field);
            let value = data::value(&file).map_err(|e| self.layout.failed("read", &file, &e))?;
            if let Some(reason) = value.and_then(|value| publication.conflict(field, &value)) {
                return Err(StoreError::Conflict(reason));
            }
        }
        Ok(())
    }

    /// Whether somebody else has published here.
    fn is_others(&self, lease: LeaseId, key: &str) -> Result<bool, StoreError> {
        let standing = self.place(key)?;
        Ok(matches!(standing, Place::Publication(data) if data.lease != lease))
    }

    pub(super) fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        let old = self.alive(lease)?;
        let beat = self.clock.beat(old.ttl());
        self.write_beat(lease, &beat)?;
        // A reader may have seen the old beat run out while the new one was under way.
        if self.clock.end(&old, Clock::now()).is_none() {
            self.bump()?;
        }
        Ok(beat.ttl())
    }

    /// The beat of a lease that is alive.
    pub(super) fn alive(&self, lease: LeaseId) -> Result<Beat, StoreError> {
        let beat = self.read_beat(lease)?;
        beat.filter(|beat| self.clock.end(beat, Clock::now()).is_some())
            .ok_or(StoreError::LeaseLost(lease))
    }

    fn read_beat(&self, lease: LeaseId) -> Result<Option<Beat>, StoreError> {
        let file = self.layout.beat(lease);
        Beat::read(&file).map_err(|e| self.layout.failed("read", &file, &e))
    }

    fn write_beat(&self, lease: LeaseId, beat: &Beat) -> Result<(), StoreError> {
        let file = self.layout.beat(lease);
        let written = beat.write(&file);
        written.map_err(|e| self.layout.failed("write", &file, &e))
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

    /// Makes exactly these fields stand, beside what hands have set.
    pub(super) fn make_stand(
        &self,
        lease: LeaseId,
        publication: &Publication,
    ) -> Result<Revision, StoreError> {
        let key = publication.dir.as_str();
        self.check_parents(key, true)?;
        let old = match self.place(key)? {
            Place::Nothing => None,
            Place::Publication(data) => {
                self.check_claim(lease, &data, publication)?;
                Some(self.layout.data(&data))
            }
            Place::Dir => {
                self.clear_below(key)?;
                Some(self.layout.place(key))
            }
            Place::Foreign(what) => return Err(self.in_the_way(key, what)),
        };
        let revision = self.next_revision()?;
        let data = Data {
            lease,
            name: format!("{:016x}", fastrand::u64(..)),
        };
        let data_dir = self.layout.data(&data);
        self.put(key, &data, &data_dir, publication, old.as_deref(), revision)
            .map_err(|e| self.layout.failed("publish by way of", &data_dir, &e))?;
        self.write_revision(revision)?;
        if let Some(old) = old.filter(|old| old.starts_with(self.layout.own())) {
            self.discard(&old);
        }
        Ok(Revision(revision))
    }

    /// Prepares a data directory and makes the key lead to it.
    fn put(
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
        let displaced = data::put_in_place(&link, &self.layout.place(key))?;
        // What a hand has set in the meantime.
        if let Some(old) = displaced.as_deref().or(old) {
            data::carry(old, data_dir)?;
        }
        if let Some(displaced) = displaced {
            self.discard(&displaced);
        }
        Ok(())
    }

    pub(super) fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let Some(beat) = self.read_beat(lease)? else {
            return self.bury(lease);
        };
        // From here on the lease is dead for every reader, and so is everything on it.
        self.write_beat(lease, &beat.last())?;
        self.bump()?;
        self.bury(lease)
    }

    /// Clears away the leases that have ended, and what writers that died have left.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let now = Clock::now();
        let dir = self.layout.leases();
        let found = data::list(&dir).map_err(|e| self.layout.failed("list", &dir, &e))?;
        let leases = found.iter().filter_map(|(name, _)| parse_lease(name));
        let mut dead = Vec::new();
        for lease in leases {
            let beat = self.read_beat(lease)?;
            if beat.is_none_or(|beat| self.clock.end(&beat, now).is_none()) {
                dead.push(lease);
            }
        }
        if !dead.is_empty() {
            self.bump()?;
        }
        dead.into_iter().try_for_each(|lease| self.bury(lease))
    }

    /// Removes what is left of a dead lease. Hand-set files that its publications held stay at their place.
    fn bury(&self, lease: LeaseId) -> Result<(), StoreError> {
        let dir = self.layout.lease(lease);
        let failed = |error: io::Error| self.layout.failed("clear away", &dir, &error);
        for (name, kind) in data::list(&dir).map_err(failed)? {
            let data = Data { lease, name };
            if kind != Kind::Dir {
                continue;
            }
            // A manifest that cannot be read names no place; the link, if any, dangles from now on.
            if let Ok(Some(manifest)) = Manifest::read(&self.layout.data(&data))
                && Layout::is_key(&manifest.dir)
                && self.place(&manifest.dir)? == Place::Publication(data.clone())
            {
                self.withdraw(&manifest.dir, &data)?;
            }
        }
        match data::remove_lease(&dir) {
            Err(error) if !is_absent(&error) => Err(failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes a publication away; what hands have set in it stays.
    fn withdraw(&self, key: &str, data: &Data) -> Result<(), StoreError> {
        let (place, data_dir) = (self.layout.place(key), self.layout.data(data));
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

    /// Takes away what is published at a key and below it.
    fn clear(&self, key: &str) -> Result<(), StoreError> {
        match self.place(key)? {
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
        let place = self.layout.place(key);
        let found = data::list(&place).map_err(|e| self.layout.failed("list", &place, &e))?;
        for (name, kind) in found {
            let below = format!("{key}/{name}");
            let is_published = match kind {
                Kind::Dir => true,
                Kind::Link => matches!(self.place(&below)?, Place::Publication(_)),
                Kind::File | Kind::Other => false,
            };
            if is_published {
                self.clear(&below)?;
            }
        }
        Ok(())
    }

    /// Sees to it that the directories above a key are there, and are directories.
    fn check_parents(&self, key: &str, make: bool) -> Result<(), StoreError> {
        let ends = key.match_indices('/').map(|(at, _)| at).skip(1);
        for parent in ends.map(|at| &key[..at]) {
            match self.place(parent)? {
                Place::Dir => {}
                Place::Nothing if make => {
                    let place = self.layout.place(parent);
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

    pub(super) fn place(&self, key: &str) -> Result<Place, StoreError> {
        let place = self.layout.place(key);
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
        let place = self.layout.place(key);
        self.layout.refused(format!(
            "{} is {what}; remove it, or publish elsewhere",
            place.display()
        ))
    }

    /// Removes what no link leads to any more; if that fails, it goes with its lease.
    fn discard(&self, path: &Path) {
        let removed = match data::kind(path) {
            Ok(Some(Kind::Dir)) => data::remove(path),
            Ok(Some(Kind::File | Kind::Link | Kind::Other)) => fs::remove_file(path),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::debug!(path = %path.display(), %error, store = %self.layout, "left for later what could not be removed");
        }
    }

    pub(super) fn bump(&self) -> Result<Revision, StoreError> {
        let revision = self.next_revision()?;
        self.write_revision(revision)?;
        Ok(Revision(revision))
    }

    /// A new store begins at the clock, in microseconds: a store that was wiped and made anew is later than it was.
    fn next_revision(&self) -> Result<u64, StoreError> {
        let last = match read_revision(self.layout)? {
            0 => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|now| u64::try_from(now.as_micros()).ok())
                .unwrap_or(0),
            last => last,
        };
        Ok((last / STEP + 1) * STEP)
    }

    fn write_revision(&self, revision: u64) -> Result<(), StoreError> {
        let file = self.layout.revision();
        replace(&file, &format!("{revision}\n")).map_err(|e| self.layout.failed("write", &file, &e))
    }
}

/// The publication with this state as a part of it.
pub(super) fn with_state(publication: &Publication, state: Vec<u8>) -> Publication {
    let mut publication = publication.clone();
    publication.fields.insert(STATE.to_owned(), state);
    publication
}

/// What stands at the place of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Nothing,
    Publication(Data),
    /// Made by hand, or to hold publications.
    Dir,
    Foreign(&'static str),
}
