//! The values of a template: what Go's templates see of strings, numbers, lists, maps and structs, with their types. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::datetime::Date;

/// A value. Cloning it is cheap.
#[derive(Clone)]
pub(super) enum Value {
    /// There is no value: a field that a map does not have, or a field of nothing. It prints `<no value>`.
    Missing,
    /// `nil`, and the `null` of JSON.
    Nil,
    Bool(bool),
    Int(i64, IntType),
    Float(f64),
    Text(Arc<str>),
    List(Arc<List>),
    Map(Arc<Map>),
    Record(Arc<Record>),
    Time(Arc<Date>),
}

/// Go's types of integers that templates meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntType {
    Int,
    Int64,
    /// The type of a byte.
    Uint8,
    Uint16,
}

/// What a list is declared to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListType {
    Any,
    Texts,
    Ints,
    /// What `gets` gives: a named type of its own.
    NamedPairs,
    Pairs,
    Services,
}

/// A list; its items are of its type.
pub(super) struct List {
    pub(super) of: ListType,
    pub(super) items: Vec<Value>,
}

/// A map from strings to anything, sorted by key, as Go prints maps and ranges over them.
#[derive(Default)]
pub(super) struct Map(pub(super) BTreeMap<Arc<str>, Value>);

/// A struct.
pub(super) struct Record {
    pub(super) of: RecordType,
    pub(super) fields: Vec<(&'static str, Value)>,
}

/// The structs that confd's functions give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordType {
    Pair,
    Service,
}

impl Value {
    pub(super) fn int(number: i64) -> Self {
        Self::Int(number, IntType::Int)
    }

    pub(super) fn list(of: ListType, items: Vec<Self>) -> Self {
        Self::List(Arc::new(List { of, items }))
    }

    pub(super) fn texts<S: Into<Arc<str>>>(texts: impl IntoIterator<Item = S>) -> Self {
        let items = texts.into_iter().map(|text| Self::Text(text.into()));
        Self::list(ListType::Texts, items.collect())
    }

    pub(super) fn map(entries: BTreeMap<Arc<str>, Self>) -> Self {
        Self::Map(Arc::new(Map(entries)))
    }

    pub(super) fn pair(key: &str, value: &str) -> Self {
        let fields = vec![("Key", key.into()), ("Value", value.into())];
        let of = RecordType::Pair;
        Self::Record(Arc::new(Record { of, fields }))
    }

    /// Whether `if` takes its branch.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(is) => *is,
            Self::Int(number, _) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.0.is_empty(),
            Self::Record(_) | Self::Time(_) => true,
        }
    }

    /// Go's name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_, of) => of.name(),
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(list) => list.of.name(),
            Self::Map(_) => "map[string]interface {}",
            Self::Record(record) => record.of.name(),
            Self::Time(_) => "time.Time",
        }
    }

    fn holds_values(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }
}

impl IntType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
        }
    }

    pub(super) fn is_unsigned(self) -> bool {
        matches!(self, Self::Uint8 | Self::Uint16)
    }
}

impl ListType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Texts => "[]string",
            Self::Ints => "[]int",
            Self::NamedPairs => "memkv.KVPairs",
            Self::Pairs => "[]memkv.KVPair",
            Self::Services => "[]*net.SRV",
        }
    }
}

impl RecordType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pair => "memkv.KVPair",
            Self::Service => "*net.SRV",
        }
    }
}

impl Record {
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields.iter();
        fields.find(|(own, _)| *own == name).map(|(_, value)| value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

/// Values may be nested as deep as JSON allows, so what they hold is dropped one after the other and not by recursion.
fn drop_all(mut values: Vec<Value>) {
    values.retain(Value::holds_values);
    while let Some(value) = values.pop() {
        let inner: Vec<Value> = match value {
            Value::List(list) => Arc::into_inner(list)
                .map(|mut list| std::mem::take(&mut list.items))
                .unwrap_or_default(),
            Value::Map(map) => Arc::into_inner(map)
                .map(|mut map| std::mem::take(&mut map.0).into_values().collect())
                .unwrap_or_default(),
            _ => continue,
        };
        values.extend(inner.into_iter().filter(Value::holds_values));
    }
}

impl Drop for List {
    fn drop(&mut self) {
        if self.items.iter().any(Value::holds_values) {
            drop_all(std::mem::take(&mut self.items));
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.0.values().any(Value::holds_values) {
            drop_all(std::mem::take(&mut self.0).into_values().collect());
        }
    }
}
