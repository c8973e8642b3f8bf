//! Reads a fixture, a file of keys and values: an object in JSON or YAML whose names are paths, nested or not, or what
//! `etcdctl get -w json` prints. Pure.
//!
//! ```yaml
//! services:
//!   web: {a: {ip: 10.0.0.1, port: 80}}
//!   web/b/ip: 10.0.0.2
//! names: [one, two]        # /names/0 and /names/1
//! ```

mod json;
mod node;
mod yaml;

use serde_json::Value as Json;

pub use self::node::Fault;
use self::node::{Node, What};
use super::base64;
use super::key::{Entries, Key};

/// The format of a fixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An object, or what `etcdctl` prints.
    Json,
    /// One document.
    Yaml,
}

/// Finds the format of a text: by the extension of its file, else by its first character.
#[must_use]
pub fn find_format(extension: Option<&str>, text: &str) -> Format {
    match extension {
        Some("json") => Format::Json,
        Some("yaml" | "yml") => Format::Yaml,
        Some(_) | None if without_mark(text).trim_start().starts_with('{') => Format::Json,
        Some(_) | None => Format::Yaml,
    }
}

/// A text without the byte order mark that editors of Windows put before it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The keys and values of a text.
///
/// # Errors
/// The text cannot be parsed, has something that is no value, or has a key twice.
pub fn parse(text: &str, format: Format) -> Result<Entries, Fault> {
    let text = without_mark(text);
    let node = match format {
        Format::Json => {
            let value = json::parse(text)?;
            if let Some(kvs) = dump_pairs(&value) {
                return from_dump(kvs);
            }
            tree(value)
        }
        Format::Yaml => yaml::parse(text)?,
    };
    let mut entries = Entries::new();
    match node.what {
        What::Map(_) => flatten(String::new(), node, &mut entries)?,
        What::List(_) => return Err(no_value(node.line, "/".to_owned(), "a list without a name")),
        What::Text(_) => return Err(no_value(node.line, "/".to_owned(), "a text without a name")),
        What::Other(what) => return Err(no_value(node.line, "/".to_owned(), what)),
    }
    Ok(entries)
}

/// The key-value pairs if this is what `etcdctl get -w json` prints, which leaves `kvs` out where there are none.
fn dump_pairs(value: &Json) -> Option<&[Json]> {
    value.get("header")?.get("cluster_id")?;
    match value.get("kvs") {
        Some(kvs) => kvs.as_array().map(Vec::as_slice),
        None => Some(&[]),
    }
}

fn from_dump(kvs: &[Json]) -> Result<Entries, Fault> {
    let bytes = |pair: &Json, name: &str| {
        let text = pair.get(name).and_then(Json::as_str).unwrap_or_default();
        base64::decode(text)
    };
    let entry = |(number, pair): (usize, &Json)| {
        let key = bytes(pair, "key").and_then(|key| String::from_utf8(key).ok());
        let both = key.zip(bytes(pair, "value"));
        both.map(|(key, value)| (Key::from(key.as_str()), value.into()))
            .ok_or_else(|| Fault::Value {
                line: None,
                key: format!("kvs[{number}]"),
                what: "no pair of texts in base64",
            })
    };
    kvs.iter().enumerate().map(entry).collect()
}

fn tree(value: Json) -> Node {
    let what = match value {
        Json::Object(map) => What::Map(
            map.into_iter()
                .map(|(name, value)| (name, tree(value)))
                .collect(),
        ),
        Json::Array(list) => What::List(list.into_iter().map(tree).collect()),
        Json::Null => What::Other("null"),
        Json::String(text) => What::Text(text),
        Json::Number(_) | Json::Bool(_) => What::Text(value.to_string()),
    };
    Node { line: None, what }
}

fn flatten(key: String, node: Node, into: &mut Entries) -> Result<(), Fault> {
    match node.what {
        What::Map(map) => map.into_iter().try_for_each(|(name, node)| {
            flatten(format!("{key}/{}", name.trim_matches('/')), node, into)
        }),
        // As confd's file backend does.
        What::List(list) => list
            .into_iter()
            .enumerate()
            .try_for_each(|(number, node)| flatten(format!("{key}/{number}"), node, into)),
        What::Other(what) => Err(no_value(node.line, key, what)),
        What::Text(text) => {
            let line = node.line;
            match into.insert(Key::from(key.as_str()), text.into_bytes().into()) {
                Some(_) => Err(Fault::Twice { line, key }),
                None => Ok(()),
            }
        }
    }
}

