//! etcd v3 as a store. The only door to `etcd_client`. Adapter.
//!
//! What each file handles: `session` the way to the cluster, `discovery` its members in the DNS, `credentials` what proves who
//! we are, `error` what can go wrong, `keys` the form of the keys; `snapshot`, `watch` (with `history_check`), `lease`,
//! `lease_times`, `publish` and `set_state` the verbs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{BoxFuture, Store, StoreError, Watch};
use crate::model::key::Key;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Publication, Standing};
use crate::model::srv::{SrvDomain, SrvLookup};
use crate::model::state_change::StateChange;
use crate::model::store_url::EtcdOptions;
use crate::model::times::LeaseTime;
use crate::model::update::{Revision, Snapshot};

mod credentials;
mod discovery;
mod error;
mod history_check;
mod keys;
mod lease;
mod lease_times;
mod publish;
mod session;
mod set_state;
mod snapshot;
mod watch;

use self::discovery::Discovery;
use self::history_check::Landmarks;
use lease::Keepers;
use session::Session;

/// An etcd cluster.
///
/// It connects when it is first used, stays with one member as long as that one answers, and goes on to the next when
/// it does not.
pub struct EtcdStore {
    session: Arc<Session>,
    landmarks: Landmarks,
    keepers: Arc<Keepers>,
}

impl EtcdStore {
    /// A store that is yet to connect; fails only if there is nowhere to connect to.
    pub fn new(options: EtcdOptions) -> Result<Self, StoreError> {
        if options.endpoints.is_empty() {
            return Err(StoreError::Refused {
                store: "etcd".to_owned(),
                reason: "no endpoint is given".to_owned(),
                hint: None,
            });
        }
        Ok(Self::with(Session::new(options)))
    }

    /// A store whose members the DNS names. It asks when it connects, each time anew.
    #[must_use]
    pub fn of_domain(domain: SrvDomain, options: EtcdOptions, lookup: SrvLookup) -> Self {
        let discovery = Discovery::new(domain, &options, lookup);
        Self::with(Session::discovering(options, discovery))
    }

    fn with(session: Session) -> Self {
        Self {
            session: Arc::new(session),
            landmarks: Landmarks::default(),
            keepers: Arc::default(),
        }
    }
}

/// The path above an instance or a watcher: errors name it, since the etcd user needs permissions there.
fn parent(dir: &Prefix) -> &str {
    dir.as_str()
        .rsplit_once('/')
        .map_or("", |(parent, _)| parent)
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options leave the password out.
        f.debug_tuple("EtcdStore")
            .field(&self.session.members().options)
            .finish()
    }
}

impl Store for EtcdStore {
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            let listed = snapshot::list(&self.session, prefix).await;
            let (snapshot, cluster, mark) =
                listed.map_err(|at| at.about(prefix.as_str()).into_error())?;
            self.landmarks.set(prefix, mark);
            self.landmarks.set_cluster(prefix, cluster);
            Ok(snapshot)
        })
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Revision,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, StoreError>> {
        Box::pin(async move {
            let opened = watch::open(&self.session, &self.landmarks, prefix, after).await;
            let watch = opened.map_err(|at| watch::into_error(at.about(prefix.as_str()), after))?;
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }

    fn grant(
        &self,
        ttl: Duration,
        id: Option<LeaseId>,
    ) -> BoxFuture<'_, Result<(LeaseId, Duration), StoreError>> {
        Box::pin(async move {
            let granted = lease::grant(&self.session, ttl, id).await;
            let (lease, ttl) = granted.map_err(session::At::into_error)?;
            self.keepers.remember(lease, ttl);
            Ok((lease, ttl))
        })
    }

    fn publish<'a>(
        &'a self,
        lease: LeaseId,
        publication: &'a Publication,
    ) -> BoxFuture<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            let published = publish::publish(&self.session, lease, publication).await;
            let place = parent(&publication.dir);
            published.map_err(|at| lease::into_error(at.about(place), lease))
        })
    }

    fn verify<'a>(
        &'a self,
        lease: LeaseId,
        publications: &'a [Publication],
    ) -> BoxFuture<'a, Result<Vec<Standing>, StoreError>> {
        Box::pin(async move {
            let found = publish::verify(&self.session, lease, publications).await;
            let place = publications.first().map_or("", |one| parent(&one.dir));
            found.map_err(|at| at.about(place).into_error())
        })
    }

    fn set_state<'a>(
        &'a self,
        change: &'a StateChange,
    ) -> BoxFuture<'a, Result<Option<Revision>, StoreError>> {
        Box::pin(async move {
            let marked = set_state::set_state(&self.session, change).await;
            marked.map_err(|at| at.about(parent(&change.dir)).into_error())
        })
    }

    fn lease_times<'a>(
        &'a self,
        prefix: &'a Prefix,
    ) -> BoxFuture<'a, Result<BTreeMap<Key, LeaseTime>, StoreError>> {
        Box::pin(async move {
            let listed = lease_times::list(&self.session, prefix).await;
            listed.map_err(|at| at.about(prefix.as_str()).into_error())
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        Box::pin(async move {
            let kept = self.keepers.keep_alive(&self.session, lease).await;
            kept.map_err(|at| {
                let error = lease::into_error(at, lease);
                if matches!(error, StoreError::LeaseLost(_)) {
                    self.keepers.forget(lease);
                }
                error
            })
        })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.keepers.forget(lease);
            let revoked = lease::revoke(&self.session, lease).await;
            revoked.map_err(session::At::into_error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::store_url::Password;

    #[test]
    fn the_password_is_not_shown() {
        let store = EtcdStore::new(EtcdOptions {
            endpoints: vec!["a:2379".to_owned()],
            tls: None,
            auth: Some(("root".to_owned(), Password::Given("secret".to_owned()))),
        })
        .unwrap();
        let shown = format!("{store:?}");
        assert!(
            shown.contains("root") && !shown.contains("secret"),
            "{shown}"
        );
        assert!(EtcdStore::new(EtcdOptions::default()).is_err());
    }
}
