//! Names in a template that nothing announced can make right, in whatever branch they stand. What a variable holds is
//! followed from `services` and `instances()` on as far as it is certain; what is not, and what the template itself asks
//! about (`is defined`), is passed over. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::tokens::{Tag, Token, What, tags};
use crate::model::instance::ServiceName;
use crate::model::suggestion::did_you_mean;
use crate::watch::render::error::{Fault, not_followed};
use crate::watch::render::rows::FIELDS;

const OF_SLOTS: &[&str] = &["name", "instance"];

/// Filters that give the same list in another order, or less of it.
const FILTERS_OF_LISTS: &[&str] = &["sort", "reverse", "unique", "default"];
/// Filters that fail for what is not defined.
const FILTERS_OF_TEXT: &[&str] = &[
    "upper",
    "lower",
    "trim",
    "trim_start",
    "trim_end",
    "replace",
    "capitalize",
    "title",
    "truncate",
    "split",
    "length",
];
const COMPARISONS: &[&str] = &["==", "!=", "<", ">", "<=", ">="];

/// A template of a configuration.
#[derive(Clone, Copy)]
pub(super) struct Source<'t> {
    pub(super) name: &'t str,
    pub(super) text: &'t str,
}

/// What is wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// A render fails once it comes there.
    pub(super) certain: Vec<Fault>,
    /// A render reads something that never is there, and goes on.
    pub(super) doubtful: Vec<Fault>,
}

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The lists of instances by the names of their services.
    Services,
    Instances,
    Instance,
    Slots,
    Slot,
    /// Anything.
    Unknown,
    /// Nothing of this name is known in any of the templates.
    Unbound,
}

/// Looks through a template and those that it includes or extends. `services` are those that the target lists, if it lists
/// any, and `variables` the names that the templates read and do not set, as far as Tera tells.
pub(super) fn find(
    template: Source<'_>,
    others: &[Source<'_>],
    services: Option<&[ServiceName]>,
    variables: &HashSet<&str>,
) -> Found {
    let files = files(template, others);
    let mut look = Look {
        services,
        variables: Some(variables),
        ..Look::default()
    };
    look.gather(files.iter().flat_map(|(_, tags)| tags));
    for (name, tags) in &files {
        look.file = name;
        look.scopes = vec![BTreeMap::new()];
        for tag in tags {
            look.tag(tag);
        }
    }
    look.found
}

type File<'t> = (&'t str, Vec<Tag<'t>>);

/// The template, and all that it includes or extends by a name that stands there.
fn files<'t>(template: Source<'t>, others: &[Source<'t>]) -> Vec<File<'t>> {
    let mut files: Vec<File<'t>> = Vec::new();
    let mut next = vec![template];
    while let Some(source) = next.pop() {
        if files.iter().any(|(name, _)| *name == source.name) {
            continue;
        }
        let tags = tags(source.text);
        let parts = tags
            .iter()
            .filter(|tag| !tag.prints && matches!(tag.word(0), Some("include" | "extends")));
        let named = parts.flat_map(|tag| (1..tag.tokens.len()).filter_map(|at| tag.text(at)));
        next.extend(named.filter_map(|name| others.iter().find(|other| other.name == name)));
        files.push((source.name, tags));
    }
    files
}

/// Follows what the names of templates hold.
#[derive(Default)]
pub(super) struct Look<'l, 't> {
    services: Option<&'l [ServiceName]>,
    variables: Option<&'l HashSet<&'l str>>,
    /// The names that something is given to anywhere.
    bound: BTreeSet<&'t str>,
    /// The names of which it is not certain what they hold.
    opaque: BTreeSet<&'t str>,
    /// The names of which a template asks whether they are there.
    asked: BTreeSet<&'t str>,
    file: &'l str,
    /// What the names hold, outside of loops first, then for each loop around the place.
    scopes: Vec<BTreeMap<&'t str, Kind>>,
    found: Found,
}

/// A name with what is read of it: `i.attrs.vhost`, `services["web"]`.
pub(super) struct Chain<'t> {
    pub(super) kind: Kind,
    /// Where the tag goes on.
    pub(super) end: usize,
    /// Whether a field of an instance is read whose name is computed.
    pub(super) is_computed: bool,
    unknown: Option<Unknown<'t>>,
}

/// A part of a chain that never is there.
struct Unknown<'t> {
    name: &'t str,
    line: usize,
    what: String,
    hint: String,
    /// Whether something is read of it in turn.
    is_read_on: bool,
}

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It has to be there.
    Needed,
    /// It may be absent, which the template does not seem to expect.
    Read,
    /// It may be absent, and the template knows.
    Asked,
}

