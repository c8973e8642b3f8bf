//! How conf.d says that the servers of an HAProxy are changed while it runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::parse_duration;
use crate::config::toml_table::Section;
use crate::model::socket::Address;

/// A socket answers at once, or something is wrong with it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The `HAProxies` that run with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haproxy {
    /// Their stats sockets; at least one.
    pub sockets: Vec<Address>,
    /// The files that they read before it, in order: there may be defaults in them that its sections go by.
    pub base: Vec<PathBuf>,
    /// How long a socket may take for what it is told at a time.
    pub timeout: Duration,
}

/// The table `haproxy`, if there is one.
pub(super) fn haproxy(section: &mut Section<'_, '_>) -> Option<Haproxy> {
    let mut table = section.section("haproxy")?;
    let has_socket = table.has("socket");
    let sockets: Vec<Address> = one_or_more(&mut table, "socket", str::parse);
    if !has_socket {
        let what = "template.haproxy.socket is missing: HAProxy's stats socket with level admin";
        table.miss(&["socket"], what, None);
    }
    let base = one_or_more(&mut table, "base", absolute);
    let timeout = table.time("timeout", parse_duration);
    table.finish(&["socket", "base", "timeout"]);
    (!sockets.is_empty()).then_some(Haproxy {
        sockets,
        base,
        timeout: timeout.filter(|time| !time.is_zero()).unwrap_or(TIMEOUT),
    })
}

/// A string, or a list of strings, each parsed.
fn one_or_more<T, E: std::fmt::Display>(
    table: &mut Section<'_, '_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    if table.peek(key).is_some() {
        return table.parsed(key, parse).into_iter().collect();
    }
    table
        .list(key, parse)
        .map_or_else(Vec::new, |list| list.value)
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    match Path::new(text) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(format!("{text:?} is not an absolute path")),
    }
}
