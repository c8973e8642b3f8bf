//! Free text made safe for one place in one language, or refused. Pure.
//!
//! Allow-list first, then encode: what a language could read as anything but text is an error, never "escaped and hoped
//! for". No result holds a line break or another control character.

use std::fmt::Write;

use thiserror::Error;

/// Why a text cannot be quoted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the value {} cannot be quoted for {language}: it {reason}", shown(.text))]
pub struct Unquotable {
    language: &'static str,
    text: String,
    reason: &'static str,
}

/// The longest text that is quoted for HAProxy, which reads lines of 2 KiB.
const MAX_HAPROXY: usize = 1024;
/// The longest quoted text for nginx, which reads parameters of less than 4 KiB.
const MAX_NGINX: usize = 2048;

fn shown(text: &str) -> String {
    let head: String = text.chars().take(40).collect();
    let dots = if head.len() < text.len() { "…" } else { "" };
    format!("\"{}{dots}\"", head.escape_debug())
}

fn refuse(language: &'static str, text: &str, reason: &'static str) -> Unquotable {
    Unquotable {
        language,
        text: text.to_owned(),
        reason,
    }
}

/// Control characters, and the two that Unicode counts as line breaks without calling them so.
fn breaks_lines(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `'text'` for `haproxy.cfg`. Refused: quotes, which end the word, and `%`, which starts an expression where HAProxy
/// reads a log format.
pub fn haproxy(text: &str) -> Result<String, Unquotable> {
    let reason = if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        "holds characters other than printable ASCII"
    } else if text.contains('\'') {
        "holds a quote"
    } else if text.contains('%') {
        "holds a percent sign, which HAProxy reads as a format in many places"
    } else if text.len() > MAX_HAPROXY {
        "is longer than 1024 bytes"
    } else {
        return Ok(format!("'{text}'"));
    };
    Err(refuse("haproxy", text, reason))
}

/// `"text"` for `nginx.conf`. Refused: `$`, which starts a variable and cannot be escaped.
pub fn nginx(text: &str) -> Result<String, Unquotable> {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    let reason = if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        "holds characters other than printable ASCII"
    } else if text.contains('$') {
        "holds a dollar sign, which nginx reads as a variable"
    } else if escaped.len() > MAX_NGINX {
        "is longer than 2048 bytes"
    } else {
        return Ok(format!("\"{escaped}\""));
    };
    Err(refuse("nginx", text, reason))
}

/// `'text'` for PHP.
pub fn php(text: &str) -> Result<String, Unquotable> {
    if text.contains(breaks_lines) {
        return Err(refuse(
            "php",
            text,
            "holds a line break or control character",
        ));
    }
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
    Ok(format!("'{escaped}'"))
}

/// `'text'` for a POSIX shell. That a word does not start with a hyphen is for the command line around it to see to.
pub fn shell(text: &str) -> Result<String, Unquotable> {
    if text.contains(breaks_lines) {
        return Err(refuse(
            "shell",
            text,
            "holds a line break or control character",
        ));
    }
    let escaped = text.replace('\'', r"'\''");
    Ok(format!("'{escaped}'"))
}

/// JSON, already encoded, with the characters escaped that may stand in JSON and are line breaks to others.
#[must_use]
pub fn json(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len());
    for c in encoded.chars() {
        // The line breaks of a pretty form are outside of strings; JSON itself escapes those inside.
        if breaks_lines(c) && c != '\n' {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// The name of a service as nginx can have it for an upstream: without `:`, and different from every other one although
/// nginx does not tell capitals from small letters. Ordinary names, small letters with hyphens, stay as they are.
#[must_use]
pub fn nginx_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => out.push_str("__"),
            ':' => out.push_str("_."),
            'A'..='Z' => out.extend(['_', c.to_ascii_lowercase()]),
            'a'..='z' | '0'..='9' | '.' | '-' => out.push(c),
            _ => out.extend(c.escape_unicode().filter(char::is_ascii_alphanumeric)),
        }
    }
    out
}

