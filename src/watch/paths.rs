//! The paths of a publish in the operator's commands. Pure.

use std::path::Path;

/// Puts the paths into a command: `{{src}}` is the staged file, `{{dest}}` the live one; `{{.src}}` and spaces inside
/// the braces are fine too, as confd's users write them.
pub(super) fn fill_in(command: &str, src: &Path, dest: &Path) -> String {
    let mut filled = String::new();
    let mut rest = command;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let end = after.find("}}");
        let name = end.map(|end| after[..end].trim().trim_start_matches('.'));
        let path = match name {
            Some("src") => Some(src),
            Some("dest" | "dst") => Some(dest),
            Some(_) | None => None,
        };
        if let (Some(path), Some(end)) = (path, end) {
            filled.push_str(&quoted(path));
            rest = &after[end + 2..];
        } else {
            filled.push_str("{{");
            rest = after;
        }
    }
    filled + rest
}

/// A path as one word of a shell command; plain paths stay as they are, also inside quotes that stand there already.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_commands() {
        let (src, dest) = (Path::new("/etc/.a.1"), Path::new("/etc/a"));
        for (command, want) in [
            (
                "check {{src}} {{.src}} {{ .src }} {{ src }}",
                "check /etc/.a.1 /etc/.a.1 /etc/.a.1 /etc/.a.1",
            ),
            ("{{dest}}{{.dst}}", "/etc/a/etc/a"),
            (
                "docker inspect -f '{{.State}}' {{src}}",
                "docker inspect -f '{{.State}}' /etc/.a.1",
            ),
            ("{{src", "{{src"),
            ("{{{{src}}}}", "{{/etc/.a.1}}"),
            ("", ""),
        ] {
            assert_eq!(fill_in(command, src, dest), want, "{command}");
        }
        assert_eq!(
            fill_in("c {{src}}", Path::new("/a b's"), dest),
            r"c '/a b'\''s'"
        );
    }
}
