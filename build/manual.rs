//! The manual pages of section 5, made of documents: what a page says, its document says, too. Pure.

use std::fmt::Debug;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::roff;

/// A page, and what it is made of.
pub(crate) struct Page {
    pub(crate) name: &'static str,
    /// Its line below NAME.
    about: &'static str,
    synopsis: &'static str,
    /// The document's path, from the root of the package.
    pub(crate) document: &'static str,
    part: Part,
    related: &'static [(&'static str, u8)],
}

/// The part of a document that a page has.
enum Part {
    /// All of it but these sections.
    AllBut(&'static [&'static str]),
    /// This section.
    Only(&'static str),
}

pub(crate) const PAGES: [Page; 3] = [
    Page {
        name: "sidekick-conf.d",
        about: "The files that sidekick watch keeps, and how",
        synopsis: "/etc/sidekick/conf.d/*.toml",
        document: "docs/conf.d.md",
        part: Part::AllBut(&["What is shipped"]),
        related: &[
            ("sidekick-watch", 1),
            ("sidekick-check", 1),
            ("sidekick-render", 1),
            ("sidekick-history", 1),
            ("sidekick-guard", 1),
            ("sidekick-fixture", 5),
        ],
    },
    Page {
        name: "sidekick-services.toml",
        about: "Several services that one sidekick register announces",
        synopsis: "/etc/sidekick/services.toml\n/etc/sidekick/services.d/*.toml",
        document: "docs/register.md",
        part: Part::Only("Several services in one process"),
        related: &[("sidekick-register", 1), ("sidekick-ip", 1)],
    },
    Page {
        name: "sidekick-fixture",
        about: "A file of keys and values that stands for the store",
        synopsis: "sidekick export > FILE\nsidekick render --from FILE",
        document: "docs/fixtures.md",
        part: Part::Only("The form of a fixture"),
        related: &[
            ("sidekick-render", 1),
            ("sidekick-export", 1),
            ("sidekick-conf.d", 5),
        ],
    },
];

/// The page without its title, since only the program knows its version. It ends with the references to other pages.
pub(crate) fn text(page: &Page, document: &str) -> String {
    let related = page.related.iter();
    let related = related.map(|(name, section)| format!("{}({section})", roff::bold(name)));
    [
        ".SH NAME\n",
        &format!("{} \\- {}\n", roff::escape(page.name), page.about),
        ".SH SYNOPSIS\n",
        &roff::verbatim(page.synopsis),
        ".SH DESCRIPTION\n",
        &description(page, document),
        ".SH SEE ALSO\n",
        &roff::wrap(&related.collect::<Vec<_>>().join(", ")),
    ]
    .concat()
}

fn description(page: &Page, document: &str) -> String {
    let sections = sections(document);
    let is_there = |heading: &&str| sections.iter().any(|(there, _)| there == heading);
    let named = match page.part {
        Part::AllBut(headings) => headings,
        Part::Only(ref heading) => std::slice::from_ref(heading),
    };
    let missing = named.iter().find(|heading| !is_there(heading));
    assert!(
        missing.is_none(),
        "{} has no section {missing:?}, which build/manual.rs names",
        page.document
    );
    let wanted = sections.iter().filter(|(heading, _)| match page.part {
        Part::AllBut(others) => !others.contains(heading),
        Part::Only(one) => one == *heading,
    });
    let texts = wanted.map(|(heading, text)| {
        let text = Writer::write(text, page.document);
        match page.part {
            Part::AllBut(_) if !heading.is_empty() => {
                format!(".SS {}\n{text}", roff::inline(heading))
            }
            Part::AllBut(_) | Part::Only(_) => text,
        }
    });
    texts.collect()
}

