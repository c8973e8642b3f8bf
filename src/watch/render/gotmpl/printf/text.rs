//! Strings and characters in quotes, as Go's strconv writes them. Pure.

use std::fmt::Write;

/// A string in double quotes; `ascii` escapes everything else too.
pub(in crate::watch::render::gotmpl) fn quoted(text: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        escape(&mut out, c, '"', ascii);
    }
    out.push('"');
    out
}

/// A character in single quotes.
pub(super) fn quoted_char(c: char, ascii: bool) -> String {
    let mut out = String::from("'");
    escape(&mut out, c, '\'', ascii);
    out.push('\'');
    out
}

/// Whether it can stand between backquotes.
pub(super) fn can_backquote(text: &str) -> bool {
    let fine = |c: char| c != '\u{FEFF}' && (c >= ' ' || c == '\t') && c != '`' && c != '\u{7f}';
    text.chars().all(fine)
}

/// Whether Go would print it as it is: the only blank is the ASCII one.
pub(in crate::watch::render::gotmpl) fn is_printable(c: char) -> bool {
    let mut escaped = c.escape_debug();
    let plain = escaped.next() == Some(c) && escaped.next().is_none();
    // Rust escapes marks that go on the letter before, and quotes.
    plain || matches!(c, '\u{300}'..='\u{36f}' | '"' | '\'' | '\\')
}

fn escape(out: &mut String, c: char, quote: char, ascii: bool) {
    let code = u32::from(c);
    let _ = match c {
        c if c == quote || c == '\\' => write!(out, "\\{c}"),
        '\u{7}' => write!(out, "\\a"),
        '\u{8}' => write!(out, "\\b"),
        '\u{c}' => write!(out, "\\f"),
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        '\u{b}' => write!(out, "\\v"),
        c if is_printable(c) && (!ascii || c.is_ascii()) => write!(out, "{c}"),
        _ if code < 0x20 || code == 0x7f => write!(out, "\\x{code:02x}"),
        _ if code < 0x10000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}
