//! The functions of confd 0.16, under their names and with their edges. Pure.

use std::collections::HashMap;

use gtmpl_ng::{FuncError, Number, Value};

use super::values::{
    Args, Function, Given, advised, from_json, functions, key_of, pair, strings, wrong,
};
use super::{Inputs, store};
use crate::watch::render::keys::{KeyError, Pair};
use crate::watch::render::text;
use crate::watch::render::world::Family;

/// The table.
pub(super) const FUNCTIONS: &[Function] = functions! {
    "exists" 1..=1 => |inputs, args| Ok(store::exists(&inputs.keys, args.text(0)?).into()),
    "get" 1..=1 => get,
    "getv" 1..=usize::MAX => getv,
    "gets" 1..=1 => gets,
    "getvs" 1..=1 => getvs,
    "ls" 1..=1 => |inputs, args| store::list(&inputs.keys, args.text(0)?).map(strings).map_err(explain),
    "lsdir" 1..=1 => |inputs, args| store::list_dirs(&inputs.keys, args.text(0)?).map(strings).map_err(explain),
    "cget" 0..=usize::MAX => encrypted,
    "cgetv" 0..=usize::MAX => encrypted,
    "cgets" 0..=usize::MAX => encrypted,
    "cgetvs" 0..=usize::MAX => encrypted,
    "getenv" 1..=usize::MAX => getenv,
    "json" 1..=1 => json,
    "jsonArray" 1..=1 => json_array,
    "map" 0..=usize::MAX => map,
    "base" 1..=1 => |_, args| Ok(text::base(args.text(0)?).into()),
    "dir" 1..=1 => |_, args| Ok(text::dir(args.text(0)?).into()),
    "split" 2..=2 => |_, args| Ok(strings(text::split(args.text(0)?, args.text(1)?))),
    "join" 2..=2 => |_, args| Ok(args.texts(0)?.join(args.text(1)?).into()),
    "toUpper" 1..=1 => |_, args| Ok(upper(args.text(0)?).into()),
    "toLower" 1..=1 => |_, args| Ok(lower(args.text(0)?).into()),
    "contains" 2..=2 => |_, args| Ok(args.text(0)?.contains(args.text(1)?).into()),
    "trimSuffix" 2..=2 => trim_suffix,
    "replace" 4..=4 => |_, args| Ok(text::replace(args.text(0)?, args.text(1)?, args.text(2)?, args.int(3)?).into()),
    "lookupIP" 1..=1 => |inputs, args| addresses(inputs, args, Family::Any),
    "lookupIPV4" 1..=1 => |inputs, args| addresses(inputs, args, Family::V4),
    "lookupIPV6" 1..=1 => |inputs, args| addresses(inputs, args, Family::V6),
    "lookupSRV" 3..=3 => lookup_srv,
    "fileExists" 1..=1 => |inputs, args| Ok((inputs.world.file_exists)(args.text(0)?).into()),
    "base64Encode" 1..=1 => |_, args| Ok(text::base64_encode(args.text(0)?).into()),
    "base64Decode" 1..=1 => base64_decode,
    "parseBool" 1..=1 => |_, args| text::parse_bool(args.text(0)?).map(Value::from).map_err(wrong),
    "atoi" 1..=1 => |_, args| text::atoi(args.text(0)?).map(Value::from).map_err(wrong),
    "add" 2..=2 => |_, args| calculate("add", i64::checked_add, args),
    "sub" 2..=2 => |_, args| calculate("sub", i64::checked_sub, args),
    "mul" 2..=2 => |_, args| calculate("mul", i64::checked_mul, args),
    "div" 2..=2 => |_, args| calculate("div", i64::checked_div, args),
    "mod" 2..=2 => |_, args| calculate("mod", i64::checked_rem, args),
    "seq" 2..=2 => seq,
    "reverse" 1..=1 => reverse,
    "sortByLength" 1..=1 => sort_by_length,
    "sortKVByLength" 1..=1 => sort_pairs_by_length,
};

