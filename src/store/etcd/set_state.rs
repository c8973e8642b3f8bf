//! Changes the state of an instance, on the lease on which the instance hangs. Adapter.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp,
};

use super::error::{Failure, Kind};
use super::keys::{self, Range};
use super::session::{ANSWER, At, Connection, Session};
use crate::model::state_change::{By, STATE, StateChange};
use crate::model::times::STATE_SINCE;
use crate::model::update::Revision;

/// We read the instance again this often at most when somebody changes it between our read and our transaction.
const ATTEMPTS: usize = 8;

/// What follows from the keys of the instance.
enum Step {
    /// The instance has the state since this revision; `None` if there is no instance.
    Done(Option<Revision>),
    /// Perform these operations, unless the instance was changed since this revision.
    Change(i64, Vec<TxnOp>),
}

/// Changes the state; returns the revision since which the instance has it, or `None` where there is no instance.
pub(super) async fn set_state(
    session: &Session,
    change: &StateChange,
) -> Result<Option<Revision>, At> {
    session
        .call(ANSWER, |connection| attempts(session, connection, change))
        .await
}

async fn attempts(
    session: &Session,
    connection: Connection,
    change: &StateChange,
) -> Result<Option<Revision>, Failure> {
    for _ in 0..ATTEMPTS {
        let range = Range::below(&change.dir);
        let look = GetOptions::new().with_range(range.end.clone());
        let found = session.get(&connection, range.start.clone(), look).await?;
        let revision = found.header().map_or(0, ResponseHeader::revision);
        let (after, operations) = match step(change, found.kvs(), revision) {
            Step::Done(since) => return Ok(since),
            Step::Change(after, operations) => (after, operations),
        };
        let unchanged =
            Compare::mod_revision(range.start, CompareOp::Less, after + 1).with_range(range.end);
        let txn = Txn::new().when([unchanged]).and_then(operations);
        let done = connection.client.kv_client().txn(txn).await;
        let done = done.map_err(|error| session.explain(&error))?;
        if done.succeeded() {
            let revision = done.header().map_or(0, ResponseHeader::revision);
            return Ok(Some(keys::revision(revision)));
        }
    }
    let reason = format!("{} changes faster than it can be marked", change.dir);
    Err(Failure::new(Kind::Refused, reason))
}

fn step(change: &StateChange, found: &[KeyValue], revision: i64) -> Step {
    let key = |field: &str| format!("{}/{field}", change.dir.as_str());
    let (state_key, since_key) = (key(STATE), key(STATE_SINCE));
    let find = |key: &str| found.iter().find(|kv| kv.key() == key.as_bytes());
    let (state, since) = (find(&state_key), find(&since_key));
    let is_either =
        |kv: &&KeyValue| [state_key.as_bytes(), since_key.as_bytes()].contains(&kv.key());
    let others = found.iter().filter(|kv| !is_either(kv));
    // Keys that somebody has added to an instance by hand have no lease.
    let lease = others.map(KeyValue::lease).max();
    let (Some(lease), stays) = (match change.by {
        By::Owner(ours) => (
            lease.filter(|_| stands_on(found, ours.0)).map(|_| ours.0),
            true,
        ),
        By::Hand => (lease, false),
    }) else {
        return Step::Done(None);
    };
    match (state, &change.state) {
        (Some(kv), Some(_)) if stays => Step::Done(Some(keys::revision(kv.mod_revision()))),
        (Some(kv), Some(wanted)) if kv.value() == wanted.state && kv.lease() == lease => {
            Step::Done(Some(keys::revision(kv.mod_revision())))
        }
        (_, Some(wanted)) => {
            let put = |key: String, value: &Vec<u8>| {
                let options = PutOptions::new().with_lease(lease);
                TxnOp::put(key, value.clone(), Some(options))
            };
            let time = match (&wanted.since, since) {
                (Some(value), _) => Some(put(since_key, value)),
                // It is about the previous state.
                (None, Some(_)) => Some(TxnOp::delete(since_key, None::<DeleteOptions>)),
                (None, None) => None,
            };
            let operations = [put(state_key, &wanted.state)].into_iter().chain(time);
            Step::Change(revision, operations.collect())
        }
        // It has always been so.
        (None, None) => Step::Done(Some(Revision::default())),
        (Some(_), None) => {
            let keys = [Some(state_key), since.map(|_| since_key)];
            let deletes = keys.into_iter().flatten();
            let deletes = deletes.map(|key| TxnOp::delete(key, None::<DeleteOptions>));
            Step::Change(revision, deletes.collect())
        }
    }
}

fn stands_on(found: &[KeyValue], lease: i64) -> bool {
    found.iter().any(|kv| kv.lease() == lease)
}
