//! Loops over instances whose rounds depend on their instance alone. What such a round prints stays the same until its instance
//! changes, so a template that does nothing else with instances is split into parts: one for each of these loops, and an outer
//! one that asks for their rounds. Pure.

use std::ops::Range;

use super::fields::loops_over_instances;
use super::mistakes::loop_names;
use super::tokens::{Tag, What, tags};

/// The function by which the outer part asks for the rounds of a loop: `kept_rounds(n=0, list=services.web)`.
pub(super) const FUNCTION: &str = "kept_rounds";
/// The list over which the part of a loop goes.
pub(super) const LIST: &str = "instances_of_rounds";
/// What ends each round of a part. No field of an instance can contain it, since it is a control character.
pub(super) const END: char = '\u{1}';

/// Functions that give the same for the same arguments, in the same environment.
const STEADY: &[&str] = &[
    "json",
    "jsonArray",
    "base",
    "dir",
    "split",
    "join",
    "toUpper",
    "toLower",
    "contains",
    "trimSuffix",
    "replace",
    "base64Encode",
    "base64Decode",
    "parseBool",
    "atoi",
    "seq",
    "add",
    "sub",
    "mul",
    "div",
    "mod",
    "sortByLength",
    "sortKVByLength",
    "getenv",
    "generation",
    "target",
    "range",
];
/// Words of expressions that are neither names nor anything that depends on the other rounds.
const WORDS: &[&str] = &[
    "and", "or", "not", "in", "is", "if", "else", "true", "false", "True", "False", "none", "None",
    "null",
];
/// Filters that look into the instances of a list.
const LOOK_INSIDE: &[&str] = &["map", "sort", "filter", "reverse", "first", "last"];

/// A template that is split.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// The template with a call of [`FUNCTION`] in the place of each loop.
    pub(super) outer: String,
    /// For each loop a template that prints its rounds for all of [`LIST`], with [`END`] behind each.
    pub(super) loops: Vec<String>,
}

/// Splits a template that compiles, if all that it does with instances is to loop over them in such a way, to count them, and to
/// ask whether there are any.
pub(super) fn split(source: &str) -> Option<Parts> {
    let tags = tags(source);
    let heads = loops_over_instances(&tags)?;
    if heads.is_empty() || source.contains(END) {
        return None;
    }
    let (mut outer, mut loops, mut at) = (String::new(), Vec::new(), 0);
    let mut outside = 0..0;
    for head in heads {
        let body = body(&tags, head)?;
        if !is_independent(&tags, head, &body)
            || !tags.get(outside.end..=head)?.iter().all(leaves_lists_whole)
        {
            return None;
        }
        let (first, last) = (&tags[head], &tags[body.end]);
        outer.push_str(&source[at..first.place.start]);
        outer.push_str(&call(source, first, last, loops.len())?);
        loops.push(part(source, first, last)?);
        at = last.place.end;
        outside = body;
    }
    outer.push_str(&source[at..]);
    let is_whole = tags[outside.end..].iter().all(leaves_lists_whole);
    is_whole.then_some(Parts { outer, loops })
}

/// The tags between a loop's own; nothing if it has an `else`.
fn body(tags: &[Tag<'_>], head: usize) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    for (at, tag) in tags.iter().enumerate().skip(head + 1) {
        match tag.word(0).filter(|_| !tag.prints) {
            Some("for" | "if") => depth += 1,
            Some("endfor") if depth == 0 => return Some(head + 1..at),
            Some("else") if depth == 0 => return None,
            Some("endfor" | "endif") => depth = depth.checked_sub(1)?,
            Some(_) | None => {}
        }
    }
    None
}

/// What stands in the outer part for a loop.
fn call(source: &str, first: &Tag<'_>, last: &Tag<'_>, number: usize) -> Option<String> {
    let list = first.tokens.get(loop_names(first, 1).1 + 1)?.at;
    let end = first.place.end - 2 - usize::from(first.trims_behind);
    let list = source.get(list..end)?.trim_end();
    let dash = |trims| if trims { "-" } else { "" };
    let (before, behind) = (dash(first.trims_before), dash(last.trims_behind));
    let is_plain = !list.contains("}}");
    is_plain.then(|| format!("{{{{{before} {FUNCTION}(n={number}, list={list}) {behind}}}}}"))
}

/// The part of a loop.
fn part(source: &str, first: &Tag<'_>, last: &Tag<'_>) -> Option<String> {
    let name = first.word(1)?;
    let body = source.get(first.place.end..last.place.start)?;
    let dash = |trims| if trims { "-" } else { "" };
    let (behind, before) = (dash(first.trims_behind), dash(last.trims_before));
    Some(format!(
        "{{% for {name} in {LIST} {behind}%}}{body}{{%{before} if true %}}{END}{{% endif %}}{{% endfor %}}"
    ))
}

