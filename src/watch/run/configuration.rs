//! What the loop does when its configuration changes. Shell.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};

use super::super::following::Following;
use super::super::kept::{Kept, paths};
use super::super::load::{Loaded, directories, links, load};
use super::Shell;
use super::store::files;
use crate::config::{Pass, Problem};
use crate::model::catalog::Catalog;
use crate::system::watched::Watched;

/// Where the configuration lies, and how it is read.
pub(super) struct Conf {
    pub(super) dir: PathBuf,
    pub(super) pass: Pass,
    pub(super) watched: Watched,
    /// It is to be read anew as soon as no publish is under way.
    pub(super) pending: bool,
    /// It follows other paths than before, and comes into force when the store answers.
    pub(super) waits: bool,
    /// What was wrong with it when it was read last.
    pub(super) problems: Vec<Problem>,
}

impl Conf {
    pub(super) fn new(dir: PathBuf, pass: Pass) -> Self {
        let mut watched = Watched::new();
        if !pass.once {
            watched.follow(directories(&dir), links(&dir));
        }
        Self {
            dir,
            pass,
            watched,
            pending: false,
            waits: false,
            problems: Vec::new(),
        }
    }
}

impl Shell {
    /// Reads the configuration. A good one takes the place of the old one, a bad one is told.
    pub(super) fn reload(&mut self) {
        // A target that changes while it is being published would be published twice at once.
        self.conf.pending = !self.publishes.is_empty();
        if self.conf.pending || self.is_stopping() || self.pass.once {
            return;
        }
        let (dirs, links) = (directories(&self.conf.dir), links(&self.conf.dir));
        self.conf.watched.follow(dirs, links);
        match load(&self.conf.dir, &self.conf.pass) {
            Ok(loaded) if self.lacks_the_store(&loaded) => {
                self.conf.problems.clear();
                if !std::mem::replace(&mut self.conf.waits, true) {
                    warn!(
                        "the new configuration follows what was not followed before, and the store does not answer: the \
                         one of before stays in force until it does"
                    );
                }
            }
            Ok(loaded) => {
                self.conf.waits = false;
                self.conf.problems.clear();
                self.replace(loaded);
            }
            Err(problems) if problems == self.conf.problems => {}
            Err(problems) => {
                for problem in &problems {
                    error!("{problem}");
                }
                error!("the configuration is not good, so the one of before stays in force");
                self.conf.problems = problems;
            }
        }
        // What was held back for this.
        self.targets.iter_mut().for_each(Kept::rest);
        self.changed(|_| true);
    }

    /// Whether these follow something of which nothing can be found out now. What is stale already may be served from the
    /// snapshot as well.
    fn lacks_the_store(&self, loaded: &[Loaded]) -> bool {
        let paths = loaded.iter().flat_map(|one| paths(one, &self.prefix));
        self.stale.is_none() && !self.away.is_empty() && !self.following.is_of(paths)
    }

    /// Reads the configuration again if it has been waiting for the store.
    pub(super) fn store_is_back(&mut self) {
        if self.conf.waits {
            self.reload();
        }
    }

    /// Puts other targets in the place of those there are; one that is the same goes on as it was.
    fn replace(&mut self, loaded: Vec<Loaded>) {
        let mut old = std::mem::take(&mut self.targets);
        let count = old.len();
        let mut new = 0;
        for one in loaded {
            let same = old.iter().position(|kept| kept.loaded.is_same(&one));
            let kept = same.map(|at| old.swap_remove(at));
            new += usize::from(kept.is_none());
            self.targets
                .push(kept.unwrap_or_else(|| Kept::new(one, &self.prefix)));
        }
        if new == 0 && old.is_empty() {
            self.reannounce(true);
            return;
        }
        info!(
            "the configuration has changed: {} files are kept, {new} of them by new or other targets; there were {count}",
            files(&self.targets)
        );
        self.guards.watch_over(&self.targets);
        let haproxies = self.targets.iter().map(|kept| &kept.loaded.haproxies);
        self.visits.begin(haproxies.enumerate());
        let paths = || self.targets.iter().flat_map(|kept| kept.paths.clone());
        let goes_on = self.following.is_of(paths());
        if !goes_on {
            self.following = Following::start(&self.store, paths());
            self.catalog = Arc::new(Catalog::new(self.prefix.clone()));
            self.stale = None;
            self.away.clear();
            self.memory.listen(Instant::now());
        } else if self.following.is_complete() {
            self.guards.heard_all(&self.catalog, &self.memory);
        }
        self.reannounce(goes_on);
    }

    /// The targets are others; `goes_on`: what is followed is the same.
    fn reannounce(&mut self, goes_on: bool) {
        if let Some(herald) = &mut self.herald {
            herald.replace(&self.following.paths(), &self.targets, goes_on);
        }
    }
}
