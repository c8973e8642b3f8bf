//! The reports of `register` to the log, to systemd and to the admin endpoint; each matter is logged once. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::time::Instant;

use tracing::{error, info, warn};

use super::instances::{Entry, Holder};
use super::lifecycle::Why;
use super::resolve::Unread;
use crate::admin::register::RegisterAdmin;
use crate::model::failures::Failures;
use crate::model::keyspace;
use crate::model::lease;
use crate::model::lease_id::LeaseId;
use crate::model::os::Exit;
use crate::model::prefix::Prefix;
use crate::model::report::chain;
use crate::model::update::Revision;
use crate::store::StoreError;
use crate::store::drain_wait::Waited;
use crate::system::sd_notify;

/// The state of the instances as reported so far.
#[derive(Debug)]
pub(super) struct StatusReport {
    admin: RegisterAdmin,
    all: BTreeSet<Prefix>,
    /// The shared instances, also those of previous configurations that are still announced.
    shared: BTreeSet<Prefix>,
    announced: BTreeSet<Prefix>,
    outage: Option<Outage>,
    /// What the store has not done since the outage began.
    store_failures: Failures,
    /// The checks that have failed in a row.
    failed_checks: BTreeMap<Prefix, Failures>,
    /// The instances of which the log says that they are unhealthy.
    unhealthy: BTreeSet<Prefix>,
    /// The instances whose place another owner has.
    conflicts: BTreeSet<Prefix>,
    /// Whether systemd has been told that the process is ready.
    ready: bool,
    config_reload: ConfigReload,
}

/// How far a config reload is that systemd waits for.
#[derive(Debug, Default, PartialEq, Eq)]
enum ConfigReload {
    #[default]
    No,
    /// The files are being read.
    Reading,
    /// The new instances are being announced.
    Announcing,
}

/// A failure of the store that the log has reported, and whose end it has not.
#[derive(Debug, PartialEq, Eq)]
enum Outage {
    /// The store does not answer.
    Silent,
    /// The store refuses requests of this kind. Only a success of the same kind ends that.
    Refuses(Discriminant<lease::Answer>),
}

impl StatusReport {
    pub(super) fn new(admin: RegisterAdmin) -> Self {
        Self {
            admin,
            all: BTreeSet::new(),
            shared: BTreeSet::new(),
            announced: BTreeSet::new(),
            outage: None,
            store_failures: Failures::default(),
            failed_checks: BTreeMap::new(),
            unhealthy: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            ready: false,
            config_reload: ConfigReload::No,
        }
    }

    /// Replaces the instances by these.
    pub(super) fn set_instances(&mut self, entries: &[Entry]) {
        for entry in entries {
            let dir = &entry.publication.dir;
            match entry.shared {
                Some(_) => drop(self.shared.insert(dir.clone())),
                // An instance that is not shared any more counts as shared until it has left its shared lease.
                None if !self.announced.contains(dir) => drop(self.shared.remove(dir)),
                None => {}
            }
        }
        let checked = |entry: &Entry| entry.checks.is_some();
        self.admin.replace(
            entries
                .iter()
                .map(|one| (&one.publication.dir, checked(one))),
        );
        self.all = entries.iter().map(|e| e.publication.dir.clone()).collect();
        self.conflicts.retain(|dir| self.all.contains(dir));
        self.unhealthy.retain(|dir| self.all.contains(dir));
        self.failed_checks.retain(|dir, _| self.all.contains(dir));
    }

    pub(super) fn admin(&self) -> &RegisterAdmin {
        &self.admin
    }

    fn who(&self) -> String {
        match self.all.first() {
            Some(dir) if self.all.len() == 1 => dir.to_string(),
            Some(_) | None => format!("{} instances", self.all.len()),
        }
    }

    fn status(&self) -> String {
        match self.all.first() {
            Some(dir) if self.all.len() == 1 && self.announced.contains(dir) => {
                format!("{dir} is announced")
            }
            Some(dir) if self.all.len() == 1 => format!("{dir} is not announced"),
            Some(_) | None => {
                let here = self.all.intersection(&self.announced).count();
                format!("{here} of {} instances are announced", self.all.len())
            }
        }
    }

    /// Sends the status to systemd, unless systemd waits for the process to be ready.
    fn send_status(&self, why: Option<&str>) {
        if !self.ready || self.config_reload != ConfigReload::No {
            return;
        }
        match why {
            Some(why) => sd_notify::status(&format!("{}: {why}", self.status())),
            None => sd_notify::status(&self.status()),
        }
    }

