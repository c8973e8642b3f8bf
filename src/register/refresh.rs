//! When the configuration is read again, and when addresses are looked at: one at a time, off the loop. Shell.

use std::time::{Duration, Instant};

use tracing::warn;

use super::instances::Entry;
use super::resolve::{Source, Unread};

/// How often addresses are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How soon after the last look a failed check may cause another one.
const SOONEST: Duration = Duration::from_secs(1);

/// How long a look may take. One that hangs, on a file system or in the system's resolver, is given up then, and each
/// further one gets twice as long: what hangs keeps a thread.
const LIMIT: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_mins(30);

/// What a job found.
pub(super) enum Found {
    /// The configuration was read again, or could not be used.
    Read(Result<Vec<Entry>, Unread>),
    /// The addresses as they are now.
    Seen(Vec<Entry>),
}

/// The source, and what is due.
#[derive(Debug)]
pub(super) struct RefreshSchedule {
    source: Source,
    /// The job that is under way.
    out: Option<Out>,
    /// How long the next one may take.
    limit: Duration,
    /// Whether the configuration is to be read again.
    is_asked: bool,
    last: Instant,
    due: Option<Instant>,
}

/// A job that is under way.
#[derive(Debug)]
struct Out {
    /// It reads the configuration again.
    is_read: bool,
    /// When it is given up.
    until: Instant,
}

impl RefreshSchedule {
    pub(super) fn new(source: Source) -> Self {
        let mut refresh = Self {
            source,
            out: None,
            limit: LIMIT,
            is_asked: false,
            last: Instant::now(),
            due: None,
        };
        refresh.rest();
        refresh
    }

    fn rest(&mut self) {
        self.last = Instant::now();
        self.due = self.source.is_found().then_some(self.last + EVERY);
    }

    /// Somebody wants the configuration to be read again; false if there is none.
    pub(super) fn ask(&mut self) -> bool {
        self.is_asked |= self.source.is_read();
        self.source.is_read()
    }

    /// Whether there are files that are read again.
    pub(super) fn are_of_files(&self) -> bool {
        self.source.is_read()
    }

    /// A check has failed: perhaps the address is another one by now.
    pub(super) fn hurry(&mut self) {
        let soon = self.last + SOONEST;
        self.due = self.due.map(|due| due.min(soon));
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (&self.out, self.is_asked) {
            (Some(out), _) => Some(out.until),
            (None, true) => Some(self.last),
            (None, false) => self.due,
        }
    }

    /// The job that is due, to be done where it may take long. It takes the place of one that was due and never answered;
    /// what that one finds later counts no more.
    pub(super) fn job(
        &mut self,
        now: Instant,
    ) -> Option<impl FnOnce() -> (Source, Found) + Send + 'static> {
        if self.deadline().is_none_or(|at| now < at) {
            return None;
        }
        if let Some(out) = self.out.take() {
            let what = if out.is_read {
                "the configuration"
            } else {
                "the addresses of this host"
            };
            let limit = self.limit.as_secs();
            warn!(
                "{what} could not be looked at within {limit} s (does a file system or the DNS hang?); trying again"
            );
            self.limit = (self.limit * 2).min(LONGEST);
            self.is_asked |= out.is_read;
        }
        self.out = Some(Out {
            is_read: self.is_asked,
            until: now + self.limit,
        });
        let is_asked = std::mem::take(&mut self.is_asked);
        let mut source = self.source.clone();
        Some(move || {
            let found = if is_asked {
                Found::Read(source.read())
            } else {
                // What was announced has had an address and an id, and keeps them.
                Found::Seen(source.look().unwrap_or_default())
            };
            (source, found)
        })
    }

    /// The job that is under way is done.
    pub(super) fn done(&mut self, source: Source) {
        self.source = source;
        self.limit = LIMIT;
        self.broken_off();
    }

    /// The job ended without an answer.
    pub(super) fn broken_off(&mut self) {
        self.out = None;
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hangs is given up, and the next look is made; each has longer than the one before, up to a limit.
    #[test]
    fn a_look_that_never_answers_is_followed_by_another_one() {
        let mut refresh = RefreshSchedule::new(Source::of_file());
        assert!(refresh.ask());
        let mut now = Instant::now() + EVERY;
        let mut limit = LIMIT;
        for _ in 0..9 {
            assert!(refresh.job(now).is_some());
            assert_eq!(refresh.deadline(), Some(now + limit));
            assert!(refresh.job(now + limit / 2).is_none());
            now += limit;
            limit = (limit * 2).min(LONGEST);
        }
        assert_eq!(limit, LONGEST);
        // It was asked to read, and still is.
        assert!(refresh.out.as_ref().is_some_and(|out| out.is_read));
        refresh.done(Source::of_file());
        assert_eq!(refresh.limit, LIMIT);
        assert!(refresh.job(now).is_none());
    }
}
