//! Carries the requests of a lease machine to a store, and brings the answers back as the machine's inputs. Adapter.

use std::future::Future;
use std::sync::Arc;

use super::{BoxFuture, Store, StoreError};
use crate::model::lease::{Action, Failure, Input};

/// The answer to a request of a lease machine.
#[derive(Debug)]
pub struct Answer {
    /// The answer as an input of the machine.
    pub input: Input,
    /// Why the request failed, for the log.
    pub trouble: Option<StoreError>,
}

/// The request to the store that an action asks for; `None` for an action that only reports something.
pub fn request_for(store: &Arc<dyn Store>, action: Action) -> Option<BoxFuture<'static, Answer>> {
    let store = Arc::clone(store);
    Some(match action {
        Action::Grant(ttl, id) => send(async move { store.grant(ttl, id).await }, Input::Granted),
        Action::Publish(id, publication) => send(
            async move { store.publish(id, &publication).await },
            move |answer| Input::Published(id, answer.map(|_| ())),
        ),
        Action::KeepAlive(id) => send(async move { store.keep_alive(id).await }, move |answer| {
            Input::KeptAlive(id, answer)
        }),
        Action::Verify(id, publication) => {
            let dir = publication.dir.clone();
            send(
                async move { store.verify(id, &publication).await },
                move |answer| Input::Verified(id, dir, answer),
            )
        }
        Action::Revoke(id) => send(async move { store.revoke(id).await }, move |answer| {
            Input::Revoked(id, answer)
        }),
        Action::Announced(_) | Action::Removed(_) | Action::Conflict(_) => return None,
        Action::Repaired(_) | Action::Lost(_) | Action::Withdrawn => return None,
    })
}

fn send<T: 'static>(
    request: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    answer: impl FnOnce(Result<T, Failure>) -> Input + Send + 'static,
) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let result = request.await;
        let trouble = result.as_ref().err().cloned();
        let input = answer(result.map_err(|error| failure_of(&error)));
        Answer { input, trouble }
    })
}

fn failure_of(error: &StoreError) -> Failure {
    match error {
        StoreError::LeaseLost(_) => Failure::Lost,
        StoreError::Conflict(_) => Failure::Conflict,
        StoreError::Unavailable { .. }
        | StoreError::HistoryLost { .. }
        | StoreError::Refused { .. } => Failure::Failed,
    }
}
