//! `printf`: the format, and what a verb makes of one value. Pure.

use std::fmt::Write;

use super::verb::Verb;
use super::{float, print, text};
use crate::watch::render::gotmpl::LARGEST;
use crate::watch::render::gotmpl::value::{IntType, Value};

/// Wider than that nothing is; Go's limit too.
const WIDEST: i64 = 1_000_000;

/// Formats values.
pub(in crate::watch::render::gotmpl) fn printf(
    format: &str,
    values: &[Value],
) -> Result<String, String> {
    let mut printer = Printer {
        rest: format,
        values,
        at: 0,
        reordered: false,
        good_index: true,
        after_index: false,
        out: String::with_capacity(2 * format.len()),
    };
    while let Some(start) = printer.rest.find('%') {
        printer.out.push_str(&printer.rest[..start]);
        printer.rest = &printer.rest[start + 1..];
        printer.verb()?;
    }
    printer.out.push_str(printer.rest);
    printer.extra()?;
    Ok(printer.out)
}

struct Printer<'f> {
    rest: &'f str,
    values: &'f [Value],
    at: usize,
    reordered: bool,
    good_index: bool,
    after_index: bool,
    out: String,
}

impl Printer<'_> {
    fn verb(&mut self) -> Result<(), String> {
        // Most verbs are these, and say no more than to put the text here.
        if let Some(rest) = self.rest.strip_prefix(['s', 'v'])
            && let Some(Value::Text(text)) = self.values.get(self.at)
            && self.out.len() + text.len() <= LARGEST
        {
            self.rest = rest;
            self.at += 1;
            self.out.push_str(text);
            return Ok(());
        }
        let mut verb = Verb::default();
        self.good_index = true;
        self.after_index = false;
        self.flags(&mut verb);
        self.index();
        self.width(&mut verb);
        self.precision(&mut verb);
        if !self.after_index {
            self.index();
        }
        let Some(letter) = self.rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return Ok(());
        };
        self.rest = &self.rest[letter.len_utf8()..];
        verb.letter = letter;
        if letter == '%' {
            self.out.push('%');
        } else if !self.good_index {
            let _ = write!(self.out, "%!{letter}(BADINDEX)");
        } else if let Some(value) = self.values.get(self.at) {
            self.at += 1;
            if letter == 'v' {
                verb.go_syntax = std::mem::take(&mut verb.sharp);
                verb.plus_values = std::mem::take(&mut verb.plus);
            }
            print::write(&mut self.out, value, &verb)?;
        } else {
            let _ = write!(self.out, "%!{letter}(MISSING)");
        }
        Ok(())
    }

    fn flags(&mut self, verb: &mut Verb) {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '#' => verb.sharp = true,
                '+' => verb.plus = true,
                ' ' => verb.space = true,
                '-' => verb.minus = true,
                '0' => verb.zero = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        // Go never pads with zeros on the right.
        verb.zero &= !verb.minus;
    }

    /// `[2]`: which value is next.
    fn index(&mut self) {
        let Some(after) = self.rest.strip_prefix('[') else {
            return;
        };
        self.reordered = true;
        let Some(end) = after.find(']') else {
            self.good_index = false;
            self.rest = after;
            return;
        };
        let number: Option<usize> = after[..end].parse().ok();
        self.rest = &after[end + 1..];
        match number
            .and_then(|number| number.checked_sub(1))
            .filter(|at| *at < self.values.len())
        {
            Some(at) => {
                self.at = at;
                self.after_index = true;
            }
            None => self.good_index = false,
        }
    }

    fn digits(&mut self) -> Option<i64> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.parse().ok().filter(|number| *number <= WIDEST)
    }

    /// `*`: the next value is the number.
    fn starred(&mut self) -> Option<i64> {
        let value = self.values.get(self.at);
        self.at += usize::from(value.is_some());
        self.after_index = false;
        match value {
            Some(Value::Int(number, _)) if number.abs() <= WIDEST => Some(*number),
            Some(_) | None => None,
        }
    }

    fn width(&mut self, verb: &mut Verb) {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            match self.starred() {
                Some(width) => {
                    if width < 0 {
                        verb.minus = true;
                        verb.zero = false;
                    }
                    verb.width = usize::try_from(width.abs()).ok();
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            return;
        }
        let width = self.digits();
        if self.after_index && width.is_some() {
            self.good_index = false;
        }
        verb.width = width.and_then(|width| usize::try_from(width).ok());
    }

    fn precision(&mut self, verb: &mut Verb) {
        let Some(rest) = self.rest.strip_prefix('.') else {
            return;
        };
        self.rest = rest;
        if self.after_index {
            self.good_index = false;
        }
        self.index();
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            match self.starred() {
                Some(precision) => verb.precision = usize::try_from(precision).ok(),
                None => self.out.push_str("%!(BADPREC)"),
            }
            return;
        }
        let precision = self.digits().unwrap_or_default();
        verb.precision = usize::try_from(precision).ok();
    }

    /// Values that no verb asked for.
    fn extra(&mut self) -> Result<(), String> {
        if self.reordered || self.at >= self.values.len() {
            return Ok(());
        }
        self.out.push_str("%!(EXTRA ");
        for (place, value) in self.values[self.at..].iter().enumerate() {
            if place > 0 {
                self.out.push_str(", ");
            }
            match value {
                Value::Nil | Value::Missing => self.out.push_str("<nil>"),
                value => {
                    let _ = write!(self.out, "{}=", value.type_name());
                    print::write_plain(&mut self.out, value)?;
                }
            }
        }
        self.out.push(')');
        Ok(())
    }
}

