//! The paths of a publish in the operator's commands. Pure.

use std::path::Path;

use super::action::{Name, Part, Parts, Piece};

/// What a command can name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paths<'a> {
    /// The staged file.
    pub(crate) src: &'a Path,
    /// The live file.
    pub(crate) dest: &'a Path,
    /// The copy of the tree with all staged files in place.
    pub(crate) tree: Option<&'a Path>,
}

/// Whether a command wants to see a whole tree.
pub(crate) fn asks_for_tree(command: &str) -> bool {
    names_path(command, Name::Tree)
}

/// Whether a check sees the new file only when it lies in its place.
pub(crate) fn judges_in_place(check: &str) -> bool {
    !names_path(check, Name::Src) && !names_path(check, Name::Tree)
}

fn names_path(command: &str, name: Name) -> bool {
    let actions = Parts(command).filter_map(|part| match part {
        Part::Action { pieces, .. } => Some(pieces),
        Part::Text(_) | Part::Unknown(_) => None,
    });
    let is_named = |piece: Piece| matches!(piece, Piece::Path(found) if found == name);
    actions.flatten().any(is_named)
}

/// What stands in double braces and is none of the paths; `has_tree`: there is a tree.
pub(crate) fn unknown(command: &str, has_tree: bool) -> Vec<&str> {
    let needs_tree = |pieces: &[Piece]| pieces.contains(&Piece::Path(Name::Tree));
    let unknown = Parts(command).filter_map(|part| match part {
        Part::Text(_) => None,
        Part::Unknown(text) => Some(text),
        Part::Action { text, pieces, .. } => (!has_tree && needs_tree(&pieces)).then_some(text),
    });
    unknown.collect()
}

/// Puts the paths into a command: `{{src}}` is the staged file, `{{dest}}` the live one, `{{tree}}` the copy of the tree.
/// What confd's users write of Go's language is fine too: `{{.src}}`, `{{ $.src -}}`, `{{printf "%s" .src}}`. Each path
/// becomes one word of the shell, whatever is in it. What names none of them stays as it is.
pub(crate) fn fill_in(command: &str, paths: Paths<'_>) -> String {
    let mut filled = String::new();
    let mut trims = false;
    for part in Parts(command) {
        let text = match part {
            Part::Text(text) | Part::Unknown(text) => text,
            Part::Action {
                text,
                pieces,
                trims_before,
                trims_after,
            } => {
                if let Some(value) = written(&pieces, paths) {
                    if trims_before {
                        filled.truncate(filled.trim_end().len());
                    }
                    filled.push_str(&value);
                    trims = trims_after;
                    continue;
                }
                text
            }
        };
        filled.push_str(if trims { text.trim_start() } else { text });
        trims = false;
    }
    filled
}

/// None if a path is not there.
fn written(pieces: &[Piece], paths: Paths<'_>) -> Option<String> {
    let text = |piece: &Piece| {
        Some(match piece {
            Piece::Text(text) => text.clone(),
            Piece::Path(Name::Src) => quoted(paths.src),
            Piece::Path(Name::Dest) => quoted(paths.dest),
            Piece::Path(Name::Tree) => quoted(paths.tree?),
        })
    };
    pieces.iter().map(text).collect()
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
            ("c {{- .src -}} \n d", "c/etc/.a.1d"),
            ("c {{.src -}} d {{- /etc}}", "c /etc/.a.1d {{- /etc}}"),
            ("c {{ $.src }} {{$.dest}}", "c /etc/.a.1 /etc/a"),
            (
                r#"c {{printf "%s" .src}} {{printf "-%v.%s%%" .dest .src}}"#,
                "c /etc/.a.1 -/etc/a./etc/.a.1%",
            ),
            (
                r#"c {{.src | printf "-f %s"}} {{print .src}} {{ print "a" `\b` .dest}}"#,
                r"c -f /etc/.a.1 /etc/.a.1 a\b/etc/a",
            ),
            (
                r#"{{printf "%d" .src}}{{printf "%s"}}{{printf "%s" .src .src}}{{base .src}}"#,
                r#"{{printf "%d" .src}}{{printf "%s"}}{{printf "%s" .src .src}}{{base .src}}"#,
            ),
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
        let hostile = Paths {
            src: Path::new("/$(id)"),
            ..paths
        };
        for command in [
            r#"c {{printf "%s.x" .src}}"#,
            "c {{$.src}}.x",
            r#"c {{.src | printf "%q"}}.x"#,
        ] {
            assert_eq!(fill_in(command, hostile), "c '/$(id)'.x", "{command}");
        }
        let command = "a {{.State}} {{src}} {{tree}} {{ .Src }}";
        assert_eq!(unknown(command, true), ["{{.State}}", "{{ .Src }}"]);
        assert_eq!(
            unknown(command, false),
            ["{{.State}}", "{{tree}}", "{{ .Src }}"]
        );
        let check = "nginx -t -c {{ .tree }}/nginx.conf";
        assert!(asks_for_tree(check) && !asks_for_tree("a {{src}} tree}} {{treee}}"));
        assert_eq!(fill_in(check, with_tree), "nginx -t -c /run/t/nginx.conf");
        assert_eq!(fill_in(check, paths), check);
    }
}