fn no_value(line: Option<usize>, key: String, what: &'static str) -> Fault {
    Fault::Value { line, key, what }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn read(text: &str, format: Format) -> Result<Vec<String>, String> {
        let entries = parse(text, format).map_err(|fault| fault.to_string())?;
        let pairs = entries.iter();
        Ok(pairs
            .map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value)))
            .collect())
    }

    #[test]
    fn flat_and_nested_keys_mean_the_same_in_json_and_yaml() {
        let want = ["/services/web/a/ip=10.0.0.1", "/services/web/a/port=80"];
        for text in [
            r#"{"/services/web/a/ip": "10.0.0.1", "/services/web/a/port": 80}"#,
            r#"{"services": {"web": {"a": {"ip": "10.0.0.1", "port": "80"}}}}"#,
            r#"{"/services/web/": {"a/ip": "10.0.0.1", "a": {"port": 80}}}"#,
        ] {
            // JSON is YAML, too.
            for format in [Format::Json, Format::Yaml] {
                assert_eq!(read(text, format).unwrap(), want, "{text} {format:?}");
            }
        }
    }

    #[test]
    fn what_is_in_a_list_is_numbered() {
        let text = r#"{"empty": [], "a": ["x", 2, {"b": true, "c": [[3]]}]}"#;
        let want = ["/a/0=x", "/a/1=2", "/a/2/b=true", "/a/2/c/0/0=3"];
        for format in [Format::Json, Format::Yaml] {
            assert_eq!(read(text, format).unwrap(), want, "{format:?}");
        }
    }

    #[test]
    fn what_etcdctl_prints_is_a_fixture() {
        let dump = r#"{"header":{"cluster_id":14841639068965178418,"revision":7},"kvs":[
            {"key":"L3NlcnZpY2VzL3dlYi9hL2lw","create_revision":4,"value":"MTAuMC4wLjE="},
            {"key":"L2VtcHR5","version":1}],"count":2}"#;
        assert_eq!(
            read(dump, Format::Json).unwrap(),
            ["/empty=", "/services/web/a/ip=10.0.0.1"]
        );
        let none = r#"{"header":{"cluster_id":1,"revision":7}}"#;
        assert_eq!(read(none, Format::Json).unwrap(), [""; 0]);
        let broken = r#"{"header":{"cluster_id":1},"kvs":[{"key":"not base64"}]}"#;
        assert!(
            read(broken, Format::Json)
                .unwrap_err()
                .starts_with("kvs[0] is no pair of texts in base64")
        );
        // Keys with these names alone make no dump.
        assert_eq!(
            read(r#"{"header": "x", "kvs": 1}"#, Format::Json).unwrap(),
            ["/header=x", "/kvs=1"]
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        for format in [Format::Json, Format::Yaml] {
            assert_eq!(read("\u{feff}{\"a\": 1}", format).unwrap(), ["/a=1"]);
        }
        assert_eq!(find_format(None, "\u{feff} {}"), Format::Json);
    }

    #[test]
    fn numbers_in_json_are_exact_or_refused() {
        let text = r#"{"a": 18446744073709551615, "b": -9223372036854775808, "c": 1.5, "d": 9007199254740992.0}"#;
        let want = [
            "/a=18446744073709551615",
            "/b=-9223372036854775808",
            "/c=1.5",
            "/d=9007199254740992.0",
        ];
        assert_eq!(read(text, Format::Json).unwrap(), want);
        for long in ["18446744073709551616", "-1e300", "12345678901234567890123"] {
            let said = read(&format!("{{\"a\":\n{long}}}"), Format::Json).unwrap_err();
            let want =
                "line 2: a number is too large to be kept as it is written: put it in quotes";
            assert_eq!(said, want, "{long}");
        }
    }

    #[test]
    fn errors_in_json_are_named() {
        for (text, want) in [
            ("", "line 1: EOF while parsing a value"),
            ("{\n\"a\": 1,\n}", "line 3: trailing comma"),
            ("[1]", "/ is a list without a name; a value is"),
            ("\"a\"", "/ is a text without a name"),
            (r#"{"a": null}"#, "/a is null"),
            (r#"{"a": {"b": [1, null]}}"#, "/a/b/1 is null"),
            (r#"{"a/0": 1, "a": [2]}"#, "/a/0 is there twice"),
            (r#"{"a/b": 1, "a": {"b": 2}}"#, "/a/b is there twice"),
            ("{\"a\": 1,\n\"a\": 2}", "line 2: \"a\" is there twice"),
            (
                "{\"b\": {\"a\": 1,\n\"c\": 2,\n\"a\":\n2}}",
                "line 3: \"a\" is there twice",
            ),
        ] {
            let said = read(text, Format::Json).unwrap_err();
            assert!(said.starts_with(want), "{text}: {said}");
        }
    }

    #[test]
    fn the_extension_decides_the_format_and_else_the_content() {
        for (extension, text, want) in [
            (Some("json"), "a: 1", Format::Json),
            (Some("yml"), "{}", Format::Yaml),
            (None, " \n{\"a\": 1}", Format::Json),
            (Some("txt"), "a: 1", Format::Yaml),
        ] {
            assert_eq!(find_format(extension, text), want, "{extension:?} {text}");
        }
    }
}
