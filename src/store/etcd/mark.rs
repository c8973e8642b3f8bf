//! Changes the state of an instance, on the lease on which the instance hangs. Adapter.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp,
};

use super::error::{Failure, Kind};
use super::keys::{self, Range};
use super::session::{ANSWER, At, Connection, Session};
use crate::model::state_change::{By, STATE, StateChange};
use crate::model::update::Revision;

/// We read the instance again this often at most when somebody changes it between our read and our transaction.
const ATTEMPTS: usize = 8;

/// What follows from the keys of the instance.
enum Step {
    /// The instance has the state since this revision; `None` if there is no instance.
    Done(Option<Revision>),
    /// Perform this operation, unless the instance was changed since this revision.
    Change(i64, TxnOp),
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
        let (after, operation) = match step(change, found.kvs(), revision) {
            Step::Done(since) => return Ok(since),
            Step::Change(after, operation) => (after, operation),
        };
        let unchanged =
            Compare::mod_revision(range.start, CompareOp::Less, after + 1).with_range(range.end);
        let txn = Txn::new().when([unchanged]).and_then([operation]);
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
    let key = format!("{}/{STATE}", change.dir.as_str());
    let is_state = |kv: &&KeyValue| kv.key() == key.as_bytes();
    let state = found.iter().find(is_state);
    let others = found.iter().filter(|kv| !is_state(kv));
    // What hands have added to an instance has no lease.
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
        (Some(kv), Some(wanted)) if kv.value() == wanted && kv.lease() == lease => {
            Step::Done(Some(keys::revision(kv.mod_revision())))
        }
        (_, Some(wanted)) => {
            let options = PutOptions::new().with_lease(lease);
            Step::Change(revision, TxnOp::put(key, wanted.clone(), Some(options)))
        }
        // It has always been so.
        (None, None) => Step::Done(Some(Revision::default())),
        (Some(_), None) => Step::Change(revision, TxnOp::delete(key, None::<DeleteOptions>)),
    }
}

fn stands_on(found: &[KeyValue], lease: i64) -> bool {
    found.iter().any(|kv| kv.lease() == lease)
}
