//! Changing the state of what is published, on the lease it hangs on. Adapter.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp,
};

use super::error::{Failure, Kind};
use super::keys::{self, Range};
use super::session::{ANSWER, At, Connection, Session};
use crate::model::state_change::{By, STATE, StateChange};
use crate::model::update::Revision;

/// How often somebody else may change the instance between our look and our transaction.
const ATTEMPTS: usize = 8;

/// What a look leads to.
enum Step {
    /// It is so since this revision, or nothing stands there.
    Done(Option<Revision>),
    /// Do this, unless the instance was changed since this revision.
    Change(i64, TxnOp),
}

/// Marks; the answer is the revision since which it is so.
pub(super) async fn mark(session: &Session, mark: &StateChange) -> Result<Option<Revision>, At> {
    session
        .call(ANSWER, |connection| attempts(session, connection, mark))
        .await
}

async fn attempts(
    session: &Session,
    connection: Connection,
    mark: &StateChange,
) -> Result<Option<Revision>, Failure> {
    for _ in 0..ATTEMPTS {
        let range = Range::below(&mark.dir);
        let look = GetOptions::new().with_range(range.end.clone());
        let found = session.get(&connection, range.start.clone(), look).await?;
        let revision = found.header().map_or(0, ResponseHeader::revision);
        let (after, change) = match step(mark, found.kvs(), revision) {
            Step::Done(since) => return Ok(since),
            Step::Change(after, change) => (after, change),
        };
        let unchanged =
            Compare::mod_revision(range.start, CompareOp::Less, after + 1).with_range(range.end);
        let txn = Txn::new().when([unchanged]).and_then([change]);
        let done = connection.client.kv_client().txn(txn).await;
        let done = done.map_err(|error| session.explain(&error))?;
        if done.succeeded() {
            let revision = done.header().map_or(0, ResponseHeader::revision);
            return Ok(Some(keys::revision(revision)));
        }
    }
    let reason = format!("{} changes faster than it can be marked", mark.dir);
    Err(Failure::new(Kind::Refused, reason))
}

fn step(mark: &StateChange, found: &[KeyValue], revision: i64) -> Step {
    let key = format!("{}/{STATE}", mark.dir.as_str());
    let is_state = |kv: &&KeyValue| kv.key() == key.as_bytes();
    let state = found.iter().find(is_state);
    let others = found.iter().filter(|kv| !is_state(kv));
    // What hands have added to an instance has no lease.
    let lease = others.map(KeyValue::lease).max();
    let (Some(lease), stays) = (match mark.by {
        By::Owner(ours) => (
            lease.filter(|_| stands_on(found, ours.0)).map(|_| ours.0),
            true,
        ),
        By::Hand => (lease, false),
    }) else {
        return Step::Done(None);
    };
    match (state, &mark.state) {
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
