//! Parses the text in double braces in a command (an action): a small part of Go's template language. Pure.

use std::iter::Peekable;
use std::str::Chars;

/// A path that a command can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Src,
    Dest,
    Tree,
}

/// A piece of the text that an action produces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Path(Name),
}

/// A part of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    /// Double braces around something that this parser does not know.
    Unknown(&'a str),
    Action {
        /// The whole action, with its braces.
        text: &'a str,
        pieces: Vec<Piece>,
        /// The action removes the blanks before it.
        trims_before: bool,
        /// The action removes the blanks after it.
        trims_after: bool,
    },
}

/// Iterates over the parts of a command; holds the rest that is not parsed yet.
pub(crate) struct Parts<'a>(pub(crate) &'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let rest = self.0;
        if rest.is_empty() {
            return None;
        }
        let start = rest.find("{{").unwrap_or(rest.len());
        if start > 0 {
            self.0 = &rest[start..];
            return Some(Part::Text(&rest[..start]));
        }
        let Some(inner) = rest[2..].find("}}").map(|end| &rest[2..2 + end]) else {
            self.0 = "";
            return Some(Part::Text(rest));
        };
        if let Some(at) = inner.rfind("{{") {
            // An action may begin at the later braces.
            self.0 = &rest[2 + at..];
            return Some(Part::Text(&rest[..2 + at]));
        }
        let (text, rest) = rest.split_at(inner.len() + 4);
        self.0 = rest;
        Some(action(text, inner).unwrap_or(Part::Unknown(text)))
    }
}

fn action<'a>(text: &'a str, inner: &str) -> Option<Part<'a>> {
    // The minus of a trim marker has a blank on its inner side.
    let before = inner
        .strip_prefix('-')
        .filter(|rest| rest.starts_with(char::is_whitespace));
    let after = before.unwrap_or(inner).strip_suffix('-');
    let after = after.filter(|rest| rest.ends_with(char::is_whitespace));
    Some(Part::Action {
        text,
        pieces: pipeline(after.or(before).unwrap_or(inner))?,
        trims_before: before.is_some(),
        trims_after: after.is_some(),
    })
}

enum Token {
    Pipe,
    Text(String),
    Word(String),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            c if c.is_whitespace() => drop(chars.next()),
            '|' => {
                chars.next();
                tokens.push(Token::Pipe);
            }
            '"' => tokens.push(Token::Text(string(&mut chars)?)),
            '`' => {
                chars.next();
                let mut ends = false;
                let raw = chars.by_ref().take_while(|c| {
                    ends = *c == '`';
                    !ends
                });
                let raw = raw.collect();
                tokens.push(Token::Text(raw));
                if !ends {
                    return None;
                }
            }
            _ => {
                let mut word = String::new();
                while let Some(c) =
                    chars.next_if(|c| !c.is_whitespace() && !['|', '"', '`'].contains(c))
                {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Some(tokens)
}

/// A string in double quotes.
fn string(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    chars.next();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => text.push(c),
        }
    }
}

/// The value of a pipeline; `None` if it uses something that this parser does not know.
fn pipeline(text: &str) -> Option<Vec<Piece>> {
    let tokens = tokens(text)?;
    let mut value: Option<Vec<Piece>> = None;
    for command in tokens.split(|token| matches!(token, Token::Pipe)) {
        value = Some(call(command, value)?);
    }
    value
}

/// The value of one command of a pipeline, which gets the value of the previous command as its last argument.
fn call(command: &[Token], last: Option<Vec<Piece>>) -> Option<Vec<Piece>> {
    let (first, rest) = command.split_first()?;
    let mut arguments: Vec<Vec<Piece>> = rest.iter().map(operand).collect::<Option<_>>()?;
    let is_alone = rest.is_empty() && last.is_none();
    arguments.extend(last);
    match first {
        Token::Word(word) if word == "printf" => {
            let mut arguments = arguments.into_iter();
            let format = arguments.next()?;
            let [Piece::Text(format)] = format.as_slice() else {
                return None;
            };
            formatted(format, arguments)
        }
        Token::Word(word) if word == "print" => Some(arguments.concat()),
        operand if is_alone => self::operand(operand),
        Token::Pipe | Token::Text(_) | Token::Word(_) => None,
    }
}

fn operand(token: &Token) -> Option<Vec<Piece>> {
    let piece = match token {
        Token::Pipe => return None,
        Token::Text(text) => Piece::Text(text.clone()),
        Token::Word(word) => {
            let name = word.strip_prefix('$').filter(|name| name.starts_with('.'));
            let name = name.unwrap_or(word);
            Piece::Path(match name.strip_prefix('.').unwrap_or(name) {
                "src" => Name::Src,
                "dest" | "dst" => Name::Dest,
                "tree" => Name::Tree,
                _ => return None,
            })
        }
    };
    Some(vec![piece])
}

/// The value of `printf`. `%s`, `%v` and `%q` all stand for the next argument, since a path is always quoted.
fn formatted(format: &str, mut arguments: impl Iterator<Item = Vec<Piece>>) -> Option<Vec<Piece>> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next()? {
            '%' => text.push('%'),
            's' | 'v' | 'q' => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.extend(arguments.next()?);
            }
            _ => return None,
        }
    }
    pieces.push(Piece::Text(text));
    arguments.next().is_none().then_some(pieces)
}