impl Verb {
    /// `%v`
    pub(super) fn plain() -> Self {
        Self {
            letter: 'v',
            ..Self::default()
        }
    }

    /// Writes what stands alone: everything but lists, maps and structs.
    pub(super) fn scalar(&self, out: &mut String, value: &Value) {
        let done = match value {
            _ if self.letter == 'T' => {
                let name = value.type_name();
                let name = if name == "nil" { "<nil>" } else { name };
                self.padded(out, name);
                true
            }
            Value::Nil | Value::Missing => {
                if self.letter == 'v' {
                    self.padded(out, "<nil>");
                } else {
                    let _ = write!(out, "%!{}(<nil>)", self.letter);
                }
                true
            }
            Value::Bool(is) => self.bool(out, *is),
            Value::Int(number, of) => self.int(out, *number, *of),
            Value::Float(number) => self.float(out, *number),
            Value::Text(text) => self.text(out, text),
            Value::Time(date) => self.text(out, &date.to_string()),
            Value::List(_) | Value::Map(_) | Value::Record(_) => false,
        };
        if !done {
            self.bad(out, value);
        }
    }

    /// Writes a list, a map or a struct if the verb does not go through what it holds.
    pub(super) fn takes_whole(&self, out: &mut String, value: &Value) -> Result<bool, String> {
        if !matches!(value, Value::List(_) | Value::Map(_) | Value::Record(_)) {
            return Ok(false);
        }
        match self.letter {
            'T' => self.padded(out, value.type_name()),
            'w' | 'p' => {
                let _ = write!(out, "%!{}({}=", self.letter, value.type_name());
                print::write_plain(out, value)?;
                out.push(')');
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn bad(&self, out: &mut String, value: &Value) {
        let _ = write!(out, "%!{}({}=", self.letter, value.type_name());
        Self {
            letter: 'v',
            go_syntax: false,
            plus_values: false,
            ..*self
        }
        .scalar(out, value);
        out.push(')');
    }

    /// Fills up to the width.
    pub(super) fn padded(&self, out: &mut String, text: &str) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        let fill = if self.zero { '0' } else { ' ' };
        if !self.minus {
            out.extend(std::iter::repeat_n(fill, missing));
        }
        out.push_str(text);
        if self.minus {
            out.extend(std::iter::repeat_n(' ', missing));
        }
    }

    fn bool(&self, out: &mut String, is: bool) -> bool {
        let fits = matches!(self.letter, 't' | 'v');
        if fits {
            self.padded(out, if is { "true" } else { "false" });
        }
        fits
    }

    fn int(&self, out: &mut String, number: i64, of: IntType) -> bool {
        let size = number.unsigned_abs();
        match self.letter {
            'v' if self.go_syntax && of.is_unsigned() => {
                self.padded(out, &format!("{size:#x}"));
            }
            'd' | 'v' => self.digits(out, number, &size.to_string(), ""),
            'b' => self.digits(out, number, &format!("{size:b}"), "0b"),
            'o' => {
                let digits = format!("{size:o}");
                let prefix = if digits.starts_with('0') { "" } else { "0" };
                self.digits(out, number, &digits, prefix);
            }
            'O' => Self {
                sharp: true,
                ..*self
            }
            .digits(out, number, &format!("{size:o}"), "0o"),
            'x' => self.digits(out, number, &format!("{size:x}"), "0x"),
            'X' => self.digits(out, number, &format!("{size:X}"), "0X"),
            'c' => self.padded(out, &character(number).to_string()),
            'q' => self.padded(out, &text::quoted_char(character(number), self.plus)),
            'U' => self.unicode(out, number),
            _ => return false,
        }
        true
    }

    fn unicode(&self, out: &mut String, number: i64) {
        let digits = self
            .precision
            .filter(|precision| *precision > 4)
            .unwrap_or(4);
        let mut text = format!("U+{number:0digits$X}");
        let c = character(number);
        if self.sharp && i64::from(u32::from(c)) == number && text::is_printable(c) {
            let _ = write!(text, " '{c}'");
        }
        Self {
            zero: false,
            ..*self
        }
        .padded(out, &text);
    }

    /// An integer with sign, prefix and zeros.
    fn digits(&self, out: &mut String, number: i64, digits: &str, prefix: &str) {
        let sign = self.sign(number < 0);
        let prefix = if self.sharp { prefix } else { "" };
        let least = match self.precision {
            // A precision of zero leaves nothing of the number zero.
            Some(0) if number == 0 => {
                return Self {
                    zero: false,
                    ..*self
                }
                .padded(out, "");
            }
            Some(precision) => precision,
            None if self.zero => self
                .width
                .map_or(0, |width| width.saturating_sub(sign.len())),
            None => 0,
        };
        let text = format!("{sign}{prefix}{digits:0>least$}");
        Self {
            zero: false,
            ..*self
        }
        .padded(out, &text);
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.plus, self.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn float(&self, out: &mut String, number: f64) -> bool {
        let six = Some(self.precision.unwrap_or(6));
        let text = match self.letter {
            'v' | 'g' | 'G' => float::general(number, self.precision),
            'e' | 'E' => float::exponent(number, six),
            'f' | 'F' => float::decimal(number, six),
            'b' | 'x' | 'X' if !number.is_finite() => float::general(number, None),
            'b' => float::binary(number),
            'x' | 'X' => float::hexadecimal(number, self.precision),
            _ => return false,
        };
        let text = if self.sharp && !matches!(self.letter, 'b' | 'x' | 'X') {
            self.with_point(&text)
        } else {
            text
        };
        let text = if self.letter.is_uppercase() && number.is_finite() {
            text.to_uppercase()
        } else {
            text
        };
        let size = text.trim_start_matches(['-', '+']);
        // An infinity has a sign of its own, which only shows when it is asked for.
        let infinite = number.is_infinite() && number > 0.0 && self.letter == 'v';
        let sign = if infinite {
            "+"
        } else {
            self.sign(text.starts_with('-'))
        };
        if !self.zero || !number.is_finite() {
            Self {
                zero: false,
                ..*self
            }
            .padded(out, &format!("{sign}{size}"));
            return true;
        }
        let width = self
            .width
            .map_or(0, |width| width.saturating_sub(sign.len()));
        let _ = write!(out, "{sign}{size:0>width$}");
        true
    }

    /// `%#g` keeps the point and the zeros behind it.
    fn with_point(&self, text: &str) -> String {
        let (mantissa, exponent) = text.find('e').map_or((text, ""), |at| text.split_at(at));
        let mut mantissa = mantissa.to_owned();
        if !mantissa.contains('.') {
            mantissa.push('.');
        }
        if matches!(self.letter, 'g' | 'G' | 'v') {
            let wanted = self.precision.unwrap_or(6);
            let digits = mantissa.trim_start_matches(['-', '0', '.']);
            let have = digits.chars().filter(char::is_ascii_digit).count();
            mantissa.extend(std::iter::repeat_n('0', wanted.saturating_sub(have)));
        }
        mantissa + exponent
    }

    fn text(&self, out: &mut String, whole: &str) -> bool {
        let cut: String;
        let shown = match self.precision {
            Some(precision) if matches!(self.letter, 's' | 'v' | 'q') => {
                cut = whole.chars().take(precision).collect();
                &cut
            }
            _ => whole,
        };
        match self.letter {
            'v' if self.go_syntax => self.padded(out, &text::quoted(shown, false)),
            's' | 'v' => self.padded(out, shown),
            'q' if self.sharp && text::can_backquote(shown) => {
                self.padded(out, &format!("`{shown}`"));
            }
            'q' => self.padded(out, &text::quoted(shown, self.plus)),
            'x' | 'X' => {
                let hex = self.hex(shown);
                self.padded(out, &hex);
            }
            _ => return false,
        }
        true
    }

    fn hex(&self, text: &str) -> String {
        let mut out = String::new();
        let prefix = if self.letter == 'X' { "0X" } else { "0x" };
        let count = self.precision.unwrap_or(usize::MAX);
        for (at, byte) in text.bytes().take(count).enumerate() {
            if self.space && at > 0 {
                out.push(' ');
            }
            if self.sharp && (self.space || at == 0) {
                out.push_str(prefix);
            }
            let _ = if self.letter == 'X' {
                write!(out, "{byte:02X}")
            } else {
                write!(out, "{byte:02x}")
            };
        }
        out
    }
}

fn character(number: i64) -> char {
    let code = u32::try_from(number).ok().and_then(char::from_u32);
    code.unwrap_or(char::REPLACEMENT_CHARACTER)
}
