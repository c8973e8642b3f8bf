//! The text of a configuration, read into sections and lines as HAProxy does. Pure.
//!
//! This reader has to be right about two things only: two lines that it calls the same mean the same to HAProxy, and it
//! knows in which section a line stands. A line that it cannot read is kept as it is written, and equals only the same text.

/// The words that begin a section, in all versions of HAProxy. Sections such as `peers` have `server` lines, too, which are
/// not the servers of a backend.
const SECTIONS: [&str; 20] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "cache",
    "program",
    "http-errors",
    "ring",
    "log-forward",
    "log-profile",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
    "healthcheck",
];

/// A variable whose name begins so, set in `global`, is a generation mark: by it a running HAProxy says which text it has
/// loaded. It changes nothing else.
const MARK: &str = "SIDEKICK_GENERATION";

/// A configuration.
#[derive(Debug)]
pub struct Text<'a> {
    /// The sections in order. The first one has no head if lines stand before all sections.
    pub sections: Vec<Section<'a>>,
    /// The number of the first line that may change what other lines mean: a condition (`.if`), or a first word that is
    /// written with quotes or escapes.
    pub ambiguous: Option<usize>,
    /// The number of the first line that may change what another file means if this text is read before it.
    pub ambiguous_for_others: Option<usize>,
    /// The generation marks: names of variables and their values. A comparison ignores these lines.
    pub marks: Vec<(&'a str, &'a str)>,
}

/// A section of a configuration.
#[derive(Debug, Default)]
pub struct Section<'a> {
    /// The line that begins the section: `backend app`.
    pub head: Option<Line<'a>>,
    /// The lines that follow it, without blank lines and comments.
    pub lines: Vec<Line<'a>>,
}

/// A line that is neither blank nor a comment.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The number of the line, counted from 1.
    pub number: usize,
    /// The text without blanks around it, with the lines that continue it.
    raw: &'a str,
    /// Whether its first word is `server`. There may be ten thousand servers, so this is determined once.
    is_server: bool,
}

impl<'a> Text<'a> {
    /// Reads a text. It never fails.
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        let mut sections = Vec::new();
        let mut section = Section::default();
        let (mut ambiguous, mut ambiguous_for_others, mut marks) = (None, None, Vec::new());
        let mut conditions = 0_usize;
        for line in lines(text) {
            if line.is_server {
                section.lines.push(line);
                continue;
            }
            let first = line.first();
            let is_condition = first.starts_with('.');
            match first {
                ".if" => conditions += 1,
                ".endif" => conditions = conditions.saturating_sub(1),
                _ => {}
            }
            let is_harmless = is_condition && ["global", "frontend"].contains(&section.kind());
            if let Some(mark) = mark(section.kind(), &line) {
                marks.push(mark);
                continue;
            }
            if is_condition || !is_plain(first) {
                ambiguous = ambiguous.or(Some(line.number));
            }
            let is_section = SECTIONS.contains(&first);
            if (conditions > 0 && is_section)
                || (!is_harmless && (is_condition || !is_plain(first)))
            {
                ambiguous_for_others = ambiguous_for_others.or(Some(line.number));
            }
            if is_section {
                sections.push(std::mem::take(&mut section));
                section.head = Some(line);
            } else {
                section.lines.push(line);
            }
        }
        sections.push(section);
        sections.retain(|section| section.head.is_some() || !section.lines.is_empty());
        Self {
            sections,
            ambiguous,
            ambiguous_for_others,
            marks,
        }
    }
}

fn mark<'a>(section: &str, line: &Line<'a>) -> Option<(&'a str, &'a str)> {
    if section != "global" || line.first() != "setenv" {
        return None;
    }
    match line.words()?.as_slice() {
        [_, name, value] if name.starts_with(MARK) && is_plain(name) && is_plain(value) => {
            Some((name, value))
        }
        _ => None,
    }
}

/// The lines that are neither blank nor comments.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut rest = text;
    let mut next = 1;
    let take = move || {
        if rest.is_empty() {
            return None;
        }
        let (start, number) = (rest, next);
        let mut length = 0;
        loop {
            let line = rest.split_inclusive('\n').next().unwrap_or_default();
            length += line.len();
            next += 1;
            rest = &rest[line.len()..];
            // HAProxy's rules about a backslash at the end are not copied here: such lines are taken as one line.
            if !line.trim_end_matches(['\n', '\r']).ends_with('\\') || rest.is_empty() {
                break;
            }
        }
        let raw = start[..length].trim_matches([' ', '\t', '\n']);
        let after = raw.strip_prefix("server").map(|rest| rest.bytes().next());
        let is_server = matches!(after, Some(None | Some(b' ' | b'\t' | b'#')));
        Some(Line {
            number,
            raw,
            is_server,
        })
    };
    std::iter::from_fn(take).filter(|line| !line.raw.is_empty() && !line.raw.starts_with('#'))
}

