//! Resolves what was configured into the instances to announce: fills in addresses, host name and ids. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tracing::{debug, error, info, warn};

use super::instances::Entry;
use crate::config::{self, Announcement, Docker, IdSpec, Ownership, Problem, Registration};
use crate::model::address::{Choice, Chosen, Host, Spec, choose};
use crate::model::fingerprint::fingerprint;
use crate::model::instance::{HostName, Instance, InstanceId, ServiceName, State};
use crate::model::keyspace;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::Claim;
use crate::model::report::chain;
use crate::model::stop::Stop;
use crate::model::store_url::Location;
use crate::model::times::Times;
use crate::system::{address, dns};

/// What `register` announces, and the program for which it does so.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The instances.
    pub(super) entries: Vec<Entry>,
    /// What they are resolved from: files and addresses change.
    pub(super) source: Source,
    /// The engine whose containers are announced too.
    pub(super) docker: Option<Docker>,
    /// How long the keys outlive `register` if it cannot withdraw them.
    pub(super) ttl: Duration,
    /// The program and its arguments; without one, `register` is a sidecar.
    pub(super) program: Option<(OsString, Vec<OsString>)>,
    /// How long a stop waits for watchers to apply the drain.
    pub(super) drain: Duration,
    /// How `register` asks the program to end.
    pub(super) stop: Stop,
}

impl Plan {
    /// How `register` asks the program to end.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop
    }
}

/// Why `register` cannot announce anything.
#[derive(Debug, Error)]
pub enum PlanError {
    /// None of the configured ways yields an address.
    #[error("there is no address to announce for {0}")]
    Address(ServiceName, #[source] NoAddress),
    /// A configured id equals the one that another instance gets from the host name and its port.
    #[error("two instances are {0}")]
    Twice(Prefix),
}

/// The ways to an address that were tried in vain.
#[derive(Debug, Error)]
#[error("{}", list_tried(.0))]
pub struct NoAddress(Choice);

fn list_tried(choice: &Choice) -> String {
    let tried: Vec<String> = choice.tried.iter().map(ToString::to_string).collect();
    tried.join("; ")
}

/// Resolves a registration: fills in what only the system knows. Fails if two instances get the same id, or if an instance
/// has no address; with a program, such an instance waits for one instead.
pub fn resolve(
    registration: Registration,
    location: &Location,
    prefix: &Prefix,
    report_dirs: impl FnOnce(&[Prefix]),
) -> Result<Plan, PlanError> {
    let mut source = Source {
        location: location.clone(),
        prefix: prefix.clone(),
        hostname: address::hostname(),
        tolerates_no_address: registration.program.is_some() || registration.docker.is_some(),
        announcements: registration.announcements,
        config: registration.config,
        containers: Vec::new(),
        refused: BTreeSet::new(),
        ids: Vec::new(),
        chosen: BTreeMap::new(),
        gone: BTreeSet::new(),
        waiting: BTreeSet::new(),
    };
    report_dirs(&source.dirs());
    Ok(Plan {
        entries: source.resolve()?,
        source,
        docker: registration.docker,
        ttl: registration.ttl,
        program: registration.program,
        drain: registration.drain,
        stop: registration.stop,
    })
}

/// What was configured, and what was resolved so far.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The store; where the DNS names its members, it is asked at each look for the address towards them.
    location: Location,
    prefix: Prefix,
    hostname: OsString,
    /// Whether something goes on without the announcement, a program or other instances: one without an address waits for
    /// one.
    tolerates_no_address: bool,
    announcements: Vec<Announcement>,
    config: Option<PathBuf>,
    /// What the containers of this host announce; their ids are given.
    containers: Vec<Announcement>,
    /// The instances of containers that have the id of one that is configured, which the log already says.
    refused: BTreeSet<Prefix>,
    /// The random ids, and the instances that have them.
    ids: Vec<(Slot, InstanceId)>,
    chosen: BTreeMap<Prefix, Chosen>,
    /// The instances whose address is gone, which the log already says.
    gone: BTreeSet<Prefix>,
    /// The instances that have never had an address, which the log already says.
    waiting: BTreeSet<Prefix>,
}

