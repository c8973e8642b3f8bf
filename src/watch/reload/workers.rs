//! Whether a reload by signal is in force, as a daemon's children show it. Pure.
//!
//! ```text
//!            a new worker, and those of before are leaving           stays so for a moment
//!   Waiting ───────────────────────────────────────────▶ New ─────────────────────────────▶ Live
//!      │ the daemon takes signals again, and there is no new worker for a while
//!      └──────────────▶ Failed                                   the daemon is not there any more ──▶ Ended
//! ```
//!
//! HAProxy's master and nginx's hold signals back as long as they load a configuration. So it can be seen when they have
//! given up, and a second signal is never sent while one is being served.

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

    /// Its signal for a soft reload.
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Haproxy => Signal::USR2,
            Self::Nginx => Signal::HUP,
            Self::Apache => Signal::USR1,
        }
    }

    /// Whether it reloads at this signal, so that there is something to be seen.
    pub(crate) fn reloads_at(self, signal: Signal) -> bool {
        signal == self.signal() || (self == Self::Haproxy && signal == Signal::HUP)
    }

    /// What keeps its old workers from staying for ever.
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

    /// The workers of before that still serve, as far as they can be told from the others.
    pub(crate) fn old_workers(self, family: &Family) -> usize {
        let workers = family.children.iter().filter(|child| self.is_worker(child));
        match self {
            Self::Nginx => workers.filter(|child| is_leaving(child)).count(),
            // One is of now. Its master may keep other programs.
            Self::Haproxy => {
                let is_haproxy = |child: &&Member| {
                    let program = child.title.split(' ').next().unwrap_or_default();
                    program.rsplit('/').next() == Some("haproxy")
                };
                workers.filter(is_haproxy).count().saturating_sub(1)
            }
            // Its children look all the same.
            Self::Apache => 0,
        }
    }

    /// How long there has to be a new worker: some are forked before they know whether they can work.
    fn steady(self) -> Duration {
        match self {
            Self::Nginx => Duration::ZERO,
            Self::Haproxy => Duration::from_millis(100),
            // Apache's parent starts children, and reads on; it ends if it does not like what it reads.
            Self::Apache => Duration::from_millis(300),
        }
    }

    /// How long it may do nothing, ready for signals and without a new worker, before that is taken for an end.
    fn patience(self) -> Option<Duration> {
        match self {
            Self::Nginx | Self::Haproxy => Some(Duration::from_secs(1)),
            // It does not hold signals back while it loads; where it fails, it ends.
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

/// What a look at a daemon says of its reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Waiting,
    /// The new configuration is in force.
    Live {
        /// Workers of before that still serve.
        old: usize,
    },
    /// The configuration of before is still in force.
    Failed,
    /// The daemon is not there any more.
    Ended,
}

/// Looks at a daemon from its reload on.
#[derive(Debug)]
pub(crate) struct Proof {
    daemon: Daemon,
    /// The workers at the signal.
    before: Vec<i32>,
    /// Since when it looks as if the new configuration were in force.
    new_since: Option<Instant>,
    /// Since when the daemon has been idle without a new worker.
    idle_since: Option<Instant>,
}

impl Proof {
    /// For a daemon that is about to be told. `None` if there is no worker by which one could see anything.
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

    /// A look at it; `None` if it is gone.
    pub(crate) fn see(&mut self, now: Instant, family: Option<&Family>) -> Verdict {
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

/// nginx says so in the title of the process.
fn is_leaving(child: &Member) -> bool {
    child.title.contains("is shutting down")
}

/// As many old workers are nothing to speak of.
const MANY: usize = 8;

/// How many old workers linger, and whether that is worth a word.
#[derive(Debug, Default)]
pub(crate) struct Lingering {
    /// As many have been told of.
    told: usize,
}

impl Lingering {
    /// Takes in how many there are after a reload; whether to tell: when they are many, and again when they have doubled.
    pub(crate) fn saw(&mut self, count: usize) -> bool {
        if count < MANY {
            self.told = 0;
        }
        let tell = count >= MANY && count >= 2 * self.told;
        if tell {
            self.told = count;
        }
        tell
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

    /// What is said of these looks, each at its time.
    fn play(daemon: Daemon, before: &str, looks: &[(u64, bool, &str)]) -> Vec<Verdict> {
        let start = Instant::now();
        let mut proof = Proof::begin(daemon, &family(false, before)).unwrap();
        let looks = looks.iter().map(|(at, holds, children)| {
            let family = family(*holds, children);
            proof.see(start + ms(*at), Some(&family))
        });
        looks.collect()
    }

    #[test]
    fn nginx() {
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
    fn haproxy() {
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
        // A worker that cannot work is gone at once.
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
    fn apache() {
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
        let mut proof = Proof::begin(Daemon::Apache, &family(false, "1")).unwrap();
        assert_eq!(proof.see(Instant::now(), None), Ended);
    }

    #[test]
    fn what_has_no_workers_shows_nothing() {
        assert!(Proof::begin(Daemon::Nginx, &family(false, "")).is_none());
    }

    #[test]
    fn old_workers_are_told_from_others() {
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
    fn only_many_old_workers_are_told_of() {
        let mut lingering = Lingering::default();
        let told: Vec<bool> = [1, 7, 8, 9, 15, 16, 3, 8]
            .map(|count| lingering.saw(count))
            .into();
        assert_eq!(told, [false, false, true, false, false, true, false, true]);
    }
}
