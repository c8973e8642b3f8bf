//! How long the leases of keys still live, read without a lock. Adapter.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::data::{self, Kind, Manifest};
use super::expiry::{Clock, Heartbeat, is_absent};
use super::layout::{Data, Layout, parse_lease};
use crate::model::key::Key;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::times::LeaseTime;
use crate::store::StoreError;

/// The published keys under a prefix, and how long their leases live.
pub(super) fn list(
    layout: &Layout,
    clock: &Clock,
    prefix: &Prefix,
) -> Result<BTreeMap<Key, LeaseTime>, StoreError> {
    let mut found = BTreeMap::new();
    let dir = layout.leases();
    let names = match data::list(&dir) {
        Err(error) if is_absent(&error) => return Ok(found),
        names => names.map_err(|error| layout.failed("list", &dir, &error))?,
    };
    for lease in names.iter().filter_map(|(name, _)| parse_lease(name)) {
        let keys = keys_of(layout, clock, lease, prefix);
        match keys {
            Ok(keys) => found.extend(keys),
            // Its writer clears it away.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(layout.failed("read", &layout.lease(lease), &error)),
        }
    }
    Ok(found)
}

fn keys_of(
    layout: &Layout,
    clock: &Clock,
    lease: LeaseId,
    prefix: &Prefix,
) -> io::Result<Vec<(Key, LeaseTime)>> {
    let now = Clock::now();
    let heartbeat = Heartbeat::read(&layout.heartbeat(lease))?;
    let alive = heartbeat.and_then(|heartbeat| Some((clock.end_of(&heartbeat, now)?, heartbeat)));
    let Some((end, heartbeat)) = alive else {
        return Ok(Vec::new());
    };
    let time = LeaseTime {
        ttl: heartbeat.ttl().as_secs(),
        left: end.saturating_sub(now) / 1000,
    };
    let mut keys = Vec::new();
    for (name, kind) in data::list(&layout.lease(lease))? {
        let data = Data { lease, name };
        if kind != Kind::Dir {
            continue;
        }
        let Some(manifest) = Manifest::read(&layout.data(&data))? else {
            continue;
        };
        // What another publication has replaced is there for a moment more.
        let key = manifest.dir.as_str();
        let stands = Layout::is_key(key)
            && fs::read_link(layout.path_of(key)).ok() == Some(Layout::link_text(key, &data));
        if stands {
            let fields = manifest.fields.keys();
            let below = fields.map(|field| format!("{key}/{field}"));
            let wanted = below.filter(|key| prefix.covers(key));
            keys.extend(wanted.map(|key| (Key::from(key), time)));
        }
    }
    Ok(keys)
}
