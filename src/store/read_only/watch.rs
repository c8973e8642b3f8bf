//! Watches a store that is only read: whatever happens to its files leads to another look, and the difference is the update.
//! Adapter.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::held::Contents;
use super::{Shared, Source};
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Update};
use crate::store::{BoxFuture, StoreError, Watch};
use crate::system::file_watch::Watched;

/// We look this often without a reason, to find what the kernel does not report: changes by other hosts, and links far away.
const BACKSTOP: Duration = Duration::from_secs(5);

/// Looks at the source, and waits for a reason to look again.
pub(super) struct Observer {
    shared: Arc<Shared>,
    /// `None` where nothing can change, or after a file system did not answer.
    watched: Option<Watched>,
}

impl Observer {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let watched = match shared.source {
            Source::Environment(_) => None,
            Source::Files(_) => Some(Watched::new("the files of the store")),
        };
        Self {
            shared: Arc::clone(shared),
            watched,
        }
    }

    /// Reads everything again. Whatever changes after that ends the next [`Observer::wait`].
    pub(super) async fn look(&mut self) -> Result<Contents, StoreError> {
        let watched = self.watched.take();
        let look = move |shared: &Shared| (follow(shared, watched), shared.read());
        let (watched, contents) = self.shared.blocking(look).await?;
        self.watched = watched;
        contents
    }

    /// Waits for a reason to look again. Dropping the future loses nothing.
    pub(super) async fn wait(&mut self) {
        match (&self.shared.source, &mut self.watched) {
            (Source::Environment(_), _) => std::future::pending().await,
            (Source::Files(_), Some(watched)) => {
                let _ = timeout(BACKSTOP, watched.changed()).await;
            }
            (Source::Files(_), None) => sleep(BACKSTOP).await,
        }
    }
}

/// Watches the places where the files lie now.
fn follow(shared: &Shared, watched: Option<Watched>) -> Option<Watched> {
    let (Source::Files(files), Some(mut watched)) = (&shared.source, watched) else {
        return None;
    };
    let places = files.places();
    watched.follow(places.dirs, places.links);
    Some(watched)
}

/// A watch of a store that is only read.
pub(super) struct ReadOnlyWatch {
    observer: Observer,
    prefix: Prefix,
    /// What the consumer knows.
    known: Contents,
    /// What it is to be told first.
    first: Option<Update>,
}

impl ReadOnlyWatch {
    pub(super) async fn open(
        shared: &Arc<Shared>,
        prefix: Prefix,
        after: Revision,
    ) -> Result<Self, StoreError> {
        let mut observer = Observer::new(shared);
        let known = observer.look().await?;
        let first = (known.revision != after).then(|| Update::Reset(known.snapshot(&prefix)));
        Ok(Self {
            observer,
            prefix,
            known,
            first,
        })
    }

    async fn next_update(&mut self) -> Result<Update, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            self.observer.wait().await;
            let contents = self.observer.look().await?;
            if contents.revision == self.known.revision {
                continue;
            }
            let changes = contents.changes_since(&self.known, &self.prefix);
            self.known = contents;
            if !changes.is_empty() {
                let revision = self.known.revision;
                return Ok(Update::Changed { revision, changes });
            }
        }
    }
}

impl Watch for ReadOnlyWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Update, StoreError>> {
        Box::pin(self.next_update())
    }
}