/// What keeps its random id over a config reload: the same service on the same port, else the same service.
type Slot = (Option<Prefix>, ServiceName, u16);

/// Why a config reload has failed.
#[derive(Debug)]
pub(super) enum Unread {
    Wrong(Vec<Problem>),
    Impossible(PlanError),
}

impl Unread {
    /// The first thing that is wrong.
    pub(super) fn first_line(&self) -> String {
        match self {
            Self::Wrong(problems) => problems
                .first()
                .map_or_else(String::new, ToString::to_string),
            Self::Impossible(why) => chain(why),
        }
    }
}

impl Source {
    /// Whether there is a configuration file to read again.
    pub(super) fn has_config_file(&self) -> bool {
        self.config.is_some()
    }

    /// One with a file and nothing in it.
    #[cfg(test)]
    pub(super) fn of_file() -> Self {
        Self {
            location: Location::Directory(PathBuf::from("/nowhere")),
            prefix: Prefix::root(),
            hostname: OsString::new(),
            tolerates_no_address: true,
            announcements: Vec::new(),
            config: Some(PathBuf::from("/nowhere")),
            containers: Vec::new(),
            refused: BTreeSet::new(),
            ids: Vec::new(),
            chosen: BTreeMap::new(),
            gone: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// The containers of this host announce this from now on.
    pub(super) fn set_containers(&mut self, announcements: Vec<Announcement>) {
        self.containers = announcements;
    }

    fn all(&self) -> impl Iterator<Item = &Announcement> {
        self.announcements.iter().chain(&self.containers)
    }

    /// Whether an instance has no configured address, so that it is looked up and may change.
    pub(super) fn looks_for_addresses(&self) -> bool {
        let given = |spec: &Spec| matches!(spec, Spec::Given(_));
        self.all()
            .any(|one| !specs_or_default(&one.ip).iter().all(given))
    }

    /// Reads the configuration file again and resolves it; one that cannot be used changes nothing.
    pub(super) fn reload_config(&mut self) -> Result<Vec<Entry>, Unread> {
        let mut new = self.clone();
        if let Some(path) = &self.config {
            new.announcements =
                config::read_announcements(path, &self.prefix).map_err(Unread::Wrong)?;
        }
        let entries = new.resolve().map_err(Unread::Impossible)?;
        *self = new;
        Ok(entries)
    }

    /// Where the instances are announced.
    fn dirs(&mut self) -> Vec<Prefix> {
        let all: Vec<Announcement> = self.all().cloned().collect();
        let ids = self.assign_ids(&all);
        let dir = |(one, id): (&Announcement, InstanceId)| {
            let prefix = one.prefix.as_ref().unwrap_or(&self.prefix);
            keyspace::dir(prefix, one.service.as_str(), id.as_str())
        };
        all.iter().zip(ids).map(dir).collect()
    }

    /// The instances with the addresses that they have now, without those that wait for one.
    pub(super) fn resolve(&mut self) -> Result<Vec<Entry>, PlanError> {
        let host = self.look_up_host();
        let (mut entries, mut dirs) = (Vec::new(), BTreeSet::new());
        let all: Vec<Announcement> = self.all().cloned().collect();
        let ids = self.assign_ids(&all);
        let mut refused = BTreeSet::new();
        for (n, (one, id)) in all.into_iter().zip(ids).enumerate() {
            let prefix = one.prefix.as_ref().unwrap_or(&self.prefix);
            let dir = keyspace::dir(prefix, one.service.as_str(), id.as_str());
            if !dirs.insert(dir.clone()) {
                if n < self.announcements.len() {
                    return Err(PlanError::Twice(dir));
                }
                // A container harms no other instance.
                if !self.refused.contains(&dir) {
                    error!(
                        "a container claims {dir}, which is configured here: it is not announced"
                    );
                }
                refused.insert(dir);
                continue;
            }
            match self.address(&dir, &one, &host) {
                Ok(ip) => {
                    if self.waiting.remove(&dir) {
                        let (service, instance) = keyspace::service_and_id(&dir);
                        info!(service, instance, "{dir}: there is an address now: {ip}");
                    }
                    let mut entry = self.entry(one, id, ip);
                    if let Some(Entry { publication, .. }) = entries.last() {
                        entry.publication.claim.share_fields(&publication.claim);
                    }
                    entries.push(entry);
                }
                Err(error) if self.tolerates_no_address => self.wait_for_address(&dir, &error),
                Err(error) => return Err(error),
            }
        }
        self.refused = refused;
        self.waiting.retain(|dir| dirs.contains(dir));
        self.chosen.retain(|dir, _| dirs.contains(dir));
        self.gone.retain(|dir| dirs.contains(dir));
        Ok(entries)
    }

    /// Lets an instance wait for an address, and logs that once: neither the program nor its start depends on it.
    fn wait_for_address(&mut self, dir: &Prefix, error: &PlanError) {
        if self.waiting.insert(dir.clone()) {
            let (service, instance) = keyspace::service_and_id(dir);
            let why = chain(error);
            warn!(
                service,
                instance,
                error = why,
                "{why}; sidekick announces the instance as soon as there is one. Give it with --ip (`ip` in a file); \
                 `sidekick ip` explains the choice"
            );
        }
    }

    /// What the configured ways need to know of this host; it asks a name server for the store's address only if one of them
    /// needs it.
    fn look_up_host(&self) -> Host {
        let by = |way: &Spec| {
            self.all()
                .any(|one| specs_or_default(&one.ip).contains(way))
        };
        match self.looks_for_addresses() {
            true if by(&Spec::TowardsStore) => address::host(&endpoints(&self.location)),
            true => address::host(&[]),
            false => Host::default(),
        }
    }

    /// The address of an instance; the one that it had before if there is none now.
    fn address(
        &mut self,
        dir: &Prefix,
        one: &Announcement,
        host: &Host,
    ) -> Result<IpAddr, PlanError> {
        let specs = specs_or_default(&one.ip);
        let before = self.chosen.get(dir).filter(|chosen| chosen.is_by(specs));
        let Some(before) = before else {
            let Some(first) = Chosen::first(specs, host) else {
                let why = NoAddress(choose(specs, host));
                return Err(PlanError::Address(one.service.clone(), why));
            };
            let ip = first.ip;
            self.chosen.insert(dir.clone(), first);
            return Ok(ip);
        };
        let (old, now) = (before.ip, before.again(host));
        let (service, instance) = keyspace::service_and_id(dir);
        match now {
            None => {
                if self.gone.insert(dir.clone()) {
                    warn!(
                        service,
                        instance,
                        "{dir}: {old} is gone and there is no other address; it stays announced with it"
                    );
                }
                Ok(old)
            }
            Some(now) => {
                let (ip, was_gone) = (now.ip, self.gone.remove(dir));
                if ip != old {
                    info!(
                        service,
                        instance, "{dir}: the address is {ip} now, and was {old}"
                    );
                } else if was_gone {
                    info!(service, instance, "{dir}: {ip} is back");
                }
                self.chosen.insert(dir.clone(), now);
                Ok(ip)
            }
        }
    }

    /// The id of each instance; an instance keeps the random id that it has.
    fn assign_ids(&mut self, all: &[Announcement]) -> Vec<InstanceId> {
        let mut left = std::mem::take(&mut self.ids);
        let slots: Vec<Slot> = all.iter().map(slot).collect();
        let mut kept = BTreeMap::new();
        for is_enough in [
            |a: &Slot, b: &Slot| a == b,
            |a: &Slot, b: &Slot| (&a.0, &a.1) == (&b.0, &b.1),
        ] {
            for (n, one) in all.iter().enumerate() {
                if one.id == IdSpec::Random
                    && !kept.contains_key(&n)
                    && let Some(at) = left.iter().position(|(slot, _)| is_enough(slot, &slots[n]))
                {
                    kept.insert(n, left.remove(at).1);
                }
            }
        }
        let mut ids = Vec::new();
        for (n, one) in all.iter().enumerate() {
            let port = one.ports.default_port();
            let id: InstanceId = match (&one.id, kept.remove(&n)) {
                (IdSpec::Given(id), _) => id.clone(),
                (IdSpec::HostAndPort, _) => {
                    InstanceId::of_host(self.hostname.as_encoded_bytes(), port)
                }
                (IdSpec::Random, Some(id)) => id,
                (IdSpec::Random, None) => uuid::Uuid::now_v7().into(),
            };
            if one.id == IdSpec::Random {
                self.ids.push((slots[n].clone(), id.clone()));
            }
            ids.push(id);
        }
        ids
    }

    fn entry(&self, one: Announcement, id: InstanceId, ip: IpAddr) -> Entry {
        let announced = SocketAddr::new(ip, one.ports.default_port());
        let has_host = one.host.is_some();
        let instance = Instance {
            service: one.service,
            id,
            ip,
            ports: one.ports,
            // A name that is no RFC 1123 name is not announced; the address stands for it.
            host: one
                .host
                .or_else(|| self.hostname.to_str()?.parse::<HostName>().ok()),
            weight: one.weight,
            state: State::Up,
            attrs: one.attrs.into(),
            times: Times::default(),
        };
        let prefix = one.prefix.as_ref().unwrap_or(&self.prefix);
        let mut publication = keyspace::encode(prefix, &instance);
        publication.claim = match (one.ownership, publication.claim) {
            (Ownership::Shared, _) => Claim::Whole,
            (Ownership::TakeOver, Claim::Restart(fields)) => Claim::TakeOver(fields),
            (Ownership::TakeOver | Ownership::Sole, claim) => claim,
        };
        let is_shared = one.ownership == Ownership::Shared;
        if is_shared && !has_host {
            // Each process that announces a shared instance runs on a host of its own name; none is the instance's.
            publication.fields.remove("host");
        }
        Entry {
            shared: is_shared.then(|| shared_lease_id(&publication.dir)),
            publication,
            checks: one.checks,
            announced,
        }
    }
}

fn slot(one: &Announcement) -> Slot {
    let port = one.ports.default_port();
    (one.prefix.clone(), one.service.clone(), port)
}

/// The id of the lease of a shared instance, which is the same on every host that announces it. It is a hash of the
/// instance's directory, made positive, as ids of leases are.
fn shared_lease_id(dir: &Prefix) -> LeaseId {
    let hash = fingerprint([dir.as_str().as_bytes()]);
    LeaseId(i64::try_from(hash >> 1).unwrap_or(i64::MAX).max(1))
}

/// The ways to an address unless others are configured. The way to an etcd on this very host yields loopback, which other
/// hosts cannot use; then the default route decides.
const DEFAULT_SPECS: [Spec; 2] = [Spec::TowardsStore, Spec::DefaultRoute];

/// How long each look-up of the store's members in the DNS may take.
const LOOKUP: Duration = Duration::from_secs(2);

fn specs_or_default(configured: &[Spec]) -> &[Spec] {
    if configured.is_empty() {
        &DEFAULT_SPECS
    } else {
        configured
    }
}

/// The members of the store. A domain whose members cannot be looked up stands for them: no address leads towards it.
fn endpoints(location: &Location) -> Vec<String> {
    match location {
        Location::Directory(_) | Location::Files(_) | Location::Environment => Vec::new(),
        Location::Etcd(etcd) => etcd.endpoints.clone(),
        Location::EtcdSrv(domain, etcd) => {
            let found = domain.find(etcd.tls.is_some(), LOOKUP, dns::srv_records);
            found.map_or_else(
                |why| {
                    debug!("{why}");
                    vec![domain.question(false)]
                },
                |found| found.endpoints(|| 0.0),
            )
        }
    }
}

/// The address that `register` would announce, and how it was found.
#[must_use]
pub fn choose_address(configured: &[Spec], location: &Location) -> Choice {
    choose(
        specs_or_default(configured),
        &address::host(&endpoints(location)),
    )
}

#[cfg(test)]
mod tests;
