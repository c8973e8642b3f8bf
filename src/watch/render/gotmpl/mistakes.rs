//! What is wrong with a template whatever the store holds: every branch is followed with the types of values in place of
//! values. What is known of a type is certain, so this file reports nothing that could be right. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ast::{Command, Pipe, Program, Span, Step, Word, WordKind};
use super::exec::field;
use super::functions::{Function, Run};
use super::parser::Shared;
use super::value::{IntType, ListType, Record, RecordType, Value};
use super::{Failure, Others};
use crate::watch::render::error::Fault;

/// A value of the type that something has; none if it may be of several.
type Known = Option<Value>;

/// What is known where a step begins.
#[derive(Clone)]
struct State {
    dots: Vec<Known>,
    variables: Vec<Known>,
    loops: Vec<Loop>,
}

#[derive(Clone)]
struct Loop {
    sets: Vec<usize>,
    key: Known,
    item: Known,
    dots: usize,
}

/// What is wrong with a file, and with those that it includes.
pub(super) fn mistakes(program: &Shared, others: &Others) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::from([program.file.to_string()]);
    let mut next = vec![program.clone()];
    while let Some(program) = next.pop() {
        let mut file = File {
            program: &program,
            faults: Vec::new(),
            calls: Vec::new(),
            includes: Vec::new(),
        };
        file.check_all();
        let File {
            mut faults,
            includes,
            ..
        } = file;
        for (name, span) in includes {
            match others.compile(&name, &program, span) {
                Ok(other) if seen.insert(name) => next.push(other),
                Ok(_) => {}
                Err(failure) => faults.push(failure.0),
            }
        }
        found.append(&mut faults);
    }
    found
}

/// A file that is looked through.
struct File<'p> {
    program: &'p Shared,
    faults: Vec<Fault>,
    /// The templates of the file that are run.
    calls: Vec<usize>,
    /// The files that are included by a name that stands there.
    includes: Vec<(String, Span)>,
}

