//! What a lease machine asks for, asked of a store; its answers come back as the machine's inputs. Adapter.

use std::future::Future;
use std::sync::Arc;

use super::{BoxFuture, Store, StoreError};
use crate::model::lease::{Action, Failure, Input};

/// What the store answered, and what is the matter with it if anything is.
#[derive(Debug)]
pub struct Answer {
    /// What the machine is to hear.
    pub input: Input,
    /// Why it failed.
    pub trouble: Option<StoreError>,
}

/// The request that an action stands for; `None` for one that only says something.
pub fn request(store: &Arc<dyn Store>, action: Action) -> Option<BoxFuture<'static, Answer>> {
    let store = Arc::clone(store);
    Some(match action {
        Action::Grant(ttl, id) => ask(async move { store.grant(ttl, id).await }, Input::Granted),
        Action::Publish(id, publication) => ask(
            async move { store.publish(id, &publication).await },
            move |answer| Input::Published(id, answer.map(|_| ())),
        ),
        Action::KeepAlive(id) => ask(async move { store.keep_alive(id).await }, move |answer| {
            Input::KeptAlive(id, answer)
        }),
        Action::Verify(id, publication) => {
            let dir = publication.dir.clone();
            ask(
                async move { store.stands(id, &publication).await },
                move |answer| Input::Verified(id, dir, answer),
            )
        }
        Action::Revoke(id) => ask(async move { store.revoke(id).await }, move |answer| {
            Input::Revoked(id, answer)
        }),
        Action::Announced(_) | Action::Removed(_) | Action::Conflict(_) => return None,
        Action::Repaired(_) | Action::Lost(_) | Action::Withdrawn => return None,
    })
}

fn ask<T: 'static>(
    request: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    answer: impl FnOnce(Result<T, Failure>) -> Input + Send + 'static,
) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let result = request.await;
        let trouble = result.as_ref().err().cloned();
        let input = answer(result.map_err(|error| failure(&error)));
        Answer { input, trouble }
    })
}

fn failure(error: &StoreError) -> Failure {
    match error {
        StoreError::LeaseLost(_) => Failure::Lost,
        StoreError::Conflict(_) => Failure::Conflict,
        StoreError::Unavailable { .. }
        | StoreError::HistoryLost { .. }
        | StoreError::Refused { .. } => Failure::Failed,
    }
}
