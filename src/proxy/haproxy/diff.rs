//! The difference between two configurations: nothing, changes of servers that the runtime API can make, or a reload.
//! Pure.
//!
//! The comparison needs the two texts alone, so it works with any template. A difference outside the `server` lines of a
//! backend or listen section needs a reload, and so does a line that cannot be read with certainty.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::change::{ReloadReason, ServerChange};
use super::context::{Context, ServerLine};
use super::parse::{Line, Section, Text};
use super::server;

/// What has to be done for HAProxy to run by a new text.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: both mean the same.
    None,
    /// These changes can be made while HAProxy runs; there is at least one.
    Runtime(Vec<ServerChange>),
    /// HAProxy has to be reloaded, for this reason.
    Reload(ReloadReason),
}

/// Compares the live text with a new one. `base` is the text of the files that HAProxy reads before either.
#[must_use]
pub fn diff(base: &str, live: &str, new: &str) -> Change {
    if live == new {
        return Change::None;
    }
    match changes(&Text::read(base), &Text::read(live), &Text::read(new)) {
        Ok(ops) if ops.is_empty() => Change::None,
        Ok(ops) => Change::Runtime(ops),
        Err(why) => Change::Reload(why),
    }
}

fn changes(
    base: &Text<'_>,
    live: &Text<'_>,
    new: &Text<'_>,
) -> Result<Vec<ServerChange>, ReloadReason> {
    if let Some(line) = live
        .ambiguous
        .or(new.ambiguous)
        .or(base.ambiguous_for_others)
    {
        return Err(ReloadReason::Ambiguous(line));
    }
    let mut both = live.sections.iter().zip(&new.sections);
    let apart = both.find(|(live, new)| !is_same_head(live, new));
    let missing = new.sections.get(live.sections.len());
    if let Some(section) = apart.map(|(_, new)| new).or(missing) {
        return Err(ReloadReason::Sections(section.number()));
    }
    if live.sections.len() > new.sections.len() {
        return Err(ReloadReason::Sections(
            live.sections[new.sections.len()].number(),
        ));
    }
    let referenced = referenced_servers([base, live, new]);
    let mut ops = Vec::new();
    for (n, (live, section)) in live.sections.iter().zip(&new.sections).enumerate() {
        if is_alike(live, section) {
            continue;
        }
        if !has_servers(section) {
            return Err(first_difference(&live.lines, &section.lines));
        }
        let context = Context::new(base, new, n, &referenced)?;
        ops.extend(of_section(live, &context)?);
    }
    Ok(ops)
}

/// Whether a section has servers that sidekick changes.
pub(super) fn has_servers(section: &Section<'_>) -> bool {
    matches!(section.kind(), "backend" | "listen")
}

fn is_same_head(live: &Section<'_>, new: &Section<'_>) -> bool {
    match (&live.head, &new.head) {
        (Some(live), Some(new)) => live.is_same(new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// A line that equals every line with the same meaning.
struct Same<'a>(&'a Line<'a>);

impl PartialEq for Same<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(other.0)
    }
}

fn is_alike(live: &Section<'_>, new: &Section<'_>) -> bool {
    let mut lines = live.lines.iter().zip(&new.lines);
    live.lines.len() == new.lines.len() && lines.all(|(live, new)| live.is_same(new))
}

fn first_difference<'a>(
    live: impl IntoIterator<Item = &'a Line<'a>>,
    new: impl IntoIterator<Item = &'a Line<'a>>,
) -> ReloadReason {
    let (mut live, mut new) = (live.into_iter(), new.into_iter());
    loop {
        match (live.next(), new.next()) {
            (Some(live), Some(new)) if live.is_same(new) => {}
            (_, Some(line)) | (Some(line), None) => return ReloadReason::OtherLine(line.number),
            (None, None) => return ReloadReason::OtherLine(0),
        }
    }
}

/// The servers that `track` and `use-server` of any line refer to, as written: `name` or `backend/name`.
pub(super) fn referenced_servers<'a>(texts: [&Text<'a>; 3]) -> BTreeSet<&'a str> {
    let lines = texts
        .into_iter()
        .flat_map(|text| &text.sections)
        .flat_map(|section| &section.lines);
    // Most lines are servers without `track`, so the cheap test comes first.
    let lines = lines.filter(|line| !line.is_server() || line.raw().contains("track"));
    let words = lines.flat_map(|line| line.words().unwrap_or_default());
    let mut found = BTreeSet::new();
    let mut takes = false;
    for word in words {
        if takes {
            found.insert(word);
        }
        takes = matches!(word, "track" | "use-server");
    }
    found
}

