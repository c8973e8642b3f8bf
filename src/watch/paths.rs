//! The paths of a publish in the operator's commands. Pure.

use std::path::Path;

/// What a command can name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths<'a> {
    /// The staged file.
    pub(super) src: &'a Path,
    /// The live file.
    pub(super) dest: &'a Path,
    /// The copy of the tree with all staged files in place.
    pub(super) tree: Option<&'a Path>,
}

/// Whether a command wants to see a whole tree.
pub(super) fn asks_for_tree(command: &str) -> bool {
    asks_for(command, "tree")
}

/// Whether a check sees the new file only when it lies in its place.
pub(super) fn judges_in_place(check: &str) -> bool {
    !asks_for(check, "src") && !asks_for(check, "tree")
}

fn asks_for(command: &str, what: &str) -> bool {
    let mut names = command.split("{{").skip(1).filter_map(name);
    names.any(|(name, _)| name == what)
}

/// The name in front of `}}`, and what follows.
fn name(after: &str) -> Option<(&str, &str)> {
    let (name, rest) = after.split_once("}}")?;
    Some((name.trim().trim_start_matches('.'), rest))
}

/// Puts the paths into a command: `{{src}}` is the staged file, `{{dest}}` the live one, `{{tree}}` the copy of the tree;
/// `{{.src}}` and spaces inside the braces are fine too, as confd's users write them.
pub(super) fn fill_in(command: &str, paths: Paths<'_>) -> String {
    let mut filled = String::new();
    let mut rest = command;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let path = name(after).and_then(|(name, rest)| {
            let path = match name {
                "src" => paths.src,
                "dest" | "dst" => paths.dest,
                "tree" => paths.tree?,
                _ => return None,
            };
            Some((path, rest))
        });
        if let Some((path, after)) = path {
            filled.push_str(&quoted(path));
            rest = after;
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
    fn a_check_that_names_neither_the_file_nor_the_tree_judges_what_is_in_place() {
        for (check, in_place) in [
            ("nginx -t", true),
            ("haproxy -c -f {{dest}}", true),
            ("docker inspect -f '{{.State}}'", true),
            ("haproxy -c -f {{src}}", false),
            ("haproxy -c -f {{ .src }}", false),
            ("nginx -t -c {{tree}}/nginx.conf", false),
        ] {
            assert_eq!(judges_in_place(check), in_place, "{check}");
        }
    }

    #[test]
    fn paths_in_commands() {
        let paths = Paths {
            src: Path::new("/etc/.a.1"),
            dest: Path::new("/etc/a"),
            tree: None,
        };
        let with_tree = Paths {
            tree: Some(Path::new("/run/t")),
            ..paths
        };
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
            assert_eq!(fill_in(command, paths), want, "{command}");
        }
        assert_eq!(
            fill_in(
                "c {{src}}",
                Paths {
                    src: Path::new("/a b's"),
                    ..paths
                }
            ),
            r"c '/a b'\''s'"
        );
        let check = "nginx -t -c {{ .tree }}/nginx.conf";
        assert!(asks_for_tree(check) && !asks_for_tree("a {{src}} tree}} {{treee}}"));
        assert_eq!(fill_in(check, with_tree), "nginx -t -c /run/t/nginx.conf");
        assert_eq!(fill_in(check, paths), check);
    }
}
