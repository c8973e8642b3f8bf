//! A section with the defaults that apply to it, and which changes of its servers HAProxy can make at run time. Pure.

use std::collections::BTreeSet;

use super::change::{Action, ReloadReason, ServerChange};
use super::parse::{Line, Section, Text};
use super::server::{self, Id, Server};

/// What the balance algorithm allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Balance {
    /// Servers can be added and removed.
    Free,
    /// A hash ring: weights may change, but the place of a server on the ring comes from its place in the file.
    Ring,
    /// The algorithm goes by the order of the servers in the file.
    Fixed,
}

/// A section of `backend` or `listen`, with the `defaults` section that applies to it: the one it names, or the last one
/// before it.
pub(super) struct Context<'a> {
    defaults: Option<&'a Section<'a>>,
    pub(super) section: &'a Section<'a>,
    /// Its lines without its servers.
    others: Vec<Line<'a>>,
    /// Whether the `defaults` section may stand in a file that is not known here.
    is_part: bool,
    /// The servers that `track` and `use-server` of any line refer to.
    referenced: &'a BTreeSet<&'a str>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        base: &'a Text<'a>,
        text: &'a Text<'a>,
        at: usize,
        referenced: &'a BTreeSet<&'a str>,
    ) -> Result<Self, ReloadReason> {
        let section = &text.sections[at];
        let mut before = base.sections.iter().chain(&text.sections[..at]);
        let all = || base.sections.iter().chain(&text.sections);
        let from = section.head.and_then(|head| head.words());
        let defaults = match from.as_deref().unwrap_or_default() {
            [_, _, "from", name, ..] => {
                let has_name = |s: &&Section<'_>| s.kind() == "defaults" && s.name() == Some(name);
                let mut found = all().filter(has_name);
                let first = found.next().ok_or(ReloadReason::UnknownDefaults)?;
                found.next().is_none().then_some(first)
            }
            _ => before.rfind(|section| section.kind() == "defaults"),
        };
        // Defaults that take over others are not followed.
        let head = defaults.and_then(|defaults| defaults.head?.words());
        if head.unwrap_or_default().contains(&"from") {
            return Err(ReloadReason::Ambiguous(defaults.map_or(0, Section::number)));
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
            referenced,
        })
    }

    fn backend(&self) -> &'a str {
        self.section.name().unwrap_or_default()
    }

    /// The lines that begin with this word: first those of the defaults, then those of the section.
    fn lines(&self, first: &str) -> impl Iterator<Item = Line<'a>> {
        let defaults = self.defaults.into_iter().flat_map(|section| &section.lines);
        let lines = defaults.chain(&self.others).copied();
        lines.filter(move |line| line.first() == first)
    }

    /// The words of the last line with this setting, which is the one that counts.
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

    /// The setting of the section that keeps its servers from being added or moved.
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

    pub(super) fn require_places_to_be_free(&self) -> Result<(), ReloadReason> {
        let fixed = || ReloadReason::FixedPlaces(self.backend().to_owned());
        (self.balance() == Balance::Free)
            .then_some(())
            .ok_or_else(fixed)
    }

    fn require_no_obstacle(&self) -> Result<(), ReloadReason> {
        match self.obstacle() {
            None => Ok(()),
            Some(what) => Err(ReloadReason::Section {
                backend: self.backend().to_owned(),
                what,
            }),
        }
    }

    /// The change that adds a server, with all its settings.
    pub(super) fn add(&self, server_line: &ServerLine<'a>) -> Result<ServerChange, ReloadReason> {
        let (id, server) = self.read(&server_line.line)?;
        self.require_places_to_be_free()?;
        self.require_no_obstacle()?;
        if self.is_part {
            return Err(ReloadReason::UnknownDefaults);
        }
        let defaults = self.defaults_of(server_line)?;
        let keyword = |word: &str| ReloadReason::Keyword {
            id: id.clone(),
            keyword: word.to_owned(),
        };
        let mode = self.setting("mode").unwrap_or_default();
        if !matches!(mode.get(1).unwrap_or(&"tcp"), &"tcp" | &"http") {
            return Err(ReloadReason::Section {
                backend: self.backend().to_owned(),
                what: "mode",
            });
        }
        let all_settings =
            server::all_settings(&defaults, &server).map_err(|refused| keyword(&refused.0))?;
        Ok(ServerChange {
            action: Action::Add(server.at, all_settings),
            id,
        })
    }

    pub(super) fn remove(&self, live: &ServerLine<'a>) -> Result<ServerChange, ReloadReason> {
        let name =
            server::name(&live.line).ok_or(ReloadReason::UnreadableServer(live.line.number))?;
        let id = self.id(name, live.line.number)?;
        self.require_places_to_be_free()?;
        if self.referenced.contains(name) || self.referenced.contains(id.to_string().as_str()) {
            return Err(ReloadReason::Referenced(id));
        }
        // A server that cannot be added cannot come back either, so its keywords are not needed.
        let was = Server::parse(&live.line).and_then(|server| {
            let defaults = self.defaults_of(live).ok()?;
            Some(server::all_settings(&defaults, &server).ok()?.keywords)
        });
        Ok(ServerChange {
            id,
            action: Action::Remove { was },
        })
    }

    /// The changes of a server that stays.
    pub(super) fn alter(
        &self,
        live: &ServerLine<'a>,
        new: &ServerLine<'a>,
    ) -> Result<Vec<ServerChange>, ReloadReason> {
        let (_, old) = self.read(&live.line)?;
        let (id, server) = self.read(&new.line)?;
        if old.rest != server.rest || live.defaults != new.defaults {
            return Err(ReloadReason::OtherKeywords(id));
        }
        let defaults = self.defaults_of(new)?;
        let weight_and_state = |server| {
            server::weight_and_state(&defaults, server)
                .ok_or(ReloadReason::UnreadableServer(new.line.number))
        };
        let ((old_weight, was_off), (weight, is_off)) =
            (weight_and_state(&old)?, weight_and_state(&server)?);
        let op = |action| ServerChange {
            id: id.clone(),
            action,
        };
        let mut ops = Vec::new();
        if old.at != server.at {
            self.require_no_obstacle()?;
            if server.rest.contains(&"hash-key") {
                return Err(ReloadReason::FixedPlaces(self.backend().to_owned()));
            }
            ops.push(op(Action::Move { to: server.at }));
        }
        if old_weight != weight {
            if self.balance() == Balance::Fixed {
                return Err(ReloadReason::FixedPlaces(self.backend().to_owned()));
            }
            ops.push(op(Action::SetWeight(weight)));
        }
        if was_off != is_off {
            ops.push(op(Action::SetEnabled(!is_off)));
        }
        Ok(ops)
    }

    fn id(&self, name: &str, line: usize) -> Result<Id, ReloadReason> {
        let backend = self
            .section
            .name()
            .ok_or(ReloadReason::UnreadableServer(line))?;
        Id::new(backend, name).ok_or(ReloadReason::UnreadableServer(line))
    }

    pub(super) fn read(&self, line: &Line<'a>) -> Result<(Id, Server<'a>), ReloadReason> {
        let server = Server::parse(line).ok_or(ReloadReason::UnreadableServer(line.number))?;
        Ok((self.id(server.name, line.number)?, server))
    }

    /// The words of the `default-server` lines that apply to a server.
    pub(super) fn defaults_of(
        &self,
        server_line: &ServerLine<'a>,
    ) -> Result<Vec<Vec<&'a str>>, ReloadReason> {
        // The caller has made sure that the section's own lines are the same in the old text and the new one.
        let own = self
            .others
            .iter()
            .filter(|line| line.first() == "default-server")
            .count();
        let lines = self.lines("default-server").count() - own + server_line.defaults;
        let words = |line: Line<'a>| Some(line.words()?.split_off(1));
        let read: Option<Vec<_>> = self
            .lines("default-server")
            .take(lines)
            .map(words)
            .collect();
        read.ok_or(ReloadReason::UnreadableServer(server_line.line.number))
    }
}

/// Whether the text has a `global` section with more than a generation mark: then it is the whole configuration, or its
/// beginning.
fn has_settings(text: &Text<'_>) -> bool {
    let mut globals = text.sections.iter().filter(|s| s.kind() == "global");
    globals.any(|section| text.marks.is_empty() || !section.lines.is_empty())
}

/// A `server` line and the number of `default-server` lines of its section before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerLine<'a> {
    pub(super) line: Line<'a>,
    pub(super) defaults: usize,
}
