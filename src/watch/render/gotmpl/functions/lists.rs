//! Functions over lists and maps. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Function, Given, Run, int, list, map, text, texts};
use crate::watch::render::gotmpl::value::{List, ListType, Value};
use crate::watch::render::strings as confd;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "map",
        params: "a*",
        run: Run::Plain(|args| pairs("map", args)),
    },
    Function {
        name: "dict",
        params: "a*",
        run: Run::Plain(|args| pairs("dict", args)),
    },
    Function {
        name: "list",
        params: "a*",
        run: Run::Plain(|args| Ok(Value::list(ListType::Any, args.to_vec()))),
    },
    Function {
        name: "append",
        params: "la",
        run: Run::Plain(append),
    },
    Function {
        name: "hasKey",
        params: "ms",
        run: Run::Plain(|args| {
            Ok(map(args, 0)
                .is_some_and(|map| map.0.contains_key(text(args, 1)))
                .into())
        }),
    },
    Function {
        name: "keys",
        params: "m",
        run: Run::Plain(|args| {
            Ok(Value::texts(
                map(args, 0)
                    .into_iter()
                    .flat_map(|map| map.0.keys().cloned()),
            ))
        }),
    },
    Function {
        name: "values",
        params: "m",
        run: Run::Plain(|args| {
            Ok(Value::list(
                ListType::Any,
                map(args, 0)
                    .into_iter()
                    .flat_map(|map| map.0.values().cloned())
                    .collect(),
            ))
        }),
    },
    Function {
        name: "pluck",
        params: "sm*",
        run: Run::Plain(pluck),
    },
    Function {
        name: "split",
        params: "ss",
        run: Run::Plain(|args| Ok(Value::texts(confd::split(text(args, 0), text(args, 1))))),
    },
    Function {
        name: "join",
        params: "ts",
        run: Run::Plain(|args| Ok(texts(args, 0).join(text(args, 1)).into())),
    },
    Function {
        name: "reverse",
        params: "a",
        run: Run::Plain(reverse),
    },
    Function {
        name: "sortByLength",
        params: "t",
        run: Run::Plain(sort_by_length),
    },
    Function {
        name: "sortKVByLength",
        params: "l",
        run: Run::Plain(sort_pairs_by_length),
    },
    Function {
        name: "default",
        params: "aa",
        run: Run::Plain(|args| Ok(args[usize::from(args[1].is_true())].clone())),
    },
    Function {
        name: "ternary",
        params: "aab",
        run: Run::Plain(|args| Ok(args[usize::from(!args[2].is_true())].clone())),
    },
    Function {
        name: "coalesce",
        params: "a*",
        run: Run::Plain(|args| {
            Ok(args
                .iter()
                .find(|value| value.is_true())
                .cloned()
                .unwrap_or(Value::Nil))
        }),
    },
    Function {
        name: "empty",
        params: "a",
        run: Run::Plain(|args| Ok((!args[0].is_true()).into())),
    },
    Function {
        name: "include",
        params: "sa*",
        run: Run::Include,
    },
    Function {
        name: "repeat",
        params: "is",
        run: Run::Plain(repeat),
    },
];

fn pairs(name: &str, args: &[Value]) -> Given {
    if args.len() % 2 == 1 {
        return Err(format!("invalid {name} call: a key without a value"));
    }
    let mut map = BTreeMap::new();
    for pair in args.chunks_exact(2) {
        let Value::Text(key) = &pair[0] else {
            let found = pair[0].type_name();
            return Err(format!(
                "a key of {name} has the wrong type: expected string; got {found}"
            ));
        };
        map.insert(Arc::clone(key), pair[1].clone());
    }
    Ok(Value::map(map))
}

fn append(args: &[Value]) -> Given {
    let mut items = list(args, 0).to_vec();
    items.push(args[1].clone());
    Ok(Value::list(ListType::Any, items))
}

fn pluck(args: &[Value]) -> Given {
    let key = text(args, 0);
    let maps = (1..args.len()).filter_map(|at| map(args, at));
    let found = maps.filter_map(|map| map.0.get(key).cloned());
    Ok(Value::list(ListType::Any, found.collect()))
}

/// confd turns `[]string` and `[]KVPair` round and returns everything else as it is, also what `gets` gives, which is of
/// a type of its own; what `sortKVByLength` gives is turned round. A list of JSON that has only strings is one of strings.
fn reverse(args: &[Value]) -> Given {
    let Value::List(list) = &args[0] else {
        return Ok(args[0].clone());
    };
    let is_turned = match list.of {
        ListType::Texts | ListType::Pairs => true,
        ListType::Any => list.items.iter().all(|item| matches!(item, Value::Text(_))),
        ListType::Ints | ListType::NamedPairs | ListType::Services => false,
    };
    if !is_turned {
        return Ok(args[0].clone());
    }
    let items = list.items.iter().rev().cloned().collect();
    Ok(Value::List(Arc::new(List { of: list.of, items })))
}

fn sort_by_length(args: &[Value]) -> Given {
    let mut sorted = texts(args, 0);
    sorted.sort_by_key(|text| text.len());
    Ok(Value::texts(sorted))
}

fn sort_pairs_by_length(args: &[Value]) -> Given {
    let Value::List(list) = &args[0] else {
        return Ok(args[0].clone());
    };
    if !matches!(list.of, ListType::Pairs | ListType::NamedPairs) {
        return Err("sortKVByLength sorts what `gets` gives: pairs with a key".to_owned());
    }
    let mut items = list.items.clone();
    items.sort_by_key(|item| match item {
        Value::Record(pair) => match pair.field("Key") {
            Some(Value::Text(key)) => key.len(),
            Some(_) | None => 0,
        },
        _ => 0,
    });
    Ok(Value::list(ListType::Pairs, items))
}

fn repeat(args: &[Value]) -> Given {
    let (count, text) = (int(args, 0), text(args, 1));
    let count = super::strings::count(count)?;
    super::strings::bounded(text.len().saturating_mul(count))?;
    Ok(text.repeat(count).into())
}
