//! Functions over numbers and truth values. Pure.

use super::{Function, Given, Run, int, text};
use crate::watch::render::gotmpl::value::{ListType, Value};
use crate::watch::render::strings as confd;
use crate::watch::render::strings::{MAX_SEQ, TextError};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "parseBool",
        params: "s",
        run: Run::Plain(|args| {
            confd::parse_bool(text(args, 0))
                .map(Value::Bool)
                .map_err(|error| error.to_string())
        }),
    },
    Function {
        name: "atoi",
        params: "s",
        run: Run::Plain(|args| {
            confd::atoi(text(args, 0))
                .map(Value::int)
                .map_err(|error| error.to_string())
        }),
    },
    Function {
        name: "add",
        params: "ii",
        run: Run::Plain(|args| calculate("add", i64::checked_add, args)),
    },
    Function {
        name: "sub",
        params: "ii",
        run: Run::Plain(|args| calculate("sub", i64::checked_sub, args)),
    },
    Function {
        name: "mul",
        params: "ii",
        run: Run::Plain(|args| calculate("mul", i64::checked_mul, args)),
    },
    Function {
        name: "div",
        params: "ii",
        run: Run::Plain(|args| calculate("div", i64::checked_div, args)),
    },
    Function {
        name: "mod",
        params: "ii",
        run: Run::Plain(|args| calculate("mod", i64::checked_rem, args)),
    },
    Function {
        name: "seq",
        params: "ii",
        run: Run::Plain(seq),
    },
];

fn calculate(name: &'static str, operation: fn(i64, i64) -> Option<i64>, args: &[Value]) -> Given {
    let result = confd::calculate(name, operation, int(args, 0), int(args, 1));
    result.map(Value::int).map_err(|error| error.to_string())
}

/// From the first to the last, downwards if the first is greater.
fn seq(args: &[Value]) -> Given {
    let (first, last) = (int(args, 0), int(args, 1));
    if first.abs_diff(last) >= MAX_SEQ.unsigned_abs() {
        return Err(TextError::Sequence.to_string());
    }
    let numbers = if first <= last {
        (first..=last).map(Value::int).collect()
    } else {
        (last..=first).rev().map(Value::int).collect()
    };
    Ok(Value::list(ListType::Ints, numbers))
}
