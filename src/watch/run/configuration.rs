//! What the loop does when its configuration changes. Shell.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info};

use super::super::following::Following;
use super::super::kept::Kept;
use super::super::load::{Loaded, directories, load};
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
    /// What was wrong with it when it was read last.
    pub(super) problems: Vec<Problem>,
}

impl Conf {
    pub(super) fn new(dir: PathBuf, pass: Pass) -> Self {
        let mut watched = Watched::new();
        if !pass.once {
            watched.follow(directories(&dir));
        }
        Self {
            dir,
            pass,
            watched,
            pending: false,
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
        self.conf.watched.follow(directories(&self.conf.dir));
        match load(&self.conf.dir, &self.conf.pass) {
            Ok(loaded) => {
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
        self.changed(|_| true);
    }

    /// Puts other targets in the place of those there are; one that is the same goes on as it was.
    fn replace(&mut self, loaded: Vec<Loaded>) {
        let mut old = std::mem::take(&mut self.targets);
        let count = old.len();
        let mut new = 0;
        for one in loaded {
            let same = old.iter().position(|kept| kept.loaded.is_same(&one));
            let kept = same.map(|at| old.swap_remove(at)).map(Kept::renewed);
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
