//! A watch: opened after a revision, read until it breaks; it hands on whole revisions only. Adapter.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::PbEvent;
use etcd_client::{
    GetOptions, KeyValue, ResponseHeader, SortOrder, SortTarget, WatchOptions, WatchResponse,
    WatchStream,
};
use tokio::time::{Instant, timeout};

use super::error::{Failure, Kind};
use super::history_check::{Landmark, Landmarks};
use super::keys::{self, Range};
use super::session::{self, ANSWER, At, Connection, MESSAGE, OPEN, Session};
use crate::model::prefix::Prefix;
use crate::model::update::{Change, Revision, Update};
use crate::store::{BoxFuture, StoreError, Watch};

/// How often a sign of life is asked for.
const PROGRESS: Duration = Duration::from_secs(2);
/// How long nothing may come before the member counts as gone.
const SILENCE: Duration = Duration::from_secs(6);
/// How long it may take to hand over a request to the connection.
const SEND: Duration = Duration::from_millis(500);

/// A running watch on one member.
pub(super) struct EtcdWatch {
    session: Arc<Session>,
    landmarks: Landmarks,
    prefix: Prefix,
    range: Range,
    stream: WatchStream,
    /// Boxed, since a client is large.
    connection: Box<Connection>,
    /// Whether the server has ever answered a request for a sign of life. etcd does, its grpc-proxy does not.
    gives_signs: bool,
    /// A revision that the server has named when we asked it, and whose changes the watch has not sent yet.
    missed: Option<i64>,
    /// The last revision whose changes have all come.
    after: Revision,
    batch: Batch,
    ask_at: Instant,
}

/// What came of a response so far; the server may send it in fragments, and cut a revision in two.
#[derive(Debug, Default)]
struct Batch {
    changes: Vec<Change>,
    /// Of the last event, also of one that is not ours.
    revision: i64,
    landmark: Option<Landmark>,
}

/// Opens a watch of everything after a revision.
pub(super) async fn open(
    session: &Arc<Session>,
    landmarks: &Landmarks,
    prefix: &Prefix,
    after: Revision,
) -> Result<EtcdWatch, At> {
    let [first, second] = Range::choices(prefix);
    match open_range(session, landmarks, prefix, after, &first).await {
        Err(at) if at.failure.kind == Kind::Denied => {
            open_range(session, landmarks, prefix, after, &second).await
        }
        other => other,
    }
}

async fn open_range(
    session: &Arc<Session>,
    landmarks: &Landmarks,
    prefix: &Prefix,
    after: Revision,
    range: &Range,
) -> Result<EtcdWatch, At> {
    let (mark, cluster) = (landmarks.get(prefix, after), landmarks.cluster(prefix));
    session
        .call(OPEN, |connection| {
            let (mark, range) = (mark.clone(), range.clone());
            async move {
                let from = (cluster, after);
                let stream = create(session, &connection, range.clone(), from).await?;
                // The history is checked after the stream was opened: if somebody exchanges the store later than that,
                // the stream breaks.
                if let Some(mark) = mark {
                    mark.verify(session, &connection).await?;
                }
                Ok(EtcdWatch {
                    session: Arc::clone(session),
                    landmarks: landmarks.clone(),
                    prefix: prefix.clone(),
                    range,
                    stream,
                    connection: Box::new(connection),
                    gives_signs: false,
                    missed: None,
                    after,
                    batch: Batch::default(),
                    ask_at: Instant::now() + PROGRESS,
                })
            }
        })
        .await
}

/// Opens the stream and waits until the server says that it watches.
async fn create(
    session: &Session,
    connection: &Connection,
    range: Range,
    (cluster, after): (u64, Revision),
) -> Result<WatchStream, Failure> {
    // Without fragments a large backlog is one message that is too large, at every try.
    let options = WatchOptions::new()
        .with_range(range.end)
        .with_start_revision(keys::wire(after).saturating_add(1))
        .with_fragment();
    let mut stream = connection
        .client
        .watch_client()
        .max_decoding_message_size(MESSAGE)
        .watch(range.start, Some(options))
        .await
        .map_err(|error| session.explain(&error))?;
    match stream.message().await {
        Ok(Some(created)) => check_created(session, &created, (cluster, after)).map(|()| stream),
        Ok(None) => Err(Failure::new(Kind::Member, "the watch ended at once")),
        Err(error) => Err(session.explain(&error)),
    }
}

fn check_created(
    session: &Session,
    created: &WatchResponse,
    (cluster, after): (u64, Revision),
) -> Result<(), Failure> {
    if created.canceled() {
        return Err(ended(session, created));
    }
    let answers = created.header().map_or(0, ResponseHeader::cluster_id);
    // Some proxies give no number.
    if cluster != 0 && answers != 0 && cluster != answers {
        return Err(Failure::new(Kind::History, "it is another cluster"));
    }
    let revision = keys::revision(created.header().map_or(0, ResponseHeader::revision));
    if revision < after {
        // The server would send nothing until it has counted up to a revision that lies in its future.
        let reason = format!("it is at revision {revision}: it was rebuilt");
        return Err(Failure::new(Kind::History, reason));
    }
    Ok(())
}

