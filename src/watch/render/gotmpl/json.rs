//! JSON as Go's encoding/json reads it into an `interface{}` and writes it: every number that is read is a float64. Nothing
//! here recurses, so depth costs no stack. Pure.

use std::collections::{BTreeMap, btree_map};
use std::fmt::Write;
use std::sync::Arc;

use super::LARGEST;
use super::printf::float_exponent;
use super::value::{ListType, Value};

/// Go reads values that are nested no deeper than this.
const DEEPEST: usize = 10_000;

/// A list or an object whose end has not come.
enum Open {
    List(Vec<Value>),
    Map(BTreeMap<Arc<str>, Value>, Arc<str>),
}

/// Reads one value.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let read = reader.document();
    read.map_err(|what| format!("the value is not JSON: {what} at byte {}", reader.at))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn document(&mut self) -> Result<Value, String> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            // A value begins here.
            let Some(mut value) = self.begin(&mut open)? else {
                continue;
            };
            // The end of this value may end the one around it, and so on.
            loop {
                match open.pop() {
                    None => {
                        self.skip_space();
                        return match self.peek() {
                            None => Ok(value),
                            Some(_) => Err("there is more behind the value".to_owned()),
                        };
                    }
                    Some(Open::List(mut items)) => {
                        items.push(value);
                        if self.take(b',') {
                            open.push(Open::List(items));
                            break;
                        }
                        if !self.take(b']') {
                            return Err("a comma or ] is missing".to_owned());
                        }
                        value = Value::list(ListType::Any, items);
                    }
                    Some(Open::Map(mut entries, key)) => {
                        entries.insert(key, value);
                        if self.take(b',') {
                            let key = self.key()?;
                            open.push(Open::Map(entries, key));
                            break;
                        }
                        if !self.take(b'}') {
                            return Err("a comma or } is missing".to_owned());
                        }
                        value = Value::map(entries);
                    }
                }
            }
        }
    }

    /// A value that is complete, or nothing if a list or an object was opened.
    fn begin(&mut self, open: &mut Vec<Open>) -> Result<Option<Value>, String> {
        self.skip_space();
        if open.len() >= DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        match self.peek() {
            Some(b'[') => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(Some(Value::list(ListType::Any, Vec::new())));
                }
                open.push(Open::List(Vec::new()));
                Ok(None)
            }
            Some(b'{') => {
                self.at += 1;
                if self.take(b'}') {
                    return Ok(Some(Value::map(BTreeMap::new())));
                }
                let key = self.key()?;
                open.push(Open::Map(BTreeMap::new(), key));
                Ok(None)
            }
            Some(b'"') => self.string().map(|text| Some(text.into())),
            Some(b'-' | b'0'..=b'9') => self.number().map(Some),
            Some(_) => self.word().map(Some),
            None => Err("it ends too early".to_owned()),
        }
    }

    fn key(&mut self) -> Result<Arc<str>, String> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err("the name of a field is missing".to_owned());
        }
        let key = self.string()?;
        if !self.take(b':') {
            return Err("a colon is missing".to_owned());
        }
        Ok(key.into())
    }

    fn word(&mut self) -> Result<Value, String> {
        let words = [
            ("null", Value::Nil),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        let rest = &self.text[self.at..];
        for (word, value) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        let c = rest.chars().next().unwrap_or_default();
        Err(format!("unexpected {}", c.escape_debug()))
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let zero = self.peek() == Some(b'0');
        self.at += usize::from(zero);
        let mut fine = zero || self.digits();
        if self.peek() == Some(b'.') {
            self.at += 1;
            fine &= self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            fine &= self.digits();
        }
        let text = &self.text[start..self.at];
        let number: f64 = text
            .parse()
            .map_err(|_| format!("{text} is not a number"))?;
        if !fine {
            return Err(format!("{text} is not a number"));
        }
        if !number.is_finite() {
            return Err(format!("the number {text} is out of range"));
        }
        Ok(Value::Float(number))
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .find(|c| matches!(c, '"' | '\\') || c < ' ')
                .ok_or("a string has no end")?;
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err("a string holds a control character".to_owned()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let escape = self.peek().ok_or("a string has no end")?;
        self.at += 1;
        Ok(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => {
                self.at -= 1;
                return Err("a string holds an unknown escape".to_owned());
            }
        })
    }

    /// The character of `\u1234`, or of two of them that belong together. Half of a pair is no character.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex().ok_or("\\u needs four hexadecimal digits")?;
        if !(0xD800..0xE000).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let mark = self.at;
        if first < 0xDC00 && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            if let Some(second) = self.hex()
                && (0xDC00..0xE000).contains(&second)
            {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = mark;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let code = u32::from_str_radix(digits, 16).ok();
        let code = code.filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.at += 4;
        Some(code)
    }
}