/// Whether a text is the path of a URL that can stand in a configuration as it is: it starts with a slash, and there is
/// nothing in it that a proxy decodes, expands or reads as a pattern.
#[must_use]
pub fn is_url_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-@:+,=".contains(&b);
    text.starts_with('/') && text.len() <= 255 && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quoted_or_refused() {
        type Quote = fn(&str) -> Result<String, Unquotable>;
        let table: [(Quote, &str, Option<&str>); 20] = [
            (haproxy, "a b", Some("'a b'")),
            (haproxy, "", Some("''")),
            (haproxy, "a\"$\\#;x", Some("'a\"$\\#;x'")),
            (haproxy, "it's", None),
            (haproxy, "%[env(SECRET)]", None),
            (haproxy, "a\nb", None),
            (haproxy, "é", None),
            (nginx, "a b;}{#'", Some("\"a b;}{#'\"")),
            (nginx, "a\"b\\", Some("\"a\\\"b\\\\\"")),
            (nginx, "$host", None),
            (nginx, "a\0b", None),
            (nginx, "a\u{7f}b", None),
            (php, "it's \\", Some("'it\\'s \\\\'")),
            (php, "é ?>", Some("'é ?>'")),
            (php, "a\rb", None),
            (php, "a\u{2028}b", None),
            (shell, "it's $(x) `y`", Some("'it'\\''s $(x) `y`'")),
            (shell, "é", Some("'é'")),
            (shell, "a\u{85}b", None),
            (shell, "a\tb", None),
        ];
        for (quote, text, want) in table {
            assert_eq!(quote(text).ok().as_deref(), want, "{text:?}");
        }
        assert!(haproxy(&"x".repeat(1025)).is_err());
        assert!(nginx(&"\"".repeat(1025)).is_err());
    }

    #[test]
    fn a_refusal_shows_the_text_short_and_on_one_line() {
        let said = haproxy(&format!("a\n{}", "b".repeat(100)))
            .unwrap_err()
            .to_string();
        assert!(!said.contains('\n') && said.contains('…'), "{said}");
    }

    #[test]
    fn url_paths() {
        for good in ["/", "/api", "/a/b-c_d.e~f", "/v1:x@y+z,w=1"] {
            assert!(is_url_path(good), "{good}");
        }
        let long = format!("/{}", "x".repeat(255));
        for bad in [
            "", "api", "/a b", "/a;b", "/$x", "/a\n", "/%20", "/a'", "/{", "/a\\", "/*", "/é",
            "/a?b", "/#", &long,
        ] {
            assert!(!is_url_path(bad), "{bad:?}");
        }
    }

    /// Reads back what nginx would make of a quoted word; `None` if the word does not end where the text ends.
    fn nginx_reads(quoted: &str) -> Option<String> {
        let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let (mut text, mut chars) = (String::new(), inner.chars());
        while let Some(c) = chars.next() {
            match c {
                '"' => return None,
                '\\' => text.push(chars.next()?),
                c => text.push(c),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_one_word_of_one_line(text in "\\PC{0,30}|[\\x00-\\x7f]{0,30}|.{0,30}|(\\\\|'|\"|\n|;|#| ){0,12}") {
            for quote in [haproxy, nginx, php, shell] {
                if let Ok(quoted) = quote(&text) {
                    prop_assert!(!quoted.contains(breaks_lines), "{quoted:?}");
                }
            }
            if let Ok(quoted) = haproxy(&text) {
                prop_assert_eq!(quoted.matches('\'').count(), 2);
            }
            if let Ok(quoted) = nginx(&text) {
                prop_assert_eq!(nginx_reads(&quoted), Some(text.clone()));
            }
            let encoded = json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!encoded.contains(breaks_lines), "{encoded:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&encoded).unwrap(), text);
        }

        #[test]
        fn names_for_nginx_stay_different(names in proptest::collection::btree_set("[A-Ca-c_:.-]{1,4}", 2..30)) {
            let mapped: BTreeSet<String> = names.iter().map(|name| nginx_name(name).to_ascii_lowercase()).collect();
            prop_assert_eq!(mapped.len(), names.len());
        }
    }
}