impl File<'_> {
    fn check_all(&mut self) {
        let program: &Program = self.program;
        let mut seen = BTreeSet::new();
        let mut next = vec![program.main];
        while let Some(template) = next.pop() {
            if seen.insert(template) {
                self.template(template);
                next.append(&mut self.calls);
            }
        }
    }

    /// Follows all ways through a template until nothing new is known, and then looks for what is wrong on them.
    fn template(&mut self, template: usize) {
        let program: &Program = self.program;
        let steps = &program.templates[template];
        let mut states: Vec<Option<State>> = vec![None; steps.list.len() + 1];
        let mut open = vec![0];
        states[0] = Some(State {
            // A template can be run with anything.
            dots: vec![None],
            variables: vec![None; steps.variables],
            loops: Vec::new(),
        });
        let (reported, included) = (self.faults.len(), self.includes.len());
        while let Some(at) = open.pop() {
            let (Some(step), Some(state)) = (steps.list.get(at), states[at].clone()) else {
                continue;
            };
            for (to, state) in self.step(at, step, state) {
                if merge(&mut states[to], state) {
                    open.push(to);
                }
            }
        }
        // Faults that were found before all types were known may be none.
        self.faults.truncate(reported);
        self.calls.clear();
        self.includes.truncate(included);
        for (at, step) in steps.list.iter().enumerate() {
            if let Some(state) = states[at].take() {
                self.step(at, step, state);
            }
        }
    }

    /// Returns the steps that may follow this one, with what is known at each of them.
    fn step(&mut self, at: usize, step: &Step, mut state: State) -> Vec<(usize, State)> {
        match step {
            Step::Text(_) => {}
            Step::Jump(to) | Step::Continue(to) => return vec![(*to, state)],
            Step::Print(pipe) => drop(self.pipe(&mut state, pipe)),
            Step::Unless(pipe, to) => {
                self.pipe(&mut state, pipe);
                return vec![(at + 1, state.clone()), (*to, state)];
            }
            Step::With(pipe, to) => {
                let value = self.pipe(&mut state, pipe);
                let without = state.clone();
                state.dots.push(value);
                return vec![(at + 1, state), (*to, without)];
            }
            Step::EndWith => drop(state.dots.pop()),
            Step::Range { pipe, to, .. } => {
                let value = self.evaluate(&state, pipe);
                let without = state.clone();
                let (key, item) = self.items(value.as_ref(), pipe);
                let (sets, dots) = (pipe.sets.clone(), state.dots.len());
                state.loops.push(Loop {
                    sets,
                    key,
                    item,
                    dots,
                });
                return vec![(at + 1, state), (*to, without)];
            }
            Step::Next(to) => {
                let Some(last) = state.loops.last().cloned() else {
                    return vec![(*to, state)];
                };
                state.dots.truncate(last.dots);
                let mut done = state.clone();
                done.loops.pop();
                match last.sets[..] {
                    [] => {}
                    [item] => set(&mut state, item, last.item.clone()),
                    [key, item, ..] => {
                        set(&mut state, key, last.key);
                        set(&mut state, item, last.item.clone());
                    }
                }
                state.dots.push(last.item);
                return vec![(at + 1, state), (*to, done)];
            }
            Step::Break(to) => {
                if let Some(last) = state.loops.pop() {
                    state.dots.truncate(last.dots);
                }
                return vec![(*to, state)];
            }
            Step::Template { name, data, span } => {
                if let Some(pipe) = data {
                    self.pipe(&mut state, pipe);
                }
                match self.program.by_name.get(name) {
                    Some(template) => self.calls.push(*template),
                    None => self.report(*span, &format!("template {name:?} not defined")),
                }
            }
        }
        vec![(at + 1, state)]
    }

    fn items(&mut self, value: Option<&Value>, pipe: &Pipe) -> (Known, Known) {
        let int = Some(Value::int(0));
        match value {
            Some(Value::List(list)) => (int, list.items.first().cloned()),
            Some(Value::Int(..)) => (int.clone(), int),
            Some(other) => {
                let name = other.type_name();
                let what = format!("range can't iterate over a value of type {name}");
                self.report(pipe.span, &what);
                (None, None)
            }
            None => (None, None),
        }
    }

    fn report(&mut self, span: Span, what: &str) {
        self.faults.push(Failure::at(self.program, span, what).0);
    }

    fn pipe(&mut self, state: &mut State, pipe: &Pipe) -> Known {
        let value = self.evaluate(state, pipe);
        for place in &pipe.sets {
            set(state, *place, value.clone());
        }
        value
    }

    fn evaluate(&mut self, state: &State, pipe: &Pipe) -> Known {
        let mut last: Option<Known> = None;
        for command in &pipe.commands {
            last = Some(self.command(state, command, last));
        }
        last.flatten()
    }

    fn command(&mut self, state: &State, command: &Command, last: Option<Known>) -> Known {
        let (first, args) = command.words.split_first()?;
        let has_args = !args.is_empty() || last.is_some();
        match &first.kind {
            WordKind::Function(function) => self.call(state, function, args, last, command.span),
            WordKind::Field(_) | WordKind::Chain(..) => {
                self.arguments(state, args);
                self.operand(state, first, has_args, command.span)
            }
            WordKind::Variable(_, names) if !names.is_empty() => {
                self.arguments(state, args);
                self.operand(state, first, has_args, command.span)
            }
            _ => {
                if has_args {
                    let word = self.source(first.span);
                    let what = format!("can't give argument to non-function {word}");
                    self.report(command.span, &what);
                }
                self.word(state, first)
            }
        }
    }

    fn arguments(&mut self, state: &State, words: &[Word]) {
        for word in words {
            self.word(state, word);
        }
    }

    fn word(&mut self, state: &State, word: &Word) -> Known {
        self.operand(state, word, false, word.span)
    }

    fn operand(&mut self, state: &State, word: &Word, has_args: bool, span: Span) -> Known {
        match &word.kind {
            WordKind::Dot => state.dots.last().cloned().flatten(),
            WordKind::Nil => None,
            WordKind::Constant(value) => Some(value.clone()),
            WordKind::Number(number) => match &number.plain {
                Some(int @ Value::Int(..)) => Some(int.clone()),
                Some(_) | None => None,
            },
            WordKind::Field(names) => {
                let dot = state.dots.last().cloned().flatten();
                self.fields(dot, names, has_args, span)
            }
            WordKind::Variable(place, names) => {
                let value = state.variables.get(*place).cloned().flatten();
                self.fields(value, names, has_args, span)
            }
            WordKind::Function(function) => self.call(state, function, &[], None, span),
            WordKind::Chain(inner, names) => {
                let value = self.word(state, inner);
                self.fields(value, names, has_args, span)
            }
            WordKind::Parenthesis(pipe) => self.evaluate(state, pipe),
        }
    }

    fn fields(&mut self, value: Known, names: &[Box<str>], has_args: bool, span: Span) -> Known {
        let mut value = value;
        for (at, name) in names.iter().enumerate() {
            let of = value?;
            let takes = has_args && at + 1 == names.len();
            let given = if takes {
                Err(format!("{name} is not a method but has arguments"))
            } else {
                field(&of, name)
            };
            value = match given {
                Ok(value) => Some(value),
                Err(what) => {
                    self.report(span, &what);
                    None
                }
            };
        }
        value
    }

    fn call(
        &mut self,
        state: &State,
        function: &Function,
        words: &[Word],
        last: Option<Known>,
        span: Span,
    ) -> Known {
        let given = words.len() + usize::from(last.is_some());
        if let Err(what) = function.check_count(given) {
            self.report(span, &what);
            return None;
        }
        let is_written_int = |at: usize, word: &Word| {
            matches!(&word.kind, WordKind::Number(number) if number.int.is_some())
                && function.kind_of(at) == b'i'
        };
        let mut args: Vec<Known> = Vec::with_capacity(given);
        for (at, word) in words.iter().enumerate() {
            let value = self.word(state, word);
            if let Some(value) = value.as_ref().filter(|_| !is_written_int(at, word))
                && let Err(what) = function.check_type(at, value)
            {
                self.report(word.span, &what);
            }
            args.push(value);
        }
        if let Some(last) = last {
            if let Some(value) = &last
                && let Err(what) = function.check_type(args.len(), value)
            {
                self.report(span, &what);
            }
            args.push(last);
        }
        if let (Run::Include, Some(word)) = (function.run, words.first())
            && let WordKind::Constant(Value::Text(name)) = &word.kind
        {
            self.includes.push((name.as_ref().to_owned(), span));
        }
        result(function.name, args)
    }

    fn source(&self, span: Span) -> &str {
        let source = self.program.source.get(span.start..span.end);
        source.unwrap_or_default()
    }
}

