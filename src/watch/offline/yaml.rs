//! YAML as the tree of a fixture. Pure.
//!
//! A value is the text that stands there: `1.10` stays `1.10`, and `010` is no 8.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::node::{Fault, Node, What};

/// How deep names may be nested: far more than keys are.
const DEPTH: usize = 64;
/// How many nodes aliases may stand for, so that a few lines do not become a tree that fills the memory.
const ALIASED: usize = 100_000;

pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        aliased: 0,
    };
    let node = reader.document()?;
    match reader.next()? {
        (Event::StreamEnd, _) => Ok(node),
        (_, span) => Err(fault(span, "a second document begins; one is enough")),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
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
        let (what, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(text.into_owned(), style, tag.as_deref()), anchor)
            }
            Event::MappingStart(anchor, _) => (What::Map(self.map(depth)?), anchor),
            Event::SequenceStart(anchor, _) => {
                self.skip_list(depth)?;
                (What::Other("a list"), anchor)
            }
            Event::Alias(anchor) => (self.alias(anchor, span)?, 0),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(fault(span, "a value is missing")),
        };
        let line = Some(span.start.line());
        let node = Node { line, what };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
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

    fn alias(&mut self, anchor: usize, span: Span) -> Result<What, Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(fault(span, "the alias has no anchor before it"));
        };
        self.aliased += count(node);
        if self.aliased > ALIASED {
            return Err(fault(span, "the aliases stand for too much"));
        }
        Ok(node.what.clone())
    }
}

fn count(node: &Node) -> usize {
    match &node.what {
        What::Map(map) => 1 + map.iter().map(|(_, node)| count(node)).sum::<usize>(),
        What::Text(_) | What::Other(_) => 1,
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
    fn values_are_the_text_that_stands_there() {
        let text = "
# a comment
services:
  web:
    a: {ip: 10.0.0.1, port: 080, weight: 1.10}
    'b': &b
      note: \"two\\nlines \\u263a\"
      on: yes
      empty: ''
      long: >-
        folded
        text
    c: *b
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
                "/services/web/c/empty=",
                "/services/web/c/long=folded text",
                "/services/web/c/note=two\nlines \u{263a}",
                "/services/web/c/on=yes",
                "/services/web/d/tag=7",
            ]
        );
        assert_eq!(read("{}", Format::Yaml).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
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
            ("x: &x {a: 1}\ny:\n  <<: *x", "line 3: merge keys"),
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
    fn a_few_lines_do_not_become_a_tree_that_fills_the_memory() {
        let mut text = "a0: &a0 {x: 1}\n".to_owned();
        for n in 1..40 {
            let before = n - 1;
            let line = format!("a{n}: &a{n} {{x: *a{before}, y: *a{before}}}\n");
            text.push_str(&line);
        }
        let said = read(&text, Format::Yaml).unwrap_err();
        assert!(said.contains("stand for too much"), "{said}");
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
