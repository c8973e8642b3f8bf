//! What only etcd has: members that fail, users, certificates, a history. What it shares with every store is in
//! [`crate::contract`].

use std::sync::Arc;

use sidekick::model::store_url::EtcdOptions;
use sidekick::store::etcd::EtcdStore;
use sidekick::store::{Store, StoreError};

pub(crate) mod auth;
mod cluster;
mod history;
mod proxy;
mod rotation;
mod srv;
mod tls;
mod words;

fn open(options: EtcdOptions) -> Arc<dyn Store> {
    Arc::new(EtcdStore::new(options).expect("open a store"))
}

/// Fails unless the error says all of this; an operator reads nothing else.
#[track_caller]
fn assert_says(error: &StoreError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}
