//! The parser's part about expressions: pipelines, commands and operands. Pure.

use super::ast::{Command, Pipe, Span, Word, WordKind};
use super::lexer::{Kind, Misread, Token};
use super::literal;
use super::parser::Parser;
use super::value::Value;

/// How many parentheses may be open at a time.
const DEEPEST: usize = 200;

impl Parser<'_> {
    /// A pipeline and what ends it.
    pub(super) fn read_pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe, Misread> {
        self.skip_space();
        let start = self.peek().span.start;
        let assigned = self.assigned(context)?;
        let mut commands: Vec<Command> = Vec::new();
        let span = loop {
            let token = self.next_word();
            match token.kind {
                kind if kind == end => {
                    let mark = self.mark();
                    self.back_to(mark - 1);
                    let span = self.pipe_span(start);
                    self.back_to(mark);
                    break span;
                }
                Kind::Name
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Number
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::LeftParen => {
                    let mark = self.mark();
                    self.back_to(mark - 1);
                    commands.push(self.command(token.span.start)?);
                }
                _ => return Err(self.unexpected(token, context)),
            }
        };
        if commands.is_empty() {
            return Err((start, format!("missing value for {context}")));
        }
        for (stage, command) in commands.iter().enumerate().skip(1) {
            if matches!(
                command.words[0].kind,
                WordKind::Constant(_) | WordKind::Number(_) | WordKind::Dot | WordKind::Nil
            ) {
                let what = format!("non executable command in pipeline stage {}", stage + 1);
                return Err((command.span.start, what));
            }
        }
        let mut sets = Vec::new();
        if let Some((names, new)) = assigned {
            for name in names {
                sets.push(if new {
                    self.declare(&name)
                } else {
                    let place = self.variable(&name);
                    place.ok_or_else(|| (start, format!("undefined variable {name:?}")))?
                });
            }
        }
        Ok(Pipe {
            sets,
            commands,
            span,
        })
    }

    fn command(&mut self, start: usize) -> Result<Command, Misread> {
        let mut words = Vec::new();
        loop {
            self.skip_space();
            if let Some(word) = self.operand()? {
                words.push(word);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::Close | Kind::RightParen => {
                    let mark = self.mark();
                    self.back_to(mark - 1);
                }
                Kind::Bar => {}
                _ => return Err(self.unexpected(token, "operand")),
            }
            if words.is_empty() {
                return Err((token.span.start, "empty command".to_owned()));
            }
            let end = words.last().map_or(start, |word: &Word| word.span.end);
            let span = Span { start, end };
            return Ok(Command { words, span });
        }
    }

    fn operand(&mut self) -> Result<Option<Word>, Misread> {
        let Some(word) = self.term()? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            let token = self.next();
            fields.push(self.text(token)[1..].into());
        }
        if fields.is_empty() {
            return Ok(Some(word));
        }
        let span = Span {
            start: word.span.start,
            end: self.end_of_last(),
        };
        let kind = match word.kind {
            WordKind::Field(mut own) => {
                own.append(&mut fields);
                WordKind::Field(own)
            }
            WordKind::Variable(place, mut own) => {
                own.append(&mut fields);
                WordKind::Variable(place, own)
            }
            WordKind::Constant(_) | WordKind::Number(_) | WordKind::Nil | WordKind::Dot => {
                let term = &self.source[word.span.start..word.span.end];
                return Err((word.span.end, format!("unexpected . after term {term:?}")));
            }
            kind => {
                let inner = Word {
                    kind,
                    span: word.span,
                };
                WordKind::Chain(Box::new(inner), fields)
            }
        };
        Ok(Some(Word { kind, span }))
    }

    fn term(&mut self) -> Result<Option<Word>, Misread> {
        let mark = self.mark();
        let token = self.next_word();
        let at = |what: String| (token.span.start, what);
        let text = self.text(token);
        let kind = match token.kind {
            Kind::Name => self.name(token)?,
            Kind::Dot => WordKind::Dot,
            Kind::Field => WordKind::Field(vec![text[1..].into()]),
            Kind::Variable => {
                let name = text.to_owned();
                let place = self.variable(&name);
                let place = place.ok_or_else(|| at(format!("undefined variable {name:?}")))?;
                WordKind::Variable(place, Vec::new())
            }
            Kind::Number => WordKind::Number(literal::number(text).map_err(at)?),
            Kind::Char => WordKind::Number(literal::character(text).map_err(at)?),
            Kind::Quoted => WordKind::Constant(literal::string(text).map_err(at)?.into()),
            // Go drops carriage returns from raw strings.
            Kind::Raw => WordKind::Constant(text[1..text.len() - 1].replace('\r', "").into()),
            Kind::LeftParen => {
                if self.parens == DEEPEST {
                    return Err(at(format!("more than {DEEPEST} parentheses are open")));
                }
                self.parens += 1;
                let pipe = self.read_pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.parens -= 1;
                WordKind::Parenthesis(Box::new(pipe))
            }
            _ => {
                self.back_to(mark);
                return Ok(None);
            }
        };
        let span = Span {
            start: token.span.start,
            end: self.end_of_last(),
        };
        Ok(Some(Word { kind, span }))
    }

    fn name(&mut self, token: Token) -> Result<WordKind, Misread> {
        match self.text(token) {
            "true" => Ok(WordKind::Constant(Value::Bool(true))),
            "false" => Ok(WordKind::Constant(Value::Bool(false))),
            "nil" => Ok(WordKind::Nil),
            name => {
                let function = self.library.find(name);
                let function = function
                    .ok_or_else(|| (token.span.start, format!("function {name:?} not defined")))?;
                let (depends_on_time, includes) = (name == "datetime", name == "include");
                self.program.depends_on_time |= depends_on_time;
                self.program.includes |= includes;
                Ok(WordKind::Function(function))
            }
        }
    }
}
