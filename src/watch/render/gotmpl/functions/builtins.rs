//! The functions of Go's text/template itself. Pure.

use super::compare::{Order, equal_to_any, in_order};
use super::{Function, Given, Run, escape};
use crate::watch::render::gotmpl::value::{IntType, Value};
use crate::watch::render::gotmpl::{NO_VALUE, printf};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "and",
        params: "aa*",
        run: Run::And,
    },
    Function {
        name: "or",
        params: "aa*",
        run: Run::Or,
    },
    Function {
        name: "not",
        params: "a",
        run: Run::Plain(|args| Ok((!args[0].is_true()).into())),
    },
    Function {
        name: "len",
        params: "a",
        run: Run::Plain(len),
    },
    Function {
        name: "index",
        params: "aa*",
        run: Run::Plain(index),
    },
    Function {
        name: "slice",
        params: "aa*",
        run: Run::Plain(slice),
    },
    Function {
        name: "call",
        params: "aa*",
        run: Run::Plain(call),
    },
    Function {
        name: "print",
        params: "a*",
        run: Run::Plain(|args| printf::print(args).map(Value::from)),
    },
    Function {
        name: "println",
        params: "a*",
        run: Run::Plain(|args| printf::println(args).map(Value::from)),
    },
    Function {
        name: "printf",
        params: "sa*",
        run: Run::Plain(|args| printf::printf(super::text(args, 0), &args[1..]).map(Value::from)),
    },
    Function {
        name: "html",
        params: "a*",
        run: Run::Plain(|args| Ok(escape::html(&written(args)?).into())),
    },
    Function {
        name: "js",
        params: "a*",
        run: Run::Plain(|args| Ok(escape::javascript(&written(args)?).into())),
    },
    Function {
        name: "urlquery",
        params: "a*",
        run: Run::Plain(|args| Ok(escape::url_query(&written(args)?).into())),
    },
    Function {
        name: "eq",
        params: "aa*",
        run: Run::Plain(|args| equal_to_any(args).map(Value::Bool)),
    },
    Function {
        name: "ne",
        params: "aa",
        run: Run::Plain(|args| equal_to_any(args).map(|is| Value::Bool(!is))),
    },
    Function {
        name: "lt",
        params: "aa",
        run: Run::Plain(|args| in_order(args, Order::Less).map(Value::Bool)),
    },
    Function {
        name: "le",
        params: "aa",
        run: Run::Plain(|args| in_order(args, Order::LessOrEqual).map(Value::Bool)),
    },
    Function {
        name: "gt",
        params: "aa",
        run: Run::Plain(|args| in_order(args, Order::LessOrEqual).map(|is| Value::Bool(!is))),
    },
    Function {
        name: "ge",
        params: "aa",
        run: Run::Plain(|args| in_order(args, Order::Less).map(|is| Value::Bool(!is))),
    },
];

/// Several values as `print` writes them, one string as it is.
fn written(args: &[Value]) -> Result<String, String> {
    match args {
        [Value::Text(text)] => Ok(text.as_ref().to_owned()),
        args => {
            // Like an action, these functions write that there is no value.
            let shown = args.iter().map(|arg| match arg {
                Value::Nil | Value::Missing => Value::from(NO_VALUE),
                arg => arg.clone(),
            });
            printf::print(&shown.collect::<Vec<_>>())
        }
    }
}

fn len(args: &[Value]) -> Given {
    let length = match &args[0] {
        Value::Text(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.0.len(),
        Value::Nil | Value::Missing => return Err("len of nil".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(args: &[Value]) -> Given {
    let mut item = args[0].clone();
    if matches!(item, Value::Nil | Value::Missing) {
        return Err("index of untyped nil".to_owned());
    }
    for by in &args[1..] {
        item = index_once(&item, by)?;
    }
    Ok(item)
}

/// One step into a list, a map or a string.
fn index_once(item: &Value, by: &Value) -> Given {
    match item {
        Value::Nil | Value::Missing => Err("index of nil pointer".to_owned()),
        Value::Text(text) => {
            let at = parse_index(by, text.len().saturating_sub(1), text.is_empty())?;
            Ok(Value::Int(i64::from(text.as_bytes()[at]), IntType::Uint8))
        }
        Value::List(list) => {
            let at = parse_index(
                by,
                list.items.len().saturating_sub(1),
                list.items.is_empty(),
            )?;
            Ok(list.items[at].clone())
        }
        Value::Map(map) => match by {
            Value::Text(key) => Ok(map.0.get(key).cloned().unwrap_or(Value::Nil)),
            Value::Nil | Value::Missing => Err("value is nil; should be of type string".to_owned()),
            other => Err(format!(
                "value has type {}; should be string",
                other.type_name()
            )),
        },
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

/// An index of at most `last`.
fn parse_index(by: &Value, last: usize, none: bool) -> Result<usize, String> {
    let number = match by {
        Value::Int(number, _) => *number,
        Value::Nil | Value::Missing => {
            return Err("cannot index slice/array with nil".to_owned());
        }
        other => {
            let found = other.type_name();
            return Err(format!("cannot index slice/array with type {found}"));
        }
    };
    let place = usize::try_from(number)
        .ok()
        .filter(|at| *at <= last && !none);
    place.ok_or_else(|| format!("index out of range: {number}"))
}

fn slice(args: &[Value]) -> Given {
    let length = match &args[0] {
        Value::Text(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Nil | Value::Missing => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    if args.len() == 4 && matches!(args[0], Value::Text(_)) {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut bounds = [0, length, length];
    for (bound, by) in bounds.iter_mut().zip(&args[1..]) {
        *bound = parse_index(by, length, false)?;
    }
    let [from, to, most] = bounds;
    if from > to || to > most {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match &args[0] {
        Value::Text(text) => {
            let part = text.get(from..to);
            let part =
                part.ok_or("the slice would cut a character in two, and a value has to be text")?;
            Ok(part.into())
        }
        Value::List(list) => Ok(Value::list(list.of, list.items[from..to].to_vec())),
        _ => Ok(Value::Nil),
    }
}

fn call(args: &[Value]) -> Given {
    match &args[0] {
        Value::Nil | Value::Missing => Err("call of nil".to_owned()),
        other => Err(format!("non-function of type {}", other.type_name())),
    }
}
