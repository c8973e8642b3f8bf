//! Asks a Docker Engine over its socket. Adapter.
//!
//! Each request has a connection of its own, a limit in time and one in size. The paths name no version of the API, so the
//! engine answers with its newest; what is read of the answers has been the same since long ago.

use std::time::Duration;

use tokio::sync::mpsc;

use super::answer;
use super::machine::List;
use super::time;
use crate::model::container::{Container, ContainerId};
use crate::model::listen_address::ListenAddress;
use crate::model::report::chain;
use crate::system::http_get::{self, Bounds, GetError};

/// A list has all containers that run, with all their labels.
const LIST: Bounds = Bounds {
    time: Duration::from_secs(10),
    bytes: 32 << 20,
};
const INSPECTION: Bounds = Bounds {
    time: Duration::from_secs(5),
    bytes: 4 << 20,
};
/// An event has the labels of its container.
const EVENTS: Bounds = Bounds {
    time: Duration::from_secs(5),
    bytes: 1 << 20,
};
/// `{"type":["container","network"],"event":[...]}`, with what a path cannot have written as `%..`.
const EVENTS_PATH: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B\
    %22start%22%2C%22restart%22%2C%22die%22%2C%22stop%22%2C%22kill%22%2C%22pause%22%2C%22unpause%22%2C%22destroy%22%2C\
    %22rename%22%2C%22health_status%22%2C%22connect%22%2C%22disconnect%22%5D%7D&since=";

/// The containers that run and have labels for us.
pub(super) async fn list(engine: ListenAddress) -> Result<List, String> {
    let answer = http_get::fetch(&engine, "/containers/json", LIST);
    let answer = answer.await.map_err(|error| chain(&error))?;
    let date = answer.date.as_deref().and_then(time::http_date);
    let containers = answer::list(&answer.body)
        .map_err(|error| format!("its list of containers cannot be read: {error}"))?;
    Ok(List {
        date: date.ok_or("its answer has no date")?,
        containers,
    })
}

/// One container; `None` if there is no such container.
pub(super) async fn inspect(
    engine: ListenAddress,
    id: ContainerId,
) -> Result<Option<Container>, String> {
    let path = format!("/containers/{}/json", id.as_str());
    match http_get::fetch(&engine, &path, INSPECTION).await {
        Ok(answer) => answer::inspection(&answer.body).map(Some),
        Err(GetError::Status { status: 404, .. }) => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}

/// Hands on the events since a time, in seconds since 1970, until the stream ends; why it did.
pub(super) async fn follow_events(
    engine: ListenAddress,
    since: u64,
    to: mpsc::Sender<String>,
) -> String {
    let path = format!("{EVENTS_PATH}{since}");
    match http_get::follow_lines(&engine, &path, EVENTS, &to).await {
        Ok(()) => "it has closed the stream of events".to_owned(),
        Err(error) => chain(&error),
    }
}
