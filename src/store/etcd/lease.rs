//! Grants leases, keeps each alive over a stream of its own, and revokes them. Adapter.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{LeaseGrantOptions, LeaseKeepAliveStream, LeaseKeeper};
use tokio::time::timeout;

use super::error::{Failure, Kind};
use super::session::{ANSWER, At, Connection, Session};
use crate::model::lease_id::LeaseId;
use crate::store::StoreError;

/// How long it may take to hand over a heartbeat to the connection.
const SEND: Duration = Duration::from_millis(500);

/// What etcd says when a lease of the wanted id is alive.
const EXISTS: &str = "lease already exists";

/// How long the answer to a heartbeat may take beyond a third of the TTL. etcd's grpc-proxy sends heartbeats of its own
/// every third of the TTL, and answers ours with the answer to its next one.
const PROXY: Duration = Duration::from_millis(750);

/// The open keep-alive stream of each lease, and the TTL that the store gave it.
#[derive(Default)]
pub(super) struct Keepers {
    streams: Mutex<HashMap<i64, Keeper>>,
    ttls: Mutex<HashMap<i64, Duration>>,
}

struct Keeper {
    requests: LeaseKeeper,
    replies: LeaseKeepAliveStream,
    generation: u64,
}

/// Asks for a lease. A grant whose answer is lost leaves a lease with nothing on it, which ends by itself.
/// With an id it may be there already, granted by somebody else or by a request whose answer was lost.
pub(super) async fn grant(
    session: &Session,
    ttl: Duration,
    id: Option<LeaseId>,
) -> Result<(LeaseId, Duration), At> {
    let seconds = i64::try_from(ttl.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
    session
        .call(ANSWER, |connection| async move {
            let mut client = connection.client.lease_client();
            let options = id.map(|id| LeaseGrantOptions::new().with_id(id.0));
            match (client.grant(seconds, options).await, id) {
                (Ok(granted), _) => Ok((LeaseId(granted.id()), seconds_of(granted.ttl()))),
                (Err(error), Some(id)) if error.to_string().contains(EXISTS) => Ok((id, ttl)),
                (Err(error), _) => Err(session.explain(&error)),
            }
        })
        .await
}

/// Ends a lease; one that is gone already is no error.
pub(super) async fn revoke(session: &Session, lease: LeaseId) -> Result<(), At> {
    let revoked = session
        .call(ANSWER, |connection| async move {
            let mut client = connection.client.lease_client();
            let revoked = client.revoke(lease.0).await;
            revoked.map_err(|error| session.explain(&error))
        })
        .await;
    match revoked {
        Ok(_) => Ok(()),
        Err(at) if at.failure.kind == Kind::LeaseUnknown => Ok(()),
        Err(at) => Err(at),
    }
}

impl Keepers {
    /// Renews a lease.
    pub(super) async fn keep_alive(
        self: &Arc<Self>,
        session: &Session,
        lease: LeaseId,
    ) -> Result<Duration, At> {
        let limit = ANSWER.max(self.ttl(lease) / 3 + PROXY);
        session
            .call(limit, |connection| async move {
                // The stream is taken out while it is used, so a call that ends early ends its stream too, and no late
                // reply is taken for one to the next heartbeat.
                let mut keeper = match self.take_current(lease, connection.generation) {
                    Some(keeper) => keeper,
                    None => Keeper::open(session, connection, lease).await?,
                };
                let ttl = keeper.keep_alive(session).await?;
                self.put_back(lease, keeper);
                self.remember(lease, ttl);
                Ok(ttl)
            })
            .await
    }

    /// Closes the stream of a lease.
    pub(super) fn forget(&self, lease: LeaseId) {
        self.map().remove(&lease.0);
        self.ttls().remove(&lease.0);
    }

    /// Remembers the TTL in seconds that the store has given to a lease.
    pub(super) fn remember(&self, lease: LeaseId, ttl: Duration) {
        self.ttls().insert(lease.0, ttl);
    }

    fn ttl(&self, lease: LeaseId) -> Duration {
        self.ttls().get(&lease.0).copied().unwrap_or_default()
    }

    fn take_current(&self, lease: LeaseId, generation: u64) -> Option<Keeper> {
        let keeper = self.map().remove(&lease.0)?;
        (keeper.generation == generation).then_some(keeper)
    }

    fn put_back(&self, lease: LeaseId, keeper: Keeper) {
        self.map().insert(lease.0, keeper);
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Keeper>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ttls(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Duration>> {
        self.ttls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    async fn open(
        session: &Session,
        connection: Connection,
        lease: LeaseId,
    ) -> Result<Self, Failure> {
        let mut client = connection.client.lease_client();
        let opened = client.keep_alive(lease.0).await;
        let (requests, replies) = opened.map_err(|error| session.explain(&error))?;
        Ok(Self {
            requests,
            replies,
            generation: connection.generation,
        })
    }

    /// One heartbeat and its reply.
    async fn keep_alive(&mut self, session: &Session) -> Result<Duration, Failure> {
        timeout(SEND, self.requests.keep_alive())
            .await
            .map_err(|_| Failure::silence(SEND))?
            .map_err(|error| session.explain(&error))?;
        let reply = self.replies.message().await;
        match reply.map_err(|error| session.explain(&error))? {
            Some(reply) if reply.ttl() > 0 => Ok(seconds_of(reply.ttl())),
            Some(_) => Err(Failure::new(Kind::LeaseUnknown, "lease not found")),
            None => Err(Failure::new(Kind::Member, "the connection ended")),
        }
    }
}

/// The error of a verb that needs its lease.
pub(super) fn into_error(at: At, lease: LeaseId) -> StoreError {
    if at.failure.kind == Kind::LeaseUnknown {
        return StoreError::LeaseLost(lease);
    }
    at.into_error()
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
