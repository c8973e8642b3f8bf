//! Warns of services that targets name and that nobody announces: such a name may be a typing error. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};

use super::Shell;
use crate::config::Sources;
use crate::model::catalog::Catalog;
use crate::model::instance::ServiceName;
use crate::model::prefix::Prefix;
use crate::model::suggestion::did_you_mean;
use crate::model::update::Update;
use crate::store::Store;

/// How long the store may take to list all services. The list is only needed to suggest a name.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// Which of the services that targets name are announced.
#[derive(Default)]
pub(super) struct AnnouncedServices {
    /// The named services, and whether each has been announced since a target names it.
    known: BTreeMap<ServiceName, bool>,
    /// The warnings that still wait for the list of services.
    warnings: JoinSet<()>,
    /// The same, and those that have been logged, by the service that they name.
    by_service: BTreeMap<ServiceName, AbortHandle>,
}

impl AnnouncedServices {
    /// Says that a service is announced now, or ends its warning if that has not been logged yet.
    fn withdraw_warning(&mut self, service: &ServiceName) {
        match self.by_service.remove(service) {
            Some(warning) if !warning.is_finished() => warning.abort(),
            Some(_) | None => info!(%service, "{service} is announced now"),
        }
    }

    /// Waits until every warning has been logged.
    pub(super) async fn finish(&mut self) {
        while self.warnings.join_next().await.is_some() {}
    }
}

impl Shell {
    /// Logs a warning for each named service that nobody announces, once, and a line when it is announced. Nothing is
    /// logged before the store has sent all data.
    pub(super) fn warn_of_unannounced(&mut self) {
        if !self.subscriptions.is_fresh() {
            return;
        }
        let named = self.named_services();
        let announced = &mut self.announced;
        announced
            .known
            .retain(|service, _| named.contains_key(service));
        for (service, targets) in named {
            let is_there = self.catalog.instances(service.as_str()).next().is_some();
            match announced.known.insert(service.clone(), is_there) {
                None if !is_there => {
                    let store = Arc::clone(&self.store);
                    let prefix = self.prefix.clone();
                    let warning = log_warning(store, prefix, service.clone(), targets);
                    let warning = announced.warnings.spawn(warning);
                    announced.by_service.insert(service, warning);
                }
                Some(false) if is_there => announced.withdraw_warning(&service),
                // A service that has been announced before has the right name.
                Some(true) => drop(announced.known.insert(service, true)),
                None | Some(false) => {}
            }
        }
    }

    /// The services that targets name, each with the names of these targets.
    fn named_services(&self) -> BTreeMap<ServiceName, BTreeSet<String>> {
        let mut named: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for state in &self.targets {
            let target = &state.loaded.target;
            for output in &target.outputs {
                let services = match &output.sources {
                    Sources::Services(services) => services.as_slice(),
                    Sources::AllServices | Sources::Keys(_) => &[],
                };
                for service in services {
                    let targets = named.entry(service.clone()).or_default();
                    targets.insert(target.name.clone());
                }
            }
        }
        named
    }
}

/// Warns of one service, with a suggestion if the store has a similar name.
async fn log_warning(
    store: Arc<dyn Store>,
    prefix: Prefix,
    service: ServiceName,
    targets: BTreeSet<String>,
) {
    // If the store does not let us list all services, there is no suggestion.
    let snapshot = timeout(ASK_WITHIN, store.snapshot(&prefix)).await;
    let mut catalog = Catalog::new(prefix.clone());
    if let Ok(Ok(snapshot)) = snapshot {
        catalog.apply(&prefix, Update::Reset(snapshot));
    }
    let names = catalog.services().keys().map(ServiceName::as_str);
    let advice = did_you_mean(service.as_str(), names);
    let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    let targets: Vec<String> = targets.into_iter().collect();
    let targets = targets.join(", ");
    warn!(target = targets, %service, "{targets}: nobody announces {service}{advice}");
}
