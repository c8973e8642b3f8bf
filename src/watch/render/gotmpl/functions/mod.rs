//! The functions that templates call: a table for each kind of thing they work on. Pure.

mod builtins;
mod compare;
mod escape;
#[expect(
    clippy::unnecessary_wraps,
    reason = "a table holds functions of one type"
)]
mod host;
mod json_values;
#[expect(
    clippy::unnecessary_wraps,
    reason = "a table holds functions of one type"
)]
mod lists;
mod numbers;
mod store_keys;
mod strings;

use super::Inputs;
use super::notes::Reads;
use super::value::{Map, Value};
use crate::watch::render::error::HINT;

/// What a function gives: a value, or what is wrong, which may hold a hint.
pub(super) type Given = Result<Value, String>;

/// A function.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// A letter for each argument: `s`tring, `i`nt, `b`ool, `l`ist, `t`exts (a list of strings), `m`ap, `a`nything. A star
    /// at the end lets the last one come any number of times, also never.
    pub(super) params: &'static str,
    pub(super) run: Run,
}

/// Who runs a function.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// It needs its arguments only.
    Plain(fn(&[Value]) -> Given),
    /// It asks for what is fixed while the target is: its name, its environment.
    Asking(fn(&Inputs, &[Value]) -> Given),
    /// It asks the store for what its first argument names.
    Store(Reads, fn(&Inputs, &[Value]) -> Given),
    /// It asks the host, which may answer something else the next time.
    Host(fn(&Inputs, &[Value]) -> Given),
    /// The evaluator itself: these do not evaluate all of their arguments.
    And,
    Or,
    /// The evaluator itself: it runs another template.
    Include,
}

/// Which functions a template may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    /// Go's own.
    Go,
    /// confd's too.
    Confd,
}

const CONFD: [&[Function]; 6] = [
    store_keys::FUNCTIONS,
    strings::FUNCTIONS,
    numbers::FUNCTIONS,
    lists::FUNCTIONS,
    json_values::FUNCTIONS,
    host::FUNCTIONS,
];

impl Library {
    pub(super) fn find(self, name: &str) -> Option<&'static Function> {
        let own = builtins::FUNCTIONS.iter();
        let confd = match self {
            Self::Go => &[][..],
            Self::Confd => &CONFD[..],
        };
        own.chain(confd.iter().copied().flatten())
            .find(|function| function.name == name)
    }
}

impl Function {
    /// What an argument has to be.
    pub(super) fn kind_of(&self, at: usize) -> u8 {
        let kinds = self.params.trim_end_matches('*').as_bytes();
        let kind = kinds.get(at).or(kinds.last());
        kind.copied().unwrap_or(b'a')
    }

    /// Complains if there are too many or too few arguments.
    pub(super) fn check_count(&self, given: usize) -> Result<(), String> {
        let name = self.name;
        let many = self.params.strip_suffix('*');
        let least = many.map_or(self.params.len(), |kinds| kinds.len() - 1);
        let want = match many {
            Some(_) if given < least => format!("at least {least}"),
            None if given != least => least.to_string(),
            _ => return Ok(()),
        };
        Err(format!(
            "wrong number of args for {name}: want {want} got {given}"
        ))
    }

    /// Complains if an argument is of another type.
    pub(super) fn check_type(&self, at: usize, value: &Value) -> Result<(), String> {
        let (fits, want) = match (self.kind_of(at), value) {
            (b's', value) => (matches!(value, Value::Text(_)), "string"),
            (b'i', value) => (
                matches!(value, Value::Int(_, super::value::IntType::Int)),
                "int",
            ),
            (b'b', value) => (matches!(value, Value::Bool(_)), "bool"),
            (b'm', value) => (matches!(value, Value::Map(_)), "map[string]interface {}"),
            (b'l', value) => (matches!(value, Value::List(_)), "a list"),
            (b't', Value::List(list)) => {
                let all = list.items.iter().all(|item| matches!(item, Value::Text(_)));
                (all, "[]string")
            }
            (b't', _) => (false, "a list"),
            _ => (true, ""),
        };
        if fits {
            return Ok(());
        }
        let (name, got) = (self.name, value.type_name());
        let at = at + 1;
        Err(format!(
            "wrong type for argument {at} of {name}: expected {want}; got {got}"
        ))
    }
}

/// What is wrong and what to do about it.
fn advised(what: impl std::fmt::Display, hint: &str) -> String {
    format!("{what}{HINT}{hint}")
}

// The arguments, after their types were checked.

fn text(args: &[Value], at: usize) -> &str {
    match args.get(at) {
        Some(Value::Text(text)) => text,
        Some(_) | None => "",
    }
}

fn int(args: &[Value], at: usize) -> i64 {
    match args.get(at) {
        Some(Value::Int(number, _)) => *number,
        Some(_) | None => 0,
    }
}

fn list(args: &[Value], at: usize) -> &[Value] {
    match args.get(at) {
        Some(Value::List(list)) => &list.items,
        Some(_) | None => &[],
    }
}

fn texts(args: &[Value], at: usize) -> Vec<&str> {
    let texts = list(args, at).iter().filter_map(|item| match item {
        Value::Text(text) => Some(&**text),
        _ => None,
    });
    texts.collect()
}

fn map(args: &[Value], at: usize) -> Option<&Map> {
    match args.get(at) {
        Some(Value::Map(map)) => Some(map),
        Some(_) | None => None,
    }
}
