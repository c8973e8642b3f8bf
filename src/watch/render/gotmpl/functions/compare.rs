//! `eq`, `lt` and their like, with Go's rules about types. Pure.

use std::cmp::Ordering;

use crate::watch::render::gotmpl::value::Value;

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// Which of two orders is asked for; the other two are their opposites.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
}

/// Whether the first is equal to one of the others.
pub(super) fn equal_to_any(args: &[Value]) -> Result<bool, String> {
    let [first, others @ ..] = args else {
        return Ok(false);
    };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_nil(value: &Value) -> bool {
    matches!(value, Value::Nil | Value::Missing)
}

fn equal(one: &Value, other: &Value) -> Result<bool, String> {
    match (one, other) {
        (one, other) if is_nil(one) || is_nil(other) => Ok(is_nil(one) && is_nil(other)),
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        (Value::Int(one, _), Value::Int(other, _)) => Ok(one == other),
        #[expect(clippy::float_cmp, reason = "that is what == is in Go")]
        (Value::Float(one), Value::Float(other)) => Ok(one == other),
        (Value::Text(one), Value::Text(other)) => Ok(one == other),
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => {
            let (one, other) = (one.type_name(), other.type_name());
            Err(format!("non-comparable types {one} and {other}"))
        }
        (Value::Record(one), Value::Record(other)) => {
            let fields = one.fields.iter().zip(&other.fields);
            let mut all = one.of == other.of;
            for ((_, one), (_, other)) in fields.filter(|_| one.of == other.of) {
                all &= equal(one, other)?;
            }
            Ok(all)
        }
        _ => Err(INCOMPATIBLE.to_owned()),
    }
}

/// Whether the first comes before the second.
pub(super) fn in_order(args: &[Value], order: Order) -> Result<bool, String> {
    let [one, other] = args else {
        return Ok(false);
    };
    let found = match (one, other) {
        (Value::Int(one, _), Value::Int(other, _)) => Some(one.cmp(other)),
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (one, other) if has_order(one) && has_order(other) => return Err(INCOMPATIBLE.to_owned()),
        _ => return Err("invalid type for comparison".to_owned()),
    };
    Ok(match order {
        Order::Less => found == Some(Ordering::Less),
        Order::LessOrEqual => matches!(found, Some(Ordering::Less | Ordering::Equal)),
    })
}

fn has_order(value: &Value) -> bool {
    matches!(
        value,
        Value::Int(..) | Value::Float(_) | Value::Text(_) | Value::Bool(_)
    )
}
