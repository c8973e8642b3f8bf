//! Reloads: how a program is told of its new files. Equal reloads of one pass are made once, and never two of them at a
//! time. Shell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use super::send::{Past, ReloadError, Telling, Told};
use crate::config::{Reload, Target};
use crate::watch::child::shell::ChildGroup;
use crate::watch::conf::placeholders::{Paths, fill_in};

/// How long a reload waits for the other targets of its pass that ask for the same. One whose check takes longer than
/// this makes its own.
const TOGETHER: Duration = Duration::from_secs(1);

/// All reloads of a process.
#[derive(Default)]
pub(crate) struct Reloads {
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
struct Made {
    /// All who had asked by then were served: their files were in place when it began.
    count: u64,
    told: Result<Told, Arc<ReloadError>>,
    past: Past,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            count: 0,
            told: Ok(Told::Nobody),
            past: Past::default(),
        }
    }
}

/// What one publish may ask for. As long as it is held, equal reloads wait for it a little.
pub(crate) struct ReloadTicket {
    reload: Reload,
    limit: Duration,
    /// The command of ours, if there is one.
    child: Option<ChildGroup>,
    is_checked: bool,
    line: Arc<Line>,
    is_coming: bool,
}

impl Reloads {
    /// A ticket for a target that is about to be published; `None` if nobody has to be told of its files.
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
        line.asked().coming += 1;
        Some(ReloadTicket {
            reload,
            limit: target.reload_timeout,
            child,
            is_checked: target.outputs.iter().any(|output| output.check.is_some()),
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

impl ReloadTicket {
    /// Sees to it that the program is told after this moment.
    pub(crate) async fn reload(&mut self) -> Result<Told, Arc<ReloadError>> {
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
            let telling = Telling {
                reload: &self.reload,
                limit: self.limit,
                child: self.child.as_ref(),
                is_checked: self.is_checked,
                past: &mut made.past,
            };
            let told = telling.tell().await.map_err(Arc::new);
            made.count = count;
            made.told = told;
        } else {
            debug!(
                "another target has asked for the same reload ({:?}), and it is made once for all of them",
                self.reload
            );
        }
        made.told.clone()
    }

    /// Whether the program is a command of ours that has not been started yet. Nobody knows whom a `reload_cmd` tells, so
    /// it is taken to be the command.
    pub(crate) fn waits_for_its_child(&self) -> bool {
        let runs = |child: &ChildGroup| child.get().is_some();
        match self.reload {
            Reload::Child { .. } => !self.child.as_ref().is_some_and(runs),
            Reload::Command(_) => self.child.as_ref().is_some_and(|child| !runs(child)),
            Reload::Signal { .. } | Reload::Unit { .. } | Reload::HaproxyMaster(_) => false,
        }
    }

    fn arrive(&mut self) {
        if std::mem::take(&mut self.is_coming) {
            self.line.asked().coming -= 1;
            self.line.came.notify_waiters();
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
        /// A reload that takes until there is a file `go`, and tells of its beginning and of its end.
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
    async fn those_who_come_together_are_served_by_one() {
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
    async fn who_asks_while_one_is_made_gets_another_one_after_it() {
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
    async fn a_failure_is_told_to_all_whom_it_concerns() {
        let bench = Bench {
            target: target("exit 3"),
            ..Bench::new()
        };
        let (mut one, mut two) = (bench.ticket(), bench.ticket());
        let (first, second) = tokio::join!(one.reload(), two.reload());
        assert!(first.is_err() && second.is_err());
    }
}
