//! What the log and the service manager are told: each thing once. Shell.

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use std::time::Instant;

use tracing::{error, info, warn};

use super::instances::{Entry, Holder};
use super::lifecycle::Why;
use super::resolve::Unread;
use crate::admin::register::RegisterAdmin;
use crate::model::lease;
use crate::model::lease_id::LeaseId;
use crate::model::os::Exit;
use crate::model::prefix::Prefix;
use crate::model::report::chain;
use crate::model::update::Revision;
use crate::store::StoreError;
use crate::store::drain_wait::Waited;
use crate::system::sd_notify;

/// What has been told.
#[derive(Debug)]
pub(super) struct Report {
    admin: RegisterAdmin,
    all: BTreeSet<Prefix>,
    /// Those that other processes keep alive too, also of sets before this one.
    shared: BTreeSet<Prefix>,
    standing: BTreeSet<Prefix>,
    outage: Option<Outage>,
    /// The instances in whose place another owner stands.
    conflicts: BTreeSet<Prefix>,
    /// Whether the service manager knows that we are up.
    ready: bool,
    reload: Reload,
}

/// How far a reload is that the service manager waits for.
#[derive(Debug, Default, PartialEq, Eq)]
enum Reload {
    #[default]
    No,
    /// The files are being read.
    Asked,
    /// The new set is being announced.
    Taken,
}

/// What the store does not do, since it was last told.
#[derive(Debug, PartialEq, Eq)]
enum Outage {
    /// It does not answer.
    Silent,
    /// It answers, and refuses requests of this kind. What it does otherwise does not end that.
    Refuses(Discriminant<lease::Input>),
}

impl Report {
    pub(super) fn new(admin: RegisterAdmin) -> Self {
        Self {
            admin,
            all: BTreeSet::new(),
            shared: BTreeSet::new(),
            standing: BTreeSet::new(),
            outage: None,
            conflicts: BTreeSet::new(),
            ready: false,
            reload: Reload::No,
        }
    }

