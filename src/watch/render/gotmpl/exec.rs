//! Runs a program. Pure.
//!
//! Steps, loops and templates that run others stand in lists of their own; only expressions recurse, and the parser limits
//! their depth. What a template may do has an end: the number of steps, of templates that wait for each other, of bytes.

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Command, Independent, Pipe, Span, Step, Word, WordKind};
use super::functions::{Function, Run};
use super::memory::Memory;
use super::notes::Note;
use super::parser::Shared;
use super::printf;
use super::rounds::{self, Call, Last, Recording};
use super::value::{IntType, List, Map, Record, Value};
use super::{Failure, Inputs, LARGEST, MOST_CALLS, MOST_INCLUDES, MOST_STEPS, NO_VALUE, Others};

type Evaluated = Result<Value, Box<Failure>>;

/// A render.
pub(super) struct Exec<'r> {
    pub(super) inputs: Option<&'r Inputs>,
    others: &'r Others,
    included: HashMap<String, Shared>,
    /// How many includes wait for each other.
    depth: usize,
    steps: usize,
    /// None if nothing can be kept.
    memory: Option<Memory<'r>>,
}

/// One file's text in the making.
struct FileRun<'p> {
    program: &'p Shared,
    out: String,
    frames: Vec<Frame>,
    /// The dots, of all frames; the last is the one that counts.
    dots: Vec<Value>,
    loops: Vec<Loop>,
    variables: Vec<Value>,
}

/// A template that runs.
struct Frame {
    template: usize,
    step: usize,
    dots: usize,
    loops: usize,
    variables: usize,
}

/// A loop that goes on.
struct Loop {
    items: Items,
    sets: Range,
    dots: usize,
}

/// The places of the loop's variables, from its pipeline.
struct Range {
    key: Option<usize>,
    item: Option<usize>,
}

/// The items that a loop has not come to yet.
enum Items {
    List(Arc<List>, usize),
    Map(Vec<(Arc<str>, Value)>),
    Count(i64, i64),
    /// The innermost loop that is recorded has them.
    Recorded,
}

impl Items {
    fn next(&mut self) -> Option<(Value, Value)> {
        match self {
            Self::List(list, at) => {
                let item = list.items.get(*at)?.clone();
                *at += 1;
                let place = i64::try_from(*at - 1).unwrap_or(i64::MAX);
                Some((Value::int(place), item))
            }
            // `entries` has put the first entry last.
            Self::Map(entries) => entries.pop().map(|(key, value)| (Value::Text(key), value)),
            Self::Count(at, end) => {
                let now = *at;
                *at += 1;
                (now < *end).then(|| (Value::int(now), Value::int(now)))
            }
            Self::Recorded => None,
        }
    }
}

impl<'r> Exec<'r> {
    pub(super) fn new(
        inputs: Option<&'r Inputs>,
        others: &'r Others,
        memory: Option<Memory<'r>>,
    ) -> Self {
        Self {
            inputs,
            others,
            included: HashMap::new(),
            depth: 0,
            steps: 0,
            memory,
        }
    }

