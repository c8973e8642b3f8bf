//! Publishes exactly some fields under a directory, in one transaction. Adapter.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn,
    TxnOp, TxnOpResponse,
};

use super::error::{Failure, Kind};
use super::keys::{self, Range};
use super::session::{ANSWER, At, Connection, MESSAGE, Session};
use crate::model::lease_id::LeaseId;
use crate::model::publication::{Claim, Publication, Standing};
use crate::model::state_change::{STATE, StateValue};
use crate::model::times::STATE_SINCE;
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

/// Reads what is still there of some publications on this lease, by one request.
pub(super) async fn verify(
    session: &Session,
    lease: LeaseId,
    publications: &[Publication],
) -> Result<Vec<Standing>, At> {
    if publications.is_empty() {
        return Ok(Vec::new());
    }
    let look = |connection: Connection| async move {
        let reads = publications.iter().map(|publication| {
            let range = Range::below(&publication.dir);
            let all = GetOptions::new().with_range(range.end);
            TxnOp::get(range.start, Some(all))
        });
        let reads = Txn::new().and_then(reads.collect::<Vec<_>>());
        let kv = connection.client.kv_client();
        let done = kv.max_decoding_message_size(MESSAGE).txn(reads).await;
        done.map_err(|error| session.explain(&error))
    };
    let found = session.call(ANSWER, look).await?.op_responses();
    let keys = found.iter().map(|answer| match answer {
        TxnOpResponse::Get(found) => found.kvs(),
        _ => &[],
    });
    let pairs = publications.iter().zip(keys);
    Ok(pairs
        .map(|(one, keys)| standing(lease, one, keys))
        .collect())
}

/// What these keys, all that are below a publication's directory, say of it.
fn standing(lease: LeaseId, publication: &Publication, keys: &[KeyValue]) -> Standing {
    let ours = keys.iter().filter(|kv| kv.lease() == lease.0);
    let fields = ours.filter_map(|kv| field(publication, kv));
    let standing = fields.filter(|field| publication.fields.contains_key(*field));
    let has_state = keys.iter().any(|kv| is_state_on(publication, kv, lease.0));
    Standing {
        is_whole: standing.count() == publication.fields.len(),
        state: state_of(publication, &keys.iter()).filter(|_| has_state),
    }
}

/// A state that is not the publication's own, on this lease.
fn is_state_on(publication: &Publication, kv: &KeyValue, lease: i64) -> bool {
    let is_state = field(publication, kv) == Some(STATE);
    is_state && kv.lease() == lease && !publication.fields.contains_key(STATE)
}

/// The state among these keys, and since when it is so.
fn state_of<'k>(
    publication: &Publication,
    keys: &(impl Iterator<Item = &'k KeyValue> + Clone),
) -> Option<StateValue> {
    let value = |name: &str| {
        let kv = keys.clone().find(|kv| field(publication, kv) == Some(name));
        kv.map(|kv| kv.value().to_vec())
    };
    Some(StateValue {
        state: value(STATE)?,
        since: value(STATE_SINCE),
    })
}

/// The state that the instance gets on this lease: the one that it has on an earlier lease of ours, if it is still there;
/// else the publication's own.
fn first_state(publication: &Publication, found: &[KeyValue]) -> Option<StateValue> {
    let is_ours = |kv: &&KeyValue| publication.predecessors.contains(&LeaseId(kv.lease()));
    if !found.iter().any(|kv| is_ours(&kv)) {
        return publication.state.clone();
    }
    state_of(publication, &found.iter().filter(is_ours))
}

/// The field of a key below a publication's directory.
fn field<'k>(publication: &Publication, kv: &'k KeyValue) -> Option<&'k str> {
    let key = std::str::from_utf8(kv.key()).ok()?;
    key.strip_prefix(publication.dir.as_str())?
        .strip_prefix('/')
}

/// The puts for the wanted fields that do not stand on this lease yet, and the deletes for other keys that hang on a lease.
/// Keys without a lease were set by hand, and stay.
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
    // A key that is put again is an event for every watcher, so only keys that differ are put.
    let stands_already = |name: &str, value: &[u8]| {
        let mut ours = found.iter().filter(|kv| kv.lease() == lease.0);
        ours.any(|kv| field(publication, kv) == Some(name) && kv.value() == value)
    };
    let new = publication.fields.iter();
    let new = new.filter(|(field, value)| !stands_already(field, value));
    let puts = new.map(|(field, value)| {
        let options = PutOptions::new().with_lease(lease.0);
        TxnOp::put(publication.key(field), value.clone(), Some(options))
    });
    let may_go = |kv: &KeyValue| match publication.claim {
        Claim::Ours => kv.lease() == lease.0,
        Claim::Whole | Claim::TakeOver(_) | Claim::Restart(_) | Claim::Alone(_) => kv.lease() != 0,
    };
    let is_withdrawal = publication.fields.is_empty();
    let state_stays = |kv: &KeyValue| !is_withdrawal && is_state_on(publication, kv, lease.0);
    let has_state = found.iter().any(state_stays);
    let is_its_time = |kv: &KeyValue| {
        has_state && kv.lease() == lease.0 && field(publication, kv) == Some(STATE_SINCE)
    };
    let stays = |kv: &KeyValue| state_stays(kv) || is_its_time(kv);
    let stands = |kv: &KeyValue| state_stays(kv) || is_state_on(publication, kv, 0);
    let state = first_state(publication, found).filter(|_| {
        let is_free = !found.iter().any(stands);
        is_free && !is_withdrawal && !publication.fields.contains_key(STATE)
    });
    let given: Vec<(&str, Vec<u8>)> = state.map_or_else(Vec::new, |value| {
        let since = value.since.map(|since| (STATE_SINCE, since));
        [(STATE, value.state)].into_iter().chain(since).collect()
    });
    let is_put = |kv: &KeyValue| {
        let field = field(publication, kv);
        given.iter().any(|(name, _)| field == Some(name))
    };
    let state = given.iter().map(|(name, value)| {
        let options = PutOptions::new().with_lease(lease.0);
        TxnOp::put(publication.key(name), value.clone(), Some(options))
    });
    let deletes = found
        .iter()
        .filter(|kv| may_go(kv) && !is_wanted(kv) && !stays(kv) && !is_put(kv))
        .map(|kv| TxnOp::delete(kv.key(), None::<DeleteOptions>));
    let operations: Vec<TxnOp> = puts.chain(state).chain(deletes).collect();
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