    pub(super) fn announced(&mut self, dir: Prefix) {
        let (service, instance) = keyspace::service_and_id(&dir);
        info!(service, instance, "{dir} is announced");
        self.admin.announced(&dir);
        self.conflicts.remove(&dir);
        self.announced.insert(dir);
        self.send_status(None);
    }

    pub(super) fn gone(&mut self, dir: &Prefix) {
        self.admin.gone(dir);
        // An instance that was never announced needs no report.
        if self.announced.remove(dir) {
            let (service, instance) = keyspace::service_and_id(dir);
            if self.shared.contains(dir) {
                info!(
                    service,
                    instance,
                    "{dir} is left to its other owners; without any, it disappears when its lease ends"
                );
            } else {
                info!(service, instance, "{dir} is withdrawn");
            }
        }
    }

    /// All healthy instances are announced, or in conflict.
    pub(super) fn settled(&mut self) {
        if !self.ready || self.config_reload == ConfigReload::Announcing {
            (self.ready, self.config_reload) = (true, ConfigReload::No);
            sd_notify::ready(&self.status());
        }
    }

    pub(super) fn checked(&mut self, dir: &Prefix, has_passed: bool) {
        if !has_passed {
            let failed = self.failed_checks.entry(dir.clone()).or_default();
            failed.count(Instant::now());
        } else if !self.unhealthy.contains(dir) {
            self.failed_checks.remove(dir);
        }
        self.admin.checked(dir, has_passed);
    }

    pub(super) fn lease_expires(&self, at: Option<Instant>) {
        self.admin.lease_expires(at);
    }

    pub(super) fn lease_lost(&self, id: LeaseId, holder: &Holder) {
        warn!("lease {id} is lost; asking for a new one");
        let is_on_it = |dir: &Prefix| match holder {
            Holder::Common => !self.shared.contains(dir),
            Holder::Shared(of) => dir == of,
        };
        for dir in self.announced.iter().filter(|dir| is_on_it(dir)) {
            self.admin.lease_lost(dir);
        }
    }

    pub(super) fn healthy(&mut self, dir: &Prefix) {
        let (service, instance) = keyspace::service_and_id(dir);
        let failed = self.failed_checks.remove(dir);
        let failed = failed.filter(|_| self.unhealthy.remove(dir));
        match failed.and_then(|mut failed| failed.end(Instant::now())) {
            None => info!(service, instance, "{dir} is healthy"),
            Some(past) => {
                let took_ms = past.took_ms();
                info!(service, instance, took_ms, "{dir} is healthy again, {past}");
            }
        }
        self.admin.healthy(dir);
    }

    pub(super) fn unhealthy(&mut self, dir: &Prefix, why: &str) {
        self.admin.unhealthy(dir, why);
        self.unhealthy.insert(dir.clone());
        let (service, instance) = keyspace::service_and_id(dir);
        warn!(service, instance, error = why, "{dir} is unhealthy: {why}");
        match self.all.len() {
            1 => sd_notify::status(&format!("unhealthy: {why}")),
            _ => self.send_status(Some(&format!("{dir} is unhealthy: {why}"))),
        }
    }

    pub(super) fn stopping(&self, why: Why) {
        self.admin.stopping();
        sd_notify::stopping("withdrawing");
        let who = self.who();
        match why {
            Why::Asked(signal) => info!("{signal}: withdrawing {who}"),
            Why::Ended(Exit::Code(0)) => info!("the program has ended: withdrawing {who}"),
            Why::Ended(exit) => warn!("the program has ended ({exit}): withdrawing {who}"),
        }
    }

    /// Reports an instance that could not be marked as draining. Returns the revision of the mark, if there is one.
    pub(super) fn marked(
        dir: &Prefix,
        answer: Result<Option<Revision>, StoreError>,
    ) -> Option<Revision> {
        match answer {
            Ok(since) => since,
            Err(error) => {
                let (service, instance) = keyspace::service_and_id(dir);
                warn!(service, instance, %error, "{dir} could not be marked as draining: {error}");
                None
            }
        }
    }

