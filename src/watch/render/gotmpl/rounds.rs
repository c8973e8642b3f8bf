//! What the rounds of a loop have printed and what they have read: kept after a render, so that the next one runs only those
//! rounds anew of which something has changed. Pure.
//!
//! Where hundreds of thousands of rounds are kept, each byte of a round counts. So the rounds of a loop share four
//! allocations, and a round is where its part of each of them ends.

use std::ops::Range;
use std::sync::Arc;

use super::notes::{Hits, Note, Reads};
use super::value::{List, ListType, Value};

/// A loop of fewer rounds is not worth to be kept.
const FEWEST: usize = if cfg!(test) { 2 } else { 8 };
/// So many names may be gone between two that are still there, without a loss of the rounds behind them.
const WINDOW: usize = 64;

/// The rounds of a loop in a render.
pub(super) struct Rounds {
    pub(super) call: Call,
    /// What the loop's pipeline has read.
    pub(super) head: Vec<Note>,
    /// The steps that the pipeline took.
    pub(super) head_steps: usize,
    of: ListType,
    names: String,
    notes: Vec<Note>,
    ends: Vec<Ends>,
    inner: Vec<Kept>,
}

/// Which loop it was, and what it saw of its surroundings.
#[derive(Clone)]
pub(super) struct Call {
    /// The loop's number in its program.
    pub(super) id: usize,
    /// How many templates were waiting for each other.
    pub(super) depth: usize,
    /// The values of the outer variables that it reads.
    pub(super) outer: Vec<Value>,
}

/// Where a round ends, each counted from the start of the loop.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    name: u32,
    note: u32,
    text: u32,
    steps: u32,
}

/// A loop that is kept, in a round of another loop or in none.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) rounds: Arc<Rounds>,
    /// The round of the other loop.
    round: u32,
    /// How many bytes of that round, or of the file, stand before it.
    at: u32,
}

/// A loop of the last render, and where its text begins in the last file.
#[derive(Clone, Copy)]
pub(super) struct Last<'l> {
    pub(super) rounds: &'l Rounds,
    at: usize,
}

impl Kept {
    /// A loop outside all others.
    pub(super) fn outermost(rounds: Rounds, text_start: usize) -> Self {
        let (rounds, at) = (Arc::new(rounds), small(text_start));
        Self {
            rounds,
            round: 0,
            at,
        }
    }
}

impl Call {
    /// Whether the other one ran the same loop among the same values.
    fn is(&self, other: &Self) -> bool {
        let mut pairs = self.outer.iter().zip(&other.outer);
        self.id == other.id && self.depth == other.depth && pairs.all(|(a, b)| is_same(a, b))
    }

    /// Whether all values can be compared. Lists and maps can be large, so they are not.
    pub(super) fn is_comparable(&self) -> bool {
        self.outer.iter().all(|value| is_same(value, value))
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Missing, Value::Missing) | (Value::Nil, Value::Nil) => true,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Int(one, of), Value::Int(other, other_of)) => one == other && of == other_of,
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (Value::Text(one), Value::Text(other)) => one == other,
        _ => false,
    }
}

impl Rounds {
    /// Whether its pipeline gives the same list while nothing changes that it has read. Pairs hold values, which are not kept.
    pub(super) fn has_all_items(&self) -> bool {
        self.of == ListType::Texts
    }

    /// Whether its parts are too long to be counted. The text and the steps of a render have a limit, names and notes have none.
    pub(super) fn is_too_large(&self) -> bool {
        small(self.names.len().max(self.notes.len())) == u32::MAX
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Where a round begins.
    fn start(&self, round: usize) -> Ends {
        let before = round
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        before.copied().unwrap_or_default()
    }

    fn part(&self, round: usize) -> (Ends, Ends) {
        let start = self.start(round);
        (start, self.ends.get(round).copied().unwrap_or(start))
    }

    fn name(&self, round: usize) -> &str {
        let (start, end) = self.part(round);
        let name = self.names.get(start.name as usize..end.name as usize);
        name.unwrap_or_default()
    }

    /// The loops of a round.
    fn inner(&self, rounds: Range<usize>) -> &[Kept] {
        let place = |round| {
            self.inner
                .partition_point(|kept| (kept.round as usize) < round)
        };
        &self.inner[place(rounds.start)..place(rounds.end)]
    }

    fn is_hit(&self, hits: &Hits) -> bool {
        hits.any(&self.notes) || self.inner.iter().any(|kept| kept.rounds.is_hit(hits))
    }

    fn is_round_hit(&self, round: usize, hits: &Hits) -> bool {
        let (start, end) = self.part(round);
        let notes = &self.notes[start.note as usize..end.note as usize];
        let has_inner = !self.inner.is_empty();
        let mut inner = self
            .inner(if has_inner { round..round + 1 } else { 0..0 })
            .iter();
        hits.any(notes) || inner.any(|kept| kept.rounds.is_hit(hits))
    }
}

impl<'l> Last<'l> {
    /// The loop among those of the last render that was this call; `from` is how many of them are behind us.
    pub(super) fn find(
        kept: &'l [Kept],
        from: &mut usize,
        at: usize,
        call: &Call,
    ) -> Option<Last<'l>> {
        const WINDOW: usize = 16;
        let next = kept.iter().enumerate().skip(*from).take(WINDOW);
        let mut found = next.filter(|(_, kept)| kept.rounds.call.is(call));
        let (place, found) = found.next()?;
        *from = place + 1;
        Some(Last {
            rounds: &found.rounds,
            at: at + found.at as usize,
        })
    }