/// Whether a tag outside of the loops takes no instance out of a list.
fn leaves_lists_whole(tag: &Tag<'_>) -> bool {
    (0..tag.tokens.len()).all(|at| {
        let is_behind = |sign| at > 0 && tag.is_sign(at - 1, sign);
        let follows_a_value = at > 0
            && (tag.is_sign(at - 1, ")")
                || tag.is_sign(at - 1, "]")
                || tag.word(at - 1).is_some_and(|word| !WORDS.contains(&word)));
        match tag.tokens[at].what {
            What::Word("slots") => !tag.is_sign(at + 1, "("),
            What::Word(word) => !(LOOK_INSIDE.contains(&word) && is_behind("|")),
            What::Sign("[" | "?[") if follows_a_value => {
                tag.text(at + 1).is_some() && tag.is_sign(at + 2, "]")
            }
            What::Sign("." | "?.") => tag.word(at + 1).is_some(),
            What::Text(_) | What::Number | What::Sign(_) => true,
        }
    })
}

/// Whether the rounds of the loop depend on their instance alone, and nothing behind the loop on its rounds.
fn is_independent(tags: &[Tag<'_>], head: usize, body: &Range<usize>) -> bool {
    let (names, _) = loop_names(&tags[head], 1);
    let [name] = names[..] else { return false };
    let mut scope = Scope {
        names: vec![name],
        blocks: Vec::new(),
        set: Vec::new(),
    };
    let is_closed = tags[body.clone()].iter().all(|tag| scope.takes(tag));
    let others = tags[..head].iter().chain(&tags[body.end..]);
    let words = others.flat_map(|tag| (0..tag.tokens.len()).filter_map(|at| tag.word(at)));
    is_closed && words.into_iter().all(|word| !scope.set.contains(&word))
}

/// What is known in a round.
struct Scope<'t> {
    /// The names that have their value from the instance.
    names: Vec<&'t str>,
    /// For each `for` or `if` around the place: how many names there were before it, and whether it is a loop.
    blocks: Vec<(usize, bool)>,
    /// The names of `set`.
    set: Vec<&'t str>,
}

impl<'t> Scope<'t> {
    /// Whether a tag of the body reads nothing but these names, and changes nothing for another round.
    fn takes(&mut self, tag: &Tag<'t>) -> bool {
        if tag.prints {
            return self.knows_from(tag, 0);
        }
        match tag.word(0) {
            Some("if") => {
                self.blocks.push((self.names.len(), false));
                self.knows_from(tag, 1)
            }
            Some("elif") => self.knows_from(tag, 1),
            // In the `else` of a loop its names are those from outside.
            Some("else") => self.blocks.last().is_some_and(|(_, is_loop)| !is_loop),
            Some("for") => {
                let (names, after) = loop_names(tag, 1);
                let is_known = self.knows_from(tag, after + 1);
                self.blocks.push((self.names.len(), true));
                self.names.extend(names);
                is_known
            }
            Some("endfor" | "endif") => {
                let Some((names, _)) = self.blocks.pop() else {
                    return false;
                };
                self.names.truncate(names);
                true
            }
            // In a branch it may be that nothing is set, and the name is that of another round.
            Some("set") if tag.is_sign(2, "=") && self.blocks.is_empty() => {
                let is_known = self.knows_from(tag, 3);
                self.names.extend(tag.word(1));
                self.set.extend(tag.word(1));
                is_known
            }
            Some(_) | None => false,
        }
    }

    /// Whether all names from a place of a tag on are known.
    fn knows_from(&self, tag: &Tag<'t>, from: usize) -> bool {
        (from..tag.tokens.len()).all(|at| tag.word(at).is_none_or(|word| self.knows(tag, at, word)))
    }

