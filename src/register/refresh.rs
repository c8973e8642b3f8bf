//! When `register` reads its configuration again, when it looks for changed addresses, and when it resolves what containers
//! announce: one job at a time, off the loop. Shell.

use std::time::{Duration, Instant};

use tracing::warn;

use super::instances::Entry;
use super::resolve::{Source, Unread};
use crate::config::Announcement;

/// How often `register` looks for changed addresses.
const EVERY: Duration = Duration::from_secs(5);
/// A failed check may cause another look this soon after the last one.
const SOONEST: Duration = Duration::from_secs(1);

/// How long a job may take. `register` gives up one that hangs, on a file system or in the system's resolver, and allows
/// each further one twice as long, up to [`LONGEST`]: a job that hangs keeps a thread.
const LIMIT: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What a job found.
pub(super) enum Found {
    /// The result of a config reload.
    Read(Result<Vec<Entry>, Unread>),
    /// The instances with the addresses that they have now; `None` if nobody can say.
    Seen(Option<Vec<Entry>>),
    /// The instances with what the containers announce now.
    Contained(Option<Vec<Entry>>),
}

/// The configuration as it was resolved last, and when the next job is due.
#[derive(Debug)]
pub(super) struct RefreshSchedule {
    source: Source,
    /// The job that is under way.
    out: Option<Out>,
    /// How long the next job may take.
    limit: Duration,
    /// Whether somebody has asked for a config reload.
    is_asked: bool,
    /// What the containers announce, until a job has taken it.
    containers: Option<Vec<Announcement>>,
    last: Instant,
    due: Option<Instant>,
}

/// A job that is under way.
#[derive(Debug)]
struct Out {
    kind: Kind,
    /// When `register` gives the job up.
    until: Instant,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// It reads the configuration again.
    Read,
    /// It resolves what the containers announce.
    Contain(Vec<Announcement>),
    /// It looks for changed addresses.
    Look,
}

impl RefreshSchedule {
    pub(super) fn new(source: Source) -> Self {
        let mut refresh = Self {
            source,
            out: None,
            limit: LIMIT,
            is_asked: false,
            containers: None,
            last: Instant::now(),
            due: None,
        };
        refresh.schedule_next();
        refresh
    }

    fn schedule_next(&mut self) {
        self.last = Instant::now();
        self.due = self
            .source
            .looks_for_addresses()
            .then_some(self.last + EVERY);
    }

    /// Asks for a config reload; returns false if there is no configuration file.
    pub(super) fn request_config_reload(&mut self) -> bool {
        self.is_asked |= self.source.has_config_file();
        self.source.has_config_file()
    }

    /// The containers announce this from now on.
    pub(super) fn set_containers(&mut self, announcements: Vec<Announcement>) {
        self.containers = Some(announcements);
    }

    /// Whether there is a configuration file to read again.
    pub(super) fn has_config_file(&self) -> bool {
        self.source.has_config_file()
    }

    /// Brings the next look forward after a failed check: perhaps the address has changed.
    pub(super) fn look_soon(&mut self) {
        let soon = self.last + SOONEST;
        self.due = self.due.map(|due| due.min(soon));
    }

