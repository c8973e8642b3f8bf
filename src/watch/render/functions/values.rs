//! Functions on values alone: text, numbers, lists. Pure.

use tera::{Kwargs, TeraResult, Value};

use super::{Inputs, failed, word};
use crate::model::base64;
use crate::watch::render::strings;

pub(super) fn json(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    parsed(args, "an object", serde_json::Value::is_object)
}

pub(super) fn json_array(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    parsed(args, "a list", serde_json::Value::is_array)
}

fn parsed(args: &Kwargs, what: &str, is_it: fn(&serde_json::Value) -> bool) -> TeraResult<Value> {
    let value: serde_json::Value = serde_json::from_str(word(args, "value")?)
        .map_err(|error| failed(format_args!("the value is not JSON: {error}")))?;
    if !is_it(&value) {
        return Err(failed(format_args!("the value is JSON, and not {what}")));
    }
    Value::try_from_serializable(&value)
}

pub(super) fn base(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(strings::base(word(args, "path")?).into())
}

pub(super) fn dir(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(strings::dir(word(args, "path")?).into())
}

pub(super) fn split(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(strings::split(word(args, "value")?, word(args, "sep")?).into())
}

pub(super) fn join(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let list: Vec<String> = args.must_get("list")?;
    Ok(list.join(word(args, "sep")?).into())
}

pub(super) fn to_upper(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(word(args, "value")?.to_uppercase().into())
}

pub(super) fn to_lower(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(word(args, "value")?.to_lowercase().into())
}

pub(super) fn contains(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(word(args, "value")?.contains(word(args, "sub")?).into())
}

pub(super) fn trim_suffix(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let value = word(args, "value")?;
    let shorter = value.strip_suffix(word(args, "suffix")?);
    Ok(shorter.unwrap_or(value).into())
}

pub(super) fn replace(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let count = args.get::<i64>("count")?.unwrap_or(-1);
    let (value, old, new) = (word(args, "value")?, word(args, "old")?, word(args, "new")?);
    Ok(strings::replace(value, old, new, count).into())
}

pub(super) fn base64_encode(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(base64::encode(word(args, "value")?.as_bytes()).into())
}

pub(super) fn base64_decode(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let decoded = strings::base64_decode(word(args, "value")?);
    decoded.map(Value::from).map_err(failed)
}

pub(super) fn parse_bool(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let parsed = strings::parse_bool(word(args, "value")?);
    parsed.map(Value::from).map_err(failed)
}

pub(super) fn atoi(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let parsed = strings::atoi(word(args, "value")?);
    parsed.map(Value::from).map_err(failed)
}

pub(super) fn seq(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let numbers = strings::seq(args.must_get("first")?, args.must_get("last")?);
    numbers.map(Value::from).map_err(failed)
}

pub(super) fn calculate(
    name: &'static str,
    operation: fn(i64, i64) -> Option<i64>,
    args: &Kwargs,
) -> TeraResult<Value> {
    let result = strings::calculate(name, operation, args.must_get("a")?, args.must_get("b")?);
    result.map(Value::from).map_err(failed)
}

pub(super) fn sort_by_length(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let mut list: Vec<String> = args.must_get("list")?;
    list.sort_by_key(String::len);
    Ok(list.into())
}

pub(super) fn sort_pairs_by_length(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let mut list: Vec<Value> = args.must_get("list")?;
    let length = |pair: &Value| {
        pair.get_from_path("key")
            .and_then(Value::as_str)
            .map(str::len)
    };
    if !list.iter().all(|pair| length(pair).is_some()) {
        return Err(tera::Error::message(
            "sortKVByLength sorts what `gets` gives: pairs with a key",
        ));
    }
    list.sort_by_key(length);
    Ok(list.into())
}
