//! The containers of this host as announcements, and what the log and the admin endpoint hear of them. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::admin::register::RegisterAdmin;
use crate::config::{self, Announcement, ContainerWays, Docker, IdSpec, Problem};
use crate::docker::follow::{Follower, Update};
use crate::model::container::{Container, ContainerId};

/// As many problems of one container are named in its line.
const MOST_PROBLEMS: usize = 8;

/// Follows an engine, and says what its containers announce.
#[derive(Debug)]
pub(super) struct Containers {
    engine: String,
    follower: Follower,
    ways: ContainerWays,
    /// The containers that cannot be announced, and why, which the log already says.
    refused: BTreeMap<ContainerId, String>,
}

impl Containers {
    pub(super) fn new(docker: Docker) -> Self {
        Self {
            engine: docker.engine.to_string(),
            follower: Follower::new(docker.engine, docker.grace),
            ways: docker.ways,
            refused: BTreeMap::new(),
        }
    }

    /// What the engine says next. Whoever drops this future loses nothing.
    pub(super) async fn next(&mut self) -> Update {
        self.follower.next().await
    }

    /// Takes in what the engine says; what is to be announced from now on, if that is something else.
    pub(super) fn take(
        &mut self,
        update: Update,
        admin: &RegisterAdmin,
    ) -> Option<Vec<Announcement>> {
        match update {
            Update::Up(containers) => {
                let announcements = self.announcements(&containers);
                let refused = self.refused.values().cloned().collect();
                admin.containers(containers.len(), refused);
                Some(announcements)
            }
            Update::Connected => {
                info!("connected to Docker at {}", self.engine);
                admin.docker_answers(&self.engine, None);
                None
            }
            Update::Lost(why) => {
                warn!(
                    "no connection to Docker at {}: {why}; trying again",
                    self.engine
                );
                admin.docker_answers(&self.engine, Some(why));
                None
            }
            Update::GaveUp => {
                error!(
                    "Docker at {} has not answered for --docker-grace: nobody knows whether its containers run, so they are \
                     withdrawn",
                    self.engine
                );
                None
            }
        }
    }

    /// What these containers announce. One that cannot be announced is left out, and the log says so once.
    fn announcements(&mut self, containers: &[Arc<Container>]) -> Vec<Announcement> {
        let mut refused = BTreeMap::new();
        let mut all = Vec::new();
        let mut taken = BTreeSet::new();
        // Of two that claim one id, the one that has run for longer keeps it.
        let mut oldest_first: Vec<&Arc<Container>> = containers.iter().collect();
        oldest_first.sort_by_key(|one| (one.started_at, one.id.clone()));
        for container in oldest_first {
            let announced = config::read_labels(container, &self.ways);
            let announced = announced.and_then(|some| unclaimed(some, &mut taken));
            match announced {
                Ok(some) => all.extend(some),
                Err(problems) => {
                    let why = format!(
                        "container {container} is not announced: {}",
                        list(&problems)
                    );
                    if self.refused.get(&container.id) != Some(&why) {
                        error!("{why}");
                    }
                    refused.insert(container.id.clone(), why);
                }
            }
        }
        self.refused = refused;
        all
    }
}

/// The announcements of a container, if no other container has one of their places.
fn unclaimed(
    some: Vec<Announcement>,
    taken: &mut BTreeSet<(String, String)>,
) -> Result<Vec<Announcement>, Vec<Problem>> {
    let mut own = BTreeSet::new();
    for one in &some {
        if let IdSpec::Given(id) = &one.id {
            let place = (one.service.to_string(), id.to_string());
            if taken.contains(&place) || !own.insert(place) {
                let what = format!(
                    "{} {id} is announced already; another sidekick.id tells them apart",
                    one.service
                );
                return Err(vec![Problem::with(what)]);
            }
        }
    }
    taken.append(&mut own);
    Ok(some)
}

/// The problems on one line, which has an end however many there are.
fn list(problems: &[Problem]) -> String {
    let told = problems.iter().map(|problem| match &problem.hint {
        Some(hint) => format!("{problem} ({hint})"),
        None => problem.to_string(),
    });
    let told = told.take(MOST_PROBLEMS).collect::<Vec<_>>().join("; ");
    match problems.len().saturating_sub(MOST_PROBLEMS) {
        0 => told,
        more => format!("{told}; and {more} more mistakes"),
    }
}
