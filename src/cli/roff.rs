//! Text in the language of manual pages. `build/build.rs` has this file, too: the pages that it makes are written alike.

/// The longest line of a page's source, in characters.
const WIDTH: usize = 78;

/// Text as roff takes it for itself.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            // These would become typographic signs, which no shell takes.
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            // The lines of trees: a terminal without UTF-8 would have nothing in their place.
            '│' => escaped.push('|'),
            '├' | '└' => escaped.push('+'),
            '─' => escaped.push_str("\\-"),
            _ if c.is_ascii() => escaped.push(c),
            _ => escaped.extend(["\\[u", &format!("{:04X}", u32::from(c)), "]"]),
        }
    }
    escaped
}

/// Text in bold.
pub(super) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escape(text))
}

/// Text in which what stands in backticks becomes bold.
pub(super) fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let styled = parts.map(|(at, part)| match at % 2 {
        0 => escape(part),
        _ => bold(part),
    });
    styled.collect()
}

/// Lines that stay as they are.
pub(super) fn verbatim(text: &str) -> String {
    let lines = text.lines().map(|line| guarded(&escape(line)) + "\n");
    [".nf\n".to_owned()]
        .into_iter()
        .chain(lines)
        .chain([".fi\n".to_owned()])
        .collect()
}

/// A line that roff does not take for a request.
fn guarded(line: &str) -> String {
    let guard = if line.starts_with(['.', '\'']) {
        "\\&"
    } else {
        ""
    };
    format!("{guard}{line}")
}

/// Filled text in lines of at most [`WIDTH`] characters, as far as its words allow it.
pub(super) fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(guarded(word)),
        }
    }
    let last = lines.pop().unwrap_or_default();
    let lines = lines.into_iter().map(|line| unspaced(line) + "\n");
    lines.chain([last, "\n".to_owned()]).collect()
}

/// A line behind which one space follows: behind the end of a sentence there would be two, which no other sentence has.
fn unspaced(line: String) -> String {
    let text = line.strip_suffix("\\fR").unwrap_or(&line);
    let is_end = text
        .trim_end_matches([')', ']', '"', '*'])
        .ends_with(['.', '?', '!']);
    let guard = if is_end { "\\&" } else { "" };
    line + guard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_text_is_taken_for_a_request() {
        let wrapped = wrap(&".word ".repeat(40));
        assert!(wrapped.lines().count() > 2, "{wrapped}");
        assert!(
            wrapped.lines().all(|line| line.starts_with("\\&.word ")),
            "{wrapped}"
        );
        assert_eq!(verbatim("a\n.b\n'c\n"), ".nf\na\n\\&.b\n\\(aqc\n.fi\n");
    }

    #[test]
    fn no_sentence_is_followed_by_two_spaces() {
        for sentence in ["End.", "\\fBEnd.\\fR", "(End?)"] {
            let wrapped = wrap(&format!("{sentence} ").repeat(40));
            let ends: Vec<&str> = wrapped.lines().collect();
            let (last, others) = ends.split_last().expect("lines");
            assert!(last.ends_with(sentence) && others.len() > 1, "{wrapped}");
            let guarded = format!("{sentence}\\&");
            assert!(
                others.iter().all(|line| line.ends_with(&guarded)),
                "{wrapped}"
            );
        }
    }

    #[test]
    fn a_shell_gets_what_it_takes() {
        assert_eq!(
            escape(r"a\n -e '~' `^` …"),
            r"a\en \-e \(aq\(ti\(aq \(ga\(ha\(ga \[u2026]"
        );
    }

    #[test]
    fn trees_need_no_utf_8() {
        assert_eq!(escape("│ ├── └──"), r"| +\-\- +\-\-");
    }

    #[test]
    fn what_stands_in_backticks_is_bold() {
        assert_eq!(
            inline("see `sidekick ls`, not `ip`"),
            r"see \fBsidekick ls\fR, not \fBip\fR"
        );
    }
}