fn explain(error: KeyError) -> FuncError {
    match &error {
        // In confd's words, which people look for in logs.
        KeyError::Missing(key) => advised(
            format_args!("key does not exist: {}", key.escape_debug()),
            "getv with a second argument answers for a key that may be absent; only keys below the target's `keys` can be seen",
        ),
        KeyError::NotText(_) | KeyError::Path(_) | KeyError::Pattern(_) => wrong(error),
    }
}

fn encrypted(_: &Inputs, _: &Args<'_>) -> Given {
    Err(advised(
        "encrypted values are not supported",
        "keep secrets in files that only the program may read, or decrypt them before they go into the store",
    ))
}

fn get(inputs: &Inputs, args: &Args<'_>) -> Given {
    let key = args.text(0)?;
    match store::value(&inputs.keys, key).map_err(explain)? {
        Some(value) => Ok(pair(Pair {
            key: key.to_owned(),
            value: value.to_owned(),
        })),
        None => Err(explain(KeyError::Missing(key.to_owned()))),
    }
}

fn getv(inputs: &Inputs, args: &Args<'_>) -> Given {
    let key = args.text(0)?;
    match store::value(&inputs.keys, key).map_err(explain)? {
        Some(value) => Ok(value.into()),
        None if args.has(1) => Ok(args.text(1)?.into()),
        None => Err(explain(KeyError::Missing(key.to_owned()))),
    }
}

fn matching(inputs: &Inputs, args: &Args<'_>) -> Result<Vec<Pair>, FuncError> {
    store::matching(&inputs.keys, args.text(0)?).map_err(explain)
}

fn gets(inputs: &Inputs, args: &Args<'_>) -> Given {
    let pairs = matching(inputs, args)?;
    Ok(Value::Array(pairs.into_iter().map(pair).collect()))
}

fn getvs(inputs: &Inputs, args: &Args<'_>) -> Given {
    let pairs = matching(inputs, args)?.into_iter();
    let mut values: Vec<String> = pairs.map(|pair| pair.value).collect();
    values.sort();
    Ok(strings(values))
}

fn getenv(inputs: &Inputs, args: &Args<'_>) -> Given {
    let value = inputs.env.get(args.text(0)?);
    match value.filter(|value| !value.is_empty()) {
        Some(value) => Ok(value.as_str().into()),
        None if args.has(1) => Ok(args.text(1)?.into()),
        None => Ok("".into()),
    }
}

fn parsed(args: &Args<'_>) -> Result<serde_json::Value, FuncError> {
    serde_json::from_str(args.text(0)?)
        .map_err(|error| wrong(format_args!("the value is not JSON: {error}")))
}

fn json(_: &Inputs, args: &Args<'_>) -> Given {
    match parsed(args)? {
        object @ serde_json::Value::Object(_) => Ok(from_json(object)),
        // Go reads it into a map that stays as it was: empty.
        serde_json::Value::Null => Ok(Value::Map(HashMap::new())),
        _ => Err(wrong("the value is JSON, and not an object")),
    }
}

fn json_array(_: &Inputs, args: &Args<'_>) -> Given {
    match parsed(args)? {
        list @ serde_json::Value::Array(_) => Ok(from_json(list)),
        serde_json::Value::Null => Ok(Value::Array(Vec::new())),
        _ => Err(wrong("the value is JSON, and not a list")),
    }
}

fn map(_: &Inputs, args: &Args<'_>) -> Given {
    let values = args.all();
    if values.len() % 2 == 1 {
        return Err(wrong("invalid map call: a key without a value"));
    }
    let mut map = HashMap::new();
    for at in (0..values.len()).step_by(2) {
        map.insert(args.text(at)?.to_owned(), values[at + 1].clone());
    }
    Ok(Value::Map(map))
}

