//! Answers the requests of browsers: the files of the page, and the feed. Adapter.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::feed::feed;
use super::pages;
use super::run::Views;
use crate::system::http_server::{Answer, Asked};

/// Hands on each page that opens the feed.
pub(super) type Opened = mpsc::Sender<mpsc::Sender<Vec<u8>>>;

/// Answers a request.
pub(super) fn answer(asked: &Asked, opened: &Opened) -> Answer {
    let answer = match asked.path() {
        // The loop that follows the store answers here too: an answer says that it makes progress.
        "/health" => Answer::text(200, "healthy\n"),
        "/events" if is_from_elsewhere(asked) => {
            Answer::text(403, "this feed is for the page of the dashboard\n")
        }
        "/events" if asked.is_head() => Answer::new(200, EVENTS, ""),
        "/events" => open_feed(opened),
        path => match pages::file(path) {
            Some(file) => Answer::new(200, file.media_type, file.text),
            None => Answer::text(404, "the dashboard has one page: /\n"),
        },
    };
    let headers = pages::HEADERS.iter();
    headers.fold(answer, |answer, (name, value)| answer.header(name, value))
}

const EVENTS: &str = "text/event-stream";

/// Whether the browser says that the request comes from another site. That site could not read the answer, but it could use
/// up the connections.
fn is_from_elsewhere(asked: &Asked) -> bool {
    let site = asked.header("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

fn open_feed(opened: &Opened) -> Answer {
    let (answer, pieces) = Answer::stream(EVENTS);
    match opened.try_send(pieces) {
        Ok(()) => answer,
        Err(_) => Answer::text(503, "too many pages are opened at once; try again\n"),
    }
}

/// Feeds each page that opens the feed, until the other end of `ended` is dropped.
pub(super) async fn feed_all(
    views: Views,
    mut opened: mpsc::Receiver<mpsc::Sender<Vec<u8>>>,
    mut ended: oneshot::Receiver<Infallible>,
) -> Infallible {
    let mut feeds = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = feeds.join_next() => {}
            _ = &mut ended => break,
            page = opened.recv() => match page {
                Some(pieces) => drop(feeds.spawn(feed(views.clone(), pieces))),
                None => break,
            },
        }
    }
    drop(feeds);
    std::future::pending().await
}

/// The handler for the server.
pub(super) fn handler(opened: Opened) -> Arc<dyn Fn(&Asked) -> Answer + Send + Sync> {
    Arc::new(move |asked| answer(asked, &opened))
}
