//! Decides by a daemon's child processes whether its reload has succeeded. Pure.
//!
//! ```text
//!            a new worker, and the old ones are leaving              stays so for a moment
//!   Waiting ───────────────────────────────────────────▶ New ─────────────────────────────▶ Live
//!      │ the daemon takes signals again, and there is no new worker for a while
//!      └──────────────▶ Failed                                   the daemon is not there any more ──▶ Ended
//! ```
//!
//! The masters of HAProxy and nginx hold signals back as long as they load a configuration. So one can observe when they
//! have given up, and `send` never sends a second signal while they handle the first one.

use std::fmt;
use std::time::{Duration, Instant};

use crate::model::os::{Family, Member, Signal};

/// A daemon that reads its configuration in one process and serves in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    Haproxy,
    Nginx,
    Apache,
}

impl Daemon {
    /// The daemon of a program with this name.
    pub(crate) fn of(program: &str) -> Option<Self> {
        match program {
            "haproxy" => Some(Self::Haproxy),
            "nginx" | "openresty" | "angie" => Some(Self::Nginx),
            "apache2" | "httpd" => Some(Self::Apache),
            _ => None,
        }
    }

    /// The signal for a soft reload of this daemon.
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Haproxy => Signal::USR2,
            Self::Nginx => Signal::HUP,
            Self::Apache => Signal::USR1,
        }
    }

    /// Whether this daemon reloads at this signal.
    pub(crate) fn reloads_at(self, signal: Signal) -> bool {
        signal == self.signal() || (self == Self::Haproxy && signal == Signal::HUP)
    }

    /// The setting that bounds the number or the lifetime of old workers, as the end of a log line.
    pub(crate) fn limit_of_old_workers(self) -> &'static str {
        match self {
            Self::Haproxy => "hard-stop-after in its global section bounds that",
            Self::Nginx => "worker_shutdown_timeout bounds that",
            Self::Apache => {
                "each has a place in the scoreboard, so ServerLimit has to be high enough"
            }
        }
    }

    fn is_worker(self, child: &Member) -> bool {
        match self {
            Self::Nginx => child.title.starts_with("nginx: worker process"),
            Self::Haproxy | Self::Apache => true,
        }
    }

    /// How many old workers still serve, as far as their process titles tell them from new ones.
    pub(crate) fn old_workers(self, family: &Family) -> usize {
        let workers = family.children.iter().filter(|child| self.is_worker(child));
        match self {
            Self::Nginx => workers.filter(|child| is_leaving(child)).count(),
            // One of them is the new worker. The master of HAProxy may run other programs as well.
            Self::Haproxy => {
                let is_haproxy = |child: &&Member| {
                    let program = child.title.split(' ').next().unwrap_or_default();
                    program.rsplit('/').next() == Some("haproxy")
                };
                workers.filter(is_haproxy).count().saturating_sub(1)
            }
            // All children of Apache have the same title.
            Self::Apache => 0,
        }
    }

    /// How long a new worker has to live before it counts: some daemons fork it before they know whether it can work.
    fn steady(self) -> Duration {
        match self {
            Self::Nginx => Duration::ZERO,
            Self::Haproxy => Duration::from_millis(100),
            // Apache's parent starts children while it still reads its configuration, and ends at a mistake in it.
            Self::Apache => Duration::from_millis(300),
        }
    }

    /// How long the daemon may take signals and have no new worker before the reload counts as failed; `None` for ever.
    fn patience(self) -> Option<Duration> {
        match self {
            Self::Nginx | Self::Haproxy => Some(Duration::from_secs(1)),
            // Apache does not hold signals back while it loads, and it ends if the reload fails.
            Self::Apache => None,
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Apache => "Apache",
        })
    }
}

/// What an observation of a daemon says of its reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The reload is not decided yet.
    Waiting,
    /// The daemon runs the new configuration.
    Live {
        /// How many old workers still serve.
        old: usize,
    },
    /// The daemon runs on with the previous configuration.
    Failed,
    /// The daemon has ended.
    Ended,
}

