//! Reloads that several targets share: equal ones that they ask for at the same time are made once, and never two at a
//! time. Shell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use super::send::{PastReloads, ReloadError, ReloadRequest, ReloadResult};
use crate::config::{Reload, Target};
use crate::watch::child::shell::ChildGroup;
use crate::watch::conf::placeholders::{Paths, fill_in};

/// How long a reload waits for other targets that may ask for the same one. A target whose check takes longer makes its own
/// reload.
const TOGETHER: Duration = Duration::from_secs(1);

/// All reloads of a process.
#[derive(Default)]
pub(crate) struct Reloads {
    lines: Mutex<HashMap<Reload, Arc<Line>>>,
}

/// Equal reloads: who may still ask for one, and the last one that was made.
#[derive(Default)]
struct Line {
    asked: Mutex<Asked>,
    /// Wakes waiters when a publish has asked, or has ended without asking.
    arrived: Notify,
    /// Held while a reload is made.
    turn: tokio::sync::Mutex<LastReload>,
}

#[derive(Default)]
struct Asked {
    /// How many publishes under way may still ask.
    expected: usize,
    /// How many requests there have been so far.
    count: u64,
}

/// The last reload that was made.
struct LastReload {
    /// How many requests it has served: all whose files were in place when it began.
    count: u64,
    result: Result<ReloadResult, Arc<ReloadError>>,
    past: PastReloads,
}

impl Default for LastReload {
    fn default() -> Self {
        Self {
            count: 0,
            result: Ok(ReloadResult::NotRunning),
            past: PastReloads::default(),
        }
    }
}

/// The right of one publish to ask for a reload. As long as the publish holds it and has not asked, equal reloads wait for
/// it, at most [`TOGETHER`].
pub(crate) struct ReloadTicket {
    reload: Reload,
    limit: Duration,
    /// The command of `sidekick watch -- COMMAND`, if there is one.
    child: Option<ChildGroup>,
    /// Whether a check of the target judges its new files.
    is_checked: bool,
    line: Arc<Line>,
    /// Whether the publish may still ask.
    is_expected: bool,
}

impl Reloads {
    /// A ticket for a target that is about to be published; `None` if the target has no program to reload.
    pub(crate) fn ticket(
        &self,
        target: &Target,
        child: Option<ChildGroup>,
    ) -> Option<ReloadTicket> {
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
            other @ (Reload::Signal { .. }
            | Reload::Child { .. }
            | Reload::Unit { .. }
            | Reload::HaproxyMaster(_)) => other,
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Arc::clone(lines.entry(reload.clone()).or_default());
        line.asked().expected += 1;
        Some(ReloadTicket {
            reload,
            limit: target.reload_timeout,
            child,
            is_checked: target.outputs.iter().any(|output| output.check.is_some()),
            line,
            is_expected: true,
        })
    }
}

impl Line {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when no publish under way may ask any more.
    async fn wait_until_all_asked(&self) {
        loop {
            let arrived = self.arrived.notified();
            if self.asked().expected == 0 {
                return;
            }
            arrived.await;
        }
    }
}

impl ReloadTicket {
    /// Returns when a reload has ended that began after this call.
    pub(crate) async fn reload(&mut self) -> Result<ReloadResult, Arc<ReloadError>> {
        self.arrive();
        let own = {
            let mut asked = self.line.asked();
            asked.count += 1;
            asked.count
        };
        // After the time-out the reload is made without them.
        let _ = timeout(TOGETHER, self.line.wait_until_all_asked()).await;
        let mut made = self.line.turn.lock().await;
        if made.count < own {
            let count = self.line.asked().count;
            let request = ReloadRequest {
                reload: &self.reload,
                limit: self.limit,
                child: self.child.as_ref(),
                is_checked: self.is_checked,
                past: &mut made.past,
            };
            let result = request.send().await.map_err(Arc::new);
            made.count = count;
            made.result = result;
        } else {
            debug!(
                "another target has asked for the same reload ({:?}), and it is made once for all of them",
                self.reload
            );
        }
        made.result.clone()
    }

