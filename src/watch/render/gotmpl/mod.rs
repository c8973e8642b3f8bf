//! The engine for `*.tmpl`: Go's text/template with confd's functions, as confd has them. Pure: what
//! `last_render` keeps changes no text.
//!
//! ```text
//! text ──▶ lexer ──▶ tokens ──▶ parser, expression ──▶ ast::Program ──▶ exec ──▶ text
//!                                                                        │
//!                                          functions, printf, json ◀── value
//! ```
//!
//! A render takes the text of a loop's rounds from the last one where nothing has changed that they had read: `independent`
//! says which loops may be kept so, `notes` what a round has read, `rounds` has the kept rounds of a loop, `memory` those of a
//! render, and `last_render` hands them from one render to the next.
//!
//! `ast` has a template as the parser leaves it, `literal` reads numbers and strings. Values can be times (`datetime`,
//! `time_methods`); keys are read as confd's own store has them (`memkv`). `mistakes` follows the same program with types in
//! place of values, for `sidekick check`.

mod ast;
mod datetime;
mod exec;
mod expression;
mod functions;
mod independent;
mod json;
mod last_render;
mod lexer;
mod literal;
mod memkv;
mod memory;
mod mistakes;
mod notes;
mod parser;
mod printf;
mod rounds;
#[cfg(test)]
mod tests;
mod time_methods;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::ast::Span;
use self::exec::Exec;
use self::functions::Library;
use self::last_render::LastRender;
use self::memory::Memory;
use self::parser::Shared;
use self::value::Value;
use super::error::Fault;
use super::keys::Keys;
use super::{Host, RenderError, View};

/// An action writes this where there is no value.
const NO_VALUE: &str = "<no value>";
/// More than any configuration file has; less than would harm the host.
const LARGEST: usize = if cfg!(test) { 4 << 20 } else { 256 << 20 };
/// So many templates may wait for each other at most; Go has the same limit.
const MOST_CALLS: usize = 100_000;
/// So many files may include each other at most.
const MOST_INCLUDES: usize = 10;
/// A render evaluates so many expressions at most, which takes it several seconds. Tests reach the limit sooner.
const MOST_STEPS: usize = if cfg!(test) { 1_000_000 } else { 50_000_000 };

/// A compiled template.
#[derive(Clone)]
pub(super) struct GoTemplate {
    program: Shared,
    others: Arc<Others>,
    last: Arc<LastRender>,
}

/// What the functions of one render know.
struct Inputs {
    target: String,
    keys: Keys,
    env: Arc<BTreeMap<String, String>>,
    host: Host,
}

/// The files that a template may include, by their names. They are compiled when they are asked for, so one that is wrong
/// harms nobody else.
#[derive(Default)]
struct Others(BTreeMap<String, Arc<str>>);

impl Others {
    fn compile(&self, name: &str, from: &Shared, span: Span) -> Result<Shared, Box<Failure>> {
        let Some(source) = self.0.get(name) else {
            let what = format!("there is no template {name:?} to include");
            return Err(Failure::at(from, span, &what));
        };
        compile(name, source, Library::Confd).map_err(|fault| Box::new(Failure(fault)))
    }
}

/// The reason why a render gave no text.
struct Failure(Fault);

impl Failure {
    /// A failure at an expression of a file.
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "an error that every expression may return is to be small"
    )]
    fn at(program: &Shared, span: Span, what: &str) -> Box<Self> {
        let (line, column) = position(&program.source, span.start);
        let expression = program.source.get(span.start..span.end).unwrap_or_default();
        let place = Some((program.file.to_string(), line));
        let message = if expression.is_empty() {
            what.to_owned()
        } else {
            format!("column {column}, at <{}>: {what}", shortened(expression))
        };
        Box::new(Self(Fault::new(place, &message)))
    }
}