    /// The bytes of the last file that these rounds have printed, and the steps that they took.
    pub(super) fn cost(&self, rounds: &Range<usize>) -> (Range<usize>, usize) {
        let (start, end) = (
            self.rounds.start(rounds.start),
            self.rounds.start(rounds.end),
        );
        let text = self.at + start.text as usize..self.at + end.text as usize;
        (text, (end.steps - start.steps) as usize)
    }
}

/// Where a loop that is recorded gets its items from.
pub(super) enum Items<'l> {
    List(Arc<List>),
    /// Nothing has changed that the loop's pipeline had read, so these are the names of the last render.
    Last(&'l Rounds),
}

impl Items<'_> {
    /// The items of a list, if its rounds can be kept.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let Value::List(list) = value else {
            return None;
        };
        let types = [ListType::Texts, ListType::NamedPairs, ListType::Pairs];
        let may_be_kept = list.items.len() >= FEWEST && types.contains(&list.of);
        may_be_kept.then(|| Self::List(Arc::clone(list)))
    }

    fn list_type(&self) -> ListType {
        match self {
            Self::List(list) => list.of,
            Self::Last(rounds) => rounds.of,
        }
    }

    fn name(&self, at: usize) -> Option<&str> {
        match self {
            Self::Last(rounds) => (at < rounds.len()).then(|| rounds.name(at)),
            Self::List(list) => match list.items.get(at)? {
                Value::Text(text) => Some(text),
                // A pair is known by its key: whether its value is still the same is known from what has changed.
                Value::Record(pair) => match pair.field("Key") {
                    Some(Value::Text(key)) => Some(key),
                    _ => None,
                },
                _ => None,
            },
        }
    }

    fn value(&self, at: usize) -> Option<Value> {
        match self {
            Self::Last(_) => self.name(at).map(Value::from),
            Self::List(list) => list.items.get(at).cloned(),
        }
    }
}

/// A loop that runs, and is recorded for the next render.
pub(super) struct Recording<'l> {
    made: Rounds,
    items: Items<'l>,
    /// The next of the items.
    next: usize,
    /// Whether a round of another index is another round.
    by_index: bool,
    last: Option<Last<'l>>,
    /// How many rounds of `last` are behind us.
    passed: usize,
    /// The round of `last` in whose place one runs.
    replaced: Option<usize>,
    /// How many loops of that round are behind us.
    inner_passed: usize,
    /// The length of the file, and the steps, before the loop.
    text_start: usize,
    steps_start: usize,
}

impl<'l> Recording<'l> {
    pub(super) fn new(
        call: Call,
        head: (Vec<Note>, usize),
        items: Items<'l>,
        by_index: bool,
        last: Option<Last<'l>>,
        (text_start, steps_start): (usize, usize),
    ) -> Self {
        let last = last.filter(|last| last.rounds.of == items.list_type());
        let like = last.map(|last| last.rounds);
        let room = |len: fn(&Rounds) -> usize| like.map_or(0, |like| len(like) + len(like) / 64);
        let made = Rounds {
            call,
            head: head.0,
            head_steps: head.1,
            of: items.list_type(),
            names: String::with_capacity(room(|like| like.names.len())),
            notes: Vec::with_capacity(room(|like| like.notes.len())),
            ends: Vec::with_capacity(room(|like| like.ends.len())),
            inner: Vec::new(),
        };
        Self {
            made,
            items,
            next: 0,
            by_index,
            last,
            passed: 0,
            replaced: None,
            inner_passed: 0,
            text_start,
            steps_start,
        }
    }

