//! Includes in the place of which the included text can stand. Pure.

use std::fmt::Write as _;

use super::fields::sets_in_else_of_loop;
use super::tokens::{Tag, dash, tags};

/// How deep includes may stand in each other.
const DEPTH: usize = 8;

/// The template with the texts of `others` in the place of its includes; nothing if one does more than to stand there.
pub(super) fn inline(source: &str, others: &[(&str, &str)]) -> Option<String> {
    inlined(source, others, DEPTH)
}

fn inlined(source: &str, others: &[(&str, &str)], depth: usize) -> Option<String> {
    let (mut text, mut at) = (String::new(), 0);
    for tag in tags(source) {
        if tag.prints || tag.word(0) != Some("include") {
            continue;
        }
        let name = tag
            .text(1)
            .filter(|text| tag.tokens.len() == 2 && !text.contains('\\'))?;
        let (_, other) = others.iter().find(|(other, _)| *other == name)?;
        let other = inlined(other, others, depth.checked_sub(1)?)?;
        if !is_closed(&other) {
            return None;
        }
        let (before, behind) = (dash(tag.trims_before), dash(tag.trims_behind));
        text.push_str(source.get(at..tag.place.start)?);
        // What prints nothing keeps the trimming of one template out of the other.
        let _ = write!(text, "{{{{{before} \"\" }}}}{other}{{{{ \"\" {behind}}}}}");
        at = tag.place.end;
    }
    text.push_str(source.get(at..)?);
    Some(text)
}

/// Whether a template changes nothing for what stands behind it: names that are set outside of loops stay in an include.
fn is_closed(source: &str) -> bool {
    const CHANGES: &[&str] = &[
        "set_global",
        "break",
        "continue",
        "block",
        "extends",
        "component",
        "filter",
    ];
    let mut loops = 0_usize;
    let tags = tags(source);
    let is_closed = |tag: &Tag<'_>| {
        // It would be that of the loop around the include.
        if (0..tag.tokens.len()).any(|at| tag.word(at) == Some("loop")) {
            return false;
        }
        match tag.word(0).filter(|_| !tag.prints) {
            Some("for") => loops += 1,
            Some("endfor") => loops = loops.saturating_sub(1),
            Some("set") if loops == 0 => return false,
            Some(word) if CHANGES.contains(&word) => return false,
            Some(_) | None => {}
        }
        true
    };
    !sets_in_else_of_loop(&tags) && tags.iter().all(is_closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: &[(&str, &str)] = &[
        (
            "a",
            " {%- for p in x %}{% set y = p %}{{ y }}{% endfor -%} ",
        ),
        ("b", "b{% include \"a\" %}"),
        ("round", "{% include \"round\" %}"),
        ("sets", "{% set x = 1 %}"),
        ("leaves", "{% break %}"),
        ("\\\\escaped", ""),
    ];

    #[test]
    fn the_text_of_an_include_stands_in_its_place() {
        assert_eq!(
            inline("1 {%- include \"b\" -%} 2", OTHERS).unwrap(),
            "1 {{- \"\" }}b{{ \"\" }} {%- for p in x %}{% set y = p %}{{ y }}{% endfor -%} {{ \"\" }}{{ \"\" -}} 2"
        );
        assert_eq!(inline("{{ include }}", OTHERS).unwrap(), "{{ include }}");
    }

    #[test]
    fn an_include_that_does_more_is_none() {
        for source in [
            "{% include \"unknown\" %}",
            "{% include \"round\" %}",
            "{% include \"sets\" %}",
            "{% include \"\\\\escaped\" %}",
            "{% for x in y %}{% include \"leaves\" %}{% endfor %}",
        ] {
            assert_eq!(inline(source, OTHERS), None, "{source}");
        }
    }
}