/// An expression in one line, and not too long.
fn shortened(expression: &str) -> String {
    const MOST: usize = 80;
    let words: Vec<&str> = expression.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= MOST {
        return line;
    }
    line.chars().take(MOST).chain("…".chars()).collect()
}

/// The line and the column of a byte, counted from one.
fn position(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

fn compile(file: &str, source: &str, library: Library) -> Result<Shared, Fault> {
    // A template is called by the last part of its file's name.
    let name = file.rsplit('/').next().unwrap_or(file);
    let parsed = parser::parse(file, name, source, library);
    parsed.map(Arc::new).map_err(|(at, what)| {
        let (line, column) = position(source, at);
        Fault::new(
            Some((file.to_owned(), line)),
            &format!("column {column}: {what}"),
        )
    })
}

impl GoTemplate {
    /// Compiles a template that may include `others`, given as name and source.
    pub(super) fn compile_among(
        name: &str,
        source: &str,
        others: &[(&str, &str)],
    ) -> Result<Self, RenderError> {
        let program =
            compile(name, source, Library::Confd).map_err(|fault| RenderError::Compile {
                template: name.to_owned(),
                faults: vec![fault],
            })?;
        let includes = program.includes;
        let others = others
            .iter()
            .filter(|_| includes)
            .map(|(name, source)| ((*name).to_owned(), Arc::from(*source)));
        Ok(Self {
            program,
            others: Arc::new(Others(others.collect())),
            last: Arc::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.program.file
    }

    pub(super) fn depends_on_time(&self) -> bool {
        self.program.depends_on_time
    }

    pub(super) fn includes(&self) -> bool {
        self.program.includes
    }

    /// The faults that no content of the store makes right. A render fails when it reaches one of them.
    pub(super) fn mistakes(&self) -> Option<RenderError> {
        let faults = mistakes::mistakes(&self.program, &self.others);
        let template = self.name().to_owned();
        (!faults.is_empty()).then_some(RenderError::Render { template, faults })
    }

    pub(super) fn render(&self, view: &View) -> Result<String, RenderError> {
        let (rendered, _) = self.run(view);
        rendered.map_err(|failure| failed(self.name(), *failure))
    }

    /// The text, and how many rounds of loops have run for it among those that the next render need not run.
    fn run(&self, view: &View) -> (Result<String, Box<Failure>>, usize) {
        let inputs = Inputs {
            target: view.target.clone(),
            keys: view.raw_keys(),
            env: Arc::clone(&view.env),
            host: view.host,
        };
        let last = self.last.get();
        let memory = Memory::new(&inputs, last.as_deref());
        let mut exec = Exec::new(Some(&inputs), &self.others, memory);
        // confd renders without data; a field of nothing prints `<no value>`.
        let rendered = exec.file(&self.program, Value::Missing);
        let memory = exec.into_memory();
        let ran = memory.as_ref().map_or(0, |memory| memory.ran);
        // What is kept of the last render that went well is still true after one that failed.
        if let (Ok(text), Some(memory)) = (&rendered, memory) {
            self.last.set(memory.remember(text));
        }
        (rendered, ran)
    }
}

fn failed(template: &str, failure: Failure) -> RenderError {
    RenderError::Render {
        template: template.to_owned(),
        faults: vec![failure.0],
    }
}

/// Renders a short text in Go's template language, with Go's own functions only, from a map of strings: a command such as
/// `haproxy -c -f {{.src}}`. `name` is what faults call it.
pub fn render_with(name: &str, source: &str, data: &[(&str, &str)]) -> Result<String, RenderError> {
    let program = compile(name, source, Library::Go).map_err(|fault| RenderError::Compile {
        template: name.to_owned(),
        faults: vec![fault],
    })?;
    let data = data
        .iter()
        .map(|(key, value)| (Arc::from(*key), Value::from(*value)));
    let rendered =
        Exec::new(None, &Others::default(), None).file(&program, Value::map(data.collect()));
    rendered.map_err(|failure| failed(name, *failure))
}
