//! Variables of the environment as keys, as confd's backend `env` has them: `SERVICES_WEB_A_IP` is `/services/web/a/ip`.
//! Pure.
//!
//! A variable's name in lower case, with each `_` made a `/`, is its key. So a key with an underscore or an upper-case letter
//! cannot be written; any other character stands for itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::model::key::{Entries, Key};

/// The keys of these variables. Names that are not text, or have nothing but underscores (the shell's own `_`), are no
/// keys. Of two names that are the same but for their case the one in upper case counts.
pub(super) fn entries(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Entries {
    let text = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok()?;
        let is_path = name.contains(|c| c != '_');
        is_path.then(|| (name, value.into_vec()))
    };
    let mut variables: Vec<(String, Vec<u8>)> = variables.into_iter().filter_map(text).collect();
    // Later ones replace earlier ones.
    variables.sort_by_cached_key(|(name, _)| (name.to_uppercase() == *name, name.clone()));
    let entry = |(name, value): (String, Vec<u8>)| (key(&name), value.into());
    variables.into_iter().map(entry).collect()
}

fn key(name: &str) -> Key {
    let path = name.to_lowercase().replace('_', "/");
    format!("/{path}").into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(a, b)| (a.into(), b.into()));
        let entries = entries(variables);
        let line = |(key, value): (&Key, &crate::model::key::Value)| {
            format!("{key}={}", String::from_utf8_lossy(value))
        };
        entries.iter().map(line).collect()
    }

    #[test]
    fn names_become_paths_as_in_confd() {
        let got = read(&[
            ("SERVICES_WEB_A_IP", "10.0.0.1"),
            ("APP_DB-HOST", "db"),
            ("Mixed_Case", "1"),
            ("A__B", "twice"),
            ("EMPTY", ""),
            ("_", "/usr/bin/env"),
            ("__", "no"),
            ("", "no"),
        ]);
        let want = [
            "/a//b=twice",
            "/app/db-host=db",
            "/empty=",
            "/mixed/case=1",
            "/services/web/a/ip=10.0.0.1",
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn the_name_in_upper_case_counts() {
        for (first, second) in [("http_proxy", "HTTP_PROXY"), ("HTTP_PROXY", "http_proxy")] {
            let got = read(&[(first, first), (second, second)]);
            assert_eq!(got, ["/http/proxy=HTTP_PROXY"]);
        }
    }

    #[test]
    fn values_are_bytes_and_names_are_text() {
        let raw = || OsString::from_vec(vec![b'a', 0xff]);
        let got = entries([("A".into(), raw()), (raw(), "x".into())]);
        assert_eq!(got.len(), 1);
        assert_eq!(*got["/a"], [b'a', 0xff]);
    }
}