impl<'t> Look<'_, 't> {
    /// What is known of names before the templates are followed.
    pub(super) fn gather<'f>(&mut self, tags: impl IntoIterator<Item = &'f Tag<'t>> + Clone)
    where
        't: 'f,
    {
        self.scopes = vec![BTreeMap::new()];
        let mut looped: BTreeSet<&str> = BTreeSet::new();
        let mut sets: BTreeMap<&str, usize> = BTreeMap::new();
        for tag in tags.clone() {
            let words = || (0..tag.tokens.len()).filter_map(|at| Some((at, tag.word(at)?)));
            let first = tag.word(0).filter(|_| !tag.prints);
            match first {
                Some("for") => looped.extend(loop_names(tag, 1).0),
                Some("set" | "set_global") => {
                    if let Some(name) = tag.word(1) {
                        let times = if tag.is_sign(2, "=") { 1 } else { 2 };
                        *sets.entry(name).or_default() += times;
                    }
                }
                Some("component") => self.opaque.extend(words().map(|(_, word)| word)),
                Some(_) | None => {}
            }
            for (at, word) in words() {
                if word == "for" && (at > 0 || tag.prints) {
                    self.opaque.extend(loop_names(tag, at + 1).0);
                }
                let is_header = first == Some("for") && at == loop_names(tag, 1).1;
                if word == "in" && !is_header && tag.word(at + 1) == Some("services") {
                    self.asked.insert("services");
                }
                let after = if tag.word(at + 1) == Some("not") {
                    at + 2
                } else {
                    at + 1
                };
                let asks = matches!(tag.word(after), Some("defined" | "undefined"));
                if word == "is" && asks {
                    self.asked.extend(last_name(tag, at));
                }
            }
        }
        for (name, times) in &sets {
            if *times > 1 || looped.contains(name) {
                self.opaque.insert(name);
            }
        }
        self.bound.extend(looped);
        self.bound.extend(sets.into_keys());
        self.bound.extend(&self.opaque);
        // A condition asks whether its names are there.
        for tag in tags {
            for at in 0..tag.tokens.len() {
                if let Some(chain) = self.chain(tag, at)
                    && use_of(tag, at, chain.end) == Use::Asked
                {
                    self.asked.extend(last_name(tag, chain.end));
                }
            }
        }
    }

    fn tag(&mut self, tag: &Tag<'t>) {
        for at in 0..tag.tokens.len() {
            if let Some(chain) = self.chain(tag, at) {
                self.judge(tag, at, chain);
            }
        }
        self.enter(tag, |look, from| Some(look.expression(tag, from)));
    }

    /// Gives the names of a loop or a `set` what `expression` finds at a place; ends the scope of a loop.
    pub(super) fn enter(
        &mut self,
        tag: &Tag<'t>,
        expression: impl Fn(&Self, usize) -> Option<Kind>,
    ) {
        if tag.prints {
            return;
        }
        match tag.word(0) {
            Some("for") => {
                let (names, after) = loop_names(tag, 1);
                let of = expression(self, after + 1).unwrap_or(Kind::Unknown);
                let item = match (of, names.len()) {
                    (Kind::Instances, 1) => Kind::Instance,
                    (Kind::Slots, 1) => Kind::Slot,
                    (Kind::Services, 2) => Kind::Instances,
                    _ => Kind::Unknown,
                };
                let last = names.len().saturating_sub(1);
                let kinds = names.into_iter().enumerate();
                let kinds = kinds.map(|(at, name)| {
                    let kind = if at == last { item } else { Kind::Unknown };
                    (name, kind)
                });
                self.scopes.push(kinds.collect());
            }
            Some("endfor") if self.scopes.len() > 1 => drop(self.scopes.pop()),
            Some("set" | "set_global") => {
                let kind = expression(self, 3).unwrap_or(Kind::Unknown);
                if let (Some(name), Some(scope)) = (tag.word(1), self.scopes.last_mut()) {
                    scope.insert(name, kind);
                }
            }
            Some(_) | None => {}
        }
    }

    fn judge(&mut self, tag: &Tag<'t>, at: usize, chain: Chain<'t>) {
        let Some(unknown) = chain.unknown else {
            return;
        };
        let is_asked = self.asked.contains(unknown.name);
        let needed = if unknown.is_read_on {
            Use::Needed
        } else {
            use_of(tag, at, chain.end)
        };
        let into = match needed {
            _ if is_asked => return,
            Use::Asked => return,
            Use::Needed => &mut self.found.certain,
            Use::Read => &mut self.found.doubtful,
        };
        let place = Some((self.file.to_owned(), unknown.line));
        into.push(Fault::with_hint(place, unknown.what, unknown.hint));
    }

    /// What a whole expression gives, from a place to the end of the tag.
    fn expression(&self, tag: &Tag<'t>, from: usize) -> Kind {
        let Some(chain) = self.chain(tag, from) else {
            return Kind::Unknown;
        };
        let (mut kind, mut at) = (chain.kind, chain.end);
        while tag.is_sign(at, "|") {
            let Some(filter) = tag.word(at + 1) else {
                return Kind::Unknown;
            };
            let is_list = matches!(kind, Kind::Instances | Kind::Slots);
            kind = match (filter, kind) {
                (filter, kind) if is_list && FILTERS_OF_LISTS.contains(&filter) => kind,
                ("first" | "last" | "nth", Kind::Instances) => Kind::Instance,
                _ => Kind::Unknown,
            };
            at = after_arguments(tag, at + 2);
        }
        if at < tag.tokens.len() {
            Kind::Unknown
        } else {
            kind
        }
    }

    /// The chain that begins at a place, if one does.
    pub(super) fn chain(&self, tag: &Tag<'t>, at: usize) -> Option<Chain<'t>> {
        let name = tag.word(at).filter(|name| !is_of_language(name))?;
        let is_part = at > 0
            && ([".", "?.", "|", "<", "</"]
                .iter()
                .any(|sign| tag.is_sign(at - 1, sign))
                || matches!(tag.word(at - 1), Some("is"))
                || (tag.word(at - 1) == Some("not") && at > 1 && tag.word(at - 2) == Some("is")));
        let is_tag = at == 0 && !tag.prints;
        if is_part || is_tag || tag.is_sign(at + 1, "=") || tag.is_sign(at + 1, ":") {
            return None;
        }
        let line = tag.tokens[at].line;
        if tag.is_sign(at + 1, "(") {
            let end = after_arguments(tag, at + 1);
            let kind = match name {
                "instances" | "speaking" => Kind::Instances,
                "slots" => Kind::Slots,
                _ => Kind::Unknown,
            };
            let unknown = (name == "instances").then(|| self.unfollowed(tag, at, end));
            let unknown = unknown.flatten();
            let chain = Chain {
                kind,
                end,
                is_computed: false,
                unknown,
            };
            return Some(self.read_on(tag, chain));
        }
        let kind = self.lookup(name);
        let is_read = |variables: &HashSet<&str>| variables.contains(name);
        let is_nothing = kind == Kind::Unbound && self.variables.is_some_and(is_read);
        let unknown = is_nothing.then(|| Unknown {
            name,
            line,
            what: format!("variable `{name}` is not defined"),
            hint: advice(
                name,
                self.bound.iter().copied().chain(["services"]),
                "available variables: services",
            ),
            is_read_on: false,
        });
        let chain = Chain {
            kind,
            end: at + 1,
            is_computed: false,
            unknown,
        };
        Some(self.read_on(tag, chain))
    }

    /// Whether it is not certain what a name holds.
    pub(super) fn is_opaque(&self, name: &str) -> bool {
        self.opaque.contains(name)
    }

    fn lookup(&self, name: &str) -> Kind {
        if self.is_opaque(name) {
            return Kind::Unknown;
        }
        let mut scopes = self.scopes.iter().rev();
        match scopes.find_map(|scope| scope.get(name)) {
            Some(kind) => *kind,
            None if self.bound.contains(name) => Kind::Unknown,
            None if name == "services" => Kind::Services,
            None => Kind::Unbound,
        }
    }

    /// The service of `instances(service="…")`, if the target does not follow it.
    fn unfollowed(&self, tag: &Tag<'t>, from: usize, to: usize) -> Option<Unknown<'t>> {
        let services = self.services?;
        let is_argument = |at: &usize| tag.word(*at) == Some("service") && tag.is_sign(at + 1, "=");
        let at = 2 + (from..to).find(is_argument)?;
        let name = tag.text(at)?;
        let is_whole = tag.is_sign(at + 1, ",") || tag.is_sign(at + 1, ")");
        let follows = services.iter().any(|service| service.as_str() == name);
        if !is_whole || follows || self.asked.contains("services") {
            return None;
        }
        let (what, hint) = not_followed(name);
        Some(Unknown {
            name,
            line: tag.tokens[at].line,
            what,
            hint: did_you_mean(name, services.iter().map(ServiceName::as_str)).unwrap_or(hint),
            is_read_on: true,
        })
    }

    /// The same with the fields that are read of it.
    fn read_on(&self, tag: &Tag<'t>, mut chain: Chain<'t>) -> Chain<'t> {
        loop {
            let at = chain.end;
            let field = if tag.is_sign(at, ".") {
                chain.end = at + 2;
                tag.word(at + 1)
            } else if tag.is_sign(at, "[") {
                chain.end = after_brackets(tag, at);
                tag.text(at + 1).filter(|_| chain.end == at + 3)
            } else {
                return chain;
            };
            if let Some(unknown) = &mut chain.unknown {
                unknown.is_read_on = true;
                continue;
            }
            let kind = std::mem::replace(&mut chain.kind, Kind::Unknown);
            let Some(name) = field else {
                chain.is_computed |= kind == Kind::Instance;
                let is_slice = (at..chain.end).any(|at| tag.is_sign(at, ":"));
                chain.kind = match kind {
                    Kind::Services => Kind::Instances,
                    Kind::Instances if is_slice => Kind::Instances,
                    Kind::Instances => Kind::Instance,
                    Kind::Slots if !is_slice => Kind::Slot,
                    _ => Kind::Unknown,
                };
                continue;
            };
            chain.kind = match kind {
                Kind::Services => Kind::Instances,
                Kind::Slot if name == "instance" => Kind::Instance,
                _ => Kind::Unknown,
            };
            chain.unknown = self.missing(kind, name).map(|hint| Unknown {
                name,
                line: tag.tokens[at + 1].line,
                what: format!("field `{name}` is not defined"),
                hint,
                is_read_on: false,
            });
        }
    }

    /// What to say of a field that a value never has.
    fn missing(&self, kind: Kind, name: &str) -> Option<String> {
        let known: Vec<&str> = match kind {
            Kind::Instance => FIELDS.to_vec(),
            Kind::Slot => OF_SLOTS.to_vec(),
            Kind::Services if !self.asked.contains("services") => {
                self.services?.iter().map(ServiceName::as_str).collect()
            }
            Kind::Services | Kind::Instances | Kind::Slots | Kind::Unknown | Kind::Unbound => {
                return None;
            }
        };
        let available = format!("available fields: {}", known.join(", "));
        let is_missing = !known.contains(&name);
        is_missing.then(|| advice(name, known, &available))
    }
}