/// The server lines of a section, in order and by name.
pub(super) struct Servers<'a> {
    pub(super) order: Vec<(&'a str, ServerLine<'a>)>,
    pub(super) by_name: HashMap<&'a str, ServerLine<'a>>,
}

impl<'a> Servers<'a> {
    pub(super) fn of(section: &Section<'a>) -> Result<Self, ReloadReason> {
        Self::among(&section.lines, 0)
    }

    /// The server lines among these lines, which have so many `default-server` lines before them.
    fn among(lines: &[Line<'a>], mut defaults: usize) -> Result<Self, ReloadReason> {
        let mut order = Vec::new();
        for line in lines {
            match line.first() {
                "default-server" => defaults += 1,
                "server" => {
                    let name =
                        server::name(line).ok_or(ReloadReason::UnreadableServer(line.number))?;
                    order.push((
                        name,
                        ServerLine {
                            line: *line,
                            defaults,
                        },
                    ));
                }
                _ => {}
            }
        }
        let by_name: HashMap<_, _> = order.iter().copied().collect();
        let number = lines.last().map_or(0, |line| line.number);
        (by_name.len() == order.len())
            .then_some(Self { order, by_name })
            .ok_or(ReloadReason::UnreadableServer(number))
    }

    /// The names that both have, in the order of this one.
    fn common(&self, other: &Self) -> impl Iterator<Item = &'a str> {
        let names = self.order.iter().map(|(name, _)| *name);
        names.filter(|name| other.by_name.contains_key(name))
    }
}

fn of_section<'a>(
    live: &'a Section<'a>,
    context: &Context<'a>,
) -> Result<Vec<ServerChange>, ReloadReason> {
    let ends = Ends::of(&live.lines, &context.section.lines);
    let (ours, theirs) = (ends.cut(&live.lines), ends.cut(&context.section.lines));
    let others = |lines: &'a [Line<'a>]| lines.iter().filter(|line| !line.is_server());
    if !others(ours).map(Same).eq(others(theirs).map(Same)) {
        return Err(first_difference(others(ours), others(theirs)));
    }
    let is_default = |line: &&Line<'_>| !line.is_server() && line.first() == "default-server";
    let head = &live.lines[..ends.head];
    let defaults = head.iter().filter(is_default).count();
    let old = Servers::among(ours, defaults)?;
    let new = Servers::among(theirs, defaults)?;
    if !old.common(&new).eq(new.common(&old)) {
        context.require_places_to_be_free()?;
    }
    let mut ops = Vec::new();
    let mut added = BTreeMap::new();
    for (name, server_line) in &new.order {
        match old.by_name.get(name) {
            None => {
                added.insert(*name, server_line.line.number);
                ops.push(context.add(server_line)?);
            }
            Some(was)
                if was.defaults == server_line.defaults && was.line.is_same(&server_line.line) => {}
            Some(was) => ops.extend(context.alter(was, server_line)?),
        }
    }
    for (name, server_line) in &old.order {
        if !new.by_name.contains_key(name) {
            ops.push(context.remove(server_line)?);
        }
    }
    ends.require_others(&context.section.lines, &added)?;
    Ok(ops)
}

/// How many lines two sections have in common at their beginnings and at their ends. Of ten thousand servers a few
/// change, and only the lines between the common ends are read.
struct Ends {
    head: usize,
    tail: usize,
}

impl Ends {
    fn of(live: &[Line<'_>], new: &[Line<'_>]) -> Self {
        let same = |(live, new): &(&Line<'_>, &Line<'_>)| live.raw() == new.raw();
        let head = live.iter().zip(new).take_while(same).count();
        let rest = live[head..].iter().rev().zip(new[head..].iter().rev());
        let tail = rest.take_while(same).count();
        Self { head, tail }
    }

    fn cut<'a, 'b>(&self, lines: &'b [Line<'a>]) -> &'b [Line<'a>] {
        &lines[self.head..lines.len() - self.tail]
    }

    /// Requires that no server of the common lines has one of these names, which are given with the numbers of their lines.
    fn require_others(
        &self,
        lines: &[Line<'_>],
        added: &BTreeMap<&str, usize>,
    ) -> Result<(), ReloadReason> {
        if added.is_empty() {
            return Ok(());
        }
        let tail = &lines[lines.len() - self.tail..];
        let servers = lines[..self.head].iter().chain(tail);
        let names = servers
            .filter(|line| line.is_server())
            .filter_map(server::name);
        let mut taken = names.filter_map(|name| added.get(name));
        taken
            .next()
            .map_or(Ok(()), |line| Err(ReloadReason::UnreadableServer(*line)))
    }
}

#[cfg(test)]
mod tests;
