//! Loops over instances whose rounds depend on their instance, and on names from outside, alone. What such a round prints stays
//! the same until one of these changes, so a template that does nothing else with instances is split into parts: one for each
//! of these loops, and an outer one that asks for their rounds. Pure.

use std::collections::BTreeSet;
use std::ops::Range;

use super::fields::loops_over_instances;
use super::mistakes::loop_names;
use super::tokens::{Tag, What, dash, tags};

/// The function by which the outer part asks for the rounds of a loop: `kept_rounds(n=0, list=services.web, given={"x": x})`.
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
/// Names that no round is given: `loop` differs from round to round, and the others have instances in them. Words of list
/// comprehensions are none either.
const NOT_GIVEN: &[&str] = &["loop", "services", "for"];
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
    if heads.is_empty() || source.contains(END) || source.contains(LIST) {
        return None;
    }
    let loops = heads.into_iter().map(|head| Loop::find(&tags, head));
    let loops: Vec<Loop> = loops.collect::<Option<_>>()?;
    let is_inside = |at: usize| loops.iter().any(|one| one.body.contains(&at));
    let mut outside = tags.iter().enumerate().filter(|(at, _)| !is_inside(*at));
    if !outside.all(|(_, tag)| leaves_lists_whole(tag)) {
        return None;
    }
    let (mut parts, mut edits) = (Vec::new(), Vec::new());
    for one in &loops {
        let given = given(&tags, one)?;
        edits.extend(one.edits(source, &tags, parts.len(), &given)?);
        parts.push(one.part(source, &tags)?);
    }
    edits.sort_by_key(|(place, _)| place.start);
    let (mut outer, mut at) = (String::new(), 0);
    for (place, text) in edits {
        outer.push_str(source.get(at..place.start)?);
        outer.push_str(&text);
        at = place.end;
    }
    outer.push_str(source.get(at..)?);
    let loops = parts;
    Some(Parts { outer, loops })
}

/// The places of a loop's tags among those of the template.
struct Loop {
    head: usize,
    body: Range<usize>,
    /// Its `endfor`. If it has an `else`, that stands at the end of the body.
    end: usize,
}

impl Loop {
    fn find(tags: &[Tag<'_>], head: usize) -> Option<Self> {
        let (mut depth, mut otherwise) = (0_usize, None);
        for (at, tag) in tags.iter().enumerate().skip(head + 1) {
            match tag.word(0).filter(|_| !tag.prints) {
                Some("for" | "if") => depth += 1,
                Some("endfor") if depth == 0 => {
                    let body = head + 1..otherwise.unwrap_or(at);
                    return Some(Self {
                        head,
                        body,
                        end: at,
                    });
                }
                Some("else") if depth == 0 => otherwise = Some(at),
                Some("endfor" | "endif") => depth = depth.checked_sub(1)?,
                // In the `else` of a loop they belong to that loop.
                Some("set" | "break" | "continue") if otherwise.is_some() => return None,
                Some(_) | None => {}
            }
        }
        None
    }

    /// What stands in the outer part for the loop.
    fn edits(
        &self,
        source: &str,
        tags: &[Tag<'_>],
        number: usize,
        given: &[&str],
    ) -> Option<Vec<(Range<usize>, String)>> {
        let (head, last, end) = (&tags[self.head], &tags[self.body.end], &tags[self.end]);
        let list = head.tokens.get(loop_names(head, 1).1 + 1)?.at;
        let behind = head.place.end - 2 - usize::from(head.trims_behind);
        let list = source.get(list..behind)?.trim_end();
        let given = given.iter().map(|name| format!("\"{name}\": {name}"));
        let given = given.collect::<Vec<_>>().join(", ");
        let call = format!("{FUNCTION}(n={number}, list={list}, given={{{given}}})");
        if list.contains("}}") {
            return None;
        }
        let whole = head.place.start..last.place.end;
        let (before, behind) = (dash(head.trims_before), dash(last.trims_behind));
        if self.body.end == self.end {
            return Some(vec![(whole, format!("{{{{{before} {call} {behind}}}}}"))]);
        }
        let otherwise =
            format!("{{%{before} if {list} | length %}}{{{{ {call} }}}}{{% else {behind}%}}");
        let (before, behind) = (dash(end.trims_before), dash(end.trims_behind));
        let end = (end.place.clone(), format!("{{%{before} endif {behind}%}}"));
        Some(vec![(whole, otherwise), end])
    }

    /// The part that prints the rounds.
    fn part(&self, source: &str, tags: &[Tag<'_>]) -> Option<String> {
        let (head, last) = (&tags[self.head], &tags[self.body.end]);
        let name = head.word(1)?;
        let body = source.get(head.place.end..last.place.start)?;
        let (behind, before) = (dash(head.trims_behind), dash(last.trims_before));
        Some(format!(
            "{{% for {name} in {LIST} {behind}%}}{body}{{%{before} if true %}}{END}{{% endif %}}{{% endfor %}}"
        ))
    }
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

/// The names from outside that the rounds of a loop read; nothing if the rounds depend on more than these and their instance, or
/// what stands behind the loop depends on its rounds.
fn given<'t>(tags: &[Tag<'t>], one: &Loop) -> Option<Vec<&'t str>> {
    let (names, _) = loop_names(&tags[one.head], 1);
    let [name] = names[..] else { return None };
    let mut scope = Scope {
        names: vec![name],
        blocks: Vec::new(),
        set: Vec::new(),
        given: BTreeSet::new(),
    };
    let is_closed = tags[one.body.clone()].iter().all(|tag| scope.takes(tag));
    let others = tags[..one.head].iter().chain(&tags[one.body.end..]);
    let mut words = others.flat_map(|tag| (0..tag.tokens.len()).filter_map(|at| tag.word(at)));
    let is_set = |word: &str| scope.set.contains(&word);
    let is_alone = is_closed && !words.any(is_set) && !scope.given.iter().any(|name| is_set(name));
    is_alone.then(|| scope.given.into_iter().collect())
}

/// What is known in a round.
struct Scope<'t> {
    /// The names that have their value from the instance.
    names: Vec<&'t str>,
    /// For each `for` or `if` around the place: how many names there were before it, and whether it is a loop.
    blocks: Vec<(usize, bool)>,
    /// The names of `set`.
    set: Vec<&'t str>,
    /// The names from outside that are read.
    given: BTreeSet<&'t str>,
}

