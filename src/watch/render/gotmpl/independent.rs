//! Which loops of a program have rounds that do not depend on each other: what such a round prints depends on its item, on
//! values from outside the loop and on what it asks the store, so it need not run again while these are the same. Pure.

use std::collections::BTreeSet;

use super::ast::{Independent, Pipe, Program, Step, Word, WordKind};
use super::functions::Run;

/// Loops in more loops than that are not looked at: that would take longer than it saves.
const DEEPEST: usize = 8;

/// Marks the loops of a program whose rounds do not depend on each other.
pub(super) fn mark(program: &mut Program) {
    let steady = steady(program);
    let mut found = Vec::new();
    for (template, steps) in program.templates.iter().enumerate() {
        let mut ends: Vec<usize> = Vec::new();
        for (at, step) in steps.list.iter().enumerate() {
            let Step::Range { to, .. } = step else {
                continue;
            };
            ends.retain(|end| at < *end);
            ends.push(*to);
            if ends.len() <= DEEPEST
                && let Some(independent) = look(program, &steady, &steps.list, at, found.len())
            {
                found.push((template, at, independent));
            }
        }
    }
    for (template, at, found) in found {
        if let Step::Range { independent, .. } = &mut program.templates[template].list[at] {
            *independent = Some(Box::new(found));
        }
    }
}

/// Which templates give the same for the same data while the store does not change: they ask neither the host nor for the
/// time, and include nothing, nor do those that they run.
fn steady(program: &Program) -> Vec<bool> {
    let count = program.templates.len();
    let (mut steady, mut callers) = (vec![true; count], vec![Vec::new(); count]);
    let mut unsteady = Vec::new();
    for (template, steps) in program.templates.iter().enumerate() {
        let mut look = Look::default();
        for step in &steps.list {
            look.step(step);
        }
        let called = look.calls.iter();
        for called in called.filter_map(|name| program.by_name.get(*name)) {
            callers[*called].push(template);
        }
        if !look.is_steady {
            unsteady.push(template);
        }
    }
    while let Some(template) = unsteady.pop() {
        if std::mem::replace(&mut steady[template], false) {
            unsteady.append(&mut callers[template]);
        }
    }
    steady
}

fn look(
    program: &Program,
    steady: &[bool],
    steps: &[Step],
    at: usize,
    id: usize,
) -> Option<Independent> {
    let Some(Step::Range {
        pipe, to, outer, ..
    }) = steps.get(at)
    else {
        return None;
    };
    let mut look = Look {
        outer: *outer,
        ..Look::default()
    };
    look.pipe(pipe);
    // `Next` stands between the two.
    let body = steps.get(at + 2..*to)?;
    for step in body {
        look.step(step);
    }
    let leaves = |step: &Step| matches!(step, Step::Break(end) if end >= to);
    let mut called = look.calls.iter().map(|name| program.by_name.get(*name));
    let is_independent = look.is_steady
        && !look.sets_outer
        && !body.iter().any(leaves)
        && called.all(|called| called.is_none_or(|called| steady[*called]));
    let index = pipe.sets.first().filter(|_| pipe.sets.len() > 1);
    is_independent.then(|| Independent {
        id,
        reads_index: index.is_some_and(|index| look.reads.contains(index)),
        reads: look.reads.range(..outer).copied().collect(),
    })
}

/// What steps do.
struct Look<'p> {
    /// So many variables are declared around them.
    outer: usize,
    reads: BTreeSet<usize>,
    sets_outer: bool,
    /// Whether they give the same while nothing changes that they read.
    is_steady: bool,
    /// The templates that they run.
    calls: BTreeSet<&'p str>,
}

impl Default for Look<'_> {
    fn default() -> Self {
        Self {
            outer: 0,
            reads: BTreeSet::new(),
            sets_outer: false,
            is_steady: true,
            calls: BTreeSet::new(),
        }
    }
}

impl<'p> Look<'p> {
    fn step(&mut self, step: &'p Step) {
        match step {
            Step::Print(pipe)
            | Step::Unless(pipe, _)
            | Step::With(pipe, _)
            | Step::Range { pipe, .. } => self.pipe(pipe),
            Step::Template { name, data, .. } => {
                self.calls.insert(name);
                if let Some(pipe) = data {
                    self.pipe(pipe);
                }
            }
            Step::Text(_)
            | Step::EndWith
            | Step::Next(_)
            | Step::Break(_)
            | Step::Continue(_)
            | Step::Jump(_) => {}
        }
    }

    fn pipe(&mut self, pipe: &Pipe) {
        self.sets_outer |= pipe.sets.iter().any(|place| *place < self.outer);
        for word in pipe.commands.iter().flat_map(|command| &command.words) {
            self.word(word);
        }
    }

    fn word(&mut self, word: &Word) {
        match &word.kind {
            WordKind::Variable(place, _) => drop(self.reads.insert(*place)),
            WordKind::Function(function) => {
                self.is_steady &= !matches!(function.run, Run::Host(_) | Run::Include);
            }
            WordKind::Chain(inner, _) => self.word(inner),
            WordKind::Parenthesis(pipe) => {
                // In parentheses a variable is not set, so what is read later is what it was before the round.
                self.is_steady &= pipe.sets.is_empty();
                self.pipe(pipe);
            }
            WordKind::Dot
            | WordKind::Nil
            | WordKind::Constant(_)
            | WordKind::Number(_)
            | WordKind::Field(_) => {}
        }
    }
}