    /// Whether the program is the command of `sidekick watch`, and has not been started yet. A `reload_cmd` may reload any
    /// program; if there is such a command, it is taken to be the one.
    pub(crate) fn waits_for_its_child(&self) -> bool {
        let runs = |child: &ChildGroup| child.get().is_some();
        match self.reload {
            Reload::Child { .. } => !self.child.as_ref().is_some_and(runs),
            Reload::Command(_) => self.child.as_ref().is_some_and(|child| !runs(child)),
            Reload::Signal { .. } | Reload::Unit { .. } | Reload::HaproxyMaster(_) => false,
        }
    }

    /// Tells equal reloads not to wait for this publish any more.
    fn arrive(&mut self) {
        if std::mem::take(&mut self.is_expected) {
            self.line.asked().expected -= 1;
            self.line.arrived.notify_waiters();
        }
    }
}

impl Drop for ReloadTicket {
    fn drop(&mut self) {
        self.arrive();
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn target(command: &str) -> Target {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("templates/a.tera", "");
        write(
            "conf.d/a.toml",
            &format!(
                "[template]\nsrc = 'a.tera'\ndest = '/d'\nkeys = ['/a']\nreload_cmd = '{command}'\n"
            ),
        );
        crate::config::read_targets(dir.path()).good.remove(0)
    }

    struct Bench {
        dir: tempfile::TempDir,
        target: Target,
        reloads: Reloads,
    }

    impl Bench {
        /// A reload that lasts until there is a file `go`, and writes its beginning and its end to a log.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().display();
            let wait = format!("until test -e {path}/go; do sleep 0.01; done");
            let target = target(&format!(
                "echo begun >> {path}/log; {wait}; echo ended >> {path}/log"
            ));
            Self {
                dir,
                target,
                reloads: Reloads::default(),
            }
        }

        fn ticket(&self) -> ReloadTicket {
            self.reloads.ticket(&self.target, None).unwrap()
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn log(&self) -> String {
            std::fs::read_to_string(self.path("log")).unwrap_or_default()
        }
    }

    async fn until(path: &Path, text: &str) {
        while std::fs::read_to_string(path).unwrap_or_default() != text {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn requests_at_the_same_time_are_served_by_one_reload() {
        let bench = Bench::new();
        std::fs::write(bench.path("go"), "").unwrap();
        let (mut one, mut two, third) = (bench.ticket(), bench.ticket(), bench.ticket());
        // The third one has nothing to reload.
        drop(third);
        let (first, second) = tokio::join!(one.reload(), two.reload());
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(bench.log(), "begun\nended\n");
    }

    #[tokio::test]
    async fn a_request_during_a_reload_gets_another_reload_after_it() {
        let bench = Bench::new();
        let mut one = bench.ticket();
        let first = tokio::spawn(async move { one.reload().await });
        until(&bench.path("log"), "begun\n").await;
        let mut others = [bench.ticket(), bench.ticket()];
        let second = tokio::spawn(async move {
            let [one, two] = &mut others;
            tokio::join!(one.reload(), two.reload())
        });
        tokio::task::yield_now().await;
        assert_eq!(bench.log(), "begun\n");
        std::fs::write(bench.path("go"), "").unwrap();
        assert!(first.await.unwrap().is_ok());
        let (second, third) = second.await.unwrap();
        assert!(second.is_ok() && third.is_ok());
        assert_eq!(bench.log(), "begun\nended\nbegun\nended\n");
    }

    #[tokio::test]
    async fn all_requests_that_a_failed_reload_served_get_its_error() {
        let bench = Bench {
            target: target("exit 3"),
            ..Bench::new()
        };
        let (mut one, mut two) = (bench.ticket(), bench.ticket());
        let (first, second) = tokio::join!(one.reload(), two.reload());
        assert!(first.is_err() && second.is_err());
    }
}