    pub(super) fn into_memory(self) -> Option<Memory<'r>> {
        self.memory
    }

    /// The text of a file.
    pub(super) fn file(&mut self, program: &Shared, data: Value) -> Result<String, Box<Failure>> {
        let mut run = FileRun {
            program,
            out: String::with_capacity(self.expected_length()),
            frames: Vec::new(),
            dots: Vec::new(),
            loops: Vec::new(),
            variables: Vec::new(),
        };
        run.enter(program.main, data);
        while let Some((frame, step)) = run.next_step() {
            self.step(&mut run, frame, step)?;
        }
        Ok(run.out)
    }

    fn spend(&mut self, program: &Shared, span: Span) -> Result<(), Box<Failure>> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            let what = format!("the template does not end: it has taken {MOST_STEPS} steps");
            return Err(Failure::at(program, span, &what));
        }
        Ok(())
    }

    fn step<'p>(
        &mut self,
        run: &mut FileRun<'p>,
        frame: usize,
        step: &'p Step,
    ) -> Result<(), Box<Failure>> {
        match step {
            Step::Text(text) => run.out.push_str(text),
            Step::Jump(to) => run.go(*to),
            Step::Print(pipe) => {
                let value = self.pipe(run, pipe)?;
                if pipe.sets.is_empty() {
                    run.print(&value, pipe)?;
                }
            }
            Step::Unless(pipe, to) => {
                if !self.pipe(run, pipe)?.is_true() {
                    run.go(*to);
                }
            }
            Step::With(pipe, to) => {
                let value = self.pipe(run, pipe)?;
                if value.is_true() {
                    run.dots.push(value);
                } else {
                    run.go(*to);
                }
            }
            Step::EndWith => drop(run.dots.pop()),
            Step::Range {
                pipe,
                to,
                independent,
                ..
            } => match self.begin_loop(run, pipe, independent.as_deref())? {
                Some(begun) => run.loops.push(begun),
                None => run.go(*to),
            },
            Step::Next(to) => {
                let is_recorded = run.is_loop_recorded();
                if is_recorded {
                    self.end_round(run);
                }
                self.spend(run.program, Span { start: 0, end: 0 })?;
                if is_recorded {
                    self.next_round(run, *to);
                } else {
                    run.next_item(*to);
                }
            }
            Step::Break(to) => {
                run.leave_loop();
                run.go(*to);
            }
            Step::Continue(to) => run.go(*to),
            Step::Template { name, data, span } => {
                let data = match data {
                    Some(pipe) => self.pipe(run, pipe)?,
                    None => Value::Missing,
                };
                self.spend(run.program, *span)?;
                run.call(name, data, *span)?;
            }
        }
        if run.out.len() > LARGEST {
            let what = format!("the file would be larger than {LARGEST} bytes");
            let span = Span { start: 0, end: 0 };
            let _ = frame;
            return Err(Failure::at(run.program, span, &what));
        }
        Ok(())
    }

    // Loops whose rounds are recorded. The text and the steps of a round that need not run are those of the last render, so a
    // render fails at the same place as one that knows nothing of the last.

    /// The length that the file probably gets.
    fn expected_length(&self) -> usize {
        let memory = self.memory.as_ref().filter(|_| self.depth == 0);
        memory.map_or(0, Memory::expected_length)
    }

    /// The loop over a pipeline's value; none if the value has no items.
    fn begin_loop(
        &mut self,
        run: &mut FileRun<'_>,
        pipe: &Pipe,
        independent: Option<&Independent>,
    ) -> Result<Option<Loop>, Box<Failure>> {
        let may_be_recorded = self.depth == 0 && self.memory.as_ref().is_some_and(Memory::has_room);
        let call = independent.filter(|_| may_be_recorded).map(|loop_| Call {
            id: loop_.id,
            depth: run.frames.len(),
            outer: loop_
                .reads
                .iter()
                .map(|place| run.variable(*place))
                .collect(),
        });
        let Some(call) = call.filter(Call::is_comparable) else {
            let value = self.pipe(run, pipe)?;
            return run.items(&value, pipe);
        };
        let steps = self.steps;
        let last = self.memory.as_mut().and_then(|memory| memory.find(&call));
        let (items, head) = if let Some(last) = last.filter(|last| self.takes_head(last)) {
            let head = last.rounds.head.clone();
            (rounds::Items::Last(last.rounds), head)
        } else {
            let (value, head) = self.head(run, pipe)?;
            let Some(items) = rounds::Items::of(&value) else {
                return run.items(&value, pipe);
            };
            (items, head)
        };
        let head = (head, self.steps - steps);
        let start = (run.out.len(), self.steps);
        let by_index = independent.is_some_and(|loop_| loop_.reads_index);
        let recording = Recording::new(call, head, items, by_index, last, start);
        if let Some(memory) = &mut self.memory {
            memory.record(recording);
        }
        Ok(Some(run.new_loop(Items::Recorded, pipe)))
    }

    /// Whether the items of a loop are those of the last render.
    fn takes_head(&mut self, last: &Last<'_>) -> bool {
        let steps = self.steps + last.rounds.head_steps;
        let memory = self.memory.as_mut().filter(|_| steps <= MOST_STEPS);
        let takes = memory.is_some_and(|memory| memory.takes_head(last.rounds));
        if takes {
            self.steps = steps;
        }
        takes
    }

    /// The value of a loop's pipeline, and what it has read.
    fn head(
        &mut self,
        run: &mut FileRun<'_>,
        pipe: &Pipe,
    ) -> Result<(Value, Vec<Note>), Box<Failure>> {
        if let Some(memory) = &mut self.memory {
            memory.begin_head();
        }
        let value = self.pipe(run, pipe)?;
        let head = self.memory.as_mut().map(Memory::end_head);
        Ok((value, head.unwrap_or_default()))
    }

    /// Ends the round of a recorded loop that has run, and takes those over that need not run.
    fn end_round(&mut self, run: &mut FileRun<'_>) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        if let Some((recording, _)) = memory.recording() {
            recording.finish_round(run.out.len(), self.steps);
        }
        while let Some((recording, hits)) = memory.recording()
            && let Some((last, rounds)) = recording.find_reusable(hits)
        {
            let (text, steps) = last.cost(&rounds);
            if run.out.len() + text.len() > LARGEST || self.steps + steps > MOST_STEPS {
                // One of these rounds comes to a limit, and has to say so.
                return recording.reuse_no_more();
            }
            recording.reuse(last, rounds);
            self.steps += steps;
            run.out.push_str(memory.last_text(text));
        }
    }

    /// Begins the next round of a recorded loop, or leaves the loop.
    fn next_round(&mut self, run: &mut FileRun<'_>, end: usize) {
        let Some(memory) = &mut self.memory else {
            return run.go(end);
        };
        let next = memory
            .recording()
            .and_then(|(recording, _)| recording.begin_round());
        if let Some((index, item)) = next {
            memory.ran += 1;
            let index = i64::try_from(index).unwrap_or(i64::MAX);
            run.begin_round(Value::int(index), item);
        } else {
            memory.end_recording();
            run.leave_loop();
            run.go(end);
        }
    }

    // Expressions.

    /// A pipeline's value, which its variables are given too.
    fn pipe(&mut self, run: &mut FileRun<'_>, pipe: &Pipe) -> Evaluated {
        let value = self.evaluate(run, pipe)?;
        for place in &pipe.sets {
            run.set(*place, value.clone());
        }
        Ok(value)
    }

    fn evaluate(&mut self, run: &FileRun<'_>, pipe: &Pipe) -> Evaluated {
        self.spend(run.program, pipe.span)?;
        let mut last = None;
        for command in &pipe.commands {
            let value = self.command(run, command, last)?;
            last = Some(match value {
                Value::Nil => Value::Missing,
                value => value,
            });
        }
        Ok(last.unwrap_or(Value::Missing))
    }

    fn command(&mut self, run: &FileRun<'_>, command: &Command, last: Option<Value>) -> Evaluated {
        let [first, args @ ..] = &command.words[..] else {
            return Ok(Value::Missing);
        };
        let fail = |what: &str| Failure::at(run.program, command.span, what);
        match &first.kind {
            WordKind::Function(function) => {
                return self.call(run, function, args, last, command.span);
            }
            WordKind::Field(names) => {
                return self.fields(run, run.dot(), names, args, last.as_ref(), command.span);
            }
            WordKind::Variable(place, names) if !names.is_empty() => {
                let value = run.variable(*place);
                return self.fields(run, &value, names, args, last.as_ref(), command.span);
            }
            WordKind::Chain(inner, names) => {
                let value = self.word(run, inner)?;
                return self.fields(run, &value, names, args, last.as_ref(), command.span);
            }
            _ => {}
        }
        if !args.is_empty() || last.is_some() {
            let word = run.source(first.span);
            return Err(fail(&format!("can't give argument to non-function {word}")));
        }
        if matches!(first.kind, WordKind::Nil) {
            return Err(fail("nil is not a command"));
        }
        self.word(run, first)
    }

    /// An operand that stands for itself.
    fn word(&mut self, run: &FileRun<'_>, word: &Word) -> Evaluated {
        match &word.kind {
            WordKind::Dot => Ok(run.dot().clone()),
            WordKind::Nil => Ok(Value::Nil),
            WordKind::Constant(value) => Ok(value.clone()),
            WordKind::Number(number) => number
                .plain
                .clone()
                .ok_or_else(|| Failure::at(run.program, word.span, "the number overflows int")),
            WordKind::Field(names) => self.fields(run, run.dot(), names, &[], None, word.span),
            WordKind::Variable(place, names) => {
                let value = run.variable(*place);
                self.fields(run, &value, names, &[], None, word.span)
            }
            WordKind::Function(function) => self.call(run, function, &[], None, word.span),
            WordKind::Chain(inner, names) => {
                let value = self.word(run, inner)?;
                self.fields(run, &value, names, &[], None, word.span)
            }
            WordKind::Parenthesis(pipe) => self.evaluate(run, pipe),
        }
    }

    /// `.a.b`: only the last may be a method, which takes the arguments.
    fn fields(
        &mut self,
        run: &FileRun<'_>,
        value: &Value,
        names: &[Box<str>],
        args: &[Word],
        last: Option<&Value>,
        span: Span,
    ) -> Evaluated {
        let fail = |what: &str| Failure::at(run.program, span, what);
        let mut value = value.clone();
        let count = names.len();
        for (at, name) in names.iter().enumerate() {
            let is_last = at + 1 == count;
            let has_args = is_last && (!args.is_empty() || last.is_some());
            value = match &value {
                Value::Time(date) => {
                    let mut given = Vec::new();
                    if is_last {
                        for word in args {
                            given.push(self.word(run, word)?);
                        }
                        given.extend(last.cloned());
                    }
                    date.call(name, &given).map_err(|what| fail(&what))?
                }
                Value::Missing => Value::Missing,
                _ if has_args => {
                    let what = format!("{name} is not a method but has arguments");
                    return Err(fail(&what));
                }
                value => field(value, name).map_err(|what| fail(&what))?,
            };
        }
        Ok(value)
    }

    fn call(
        &mut self,
        run: &FileRun<'_>,
        function: &Function,
        words: &[Word],
        last: Option<Value>,
        span: Span,
    ) -> Evaluated {
        let fail = |what: String| Failure::at(run.program, span, &what);
        let given = words.len() + usize::from(last.is_some());
        function.check_count(given).map_err(fail)?;
        if let Run::And | Run::Or = function.run {
            let stops_at = matches!(function.run, Run::Or);
            let mut value = Value::Missing;
            for word in words {
                value = self.word(run, word)?;
                if value.is_true() == stops_at {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut args = Vec::with_capacity(given);
        for (at, word) in words.iter().enumerate() {
            args.push(self.argument(run, function, at, word)?);
        }
        if let Some(last) = last {
            let last = if let Value::Missing = last {
                Value::Nil
            } else {
                last
            };
            function.check_type(args.len(), &last).map_err(fail)?;
            args.push(last);
        }
        match function.run {
            Run::Plain(body) => body(&args).map_err(fail),
            Run::Asking(body) | Run::Host(body) | Run::Store(_, body) => match self.inputs {
                Some(inputs) => {
                    self.note(function, &args);
                    body(inputs, &args).map_err(fail)
                }
                None => Err(fail(format!("{} has nothing to ask here", function.name))),
            },
            Run::Include => self.include(run, &args, span),
            Run::And | Run::Or => Ok(Value::Missing),
        }
    }

    /// Takes a note of what a function asks the store.
    fn note(&mut self, function: &Function, args: &[Value]) {
        if let (Some(memory), Run::Store(reads, _), Some(Value::Text(asked))) =
            (&mut self.memory, function.run, args.first())
            && memory.is_taking_notes()
            && let Some(note) = reads.note(asked)
        {
            memory.note(note);
        }
    }

    fn argument(
        &mut self,
        run: &FileRun<'_>,
        function: &Function,
        at: usize,
        word: &Word,
    ) -> Evaluated {
        let fail = |what: String| Failure::at(run.program, word.span, &what);
        if let (WordKind::Number(number), b'i') = (&word.kind, function.kind_of(at)) {
            // `1.0` is an int where one is wanted.
            let int = number.int.map(|int| Value::Int(int, IntType::Int));
            return int
                .ok_or_else(|| fail(format!("expected integer; found {}", run.source(word.span))));
        }
        let value = match self.word(run, word)? {
            Value::Missing => Value::Nil,
            value => value,
        };
        function.check_type(at, &value).map_err(fail)?;
        Ok(value)
    }

    fn include(&mut self, run: &FileRun<'_>, args: &[Value], span: Span) -> Evaluated {
        let fail = |what: &str| Failure::at(run.program, span, what);
        let (Some(Value::Text(name)), data) = (args.first(), args.get(1)) else {
            return Err(fail("include takes the name of a template"));
        };
        if args.len() > 2 {
            return Err(fail("wrong number of args for include: want 1 or 2"));
        }
        if self.depth == MOST_INCLUDES {
            return Err(fail(&format!(
                "more than {MOST_INCLUDES} includes wait for each other"
            )));
        }
        let program = if let Some(program) = self.included.get(&**name) {
            Arc::clone(program)
        } else {
            let program = self.others.compile(name, run.program, span)?;
            self.included
                .insert(name.as_ref().to_owned(), Arc::clone(&program));
            program
        };
        self.depth += 1;
        let text = self.file(&program, data.cloned().unwrap_or(Value::Missing));
        self.depth -= 1;
        Ok(text?.into())
    }
}

impl<'p> FileRun<'p> {
    fn next_step(&mut self) -> Option<(usize, &'p Step)> {
        loop {
            let frame = self.frames.last_mut()?;
            let steps = &self.program.templates[frame.template].list;
            if let Some(step) = steps.get(frame.step) {
                frame.step += 1;
                return Some((self.frames.len(), step));
            }
            self.dots.truncate(frame.dots);
            self.loops.truncate(frame.loops);
            self.variables.truncate(frame.variables);
            self.frames.pop();
        }
    }

    fn enter(&mut self, template: usize, data: Value) {
        self.frames.push(Frame {
            template,
            step: 0,
            dots: self.dots.len(),
            loops: self.loops.len(),
            variables: self.variables.len(),
        });
        let count = self.variables.len() + self.program.templates[template].variables;
        self.variables.push(data.clone());
        self.variables.resize(count, Value::Missing);
        self.dots.push(data);
    }

    fn go(&mut self, step: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.step = step;
        }
    }

    fn dot(&self) -> &Value {
        self.dots.last().unwrap_or(&Value::Missing)
    }

    fn index_of(&self, variable: usize) -> usize {
        variable + self.frames.last().map_or(0, |frame| frame.variables)
    }

    fn variable(&self, variable: usize) -> Value {
        let value = self.variables.get(self.index_of(variable));
        value.cloned().unwrap_or(Value::Missing)
    }

    fn set(&mut self, variable: usize, value: Value) {
        let place = self.index_of(variable);
        if let Some(own) = self.variables.get_mut(place) {
            *own = value;
        }
    }

    fn source(&self, span: Span) -> &str {
        self.program
            .source
            .get(span.start..span.end)
            .unwrap_or_default()
    }

    fn print(&mut self, value: &Value, pipe: &Pipe) -> Result<(), Box<Failure>> {
        match value {
            Value::Text(text) => self.out.push_str(text),
            Value::Missing | Value::Nil => self.out.push_str(NO_VALUE),
            value => {
                let written = printf::write_plain(&mut self.out, value);
                written.map_err(|what| Failure::at(self.program, pipe.span, &what))?;
            }
        }
        Ok(())
    }

    /// The loop over a value; none if the value has no items.
    fn items(&self, value: &Value, pipe: &Pipe) -> Result<Option<Loop>, Box<Failure>> {
        let items = match value {
            Value::List(list) if list.items.is_empty() => None,
            Value::List(list) => Some(Items::List(Arc::clone(list), 0)),
            Value::Map(map) => entries(map),
            Value::Int(count, IntType::Int) if pipe.sets.len() < 2 => {
                (*count > 0).then_some(Items::Count(0, *count))
            }
            // Go treats a missing value as an empty list.
            Value::Missing => None,
            other => {
                let name = other.type_name();
                let what = format!("range can't iterate over a value of type {name}");
                return Err(Failure::at(self.program, pipe.span, &what));
            }
        };
        Ok(items.map(|items| self.new_loop(items, pipe)))
    }

    fn new_loop(&self, items: Items, pipe: &Pipe) -> Loop {
        let (key, item) = match pipe.sets[..] {
            [] => (None, None),
            [item] => (None, Some(item)),
            [key, item, ..] => (Some(key), Some(item)),
        };
        Loop {
            items,
            sets: Range { key, item },
            dots: self.dots.len(),
        }
    }

    fn is_loop_recorded(&self) -> bool {
        let last = self.loops.last();
        last.is_some_and(|last| matches!(last.items, Items::Recorded))
    }

    fn next_item(&mut self, end: usize) {
        let next = self.loops.last_mut().and_then(|last| last.items.next());
        if let Some((index, item)) = next {
            self.begin_round(index, item);
        } else {
            self.leave_loop();
            self.go(end);
        }
    }

    fn begin_round(&mut self, index: Value, item: Value) {
        let Some(last) = self.loops.last() else {
            return;
        };
        let (dots, key, place) = (last.dots, last.sets.key, last.sets.item);
        self.dots.truncate(dots);
        if let Some(place) = key {
            self.set(place, index);
        }
        if let Some(place) = place {
            self.set(place, item.clone());
        }
        self.dots.push(item);
    }

    fn leave_loop(&mut self) {
        if let Some(last) = self.loops.pop() {
            self.dots.truncate(last.dots);
        }
    }

    fn call(&mut self, name: &str, data: Value, span: Span) -> Result<(), Box<Failure>> {
        let fail = |what: &str| Failure::at(self.program, span, what);
        let Some(template) = self.program.by_name.get(name) else {
            return Err(fail(&format!("template {name:?} not defined")));
        };
        if self.frames.len() >= MOST_CALLS {
            let what = format!(
                "more than {MOST_CALLS} templates wait for each other: {name:?} runs itself without an end"
            );
            return Err(fail(&what));
        }
        self.enter(*template, data);
        Ok(())
    }
}

fn entries(map: &Map) -> Option<Items> {
    let entries = map.0.iter().rev();
    let entries: Vec<_> = entries
        .map(|(key, value)| (Arc::clone(key), value.clone()))
        .collect();
    (!entries.is_empty()).then_some(Items::Map(entries))
}

/// A field of a map or a struct.
pub(super) fn field(value: &Value, name: &str) -> Result<Value, String> {
    match value {
        Value::Map(map) => Ok(map.0.get(name).cloned().unwrap_or(Value::Missing)),
        Value::Record(record) => {
            let field = Record::field(record, name).cloned();
            field
                .ok_or_else(|| format!("can't evaluate field {name} in type {}", value.type_name()))
        }
        Value::Nil => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        other => Err(format!(
            "can't evaluate field {name} in type {}",
            other.type_name()
        )),
    }
}