    /// These are the instances now.
    pub(super) fn set(&mut self, entries: &[Entry]) {
        for entry in entries {
            let dir = &entry.publication.dir;
            match entry.shared {
                Some(_) => drop(self.shared.insert(dir.clone())),
                // One that is not shared any more has to leave its shared lease first.
                None if !self.standing.contains(dir) => drop(self.shared.remove(dir)),
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
    }

    fn who(&self) -> String {
        match self.all.first() {
            Some(dir) if self.all.len() == 1 => dir.to_string(),
            Some(_) | None => format!("{} instances", self.all.len()),
        }
    }

    fn status(&self) -> String {
        match self.all.first() {
            Some(dir) if self.all.len() == 1 && self.standing.contains(dir) => {
                format!("{dir} is announced")
            }
            Some(dir) if self.all.len() == 1 => format!("{dir} is not announced"),
            Some(_) | None => {
                let here = self.all.intersection(&self.standing).count();
                format!("{here} of {} instances are announced", self.all.len())
            }
        }
    }

    /// Says how things are, to a service manager that knows that we are up.
    fn tell(&self, why: Option<&str>) {
        if !self.ready || self.reload != Reload::No {
            return;
        }
        match why {
            Some(why) => sd_notify::status(&format!("{}: {why}", self.status())),
            None => sd_notify::status(&self.status()),
        }
    }

    pub(super) fn announced(&mut self, dir: Prefix) {
        info!("{dir} is announced");
        self.admin.announced(&dir);
        self.conflicts.remove(&dir);
        self.standing.insert(dir);
        self.tell(None);
    }

    pub(super) fn gone(&mut self, dir: &Prefix) {
        self.admin.gone(dir);
        // What never stood there needs no word.
        if self.standing.remove(dir) {
            if self.shared.contains(dir) {
                info!(
                    "{dir} is left to its other owners; without any, it disappears when its lease ends"
                );
            } else {
                info!("{dir} is withdrawn");
            }
        }
    }

    /// Who can be announced is.
    pub(super) fn settled(&mut self) {
        if !self.ready || self.reload == Reload::Taken {
            (self.ready, self.reload) = (true, Reload::No);
            sd_notify::ready(&self.status());
        }
    }

    pub(super) fn checked(&self, dir: &Prefix, has_passed: bool) {
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
        for dir in self.standing.iter().filter(|dir| is_on_it(dir)) {
            self.admin.lease_lost(dir);
        }
    }

    pub(super) fn healthy(&self, dir: &Prefix) {
        info!("{dir} is healthy");
        self.admin.healthy(dir);
    }

    pub(super) fn unhealthy(&self, dir: &Prefix, why: &str) {
        self.admin.unhealthy(dir, why);
        warn!("{dir} is unhealthy: {why}");
        match self.all.len() {
            1 => sd_notify::status(&format!("unhealthy: {why}")),
            _ => self.tell(Some(&format!("{dir} is unhealthy: {why}"))),
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

    /// An instance is marked as about to go, or could not be; since when it is.
    pub(super) fn marked(
        dir: &Prefix,
        answer: Result<Option<Revision>, StoreError>,
    ) -> Option<Revision> {
        match answer {
            Ok(since) => since,
            Err(error) => {
                warn!("{dir} could not be marked as draining: {error}");
                None
            }
        }
    }

    /// Those who watch have been waited for.
    pub(super) fn waited(&self, waited: &Waited) {
        let names = |ids: &BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>().join(", ");
        let (who, took) = (self.who(), waited.took.as_millis());
        if let Some(why) = &waited.unknown {
            warn!("{who}: waited {took} ms without knowing who watches: {why}");
        } else if !waited.missing.is_empty() {
            warn!(
                "{who}: waited {took} ms; these watchers have not applied the drain: {}",
                names(&waited.missing)
            );
        } else if waited.watchers.is_empty() {
            info!("{who}: nobody watches, so nobody was waited for");
        } else {
            info!(
                "{who}: after {took} ms the drain is applied by {}",
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

    /// The configuration is read again.
    pub(super) fn reloading(&mut self) {
        info!("SIGHUP: reading the configuration again");
        if self.ready {
            self.reload = Reload::Asked;
            sd_notify::reloading("reading the configuration");
        }
    }

    /// The configuration was read again, and is this set.
    pub(super) fn taken(&mut self) {
        self.admin.config_read(None);
        info!("the new configuration is in force: {}", self.who());
        if self.reload == Reload::Asked {
            self.reload = Reload::Taken;
        }
    }

    /// It cannot be used.
    pub(super) fn not_taken(&mut self, why: &Unread) {
        self.admin.config_read(Some(why.first_line()));
        match why {
            Unread::Wrong(problems) => {
                for problem in problems {
                    let hint = problem.hint.as_ref();
                    let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                    error!("{problem}{hint}");
                }
            }
            Unread::Impossible(why) => error!("{}", chain(why)),
        }
        error!("the configuration cannot be used; what was announced stays announced");
        if self.reload == Reload::Asked {
            self.reload = Reload::No;
            let status = format!("{}; the new configuration is wrong", self.status());
            sd_notify::ready(&status);
        }
    }

    /// Tells of an outage when it begins and when it ends, and of another owner of the instance `about`.
    pub(super) fn trouble(
        &mut self,
        answer: &lease::Input,
        about: Option<Prefix>,
        trouble: Option<StoreError>,
    ) {
        let kind = discriminant(answer);
        self.admin.store_answers(!matches!(
            trouble,
            Some(StoreError::Unavailable { .. } | StoreError::Refused { .. })
        ));
        match trouble {
            None => match &self.outage {
                Some(Outage::Silent) => {
                    self.outage = None;
                    info!("the store answers again");
                }
                Some(Outage::Refuses(refused)) if *refused == kind => {
                    self.outage = None;
                    info!("the store no longer refuses what we ask");
                }
                Some(Outage::Refuses(_)) | None => {}
            },
            Some(error @ StoreError::Unavailable { .. }) if self.outage.is_none() => {
                self.outage = Some(Outage::Silent);
                warn!("{error}; trying again");
            }
            Some(error @ StoreError::Refused { .. })
                if !matches!(self.outage, Some(Outage::Refuses(_))) =>
            {
                self.outage = Some(Outage::Refuses(kind));
                warn!("{error}; trying again");
            }
            Some(StoreError::Conflict(why)) => {
                if let Some(dir) = &about {
                    self.admin.in_conflict(dir, &why);
                }
                if about.is_some_and(|dir| self.conflicts.insert(dir)) {
                    sd_notify::status(&format!("not announced: {why}"));
                    error!(
                        "{why}; waiting for it to go. --take-over takes its place, --id gives us another one"
                    );
                }
            }
            Some(_) => {}
        }
    }
}
