//! What one page is told, as server-sent events: first everything, then what has changed, and a heartbeat. Shell.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::run::Views;
use super::view::{Difference, View};

/// The least time between two messages to a page: what comes within it is sent as one.
const PACE: Duration = Duration::from_millis(150);
/// How often a page hears something even if nothing has changed; it takes three times as long for a dead connection.
const BEAT: Duration = Duration::from_secs(5);

/// Feeds one page until it is gone. A page that reads slowly gets less often what has changed by then, and costs no more
/// memory than one view.
pub(super) async fn feed(mut views: Views, to: mpsc::Sender<Vec<u8>>) {
    let mut told: Option<Arc<View>> = None;
    loop {
        // Only when all of before has been taken: what waits for a slow page is one message.
        let Ok(room) = to.reserve_many(to.max_capacity()).await else {
            return;
        };
        drop(room);
        let view = Arc::clone(&views.newest.borrow_and_update());
        let news = view.difference(told.as_deref(), views.now());
        if to.send(message(&news)).await.is_err() {
            return;
        }
        told = Some(view);
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

/// One event. JSON has no line breaks of its own, so it is one line. A page that lost the connection tries again after a
/// second.
fn message(news: &Difference) -> Vec<u8> {
    // It has no maps with keys other than text, and no floats that could fail.
    let json = serde_json::to_string(news).unwrap_or_default();
    format!("retry: 1000\ndata: {json}\n\n").into_bytes()
}
