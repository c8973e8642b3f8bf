//! The functions of the template language: confd's, under the same names with named arguments, and our own. Pure.
//!
//! | function | result |
//! | --- | --- |
//! | `instances(service, include_draining=false)` | the instances that are up, with those that drain if asked |
//! | `routes()` | `{service, vhost, path, protocol}`, the most specific first; see [`super::routes`] |
//! | `slots(instances, count)` | `{name, instance}` for `slot1` to the last; an instance or none in each |
//! | `default_service(protocols)` | the name of the service for what no route takes, or nothing; by `SIDEKICK_DEFAULT_SERVICE` |
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
//! | `lookupIP(host)` `lookupIPV4(host)` `lookupIPV6(host)` | sorted addresses; none if there is no answer |
//! | `lookupSRV(service, protocol, name)` | `{target, port, priority, weight}`, sorted |
//! | `fileExists(path)` `hostname()` | |
//! | `target()` | the name of the target: that of its file in conf.d, without `.toml` |
//! | `generation()` | a mark of all files of the target, for the program to say which of them it runs; see docs/reloads.md |

use std::collections::BTreeMap;
use std::sync::Arc;

use tera::{Kwargs, State as Scope, Tera, TeraResult, Value};

use super::error::with_hint;
use super::generation;
use super::keys::{KeyError, Keys, Pair};
use super::text;
use super::view::View;
use super::world::Family;
use crate::model::facts::Srv;
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
    ("routes", &[], routes),
    ("slots", &["instances", "count"], slots),
    ("default_service", &["protocols"], default_service),
    ("exists", &["key"], exists),
    ("get", &["key"], get),
    ("getv", &["key", "default"], getv),
    ("gets", &["pattern"], gets),
    ("getvs", &["pattern"], getvs),
    ("ls", &["path"], ls),
    ("lsdir", &["path"], lsdir),
    ("getenv", &["name", "default"], getenv),
    ("json", &["value"], json),
    ("jsonArray", &["value"], json_array),
    ("base", &["path"], base),
    ("dir", &["path"], dir),
    ("split", &["value", "sep"], split),
    ("join", &["list", "sep"], join),
    ("toUpper", &["value"], to_upper),
    ("toLower", &["value"], to_lower),
    ("contains", &["value", "sub"], contains),
    ("trimSuffix", &["value", "suffix"], trim_suffix),
    ("replace", &["value", "old", "new", "count"], replace),
    ("base64Encode", &["value"], base64_encode),
    ("base64Decode", &["value"], base64_decode),
    ("parseBool", &["value"], parse_bool),
    ("atoi", &["value"], atoi),
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
    ("lookupIP", &["host"], |inputs, args| {
        addresses(inputs, args, Family::Any)
    }),
    ("lookupIPV4", &["host"], |inputs, args| {
        addresses(inputs, args, Family::V4)
    }),
    ("lookupIPV6", &["host"], |inputs, args| {
        addresses(inputs, args, Family::V6)
    }),
    ("lookupSRV", &["service", "protocol", "name"], lookup_srv),
    ("fileExists", &["path"], file_exists),
    ("hostname", &[], |inputs, _| {
        Ok((inputs.view.world.hostname)().into())
    }),
    ("generation", &[], |_, _| Ok(generation::PLACE.into())),
    ("target", &[], |inputs, _| {
        Ok(inputs.view.target.as_str().into())
    }),
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

fn routes(inputs: &Inputs, _: &Kwargs) -> TeraResult<Value> {
    let visible = inputs.view.visible();
    let services = visible.iter().map(|(name, seen)| (*name, seen.as_slice()));
    Value::try_from_serializable(&super::routes::routes(services))
}

fn slots(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let instances: Vec<Value> = args.must_get("instances")?;
    let count: u16 = args.must_get("count")?;
    let id = |row: &Value| {
        row.get_from_path("id")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let ids: Option<Vec<String>> = instances.iter().map(id).collect();
    let ids = ids.ok_or_else(|| failed("slots is for instances: each has an id"))?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let slots = super::slots::slots(&ids, count.into()).map_err(|super::slots::Full| {
        let what = format!("there are {} instances for {count} slots", ids.len());
        with_hint(what, "give slots a larger `count`")
    })?;
    let slot = |(n, place): (usize, Option<usize>)| {
        Value::from(BTreeMap::from([
            ("name", Value::from(format!("slot{}", n + 1))),
            (
                "instance",
                place.map_or(Value::none(), |place| instances[place].clone()),
            ),
        ]))
    };
    let slots = slots.into_iter().enumerate().map(slot);
    Ok(slots.collect::<Vec<_>>().into())
}

fn default_service(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let protocols: Vec<String> = args.must_get("protocols")?;
    let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
    let named = inputs.view.env.get("SIDEKICK_DEFAULT_SERVICE");
    let visible = inputs.view.visible();
    let services = visible.iter().map(|(name, seen)| (*name, seen.as_slice()));
    let named = named.map_or("", String::as_str);
    let chosen = super::routes::default_service(services, named, &protocols);
    Ok(chosen.unwrap_or_default().into())
}

/// The argument `name`, which has to be there and be text.
fn word<'a>(args: &'a Kwargs, name: &'a str) -> TeraResult<&'a str> {
    args.must_get(name)
}

fn failed(error: impl std::fmt::Display) -> tera::Error {
    tera::Error::message(error.to_string())
}

fn exists(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(inputs.keys.exists(word(args, "key")?).into())
}

fn get(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let found = inputs.keys.get(word(args, "key")?);
    found.map(pair).map_err(explain)
}

fn getv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let key = word(args, "key")?;
    let value = inputs.keys.value(key).map_err(explain)?;
    match (value, args.get::<Value>("default")?) {
        (Some(value), _) => Ok(value.into()),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(explain(KeyError::Missing(key.to_owned()))),
    }
}

