//! Which fields of instances a template can read. Rows without the others take a third of the memory. Pure.
//!
//! It is certain only where instances are used in ways that are known here: looped over, counted, asked for their truth, or
//! read field by field. Anything else (a row that is printed as a whole, an include, a component, a name that is computed)
//! may read all fields, and then rows have all.

use super::mistakes::{Kind, Look, after_arguments, is_of_language, loop_names};
use super::tokens::{Tag, What, tags};
use crate::watch::render::rows::Fields;

/// Tags in which no other file, and no scope that is not followed here, comes into play.
const KNOWN_TAGS: &[&str] = &[
    "for", "endfor", "if", "elif", "else", "endif", "set", "endset", "break", "continue",
];

/// The fields that a template may read of instances.
pub(super) fn fields(source: &str) -> Fields {
    let tags = tags(source);
    if loops_over_instances(&tags).is_none() {
        return Fields::new(|_| true);
    }
    let tokens = tags.iter().flat_map(|tag| &tag.tokens);
    let names = tokens.filter_map(|token| match token.what {
        // An attribute may be named by a path: `sort(attribute="attrs.zone")`.
        What::Text(text) => text.split('.').next(),
        What::Word("slots") => Some("id"),
        What::Word("agreed") => Some("attrs"),
        What::Word(word) => Some(word),
        What::Number | What::Sign(_) => None,
    });
    let names: Vec<&str> = names.collect();
    Fields::new(|field| names.contains(&field))
}

