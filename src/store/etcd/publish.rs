//! Publishes exactly some fields under a directory, in one transaction. Adapter.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp,
};

use super::error::{Failure, Kind};
use super::keys::{self, Range};
use super::session::{ANSWER, At, Connection, Session};
use crate::model::lease_id::LeaseId;
use crate::model::publication::{Claim, Publication, Standing};
use crate::model::state_change::STATE;
use crate::model::update::Revision;

/// etcd's default limit on the operations of one transaction (`--max-txn-ops`).
const OPERATIONS: usize = 128;
/// We read the directory again this often at most when somebody changes it between our read and our transaction.
const ATTEMPTS: usize = 8;

/// Publishes; returns the revision of the transaction, or of the read if everything was there already.
pub(super) async fn publish(
    session: &Session,
    lease: LeaseId,
    publication: &Publication,
) -> Result<Revision, At> {
    // Each try reads first and then writes the same again, so that repeating it changes nothing.
    session
        .call(ANSWER, |connection| {
            attempts(session, connection, lease, publication)
        })
        .await
}

async fn attempts(
    session: &Session,
    connection: Connection,
    lease: LeaseId,
    publication: &Publication,
) -> Result<Revision, Failure> {
    for _ in 0..ATTEMPTS {
        if let Some(revision) = attempt(session, &connection, lease, publication).await? {
            return Ok(revision);
        }
    }
    let reason = format!(
        "{} changes faster than it can be written; does another process announce the same instance?",
        publication.dir
    );
    Err(Failure::new(Kind::Refused, reason))
}

/// One read and one transaction; `None` if somebody changed the directory in between.
async fn attempt(
    session: &Session,
    connection: &Connection,
    lease: LeaseId,
    publication: &Publication,
) -> Result<Option<Revision>, Failure> {
    let range = Range::below(&publication.dir);
    let look = GetOptions::new().with_range(range.end.clone());
    let found = session.get(connection, range.start.clone(), look).await?;
    let revision = found.header().map_or(0, ResponseHeader::revision);
    let operations = operations(lease, publication, found.kvs())?;
    if operations.is_empty() {
        return Ok(Some(keys::revision(revision)));
    }
    // One comparison for the whole directory: nothing in it was written after the read.
    let unchanged =
        Compare::mod_revision(range.start, CompareOp::Less, revision + 1).with_range(range.end);
    let txn = Txn::new().when([unchanged]).and_then(operations);
    let done = connection.client.kv_client().txn(txn).await;
    let done = done.map_err(|error| session.explain(&error))?;
    let revision = done.header().map_or(0, ResponseHeader::revision);
    Ok(done.succeeded().then(|| keys::revision(revision)))
}

/// Reads what is still there of a publication on this lease.
pub(super) async fn verify(
    session: &Session,
    lease: LeaseId,
    publication: &Publication,
) -> Result<Standing, At> {
    let look = |connection: Connection| async move {
        let range = Range::below(&publication.dir);
        let all = GetOptions::new().with_range(range.end).with_keys_only();
        let keys = session.get(&connection, range.start, all).await?;
        let is_state = |kv: &KeyValue| is_state_on(publication, kv, lease.0);
        if !keys.kvs().iter().any(is_state) {
            return Ok((keys, None));
        }
        let state = publication.key(STATE).into_bytes();
        let state = session.get(&connection, state, GetOptions::new()).await?;
        Ok((keys, Some(state)))
    };
    let (found, state) = session.call(ANSWER, look).await?;
    let ours = found.kvs().iter().filter(|kv| kv.lease() == lease.0);
    let standing = ours.filter_map(|kv| field(publication, kv));
    let standing = standing.filter(|field| publication.fields.contains_key(*field));
    let state = state.as_ref().and_then(|state| state.kvs().first());
    Ok(Standing {
        is_whole: standing.count() == publication.fields.len(),
        state: state.map(|kv| kv.value().to_vec()),
    })
}

/// A state that is not the publication's own, on this lease.
fn is_state_on(publication: &Publication, kv: &KeyValue, lease: i64) -> bool {
    let is_state = field(publication, kv) == Some(STATE);
    is_state && kv.lease() == lease && !publication.fields.contains_key(STATE)
}

/// The state that the instance gets on this lease: the one that it has on an earlier lease of ours, if it is still there;
/// else the publication's own.
fn first_state(publication: &Publication, found: &[KeyValue]) -> Option<Vec<u8>> {
    let is_ours = |kv: &&KeyValue| publication.predecessors.contains(&LeaseId(kv.lease()));
    if !found.iter().any(|kv| is_ours(&kv)) {
        return publication.state.clone();
    }
    let mut ours = found.iter().filter(is_ours);
    let state = ours.find(|kv| field(publication, kv) == Some(STATE))?;
    Some(state.value().to_vec())
}

/// The field of a key below a publication's directory.
fn field<'k>(publication: &Publication, kv: &'k KeyValue) -> Option<&'k str> {
    let key = std::str::from_utf8(kv.key()).ok()?;
    key.strip_prefix(publication.dir.as_str())?
        .strip_prefix('/')
}

/// Puts for the wanted fields, and deletes for other keys that hang on a lease. Keys without a lease were set by hand, and
/// stay.
fn operations(
    lease: LeaseId,
    publication: &Publication,
    found: &[KeyValue],
) -> Result<Vec<TxnOp>, Failure> {
    let others = found
        .iter()
        .filter(|kv| kv.lease() != 0 && kv.lease() != lease.0);
    let conflict = |kv: &KeyValue| publication.conflict(field(publication, kv)?, kv.value());
    if let Some(reason) = others.clone().find_map(conflict) {
        return Err(Failure::new(Kind::Conflict, reason));
    }
    let is_wanted = |kv: &KeyValue| {
        field(publication, kv).is_some_and(|field| publication.fields.contains_key(field))
    };
    let puts = publication.fields.iter().map(|(field, value)| {
        let options = PutOptions::new().with_lease(lease.0);
        TxnOp::put(publication.key(field), value.clone(), Some(options))
    });
    let may_go = |kv: &KeyValue| match publication.claim {
        Claim::Ours => kv.lease() == lease.0,
        Claim::Whole | Claim::TakeOver(_) | Claim::Restart(_) | Claim::Alone(_) => kv.lease() != 0,
    };
    let is_withdrawal = publication.fields.is_empty();
    let stays = |kv: &KeyValue| !is_withdrawal && is_state_on(publication, kv, lease.0);
    let stands = |kv: &KeyValue| stays(kv) || is_state_on(publication, kv, 0);
    let state = first_state(publication, found).filter(|_| {
        let is_free = !found.iter().any(stands);
        is_free && !is_withdrawal && !publication.fields.contains_key(STATE)
    });
    let state = state.map(|value| {
        let options = PutOptions::new().with_lease(lease.0);
        TxnOp::put(publication.key(STATE), value.clone(), Some(options))
    });
    let is_put = |kv: &KeyValue| state.is_some() && field(publication, kv) == Some(STATE);
    let deletes = found
        .iter()
        .filter(|kv| may_go(kv) && !is_wanted(kv) && !stays(kv) && !is_put(kv))
        .map(|kv| TxnOp::delete(kv.key(), None::<DeleteOptions>));
    let operations: Vec<TxnOp> = puts.chain(state.clone()).chain(deletes).collect();
    if operations.len() > OPERATIONS {
        let reason = format!(
            "{} needs {} changes at once, and etcd takes {OPERATIONS}: give the instance fewer attributes",
            publication.dir,
            operations.len()
        );
        return Err(Failure::new(Kind::Refused, reason));
    }
    Ok(operations)
}