/// The type of what a function gives.
fn result(name: &str, mut args: Vec<Known>) -> Known {
    let text = || Value::from("");
    let list = |of, item| Some(Value::list(of, vec![item]));
    match name {
        "getv" if args.len() > 1 => args.pop()?.filter(|value| matches!(value, Value::Text(_))),
        "getv" | "getenv" | "base" | "dir" | "toUpper" | "toLower" | "trimPrefix"
        | "trimSuffix" | "replace" | "join" | "printf" | "print" | "println" | "base64Encode"
        | "base64Decode" | "sha256sum" | "include" => Some(text()),
        "ls" | "lsdir" | "getvs" | "split" | "lookupIP" | "lookupIPV4" | "lookupIPV6" => {
            list(ListType::Texts, text())
        }
        "exists" | "contains" | "hasPrefix" | "hasSuffix" | "not" | "eq" | "ne" | "lt" | "le"
        | "gt" | "ge" | "fileExists" | "parseBool" => Some(false.into()),
        "len" | "atoi" | "add" | "sub" | "mul" | "div" | "mod" => Some(Value::int(0)),
        "seq" => list(ListType::Ints, Value::int(0)),
        "get" => Some(Value::pair("", "")),
        "gets" => list(ListType::NamedPairs, Value::pair("", "")),
        "sortKVByLength" => list(ListType::Pairs, Value::pair("", "")),
        "lookupSRV" => list(ListType::Services, service()),
        "reverse" => args.pop()?,
        "index" if args.len() == 2 => match args.swap_remove(0)? {
            Value::List(list) => list.items.first().cloned(),
            _ => None,
        },
        _ => None,
    }
}

fn service() -> Value {
    let number = || Value::Int(0, IntType::Uint16);
    let fields = vec![
        ("Target", "".into()),
        ("Port", number()),
        ("Priority", number()),
        ("Weight", number()),
    ];
    let of = RecordType::Service;
    Value::Record(Arc::new(Record { of, fields }))
}

fn set(state: &mut State, place: usize, value: Known) {
    if let Some(own) = state.variables.get_mut(place) {
        *own = value;
    }
}

/// Joins what is known on two ways; whether that is less than before.
fn merge(into: &mut Option<State>, from: State) -> bool {
    let Some(own) = into else {
        *into = Some(from);
        return true;
    };
    // A loop's next round begins with the dots of before it, wherever the last one ended.
    let mut less = own.dots.len() > from.dots.len();
    own.dots.truncate(from.dots.len());
    let pairs = own.dots.iter_mut().zip(&from.dots);
    for (own, from) in pairs.chain(own.variables.iter_mut().zip(&from.variables)) {
        less |= forget(own, from.as_ref());
    }
    for (own, from) in own.loops.iter_mut().zip(&from.loops) {
        less |= forget(&mut own.item, from.item.as_ref());
        less |= forget(&mut own.key, from.key.as_ref());
    }
    less
}

fn forget(own: &mut Known, other: Option<&Value>) -> bool {
    let of = own.as_ref().map(Value::type_name);
    let forgets = of.is_some() && of != other.map(Value::type_name);
    if forgets {
        *own = None;
    }
    forgets
}