fn parser(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// The sections of a document, each with its heading; what stands before the first one has none.
fn sections(document: &str) -> Vec<(&str, &str)> {
    let mut sections = vec![("", 0..0)];
    for (event, range) in parser(document).into_offset_iter() {
        let Event::Start(Tag::Heading { level, .. }) = event else {
            continue;
        };
        let heading = document[range.clone()].trim_start_matches('#').trim();
        match level {
            // The document's title.
            HeadingLevel::H1 => sections[0].1 = range,
            HeadingLevel::H2 => sections.push((heading, range)),
            _ => {}
        }
    }
    let ends = sections.iter().skip(1).map(|(_, range)| range.start);
    let ends: Vec<usize> = ends.chain([document.len()]).collect();
    let parts = sections.into_iter().zip(ends);
    parts
        .map(|((heading, range), end)| (heading, &document[range.end..end]))
        .collect()
}

/// Makes roff of one section.
struct Writer {
    document: &'static str,
    roff: String,
    /// The text of the paragraph or cell that is being read.
    text: String,
    /// The example that is being read, as it is in the document.
    example: Option<String>,
    /// Whether the next paragraph needs no request of its own: it is the first one of a section or an item.
    is_first: bool,
    /// The fonts that are in force, the inner one last.
    fonts: Vec<char>,
    /// The link that is being read: where it leads, and where its text begins.
    link: Option<(String, usize)>,
    list: Option<List>,
    /// The cells of the row of a table that is being read.
    cells: Vec<String>,
}

struct List {
    /// The number of the next item, if they are numbered.
    number: Option<u64>,
    /// Where it begins in the roff.
    start: usize,
    items: usize,
    /// How many links lead to other sections of the same document.
    own_links: usize,
}

impl Writer {
    fn write(section: &str, document: &'static str) -> String {
        let mut writer = Self {
            document,
            roff: String::new(),
            text: String::new(),
            example: None,
            is_first: true,
            fonts: Vec::new(),
            link: None,
            list: None,
            cells: Vec::new(),
        };
        for event in parser(section) {
            writer.take(&event);
        }
        writer.roff
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(*tag),
            Event::Text(text) => match &mut self.example {
                Some(example) => *example += text,
                None => self.text += &roff::escape(text),
            },
            Event::Code(code) => {
                self.font('B');
                self.text += &roff::escape(code);
                self.unfont();
            }
            Event::SoftBreak => self.text.push(' '),
            // A comment.
            Event::Html(_) => {}
            other => self.refuse(other),
        }
    }

    fn start(&mut self, tag: &Tag) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => {}
            Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::TableCell => {}
            Tag::Heading { .. } | Tag::Strong => self.font('B'),
            Tag::Emphasis => self.font('I'),
            Tag::CodeBlock(_) => self.example = Some(String::new()),
            Tag::Link { dest_url, .. } => self.link = Some((dest_url.to_string(), self.text.len())),
            Tag::List(number) if self.list.is_none() => {
                self.list = Some(List {
                    number: *number,
                    start: self.roff.len(),
                    items: 0,
                    own_links: 0,
                });
            }
            Tag::Item => self.item(),
            other => self.refuse(other),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Item => self.paragraph(),
            TagEnd::Heading(_) => {
                self.unfont();
                self.paragraph();
            }
            TagEnd::Strong | TagEnd::Emphasis => self.unfont(),
            TagEnd::CodeBlock => self.example(),
            TagEnd::Link => self.link(),
            TagEnd::List(_) => self.list(),
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.text)),
            TagEnd::TableHead => self.titles(),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    fn refuse(&self, what: &dyn Debug) -> ! {
        panic!(
            "{}: build/manual.rs cannot put this into a manual page: {what:?}",
            self.document
        );
    }

    fn font(&mut self, font: char) {
        self.fonts.push(font);
        self.text.extend(['\\', 'f', font]);
    }

    fn unfont(&mut self) {
        self.fonts.pop();
        let outer = *self.fonts.last().unwrap_or(&'R');
        self.text.extend(['\\', 'f', outer]);
    }

    /// Ends what has been read as a paragraph, if there is anything.
    fn paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return;
        }
        if !self.is_first {
            self.roff += if self.list.is_some() {
                ".IP\n"
            } else {
                ".PP\n"
            };
        }
        self.is_first = false;
        self.roff += &roff::wrap(&text);
    }

    fn item(&mut self) {
        let list = self.list.as_mut().expect("an item stands in a list");
        let request = match list.number {
            Some(number) => format!(".IP {number}. 4\n"),
            None => ".IP \\(bu 2\n".to_owned(),
        };
        self.roff += &request;
        list.number = list.number.map(|number| number + 1);
        list.items += 1;
        self.is_first = true;
    }

    /// Ends a list. One that leads to the sections of its document is a table of contents, which no manual page has.
    fn list(&mut self) {
        let list = self.list.take().expect("a list begins before it ends");
        if list.own_links == list.items {
            self.roff.truncate(list.start);
        }
        self.is_first = false;
    }

    fn example(&mut self) {
        self.paragraph();
        let example = self.example.take().unwrap_or_default();
        // Behind a heading mandoc wants no space.
        let space = if self.is_first { "" } else { ".sp\n" };
        let lines = roff::verbatim(&example);
        self.roff.extend([space, ".RS 4\n", &lines, ".RE\n"]);
        self.is_first = false;
    }

    /// Ends a link: a reader of the page learns which document it leads to.
    fn link(&mut self) {
        let (to, start) = self.link.take().expect("a link begins before it ends");
        let path = to.split('#').next().unwrap_or_default();
        if path.is_empty() {
            self.list.iter_mut().for_each(|list| list.own_links += 1);
            return;
        }
        let name = if path.contains("://") {
            path
        } else {
            path.rsplit('/').next().unwrap_or(path)
        };
        let name = roff::escape(name);
        if !self.text[start..].contains(&name) {
            self.text.extend([" (\\fI", &name, "\\fR)"]);
        }
    }

    /// The titles of a table's columns, in the form of its rows.
    fn titles(&mut self) {
        let (tag, text) = self.tag_and_text();
        let mut letters = tag.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        self.text = first.chain(letters).collect();
        self.text.extend([": ", &text]);
        self.paragraph();
    }

    /// A row of a table, as an item of a list.
    fn row(&mut self) {
        let (tag, text) = self.tag_and_text();
        assert!(
            !text.is_empty(),
            "{}: the row of {tag} says nothing in its last cell",
            self.document
        );
        let text = roff::wrap(&text);
        self.roff.extend([".TP\n", &tag, "\n", &text]);
    }

    /// The first cell with those between in parentheses, and the last cell.
    fn tag_and_text(&mut self) -> (String, String) {
        let text = self.cells.pop().unwrap_or_default();
        let mut cells = self.cells.drain(..).filter(|cell| !cell.is_empty());
        let tag = cells.next().unwrap_or_default();
        let between = cells.collect::<Vec<_>>().join(", ");
        if between.is_empty() {
            return (tag, text);
        }
        (format!("{tag} ({between})"), text)
    }
}
