//! A template's text as a list of tokens. Pure.

use super::ast::Span;

/// A fault of the text, and where it is.
pub(super) type Misread = (usize, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Open,
    Close,
    Space,
    /// A function, a keyword, `true`, `false` or `nil`.
    Name,
    /// `.x`
    Field,
    Dot,
    /// `$x` or `$`
    Variable,
    Number,
    Char,
    /// In double quotes.
    Quoted,
    /// In backquotes.
    Raw,
    Bar,
    Assign,
    Declare,
    Comma,
    LeftParen,
    RightParen,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";
const COMMENT: &str = "/*";
const COMMENT_END: &str = "*/";

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `{{- `: how long, if it stands at the beginning of what follows the delimiter.
fn left_trim(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// How long the closing delimiter at the beginning is, and whether it trims.
fn closing(rest: &str) -> Option<(usize, bool)> {
    if rest.starts_with(CLOSE) {
        return Some((CLOSE.len(), false));
    }
    let after = rest.strip_prefix(is_space)?.strip_prefix('-')?;
    after.starts_with(CLOSE).then_some((2 + CLOSE.len(), true))
}

/// Splits a template into tokens.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Misread> {
    let mut lexer = Lexer {
        source,
        at: 0,
        tokens: Vec::new(),
        parens: 0,
    };
    lexer.template()?;
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    tokens: Vec<Token>,
    parens: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// A token from here on, `length` bytes long.
    fn push(&mut self, kind: Kind, length: usize) {
        let (start, end) = (self.at, self.at + length);
        let span = Span { start, end };
        self.tokens.push(Token { kind, span });
        self.at = end;
    }

    fn template(&mut self) -> Result<(), Misread> {
        let mut trims = false;
        loop {
            let open = self.rest().find(OPEN).map(|at| self.at + at);
            let end = open.unwrap_or(self.source.len());
            self.text(end, trims, open.is_some());
            if open.is_none() {
                self.push(Kind::End, 0);
                return Ok(());
            }
            trims = self.delimited()?;
        }
    }

    /// Plain text up to `end`, less what the trim markers on both of its sides take away.
    fn text(&mut self, end: usize, trims: bool, opens: bool) {
        let mut text = &self.source[self.at..end];
        let mut start = self.at;
        if trims {
            let trimmed = text.trim_start_matches(is_space);
            start += text.len() - trimmed.len();
            text = trimmed;
        }
        if opens && left_trim(&self.source[end + OPEN.len()..]) {
            text = text.trim_end_matches(is_space);
        }
        if !text.is_empty() {
            self.at = start;
            self.push(Kind::Text, text.len());
        }
        self.at = end;
    }

    /// An action or a comment; whether it takes the white space behind it away.
    fn delimited(&mut self) -> Result<bool, Misread> {
        let start = self.at;
        let marker = usize::from(left_trim(&self.source[start + OPEN.len()..]));
        let inside = start + OPEN.len() + marker;
        // A comment stands right behind its delimiter, or behind the one blank that the marker needs.
        let inside_text = &self.source[inside..];
        let blank = inside_text.strip_prefix(is_space).filter(|_| marker == 1);
        if blank.unwrap_or(inside_text).starts_with(COMMENT) {
            return self.comment(start, inside + usize::from(blank.is_some()));
        }
        self.push(Kind::Open, OPEN.len() + marker);
        self.parens = 0;
        loop {
            if let Some((length, trims)) = closing(self.rest()) {
                if self.parens > 0 {
                    return Err((self.at, "unclosed left paren".to_owned()));
                }
                self.push(Kind::Close, length);
                return Ok(trims);
            }
            self.inside(start)?;
        }
    }

    fn comment(&mut self, start: usize, inside: usize) -> Result<bool, Misread> {
        let text = &self.source[inside..];
        let Some(end) = text.find(COMMENT_END) else {
            return Err((start, "unclosed comment".to_owned()));
        };
        self.at = inside + end + COMMENT_END.len();
        let Some((length, trims)) = closing(self.rest()) else {
            let what = "comment ends before closing delimiter";
            return Err((self.at, what.to_owned()));
        };
        self.at += length;
        Ok(trims)
    }

    /// One token of an action that began at `open`.
    fn inside(&mut self, open: usize) -> Result<(), Misread> {
        let rest = self.rest();
        let Some(c) = self.peek() else {
            return Err((open, "unclosed action".to_owned()));
        };
        let after = rest[c.len_utf8()..].chars().next();
        match c {
            c if is_space(c) => {
                // The last blank may belong to the closing delimiter.
                let all = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
                let closes = all > 1 && closing(&rest[all - 1..]).is_some_and(|(_, trims)| trims);
                self.push(Kind::Space, all - usize::from(closes));
            }
            ':' if after == Some('=') => self.push(Kind::Declare, 2),
            ':' => return Err((self.at, "expected :=".to_owned())),
            '=' => self.push(Kind::Assign, 1),
            '|' => self.push(Kind::Bar, 1),
            ',' => self.push(Kind::Comma, 1),
            '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::Char, "unterminated character constant")?,
            '`' => self.raw()?,
            '(' => {
                self.parens += 1;
                self.push(Kind::LeftParen, 1);
            }
            ')' => {
                let parens = self.parens.checked_sub(1);
                self.parens = parens.ok_or((self.at, "unexpected right paren".to_owned()))?;
                self.push(Kind::RightParen, 1);
            }
            '.' if after.is_none_or(|c| !c.is_ascii_digit()) => {
                self.name(1, Kind::Field, Kind::Dot)?;
            }
            '$' => self.name(1, Kind::Variable, Kind::Variable)?,
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            c if is_name(c) => self.name(0, Kind::Name, Kind::Name)?,
            c => {
                let what = format!("unexpected {} in an action", c.escape_debug());
                return Err((self.at, what));
            }
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char, kind: Kind, unclosed: &str) -> Result<(), Misread> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.push(kind, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err((self.at, unclosed.to_owned()))
    }

    fn raw(&mut self) -> Result<(), Misread> {
        let end = self.rest()[1..].find('`');
        let end = end.ok_or((self.at, "unterminated raw quoted string".to_owned()))?;
        self.push(Kind::Raw, end + 2);
        Ok(())
    }

    /// A name behind `prefix` bytes; `alone` is what the prefix is without one.
    fn name(&mut self, prefix: usize, kind: Kind, alone: Kind) -> Result<(), Misread> {
        let rest = &self.rest()[prefix..];
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let next = rest[length..].chars().next();
        let ends = next.is_none_or(|c| is_space(c) || ".,|:=()".contains(c));
        if !ends && !rest[length..].starts_with(CLOSE) {
            let c = next.unwrap_or_default();
            let what = format!("bad character {}", c.escape_debug());
            return Err((self.at + prefix + length, what));
        }
        self.push(if length == 0 { alone } else { kind }, prefix + length);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Misread> {
        let rest = self.rest();
        let mut length = usize::from(rest.starts_with(['+', '-']));
        let take = |length: &mut usize, set: &str| {
            let text = &rest[*length..];
            *length += text.find(|c| !set.contains(c)).unwrap_or(text.len());
        };
        let mut digits = "0123456789_";
        let prefix = rest[length..].get(..2).unwrap_or_default();
        match prefix {
            "0x" | "0X" => digits = "0123456789abcdefABCDEF_",
            "0o" | "0O" => digits = "01234567_",
            "0b" | "0B" => digits = "01_",
            _ => {}
        }
        if digits != "0123456789_" {
            length += 2;
        }
        take(&mut length, digits);
        if rest[length..].starts_with('.') {
            length += 1;
            take(&mut length, digits);
        }
        let exponent = if digits.contains('f') {
            ['p', 'P']
        } else {
            ['e', 'E']
        };
        if rest[length..].starts_with(exponent) {
            length += 1;
            length += usize::from(rest[length..].starts_with(['+', '-']));
            take(&mut length, "0123456789_");
        }
        let next = rest[length..].chars().next();
        if next.is_some_and(|c| is_name(c) || c == '.') {
            let end = rest.find(|c| is_space(c) || "|)}".contains(c));
            let text = &rest[..end.unwrap_or(rest.len())];
            return Err((self.at, format!("bad number syntax: {text}")));
        }
        self.push(Kind::Number, length);
        Ok(())
    }
}