    /// When [`Self::start_due_job`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (&self.out, self.is_asked || self.containers.is_some()) {
            (Some(out), _) => Some(out.until),
            (None, true) => Some(self.last),
            (None, false) => self.due,
        }
    }

    /// The job that is due, for a blocking thread. It replaces a job that has not answered in time; the caller ignores what
    /// that one finds later.
    pub(super) fn start_due_job(
        &mut self,
        now: Instant,
    ) -> Option<impl FnOnce() -> (Source, Found) + Send + 'static> {
        if self.deadline().is_none_or(|at| now < at) {
            return None;
        }
        if let Some(out) = self.out.take() {
            let what = match out.kind {
                Kind::Read => "the configuration",
                Kind::Contain(_) | Kind::Look => "the addresses of this host",
            };
            let limit = self.limit.as_secs();
            warn!(
                "cannot read {what} within {limit} s (does a file system or the DNS hang?); trying again"
            );
            self.limit = (self.limit * 2).min(LONGEST);
            self.ask_again(out.kind);
        }
        let kind = if std::mem::take(&mut self.is_asked) {
            Kind::Read
        } else {
            self.containers.take().map_or(Kind::Look, Kind::Contain)
        };
        self.out = Some(Out {
            kind: kind.clone(),
            until: now + self.limit,
        });
        let mut source = self.source.clone();
        Some(move || {
            // Instances that are announced keep the address and the id that they have.
            let found = match kind {
                Kind::Read => Found::Read(source.reload_config()),
                Kind::Look => Found::Seen(source.resolve().ok()),
                Kind::Contain(announcements) => {
                    source.set_containers(announcements);
                    Found::Contained(source.resolve().ok())
                }
            };
            (source, found)
        })
    }

    /// What a job without an answer was to do is still to be done, unless there is something newer.
    fn ask_again(&mut self, kind: Kind) {
        match kind {
            Kind::Read => self.is_asked = true,
            Kind::Contain(announcements) => {
                self.containers.get_or_insert(announcements);
            }
            Kind::Look => {}
        }
    }

    /// Takes in the source of a job that has ended.
    pub(super) fn finish(&mut self, source: Source) {
        self.source = source;
        self.limit = LIMIT;
        self.out = None;
        self.schedule_next();
    }

    /// Forgets the job that is under way, which ends without an answer.
    pub(super) fn give_up(&mut self) {
        if let Some(out) = self.out.take() {
            self.ask_again(out.kind);
        }
        self.schedule_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hangs is given up, and the next look is made; each has longer than the one before, up to a limit.
    #[test]
    fn a_look_that_never_answers_is_followed_by_another_one() {
        let mut refresh = RefreshSchedule::new(Source::of_file());
        assert!(refresh.request_config_reload());
        let mut now = Instant::now() + EVERY;
        let mut limit = LIMIT;
        for _ in 0..9 {
            assert!(refresh.start_due_job(now).is_some());
            assert_eq!(refresh.deadline(), Some(now + limit));
            assert!(refresh.start_due_job(now + limit / 2).is_none());
            now += limit;
            limit = (limit * 2).min(LONGEST);
        }
        assert_eq!(limit, LONGEST);
        // It was asked to read, and still is.
        assert!(
            refresh
                .out
                .as_ref()
                .is_some_and(|out| out.kind == Kind::Read)
        );
        refresh.finish(Source::of_file());
        assert_eq!(refresh.limit, LIMIT);
        assert!(refresh.start_due_job(now).is_none());
    }

    #[test]
    fn containers_are_resolved_at_once_and_the_newest_of_them() {
        let mut refresh = RefreshSchedule::new(Source::of_file());
        let now = Instant::now();
        assert!(refresh.start_due_job(now).is_none());
        refresh.set_containers(Vec::new());
        let job = refresh.start_due_job(now).unwrap();
        assert!(refresh.start_due_job(now).is_none(), "one at a time");
        let (source, found) = job();
        assert!(matches!(found, Found::Contained(Some(entries)) if entries.is_empty()));
        refresh.finish(source);
        assert_eq!(refresh.containers, None);

        // One that breaks off is made again.
        refresh.set_containers(Vec::new());
        assert!(refresh.start_due_job(now + EVERY).is_some());
        refresh.give_up();
        assert_eq!(refresh.containers, Some(Vec::new()));

        // A configuration that cannot be read holds them up no longer than itself.
        assert!(refresh.request_config_reload());
        let (source, found) = refresh.start_due_job(now + EVERY).unwrap()();
        assert!(matches!(found, Found::Read(Err(_))));
        refresh.finish(source);
        let (_, found) = refresh.start_due_job(now + 2 * EVERY).unwrap()();
        assert!(matches!(found, Found::Contained(Some(_))));
    }
}