impl<'t> Scope<'t> {
    /// Whether a tag of the body reads nothing but names, and changes nothing for another round.
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

    /// Whether all words from a place of a tag on are names, or the same for all rounds. Names that are not of the round are
    /// taken for names from outside.
    fn knows_from(&mut self, tag: &Tag<'t>, from: usize) -> bool {
        (from..tag.tokens.len()).all(|at| tag.word(at).is_none_or(|word| self.knows(tag, at, word)))
    }

    fn knows(&mut self, tag: &Tag<'t>, at: usize, word: &'t str) -> bool {
        let is_behind = |sign| at > 0 && tag.is_sign(at - 1, sign);
        let before = |back: usize| at.checked_sub(back).and_then(|at| tag.word(at));
        let is_test =
            before(1) == Some("is") || (before(1) == Some("not") && before(2) == Some("is"));
        let is_part = [".", "?.", "|"].into_iter().any(is_behind);
        let is_argument = tag.is_sign(at + 1, "=");
        if is_test || is_part || is_argument {
            return true;
        }
        if tag.is_sign(at + 1, "(") {
            return STEADY.contains(&word);
        }
        if !self.names.contains(&word) && !WORDS.contains(&word) {
            self.given.insert(word);
        }
        !NOT_GIVEN.contains(&word)
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
            "a\n{{- kept_rounds(n=0, list=services.web | default(value=[]), given={}) -}}\nb"
        );
        assert_eq!(
            parts.loops,
            [
                "{% for i in instances_of_rounds %}\n{{ i.id }}\n{%- if true %}\u{1}{% endif %}{% endfor %}"
            ]
        );
    }

    #[test]
    fn what_rounds_read_from_outside_is_given_to_them() {
        let source = "{% for s, list in services %}{% set a = 1 %}{% for i in list %}{{ s }}{{ a }}{{ i.id }}{% endfor %}{% endfor %}";
        let parts = split(source).unwrap();
        assert_eq!(
            parts.outer,
            "{% for s, list in services %}{% set a = 1 %}{{ kept_rounds(n=0, list=list, given={\"a\": a, \"s\": s}) }}{% endfor %}"
        );
        assert_eq!(
            parts.loops,
            [
                "{% for i in instances_of_rounds %}{{ s }}{{ a }}{{ i.id }}{% if true %}\u{1}{% endif %}{% endfor %}"
            ]
        );
    }

    #[test]
    fn what_stands_there_for_no_instances_stays_in_the_outer_part() {
        let source = "{%- for i in services.web -%} {{ i.id }} {%- else -%} none {%- endfor %}";
        let parts = split(source).unwrap();
        assert_eq!(
            parts.outer,
            "{%- if services.web | length %}{{ kept_rounds(n=0, list=services.web, given={}) }}{% else -%} none {%- endif %}"
        );
        assert_eq!(
            parts.loops,
            [
                "{% for i in instances_of_rounds -%} {{ i.id }} {%- if true %}\u{1}{% endif %}{% endfor %}"
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
            "{{ services | length }}",
            "{{ i }}",
            "{% break %}",
            "{% continue %}",
            "{% set_global x = 1 %}",
            "{% set x %}a{% endset %}",
            "{% if i.weight %}{% set x = 1 %}{% endif %}",
            "{{ x }}{% set x = 1 %}",
            "{% for p in i.ports %}{% else %}{% endfor %}",
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
            "{% for i in services.web %}{{ i.ip }}{% else %}{% set x = 1 %}{% endfor %}",
            "{% for i in services.web %}{{ i.ip }}{% else %}{{ services.db | first }}{% endfor %}",
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
