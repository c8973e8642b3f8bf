//! Changes of a running HAProxy on behalf of a publish: made before the file is checked and swapped, read back behind it.
//! Shell.
//!
//! The check of ten thousand servers takes seconds, and nobody should wait for it to lose a dead server. If the check
//! fails, HAProxy goes back to what the live file says. If newer data come before its end, it is given up: HAProxy is
//! changed from what it has by then to the newest text, and that is checked.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info};

use super::cancel::Step;
use super::steps::Differs;
use super::{Job, blocking};
use crate::model::report::chain;
use crate::proxy::haproxy::change::ServerChange;
use crate::proxy::haproxy::diff::Change;
use crate::proxy::haproxy::error::RuntimeError;
use crate::watch::conf::haproxy::Haproxy;
use crate::watch::conf::load::Loaded;
use crate::watch::reload::send::Told;

/// What the running `HAProxies` have.
#[derive(Debug, Clone, Default)]
pub(in crate::watch) enum Has {
    /// What the live files say, as far as the loaded state does not know better.
    #[default]
    Live,
    /// What these texts say, in the order of the outputs: the files follow when they have been checked.
    Texts(Arc<Vec<String>>),
    /// Nobody knows. No publish ends so: it goes back to the live files, or a reload is owed.
    Doubt,
}

impl Has {
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self, Self::Texts(_))
    }

    /// The text of an output, which is `live` if it is not ahead.
    fn text<'a>(&'a self, output: usize, live: &'a str) -> &'a str {
        match self {
            Self::Texts(texts) => &texts[output],
            Self::Live | Self::Doubt => live,
        }
    }
}

/// How the new texts come into force.
pub(super) enum Way {
    /// By a reload.
    Reload,
    /// They are in force: they mean the same as the live ones, or the running `HAProxies` have been changed.
    Live(Changes),
}

/// What leads to new texts.
pub(super) struct Changes {
    pieces: Vec<Piece>,
    /// The new texts of all outputs.
    texts: Arc<Vec<String>>,
}

/// The changes for one output.
struct Piece {
    output: usize,
    /// From what HAProxy has.
    ops: Vec<ServerChange>,
    /// From what the live file says.
    whole: Vec<ServerChange>,
}

impl Way {
    /// Compares the texts; why it takes a reload is told, but not again for a further try.
    pub(super) fn of(loaded: &Loaded, differs: &Differs, has: &Has, is_retry: bool) -> Self {
        let mut pieces = Vec::new();
        for (output, live, new) in differs.texts() {
            let live = live.map(std::str::from_utf8);
            let (Some(haproxy), Some(Ok(live))) = (loaded.haproxies.get(output), live) else {
                if differs.is_new(output) {
                    return Self::Reload;
                }
                continue;
            };
            let now = has.text(output, live);
            let ops = haproxy.compare(now, new);
            // Where both are the same one comparison will do.
            let whole = (now != live).then(|| haproxy.compare(live, new));
            match (ops, whole) {
                (Change::Reload(why), _) | (_, Some(Change::Reload(why))) => {
                    let name = &loaded.target.name;
                    if is_retry {
                        debug!("{name}: a reload is needed: {why}");
                    } else {
                        info!("{name}: a reload is needed: {why}");
                    }
                    return Self::Reload;
                }
                (Change::None, None) => {}
                (ops, whole) => {
                    let ops = list(ops);
                    let whole = whole.map_or_else(|| ops.clone(), list);
                    pieces.push(Piece { output, ops, whole });
                }
            }
        }
        let texts = differs.texts().map(|(_, _, new)| new.to_owned());
        Self::Live(Changes {
            pieces,
            texts: Arc::new(texts.collect()),
        })
    }

    pub(super) fn takes_reload(&self) -> bool {
        matches!(self, Self::Reload)
    }
}

impl Job {
    /// Changes the `HAProxies` that run.
    pub(super) async fn change(&mut self, way: Way) -> Way {
        let Way::Live(changes) = way else {
            return way;
        };
        if changes.pieces.is_empty() {
            return Way::Live(changes);
        }
        self.lost();
        self.has = Has::Doubt;
        self.progress.enter(Step::Change);
        let start = Instant::now();
        let way = self.change_each(changes).await;
        self.made("runtime", start);
        way
    }

    async fn change_each(&mut self, changes: Changes) -> Way {
        for piece in &changes.pieces {
            let Some(haproxy) = self.loaded.haproxies.get(piece.output) else {
                return Way::Reload;
            };
            if let Err(doubts) = haproxy.runtime.apply(&piece.ops).await {
                haproxy.tell(self.name(), &doubts);
                return Way::Reload;
            }
            haproxy.answers(self.name());
        }
        self.has = Has::Texts(Arc::clone(&changes.texts));
        Way::Live(changes)
    }