/// A value that is being written: what is left of it.
enum Rest<'v> {
    List(std::slice::Iter<'v, Value>),
    Map(btree_map::Iter<'v, Arc<str>, Value>),
    Record(std::slice::Iter<'v, (&'static str, Value)>),
}

/// Writes a value, in one line or with a line for each item.
pub(super) fn write(value: &Value, pretty: bool) -> Result<String, String> {
    let mut writer = Writer {
        out: String::new(),
        pretty,
        open: Vec::new(),
    };
    writer.value(value)?;
    while writer.next()? {}
    Ok(writer.out)
}

struct Writer<'v> {
    out: String,
    pretty: bool,
    /// The lists and maps that are open, and whether each has an item already.
    open: Vec<(Rest<'v>, bool)>,
}

impl<'v> Writer<'v> {
    fn line(&mut self) {
        if self.pretty {
            self.out.push('\n');
            for _ in 0..self.open.len() {
                self.out.push_str("  ");
            }
        }
    }

    /// Writes one item; whether anything is left.
    fn next(&mut self) -> Result<bool, String> {
        let Some((rest, begun)) = self.open.last_mut() else {
            return Ok(false);
        };
        let item: Option<(Option<&'v str>, &'v Value)> = match rest {
            Rest::List(items) => items.next().map(|value| (None, value)),
            Rest::Map(entries) => entries.next().map(|(key, value)| (Some(&**key), value)),
            Rest::Record(fields) => fields.next().map(|(name, value)| (Some(*name), value)),
        };
        let had = std::mem::replace(begun, true);
        let close = if matches!(rest, Rest::List(_)) {
            ']'
        } else {
            '}'
        };
        let Some((key, value)) = item else {
            self.open.pop();
            if had {
                self.line();
            }
            self.out.push(close);
            return Ok(true);
        };
        if had {
            self.out.push(',');
        }
        self.line();
        if let Some(key) = key {
            write_string(&mut self.out, key);
            self.out.push_str(if self.pretty { ": " } else { ":" });
        }
        self.value(value)?;
        Ok(true)
    }

    fn value(&mut self, value: &'v Value) -> Result<(), String> {
        if self.out.len() > LARGEST {
            return Err(format!("the JSON would be larger than {LARGEST} bytes"));
        }
        match value {
            Value::Missing | Value::Nil => self.out.push_str("null"),
            Value::Bool(is) => {
                let _ = write!(self.out, "{is}");
            }
            Value::Int(number, _) => {
                let _ = write!(self.out, "{number}");
            }
            Value::Float(number) => write_float(&mut self.out, *number)?,
            Value::Text(text) => write_string(&mut self.out, text),
            Value::Time(date) => write_string(
                &mut self.out,
                &date.format("2006-01-02T15:04:05.999999999Z07:00"),
            ),
            Value::List(list) => self.begin('[', Rest::List(list.items.iter())),
            Value::Map(map) => self.begin('{', Rest::Map(map.0.iter())),
            Value::Record(record) => self.begin('{', Rest::Record(record.fields.iter())),
        }
        Ok(())
    }

    fn begin(&mut self, bracket: char, rest: Rest<'v>) {
        self.out.push(bracket);
        self.open.push((rest, false));
    }
}

fn write_float(out: &mut String, number: f64) -> Result<(), String> {
    if !number.is_finite() {
        return Err(format!("{number} cannot be written as JSON"));
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // One digit of the exponent is enough for JSON.
        let text = float_exponent(number, None);
        out.push_str(&text.replace("e-0", "e-"));
    } else {
        let _ = write!(out, "{number}");
    }
    Ok(())
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
