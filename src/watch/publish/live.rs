//! Changes of a running HAProxy on behalf of a publish: made before the file is checked and swapped, read back behind it.
//! Shell.
//!
//! The check of ten thousand servers takes seconds, and nobody should wait for it to lose a dead server. If the check
//! fails, HAProxy goes back to what the live file says.

use super::super::haproxy::Haproxy;
use super::super::load::Loaded;
use super::Job;
use super::steps::Differs;
use crate::proxy::haproxy::diff::{Change, Op};

/// How the new texts come into force.
pub(super) enum Way {
    /// By a reload.
    Reload,
    /// They are in force: they mean the same as the live ones, or the running `HAProxies` have been changed.
    Live(Vec<Piece>),
}

/// The changes for one output.
pub(super) struct Piece {
    output: usize,
    ops: Vec<Op>,
    /// What takes them back; nothing if only a reload can.
    back: Option<Vec<Op>>,
}

impl Way {
    /// Compares the texts.
    pub(super) fn of(loaded: &Loaded, differs: &Differs) -> Self {
        let mut pieces = Vec::new();
        for (output, new) in differs.news() {
            let Some(haproxy) = loaded.haproxies.get(output) else {
                return Self::Reload;
            };
            let live = new.previous.as_ref().map(|look| look.content.as_slice());
            let Some(Ok(live)) = live.map(std::str::from_utf8) else {
                return Self::Reload;
            };
            match haproxy.compare(live, &new.text) {
                (Change::None, _) => {}
                (Change::Runtime(ops), back) => {
                    let back = match back {
                        Change::Runtime(back) => Some(back),
                        Change::None => Some(Vec::new()),
                        Change::Reload(_) => None,
                    };
                    pieces.push(Piece { output, ops, back });
                }
                (Change::Reload(why), _) => {
                    tracing::info!("{}: a reload is needed: {why}", loaded.target.name);
                    return Self::Reload;
                }
            }
        }
        Self::Live(pieces)
    }

    pub(super) fn takes_reload(&self) -> bool {
        matches!(self, Self::Reload)
    }

    /// Whether `HAProxies` have been changed.
    pub(super) fn changes_haproxy(&self) -> bool {
        matches!(self, Self::Live(pieces) if !pieces.is_empty())
    }
}

impl Job {
    /// Changes the `HAProxies` that run.
    pub(super) async fn change(&self, way: Way) -> Way {
        let Way::Live(pieces) = way else {
            return way;
        };
        for piece in &pieces {
            let Some(haproxy) = self.haproxy(piece) else {
                return Way::Reload;
            };
            if let Err(doubts) = haproxy.runtime.apply(&piece.ops).await {
                haproxy.tell(self.name(), &doubts);
                return Way::Reload;
            }
            haproxy.answers(self.name());
        }
        Way::Live(pieces)
    }

    /// Looks, behind the swap, whether the changes are still there.
    pub(super) async fn read_back(&self, way: Way) -> Way {
        let Way::Live(pieces) = way else {
            return way;
        };
        for piece in &pieces {
            let Some(haproxy) = self.haproxy(piece) else {
                return Way::Reload;
            };
            if let Err(doubts) = haproxy.runtime.verify(&piece.ops).await {
                haproxy.tell(self.name(), &doubts);
                return Way::Reload;
            }
        }
        Way::Live(pieces)
    }

    /// Makes the `HAProxies` again what the live file says; whether that is certain.
    pub(super) async fn take_back(&self, way: Way) -> bool {
        let Way::Live(pieces) = way else {
            return false;
        };
        for piece in &pieces {
            let (Some(haproxy), Some(back)) = (self.haproxy(piece), &piece.back) else {
                return false;
            };
            let mut done = haproxy.runtime.apply(back).await;
            if done.is_ok() {
                done = haproxy.runtime.verify(back).await;
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
    pub(super) async fn look(&self, live: &[Vec<u8>]) -> Option<usize> {
        let mut changed = 0;
        for (output, haproxy) in self.loaded.haproxies.iter() {
            let Ok(text) = std::str::from_utf8(&live[output]) else {
                continue;
            };
            match haproxy.runtime.look(&haproxy.base(), text, true).await {
                Ok(found) => {
                    haproxy.answers(self.name());
                    haproxy.is_settled();
                    changed += found.changed;
                }
                // It reads the file when it starts.
                Err(doubts)
                    if doubts
                        .iter()
                        .all(crate::proxy::haproxy::runtime::Doubt::is_absent) => {}
                Err(doubts) if haproxy.may_settle(text) => {
                    haproxy.tell(self.name(), &doubts);
                    return None;
                }
                Err(doubts) => haproxy.differs_still(self.name(), self.dest(output), &doubts),
            }
        }
        Some(changed)
    }

    fn name(&self) -> &str {
        &self.target().name
    }

    fn haproxy(&self, piece: &Piece) -> Option<&Haproxy> {
        self.loaded.haproxies.get(piece.output)
    }
}
