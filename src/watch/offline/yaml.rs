//! Reads YAML into the tree of a fixture. Pure.
//!
//! A value is the text that the file has: `1.10` stays `1.10`, and `010` is not 8. Anchors and aliases are not supported: a
//! fixture is a list of keys, in which they save nothing.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::node::{Fault, Node, What};

/// How deep names may be nested: far more than keys are.
const DEPTH: usize = 64;

pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
    };
    let node = reader.document()?;
    match reader.next()? {
        (Event::StreamEnd, _) => Ok(node),
        (_, span) => Err(fault(span, "a second document begins; one is enough")),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, span)),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Fault> {
        loop {
            match self.next()? {
                (Event::Nothing | Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::StreamEnd, span) => return Err(fault(span, "there is nothing in it")),
                (event, span) => {
                    let node = self.node(event, span, 0)?;
                    // The end of the document.
                    self.next()?;
                    return Ok(node);
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH {
            return Err(fault(span, "the names are nested too deep"));
        }
        let what = match event {
            Event::Scalar(text, style, _, tag) => scalar(text.into_owned(), style, tag.as_deref()),
            Event::MappingStart(..) => What::Map(self.map(depth)?),
            Event::SequenceStart(..) => {
                self.skip_list(depth)?;
                What::Other("a list")
            }
            Event::Alias(_) => {
                return Err(fault(
                    span,
                    "an alias (*name) is not supported; write its keys out",
                ));
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(fault(span, "a value is missing")),
        };
        let line = Some(span.start.line());
        Ok(Node { line, what })
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Node)>, Fault> {
        let mut map: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(map);
            }
            let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, _, _));
            let What::Text(name) = self.node(event, span, depth + 1)?.what else {
                return Err(fault(span, "a name has to be a text"));
            };
            if plain && name == "<<" {
                return Err(fault(span, "merge keys (<<) are not part of YAML 1.2"));
            }
            let (event, span) = self.next()?;
            map.push((name, self.node(event, span, depth + 1)?));
        }
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), Fault> {
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(()),
                (event, span) => self.node(event, span, depth + 1)?,
            };
        }
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> What {
    let core = tag.map(|tag| tag.is_yaml_core_schema().then_some(tag.suffix.as_str()));
    match core {
        Some(Some("str" | "int" | "float" | "bool")) => What::Text(text),
        Some(Some("null")) => What::Other("null"),
        Some(Some(_) | None) => What::Other("tagged"),
        None if style == ScalarStyle::Plain
            && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") =>
        {
            What::Other("null")
        }
        None => What::Text(text),
    }
}

fn syntax(error: &ScanError) -> Fault {
    Fault::Syntax {
        line: error.marker().line(),
        what: error.info().to_owned(),
    }
}

fn fault(span: Span, what: &str) -> Fault {
    Fault::Syntax {
        line: span.start.line().max(1),
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::watch::offline::fixture::tests::read;
    use crate::watch::offline::fixture::{Format, parse};

    #[test]
    fn values_are_the_text_that_the_file_has() {
        let text = "
# a comment
services:
  web:
    a: {ip: 10.0.0.1, port: 080, weight: 1.10}
    'b':
      note: \"two\\nlines \\u263a\"
      on: yes
      empty: ''
      long: >-
        folded
        text
    d/tag: !!str 7
  80: eighty
";
        assert_eq!(
            read(text, Format::Yaml).unwrap(),
            [
                "/services/80=eighty",
                "/services/web/a/ip=10.0.0.1",
                "/services/web/a/port=080",
                "/services/web/a/weight=1.10",
                "/services/web/b/empty=",
                "/services/web/b/long=folded text",
                "/services/web/b/note=two\nlines \u{263a}",
                "/services/web/b/on=yes",
                "/services/web/d/tag=7",
            ]
        );
        assert_eq!(read("{}", Format::Yaml).unwrap(), [""; 0]);
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        for (text, want) in [
            ("", "line 1: there is nothing in it"),
            ("# nothing\n", "line 2: there is nothing in it"),
            ("a: 1\nb: [1, 2\nc: 3", "line 3: "),
            ("a:\n\tb: 1", "line 2: "),
            ("- 1", "line 1: / is a list"),
            ("text", "line 1: / is a text without a name"),
            ("a:\n  b:\n", "line 2: /a/b is null"),
            ("a: 1\nb:\n  - {c: 1}\n", "line 3: /b is a list"),
            ("a: 1\n[b]: 1", "line 2: a name has to be a text"),
            ("a: 1\n? {b: 1}\n: 1", "line 2: a name has to be a text"),
            ("a: *b", "line 1: "),
            (
                "a: &a 1\nb: *a",
                "line 2: an alias (*name) is not supported",
            ),
            ("y:\n  <<: {a: 1}", "line 2: merge keys"),
            ("a: !secret b", "line 1: /a is tagged"),
            ("a: !!binary aGVsbG8=", "line 1: /a is tagged"),
            ("a: 1\na: 2", "line 2: /a is there twice"),
            ("a/b: 1\na: {b: 2}", "line 2: /a/b is there twice"),
            ("a: 1\n---\nb: 1", "line 2: a second document"),
        ] {
            let said = read(text, Format::Yaml).unwrap_err();
            assert!(said.starts_with(want), "{text:?}: {said}");
        }
    }

    #[test]
    fn names_may_not_be_nested_without_end() {
        let deep = "{a: ".repeat(500) + "1" + &"}".repeat(500);
        assert!(read(&deep, Format::Yaml).is_err());
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in "[a-c:{}&*<!'\" \n\t\\[\\],|>?#-]{0,40}") {
            let _ = parse(&text, Format::Yaml);
        }

        #[test]
        fn any_text_in_quotes_is_itself(text in "\\PC{0,20}") {
            let quoted = format!("a: '{}'", text.replace('\'', "''"));
            prop_assert_eq!(read(&quoted, Format::Yaml), Ok(vec![format!("/a={text}")]));
        }
    }
}
