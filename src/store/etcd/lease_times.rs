//! How long the leases of keys still live. Adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use etcd_client::GetOptions;
use tokio::task::JoinSet;

use super::keys::{self, Range};
use super::session::{ANSWER, At, Session};
use crate::model::key::Key;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::times::LeaseTime;

/// Keys per request.
const PAGE: i64 = 5_000;
/// Questions about leases that are under way at the same time.
const AT_ONCE: usize = 32;

/// The keys under a prefix that hang on leases, and how long these live. etcd tells that of one lease at a time, and of one
/// whose keys the user may not read, nothing: such keys are left out.
pub(super) async fn list(
    session: &Arc<Session>,
    prefix: &Prefix,
) -> Result<BTreeMap<Key, LeaseTime>, At> {
    let leases = leases_of_keys(session, prefix).await?;
    let mut rest: BTreeSet<LeaseId> = leases.values().copied().collect();
    let mut times = BTreeMap::new();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some(lease) = rest.pop_first()
        {
            let session = Arc::clone(session);
            asked.spawn(async move { (lease, ask(&session, lease).await) });
        }
        let Some(answer) = asked.join_next().await else {
            break;
        };
        if let Ok((lease, Ok(Some(time)))) = answer {
            times.insert(lease, time);
        }
    }
    let of_key = |(key, lease)| Some((key, *times.get(&lease)?));
    Ok(leases.into_iter().filter_map(of_key).collect())
}

async fn leases_of_keys(session: &Session, prefix: &Prefix) -> Result<BTreeMap<Key, LeaseId>, At> {
    let [mut rest, _] = Range::choices(prefix);
    let mut found = BTreeMap::new();
    loop {
        let options = GetOptions::new()
            .with_range(rest.end.clone())
            .with_limit(PAGE)
            .with_keys_only();
        let start = &rest.start;
        let page = session
            .call(ANSWER, |connection| {
                let (start, options) = (start.clone(), options.clone());
                async move { session.get(&connection, start, options).await }
            })
            .await?;
        if let Some(last) = page.kvs().last() {
            rest.start = [last.key(), b"\0"].concat();
        }
        let more = page.more();
        for kv in page.0.kvs {
            let lease = LeaseId(kv.lease);
            match keys::text(kv.key) {
                Some(key) if lease.0 != 0 && prefix.covers(&key) => drop(found.insert(key, lease)),
                Some(_) | None => {}
            }
        }
        if !more {
            return Ok(found);
        }
    }
}

async fn ask(session: &Session, lease: LeaseId) -> Result<Option<LeaseTime>, At> {
    session
        .call(ANSWER, |connection| async move {
            let mut client = connection.client.lease_client();
            let answer = client.time_to_live(lease.0, None).await;
            let answer = answer.map_err(|error| session.explain(&error))?;
            let seconds = |text: i64| u64::try_from(text).ok();
            // One that has ended has -1 s left.
            Ok(seconds(answer.ttl()).map(|left| LeaseTime {
                ttl: seconds(answer.granted_ttl()).unwrap_or_default(),
                left,
            }))
        })
        .await
}
