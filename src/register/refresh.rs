//! When the configuration is read again, and when addresses are looked at: one at a time, off the loop. Shell.

use std::time::{Duration, Instant};

use super::instances::Entry;
use super::resolve::{Source, Unread};

/// How often addresses are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How soon after the last look a failed check may cause another one.
const SOONEST: Duration = Duration::from_secs(1);

/// What a job found.
pub(super) enum Found {
    /// The configuration was read again, or could not be used.
    Read(Result<Vec<Entry>, Unread>),
    /// The addresses as they are now.
    Seen(Vec<Entry>),
}

/// The source, and what is due.
#[derive(Debug)]
pub(super) struct Looks {
    source: Source,
    /// Whether a job is under way.
    is_out: bool,
    /// Whether the configuration is to be read again.
    is_asked: bool,
    last: Instant,
    due: Option<Instant>,
}

impl Looks {
    pub(super) fn new(source: Source) -> Self {
        let mut looks = Self {
            source,
            is_out: false,
            is_asked: false,
            last: Instant::now(),
            due: None,
        };
        looks.rest();
        looks
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
        match (self.is_out, self.is_asked) {
            (true, _) => None,
            (false, true) => Some(self.last),
            (false, false) => self.due,
        }
    }

    /// The job that is due, to be done where it may take long.
    pub(super) fn job(&mut self) -> Option<impl FnOnce() -> (Source, Found) + Send + 'static> {
        if self.deadline().is_none_or(|at| Instant::now() < at) {
            return None;
        }
        self.is_out = true;
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

    /// The job is done.
    pub(super) fn done(&mut self, source: Source) {
        self.source = source;
        self.broken_off();
    }

    /// The job ended without an answer.
    pub(super) fn broken_off(&mut self) {
        self.is_out = false;
        self.rest();
    }
}