impl<'a> Section<'a> {
    /// The number of its first line.
    pub(super) fn number(&self) -> usize {
        let first = self.head.as_ref().or(self.lines.first());
        first.map_or(0, |line| line.number)
    }

    /// The first word of its head, such as `backend`; empty before the first section.
    #[must_use]
    pub fn kind(&self) -> &'a str {
        self.head.map_or("", |head| head.first())
    }

    /// Its name, `app` of `backend app`, if it has a plain one.
    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        self.head?.words()?.get(1).copied().filter(|w| is_plain(w))
    }

    /// The lines that begin with this word.
    pub fn of(&self, first: &str) -> impl Iterator<Item = Line<'a>> {
        let lines = self.lines.iter().copied();
        lines.filter(move |line| line.first() == first)
    }
}

impl<'a> Line<'a> {
    /// The line as written, without blanks around it.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Whether its first word is `server`.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.is_server
    }

    /// The first word as written.
    #[must_use]
    pub fn first(&self) -> &'a str {
        self.raw.split([' ', '\t', '#']).next().unwrap_or_default()
    }

    /// The words as written, with their quotes and escapes and without a comment; `None` if the line cannot be read with
    /// certainty.
    #[must_use]
    pub fn words(&self) -> Option<Vec<&'a str>> {
        let raw = self.raw;
        if raw.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return None;
        }
        let mut words = Vec::new();
        let (mut from, mut quote) = (None, None);
        let mut bytes = raw.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match (quote, byte) {
                (None, b' ' | b'\t') => words.extend(from.take().map(|from| &raw[from..at])),
                (None, b'#') => {
                    words.extend(from.take().map(|from| &raw[from..at]));
                    return Some(words);
                }
                (_, b'\\') if quote != Some(b'\'') => {
                    from = from.or(Some(at));
                    // An escaped character ends nothing. A line whose last character is a backslash cannot be read.
                    bytes.next()?;
                }
                (None, b'"' | b'\'') => {
                    from = from.or(Some(at));
                    quote = Some(byte);
                }
                (Some(open), _) if open == byte => quote = None,
                (_, _) => from = from.or(Some(at)),
            }
        }
        words.extend(from.map(|from| &raw[from..]));
        quote.is_none().then_some(words)
    }

    /// Whether both lines certainly mean the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let words = || Some((self.words()?, other.words()?));
        self.raw == other.raw || words().is_some_and(|(ours, theirs)| ours == theirs)
    }
}

