//! The store that the configuration names: asks again at each config reload, and moves to another one. Shell.
//!
//! The files stay as they are until the new store has sent everything. What it lacks is a loss like any other, so the guards
//! weigh it.

use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};

use super::Shell;
use crate::config::{Problem, StoreChoice, StorePlace};
use crate::model::store_url::Location;
use crate::store;
use crate::system::dns;
use crate::watch::conf::load::format_hint;

/// The store in use, and how the configuration names it.
pub(super) struct NamedStore {
    choice: StoreChoice,
    /// The store in use.
    place: StorePlace,
    /// What was wrong with the names at the last reload.
    problems: Vec<Problem>,
    /// The place that needs a restart, which the log already says.
    waits_for_restart: Option<StorePlace>,
    /// The store in use has not sent everything yet, and another one was in use before.
    pub(super) is_moving: bool,
    /// The data of the store in use take the place of those of the one before, so no file is rendered.
    pub(super) is_arriving: bool,
}

impl NamedStore {
    pub(super) fn new(choice: StoreChoice, place: StorePlace) -> Self {
        Self {
            choice,
            place,
            problems: Vec::new(),
            waits_for_restart: None,
            is_moving: false,
            is_arriving: false,
        }
    }

    /// How the store is chosen.
    pub(super) fn choice(&self) -> &StoreChoice {
        &self.choice
    }

    /// The first mistake because of which the store in use may not be the one that is meant.
    pub(super) fn problem(&self) -> Option<&Problem> {
        self.problems.first()
    }

    /// Forgets the problems, so that the next read logs them again.
    pub(super) fn forget_problems(&mut self) {
        self.problems.clear();
        self.waits_for_restart = None;
    }

    /// What needs a restart before this place can be used.
    fn needs_restart(&self, wanted: &StorePlace) -> Option<&'static str> {
        if wanted.prefix != self.place.prefix {
            Some("another prefix")
        } else if wanted.location == self.place.location {
            None
        } else {
            // Also where nothing names a store any more: a file that is half written would lead to an empty directory.
            let is_directory = matches!(wanted.location, Location::Directory(_));
            let kinds = [&wanted.location, &self.place.location];
            if is_directory {
                Some("a directory as the store")
            } else if kinds.into_iter().any(Location::is_read_only) {
                // A watcher of such a store has neither an entry in it nor a snapshot of it.
                Some("a store of files or of the environment, and the way from one to another,")
            } else {
                None
            }
        }
    }

    /// Logs problems that the last read did not have. `logged` are those that the log has from elsewhere.
    fn report(&mut self, problems: Vec<Problem>, logged: &[Problem]) {
        let is_new = problems != self.problems;
        let own = || problems.iter().filter(|one| !logged.contains(one));
        if is_new && own().next().is_some() {
            for problem in own() {
                error!(error = %problem, "{problem}{}", format_hint(problem));
            }
            let store = self.place.location.identity();
            error!(
                "the store that the configuration names cannot be used, so {store} stays in use"
            );
        }
        self.problems = problems;
    }
}

impl Shell {
    /// Moves to the store that the configuration names now, if that is another one. Nothing changes where it names none
    /// that can be used; `logged` are the problems that the log has already.
    pub(super) fn follow_named_store(
        &mut self,
        named: Result<StorePlace, Vec<Problem>>,
        logged: &[Problem],
    ) {
        let wanted = match named {
            Ok(wanted) => wanted,
            Err(problems) => return self.named.report(problems, logged),
        };
        let was_wrong = !std::mem::take(&mut self.named.problems).is_empty();
        if was_wrong && self.conf.problems.is_empty() {
            info!("the configuration names a store that can be used again");
        }
        if let Some(what) = self.named.needs_restart(&wanted) {
            if self.named.waits_for_restart.as_ref() != Some(&wanted) {
                let place = &self.named.place;
                warn!("{what} needs a restart of sidekick: now {wanted}; until then {place}");
            }
            self.named.waits_for_restart = Some(wanted);
            return;
        }
        self.named.waits_for_restart = None;
        if wanted != self.named.place {
            self.move_to(wanted);
        }
    }

    fn move_to(&mut self, place: StorePlace) {
        let before = std::mem::replace(&mut self.named.place, place);
        let place = &self.named.place;
        self.admin.store_moved(place.to_string());
        if before.location == place.location {
            // It has another source.
            return;
        }
        let store = match store::open(&place.location, dns::srv_records) {
            Ok(store) => store,
            Err(error) => {
                error!(%error, "{error}; the store in use stays");
                self.named.place = before;
                return;
            }
        };
        let (old, new) = (before.location.identity(), place.location.identity());
        let then = "the live files stay as they are until it has sent everything";
        if old == new {
            info!("{place}, with other credentials; sidekick connects to it anew");
        } else {
            info!("{place}, in place of {old}; {then}");
        }
        self.store = store;
        self.named.is_moving = true;
        self.subscriptions = self.subscriptions.restart(&self.store);
        self.unreachable.clear();
        self.snapshot.move_to(new, Instant::now());
        if let Some(applied) = &mut self.applied {
            let paths = self.subscriptions.paths();
            applied.move_to(Arc::clone(&self.store), &paths, &self.targets);
        }
    }
}