fn pair(pair: Pair) -> Value {
    let fields = [("key", pair.key), ("value", pair.value)];
    Value::from(BTreeMap::from(fields))
}

fn matching(inputs: &Inputs, args: &Kwargs) -> TeraResult<Vec<Pair>> {
    let found = inputs.keys.matching(word(args, "pattern")?);
    found.map_err(explain)
}

fn gets(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let pairs = matching(inputs, args)?.into_iter();
    Ok(pairs.map(pair).collect::<Vec<_>>().into())
}

fn getvs(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let pairs = matching(inputs, args)?.into_iter();
    let mut values: Vec<String> = pairs.map(|pair| pair.value).collect();
    values.sort();
    Ok(values.into())
}

fn ls(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let names = inputs.keys.list(word(args, "path")?);
    names.map(Value::from).map_err(explain)
}

fn lsdir(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let names = inputs.keys.list_dirs(word(args, "path")?);
    names.map(Value::from).map_err(explain)
}

fn getenv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let value = inputs.view.env.get(word(args, "name")?);
    match value.filter(|value| !value.is_empty()) {
        Some(value) => Ok(value.as_str().into()),
        None => Ok(args.get::<Value>("default")?.unwrap_or_else(|| "".into())),
    }
}

fn json(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    parsed(args, "an object", serde_json::Value::is_object)
}

fn json_array(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
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

fn base(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(text::base(word(args, "path")?).into())
}

fn dir(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(text::dir(word(args, "path")?).into())
}

fn split(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(text::split(word(args, "value")?, word(args, "sep")?).into())
}

fn join(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let list: Vec<String> = args.must_get("list")?;
    Ok(list.join(word(args, "sep")?).into())
}

fn to_upper(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(word(args, "value")?.to_uppercase().into())
}

fn to_lower(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(word(args, "value")?.to_lowercase().into())
}

fn contains(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(word(args, "value")?.contains(word(args, "sub")?).into())
}

fn trim_suffix(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let value = word(args, "value")?;
    let shorter = value.strip_suffix(word(args, "suffix")?);
    Ok(shorter.unwrap_or(value).into())
}

fn replace(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let count = args.get::<i64>("count")?.unwrap_or(-1);
    let (value, old, new) = (word(args, "value")?, word(args, "old")?, word(args, "new")?);
    Ok(text::replace(value, old, new, count).into())
}

fn base64_encode(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(text::base64_encode(word(args, "value")?).into())
}

fn base64_decode(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let decoded = text::base64_decode(word(args, "value")?);
    decoded.map(Value::from).map_err(failed)
}

fn parse_bool(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let parsed = text::parse_bool(word(args, "value")?);
    parsed.map(Value::from).map_err(failed)
}

fn atoi(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let parsed = text::atoi(word(args, "value")?);
    parsed.map(Value::from).map_err(failed)
}

fn seq(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let numbers = text::seq(args.must_get("first")?, args.must_get("last")?);
    numbers.map(Value::from).map_err(failed)
}

fn calculate(
    name: &'static str,
    operation: fn(i64, i64) -> Option<i64>,
    args: &Kwargs,
) -> TeraResult<Value> {
    let result = text::calculate(name, operation, args.must_get("a")?, args.must_get("b")?);
    result.map(Value::from).map_err(failed)
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

fn addresses(inputs: &Inputs, args: &Kwargs, family: Family) -> TeraResult<Value> {
    let world = &inputs.view.world;
    Ok(world.sorted_addresses(word(args, "host")?, family).into())
}

fn lookup_srv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let (service, protocol) = (word(args, "service")?, word(args, "protocol")?);
    let world = &inputs.view.world;
    let found = world.sorted_services(service, protocol, word(args, "name")?);
    let record = |srv: Srv| {
        Value::from(BTreeMap::from([
            ("target", Value::from(srv.target)),
            ("port", srv.port.into()),
            ("priority", srv.priority.into()),
            ("weight", srv.weight.into()),
        ]))
    };
    Ok(found.into_iter().map(record).collect::<Vec<_>>().into())
}

fn file_exists(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok((inputs.view.world.file_exists)(word(args, "path")?).into())
}
