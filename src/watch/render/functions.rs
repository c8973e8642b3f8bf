//! The functions of the template language: confd's, under the same names with named arguments, and our own. Pure.
//!
//! | function | result |
//! | --- | --- |
//! | `instances(service, include_draining=false)` | the instances that are up, with those that drain if asked |
//! | `routes()` | `{service, vhost, path, protocol}`, the most specific first; see [`super::routes`] |
//! | `exists(key)` `get(key)` `getv(key, default)` | a key; `get` gives `{key, value}` |
//! | `gets(pattern)` `getvs(pattern)` | what matches as a whole: pairs sorted by key, values sorted by value |
//! | `ls(path)` `lsdir(path)` | names right below a path; those that have something below them |
//! | `getenv(name, default)` | a variable; the default, else nothing, where it is unset or empty |
//! | `json(value)` `jsonArray(value)` | an object, a list; integers stay integers |
//! | `base(path)` `dir(path)` `split(value, sep)` `join(list, sep)` | as in Go |
//! | `toUpper(value)` `toLower(value)` `contains(value, sub)` `trimSuffix(value, suffix)` | |
//! | `replace(value, old, new, count=-1)` `base64Encode(value)` `base64Decode(value)` | |
//! | `parseBool(value)` `atoi(value)` `seq(first, last)` | |
//! | `add(a, b)` `sub(a, b)` `mul(a, b)` `div(a, b)` `mod(a, b)` | integers |
//! | `sortByLength(list)` `sortKVByLength(list)` | by bytes; equals keep their order |

use std::collections::BTreeMap;
use std::sync::Arc;

use tera::{Kwargs, State as Scope, Tera, TeraResult, Value};

use super::error::with_hint;
use super::keys::{KeyError, Keys, Pair};
use super::text;
use super::view::View;
use crate::model::instance::State;

/// The instances of a service as values, each with its state.
pub(super) type Rows = Vec<(State, Value)>;

/// What the functions of one render know.
pub(super) struct Inputs {
    pub(super) view: View,
    pub(super) keys: Keys,
    pub(super) rows: BTreeMap<String, Rows>,
}

type Call = fn(&Inputs, &Kwargs) -> TeraResult<Value>;