/// Why the server ended a watch. The stream itself stays open, sends nothing more, and gives no error.
fn ended(session: &Session, response: &WatchResponse) -> Failure {
    let compacted = response.compact_revision();
    if compacted > 0 {
        let reason = format!("history before revision {compacted} is compacted");
        return Failure::new(Kind::History, reason);
    }
    Failure::of_cancelled_watch(response.cancel_reason(), &session.members().options)
}

impl Watch for EtcdWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Update, StoreError>> {
        Box::pin(async move {
            match self.run().await {
                Ok(update) => Ok(update),
                Err(failure) => Err(self.fail(failure).await),
            }
        })
    }
}

impl EtcdWatch {
    /// Reads responses until one gives an update.
    async fn run(&mut self) -> Result<Update, Failure> {
        // The time since the last call does not count as silence: what came meanwhile waits in the connection.
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                biased;
                message = self.stream.message() => {
                    let response = message
                        .map_err(|error| self.session.explain(&error))?
                        .ok_or_else(|| Failure::new(Kind::Member, "the connection ended"))?;
                    heard = Instant::now();
                    if let Some(update) = self.update_from(response)? {
                        return Ok(update);
                    }
                }
                () = tokio::time::sleep_until(heard + SILENCE) => {
                    if self.gives_signs {
                        return Err(Failure::silence(SILENCE));
                    }
                    self.ask_for_changes().await?;
                    heard = Instant::now();
                }
                () = tokio::time::sleep_until(self.ask_at) => {
                    self.ask_at = Instant::now() + PROGRESS;
                    let asked = timeout(SEND, self.stream.request_progress()).await;
                    asked
                        .map_err(|_| Failure::silence(SEND))?
                        .map_err(|error| self.session.explain(&error))?;
                }
            }
        }
    }

    /// Asks a server that gives no signs of life for its revision. Fails if it does not answer, or if the watch has still
    /// not sent the changes of the revision that the server named the last time.
    async fn ask_for_changes(&mut self) -> Result<(), Failure> {
        let newest = GetOptions::new()
            .with_range(self.range.end.clone())
            .with_sort(SortTarget::Mod, SortOrder::Descend)
            .with_limit(1)
            .with_keys_only();
        let asked = self
            .session
            .get(&self.connection, self.range.start.clone(), newest);
        let answer = timeout(ANSWER, asked).await;
        let answer = answer.map_err(|_| Failure::silence(ANSWER))??;
        let newest = answer.kvs().first().map_or(0, KeyValue::mod_revision);
        let after = keys::wire(self.after);
        if let Some(missed) = self.missed.filter(|missed| *missed > after) {
            let reason = format!("the watch does not tell of revision {missed}");
            return Err(Failure::new(Kind::Member, reason));
        }
        self.missed = (newest > after).then_some(newest);
        Ok(())
    }

    /// Takes in a response; an update once a response is complete and has something of ours.
    fn update_from(&mut self, response: WatchResponse) -> Result<Option<Update>, Failure> {
        if response.canceled() {
            return Err(ended(&self.session, &response));
        }
        let response = response.0;
        // A sign of life has no watch and no events, and may run ahead of them: its revision means nothing here.
        if response.events.is_empty() {
            self.gives_signs = true;
            return Ok(None);
        }
        for event in response.events {
            self.batch.add(event, &self.prefix);
        }
        if response.fragment {
            return Ok(None);
        }
        let batch = std::mem::take(&mut self.batch);
        self.after = keys::revision(batch.revision);
        if let Some(mark) = batch.landmark {
            self.landmarks
                .set(&self.prefix, Some(mark.seen_at(self.after)));
        }
        if batch.changes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Update::Changed {
            revision: self.after,
            changes: batch.changes,
        }))
    }

    async fn fail(&mut self, failure: Failure) -> StoreError {
        let generation = self.connection.generation;
        self.session.retire(generation, failure.kind).await;
        let store = session::name(&self.connection.endpoint);
        let failure = failure.about(self.prefix.as_str());
        into_error(At { failure, store }, self.after)
    }
}

/// The error of a watch that was to go on after a revision.
pub(super) fn into_error(at: At, after: Revision) -> StoreError {
    if at.failure.kind == Kind::History {
        let reason = at.failure.reason;
        return StoreError::HistoryLost { after, reason };
    }
    at.into_error()
}

impl Batch {
    fn add(&mut self, event: PbEvent, prefix: &Prefix) {
        let Some(kv) = event.kv else { return };
        // Never the revision of the header: that is the store's, and may lie beyond what was sent.
        self.revision = self.revision.max(kv.mod_revision);
        let Some(key) = keys::text(kv.key).filter(|key| prefix.covers(key)) else {
            return;
        };
        // We compare the number: reading it as an enum panics on a kind that a later etcd may add.
        let is_put = match event.r#type {
            0 => true,
            1 => false,
            kind => {
                tracing::warn!(
                    "etcd sends an event of the unknown kind {kind} for {key}; sidekick skips it"
                );
                return;
            }
        };
        self.landmark = Some(Landmark::changed(&key, kv.mod_revision, is_put));
        self.changes.push(if is_put {
            Change::Put(key, kv.value.into())
        } else {
            Change::Delete(key)
        });
    }
}
