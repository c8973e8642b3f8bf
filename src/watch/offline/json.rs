//! Reads JSON, and refuses an object that has a name twice, of which `serde_json` would keep the last one. Pure.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::node::Fault;

/// The value of a text.
pub(super) fn parse(text: &str) -> Result<Value, Fault> {
    let parsed = serde_json::from_str::<Unique>(text);
    parsed
        .map(|unique| unique.0)
        .map_err(|error| Fault::Syntax {
            line: error.line(),
            what: without_place(&error.to_string()),
        })
}

/// The message of a JSON error without its place, since [`Fault`] has the line.
fn without_place(text: &str) -> String {
    let what = text.rsplit_once(" at line ").map(|(what, _)| what);
    what.unwrap_or(text).to_owned()
}

/// A value in which the names of each object are different.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            all.push(value);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            // The error has the line of what was read last, which is this name.
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{name:?} is there twice")));
            }
            let Unique(value) = object.next_value()?;
            map.insert(name, value);
        }
        Ok(map.into())
    }
}