/// A name, the arguments it takes, what it does.
type Function = (&'static str, &'static [&'static str], Call);

const FUNCTIONS: &[Function] = &[
    ("instances", &["service", "include_draining"], instances),
    ("routes", &[], |inputs, _| routes(inputs)),
    ("exists", &["key"], |inputs, args| {
        Ok(inputs.keys.exists(args.must_get("key")?).into())
    }),
    ("get", &["key"], |inputs, args| {
        Ok(pair(
            inputs.keys.get(args.must_get("key")?).map_err(explain)?,
        ))
    }),
    ("getv", &["key", "default"], getv),
    ("gets", &["pattern"], |inputs, args| {
        Ok(matching(inputs, args)?
            .into_iter()
            .map(pair)
            .collect::<Vec<_>>()
            .into())
    }),
    ("getvs", &["pattern"], getvs),
    ("ls", &["path"], |inputs, args| {
        Ok(inputs
            .keys
            .list(args.must_get("path")?)
            .map_err(explain)?
            .into())
    }),
    ("lsdir", &["path"], |inputs, args| {
        Ok(inputs
            .keys
            .list_dirs(args.must_get("path")?)
            .map_err(explain)?
            .into())
    }),
    ("getenv", &["name", "default"], getenv),
    ("json", &["value"], |_, args| {
        json(args, "an object", serde_json::Value::is_object)
    }),
    ("jsonArray", &["value"], |_, args| {
        json(args, "a list", serde_json::Value::is_array)
    }),
    ("base", &["path"], |_, args| {
        Ok(text::base(args.must_get("path")?).into())
    }),
    ("dir", &["path"], |_, args| {
        Ok(text::dir(args.must_get("path")?).into())
    }),
    ("split", &["value", "sep"], |_, args| {
        Ok(text::split(args.must_get("value")?, args.must_get("sep")?).into())
    }),
    ("join", &["list", "sep"], |_, args| {
        Ok(args
            .must_get::<Vec<String>>("list")?
            .join(args.must_get("sep")?)
            .into())
    }),
    ("toUpper", &["value"], |_, args| {
        Ok(args.must_get::<&str>("value")?.to_uppercase().into())
    }),
    ("toLower", &["value"], |_, args| {
        Ok(args.must_get::<&str>("value")?.to_lowercase().into())
    }),
    ("contains", &["value", "sub"], |_, args| {
        Ok(args
            .must_get::<&str>("value")?
            .contains(args.must_get::<&str>("sub")?)
            .into())
    }),
    ("trimSuffix", &["value", "suffix"], trim_suffix),
    ("replace", &["value", "old", "new", "count"], replace),
    ("base64Encode", &["value"], |_, args| {
        Ok(text::base64_encode(args.must_get("value")?).into())
    }),
    ("base64Decode", &["value"], |_, args| {
        Ok(text::base64_decode(args.must_get("value")?)
            .map_err(tera::Error::message)?
            .into())
    }),
    ("parseBool", &["value"], |_, args| {
        Ok(text::parse_bool(args.must_get("value")?)
            .map_err(tera::Error::message)?
            .into())
    }),
    ("atoi", &["value"], |_, args| {
        Ok(text::atoi(args.must_get("value")?)
            .map_err(tera::Error::message)?
            .into())
    }),
    ("seq", &["first", "last"], seq),
    ("add", &["a", "b"], |_, args| {
        calculate("add", i64::checked_add, args)
    }),
    ("sub", &["a", "b"], |_, args| {
        calculate("sub", i64::checked_sub, args)
    }),
    ("mul", &["a", "b"], |_, args| {
        calculate("mul", i64::checked_mul, args)
    }),
    ("div", &["a", "b"], |_, args| {
        calculate("div", i64::checked_div, args)
    }),
    ("mod", &["a", "b"], |_, args| {
        calculate("mod", i64::checked_rem, args)
    }),
    ("sortByLength", &["list"], sort_by_length),
    ("sortKVByLength", &["list"], sort_pairs_by_length),
];

/// Makes the names of all functions known, so that a template that uses an unknown one does not compile.
pub(super) fn declare(engine: &mut Tera) {
    for (name, _, _) in FUNCTIONS {
        engine.register_function(*name, |_: Kwargs, _: &Scope| false);
    }
}

/// Gives the functions what they work on.
pub(super) fn define(engine: &mut Tera, inputs: &Arc<Inputs>) {
    for (name, takes, call) in FUNCTIONS {
        let inputs = Arc::clone(inputs);
        engine.register_function(*name, move |args: Kwargs, _: &Scope| {
            check_names(name, takes, &args)?;
            call(&inputs, &args)
        });
    }
}

/// A misspelt `default` would be no default, silently.
fn check_names(name: &str, takes: &[&str], args: &Kwargs) -> TeraResult<()> {
    let mut given = args.iter().filter_map(|(key, _)| key.as_str());
    match given.find(|key| !takes.contains(key)) {
        Some(unknown) => Err(with_hint(
            format_args!("function `{name}` has no argument `{unknown}`"),
            format_args!("its arguments are: {}", takes.join(", ")),
        )),
        None => Ok(()),
    }
}

fn explain(error: KeyError) -> tera::Error {
    match &error {
        KeyError::Missing(_) => with_hint(
            error,
            "getv(key=…, default=…) answers for a key that may be absent; only keys that the target lists can be seen",
        ),
        KeyError::NotText(_) | KeyError::Path(_) | KeyError::Pattern(_) => {
            tera::Error::message(error)
        }
    }
}

fn instances(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let service: &str = args.must_get("service")?;
    let draining = args.get::<bool>("include_draining")?.unwrap_or(false);
    let Some(rows) = inputs.rows.get(service) else {
        if inputs.view.follows(service) {
            return Ok(Vec::<Value>::new().into());
        }
        return Err(with_hint(
            format_args!(
                "service \"{}\" is not among those of this target",
                service.escape_debug()
            ),
            "name it in the target's `services`, or a key above it in its `keys`",
        ));
    };
    let wanted = |state: State| match state {
        State::Up => true,
        State::Drain => draining,
        State::Maint => false,
    };
    let rows = rows.iter().filter(|(state, _)| wanted(*state));
    Ok(rows
        .map(|(_, value)| value.clone())
        .collect::<Vec<_>>()
        .into())
}

fn routes(inputs: &Inputs) -> TeraResult<Value> {
    let visible = inputs.view.visible();
    let services = visible.iter().map(|(name, seen)| (*name, seen.as_slice()));
    Value::try_from_serializable(&super::routes::routes(services))
}

fn pair(pair: Pair) -> Value {
    let fields = [("key", pair.key), ("value", pair.value)];
    Value::from(BTreeMap::from(fields))
}

fn getv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let key: &str = args.must_get("key")?;
    match (
        inputs.keys.value(key).map_err(explain)?,
        args.get::<Value>("default")?,
    ) {
        (Some(value), _) => Ok(value.into()),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(explain(KeyError::Missing(key.to_owned()))),
    }
}

fn matching(inputs: &Inputs, args: &Kwargs) -> TeraResult<Vec<Pair>> {
    inputs
        .keys
        .matching(args.must_get("pattern")?)
        .map_err(explain)
}

fn getvs(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let pairs = matching(inputs, args)?.into_iter();
    let mut values: Vec<String> = pairs.map(|pair| pair.value).collect();
    values.sort();
    Ok(values.into())
}

fn getenv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let value = inputs.view.env.get(args.must_get::<&str>("name")?);
    match value.filter(|value| !value.is_empty()) {
        Some(value) => Ok(value.as_str().into()),
        None => Ok(args.get::<Value>("default")?.unwrap_or_else(|| "".into())),
    }
}

fn json(args: &Kwargs, what: &str, is_it: fn(&serde_json::Value) -> bool) -> TeraResult<Value> {
    let value: serde_json::Value = serde_json::from_str(args.must_get("value")?)
        .map_err(|error| tera::Error::message(format!("the value is not JSON: {error}")))?;
    if !is_it(&value) {
        return Err(tera::Error::message(format!(
            "the value is JSON, and not {what}"
        )));
    }
    Value::try_from_serializable(&value)
}

fn trim_suffix(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let value: &str = args.must_get("value")?;
    let suffix: &str = args.must_get("suffix")?;
    Ok(value.strip_suffix(suffix).unwrap_or(value).into())
}

fn replace(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let count = args.get::<i64>("count")?.unwrap_or(-1);
    let (value, old, new) = (
        args.must_get("value")?,
        args.must_get("old")?,
        args.must_get("new")?,
    );
    Ok(text::replace(value, old, new, count).into())
}

fn seq(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let numbers = text::seq(args.must_get("first")?, args.must_get("last")?);
    Ok(numbers.map_err(tera::Error::message)?.into())
}

fn calculate(
    name: &'static str,
    operation: fn(i64, i64) -> Option<i64>,
    args: &Kwargs,
) -> TeraResult<Value> {
    let result = text::calculate(name, operation, args.must_get("a")?, args.must_get("b")?);
    Ok(result.map_err(tera::Error::message)?.into())
}

fn sort_by_length(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let mut list: Vec<String> = args.must_get("list")?;
    list.sort_by_key(String::len);
    Ok(list.into())
}

fn sort_pairs_by_length(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
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