    /// Looks, behind the swap, whether the changes are there, all of them since the file of before.
    pub(super) async fn read_back(&mut self, way: Way) -> Way {
        let start = Instant::now();
        let way = self.verify(way).await;
        if !way.takes_reload() {
            self.made("verify", start);
        }
        way
    }

    async fn verify(&self, way: Way) -> Way {
        let Way::Live(changes) = way else {
            return way;
        };
        self.progress.enter(Step::Change);
        for piece in &changes.pieces {
            let Some(haproxy) = self.loaded.haproxies.get(piece.output) else {
                return Way::Reload;
            };
            if let Err(doubts) = haproxy.runtime.verify(&piece.whole).await {
                haproxy.tell(self.name(), &doubts);
                return Way::Reload;
            }
        }
        Way::Live(changes)
    }

    /// Makes the `HAProxies` again what the live files say; whether that is certain.
    pub(super) async fn take_back(&mut self, lives: Vec<Option<Vec<u8>>>) -> bool {
        let Has::Texts(texts) = mem::take(&mut self.has) else {
            return false;
        };
        let loaded = Arc::clone(&self.loaded);
        let compare = move || {
            let backs = loaded.haproxies.iter().map(|(output, haproxy)| {
                let live = std::str::from_utf8(lives[output].as_deref()?).ok()?;
                match haproxy.compare(&texts[output], live) {
                    Change::Reload(_) => None,
                    change => Some((output, list(change))),
                }
            });
            backs.collect::<Option<Vec<_>>>()
        };
        let Ok(Some(backs)) = blocking(&self.progress, compare).await else {
            return false;
        };
        for (output, back) in backs {
            let Some(haproxy) = self.loaded.haproxies.get(output) else {
                return false;
            };
            let mut done = haproxy.runtime.apply(&back).await;
            if done.is_ok() {
                done = haproxy.runtime.verify(&back).await;
            }
            if let Err(doubts) = done {
                haproxy.tell(self.name(), &doubts);
                return false;
            }
        }
        true
    }

    /// Whether the running `HAProxies` have the servers of files that have not changed, and how many changes that took.
    /// None if only a reload can tell.
    pub(super) async fn look<'a>(
        &self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> Option<usize> {
        let mut changed = 0;
        self.progress.enter(Step::Change);
        for (output, haproxy, text) in self.haproxies(live) {
            match haproxy.look(text).await {
                Ok(found) => {
                    haproxy.answers(self.name());
                    haproxy.is_settled();
                    self.loaded_state.is_read(self.dest(output));
                    changed += found.changed;
                }
                // It reads the file when it starts.
                Err(doubts) if doubts.iter().all(RuntimeError::is_absent) => {}
                Err(doubts) if haproxy.may_settle(text) => {
                    haproxy.tell(self.name(), &doubts);
                    return None;
                }
                Err(doubts) => haproxy.differs_still(self.name(), self.dest(output), &doubts),
            }
        }
        Some(changed)
    }

    /// The same right behind a reload that was seen: whoever reads these files has what they say.
    pub(super) async fn look_behind<'a>(
        &self,
        told: Told,
        is_first: bool,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) {
        if told != Told::Seen {
            return;
        }
        self.progress.enter(Step::Change);
        for (output, haproxy, text) in self.haproxies(live) {
            match haproxy.look(text).await {
                Ok(found) => {
                    haproxy.answers(self.name());
                    haproxy.is_settled();
                    self.loaded_state.is_read(self.dest(output));
                    haproxy.has_read(self.name(), self.dest(output), found.changed);
                }
                Err(doubts) if is_first && doubts.iter().all(RuntimeError::is_of_servers) => {
                    let whys: Vec<String> = doubts.iter().map(|doubt| chain(doubt)).collect();
                    haproxy.may_settle(text);
                    haproxy.needs_no_word();
                    self.loaded_state.mark_unread(self.dest(output));
                    self.warn_unread(&whys.join("; "));
                }
                Err(doubts) if doubts.iter().all(RuntimeError::is_of_servers) => {
                    // Another one would not settle it either.
                    haproxy.may_settle(text);
                    haproxy.differs_still(self.name(), self.dest(output), &doubts);
                }
                // The next look will tell.
                Err(_) => {}
            }
        }
    }

    fn haproxies<'a>(
        &self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> impl Iterator<Item = (usize, &Haproxy, &'a str)> {
        live.filter_map(|(output, text)| Some((output, self.loaded.haproxies.get(output)?, text)))
    }

    fn name(&self) -> &str {
        &self.target().name
    }
}

/// The changes, where there are such.
fn list(change: Change) -> Vec<ServerChange> {
    match change {
        Change::Runtime(ops) => ops,
        Change::None | Change::Reload(_) => Vec::new(),
    }
}