    /// The loop of the last render that was this call, in the round in whose place one runs.
    pub(super) fn find_inner(&mut self, call: &Call) -> Option<Last<'l>> {
        let (last, round) = (self.last?, self.replaced?);
        let at = last.at + last.rounds.start(round).text as usize;
        let inner = last.rounds.inner(round..round + 1);
        Last::find(inner, &mut self.inner_passed, at, call)
    }

    /// Takes a note of what the round reads that runs.
    pub(super) fn note(&mut self, note: Note) {
        self.made.notes.push(note);
    }

    /// Keeps a loop that the round has run.
    pub(super) fn keep(&mut self, rounds: Rounds, text_start: usize) {
        let before = self.text_start + self.made.start(self.made.len()).text as usize;
        let (round, at) = (small(self.made.len()), small(text_start - before));
        let rounds = Arc::new(rounds);
        self.made.inner.push(Kept { rounds, round, at });
    }

    /// Ends the round that runs, if one does: these are the length of the file and the steps until now.
    pub(super) fn finish_round(&mut self, text: usize, steps: usize) {
        if self.next == self.made.len() {
            return;
        }
        let ends = Ends {
            name: small(self.made.names.len()),
            note: small(self.made.notes.len()),
            text: small(text - self.text_start),
            steps: small(steps - self.steps_start),
        };
        self.made.ends.push(ends);
    }

    /// Looks for the next item among the rounds of the last render. Gives those from there on that need not run again.
    pub(super) fn find_reusable(&mut self, hits: &Hits) -> Option<(Last<'l>, Range<usize>)> {
        self.replaced = None;
        self.inner_passed = 0;
        let last = self.last?;
        let count = last.rounds.len();
        let window = self.passed..count.min(self.passed + WINDOW);
        let name = self.items.name(self.next)?;
        let found = window
            .into_iter()
            .find(|round| last.rounds.name(*round) == name)?;
        self.passed = found + 1;
        self.replaced = Some(found);
        if self.by_index && found != self.next {
            return None;
        }
        let is_same_list = matches!(self.items, Items::Last(_)) && found == self.next;
        let is_same = |round: usize| {
            let item = self.next + (round - found);
            is_same_list || self.items.name(item) == Some(last.rounds.name(round))
        };
        let fits = |round: &usize| is_same(*round) && !last.rounds.is_round_hit(*round, hits);
        let end = found + (found..count).take_while(fits).count();
        (end > found).then_some((last, found..end))
    }

    /// Takes rounds over from the last render.
    pub(super) fn reuse(&mut self, last: Last<'l>, rounds: Range<usize>) {
        let (made, old) = (&mut self.made, last.rounds);
        let (start, end) = (old.start(rounds.start), old.start(rounds.end));
        let (base, first) = (made.start(made.len()), made.len());
        made.names
            .push_str(&old.names[start.name as usize..end.name as usize]);
        made.notes
            .extend_from_slice(&old.notes[start.note as usize..end.note as usize]);
        let moved = |end: u32, start: u32, base: u32| base.saturating_add(end - start);
        made.ends
            .extend(old.ends[rounds.clone()].iter().map(|ends| Ends {
                name: moved(ends.name, start.name, base.name),
                note: moved(ends.note, start.note, base.note),
                text: moved(ends.text, start.text, base.text),
                steps: moved(ends.steps, start.steps, base.steps),
            }));
        for kept in old.inner(rounds.clone()) {
            let round = first + (kept.round as usize - rounds.start);
            let round = small(round);
            made.inner.push(Kept {
                round,
                ..kept.clone()
            });
        }
        self.next += rounds.len();
        self.passed = rounds.end;
        self.replaced = None;
    }

    /// Runs all rounds from here on.
    pub(super) fn reuse_no_more(&mut self) {
        self.last = None;
    }

    /// The index and the item of the next round, which begins; none after the last.
    pub(super) fn begin_round(&mut self) -> Option<(usize, Value)> {
        let (at, item) = (self.next, self.items.value(self.next)?);
        let name = self.items.name(at).unwrap_or_default();
        self.made.names.push_str(name);
        if self.made.of != ListType::Texts {
            // The value of a pair is that of its key.
            self.made.notes.extend(Reads::Value.note(name));
        }
        self.next += 1;
        Some((at, item))
    }

    /// The recorded loop and where its text begins.
    pub(super) fn finish(self) -> (Rounds, usize) {
        let mut made = self.made;
        made.names.shrink_to_fit();
        made.notes.shrink_to_fit();
        made.ends.shrink_to_fit();
        made.inner.shrink_to_fit();
        (made, self.text_start)
    }
}

/// In four bytes. What does not fit is not used: see [`Rounds::is_too_large`].
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
