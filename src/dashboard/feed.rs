//! The feed of one open page as server-sent events: first the whole view, then the changed items, and a heartbeat. Shell.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::run::Views;
use super::view::{Difference, View};

/// The least time between two messages to a page; changes within it are sent as one message.
const PACE: Duration = Duration::from_millis(150);
/// The time after which a page gets a message even if nothing has changed. A page that gets none for three times as long
/// takes the connection as dead.
const BEAT: Duration = Duration::from_secs(5);

/// Feeds one page until it is closed. A page that reads slowly gets fewer messages with more changes in each, and costs no
/// more memory than one view.
pub(super) async fn feed(mut views: Views, to: mpsc::Sender<Vec<u8>>) {
    let mut sent: Option<Arc<View>> = None;
    loop {
        // The next message is made when the page has taken all earlier ones, so at most one message waits.
        let Ok(room) = to.reserve_many(to.max_capacity()).await else {
            return;
        };
        drop(room);
        let view = Arc::clone(&views.newest.borrow_and_update());
        let news = view.difference(sent.as_deref(), views.now());
        if to.send(format_message(&news)).await.is_err() {
            return;
        }
        sent = Some(view);
        tokio::select! {
            () = to.closed() => return,
            () = tokio::time::sleep(PACE) => {}
        }
        tokio::select! {
            () = to.closed() => return,
            () = tokio::time::sleep(BEAT) => {}
            changed = views.newest.changed() => if changed.is_err() { return },
        }
    }
}

/// Formats one event. Compact JSON has no line breaks, so it fits on one line. A page that loses the connection connects
/// again after one second.
fn format_message(news: &Difference) -> Vec<u8> {
    // This cannot fail: the keys of all maps are texts.
    let json = serde_json::to_string(news).unwrap_or_default();
    format!("retry: 1000\ndata: {json}\n\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::super::memory::{Input, Memory, Scope};
    use super::super::view::Store;
    use super::*;
    use crate::model::key::{Key, Value as Bytes};
    use crate::model::prefix::Prefix;
    use crate::model::update::{Change, Revision, Update};

    /// A dashboard of a store in which instances come.
    struct World {
        memory: Memory,
        to: watch::Sender<Arc<View>>,
        from: mpsc::Receiver<Vec<u8>>,
    }

    impl World {
        fn new() -> Self {
            let memory = Memory::new(Prefix::parse("/services").unwrap());
            let first = View::of(&memory, &Store::default(), Duration::ZERO);
            let (to, newest) = watch::channel(Arc::new(first));
            let (page, from) = mpsc::channel(16);
            let start = Instant::now();
            tokio::spawn(feed(Views { newest, start }, page));
            Self { memory, to, from }
        }

        fn comes(&mut self, id: &str) {
            let put = |field: &str, value: &str| {
                let key = format!("/services/web/{id}/{field}");
                Change::Put(Key::from(key), Bytes::from(value.as_bytes()))
            };
            let update = Update::Changed {
                revision: Revision(1),
                changes: vec![put("ip", "10.0.0.1"), put("port", "80")],
            };
            let input = Input::Update(Scope::Instances, update);
            self.memory.handle(Duration::ZERO, input);
            let view = View::of(&self.memory, &Store::default(), Duration::ZERO);
            self.to.send_replace(Arc::new(view));
        }

        /// The next message: whether it has the whole view, and the instances in it.
        async fn next_message(&mut self) -> (bool, Vec<String>) {
            let message = String::from_utf8(self.from.recv().await.unwrap()).unwrap();
            let (_, json) = message.trim_end().split_once("data: ").unwrap();
            let news: Value = serde_json::from_str(json).unwrap();
            let set = news["set"].as_object().unwrap().keys();
            let instances = set.filter_map(|name| name.strip_prefix("instance:web/"));
            let instances = instances.map(str::to_owned).collect();
            (news["whole"] == true, instances)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_gets_the_whole_view_then_changes_and_a_heartbeat() {
        let mut world = World::new();
        assert_eq!(world.next_message().await, (true, vec![]));
        world.comes("a");
        assert_eq!(world.next_message().await, (false, vec!["a".to_owned()]));
        let quiet = Instant::now();
        assert_eq!(world.next_message().await, (false, vec![]));
        assert_eq!(quiet.elapsed(), PACE + BEAT);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_a_page_does_not_read_become_one_message() {
        let mut world = World::new();
        for id in ["a", "b", "c", "d"] {
            // Long enough for a message of its own, if the page read it.
            tokio::time::sleep(PACE * 2).await;
            world.comes(id);
        }
        tokio::time::sleep(BEAT * 10).await;
        assert_eq!(world.next_message().await, (true, vec![]));
        let rest = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!(world.next_message().await, (false, rest));
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_ends_with_its_page() {
        let World { to, mut from, .. } = World::new();
        from.recv().await.unwrap();
        drop(from);
        to.closed().await;
    }
}