/// The places of the loops over instances among the tags of a template; nothing unless all that the template does with
/// instances is known.
pub(super) fn loops_over_instances(tags: &[Tag<'_>]) -> Option<Vec<usize>> {
    let are_known = tags.iter().all(is_known) && !sets_in_else_of_loop(tags);
    are_known.then(|| Reader::default().follow(tags)).flatten()
}

fn is_known(tag: &Tag<'_>) -> bool {
    let is_tag = tag.prints || tag.word(0).is_some_and(|word| KNOWN_TAGS.contains(&word));
    // A component is used like this, and a smaller number is rare.
    let is_component = |at: usize| tag.is_sign(at, "<") || tag.is_sign(at, "</");
    // `__tera_context`, and what is behind `loop.index`.
    let is_hidden = |at: usize| tag.word(at).is_some_and(|word| word.starts_with("__tera_"));
    let mut places = 0..tag.tokens.len();
    is_tag && !places.any(|at| is_component(at) || is_hidden(at)) && !binds_unfollowed(tag)
}

/// Whether a tag gives something to a name that is not followed: that of all instances, or a word of the language, which may
/// be a name too.
fn binds_unfollowed(tag: &Tag<'_>) -> bool {
    let is_unfollowed = |name: &str| name == "services" || is_of_language(name);
    let is_set = !tag.prints && tag.word(0) == Some("set");
    let set = tag.word(1).filter(|_| is_set);
    let loops = (0..tag.tokens.len()).filter(|at| tag.word(*at) == Some("for"));
    let looped = loops.flat_map(|at| loop_names(tag, at + 1).0);
    set.into_iter().chain(looped).any(is_unfollowed)
}

/// Whether something is set in the `else` of a loop: it stays set behind the loop.
pub(super) fn sets_in_else_of_loop(tags: &[Tag<'_>]) -> bool {
    // For each loop or `if` around the place: whether it is a loop, and whether the place is in its `else`.
    let mut blocks: Vec<(bool, bool)> = Vec::new();
    tags.iter().filter(|tag| !tag.prints).any(|tag| {
        match tag.word(0) {
            Some("for") => blocks.push((true, false)),
            Some("if") => blocks.push((false, false)),
            Some("endfor" | "endif") => drop(blocks.pop()),
            Some("else") => {
                if let Some((_, is_else)) = blocks.last_mut() {
                    *is_else = true;
                }
            }
            Some("set") => {
                let mut loops = blocks.iter().rev().filter(|(is_loop, _)| *is_loop);
                return loops.next().is_some_and(|(_, is_else)| *is_else);
            }
            Some(_) | None => {}
        }
        false
    })
}

/// Follows the instances through a template.
#[derive(Default)]
struct Reader<'t>(Look<'static, 't>);

impl<'t> Reader<'t> {
    /// The places of the loops over instances, if all uses of instances are known ones.
    fn follow(mut self, tags: &[Tag<'t>]) -> Option<Vec<usize>> {
        self.0.gather(tags);
        let mut loops = Vec::new();
        for (place, tag) in tags.iter().enumerate() {
            if !(0..tag.tokens.len()).all(|at| self.knows(tag, at)) {
                return None;
            }
            if !tag.prints && tag.word(0) == Some("for") {
                let of = value(&self.0, tag, loop_names(tag, 1).1 + 1);
                loops.extend(
                    of.filter(|(kind, _)| *kind == Kind::Instances)
                        .map(|_| place),
                );
            }
            self.0
                .enter(tag, |look, from| Some(value(look, tag, from)?.0));
        }
        Some(loops)
    }

    /// Whether what begins at a place of a tag is used in a known way, if it is instances.
    fn knows(&self, tag: &Tag<'t>, at: usize) -> bool {
        let Some((kind, end)) = value(&self.0, tag, at) else {
            return true;
        };
        let is_end = end == tag.tokens.len();
        let before = at.checked_sub(1).and_then(|before| tag.word(before));
        let is_condition = !tag.prints
            && matches!(tag.word(0), Some("if" | "elif"))
            && !is_in_brackets(tag, at)
            && matches!(before, Some("if" | "elif" | "and" | "or" | "not"))
            && (is_end || matches!(tag.word(end), Some("and" | "or")));
        let asks = tag.word(end) == Some("is")
            && (tag.word(end + 1) == Some("defined")
                || (tag.word(end + 1) == Some("not") && tag.word(end + 2) == Some("defined")));
        let is_argument = at > 1
            && tag.is_sign(at - 1, "=")
            && tag.word(at - 2) == Some("instances")
            && (tag.is_sign(end, ",") || tag.is_sign(end, ")"));
        is_condition || asks || is_argument || (is_end && self.is_given_a_name(tag, at, kind))
    }

    /// Whether the value of a loop or a `set` goes to names that are followed.
    fn is_given_a_name(&self, tag: &Tag<'t>, at: usize, kind: Kind) -> bool {
        if tag.prints {
            return false;
        }
        let is_followed = |name: &str| !self.0.is_opaque(name);
        match tag.word(0) {
            Some("for") => {
                let (names, after) = loop_names(tag, 1);
                let count = if kind == Kind::Services { 2 } else { 1 };
                let is_list = matches!(kind, Kind::Services | Kind::Instances | Kind::Slots);
                let all_followed = names.iter().all(|name| is_followed(name));
                at == after + 1 && is_list && names.len() == count && all_followed
            }
            Some("set") => at == 3 && tag.is_sign(2, "=") && tag.word(1).is_some_and(is_followed),
            Some(_) | None => false,
        }
    }
}

/// Whether a bracket is open at a place.
fn is_in_brackets(tag: &Tag<'_>, at: usize) -> bool {
    let count = |signs: &[&str]| {
        let is_one = |at: &usize| signs.iter().any(|sign| tag.is_sign(*at, sign));
        (0..at).filter(is_one).count()
    };
    count(&["(", "[", "?[", "{"]) > count(&[")", "]", "}"])
}

/// The instances that begin at a place, with the filters behind them, and where the tag goes on; nothing if something else
/// stands there, or what becomes of them is no instances any more, and read in a known way.
fn value(look: &Look<'_, '_>, tag: &Tag<'_>, at: usize) -> Option<(Kind, usize)> {
    let chain = look.chain(tag, at)?;
    let (mut kind, mut end) = (chain.kind, chain.end);
    if chain.is_computed {
        return Some((kind, tag.tokens.len() + 1));
    }
    if matches!(kind, Kind::Unknown | Kind::Unbound) {
        return None;
    }
    while tag.is_sign(end, "|") {
        let filter = tag.word(end + 1)?;
        let (from, to) = (end + 2, after_arguments(tag, end + 2));
        let is_named = tag.word(from + 1) == Some("attribute")
            && tag.text(from + 3).is_some()
            && (tag.is_sign(from + 4, ",") || tag.is_sign(from + 4, ")"));
        match (filter, kind) {
            ("length", Kind::Services | Kind::Instances | Kind::Slots) => return None,
            ("map", Kind::Instances) if is_named => return None,
            ("sort" | "filter", Kind::Instances) if is_named => {}
            ("reverse", Kind::Instances | Kind::Slots) => {}
            ("first" | "last", Kind::Instances) => kind = Kind::Instance,
            ("default", Kind::Instances) if tag.is_sign(from + 3, "[") && to == from + 6 => {}
            _ => return Some((kind, end)),
        }
        end = to;
    }
    Some((kind, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_field_by_field_is_known() {
        for (source, want) in [
            ("", &[][..]),
            ("{{ getenv(name=\"ip\") }}", &["ip"]),
            (
                "{% for i in services.web %}{{ i.id }} {{ i[\"addr\"] }}{% endfor %}",
                &["id", "addr"],
            ),
            (
                "{% for s, list in services %}{% for i in list | sort(attribute=\"weight\") %}{{ i.port }}{% endfor %}{% endfor %}",
                &["port", "weight"],
            ),
            (
                "{% set all = instances(service=\"web\") %}{% if all and not all is defined %}{{ all | length }}{% endif %}{% for i in all | reverse %}{{ i.ip }}{% endfor %}",
                &["ip"],
            ),
            (
                "{% for s in slots(instances=instances(service=\"web\"), count=3) %}{% if s.instance %}{{ s.instance.addr }}{% endif %}{% endfor %}",
                &["id", "addr"],
            ),
            (
                "{% set v = agreed(instances=services.web, attribute=\"vhost\") %}{{ v }}",
                &["attrs"],
            ),
            (
                "{{ services.web | map(attribute=\"attrs.zone\") | join(sep=\",\") }}",
                &["attrs"],
            ),
            (
                "{% for i in services.web | default(value=[]) %}{{ i.weight | default(value=1) }}{% endfor %}",
                &["weight"],
            ),
            (
                "{% set one = services.web | first %}{{ one.port }}",
                &["port"],
            ),
        ] {
            let fields = Fields::new(|field| want.contains(&field));
            assert_eq!(super::fields(source), fields, "{source}");
        }
    }

    #[test]
    fn what_may_be_read_as_a_whole_is_whole() {
        for source in [
            "{{ services }}",
            "{{ services.web }}",
            "{{ services.web[0] }}",
            "{{ services.web | first }}",
            "{{ services.web | json_encode }}",
            "{{ services.web | unique | length }}",
            "{{ services.web | map(attribute=name) }}",
            "{{ __tera_context }}",
            "{% for i in services.web %}{{ i }}{% endfor %}",
            "{% for i in services.web %}{{ i[name] }}{% endfor %}",
            "{% for i in services.web %}{% for k, v in i %}{{ v }}{% endfor %}{% endfor %}",
            "{% for i in services.web %}{% include \"x\" %}{% endfor %}",
            "{% for i in services.web %}{% if i == other %}{% endif %}{% endfor %}",
            "{% for i in services.web %}{% set_global last = i %}{% endfor %}{{ last }}",
            "{% for i in services.web %}{% set x = i %}{% set x = 1 %}{{ x }}{% endfor %}",
            "{% for i in services.web if true else [] %}{{ i.id }}{% endfor %}",
            "{% for list in services %}{{ list }}{% endfor %}",
            "{{ [i for i in services.web] }}",
            "{% set all = services.web %}{{ all | json_encode }}",
            "{% set all = instances(service=\"web\") %}{% for i in all %}{{ i }}{% endfor %}",
            "{{ <row instance={services.web[0]} /> }}",
            "{{ json(value=services) }}",
            "{% for s in slots(instances=services.web, count=3) %}{{ s.instance }}{% endfor %}",
            "{% if services.web is containing(x) %}{% endif %}",
        ] {
            assert_eq!(fields(source), Fields::new(|_| true), "{source}");
        }
    }
}
