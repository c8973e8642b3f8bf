//! A template's text as the engine has to be given it, where it reads less than Go does. Pure.
//!
//! - A value of the engine cannot be text and have methods, so `datetime.Format "…"` becomes one name,
//!   `datetime_Format`, which is as long.
//! - The engine knows escapes in raw strings too, so their backslashes are doubled.
//! - The engine knows `\u00e9` and its like at the end of a string only, and some escapes not at all, so in other strings
//!   the characters themselves take their place.
//!
//! Lines stay where they are.

use std::borrow::Cow;

/// What is given to the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The text.
    pub(super) text: String,
    /// Whether it asks for the time.
    pub(super) tells_the_time: bool,
}

/// Rewrites what the engine would read otherwise than Go.
pub(super) fn rewrite(template: &str) -> Source {
    let mut source = Source {
        text: String::with_capacity(template.len()),
        tells_the_time: false,
    };
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        source.text.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = source.action(rest);
        rest = &rest[end..];
    }
    source.text.push_str(rest);
    source
}

impl Source {
    /// Takes one action over; how long it was.
    fn action(&mut self, action: &str) -> usize {
        if let Some(length) = comment(action) {
            self.text.push_str(&action[..length]);
            return length;
        }
        let mut at = 0;
        while at < action.len() {
            let rest = &action[at..];
            if rest.starts_with("}}") {
                self.text.push_str("}}");
                return at + 2;
            }
            let length = piece(rest);
            let text = self.piece(&rest[..length]);
            self.text.push_str(&text);
            at += length;
        }
        action.len()
    }

    fn piece<'t>(&mut self, piece: &'t str) -> Cow<'t, str> {
        if piece.starts_with('`') {
            return piece.replace('\\', "\\\\").into();
        }
        if piece.starts_with('"') {
            return characters(piece).into();
        }
        if piece.starts_with('\'') || !piece.contains("datetime") {
            return piece.into();
        }
        self.tells_the_time = true;
        piece.replace("datetime.", "datetime_").into()
    }
}

/// How long the comment is that the action consists of, if it is one.
fn comment(action: &str) -> Option<usize> {
    let inside = action.strip_prefix("{{-").or(action.strip_prefix("{{"))?;
    if !inside.trim_start().starts_with("/*") {
        return None;
    }
    let end = action.find("*/")? + 2;
    Some(end + action[end..].find("}}")? + 2)
}

/// How long the string at the beginning is, or what stands before the next one and before the end of the action.
fn piece(text: &str) -> usize {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c));
    let Some(quote) = quote else {
        let next = text.find(['"', '\'', '`']).unwrap_or(text.len());
        return text[..next].find("}}").unwrap_or(next);
    };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A string with characters in the place of those escapes that the engine does not know everywhere.
fn characters(string: &str) -> String {
    let mut out = String::with_capacity(string.len());
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((c, length)) = escape(rest) {
            out.push(c);
            rest = &rest[length..];
        } else {
            // The backslash and what follows it stay together.
            let length = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    out + rest
}

/// The character of such an escape, and how long that is.
fn escape(text: &str) -> Option<(char, usize)> {
    let (digits, radix, from) = match text.as_bytes().get(1)? {
        b'a' => return Some(('\u{7}', 2)),
        b'v' => return Some(('\u{b}', 2)),
        b'x' => (2, 16, 2),
        b'u' => (4, 16, 2),
        b'U' => (8, 16, 2),
        b'0'..=b'7' => (3, 8, 1),
        _ => return None,
    };
    let code = u32::from_str_radix(text.get(from..from + digits)?, radix).ok()?;
    // `\xff` is a byte, and no character.
    let is_byte = digits < 4 && code > 127;
    let c = char::from_u32(code).filter(|_| !is_byte)?;
    // Those have a meaning in the string itself, and escapes that the engine knows.
    (!matches!(c, '"' | '\\' | '\n')).then_some((c, from + digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rewritten() {
        for (template, want, tells) in [
            (
                "datetime.Format `\\` {{ x }}",
                "datetime.Format `\\` {{ x }}",
                false,
            ),
            (
                "{{datetime.Format \"}}\"}}",
                "{{datetime_Format \"}}\"}}",
                true,
            ),
            (
                "{{\"datetime.x\"}} {{datetime}}",
                "{{\"datetime.x\"}} {{datetime}}",
                true,
            ),
            ("{{gets `/a\\*`}} `\\`", "{{gets `/a\\\\*`}} `\\`", false),
            (
                "{{/* a \" and a ` datetime.X */}}{{`\\`}}",
                "{{/* a \" and a ` datetime.X */}}{{`\\\\`}}",
                false,
            ),
            (
                "{{- /* ` */ -}} {{'\"'}}{{`\\`}}",
                "{{- /* ` */ -}} {{'\"'}}{{`\\\\`}}",
                false,
            ),
            ("{{\"\\\"`\"}}{{`\\`}}", "{{\"\\\"`\"}}{{`\\\\`}}", false),
            (
                "{{\"\\u00e9\\t\\x41\\101\\a\\\\u00e9\\x22\\xff\\\"\"}}",
                "{{\"é\\tAA\u{7}\\\\u00e9\\x22\\xff\\\"\"}}",
                false,
            ),
            ("{{`open", "{{`open", false),
            ("{{ é {{", "{{ é {{", false),
            ("{{/*", "{{/*", false),
            ("", "", false),
        ] {
            let source = rewrite(template);
            assert_eq!(
                (source.text.as_str(), source.tells_the_time),
                (want, tells),
                "{template}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn without_raw_strings_and_the_time_nothing_changes(template in "(\\{\\{|\\}\\}|/\\*|\\*/|\"|'|\\\\|-|é| |\n|x){0,20}") {
            proptest::prop_assert_eq!(rewrite(&template).text, template);
        }
    }
}
