//! Numbers, characters and strings as templates write them. Pure.

use super::ast::Number;
use super::value::Value;

/// A number such as `1`, `-0x1F`, `1_000`, `0755` or `1e6`.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let bad = || format!("illegal number syntax: {text:?}");
    if text.ends_with('i') {
        return Err("complex numbers are not supported".to_owned());
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    let hex = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    let looks_float = text.contains(['.', 'p', 'P']) || !hex && text.contains(['e', 'E']);
    if !looks_float {
        let whole = integer(unsigned).ok_or_else(bad)?;
        let signed = if text.starts_with('-') { -whole } else { whole };
        let int = i64::try_from(signed).ok();
        if int.is_none() && u64::try_from(signed).is_err() {
            return Err(format!("integer overflow: {text:?}"));
        }
        let plain = int.map(Value::int);
        return Ok(Number { int, plain });
    }
    // An underscore stands between digits, and not in a float without a prefix.
    let float = if hex {
        hexadecimal(unsigned).map(|size| if text.starts_with('-') { -size } else { size })
    } else {
        text.parse().ok().filter(|_| !text.contains('_'))
    };
    let float: f64 = float.ok_or_else(bad)?;
    if !float.is_finite() {
        return Err(format!("{text:?} is out of range"));
    }
    let plain = Some(Value::Float(float));
    Ok(Number {
        int: whole(float),
        plain,
    })
}

/// `0x1.8p3`.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, power) = text.split_once(['p', 'P'])?;
    let (start, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // More than a u64 holds is more than a float can tell apart.
    let digits = u64::try_from(integer(&format!("{start}{fraction}"))?).ok()?;
    let power = i32::from(power.parse::<i16>().ok()?) - 4 * i32::try_from(fraction.len()).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "it is rounded, as in Go")]
    // The division is made in two steps, since a power of two may be smaller than any float.
    Some(digits as f64 * 2f64.powi(power / 2) * 2f64.powi(power - power / 2))
}

/// The integer that a float is, if it is one.
pub(super) fn whole(float: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction and fits: that is what is asked first"
    )]
    (float.fract() == 0.0 && (-BEYOND..BEYOND).contains(&float)).then_some(float as i64)
}

/// The digits of an integer with its prefix; what is larger than any integer is as large as it gets.
fn integer(text: &str) -> Option<i128> {
    let lower = text.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8), ("", 10)];
    let is_zero = lower == "0";
    let (digits, radix, prefixed) = prefixes
        .iter()
        .filter(|(prefix, _)| !(is_zero && *prefix == "0"))
        .find_map(|(prefix, radix)| {
            Some((lower.strip_prefix(prefix)?, *radix, !prefix.is_empty()))
        })?;
    // An underscore stands behind a digit or the prefix, and a digit follows it.
    let well_placed =
        !digits.ends_with('_') && !digits.contains("__") && (prefixed || !digits.starts_with('_'));
    let plain = digits.replace('_', "");
    if !well_placed || plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some(i128::from_str_radix(&plain, radix).unwrap_or(i128::MAX))
}

/// A character in single quotes.
pub(super) fn character(quoted: &str) -> Result<Number, String> {
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    let (c, length) =
        one(inner, '\'').ok_or_else(|| format!("malformed character constant: {quoted}"))?;
    if length != inner.len() {
        return Err(format!("malformed character constant: {quoted}"));
    }
    let code = i64::from(match c {
        Unit::Char(c) => u32::from(c),
        Unit::Byte(byte) => u32::from(byte),
    });
    let plain = Some(Value::int(code));
    Ok(Number {
        int: Some(code),
        plain,
    })
}

/// A string in double quotes.
pub(super) fn string(quoted: &str) -> Result<String, String> {
    let mut inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    let mut bytes = Vec::with_capacity(inner.len());
    while !inner.is_empty() {
        let (unit, length) =
            one(inner, '"').ok_or_else(|| format!("invalid syntax in the string {quoted}"))?;
        match unit {
            Unit::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(byte) => bytes.push(byte),
        }
        inner = &inner[length..];
    }
    String::from_utf8(bytes).map_err(|_| format!("the string {quoted} is not UTF-8"))
}

enum Unit {
    Char(char),
    /// `\xff` and `\377` are bytes.
    Byte(u8),
}

/// The character or escape at the beginning, and its length.
fn one(text: &str, quote: char) -> Option<(Unit, usize)> {
    let c = text.chars().next()?;
    if c != '\\' {
        return (c != quote).then_some((Unit::Char(c), c.len_utf8()));
    }
    let escape = text[1..].chars().next()?;
    let simple = match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        c if c == quote => c,
        'x' => return byte(text.get(2..4)?, 16).map(|byte| (byte, 4)),
        '0'..='7' => return byte(text.get(1..4)?, 8).map(|byte| (byte, 4)),
        'u' => return code(text.get(2..6)?).map(|c| (c, 6)),
        'U' => return code(text.get(2..10)?).map(|c| (c, 10)),
        _ => return None,
    };
    Some((Unit::Char(simple), 2))
}

fn digits(text: &str, radix: u32) -> Option<u32> {
    let all = text.chars().all(|c| c.is_digit(radix));
    u32::from_str_radix(text, radix).ok().filter(|_| all)
}

fn byte(text: &str, radix: u32) -> Option<Unit> {
    u8::try_from(digits(text, radix)?).ok().map(Unit::Byte)
}

fn code(text: &str) -> Option<Unit> {
    char::from_u32(digits(text, 16)?).map(Unit::Char)
}
