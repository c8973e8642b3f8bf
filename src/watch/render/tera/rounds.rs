//! What the rounds of a template's loops have printed for each instance: kept after a render, so that the next one runs only
//! those of instances that have changed. Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tera::Value;

use super::independent::END;
use crate::model::instance::Instance;
use crate::watch::render::View;
use crate::watch::render::view::Seen;

/// The instances of one service, sorted by id.
pub(super) type List = Arc<Vec<Arc<Instance>>>;

/// How many rounds run at once. Their rows take memory until they have run.
const BATCH: usize = 256;

/// The rounds of all loops of a template, for the instances of all services.
#[derive(Default)]
pub(super) struct Rounds {
    surroundings: Surroundings,
    services: BTreeMap<String, Service>,
}

/// What a round depends on besides its instance.
#[derive(Default, PartialEq, Eq)]
struct Surroundings {
    target: String,
    env: Arc<BTreeMap<String, String>>,
}

#[derive(Default)]
struct Service {
    instances: List,
    loops: Vec<Texts>,
}

impl Rounds {
    /// Takes in what is seen now: forgets the rounds of instances that have changed or gone. Gives the instances of each service.
    pub(super) fn take_in(&mut self, view: &View, loops: usize) -> BTreeMap<String, List> {
        let surroundings = Surroundings {
            target: view.target.clone(),
            env: Arc::clone(&view.env),
        };
        if surroundings != self.surroundings {
            *self = Self {
                surroundings,
                services: BTreeMap::new(),
            };
        }
        let mut before = std::mem::take(&mut self.services);
        for (name, seen) in view.visible() {
            let mut service = before.remove(name).unwrap_or_default();
            service.take_in(&seen, loops);
            self.services.insert(name.to_owned(), service);
        }
        let lists = self.services.iter();
        lists
            .map(|(name, service)| (name.clone(), Arc::clone(&service.instances)))
            .collect()
    }

    /// What the rounds of a loop print for the instances at these places of a service, with these values from outside. `run`
    /// gives the text of a few rounds, with [`END`] behind each. Nothing if that is not the text of so many rounds, or if this
    /// render has asked for them with other values.
    pub(super) fn text<E>(
        &mut self,
        service: &str,
        number: usize,
        given: &Value,
        places: &[usize],
        mut run: impl FnMut(&[&Arc<Instance>]) -> Result<String, E>,
    ) -> Result<Option<String>, E> {
        let Some(service) = self.services.get_mut(service) else {
            return Ok(None);
        };
        let instances = &service.instances;
        let Some(texts) = service.loops.get_mut(number) else {
            return Ok(None);
        };
        if texts.given.as_ref() != Some(given) {
            // All rounds would run twice in each render, and their rows be made twice.
            if texts.is_asked_for {
                return Ok(None);
            }
            *texts = Texts::none(instances.len(), given.clone());
        }
        texts.is_asked_for = true;
        let is_filled = texts.fill(places, |places| {
            let batch = places.iter().filter_map(|place| instances.get(*place));
            run(&batch.collect::<Vec<_>>())
        })?;
        Ok(is_filled.then(|| texts.joined(places)))
    }
}

impl Service {
    fn take_in(&mut self, seen: &Seen<'_>, loops: usize) {
        self.loops.resize_with(loops, Texts::default);
        for texts in &mut self.loops {
            texts.is_asked_for = false;
        }
        let is_same = |(old, now): (&Arc<Instance>, &&Arc<Instance>)| Arc::ptr_eq(old, now);
        if self.instances.len() == seen.len() && self.instances.iter().zip(seen).all(is_same) {
            return;
        }
        let pieces = pieces(&self.instances, seen);
        for texts in &mut self.loops {
            *texts = texts.rearranged(&pieces);
        }
        // Those that stay are moved, since counting one more reference to each would read all of them from memory.
        let mut old = Arc::unwrap_or_clone(std::mem::take(&mut self.instances)).into_iter();
        let (mut passed, mut instances) = (0, Vec::with_capacity(seen.len()));
        for piece in pieces {
            match piece {
                Piece::Same(places) => {
                    let rest = old.by_ref().skip(places.start - passed);
                    passed = places.end;
                    instances.extend(rest.take(places.len()));
                }
                Piece::New(count) => {
                    let new = seen.iter().skip(instances.len()).take(count);
                    instances.extend(new.map(|one| Arc::clone(one)));
                }
            }
        }
        self.instances = Arc::new(instances);
    }
}

/// A part of a list of instances, compared to an earlier list.
enum Piece {
    /// The instances at these places of the earlier list, unchanged.
    Same(Range<usize>),
    /// So many that are new or changed.
    New(usize),
}