fn advice<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, other: &str) -> String {
    did_you_mean(name, known).unwrap_or_else(|| other.to_owned())
}

/// What becomes of the chain that stands from one place to another.
fn use_of(tag: &Tag<'_>, from: usize, to: usize) -> Use {
    let sign = |at: usize| match tag.tokens.get(at).map(|token: &Token<'_>| token.what) {
        Some(What::Sign(sign)) => Some(sign),
        Some(What::Word(_) | What::Text(_) | What::Number) | None => None,
    };
    let before = from.checked_sub(1);
    let (sign_before, word_before) = (
        before.and_then(sign),
        before.and_then(|before| tag.word(before)),
    );
    let is_last = to >= tag.tokens.len();
    match (sign(to), tag.word(to)) {
        (_, Some("is")) | (Some("?." | "?["), _) => return Use::Asked,
        (Some("|"), _) => {
            return match tag.word(to + 1) {
                Some("default") => Use::Asked,
                Some(filter) if FILTERS_OF_TEXT.contains(&filter) => Use::Needed,
                Some(_) | None => Use::Read,
            };
        }
        (Some(")"), _) if sign_before == Some("(") => return Use::Asked,
        _ => {}
    }
    let compares = [sign(to), sign_before]
        .into_iter()
        .flatten()
        .any(|sign| COMPARISONS.contains(&sign));
    if compares {
        return Use::Read;
    }
    if tag.prints && from == 0 && is_last {
        return Use::Needed;
    }
    let is_looped = tag.word(0) == Some("for") && before == Some(loop_names(tag, 1).1);
    if !tag.prints && is_looped && is_last {
        return Use::Needed;
    }
    let is_word = |word| matches!(word, Some("if" | "elif" | "and" | "or" | "not" | "else"));
    if is_word(word_before) || is_word(tag.word(to)) {
        return Use::Asked;
    }
    Use::Read
}

