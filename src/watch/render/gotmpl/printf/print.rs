//! Values as they print: lists, maps and structs item by item, whatever the verb. Nothing here recurses. Pure.

use std::collections::btree_map;
use std::sync::Arc;

use super::verb::Verb;
use crate::watch::render::gotmpl::LARGEST;
use crate::watch::render::gotmpl::value::Value;

/// `print`: blanks between two values if neither is a string.
pub(in crate::watch::render::gotmpl) fn print(values: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut after_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !after_text {
            out.push(' ');
        }
        write_plain(&mut out, value)?;
        after_text = is_text;
    }
    Ok(out)
}

/// `println`: a blank between all of them, and a line end.
pub(in crate::watch::render::gotmpl) fn println(values: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        write_plain(&mut out, value)?;
    }
    out.push('\n');
    Ok(out)
}

/// Writes a value as `%v` does.
pub(in crate::watch::render::gotmpl) fn write_plain(
    out: &mut String,
    value: &Value,
) -> Result<(), String> {
    if let Value::Text(text) = value {
        out.push_str(text);
        return Ok(());
    }
    write(out, value, &Verb::plain())
}

/// A list, map or struct of which a part is not printed yet.
enum Rest<'v> {
    List(std::slice::Iter<'v, Value>),
    Map(btree_map::Iter<'v, Arc<str>, Value>),
    Record(std::slice::Iter<'v, (&'static str, Value)>),
}

struct Open<'v> {
    rest: Rest<'v>,
    begun: bool,
    close: &'static str,
}

/// Writes a value, with everything that it holds, with one verb.
pub(super) fn write(out: &mut String, value: &Value, verb: &Verb) -> Result<(), String> {
    let mut open: Vec<Open<'_>> = Vec::new();
    begin(out, value, verb, &mut open, true)?;
    while let Some(last) = open.last_mut() {
        if out.len() > LARGEST {
            return Err(format!("the text would be larger than {LARGEST} bytes"));
        }
        let (key, item) = match &mut last.rest {
            Rest::List(items) => (None, items.next()),
            Rest::Map(entries) => entries.next().map_or((None, None), |(key, value)| {
                (Some(Value::Text(Arc::clone(key))), Some(value))
            }),
            Rest::Record(fields) => fields.next().map_or((None, None), |(name, value)| {
                let shown = verb.plus_values || verb.go_syntax;
                (shown.then(|| Value::from(*name)), Some(value))
            }),
        };
        let Some(item) = item else {
            out.push_str(last.close);
            open.pop();
            continue;
        };
        if std::mem::replace(&mut last.begun, true) {
            out.push_str(if verb.go_syntax { ", " } else { " " });
        }
        match (&last.rest, key) {
            (Rest::Record(_), Some(Value::Text(name))) => {
                out.push_str(&name);
                out.push(':');
            }
            (_, Some(key)) => {
                verb.scalar(out, &key);
                out.push(':');
            }
            (_, None) => {}
        }
        begin(out, item, verb, &mut open, false)?;
    }
    if out.len() > LARGEST {
        return Err(format!("the text would be larger than {LARGEST} bytes"));
    }
    Ok(())
}

/// Writes a value that holds no others, or opens one that does.
fn begin<'v>(
    out: &mut String,
    value: &'v Value,
    verb: &Verb,
    open: &mut Vec<Open<'v>>,
    outermost: bool,
) -> Result<(), String> {
    let go = verb.go_syntax;
    if outermost && verb.takes_whole(out, value)? {
        return Ok(());
    }
    let (rest, bracket, close) = match value {
        Value::List(list) if go => (Rest::List(list.items.iter()), "{", "}"),
        Value::List(list) => (Rest::List(list.items.iter()), "[", "]"),
        Value::Map(map) if go => (Rest::Map(map.0.iter()), "{", "}"),
        Value::Map(map) => (Rest::Map(map.0.iter()), "map[", "]"),
        Value::Record(record) => (Rest::Record(record.fields.iter()), "{", "}"),
        Value::Missing | Value::Nil if !outermost => {
            // Go ignores the width and the verb here.
            out.push_str(if go { "interface {}(nil)" } else { "<nil>" });
            return Ok(());
        }
        other => {
            verb.scalar(out, other);
            return Ok(());
        }
    };
    let name = value.type_name();
    match name.strip_prefix('*') {
        Some(pointed) if go => {
            out.push('&');
            out.push_str(pointed);
        }
        Some(_) => out.push('&'),
        None if go => out.push_str(name),
        None => {}
    }
    out.push_str(bracket);
    open.push(Open {
        rest,
        begun: false,
        close,
    });
    Ok(())
}
