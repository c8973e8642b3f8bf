//! Functions that the maintained fork of confd adds, as far as they mean one thing only. Pure.

use std::collections::HashMap;

use gtmpl_ng::{FuncError, NumberKind, Value};

use super::Inputs;
use super::values::{Args, Function, Given, from_json, functions, strings, to_json, wrong};
use crate::watch::render::generation::PLACE;

/// More blanks or copies than that are a mistake.
const MOST: i64 = 100_000;

/// The table.
pub(super) const FUNCTIONS: &[Function] = functions! {
    "hostname" 0..=0 => |inputs, _| Ok((inputs.world.hostname)().into()),
    "target" 0..=0 => |inputs, _| Ok(inputs.target.clone().into()),
    "generation" 0..=0 => |_, _| Ok(PLACE.into()),
    "trimPrefix" 2..=2 => trim_prefix,
    "repeat" 2..=2 => |_, args| Ok(args.text(1)?.repeat(count(args, 0)?).into()),
    "nospace" 1..=1 => |_, args| Ok(args.text(0)?.split_whitespace().collect::<String>().into()),
    "indent" 2..=2 => |_, args| Ok(indented(args)?.into()),
    "nindent" 2..=2 => |_, args| Ok(format!("\n{}", indented(args)?).into()),
    "quote" 1..=1 => |_, args| Ok(format!("\"{}\"", escaped(args.value(0)?)).into()),
    "squote" 1..=1 => |_, args| Ok(format!("'{}'", args.value(0)?).into()),
    "default" 2..=2 => |_, args| Ok(args.value(usize::from(!is_empty(args.value(1)?)))?.clone()),
    "ternary" 3..=3 => ternary,
    "coalesce" 1..=usize::MAX => |_, args| Ok(first_not_empty(args)),
    "empty" 1..=1 => |_, args| Ok(is_empty(args.value(0)?).into()),
    "toJson" 1..=1 => |_, args| Ok(to_json(args.value(0)?).to_string().into()),
    "toPrettyJson" 1..=1 => |_, args| Ok(format!("{:#}", to_json(args.value(0)?)).into()),
    "fromJson" 1..=1 => from_any_json,
    "dict" 0..=usize::MAX => dict,
    "list" 0..=usize::MAX => |_, args| Ok(Value::Array(args.all().to_vec())),
    "append" 2..=2 => append,
    "hasKey" 2..=2 => |_, args| Ok(args.map(0)?.contains_key(args.text(1)?).into()),
    "keys" 1..=1 => |_, args| Ok(strings(sorted(args)?.into_iter().map(|(key, _)| key.as_str()))),
    "values" 1..=1 => |_, args| Ok(Value::Array(sorted(args)?.into_iter().map(|(_, value)| value.clone()).collect())),
};

fn count(args: &Args<'_>, at: usize) -> Result<usize, FuncError> {
    let count = args.int(at)?;
    let count = usize::try_from(count).ok().filter(|_| count <= MOST);
    count.ok_or_else(|| wrong(format_args!("a count is 0 to {MOST}")))
}

fn trim_prefix(_: &Inputs, args: &Args<'_>) -> Given {
    let text = args.text(0)?;
    Ok(text.strip_prefix(args.text(1)?).unwrap_or(text).into())
}

fn indented(args: &Args<'_>) -> Result<String, FuncError> {
    let blanks = " ".repeat(count(args, 0)?);
    let text = args.text(1)?;
    Ok(format!(
        "{blanks}{}",
        text.replace('\n', &format!("\n{blanks}"))
    ))
}

fn escaped(value: &Value) -> String {
    value.to_string().replace('\\', "\\\\").replace('"', "\\\"")
}

/// What Go calls the zero value.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::NoValue | Value::Nil => true,
        Value::Bool(is) => !is,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Map(fields) | Value::Object(fields) => fields.is_empty(),
        Value::Number(number) => match number.kind() {
            NumberKind::Signed(n) => n == 0,
            NumberKind::Unsigned(n) => n == 0,
            NumberKind::Float(n) => n == 0.0,
        },
        Value::Function(_) => false,
    }
}

fn ternary(_: &Inputs, args: &Args<'_>) -> Given {
    match args.value(2)? {
        Value::Bool(is) => Ok(args.value(usize::from(!is))?.clone()),
        _ => Err(wrong("the third argument of ternary is true or false")),
    }
}

fn first_not_empty(args: &Args<'_>) -> Value {
    let first = args.all().iter().find(|value| !is_empty(value));
    first.cloned().unwrap_or(Value::Nil)
}

fn from_any_json(_: &Inputs, args: &Args<'_>) -> Given {
    serde_json::from_str(args.text(0)?)
        .map(from_json)
        .map_err(|error| wrong(format_args!("the value is not JSON: {error}")))
}

fn dict(_: &Inputs, args: &Args<'_>) -> Given {
    if args.all().len() % 2 == 1 {
        return Err(wrong("dict: a key without a value"));
    }
    let mut map = HashMap::new();
    for at in (0..args.all().len()).step_by(2) {
        map.insert(args.text(at)?.to_owned(), args.value(at + 1)?.clone());
    }
    Ok(Value::Map(map))
}

fn append(_: &Inputs, args: &Args<'_>) -> Given {
    let mut list = args.list(0)?.to_vec();
    list.push(args.value(1)?.clone());
    Ok(Value::Array(list))
}

fn sorted<'a>(args: &Args<'a>) -> Result<Vec<(&'a String, &'a Value)>, FuncError> {
    let mut entries: Vec<_> = args.map(0)?.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    Ok(entries)
}
