//! The words of a template in Tera's language, as Tera's own lexer cuts them; its syntax tree is not public. Pure.

use std::ops::Range;

/// What stands in `{{ … }}` or `{% … %}`.
pub(super) struct Tag<'t> {
    /// Whether its value is printed.
    pub(super) prints: bool,
    pub(super) tokens: Vec<Token<'t>>,
    /// Where it stands in the template, with its marks.
    pub(super) place: Range<usize>,
    /// Whether it trims the text before it (`{%-`).
    pub(super) trims_before: bool,
    /// Whether it trims the text behind it (`-%}`).
    pub(super) trims_behind: bool,
}

/// The mark of a tag that trims the text beside it, or none.
pub(super) fn dash(trims: bool) -> &'static str {
    if trims { "-" } else { "" }
}

/// One word, its line, and where it begins in the template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) what: What<'t>,
    pub(super) line: usize,
    pub(super) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'t> {
    /// A name or a word of the language.
    Word(&'t str),
    /// What a string holds, without quotes, and with its escapes as they stand.
    Text(&'t str),
    Number,
    Sign(&'t str),
}

impl<'t> Tag<'t> {
    /// The word at a place, if one stands there.
    pub(super) fn word(&self, at: usize) -> Option<&'t str> {
        match self.tokens.get(at)?.what {
            What::Word(word) => Some(word),
            What::Text(_) | What::Number | What::Sign(_) => None,
        }
    }

    /// The string at a place, if one stands there.
    pub(super) fn text(&self, at: usize) -> Option<&'t str> {
        match self.tokens.get(at)?.what {
            What::Text(text) => Some(text),
            What::Word(_) | What::Number | What::Sign(_) => None,
        }
    }

    /// Whether a sign stands at a place.
    pub(super) fn is_sign(&self, at: usize, sign: &str) -> bool {
        let found = self.tokens.get(at).map(|token| token.what);
        found == Some(What::Sign(sign))
    }
}

/// All tags of a template that compiles; of another one, those up to where it goes wrong.
pub(super) fn tags(source: &str) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(start) = next_mark(source, at) {
        let after = start + 2;
        let next = match &source[start..after] {
            "{#" => source[after..].find("#}").map(|end| after + end + 2),
            "{%" if is_tag(&source[after..], "raw") => end_of_raw(source, after),
            mark => {
                let close = if mark == "{{" { "}}" } else { "%}" };
                // Not a minus: it trims the text before the tag.
                let trims_before = source[after..].starts_with('-');
                let (tokens, end) = tokens(source, after + usize::from(trims_before), close);
                let place = start..end.unwrap_or(source.len());
                let inside = source[place.clone()].strip_suffix(close);
                tags.push(Tag {
                    prints: mark == "{{",
                    tokens,
                    trims_before,
                    trims_behind: inside.is_some_and(|inside| inside.ends_with('-')),
                    place,
                });
                end
            }
        };
        let Some(next) = next else { break };
        at = next;
    }
    tags
}

fn next_mark(source: &str, from: usize) -> Option<usize> {
    let pairs = source.as_bytes().get(from..)?.windows(2);
    let mut pairs = pairs.enumerate();
    let is_mark = |pair: &[u8]| pair[0] == b'{' && b"{%#".contains(&pair[1]);
    let (at, _) = pairs.find(|(_, pair)| is_mark(pair))?;
    Some(from + at)
}

/// Whether what stands after `{%` is a tag of one word.
fn is_tag(rest: &str, name: &str) -> bool {
    let rest = rest.strip_prefix('-').unwrap_or(rest).trim_start();
    let Some(rest) = rest.strip_prefix(name) else {
        return false;
    };
    let rest = rest.trim_start();
    rest.strip_prefix('-').unwrap_or(rest).starts_with("%}")
}

