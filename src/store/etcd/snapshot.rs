//! Listing a prefix at one revision, in pages. Adapter.

use etcd_client::{GetOptions, GetResponse, ResponseHeader};

use super::error::Kind;
use super::history_check::Landmark;
use super::keys::{self, Range};
use super::session::{ANSWER, At, Session};
use crate::model::key::{Key, Value};
use crate::model::prefix::Prefix;
use crate::model::update::Snapshot;

/// The keys of the first page, by which we learn how large they are.
const FIRST_PAGE: i64 = 5_000;
/// The bytes of keys and values of a later page. etcd counts for each page all keys that are left, so a long list is to have
/// few pages. A page stays far below the size of a message, and below what would hold up the server.
const PAGE_BYTES: usize = 4 << 20;
/// The most keys of a page: beside its text, each takes memory while a page is taken in.
const LARGEST_PAGE: i64 = 60_000;
/// How often a listing starts anew because its revision was compacted under it.
const ATTEMPTS: usize = 3;

/// A listing under way: what is asked for next.
struct Listing<'a> {
    session: &'a Session,
    rest: Range,
    /// How many keys to ask for.
    page: i64,
    /// Some values are so large that no page can have more keys than this.
    limit: i64,
    revision: i64,
    cluster: u64,
}

/// What has come of a listing.
struct Taken<'a> {
    prefix: &'a Prefix,
    /// Sorted, as etcd sends it.
    entries: Vec<(Key, Value)>,
    latest: Option<Landmark>,
}

/// What is under a prefix, with the number of the cluster, and the landmark by which the revision can be known again.
type Listed = (Snapshot, u64, Option<Landmark>);

/// Lists what is under `prefix`.
pub(super) async fn list(session: &Session, prefix: &Prefix) -> Result<Listed, At> {
    let [first, second] = Range::choices(prefix);
    match list_range(session, prefix, &first).await {
        Err(at) if at.failure.kind == Kind::Denied => list_range(session, prefix, &second).await,
        other => other,
    }
}

async fn list_range(session: &Session, prefix: &Prefix, range: &Range) -> Result<Listed, At> {
    let mut attempts_left = ATTEMPTS;
    loop {
        attempts_left -= 1;
        let listing = Listing {
            session,
            rest: range.clone(),
            page: FIRST_PAGE,
            limit: LARGEST_PAGE,
            revision: 0,
            cluster: 0,
        };
        match listing.all(prefix).await {
            Err(at) if at.failure.kind == Kind::History && attempts_left > 0 => {}
            other => return other,
        }
    }
}

impl Listing<'_> {
    async fn all(mut self, prefix: &Prefix) -> Result<Listed, At> {
        let mut taken = Taken {
            prefix,
            entries: Vec::new(),
            latest: None,
        };
        let mut answer = self.ask().await;
        loop {
            answer = match answer {
                Ok(page) => {
                    self.note(&page);
                    if !page.more() {
                        taken.take_in(page);
                        break;
                    }
                    // etcd reads the next page while this one is taken in.
                    let take_in = async {
                        until_sent().await;
                        taken.take_in(page);
                    };
                    tokio::join!(self.ask(), take_in).0
                }
                // Sidekick writes no values of that size, but somebody else may have, under this prefix.
                Err(at) if at.failure.kind == Kind::TooLarge && self.page > 1 => {
                    self.limit = (self.page / 8).max(1);
                    self.page = self.limit;
                    self.ask().await
                }
                Err(at) => return Err(at),
            };
        }
        let snapshot = Snapshot {
            revision: keys::revision(self.revision),
            // All at once, which takes no look-up for each.
            entries: taken.entries.into_iter().collect(),
        };
        let revision = snapshot.revision;
        let mark = taken.latest.map(|mark| mark.seen_at(revision));
        Ok((snapshot, self.cluster, mark))
    }

    /// Asks for the next page. Every page is of the revision of the first.
    async fn ask(&self) -> Result<GetResponse, At> {
        let options = GetOptions::new()
            .with_range(self.rest.end.clone())
            .with_limit(self.page)
            .with_revision(self.revision);
        let (session, start) = (self.session, &self.rest.start);
        session
            .call(ANSWER, |connection| {
                let (start, options) = (start.clone(), options.clone());
                async move { session.get(&connection, start, options).await }
            })
            .await
    }

    /// Notes from a page what is asked for after it.
    fn note(&mut self, page: &GetResponse) {
        if self.revision == 0 {
            self.revision = page.header().map_or(0, ResponseHeader::revision);
            self.cluster = page.header().map_or(0, ResponseHeader::cluster_id);
        }
        if let Some(last) = page.kvs().last() {
            // The next page starts right behind the last key, which need not be text.
            self.rest.start = [last.key(), b"\0"].concat();
        }
        let bytes = page
            .kvs()
            .iter()
            .map(|kv| kv.key().len() + kv.value().len());
        self.page = next_page(page.kvs().len(), bytes.sum()).min(self.limit);
    }
}

impl Taken<'_> {
    fn take_in(&mut self, page: GetResponse) {
        for kv in page.0.kvs {
            let Some(key) = keys::text(kv.key) else {
                continue;
            };
            if self.prefix.covers(&key) {
                Landmark::keep_latest(&mut self.latest, &key, kv.mod_revision);
                self.entries.push((key, kv.value.into()));
            }
        }
    }
}

/// Lets the tasks run that send a request, each of which hands it to the next one.
async fn until_sent() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// How many keys to ask for after a page with so many keys and so many bytes.
fn next_page(keys: usize, bytes: usize) -> i64 {
    let fitting = PAGE_BYTES.saturating_mul(keys) / bytes.max(1);
    i64::try_from(fitting).map_or(LARGEST_PAGE, |keys| keys.clamp(1, LARGEST_PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_keys_as_fill_it() {
        for (keys, bytes, next) in [
            (5_000, 5_000 * 50, LARGEST_PAGE),
            (5_000, 5_000 * 1_024, 4_096),
            (2_048, 2_048 * 512, 8_192),
            (3, 3 << 20, 4),
            (1, 9 << 20, 1),
            (0, 0, 1),
        ] {
            assert_eq!(next_page(keys, bytes), next, "{keys} keys, {bytes} bytes");
        }
    }
}
