//! What a section says about its servers, with the defaults that count for it: what may be done to them at run time.
//! Pure.

use std::collections::BTreeSet;

use super::change::{Act, Op, Why};
use super::parse::{Line, Section, Text};
use super::server::{self, Id, Server};

/// How servers are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Balance {
    /// Any can come and go.
    Free,
    /// A hash ring: weights may change, but the place of a server comes from its place in the file.
    Ring,
    /// As they stand in the file.
    Fixed,
}

/// What a `defaults` section, the one before or the one that is named, says for a section.
pub(super) struct Context<'a> {
    defaults: Option<&'a Section<'a>>,
    pub(super) section: &'a Section<'a>,
    /// Its lines without its servers.
    others: Vec<Line<'a>>,
    /// Whether `defaults` could be elsewhere.
    is_part: bool,
    /// The words that follow `track` and `use-server` anywhere.
    named: &'a BTreeSet<&'a str>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        base: &'a Text<'a>,
        text: &'a Text<'a>,
        at: usize,
        named: &'a BTreeSet<&'a str>,
    ) -> Result<Self, Why> {
        let section = &text.sections[at];
        let mut before = base.sections.iter().chain(&text.sections[..at]);
        let all = || base.sections.iter().chain(&text.sections);
        let from = section.head.and_then(|head| head.words());
        let defaults = match from.as_deref().unwrap_or_default() {
            [_, _, "from", name, ..] => {
                let has_name = |s: &&Section<'_>| s.kind() == "defaults" && s.name() == Some(name);
                let mut found = all().filter(has_name);
                let first = found.next().ok_or(Why::Part)?;
                found.next().is_none().then_some(first)
            }
            _ => before.rfind(|section| section.kind() == "defaults"),
        };
        // Defaults may themselves come from others; nobody has to follow that.
        let head = defaults.and_then(|defaults| defaults.head?.words());
        if head.unwrap_or_default().contains(&"from") {
            return Err(Why::Odd(defaults.map_or(0, Section::number)));
        }
        Ok(Self {
            defaults,
            section,
            others: section
                .lines
                .iter()
                .filter(|line| !line.is_server())
                .copied()
                .collect(),
            is_part: defaults.is_none() && ![base, text].into_iter().any(has_settings),
            named,
        })
    }

    fn backend(&self) -> &'a str {
        self.section.name().unwrap_or_default()
    }

    /// The lines that begin with this word, of the defaults and then of the section.
    fn lines(&self, first: &str) -> impl Iterator<Item = Line<'a>> {
        let defaults = self.defaults.into_iter().flat_map(|section| &section.lines);
        let lines = defaults.chain(&self.others).copied();
        lines.filter(move |line| line.first() == first)
    }

    /// The last words of this setting.
    fn setting(&self, first: &str) -> Option<Vec<&'a str>> {
        let line = self.lines(first).last()?;
        Some(line.words().unwrap_or_else(|| vec![line.raw()]))
    }

    fn balance(&self) -> Balance {
        let words = self.setting("balance").unwrap_or_default();
        let algorithm = words.get(1).copied().unwrap_or("roundrobin");
        match algorithm.split('(').next().unwrap_or_default() {
            "roundrobin" | "leastconn" | "random" => Balance::Free,
            "static-rr" | "first" => Balance::Fixed,
            _ => match self.setting("hash-type").unwrap_or_default().get(1) {
                Some(&"consistent") => Balance::Ring,
                _ => Balance::Fixed,
            },
        }
    }

    /// What keeps a server from being added to the section, or from being moved.
    fn obstacle(&self) -> Option<&'static str> {
        let is_external = self.lines("option").any(|line| {
            let words = line.words().unwrap_or_default();
            words.get(1) == Some(&"external-check")
        });
        let has_key = self.lines("dynamic-cookie-key").next().is_some();
        is_external
            .then_some("option external-check")
            .or(has_key.then_some("dynamic-cookie-key"))
    }

    pub(super) fn require_places_to_be_free(&self) -> Result<(), Why> {
        let fixed = || Why::Places(self.backend().to_owned());
        (self.balance() == Balance::Free)
            .then_some(())
            .ok_or_else(fixed)
    }

    fn require_no_obstacle(&self) -> Result<(), Why> {
        match self.obstacle() {
            None => Ok(()),
            Some(what) => Err(Why::Section {
                backend: self.backend().to_owned(),
                what,
            }),
        }
    }

    /// A new server, with all that it has to be told.
    pub(super) fn add(&self, placed: &Placed<'a>) -> Result<Op, Why> {
        let (id, server) = self.read(&placed.line)?;
        self.require_places_to_be_free()?;
        self.require_no_obstacle()?;
        if self.is_part {
            return Err(Why::Part);
        }
        let defaults = self.defaults_of(placed)?;
        let keyword = |word: &str| Why::Keyword {
            id: id.clone(),
            keyword: word.to_owned(),
        };
        let mode = self.setting("mode").unwrap_or_default();
        if !matches!(mode.get(1).unwrap_or(&"tcp"), &"tcp" | &"http") {
            return Err(Why::Section {
                backend: self.backend().to_owned(),
                what: "mode",
            });
        }
        let full = server::full(&defaults, &server).map_err(|refused| keyword(&refused.0))?;
        Ok(Op {
            act: Act::Add(server.at, full),
            id,
        })
    }

    pub(super) fn remove(&self, live: &Placed<'a>) -> Result<Op, Why> {
        let name = server::name(&live.line).ok_or(Why::Server(live.line.number))?;
        let id = self.id(name, live.line.number)?;
        self.require_places_to_be_free()?;
        if self.named.contains(name) || self.named.contains(id.to_string().as_str()) {
            return Err(Why::Named(id));
        }
        // One that could not have been added cannot come back either, so nobody has to know what it was.
        let was = Server::read(&live.line).and_then(|server| {
            let defaults = self.defaults_of(live).ok()?;
            Some(server::full(&defaults, &server).ok()?.keywords)
        });
        Ok(Op {
            id,
            act: Act::Remove { was },
        })
    }

    /// The changes of a server that stays.
    pub(super) fn alter(&self, live: &Placed<'a>, new: &Placed<'a>) -> Result<Vec<Op>, Why> {
        let (_, old) = self.read(&live.line)?;
        let (id, server) = self.read(&new.line)?;
        if old.rest != server.rest || live.defaults != new.defaults {
            return Err(Why::Rest(id));
        }
        let defaults = self.defaults_of(new)?;
        let standing =
            |server| server::standing(&defaults, server).ok_or(Why::Server(new.line.number));
        let ((old_weight, was_off), (weight, is_off)) = (standing(&old)?, standing(&server)?);
        let op = |act| Op {
            id: id.clone(),
            act,
        };
        let mut ops = Vec::new();
        if old.at != server.at {
            self.require_no_obstacle()?;
            if server.rest.contains(&"hash-key") {
                return Err(Why::Places(self.backend().to_owned()));
            }
            ops.push(op(Act::Move { to: server.at }));
        }
        if old_weight != weight {
            if self.balance() == Balance::Fixed {
                return Err(Why::Places(self.backend().to_owned()));
            }
            ops.push(op(Act::Weigh(weight)));
        }
        if was_off != is_off {
            ops.push(op(Act::Serve(!is_off)));
        }
        Ok(ops)
    }

    fn id(&self, name: &str, line: usize) -> Result<Id, Why> {
        let backend = self.section.name().ok_or(Why::Server(line))?;
        Id::new(backend, name).ok_or(Why::Server(line))
    }

    pub(super) fn read(&self, line: &Line<'a>) -> Result<(Id, Server<'a>), Why> {
        let server = Server::read(line).ok_or(Why::Server(line.number))?;
        Ok((self.id(server.name, line.number)?, server))
    }

    /// The default-server lines that count for a server.
    pub(super) fn defaults_of(&self, placed: &Placed<'a>) -> Result<Vec<Vec<&'a str>>, Why> {
        // The section's own are the same in the old text and the new, or we would not be here.
        let own = self
            .others
            .iter()
            .filter(|line| line.first() == "default-server")
            .count();
        let lines = self.lines("default-server").count() - own + placed.defaults;
        let words = |line: Line<'a>| Some(line.words()?.split_off(1));
        let read: Option<Vec<_>> = self
            .lines("default-server")
            .take(lines)
            .map(words)
            .collect();
        read.ok_or(Why::Server(placed.line.number))
    }
}

/// Whether it has the settings of HAProxy as a whole: a mark alone is none.
fn has_settings(text: &Text<'_>) -> bool {
    let mut globals = text.sections.iter().filter(|s| s.kind() == "global");
    globals.any(|section| text.marks.is_empty() || !section.lines.is_empty())
}

/// A server line and the number of default-server lines of its section before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) line: Line<'a>,
    pub(super) defaults: usize,
}