/// The observation of one reload of a daemon.
#[derive(Debug)]
pub(crate) struct ReloadObserver {
    daemon: Daemon,
    /// The process ids of the workers before the reload.
    before: Vec<i32>,
    /// Since when there has been a new worker and every old one has been leaving.
    new_since: Option<Instant>,
    /// Since when the daemon has taken signals without having a new worker.
    idle_since: Option<Instant>,
}

impl ReloadObserver {
    /// Notes the workers of a daemon that is about to reload. `None` if it has none, so that nothing can be observed.
    pub(crate) fn begin(daemon: Daemon, now: &Family) -> Option<Self> {
        let workers = now.children.iter().filter(|child| daemon.is_worker(child));
        let before: Vec<i32> = workers.map(|child| child.pid).collect();
        (!before.is_empty()).then_some(Self {
            daemon,
            before,
            new_since: None,
            idle_since: None,
        })
    }

    /// Takes in the daemon's processes as they are now; `None` if the daemon has ended.
    pub(crate) fn observe(&mut self, now: Instant, family: Option<&Family>) -> Verdict {
        let Some(family) = family else {
            return Verdict::Ended;
        };
        let workers = family.children.iter();
        let workers = workers.filter(|child| self.daemon.is_worker(child));
        let (old, new): (Vec<&Member>, Vec<&Member>) =
            workers.partition(|child| self.before.contains(&child.pid));
        let holds = family.holds && self.daemon.patience().is_some();
        let new_serve = new.iter().any(|child| !is_leaving(child));
        let old_go = self.daemon != Daemon::Nginx || old.iter().all(|child| is_leaving(child));
        if new_serve && old_go && !holds {
            let since = *self.new_since.get_or_insert(now);
            if now >= since + self.daemon.steady() {
                let old = old.len();
                return Verdict::Live { old };
            }
        } else {
            self.new_since = None;
        }
        if holds || new_serve {
            self.idle_since = None;
            return Verdict::Waiting;
        }
        let since = *self.idle_since.get_or_insert(now);
        match self.daemon.patience() {
            Some(patience) if now >= since + patience => Verdict::Failed,
            Some(_) | None => Verdict::Waiting,
        }
    }
}

/// Whether a worker is shutting down, as nginx says in the title of the process.
fn is_leaving(child: &Member) -> bool {
    child.title.contains("is shutting down")
}

/// From this number of old workers on, the log says how many there are.
const MANY: usize = 8;

/// How many old workers linger after reloads, and whether the log has to say so.
#[derive(Debug, Default)]
pub(crate) struct Lingering {
    /// The number that the log named last; 0 if there are few again.
    logged: usize,
}