/// Go changes case letter by letter: what would become two capitals stays as it is.
fn upper(text: &str) -> String {
    let change = |c: char| {
        let mut changed = c.to_uppercase();
        match (changed.len(), changed.next()) {
            (1, Some(one)) => one,
            _ => c,
        }
    };
    text.chars().map(change).collect()
}

fn lower(text: &str) -> String {
    let change = |c: char| c.to_lowercase().next().unwrap_or(c);
    text.chars().map(change).collect()
}

fn trim_suffix(_: &Inputs, args: &Args<'_>) -> Given {
    let text = args.text(0)?;
    Ok(text.strip_suffix(args.text(1)?).unwrap_or(text).into())
}

fn addresses(inputs: &Inputs, args: &Args<'_>, family: Family) -> Given {
    Ok(strings(
        inputs.world.sorted_addresses(args.text(0)?, family),
    ))
}

fn lookup_srv(inputs: &Inputs, args: &Args<'_>) -> Given {
    let found = inputs
        .world
        .sorted_services(args.text(0)?, args.text(1)?, args.text(2)?);
    let record = |srv: crate::model::facts::Srv| {
        Value::Object(HashMap::from([
            ("Target".to_owned(), srv.target.into()),
            ("Port".to_owned(), u64::from(srv.port).into()),
            ("Priority".to_owned(), u64::from(srv.priority).into()),
            ("Weight".to_owned(), u64::from(srv.weight).into()),
        ]))
    };
    Ok(Value::Array(found.into_iter().map(record).collect()))
}

fn base64_decode(_: &Inputs, args: &Args<'_>) -> Given {
    // Go passes over line ends.
    let encoded = args.text(0)?.replace(['\r', '\n'], "");
    text::base64_decode(&encoded)
        .map(Value::from)
        .map_err(wrong)
}

fn calculate(name: &'static str, operation: fn(i64, i64) -> Option<i64>, args: &Args<'_>) -> Given {
    let result = text::calculate(name, operation, args.int(0)?, args.int(1)?);
    result.map(Value::from).map_err(wrong)
}

fn seq(_: &Inputs, args: &Args<'_>) -> Given {
    let numbers = text::seq(args.int(0)?, args.int(1)?).map_err(wrong)?;
    let numbers = numbers.into_iter().map(|n| Value::Number(Number::from(n)));
    Ok(Value::Array(numbers.collect()))
}

/// confd turns `[]string` and `[]KVPair` round and returns everything else as it is, also what `gets` gives, which is of
/// a type of its own; what `sortKVByLength` gives is turned round.
fn reverse(_: &Inputs, args: &Args<'_>) -> Given {
    let Value::Array(list) = args.value(0)? else {
        return Ok(args.value(0)?.clone());
    };
    let is_turned = |item: &Value| match item {
        Value::String(_) => true,
        Value::Map(_) => key_of(item).is_some(),
        _ => false,
    };
    let mut list = list.clone();
    if list.iter().all(is_turned) {
        list.reverse();
    }
    Ok(Value::Array(list))
}

fn sort_by_length(_: &Inputs, args: &Args<'_>) -> Given {
    let mut list = args.texts(0)?;
    list.sort_by_key(|text| text.len());
    Ok(strings(list))
}

fn sort_pairs_by_length(_: &Inputs, args: &Args<'_>) -> Given {
    let mut list = args.list(0)?.to_vec();
    if !list.iter().all(|item| key_of(item).is_some()) {
        return Err(wrong(
            "sortKVByLength sorts what `gets` gives: pairs with a key",
        ));
    }
    list.sort_by_key(|item| key_of(item).map(str::len));
    // A map in place of a struct, by which `reverse` knows it from what `gets` gives.
    let plain = list.into_iter().map(|item| match item {
        Value::Object(fields) => Value::Map(fields),
        other => other,
    });
    Ok(Value::Array(plain.collect()))
}