    fn knows(&self, tag: &Tag<'t>, at: usize, word: &str) -> bool {
        let is_behind = |sign| at > 0 && tag.is_sign(at - 1, sign);
        let before = |back: usize| at.checked_sub(back).and_then(|at| tag.word(at));
        let is_test =
            before(1) == Some("is") || (before(1) == Some("not") && before(2) == Some("is"));
        let is_part = [".", "?.", "|"].into_iter().any(is_behind);
        let is_argument = tag.is_sign(at + 1, "=");
        let is_function = tag.is_sign(at + 1, "(") && STEADY.contains(&word);
        let is_name =
            !tag.is_sign(at + 1, "(") && (self.names.contains(&word) || WORDS.contains(&word));
        is_test || is_part || is_argument || is_function || is_name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loops of a template that is split.
    fn loops(source: &str) -> Option<Vec<String>> {
        split(source).map(|parts| parts.loops)
    }

    #[test]
    fn a_loop_becomes_a_part_and_a_call() {
        let source =
            "a\n{%- for i in services.web | default(value=[]) %}\n{{ i.id }}\n{%- endfor -%}\nb";
        let parts = split(source).unwrap();
        assert_eq!(
            parts.outer,
            "a\n{{- kept_rounds(n=0, list=services.web | default(value=[])) -}}\nb"
        );
        assert_eq!(
            parts.loops,
            [
                "{% for i in instances_of_rounds %}\n{{ i.id }}\n{%- if true %}\u{1}{% endif %}{% endfor %}"
            ]
        );
    }

    #[test]
    fn rounds_that_read_their_instance_alone_are_parts() {
        for (source, count) in [
            ("{% for i in services.web %}{{ i.id }}{% endfor %}", 1),
            (
                "{% for s, list in services %}{% for i in list -%} {{ i.ip }} {%- endfor %}{% endfor %}",
                1,
            ),
            (
                "{% set all = instances(service=\"web\") %}{% if all %}{{ all | length }}{% for i in all %}{{ i.id }}{% endfor %}{% endif %}{% for i in services.db %}{{ i.ip }}{% endfor %}",
                2,
            ),
            (
                "{% for s, list in services %}{% set l = speaking(service=s, protocols=[\"http\"]) %}{{ agreed(instances=l, attribute=\"check\") }}{% for i in l %}{{ i.addr }}{% endfor %}{% endfor %}",
                1,
            ),
            (
                "{% for i in services.web %}{% set w = i.weight | default(value=1) %}{% if w is odd and w not in [3] %}{{ w ~ \"x\" }}{% elif not i.attrs %}-{% else %}{{ toUpper(value=i.id) }}{% endif %}{% endfor %}",
                1,
            ),
            (
                "{% for i in services[\"web\"] %}{% for name, port in i.ports %}{{ name }}={{ port }}{% endfor %}{% endfor %}",
                1,
            ),
        ] {
            assert_eq!(
                loops(source).map(|loops| loops.len()),
                Some(count),
                "{source}"
            );
        }
    }

    #[test]
    fn rounds_that_depend_on_something_else_are_none() {
        for body in [
            "{{ loop.index }}",
            "{{ other }}",
            "{{ services | length }}",
            "{{ i }}",
            "{% break %}",
            "{% continue %}",
            "{% set_global x = 1 %}",
            "{% set x %}a{% endset %}",
            "{% if i.weight %}{% set x = 1 %}{% endif %}",
            "{{ x }}{% set x = 1 %}",
            "{% for p in i.ports %}{{ p }}{% endfor %}{{ p }}",
            "{% for p in i.ports %}{% else %}{{ p }}{% endfor %}",
            "{% for p in i.ports %}{{ loop.index }}{% endfor %}",
            "{{ getv(key=i.id) }}",
            "{{ hostname() }}",
            "{{ [p for p in i.ports] }}",
            "{% include \"x\" %}",
            "\u{1}",
        ] {
            let source = format!("{{% for i in services.web %}}{{{{ i.id }}}}{body}{{% endfor %}}");
            assert_eq!(loops(&source), None, "{source}");
        }
    }

    #[test]
    fn a_template_that_does_more_with_instances_is_not_split() {
        for rest in [
            "{{ services.web | map(attribute=\"id\") | join(sep=\",\") }}",
            "{{ services.web[0].ip }}",
            "{{ instances(service=\"web\")[0].ip }}",
            "{% set first = services.web | first %}{{ first.ip }}",
            "{% for i in services.web | sort(attribute=\"weight\") %}{{ i.ip }}{% endfor %}",
            "{% for i in services.web[1:] %}{{ i.ip }}{% endfor %}",
            "{% for i in services.web %}{{ i.ip }}{% else %}-{% endfor %}",
            "{% for s in slots(instances=services.web, count=3) %}{{ s.name }}{% endfor %}",
            "{{ json(value=services) }}",
            "{% include \"x\" %}",
            "{% for i in services.db %}{% set x = 1 %}{% endfor %}{{ x }}",
        ] {
            let source = format!("{{% for i in services.web %}}{{{{ i.id }}}}{{% endfor %}}{rest}");
            assert_eq!(loops(&source), None, "{source}");
        }
        assert_eq!(loops("{{ services | length }}"), None);
    }
}
