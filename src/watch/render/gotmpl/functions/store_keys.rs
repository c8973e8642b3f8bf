//! Functions that ask the store for keys. Pure.

use super::{Function, Given, Run, advised, text};
use crate::watch::render::gotmpl::notes::Reads;
use crate::watch::render::gotmpl::value::{ListType, Value};
use crate::watch::render::gotmpl::{Inputs, memkv};
use crate::watch::render::keys::{KeyError, Pair};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "exists",
        params: "s",
        run: Run::Store(Reads::Value, |inputs, args| {
            Ok(memkv::exists(&inputs.keys, text(args, 0)).into())
        }),
    },
    Function {
        name: "get",
        params: "s",
        run: Run::Store(Reads::Value, get),
    },
    Function {
        name: "getv",
        params: "ss*",
        run: Run::Store(Reads::Value, getv),
    },
    Function {
        name: "gets",
        params: "s",
        run: Run::Store(Reads::Values, gets),
    },
    Function {
        name: "getvs",
        params: "s",
        run: Run::Store(Reads::Values, getvs),
    },
    Function {
        name: "ls",
        params: "s",
        run: Run::Store(Reads::Names, |inputs, args| {
            memkv::list(&inputs.keys, text(args, 0))
                .map(Value::texts)
                .map_err(|error| explain(&error))
        }),
    },
    Function {
        name: "lsdir",
        params: "s",
        run: Run::Store(Reads::Names, |inputs, args| {
            memkv::list_dirs(&inputs.keys, text(args, 0))
                .map(Value::texts)
                .map_err(|error| explain(&error))
        }),
    },
    Function {
        name: "cget",
        params: "a*",
        run: Run::Plain(encrypted),
    },
    Function {
        name: "cgetv",
        params: "a*",
        run: Run::Plain(encrypted),
    },
    Function {
        name: "cgets",
        params: "a*",
        run: Run::Plain(encrypted),
    },
    Function {
        name: "cgetvs",
        params: "a*",
        run: Run::Plain(encrypted),
    },
];

fn explain(error: &KeyError) -> String {
    match error {
        // These are confd's words, which people look for in logs.
        KeyError::Missing(key) => advised(
            format_args!("key does not exist: {}", key.escape_debug()),
            "getv with a second argument answers for a key that may be absent; only keys below the target's `keys` can be seen",
        ),
        KeyError::NotText(_) | KeyError::Path(_) | KeyError::Pattern(_) => error.to_string(),
    }
}

fn encrypted(_: &[Value]) -> Given {
    Err(advised(
        "encrypted values are not supported",
        "keep secrets in files that only the program may read, or decrypt them before they go into the store",
    ))
}

fn found<'i>(inputs: &'i Inputs, key: &str) -> Result<Option<&'i str>, String> {
    memkv::value(&inputs.keys, key).map_err(|error| explain(&error))
}

fn missing(key: &str) -> String {
    explain(&KeyError::Missing(key.to_owned()))
}

fn get(inputs: &Inputs, args: &[Value]) -> Given {
    let key = text(args, 0);
    let value = found(inputs, key)?.ok_or_else(|| missing(key))?;
    Ok(Value::pair(key, value))
}

fn getv(inputs: &Inputs, args: &[Value]) -> Given {
    let key = text(args, 0);
    match (found(inputs, key)?, args.get(1)) {
        (Some(value), _) => Ok(value.into()),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(missing(key)),
    }
}

fn matching(inputs: &Inputs, args: &[Value]) -> Result<Vec<Pair>, String> {
    memkv::matching(&inputs.keys, text(args, 0)).map_err(|error| explain(&error))
}

fn gets(inputs: &Inputs, args: &[Value]) -> Given {
    let pairs = matching(inputs, args)?.into_iter();
    let pairs = pairs.map(|pair| Value::pair(&pair.key, &pair.value));
    Ok(Value::list(ListType::NamedPairs, pairs.collect()))
}

fn getvs(inputs: &Inputs, args: &[Value]) -> Given {
    let pairs = matching(inputs, args)?.into_iter();
    let mut values: Vec<String> = pairs.map(|pair| pair.value).collect();
    values.sort();
    Ok(Value::texts(values))
}