/// Whether a word has no quote, escape or variable, so that HAProxy takes it as written.
#[must_use]
pub fn is_plain(word: &str) -> bool {
    !word.contains(['"', '\'', '\\', '$'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<Option<Vec<&str>>> {
        lines(text).map(|line| line.words()).collect()
    }

    #[test]
    fn a_line_is_cut_into_words() {
        for (line, expected) in [
            ("server a 10.0.0.1:80 check", "server|a|10.0.0.1:80|check"),
            ("  server\ta   b\t", "server|a|b"),
            ("server a b # comment", "server|a|b"),
            ("server a b#comment", "server|a|b"),
            (r"server a\ b c", r"server|a\ b|c"),
            (r"server a\#b c", r"server|a\#b|c"),
            (r#"log-format "a  # b" c"#, r#"log-format|"a  # b"|c"#),
            (r"a 'b \' c", r"a|'b \'|c"),
            (r#"a "b \" c" d"#, r#"a|"b \" c"|d"#),
            (r#"a b"c d"e f"#, r#"a|b"c d"e|f"#),
        ] {
            let got = words(line).pop().unwrap().unwrap();
            assert_eq!(got.join("|"), expected, "{line}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_has_no_words() {
        for text in [
            "a \"b",
            "a 'b",
            "a \\\nserver b",
            "a b\r\n",
            "a \x0b",
            "a\0",
        ] {
            assert_eq!(words(text), [None], "{text:?}");
        }
    }

    #[test]
    fn lines_are_the_same_in_meaning() {
        let same = |a: &str, b: &str| {
            let (a, b) = (lines(a).next().unwrap(), lines(b).next().unwrap());
            a.is_same(&b)
        };
        assert!(same("server  a b", "\tserver a b # who"));
        assert!(same("a \"b", "a \"b"));
        assert!(!same("a \"b", "a  \"b"));
        assert!(!same("a \"b c\"", "a \"b  c\""));
        assert!(!same("a b", "a 'b'"), "quotes are not looked through");
    }

    #[test]
    fn lines_belong_to_their_sections() {
        let text = "# head\n\nglobal\n  maxconn 1\n\ndefaults\nbackend app # x\n server a b\npeers p\n server c d\n";
        let text = Text::read(text);
        let read: Vec<_> = text
            .sections
            .iter()
            .map(|section| (section.kind(), section.name(), section.lines.len()))
            .collect();
        assert_eq!(
            read,
            [
                ("global", None, 1),
                ("defaults", None, 0),
                ("backend", Some("app"), 1),
                ("peers", Some("p"), 1)
            ]
        );
        assert_eq!(text.ambiguous, None);
        assert_eq!(text.sections[2].lines[0].number, 8);
    }

    #[test]
    fn a_generation_mark_is_noted_and_is_no_line() {
        fn read(text: &str) -> (Vec<(&str, &str)>, usize) {
            let text = Text::read(text);
            let lines = text.sections.iter().map(|section| section.lines.len());
            let lines = lines.sum();
            (text.marks, lines)
        }
        for (line, name) in [
            ("setenv SIDEKICK_GENERATION 1", "SIDEKICK_GENERATION"),
            (
                "setenv SIDEKICK_GENERATION_WEB 1 # x",
                "SIDEKICK_GENERATION_WEB",
            ),
        ] {
            let text = format!("global\n {line}\n");
            assert_eq!(read(&text), (vec![(name, "1")], 0), "{line}");
        }
        for text in [
            "global\n setenv OTHER 1\n",
            "global\n presetenv SIDEKICK_GENERATION 1\n",
            "global\n setenv SIDEKICK_GENERATION \"$X\"\n",
            "global\n setenv SIDEKICK_GENERATION\n",
            "backend b\n setenv SIDEKICK_GENERATION 1\n",
        ] {
            assert_eq!(read(text), (vec![], 1), "{text}");
        }
    }

    /// Other files matter by their defaults and servers, which a condition within `global` or a frontend cannot
    /// change.
    #[test]
    fn a_condition_in_another_file_is_ambiguous_where_it_may_change_defaults_or_servers() {
        for (text, ambiguous) in [
            (
                "global\n.if defined(X)\n daemon\n.else\n.endif\ndefaults\n mode http\n",
                None,
            ),
            ("frontend f\n.if defined(X)\n bind :443\n.endif\n", None),
            ("global\n.if defined(X)\ndefaults\n.endif\n", Some(3)),
            (
                "defaults\n.if defined(X)\n timeout server 1s\n.endif\n",
                Some(2),
            ),
            ("backend b\n.if defined(X)\n.endif\n", Some(2)),
            (".if defined(X)\nglobal\n.endif\n", Some(1)),
            ("global\nback\\end app\n", Some(2)),
        ] {
            assert_eq!(Text::read(text).ambiguous_for_others, ambiguous, "{text}");
        }
    }

    #[test]
    fn ambiguous_lines_are_noted() {
        for text in [
            "global\n.if defined(X)\n.endif\n",
            "global\n\"backend\" app\n",
            "global\nback\\end app\n",
        ] {
            assert_eq!(Text::read(text).ambiguous, Some(2), "{text}");
        }
        // A line that continues another one is a part of it.
        let text = Text::read("backend a\n server x \\\nbackend b\n");
        assert_eq!(text.sections.len(), 1);
    }

    proptest! {
        #[test]
        fn reading_never_fails(text in "[ -~\\n\\t\\\\\"'#\r]{0,200}") {
            let text = Text::read(&text);
            for section in &text.sections {
                for line in &section.lines {
                    prop_assert!(line.is_same(line));
                    let _ = (line.first(), line.words());
                }
            }
        }

        #[test]
        fn blanks_and_comments_make_no_difference(
            words in prop::collection::vec("[a-z0-9.:/\"']{1,6}", 1..6),
            gap in "[ \t]{1,3}",
            end in "( ?#[ -~]{0,9})?",
        ) {
            let (plain, other) = (words.join(" "), format!("{gap}{}{end}", words.join(&gap)));
            let (plain, other) = (format!("{plain}\n"), format!("{other}\n"));
            let (plain, other) = (lines(&plain).next().unwrap(), lines(&other).next().unwrap());
            // Behind an open quote, a blank is a part of the word.
            if plain.words().is_some_and(|read| read.len() == words.len()) && !end.ends_with('\\') {
                prop_assert!(plain.is_same(&other));
            }
        }
    }
}