    /// The wait for the watchers is over.
    pub(super) fn waited(&self, waited: &Waited) {
        let names = |ids: &BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>().join(", ");
        let who = self.who();
        let took = u64::try_from(waited.took.as_millis()).unwrap_or(u64::MAX);
        if let Some(why) = &waited.unknown {
            warn!(
                took_ms = took,
                error = %why,
                "{who}: waited {took} ms without knowing the watchers: {why}"
            );
        } else if !waited.missing.is_empty() {
            warn!(
                took_ms = took,
                "{who}: waited {took} ms; these watchers have not applied the drain: {}",
                names(&waited.missing)
            );
        } else if waited.watchers.is_empty() {
            info!("{who}: there is no watcher to wait for");
        } else {
            info!(
                took_ms = took,
                "{who}: these watchers have applied the drain, after {took} ms: {}",
                names(&waited.watchers)
            );
        }
    }

    pub(super) fn not_withdrawn(&self) {
        let one = self.all.len() == 1;
        warn!(
            "{} could not be withdrawn in time; {} when its lease ends",
            self.who(),
            if one {
                "it disappears"
            } else {
                "each disappears"
            }
        );
    }

    /// A config reload begins.
    pub(super) fn config_reload_started(&mut self) {
        info!("SIGHUP: reading the configuration again");
        if self.ready {
            self.config_reload = ConfigReload::Reading;
            sd_notify::reloading("reading the configuration");
        }
    }

    /// A config reload has succeeded.
    pub(super) fn config_reload_succeeded(&mut self) {
        self.admin.config_read(None);
        info!("the new configuration is in force: {}", self.who());
        if self.config_reload == ConfigReload::Reading {
            self.config_reload = ConfigReload::Announcing;
        }
    }

    /// A config reload has failed.
    pub(super) fn config_reload_failed(&mut self, why: &Unread) {
        self.admin.config_read(Some(why.first_line()));
        match why {
            Unread::Wrong(problems) => {
                for problem in problems {
                    let hint = problem.hint.as_ref();
                    let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                    error!(error = %problem, "{problem}{hint}");
                }
            }
            Unread::Impossible(why) => {
                let why = chain(why);
                error!(error = why, "{why}");
            }
        }
        error!(
            "the new configuration cannot be used; the instances of the previous one stay announced"
        );
        if self.config_reload == ConfigReload::Reading {
            self.config_reload = ConfigReload::No;
            let status = format!("{}; the new configuration is wrong", self.status());
            sd_notify::ready(&status);
        }
    }

    /// Says that an outage is over, and how long it was.
    fn store_works(&mut self, how: &str) {
        if let Some(past) = self.store_failures.end(Instant::now()) {
            info!(took_ms = past.took_ms(), "the store {how}, {past}");
        }
    }

    /// Reports the beginning and the end of an outage, and another owner of the instance `about`.
    pub(super) fn store_answered(
        &mut self,
        answer: &lease::Answer,
        about: Option<Prefix>,
        error: Option<StoreError>,
    ) {
        let kind = discriminant(answer);
        self.admin.store_answers(!matches!(
            error,
            Some(StoreError::Unavailable { .. } | StoreError::Refused { .. })
        ));
        if matches!(
            (&error, &self.outage),
            (
                Some(StoreError::Unavailable { .. }),
                None | Some(Outage::Silent)
            ) | (Some(StoreError::Refused { .. }), _)
        ) {
            self.store_failures.count(Instant::now());
        }
        match error {
            None => match &self.outage {
                Some(Outage::Silent) => {
                    self.outage = None;
                    self.store_works("answers again");
                }
                Some(Outage::Refuses(refused)) if *refused == kind => {
                    self.outage = None;
                    self.store_works("no longer refuses the requests");
                }
                Some(Outage::Refuses(_)) | None => {}
            },
            Some(error @ StoreError::Unavailable { .. }) if self.outage.is_none() => {
                self.outage = Some(Outage::Silent);
                warn!(%error, "{error}; trying again");
            }
            Some(error @ StoreError::Refused { .. })
                if !matches!(self.outage, Some(Outage::Refuses(_))) =>
            {
                self.outage = Some(Outage::Refuses(kind));
                warn!(%error, "{error}; trying again");
            }
            Some(StoreError::Conflict(why)) => {
                if let Some(dir) = &about {
                    self.admin.in_conflict(dir, &why);
                }
                if let Some(dir) = about.filter(|dir| self.conflicts.insert(dir.clone())) {
                    sd_notify::status(&format!("not announced: {why}"));
                    let (service, instance) = keyspace::service_and_id(&dir);
                    error!(
                        service,
                        instance,
                        error = why,
                        "{why}; waiting for it to go. --take-over takes its place, --id announces another id"
                    );
                }
            }
            Some(_) => {}
        }
    }
}
