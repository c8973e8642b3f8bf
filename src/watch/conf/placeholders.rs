//! Fills the paths of a publish into the operator's commands. Pure.

use std::path::Path;

use super::action::{Name, Part, Parts, Piece};

/// The paths that a command can name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paths<'a> {
    /// The candidate.
    pub(crate) src: &'a Path,
    /// The live file.
    pub(crate) dest: &'a Path,
    /// The copy of the tree with all candidates in place; `None` for a command that cannot name it.
    pub(crate) tree: Option<&'a Path>,
}

/// Whether a command names the tree, so that a copy has to be made for it.
pub(crate) fn asks_for_tree(command: &str) -> bool {
    names_path(command, Name::Tree)
}

/// Whether a check names neither the candidate nor the tree, so that it can judge a new file only in its place.
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

/// The actions of a command that are none of its paths; `has_tree`: the command may name the tree.
pub(crate) fn find_unknown(command: &str, has_tree: bool) -> Vec<&str> {
    let needs_tree = |pieces: &[Piece]| pieces.contains(&Piece::Path(Name::Tree));
    let unknown = Parts(command).filter_map(|part| match part {
        Part::Text(_) => None,
        Part::Unknown(text) => Some(text),
        Part::Action { text, pieces, .. } => (!has_tree && needs_tree(&pieces)).then_some(text),
    });
    unknown.collect()
}

/// Fills the paths into a command: `{{src}}` is the candidate, `{{dest}}` the live file, `{{tree}}` the copy of the tree.
/// The forms that users of confd write are accepted too: `{{.src}}`, `{{ $.src -}}`, `{{printf "%s" .src}}`. Each path is
/// quoted as one word of the shell. An unknown action stays as it is.
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
                if let Some(value) = write_pieces(&pieces, paths) {
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

/// The text of an action; `None` if it names the tree and there is none.
fn write_pieces(pieces: &[Piece], paths: Paths<'_>) -> Option<String> {
    let text = |piece: &Piece| {
        Some(match piece {
            Piece::Text(text) => text.clone(),
            Piece::Path(Name::Src) => quote(paths.src),
            Piece::Path(Name::Dest) => quote(paths.dest),
            Piece::Path(Name::Tree) => quote(paths.tree?),
        })
    };
    pieces.iter().map(text).collect()
}

/// Quotes a path as one word of a shell command. A plain path stays as it is, so that it also fits between quotes that the
/// operator has written.
fn quote(path: &Path) -> String {
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
    fn a_check_that_names_neither_the_candidate_nor_the_tree_judges_in_place() {
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
    fn commands_get_their_paths_and_unknown_actions_stay() {
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
        assert_eq!(find_unknown(command, true), ["{{.State}}", "{{ .Src }}"]);
        assert_eq!(
            find_unknown(command, false),
            ["{{.State}}", "{{tree}}", "{{ .Src }}"]
        );
        let check = "nginx -t -c {{ .tree }}/nginx.conf";
        assert!(asks_for_tree(check) && !asks_for_tree("a {{src}} tree}} {{treee}}"));
        assert_eq!(fill_in(check, with_tree), "nginx -t -c /run/t/nginx.conf");
        assert_eq!(fill_in(check, paths), check);
    }
}
