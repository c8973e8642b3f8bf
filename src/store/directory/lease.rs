//! Grants leases, keeps them alive by their heartbeats, revokes them, and clears them away when they have ended. Adapter.

use std::fs;
use std::io;
use std::time::Duration;

use super::data::{self, Kind, Manifest};
use super::entry::Place;
use super::expiry::{Clock, Heartbeat, is_absent};
use super::layout::{Data, Layout, parse_lease};
use super::lock::Writer;
use crate::model::lease_id::LeaseId;
use crate::store::StoreError;

/// No lease is shorter.
const MIN_TTL: Duration = Duration::from_secs(2);

impl Writer<'_> {
    pub(super) fn grant(&self, ttl: Duration) -> Result<(LeaseId, Duration), StoreError> {
        self.sweep()?;
        loop {
            let lease = LeaseId(fastrand::i64(1..i64::MAX));
            if self.make_lease(lease)? {
                return self.begin(lease, ttl);
            }
        }
    }

    /// Grants the lease with this very id; one that is alive is shared.
    pub(super) fn join(
        &self,
        lease: LeaseId,
        ttl: Duration,
    ) -> Result<(LeaseId, Duration), StoreError> {
        // This removes the lease if it is dead, and everything that hung on it.
        self.sweep()?;
        self.make_lease(lease)?;
        self.begin(lease, ttl)
    }

    /// Whether the directory is new.
    fn make_lease(&self, lease: LeaseId) -> Result<bool, StoreError> {
        let dir = self.layout.lease(lease);
        match fs::create_dir(&dir) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.layout.failed("make", &dir, &error)),
        }
    }

    fn begin(&self, lease: LeaseId, ttl: Duration) -> Result<(LeaseId, Duration), StoreError> {
        let heartbeat = self.clock.heartbeat(ttl.max(MIN_TTL));
        self.write_heartbeat(lease, &heartbeat)?;
        Ok((lease, heartbeat.ttl()))
    }

    pub(super) fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        let old = self.alive(lease)?;
        let heartbeat = self.clock.heartbeat(old.ttl());
        self.write_heartbeat(lease, &heartbeat)?;
        // A reader may have seen the old heartbeat run out while the new one was under way.
        if self.clock.end_of(&old, Clock::now()).is_none() {
            self.bump()?;
        }
        Ok(heartbeat.ttl())
    }

    /// The heartbeat of a lease that is alive.
    pub(super) fn alive(&self, lease: LeaseId) -> Result<Heartbeat, StoreError> {
        let heartbeat = self.read_heartbeat(lease)?;
        heartbeat
            .filter(|heartbeat| self.clock.end_of(heartbeat, Clock::now()).is_some())
            .ok_or(StoreError::LeaseLost(lease))
    }

    fn read_heartbeat(&self, lease: LeaseId) -> Result<Option<Heartbeat>, StoreError> {
        let file = self.layout.heartbeat(lease);
        Heartbeat::read(&file).map_err(|e| self.layout.failed("read", &file, &e))
    }

    fn write_heartbeat(&self, lease: LeaseId, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let file = self.layout.heartbeat(lease);
        let written = heartbeat.write(&file);
        written.map_err(|e| self.layout.failed("write", &file, &e))
    }

    pub(super) fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let Some(heartbeat) = self.read_heartbeat(lease)? else {
            return self.bury(lease);
        };
        // From here on the lease is dead for every reader, and so is everything on it.
        self.write_heartbeat(lease, &heartbeat.last())?;
        self.bump()?;
        self.bury(lease)
    }

    /// Removes the leases that have ended, and files that writers left when they died.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let now = Clock::now();
        let dir = self.layout.leases();
        let found = data::list(&dir).map_err(|e| self.layout.failed("list", &dir, &e))?;
        let leases = found.iter().filter_map(|(name, _)| parse_lease(name));
        let mut dead = Vec::new();
        for lease in leases {
            let heartbeat = self.read_heartbeat(lease)?;
            if heartbeat.is_none_or(|heartbeat| self.clock.end_of(&heartbeat, now).is_none()) {
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
                && self.look_up(&manifest.dir)? == Place::Publication(data.clone())
            {
                self.withdraw(&manifest.dir, &data)?;
            }
        }
        match data::remove_lease(&dir) {
            Err(error) if !is_absent(&error) => Err(failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
