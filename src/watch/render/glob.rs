//! Patterns over keys, with the rules of Go's `path.Match`, which confd's templates rely on. Pure.
//!
//! `*` and `?` never cross a slash, `[a-z]` and `[^a-z]` are sets, `\` takes the next character as it is; a pattern
//! matches a key as a whole.

use thiserror::Error;

/// A text is no pattern: it has an open or empty set, or a backslash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} is not a pattern: a set is open or empty, or a backslash stands at the end", .0.escape_debug())]
pub struct InvalidGlob(String);

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
    literal_dir: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Star,
    One,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Literal(char),
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star | Self::One => c != '/',
            Self::Literal(own) => *own == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Parses a pattern.
    pub fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        let parts = parts(pattern).ok_or_else(|| InvalidGlob(pattern.to_owned()))?;
        let literal: String = parts
            .iter()
            .map_while(|part| match part {
                Part::Literal(c) => Some(*c),
                Part::Star | Part::One | Part::Set { .. } => None,
            })
            .collect();
        let literal_dir = literal.rsplit_once('/').map_or("", |(dir, _)| dir);
        Ok(Self {
            literal_dir: literal_dir.to_owned(),
            parts,
        })
    }

    /// The directory below which every match lies.
    #[must_use]
    pub fn literal_dir(&self) -> &str {
        &self.literal_dir
    }

    /// Whether the pattern matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        // The match goes on here when the last star has to take one character more.
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() || part < self.parts.len() {
            match self.parts.get(part) {
                Some(Part::Star) => {
                    retry = Some((at, part));
                    part += 1;
                    continue;
                }
                Some(other) if at < text.len() && other.takes(text[at]) => {
                    at += 1;
                    part += 1;
                    continue;
                }
                Some(_) | None => {}
            }
            match retry {
                // A star that has come to a slash takes no more.
                Some((from, star)) if from < text.len() && text[from] != '/' => {
                    retry = Some((from + 1, star));
                    at = from + 1;
                    part = star + 1;
                }
                Some(_) | None => return false,
            }
        }
        true
    }
}

fn parts(pattern: &str) -> Option<Vec<Part>> {
    let mut chars = pattern.chars().peekable();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Star,
            '?' => Part::One,
            '\\' => Part::Literal(chars.next()?),
            '[' => set(&mut chars)?,
            literal => Part::Literal(literal),
        });
    }
    Some(parts)
}

fn set(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Part::Set { negated, ranges });
        }
        let low = member(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => member(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches() {
        for (pattern, text, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a?b", "a/b", false),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let glob = Glob::parse(pattern).unwrap();
            assert_eq!(glob.matches(text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for bad in [
            "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[",
        ] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_directory_of_all_matches() {
        for (pattern, dir) in [
            ("/a/b/*", "/a/b"),
            ("/a/b*/c", "/a"),
            ("/*", ""),
            ("/a/b", "/a"),
            ("*", ""),
        ] {
            assert_eq!(
                Glob::parse(pattern).unwrap().literal_dir(),
                dir,
                "{pattern}"
            );
        }
    }
}
