//! Functions on the keys, as confd has them. Pure.

use std::collections::BTreeMap;

use tera::{Kwargs, TeraResult, Value};

use super::{Inputs, word};
use crate::watch::render::error::with_hint;
use crate::watch::render::keys::{KeyError, Pair};

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

pub(super) fn exists(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok(inputs.keys().exists(word(args, "key")?).into())
}

pub(super) fn get(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let found = inputs.keys().get(word(args, "key")?);
    found.map(pair).map_err(explain)
}

pub(super) fn getv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let key = word(args, "key")?;
    let value = inputs.keys().value(key).map_err(explain)?;
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
    let found = inputs.keys().matching(word(args, "pattern")?);
    found.map_err(explain)
}

pub(super) fn gets(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let pairs = matching(inputs, args)?.into_iter();
    Ok(pairs.map(pair).collect::<Vec<_>>().into())
}

pub(super) fn getvs(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let pairs = matching(inputs, args)?.into_iter();
    let mut values: Vec<String> = pairs.map(|pair| pair.value).collect();
    values.sort();
    Ok(values.into())
}

pub(super) fn ls(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let names = inputs.keys().list(word(args, "path")?);
    names.map(Value::from).map_err(explain)
}

pub(super) fn lsdir(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let names = inputs.keys().list_dirs(word(args, "path")?);
    names.map(Value::from).map_err(explain)
}