/// The names of a loop that begin at a place, and where its `in` stands.
pub(super) fn loop_names<'t>(tag: &Tag<'t>, from: usize) -> (Vec<&'t str>, usize) {
    let is_end = |at: &usize| *at >= tag.tokens.len() || tag.word(*at) == Some("in");
    let end = (from..=tag.tokens.len()).find(is_end).unwrap_or(from);
    ((from..end).filter_map(|at| tag.word(at)).collect(), end)
}

/// The last name of the chain that ends before a place.
fn last_name<'t>(tag: &Tag<'t>, end: usize) -> Option<&'t str> {
    let last = end.checked_sub(1)?;
    tag.word(last).or_else(|| tag.text(last.checked_sub(1)?))
}

/// Where the tag goes on after what stands in parentheses at a place, if anything does.
pub(super) fn after_arguments(tag: &Tag<'_>, at: usize) -> usize {
    if tag.is_sign(at, "(") {
        after_brackets(tag, at)
    } else {
        at
    }
}

/// Where the tag goes on after the bracket that opens at a place.
fn after_brackets(tag: &Tag<'_>, at: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tag.tokens.iter().enumerate().skip(at) {
        match token.what {
            What::Sign("(" | "[" | "{" | "?[") => depth += 1,
            What::Sign(")" | "]" | "}") => depth = depth.saturating_sub(1),
            What::Sign(_) | What::Word(_) | What::Text(_) | What::Number => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    tag.tokens.len()
}

/// Whether a word is one of the language, or a name that Tera gives something to.
pub(super) fn is_of_language(word: &str) -> bool {
    [
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "elif",
        "else",
        "for",
        "true",
        "false",
        "True",
        "False",
        "none",
        "None",
        "null",
        "loop",
        "body",
        "super",
        "defined",
        "undefined",
    ]
    .contains(&word)
}

#[cfg(test)]
mod tests;
