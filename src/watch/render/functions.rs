//! The functions of the template language: confd's, under the same names with named arguments, and our own. Pure.
//!
//! | function | result |
//! | --- | --- |
//! | `instances(service, include_draining=false)` | the instances that are up, with those that drain if asked |
//! | `routes(protocols)` | `{service, vhost, path, protocol}`, the most specific first; see [`super::routes`] |
//! | `protocol(service, protocols)` | which of these most instances of the service announce (attribute `protocol`); or nothing |
//! | `speaking(service, protocols)` | its instances that speak that, in all states |
//! | `agreed(instances, attribute)` | the value that all of them announce for an attribute; or nothing |
//! | `slots(instances, count)` | `{name, instance}` for `slot1` to the last; an instance or none in each |
//! | `default_service(protocols)` | the name of the service for what no route takes, or nothing: that of `SIDEKICK_DEFAULT_SERVICE`, else one that announces `path=/` |
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

mod host;
mod services;
mod tree;
mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use tera::{Kwargs, State as Scope, Tera, TeraResult, Value};

use super::error::with_hint;
use super::generation;
use super::host::Family;
use super::keys::Keys;
use super::rows::{Rows, parse_number};
use super::view::View;
use crate::model::instance::Instance;

/// What the functions of one render know.
pub(super) struct Inputs {
    pub(super) view: View,
    /// The keys, once a function has asked for them.
    pub(super) keys: OnceLock<Keys>,
    pub(super) rows: BTreeMap<String, Rows>,
    /// The instances that numbers stand for, if `rows` are numbers: those of the first service, of the second, …
    pub(super) numbered: Vec<Arc<Vec<Arc<Instance>>>>,
}

impl Inputs {
    fn keys(&self) -> &Keys {
        self.keys.get_or_init(|| self.view.raw_keys())
    }

    /// The instance that a number stands for.
    fn numbered(&self, value: &Value) -> Option<&Instance> {
        let (service, place) = parse_number(value)?;
        self.numbered.get(service)?.get(place).map(AsRef::as_ref)
    }
}

type Call = fn(&Inputs, &Kwargs) -> TeraResult<Value>;

/// A name, the arguments it takes, what it does.
type Function = (&'static str, &'static [&'static str], Call);

const FUNCTIONS: &[Function] = &[
    (
        "instances",
        &["service", "include_draining"],
        services::instances,
    ),
    ("routes", &["protocols"], services::routes),
    ("protocol", &["service", "protocols"], services::protocol),
    ("speaking", &["service", "protocols"], services::speaking),
    ("agreed", &["instances", "attribute"], services::agreed),
    ("slots", &["instances", "count"], services::slots),
    ("default_service", &["protocols"], services::default_service),
    ("exists", &["key"], tree::exists),
    ("get", &["key"], tree::get),
    ("getv", &["key", "default"], tree::getv),
    ("gets", &["pattern"], tree::gets),
    ("getvs", &["pattern"], tree::getvs),
    ("ls", &["path"], tree::ls),
    ("lsdir", &["path"], tree::lsdir),
    ("getenv", &["name", "default"], host::getenv),
    ("json", &["value"], values::json),
    ("jsonArray", &["value"], values::json_array),
    ("base", &["path"], values::base),
    ("dir", &["path"], values::dir),
    ("split", &["value", "sep"], values::split),
    ("join", &["list", "sep"], values::join),
    ("toUpper", &["value"], values::to_upper),
    ("toLower", &["value"], values::to_lower),
    ("contains", &["value", "sub"], values::contains),
    ("trimSuffix", &["value", "suffix"], values::trim_suffix),
    (
        "replace",
        &["value", "old", "new", "count"],
        values::replace,
    ),
    ("base64Encode", &["value"], values::base64_encode),
    ("base64Decode", &["value"], values::base64_decode),
    ("parseBool", &["value"], values::parse_bool),
    ("atoi", &["value"], values::atoi),
    ("seq", &["first", "last"], values::seq),
    ("add", &["a", "b"], |_, args| {
        values::calculate("add", i64::checked_add, args)
    }),
    ("sub", &["a", "b"], |_, args| {
        values::calculate("sub", i64::checked_sub, args)
    }),
    ("mul", &["a", "b"], |_, args| {
        values::calculate("mul", i64::checked_mul, args)
    }),
    ("div", &["a", "b"], |_, args| {
        values::calculate("div", i64::checked_div, args)
    }),
    ("mod", &["a", "b"], |_, args| {
        values::calculate("mod", i64::checked_rem, args)
    }),
    ("sortByLength", &["list"], values::sort_by_length),
    ("sortKVByLength", &["list"], values::sort_pairs_by_length),
    ("lookupIP", &["host"], |inputs, args| {
        host::addresses(inputs, args, Family::Any)
    }),
    ("lookupIPV4", &["host"], |inputs, args| {
        host::addresses(inputs, args, Family::V4)
    }),
    ("lookupIPV6", &["host"], |inputs, args| {
        host::addresses(inputs, args, Family::V6)
    }),
    (
        "lookupSRV",
        &["service", "protocol", "name"],
        host::lookup_srv,
    ),
    ("fileExists", &["path"], host::file_exists),
    ("hostname", &[], |inputs, _| {
        Ok((inputs.view.host.hostname)().into())
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

/// The argument `name`, which has to be there and be text.
fn word<'a>(args: &'a Kwargs, name: &'a str) -> TeraResult<&'a str> {
    args.must_get(name)
}

fn failed(error: impl std::fmt::Display) -> tera::Error {
    tera::Error::message(error.to_string())
}