fn end_of_raw(source: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += source[at..].find("{%")? + 2;
        if is_tag(&source[at..], "endraw") {
            return Some(at + source[at..].find("%}")? + 2);
        }
    }
}

/// The words up to the end of a tag, and where the text goes on.
fn tokens<'t>(source: &'t str, from: usize, close: &str) -> (Vec<Token<'t>>, Option<usize>) {
    let mut tokens = Vec::new();
    let mut line = 1 + source[..from].matches('\n').count();
    let mut at = from;
    loop {
        let rest = &source[at..];
        let Some(first) = rest.chars().next() else {
            return (tokens, None);
        };
        if rest.starts_with(close) {
            return (tokens, Some(at + close.len()));
        }
        if first.is_ascii_whitespace()
            || rest.strip_prefix('-').is_some_and(|r| r.starts_with(close))
        {
            line += usize::from(first == '\n');
            at += 1;
            continue;
        }
        let (what, length) = token(rest, first);
        tokens.push(Token { what, line, at });
        line += rest[..length].matches('\n').count();
        at += length;
    }
}

fn token(rest: &str, first: char) -> (What<'_>, usize) {
    let while_is = |is: fn(char) -> bool| rest.find(|c| !is(c)).unwrap_or(rest.len());
    match first {
        '"' | '\'' | '`' => {
            let end = end_of_string(&rest[1..], first);
            (What::Text(&rest[1..=end]), (end + 2).min(rest.len()))
        }
        '0'..='9' => (What::Number, while_is(|c| c.is_ascii_digit() || c == '.')),
        'a'..='z' | 'A'..='Z' | '_' => {
            let end = while_is(|c| c.is_ascii_alphanumeric() || c == '_');
            (What::Word(&rest[..end]), end)
        }
        _ => {
            let long = ["...", "//", "**", "==", "!=", ">=", "<=", "</", "?.", "?["];
            let long = long.into_iter().find(|sign| rest.starts_with(sign));
            let length = long.map_or(first.len_utf8(), str::len);
            (What::Sign(&rest[..length]), length)
        }
    }
}

/// How long the string is that begins here.
fn end_of_string(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = rest.find(|c| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_tags() {
        let source = "a {# {{ no }} #}\n{%- raw %}{{ no }}{% x %}{%- endraw -%}\n{{- i.a[\"b\\\"c\"] -}}\n{% if\n1.5>=x -%}b";
        let tags = tags(source);
        let found: Vec<Vec<(What<'_>, usize)>> = tags
            .iter()
            .map(|tag| tag.tokens.iter().map(|one| (one.what, one.line)).collect())
            .collect();
        assert_eq!(
            found,
            [
                vec![
                    (What::Word("i"), 3),
                    (What::Sign("."), 3),
                    (What::Word("a"), 3),
                    (What::Sign("["), 3),
                    (What::Text("b\\\"c"), 3),
                    (What::Sign("]"), 3),
                ],
                vec![
                    (What::Word("if"), 4),
                    (What::Number, 5),
                    (What::Sign(">="), 5),
                    (What::Word("x"), 5),
                ],
            ]
        );
        assert!(tags[0].prints && !tags[1].prints);
        let places = tags.iter().map(|tag| &source[tag.place.clone()]);
        let places: Vec<&str> = places.collect();
        assert_eq!(places, ["{{- i.a[\"b\\\"c\"] -}}", "{% if\n1.5>=x -%}"]);
        assert!(tags[0].trims_before && !tags[1].trims_before);
        assert!(tags.iter().all(|tag| tag.trims_behind));
        assert!(source[tags[1].tokens[2].at..].starts_with(">=x"));
    }

    #[test]
    fn what_does_not_end_is_no_reason_to_fail() {
        for source in [
            "{",
            "{{",
            "{% raw %}",
            "{# a",
            "{{ \"a",
            "{{ \"ä\\",
            "{{ ä 'ö' ",
            "{% if a",
        ] {
            tags(source);
        }
    }
}
