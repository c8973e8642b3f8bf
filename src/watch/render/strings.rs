//! confd's functions over strings and numbers that Tera has no filter for. Pure.

use thiserror::Error;

use crate::model::base64;

/// Why a function has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// A text is not what it is to be read as.
    #[error("\"{}\" is not {what}", .text.escape_debug())]
    Not {
        /// The kind of value that the function needs.
        what: &'static str,
        /// The text that it got.
        text: String,
    },
    /// A calculation leaves the range of 64-bit integers, or divides by zero.
    #[error("{0} of {1} and {2} has no result: it is out of range, or a division by zero")]
    Range(&'static str, i64, i64),
    /// A sequence would be too long.
    #[error("a sequence of more than {MAX_SEQ} numbers")]
    Sequence,
}

/// The longest sequence.
pub const MAX_SEQ: i64 = 100_000;

fn not(what: &'static str, text: &str) -> TextError {
    TextError::Not {
        what,
        text: text.to_owned(),
    }
}

/// The last part of a path, as Go's `path.Base`.
#[must_use]
pub fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match (path, trimmed) {
        ("", _) => ".",
        (_, "") => "/",
        (_, some) => some.rsplit('/').next().unwrap_or(some),
    }
}

/// All but the last part of a path, cleaned, as Go's `path.Dir`.
#[must_use]
pub fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |slash| &path[..=slash]))
}

fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The parts between separators; an empty separator splits into characters.
#[must_use]
pub fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    if separator.is_empty() {
        // Rust's own split yields an empty part before the first and after the last character.
        return text.split("").filter(|part| !part.is_empty()).collect();
    }
    text.split(separator).collect()
}

/// Replaces the first `count` occurrences, all of them if it is negative.
#[must_use]
pub fn replace(text: &str, old: &str, new: &str, count: i64) -> String {
    usize::try_from(count).map_or_else(|_| text.replace(old, new), |n| text.replacen(old, new, n))
}

/// Reads the words that Go takes for truth values.
pub fn parse_bool(text: &str) -> Result<bool, TextError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(not("a truth value (1, t, true, 0, f, false)", text)),
    }
}

/// Reads a decimal integer, with a sign or without.
pub fn atoi(text: &str) -> Result<i64, TextError> {
    text.parse()
        .map_err(|_| not("an integer of at most 64 bits", text))
}

/// The integers from `first` to `last`, both included; none if `first` is greater.
pub fn seq(first: i64, last: i64) -> Result<Vec<i64>, TextError> {
    if last.saturating_sub(first) >= MAX_SEQ {
        return Err(TextError::Sequence);
    }
    Ok((first..=last).collect())
}

/// One of confd's calculations: division truncates, and a remainder has the sign of the dividend.
pub fn calculate(
    name: &'static str,
    operation: fn(i64, i64) -> Option<i64>,
    a: i64,
    b: i64,
) -> Result<i64, TextError> {
    operation(a, b).ok_or(TextError::Range(name, a, b))
}

/// The text behind base64: standard alphabet, padding required, and UTF-8 behind it.
pub fn base64_decode(text: &str) -> Result<String, TextError> {
    base64::decode(text)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| not("the base64 form of a text", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, want_base, want_dir) in [
            ("", ".", "."),
            ("/", "/", "/"),
            ("//", "/", "/"),
            ("a", "a", "."),
            ("/a", "a", "/"),
            ("/a/", "a", "/a"),
            ("/a/b", "b", "/a"),
            ("a//b", "b", "a"),
            ("/a/../b/c", "c", "/b"),
            ("../a", "a", ".."),
        ] {
            assert_eq!(
                (base(path), dir(path).as_str()),
                (want_base, want_dir),
                "{path}"
            );
        }
    }

    #[test]
    fn splits() {
        assert_eq!(split("a,b,,c", ","), ["a", "b", "", "c"]);
        assert_eq!(split("", ","), [""]);
        assert_eq!(split("aéb", ""), ["a", "é", "b"]);
        assert_eq!(replace("aaa", "a", "b", -1), "bbb");
        assert_eq!(replace("aaa", "a", "b", 2), "bba");
        assert_eq!(replace("aaa", "a", "b", 0), "aaa");
    }

    #[test]
    fn a_text_behind_base64_has_to_be_utf_8() {
        assert_eq!(base64_decode("Zm8=").as_deref(), Ok("fo"));
        for bad in ["Zg", "/w=="] {
            assert!(base64_decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!((atoi("-12"), atoi("+3")), (Ok(-12), Ok(3)));
        for bad in ["", " 1", "1 ", "0x1", "1.0", "99999999999999999999"] {
            assert!(atoi(bad).is_err(), "{bad:?}");
        }
        assert_eq!((parse_bool("T"), parse_bool("0")), (Ok(true), Ok(false)));
        assert!(parse_bool("yes").is_err());
        assert_eq!(seq(2, 4), Ok(vec![2, 3, 4]));
        assert_eq!(seq(4, 2), Ok(vec![]));
        assert_eq!(seq(i64::MIN, i64::MAX), Err(TextError::Sequence));
        for (operation, a, b, want) in [
            (
                i64::checked_add as fn(i64, i64) -> Option<i64>,
                1,
                2,
                Some(3),
            ),
            (i64::checked_div, -7, 2, Some(-3)),
            (i64::checked_rem, -7, 2, Some(-1)),
            (i64::checked_div, 1, 0, None),
            (i64::checked_rem, 1, 0, None),
            (i64::checked_add, i64::MAX, 1, None),
            (i64::checked_div, i64::MIN, -1, None),
        ] {
            assert_eq!(calculate("it", operation, a, b).ok(), want, "{a} {b}");
        }
    }
}
