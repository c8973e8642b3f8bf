//! Functions that read and write JSON. Pure.

use std::collections::BTreeMap;

use super::{Function, Given, Run, text};
use crate::watch::render::gotmpl::json;
use crate::watch::render::gotmpl::value::{ListType, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "json",
        params: "s",
        run: Run::Plain(object),
    },
    Function {
        name: "jsonArray",
        params: "s",
        run: Run::Plain(array),
    },
    Function {
        name: "fromJson",
        params: "s",
        run: Run::Plain(|args| json::read(text(args, 0))),
    },
    Function {
        name: "toJson",
        params: "a",
        run: Run::Plain(|args| Ok(json::write(&args[0], false)?.into())),
    },
    Function {
        name: "toPrettyJson",
        params: "a",
        run: Run::Plain(|args| Ok(json::write(&args[0], true)?.into())),
    },
];

fn object(args: &[Value]) -> Given {
    match json::read(text(args, 0))? {
        object @ Value::Map(_) => Ok(object),
        // Go reads it into a map that stays as it was: empty.
        Value::Nil => Ok(Value::map(BTreeMap::new())),
        _ => Err("the value is JSON, and not an object".to_owned()),
    }
}

fn array(args: &[Value]) -> Given {
    match json::read(text(args, 0))? {
        list @ Value::List(_) => Ok(list),
        Value::Nil => Ok(Value::list(ListType::Any, Vec::new())),
        _ => Err("the value is JSON, and not a list".to_owned()),
    }
}
