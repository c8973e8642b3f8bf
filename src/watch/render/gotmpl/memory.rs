//! What a render knows of the last one, and what it records for the next one. Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Inputs;
use super::notes::{Hits, Note};
use super::rounds::{Call, Kept, Last, Recording, Rounds};
use crate::model::key_log::State;
use crate::model::prefix::Prefix;

/// Loops in more loops than that are not recorded.
const DEEPEST: usize = 8;

/// What is kept of a render.
pub(super) struct Remembered {
    surroundings: Surroundings,
    /// The state of the keys that it saw.
    state: State,
    text: String,
    loops: Vec<Kept>,
}

/// What a text depends on besides keys, as long as a template does not ask the host.
#[derive(PartialEq, Eq)]
struct Surroundings {
    target: String,
    env: Arc<BTreeMap<String, String>>,
    scope: Vec<Prefix>,
    root: Prefix,
}

impl Surroundings {
    fn of(inputs: &Inputs) -> Self {
        Self {
            target: inputs.target.clone(),
            env: Arc::clone(&inputs.env),
            scope: inputs.keys.scope().to_vec(),
            root: inputs.keys.root().clone(),
        }
    }
}

/// The memory of a render.
pub(super) struct Memory<'l> {
    surroundings: Surroundings,
    state: State,
    last: Option<&'l Remembered>,
    hits: Hits,
    /// How many of the outermost loops of the last render are behind us.
    passed: usize,
    /// The loops that run, from the outermost on.
    recordings: Vec<Recording<'l>>,
    /// What the pipeline of a loop has read until now.
    head: Option<Vec<Note>>,
    loops: Vec<Kept>,
    /// Whether something was too large.
    is_lost: bool,
    /// How many rounds have run.
    pub(super) ran: usize,
}

impl<'l> Memory<'l> {
    /// The memory of a render with these inputs; none if there are keys that are not written as paths, since one such key can
    /// stand for another.
    pub(super) fn new(inputs: &Inputs, last: Option<&'l Remembered>) -> Option<Self> {
        let tree = inputs.keys.tree();
        if !tree.is_clean() {
            return None;
        }
        let surroundings = Surroundings::of(inputs);
        let last = last.filter(|last| last.surroundings == surroundings);
        let changes = last.and_then(|last| tree.changed_since(&last.state));
        let last = last.filter(|_| changes.is_some());
        let hits = Hits::new(changes.into_iter().flatten(), inputs.keys.root());
        Some(Self {
            surroundings,
            state: tree.state(),
            last,
            hits,
            passed: 0,
            recordings: Vec::new(),
            head: None,
            loops: Vec::new(),
            is_lost: false,
            ran: 0,
        })
    }

    /// What the next render may know of this one, if that is of use.
    pub(super) fn remember(self, text: &str) -> Option<Remembered> {
        let is_of_use = !self.loops.is_empty() && !self.is_lost;
        is_of_use.then(|| Remembered {
            surroundings: self.surroundings,
            state: self.state,
            text: text.to_owned(),
            loops: self.loops,
        })
    }

    /// How long the file probably becomes.
    pub(super) fn expected_length(&self) -> usize {
        self.last
            .map_or(0, |last| last.text.len() + last.text.len() / 64)
    }

    /// Whether another loop can be recorded.
    pub(super) fn has_room(&self) -> bool {
        self.recordings.len() < DEEPEST
    }

    /// A part of the last file.
    pub(super) fn last_text(&self, part: Range<usize>) -> &'l str {
        let text = self.last.and_then(|last| last.text.get(part));
        text.unwrap_or_default()
    }

    /// The loop of the last render that was this call.
    pub(super) fn find(&mut self, call: &Call) -> Option<Last<'l>> {
        match self.recordings.last_mut() {
            Some(around) => around.find_inner(call),
            None => Last::find(&self.last?.loops, &mut self.passed, 0, call),
        }
    }

    /// Whether it matters what is read.
    pub(super) fn is_taking_notes(&self) -> bool {
        self.head.is_some() || !self.recordings.is_empty()
    }

    /// Takes a note of what is read.
    pub(super) fn note(&mut self, note: Note) {
        if let Some(head) = &mut self.head {
            head.push(note);
        }
        if let Some(recording) = self.recordings.last_mut() {
            recording.note(note);
        }
    }

    /// Begins to collect what the pipeline of a loop reads.
    pub(super) fn begin_head(&mut self) {
        self.head = Some(Vec::new());
    }

    pub(super) fn end_head(&mut self) -> Vec<Note> {
        self.head.take().unwrap_or_default()
    }

    /// Whether the pipeline of a loop gives what it gave in the last render. It counts as read then.
    pub(super) fn takes_head(&mut self, last: &Rounds) -> bool {
        let is_same = last.has_all_items() && !self.hits.any(&last.head);
        if is_same {
            for note in &last.head {
                self.note(*note);
            }
        }
        is_same
    }

    pub(super) fn record(&mut self, recording: Recording<'l>) {
        self.recordings.push(recording);
    }

    /// The innermost loop that is recorded, and what has changed.
    pub(super) fn recording(&mut self) -> Option<(&mut Recording<'l>, &Hits)> {
        Some((self.recordings.last_mut()?, &self.hits))
    }

    /// Keeps the innermost loop, which has ended.
    pub(super) fn end_recording(&mut self) {
        let Some((rounds, text_start)) = self.recordings.pop().map(Recording::finish) else {
            return;
        };
        self.is_lost |= rounds.is_too_large();
        match self.recordings.last_mut() {
            Some(around) => around.keep(rounds, text_start),
            None => self.loops.push(Kept::outermost(rounds, text_start)),
        }
    }
}
