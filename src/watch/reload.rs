//! Reloads: how a program is told of its new files. Equal reloads of one pass are made once, and never two of them at a
//! time. Shell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::paths::{Paths, fill_in};
use super::ward::Running;
use crate::config::{Reload, Target};
use crate::system::command::{self, CommandError, Left};
use crate::system::process::{self, LeaderError, SignalError};

/// How long a reload waits for the other targets of its pass that ask for the same. One whose check takes longer than
/// this makes its own.
const TOGETHER: Duration = Duration::from_secs(1);

/// Why a program could not be told of a new file.
#[derive(Debug, Error)]
pub(super) enum ReloadError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Child(#[from] LeaderError),
}

/// Tells the program once.
async fn tell(reload: &Reload, limit: Duration, child: &Running) -> Result<(), ReloadError> {
    match reload {
        Reload::Command(text) => {
            let output = command::run(text, limit, Left::Alone).await?;
            tracing::debug!(command = text, output, "reloaded");
        }
        Reload::Signal { signal, pidfile } => process::signal_by_file(pidfile, *signal)?,
        Reload::Child(signal) => {
            // A command that is not started yet will find the new file.
            if let Some(group) = child.get() {
                process::reload_leader(*group, *signal, limit).await?;
            }
        }
    }
    Ok(())
}

/// All reloads of a process.
#[derive(Default)]
pub(super) struct Reloads {
    lines: Mutex<HashMap<Reload, Arc<Line>>>,
}

/// The reloads that are equal: who may still ask for one, and the last one made.
#[derive(Default)]
struct Line {
    asked: Mutex<Asked>,
    /// Somebody who was coming has asked, or will not.
    came: Notify,
    turn: tokio::sync::Mutex<Made>,
}

#[derive(Default)]
struct Asked {
    /// Publishes under way that may still ask.
    coming: usize,
    /// How often it has been asked for so far.
    count: u64,
}

/// A reload that was made.
#[derive(Default)]
struct Made {
    /// All who had asked by then were served: their files were in place when it began.
    count: u64,
    failed: Option<Arc<ReloadError>>,
}

/// What one publish may ask for. As long as it is held, equal reloads wait for it a little.
pub(super) struct Ticket {
    reload: Reload,
    limit: Duration,
    child: Running,
    line: Arc<Line>,
    is_coming: bool,
}

impl Reloads {
    /// A ticket for a target that is about to be published; `None` if nobody has to be told of its files.
    pub(super) fn ticket(&self, target: &Target, child: Running) -> Option<Ticket> {
        let reload = match target.reload.clone()? {
            Reload::Command(text) => {
                let dest = &target.outputs.first()?.dest;
                let paths = Paths {
                    src: dest,
                    dest,
                    tree: None,
                };
                Reload::Command(fill_in(&text, paths))
            }
            other @ (Reload::Signal { .. } | Reload::Child(_)) => other,
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses any more belong to a configuration of before.
        lines.retain(|other, line| *other == reload || Arc::strong_count(line) > 1);
        let line = Arc::clone(lines.entry(reload.clone()).or_default());
        line.asked().coming += 1;
        Some(Ticket {
            reload,
            limit: target.reload_timeout,
            child,
            line,
            is_coming: true,
        })
    }
}

impl Line {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn nobody_comes(&self) {
        loop {
            let came = self.came.notified();
            if self.asked().coming == 0 {
                return;
            }
            came.await;
        }
    }
}

impl Ticket {
    /// Sees to it that the program is told after this moment.
    pub(super) async fn reload(&mut self) -> Result<(), Arc<ReloadError>> {
        self.arrive();
        let own = {
            let mut asked = self.line.asked();
            asked.count += 1;
            asked.count
        };
        // Whether they come or not, it goes on.
        let _ = timeout(TOGETHER, self.line.nobody_comes()).await;
        let mut made = self.line.turn.lock().await;
        if made.count < own {
            let count = self.line.asked().count;
            let told = tell(&self.reload, self.limit, &self.child).await;
            let failed = told.err().map(Arc::new);
            *made = Made { count, failed };
        }
        made.failed.clone().map_or(Ok(()), Err)
    }

    fn arrive(&mut self) {
        if std::mem::take(&mut self.is_coming) {
            self.line.asked().coming -= 1;
            self.line.came.notify_waiters();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.arrive();
    }
}