/// Compares two lists that are sorted by id.
fn pieces(old: &[Arc<Instance>], now: &Seen<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for instance in now {
        let is_same = |at: usize| old.get(at).is_some_and(|old| Arc::ptr_eq(old, instance));
        while !is_same(at) && old.get(at).is_some_and(|old| old.id < instance.id) {
            at += 1;
        }
        match pieces.last_mut() {
            Some(Piece::Same(places)) if is_same(at) && places.end == at => places.end += 1,
            Some(Piece::New(count)) if !is_same(at) => *count += 1,
            _ if is_same(at) => pieces.push(Piece::Same(at..at + 1)),
            _ => pieces.push(Piece::New(1)),
        }
        at += usize::from(is_same(at));
    }
    pieces
}

/// The texts of the rounds of one loop, one behind the other in the order of the instances.
#[derive(Default)]
struct Texts {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    /// The places of those that have not run, sorted; their texts are empty.
    missing: Vec<u32>,
    /// The values from outside with which they have run.
    given: Option<Value>,
    /// Whether this render has asked for them.
    is_asked_for: bool,
}

impl Texts {
    /// Of so many rounds none has run.
    fn none(rounds: usize, given: Value) -> Self {
        Self {
            text: String::new(),
            ends: vec![0; rounds],
            missing: (0..small(rounds)).collect(),
            given: Some(given),
            is_asked_for: false,
        }
    }

    fn start(&self, place: usize) -> usize {
        let before = place
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        before.map_or(0, |end| *end as usize)
    }

    /// The texts at these places, one behind the other.
    fn of(&self, places: Range<usize>) -> &str {
        let range = self.start(places.start)..self.start(places.end);
        self.text.get(range).unwrap_or_default()
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(small(self.text.len()));
    }

    fn push_all(&mut self, other: &Self, places: Range<usize>) {
        let (start, base) = (other.start(places.start), self.text.len());
        self.text.push_str(other.of(places.clone()));
        let ends = other.ends[places].iter();
        self.ends
            .extend(ends.map(|end| small(*end as usize - start + base)));
    }

    /// These texts in the order of a later list.
    fn rearranged(&self, pieces: &[Piece]) -> Self {
        let mut made = Self {
            text: String::with_capacity(self.text.len()),
            given: self.given.clone(),
            ..Self::default()
        };
        for piece in pieces {
            match piece {
                Piece::Same(places) => {
                    let base = made.ends.len();
                    let range = |place: &u32| places.contains(&(*place as usize));
                    let missing = self.missing.iter().filter(|place| range(place));
                    made.missing
                        .extend(missing.map(|place| small(*place as usize - places.start + base)));
                    made.push_all(self, places.clone());
                }
                Piece::New(count) => {
                    for _ in 0..*count {
                        made.missing.push(small(made.ends.len()));
                        made.push("");
                    }
                }
            }
        }
        made
    }

    /// Runs those of the rounds at these places that have not run. Whether the texts are those of so many rounds.
    fn fill<E>(
        &mut self,
        places: &[usize],
        mut run: impl FnMut(&[usize]) -> Result<String, E>,
    ) -> Result<bool, E> {
        if self.missing.is_empty() {
            return Ok(true);
        }
        let is_missing = |place: &usize| self.missing.binary_search(&small(*place)).is_ok();
        let mut wanted: Vec<usize> = places.iter().copied().filter(is_missing).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut made = Self {
            text: String::with_capacity(self.text.len()),
            ends: Vec::with_capacity(self.ends.len()),
            missing: Vec::new(),
            given: self.given.clone(),
            is_asked_for: self.is_asked_for,
        };
        for batch in wanted.chunks(BATCH) {
            let text = run(batch)?;
            if text.matches(END).count() != batch.len() {
                return Ok(false);
            }
            for (place, round) in batch.iter().zip(text.split(END)) {
                made.push_all(self, made.ends.len()..*place);
                made.push(round);
            }
        }
        made.push_all(self, made.ends.len()..self.ends.len());
        let is_left = |place: &&u32| wanted.binary_search(&(**place as usize)).is_err();
        made.missing = self.missing.iter().filter(is_left).copied().collect();
        made.text.shrink_to_fit();
        if made.text.len() >= u32::MAX as usize {
            return Ok(false);
        }
        *self = made;
        Ok(true)
    }

    /// The texts at these places, in this order.
    fn joined(&self, places: &[usize]) -> String {
        let is_all = places.len() == self.ends.len()
            && places.iter().enumerate().all(|(at, place)| at == *place);
        if is_all {
            return self.text.clone();
        }
        places
            .iter()
            .map(|place| self.of(*place..*place + 1))
            .collect()
    }
}

/// In four bytes. Texts that are longer are not used: see [`Texts::fill`].
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
