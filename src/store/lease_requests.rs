//! Carries the requests of a lease machine to a store, and brings back the answers. Adapter.

use std::future::Future;
use std::sync::Arc;

use super::{BoxFuture, Store, StoreError};
use crate::model::lease::{Action, Answer, Failure};
use crate::model::prefix::Prefix;

/// The store's answer to a request of a lease machine, and the error for the log if the request failed.
pub type Answered = (Answer, Option<StoreError>);

/// The request to the store that an action asks for; `None` for an action that only reports something.
pub fn request_for(store: &Arc<dyn Store>, action: Action) -> Option<BoxFuture<'static, Answered>> {
    let store = Arc::clone(store);
    Some(match action {
        Action::Grant(ttl, id) => send(async move { store.grant(ttl, id).await }, Answer::Granted),
        Action::Publish(id, publication) => send(
            async move { store.publish(id, &publication).await },
            move |answer| Answer::Published(id, answer.map(|_| ())),
        ),
        Action::KeepAlive(id) => send(async move { store.keep_alive(id).await }, move |answer| {
            Answer::KeptAlive(id, answer)
        }),
        Action::Verify(id, publications) => {
            let dirs: Vec<Prefix> = publications.iter().map(|one| one.dir.clone()).collect();
            send(
                async move { store.verify(id, &publications).await },
                move |answer| {
                    let found = answer.map(|found| dirs.into_iter().zip(found).collect());
                    Answer::Verified(id, found)
                },
            )
        }
        Action::Revoke(id) => send(async move { store.revoke(id).await }, move |answer| {
            Answer::Revoked(id, answer)
        }),
        Action::Announced(_) | Action::Removed(_) | Action::Conflict(_) => return None,
        Action::Repaired(_) | Action::Lost(_) | Action::Withdrawn => return None,
    })
}

fn send<T: 'static>(
    request: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    answer: impl FnOnce(Result<T, Failure>) -> Answer + Send + 'static,
) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let result = request.await;
        let error = result.as_ref().err().cloned();
        let answer = answer(result.map_err(|error| failure_of(&error)));
        (answer, error)
    })
}

fn failure_of(error: &StoreError) -> Failure {
    match error {
        StoreError::LeaseLost(_) => Failure::Lost,
        StoreError::Conflict(_) => Failure::Conflict,
        StoreError::Unavailable { .. }
        | StoreError::HistoryLost { .. }
        | StoreError::Unusable { .. }
        | StoreError::Refused { .. } => Failure::Failed,
    }
}
