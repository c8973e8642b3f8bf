//! Between the engine's values and ours: arguments of functions, pairs, JSON. Pure.

use std::collections::HashMap;

use gtmpl_ng::{Func, FuncError, Number, NumberKind, Value};

use super::{Inputs, inputs};
use crate::watch::render::error::HINT;
use crate::watch::render::keys::Pair;

/// A name and what it does.
pub(super) type Function = (&'static str, Func);

/// What a function gives.
pub(super) type Given = Result<Value, FuncError>;

/// The arguments of one call.
pub(super) struct Args<'a> {
    name: &'static str,
    values: &'a [Value],
}

/// Calls `body` with what the render knows, once the number of arguments is right.
pub(super) fn call(
    name: &'static str,
    least: usize,
    most: usize,
    values: &[Value],
    body: fn(&Inputs, &Args<'_>) -> Given,
) -> Given {
    let given = values.len();
    if given < least || given > most {
        let want = match (least, most) {
            (_, usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(wrong(format_args!(
            "wrong number of args for {name}: want {want} got {given}"
        )));
    }
    let inputs = inputs().ok_or_else(|| wrong(format_args!("{name}: there is nothing to read")))?;
    body(&inputs, &Args { name, values })
}

/// A table of functions: name, least and most number of arguments, what it does.
macro_rules! functions {
    ($($name:literal $least:literal..=$most:expr => $body:expr,)*) => {
        &[$((
            $name,
            (|values| $crate::watch::render::gotmpl::values::call($name, $least, $most, values, $body)) as gtmpl_ng::Func,
        ),)*]
    };
}
pub(super) use functions;

impl<'a> Args<'a> {
    /// All of them.
    pub(super) fn all(&self) -> &'a [Value] {
        self.values
    }

    /// Whether there is one at `at`.
    pub(super) fn has(&self, at: usize) -> bool {
        at < self.values.len()
    }

    fn expected(&self, at: usize, what: &str) -> FuncError {
        let found = self.values.get(at).map_or("nothing", kind);
        wrong(format_args!(
            "wrong type for argument {} of {}: expected {what}; got {found}",
            at + 1,
            self.name
        ))
    }

    /// Any value.
    pub(super) fn value(&self, at: usize) -> Result<&'a Value, FuncError> {
        self.values
            .get(at)
            .ok_or_else(|| self.expected(at, "a value"))
    }

    /// A string.
    pub(super) fn text(&self, at: usize) -> Result<&'a str, FuncError> {
        match self.values.get(at) {
            Some(Value::String(text)) => Ok(text),
            Some(_) | None => Err(self.expected(at, "string")),
        }
    }

    /// An int. A number of JSON is a float64, and no int, as in Go.
    pub(super) fn int(&self, at: usize) -> Result<i64, FuncError> {
        let number = match self.values.get(at) {
            Some(Value::Number(number)) => match number.kind() {
                NumberKind::Signed(n) => Some(n),
                NumberKind::Unsigned(n) => i64::try_from(n).ok(),
                NumberKind::Float(_) => None,
            },
            Some(_) | None => None,
        };
        number.ok_or_else(|| self.expected(at, "int"))
    }

    /// A list.
    pub(super) fn list(&self, at: usize) -> Result<&'a [Value], FuncError> {
        match self.values.get(at) {
            Some(Value::Array(list)) => Ok(list),
            Some(_) | None => Err(self.expected(at, "a list")),
        }
    }

    /// A list of strings.
    pub(super) fn texts(&self, at: usize) -> Result<Vec<&'a str>, FuncError> {
        let texts = self.list(at)?.iter().map(|item| match item {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        });
        let texts: Option<Vec<&str>> = texts.collect();
        texts.ok_or_else(|| self.expected(at, "[]string"))
    }

    /// A map.
    pub(super) fn map(&self, at: usize) -> Result<&'a HashMap<String, Value>, FuncError> {
        match self.values.get(at) {
            Some(Value::Map(map) | Value::Object(map)) => Ok(map),
            Some(_) | None => Err(self.expected(at, "map")),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::NoValue | Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Object(_) => "struct",
        Value::Map(_) => "map",
        Value::Array(_) => "list",
        Value::Function(_) => "func",
        Value::Number(number) => match number.kind() {
            NumberKind::Float(_) => "float64",
            NumberKind::Signed(_) | NumberKind::Unsigned(_) => "int",
        },
    }
}

/// An error of a function.
pub(super) fn wrong(what: impl std::fmt::Display) -> FuncError {
    FuncError::Generic(what.to_string())
}

/// The same with advice.
pub(super) fn advised(what: impl std::fmt::Display, hint: &str) -> FuncError {
    FuncError::Generic(format!("{what}{HINT}{hint}"))
}

/// A list of strings.
pub(super) fn strings<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Value {
    Value::Array(
        texts
            .into_iter()
            .map(|text| Value::String(text.into()))
            .collect(),
    )
}

/// confd's `KVPair`, a struct: asking for a field that it does not have is an error.
pub(super) fn pair(pair: Pair) -> Value {
    Value::Object(HashMap::from([
        ("Key".to_owned(), Value::String(pair.key)),
        ("Value".to_owned(), Value::String(pair.value)),
    ]))
}

/// The key of a pair.
pub(super) fn key_of(value: &Value) -> Option<&str> {
    let (Value::Object(fields) | Value::Map(fields)) = value else {
        return None;
    };
    match (fields.get("Key"), fields.get("Value"), fields.len()) {
        (Some(Value::String(key)), Some(Value::String(_)), 2) => Some(key),
        _ => None,
    }
}

/// A value of JSON as Go reads it into an `interface{}`: every number is a float64.
pub(super) fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(is) => Value::Bool(is),
        serde_json::Value::Number(number) => {
            Value::Number(Number::float(number.as_f64().unwrap_or(f64::NAN)))
        }
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(list) => Value::Array(list.into_iter().map(from_json).collect()),
        serde_json::Value::Object(map) => {
            let fields = map.into_iter().map(|(key, value)| (key, from_json(value)));
            Value::Map(fields.collect())
        }
    }
}

/// A value as JSON; whole numbers are written without a fraction, as Go writes them.
pub(super) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::NoValue | Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(is) => (*is).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match number.kind() {
            NumberKind::Signed(n) => n.into(),
            NumberKind::Unsigned(n) => n.into(),
            NumberKind::Float(float) => whole(float).map_or_else(|| float.into(), Into::into),
        },
        Value::Array(list) => list.iter().map(to_json).collect(),
        Value::Map(fields) | Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            let fields = sorted
                .into_iter()
                .map(|(key, value)| (key.clone(), to_json(value)));
            serde_json::Value::Object(fields.collect())
        }
    }
}

fn whole(float: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction and fits: that is what is asked first"
    )]
    (float.fract() == 0.0 && float.abs() < EXACT).then_some(float as i64)
}