impl Lingering {
    /// Takes in how many there are after a reload. Returns whether to log that: when they are many, and again each time when
    /// they have doubled.
    pub(crate) fn is_news(&mut self, count: usize) -> bool {
        if count < MANY {
            self.logged = 0;
        }
        let is_news = count >= MANY && count >= 2 * self.logged;
        if is_news {
            self.logged = count;
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// `1` is a worker, `1-` one that is leaving.
    fn family(holds: bool, children: &str) -> Family {
        let member = |text: &str| {
            let pid = text.trim_end_matches('-').parse().unwrap();
            let title = if text.ends_with('-') {
                "nginx: worker process is shutting down "
            } else {
                "nginx: worker process "
            };
            let title = title.to_owned();
            Member { pid, title }
        };
        Family {
            holds,
            children: children.split_whitespace().map(member).collect(),
        }
    }

    /// The verdicts on these observations, each at its time in milliseconds.
    fn play(daemon: Daemon, before: &str, looks: &[(u64, bool, &str)]) -> Vec<Verdict> {
        let start = Instant::now();
        let mut observer = ReloadObserver::begin(daemon, &family(false, before)).unwrap();
        let looks = looks.iter().map(|(at, holds, children)| {
            let family = family(*holds, children);
            observer.observe(start + ms(*at), Some(&family))
        });
        looks.collect()
    }

    #[test]
    fn a_reload_of_nginx_is_live_when_every_old_worker_is_leaving() {
        use Verdict::{Failed, Live, Waiting};
        let good = [
            (0, true, "1 2"),
            (50, true, "1 2 3 4"),
            (150, false, "1 2 3 4"),
            (160, false, "1- 2 3 4"),
            (170, false, "1- 3 4"),
        ];
        assert_eq!(
            play(Daemon::Nginx, "1 2", &good),
            [Waiting, Waiting, Waiting, Waiting, Live { old: 1 }]
        );
        let bad = [
            (0, true, "1 2"),
            (2500, true, "1 2"),
            (2510, false, "1 2"),
            (3500, false, "1 2"),
            (3510, false, "1 2"),
        ];
        assert_eq!(
            play(Daemon::Nginx, "1 2", &bad),
            [Waiting, Waiting, Waiting, Waiting, Failed]
        );
        // A worker that dies and is replaced says nothing of the configuration.
        let died = [(0, false, "1 3"), (5000, false, "1 3")];
        assert_eq!(play(Daemon::Nginx, "1 2", &died), [Waiting, Waiting]);
    }

    #[test]
    fn a_reload_of_haproxy_is_live_when_a_new_worker_stays() {
        use Verdict::{Failed, Live, Waiting};
        let good = [
            (0, true, "1"),
            (90, false, "1 2"),
            (150, false, "1 2"),
            (190, false, "1 2"),
        ];
        assert_eq!(
            play(Daemon::Haproxy, "1", &good),
            [Waiting, Waiting, Waiting, Live { old: 1 }]
        );
        // A worker that cannot work ends at once.
        let bad = [
            (0, true, "1"),
            (90, false, "1 2"),
            (100, false, "1"),
            (1000, false, "1"),
            (1100, false, "1"),
        ];
        assert_eq!(
            play(Daemon::Haproxy, "1", &bad),
            [Waiting, Waiting, Waiting, Waiting, Failed]
        );
    }

    #[test]
    fn a_reload_of_apache_is_live_with_a_new_worker_and_failed_by_its_end() {
        use Verdict::{Ended, Live, Waiting};
        let good = [
            (0, false, "1 2"),
            (9000, false, "1 2"),
            (9010, false, "1 2 3"),
            (9310, false, "2 3"),
        ];
        assert_eq!(
            play(Daemon::Apache, "1 2", &good),
            [Waiting, Waiting, Waiting, Live { old: 1 }]
        );
        let mut observer = ReloadObserver::begin(Daemon::Apache, &family(false, "1")).unwrap();
        assert_eq!(observer.observe(Instant::now(), None), Ended);
    }

    #[test]
    fn a_daemon_without_workers_cannot_be_observed() {
        assert!(ReloadObserver::begin(Daemon::Nginx, &family(false, "")).is_none());
    }

    #[test]
    fn old_workers_are_counted_without_new_ones_and_other_programs() {
        let count = |daemon: Daemon, titles: &[&str]| {
            let member = |(pid, title): (i32, &&str)| Member {
                pid,
                title: (*title).to_owned(),
            };
            let family = Family {
                holds: false,
                children: (1..).zip(titles).map(member).collect(),
            };
            daemon.old_workers(&family)
        };
        let (worker, leaving) = (
            "nginx: worker process ",
            "nginx: worker process is shutting down ",
        );
        let cache = "nginx: cache manager process ";
        assert_eq!(count(Daemon::Nginx, &[worker, cache]), 0);
        assert_eq!(count(Daemon::Nginx, &[leaving, worker, leaving]), 2);
        let (haproxy, program) = ("/usr/sbin/haproxy -W -f /etc/h.cfg ", "/bin/dataplaneapi ");
        assert_eq!(count(Daemon::Haproxy, &[]), 0);
        assert_eq!(count(Daemon::Haproxy, &[haproxy, program]), 0);
        let many = [haproxy, "haproxy -sf 7 ", program, haproxy];
        assert_eq!(count(Daemon::Haproxy, &many), 2);
        assert_eq!(count(Daemon::Apache, &["apache2 ", "apache2 "]), 0);
    }

    #[test]
    fn old_workers_are_logged_when_they_are_many_and_when_they_have_doubled() {
        let mut lingering = Lingering::default();
        let is_news: Vec<bool> = [1, 7, 8, 9, 15, 16, 3, 8]
            .map(|count| lingering.is_news(count))
            .into();
        assert_eq!(
            is_news,
            [false, false, true, false, false, true, false, true]
        );
    }
}
