//! Functions over text. Pure.

use std::fmt::Write;

use regex_lite::Regex;

use super::{Function, Given, Run, int, text};
use crate::model::base64;
use crate::watch::render::gotmpl::value::Value;
use crate::watch::render::gotmpl::{LARGEST, printf};
use crate::watch::render::strings as confd;

/// More blanks or copies than that are a mistake.
const MOST: i64 = 100_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "base",
        params: "s",
        run: Run::Plain(|args| Ok(confd::base(text(args, 0)).into())),
    },
    Function {
        name: "dir",
        params: "s",
        run: Run::Plain(|args| Ok(confd::dir(text(args, 0)).into())),
    },
    Function {
        name: "toUpper",
        params: "s",
        run: Run::Plain(|args| Ok(upper(text(args, 0)).into())),
    },
    Function {
        name: "toLower",
        params: "s",
        run: Run::Plain(|args| Ok(lower(text(args, 0)).into())),
    },
    Function {
        name: "contains",
        params: "ss",
        run: Run::Plain(|args| Ok(text(args, 0).contains(text(args, 1)).into())),
    },
    Function {
        name: "hasPrefix",
        params: "ss",
        run: Run::Plain(|args| Ok(text(args, 0).starts_with(text(args, 1)).into())),
    },
    Function {
        name: "hasSuffix",
        params: "ss",
        run: Run::Plain(|args| Ok(text(args, 0).ends_with(text(args, 1)).into())),
    },
    Function {
        name: "trimPrefix",
        params: "ss",
        run: Run::Plain(|args| {
            Ok(text(args, 0)
                .strip_prefix(text(args, 1))
                .unwrap_or(text(args, 0))
                .into())
        }),
    },
    Function {
        name: "trimSuffix",
        params: "ss",
        run: Run::Plain(|args| {
            Ok(text(args, 0)
                .strip_suffix(text(args, 1))
                .unwrap_or(text(args, 0))
                .into())
        }),
    },
    Function {
        name: "replace",
        params: "sssi",
        run: Run::Plain(replace),
    },
    Function {
        name: "nospace",
        params: "s",
        run: Run::Plain(|args| Ok(text(args, 0).split_whitespace().collect::<String>().into())),
    },
    Function {
        name: "indent",
        params: "is",
        run: Run::Plain(|args| Ok(indented(args)?.into())),
    },
    Function {
        name: "nindent",
        params: "is",
        run: Run::Plain(|args| Ok(format!("\n{}", indented(args)?).into())),
    },
    Function {
        name: "quote",
        params: "s",
        run: Run::Plain(|args| Ok(printf::quoted(text(args, 0), false).into())),
    },
    Function {
        name: "squote",
        params: "a",
        run: Run::Plain(
            |args| Ok(format!("'{}'", printf::print(args)?.replace('\'', "''")).into()),
        ),
    },
    Function {
        name: "base64Encode",
        params: "s",
        run: Run::Plain(|args| Ok(base64::encode(text(args, 0).as_bytes()).into())),
    },
    Function {
        name: "base64Decode",
        params: "s",
        run: Run::Plain(base64_decode),
    },
    Function {
        name: "regexMatch",
        params: "ss",
        run: Run::Plain(|args| Ok(regex(args)?.is_match(text(args, 1)).into())),
    },
    Function {
        name: "regexFind",
        params: "ss",
        run: Run::Plain(|args| {
            Ok(regex(args)?
                .find(text(args, 1))
                .map_or("", |found| found.as_str())
                .into())
        }),
    },
    Function {
        name: "regexReplaceAll",
        params: "sss",
        run: Run::Plain(|args| {
            Ok(regex(args)?
                .replace_all(text(args, 1), text(args, 2))
                .into_owned()
                .into())
        }),
    },
    Function {
        name: "snakecase",
        params: "s",
        run: Run::Plain(|args| Ok(words(text(args, 0)).join("_").into())),
    },
    Function {
        name: "kebabcase",
        params: "s",
        run: Run::Plain(|args| Ok(words(text(args, 0)).join("-").into())),
    },
    Function {
        name: "camelcase",
        params: "s",
        run: Run::Plain(|args| Ok(camel(text(args, 0)).into())),
    },
    Function {
        name: "sha256sum",
        params: "s",
        run: Run::Plain(|args| Ok(sha256(text(args, 0)).into())),
    },
];

/// A number of blanks or copies.
pub(super) fn count(count: i64) -> Result<usize, String> {
    let fits = usize::try_from(count).ok().filter(|_| count <= MOST);
    fits.ok_or_else(|| format!("a count is 0 to {MOST}"))
}

/// Complains about a text that no file would hold.
pub(super) fn bounded(length: usize) -> Result<(), String> {
    if length > LARGEST {
        return Err(format!("the text would be larger than {LARGEST} bytes"));
    }
    Ok(())
}

/// Go changes case letter by letter: what would become two capitals stays as it is.
fn upper(text: &str) -> String {
    let change = |c: char| {
        let mut changed = c.to_uppercase();
        match (changed.len(), changed.next()) {
            (1, Some(one)) => one,
            _ => c,
        }
    };
    text.chars().map(change).collect()
}

fn lower(text: &str) -> String {
    let change = |c: char| c.to_lowercase().next().unwrap_or(c);
    text.chars().map(change).collect()
}

fn replace(args: &[Value]) -> Given {
    let (whole, old, new) = (text(args, 0), text(args, 1), text(args, 2));
    bounded(whole.len().saturating_add(1).saturating_mul(new.len()))
        .or_else(|_| bounded(whole.matches(old).count().saturating_mul(new.len())))?;
    Ok(confd::replace(whole, old, new, int(args, 3)).into())
}

fn indented(args: &[Value]) -> Result<String, String> {
    let text = text(args, 1);
    let blanks = " ".repeat(count(int(args, 0).max(0))?);
    if text.is_empty() {
        return Ok(String::new());
    }
    bounded(text.len() + blanks.len() * (text.matches('\n').count() + 1))?;
    Ok(format!(
        "{blanks}{}",
        text.replace('\n', &format!("\n{blanks}"))
    ))
}

fn base64_decode(args: &[Value]) -> Given {
    // Go passes over line ends.
    let encoded = text(args, 0).replace(['\r', '\n'], "");
    let decoded = confd::base64_decode(&encoded);
    decoded.map(Value::from).map_err(|error| error.to_string())
}

fn regex(args: &[Value]) -> Result<Regex, String> {
    let pattern = text(args, 0);
    Regex::new(pattern).map_err(|error| format!("{pattern:?} is not a regular expression: {error}"))
}

/// The words of a name in small letters: `HTTPServer-name` is three.
fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for (at, c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            open = false;
            continue;
        }
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1);
        let begins = c.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || before.is_uppercase() && after.is_some_and(|after| after.is_lowercase())
            });
        if !open || begins {
            words.push(String::new());
        }
        open = true;
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words
}

fn camel(text: &str) -> String {
    let mut out = String::new();
    for word in words(text) {
        let mut chars = word.chars();
        match chars.next() {
            Some(first) if !out.is_empty() => out.extend(first.to_uppercase()),
            first => out.extend(first),
        }
        out.push_str(chars.as_str());
    }
    out
}

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut out = String::with_capacity(64);
    for byte in digest.as_ref() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
