//! A template as the parser leaves it: expressions as trees, and everything between `{{if}}` and `{{end}}` as one list of
//! steps with jumps. So how deep branches, loops and templates are nested costs no stack, whichever of them is taken. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::functions::Function;
use super::value::Value;

/// From which byte of the source to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// One file: its own steps, and those of the templates that it defines.
pub(super) struct Program {
    /// The file's name, as faults are to show it.
    pub(super) file: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) templates: Vec<Steps>,
    pub(super) by_name: HashMap<String, usize>,
    /// The file itself among `templates`.
    pub(super) main: usize,
    /// Whether it asks for the time.
    pub(super) depends_on_time: bool,
    /// Whether it includes other files.
    pub(super) includes: bool,
}

/// The steps of one template.
pub(super) struct Steps {
    pub(super) list: Vec<Step>,
    /// How many variables it has at most at a time.
    pub(super) variables: usize,
}

/// One step. A number is the step to go on with.
pub(super) enum Step {
    Text(Box<str>),
    /// Evaluates and prints; or only evaluates, if it sets a variable.
    Print(Pipe),
    /// Goes on elsewhere if it is false.
    Unless(Pipe, usize),
    /// The same, and what is true is the dot until `EndWith`.
    With(Pipe, usize),
    EndWith,
    /// Starts a loop, or goes on elsewhere if there is nothing to go through.
    Range {
        pipe: Pipe,
        to: usize,
        /// So many variables are declared around the loop.
        outer: usize,
        /// What is known of its rounds, if they do not depend on each other.
        independent: Option<Box<Independent>>,
    },
    /// Takes the next item, or leaves the loop and goes on elsewhere.
    Next(usize),
    /// Leaves the loop and goes on elsewhere.
    Break(usize),
    /// Back to the loop's `Next`.
    Continue(usize),
    Jump(usize),
    /// Runs another template of the same file.
    Template {
        name: String,
        data: Option<Pipe>,
        span: Span,
    },
}

/// A loop whose rounds do not depend on each other.
pub(super) struct Independent {
    /// Its number among those of the program.
    pub(super) id: usize,
    /// The variables from outside the loop that it reads, in its pipeline too.
    pub(super) reads: Vec<usize>,
    /// Whether its rounds read the number of the item.
    pub(super) reads_index: bool,
}

/// `$x := first | second`.
pub(super) struct Pipe {
    /// The variables it sets.
    pub(super) sets: Vec<usize>,
    pub(super) commands: Vec<Command>,
    pub(super) span: Span,
}

/// A function or value and its arguments.
pub(super) struct Command {
    pub(super) words: Vec<Word>,
    pub(super) span: Span,
}

/// An operand.
pub(super) struct Word {
    pub(super) kind: WordKind,
    pub(super) span: Span,
}

pub(super) enum WordKind {
    Dot,
    Nil,
    /// A truth value or a string.
    Constant(Value),
    Number(Number),
    /// `.a.b`.
    Field(Vec<Box<str>>),
    /// `$x.a.b`, by the variable's place.
    Variable(usize, Vec<Box<str>>),
    Function(&'static Function),
    /// `(…).a.b`.
    Chain(Box<Word>, Vec<Box<str>>),
    Parenthesis(Box<Pipe>),
}

/// A number as it is written: what it is depends on who asks.
pub(super) struct Number {
    /// Where an int is wanted; `1.0` is one too.
    pub(super) int: Option<i64>,
    /// Where anything is wanted; nothing if it is too large for an int.
    pub(super) plain: Option<Value>,
}
