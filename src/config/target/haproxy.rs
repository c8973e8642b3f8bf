//! The table `[template.haproxy]` of conf.d: the `HAProxies` whose servers are changed at run time.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::parse_duration;
use crate::config::path::parse_absolute_path;
use crate::config::toml_fields::TomlTable;
use crate::model::socket::Address;

/// The default of `timeout`. A socket that works answers at once.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The `HAProxies` that read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haproxy {
    /// Their stats sockets; at least one.
    pub sockets: Vec<Address>,
    /// The files that they read before this one, in order; they may have `defaults` for its sections.
    pub base: Vec<PathBuf>,
    /// How long a socket may take for one batch of commands.
    pub timeout: Duration,
}

/// The table `haproxy`, if there is one.
pub(super) fn read_haproxy(table: &mut TomlTable<'_, '_>) -> Option<Haproxy> {
    let mut table = table.table("haproxy")?;
    let has_socket = table.has("socket");
    let sockets: Vec<Address> = one_or_more(&mut table, "socket", str::parse);
    if !has_socket {
        let what = "template.haproxy.socket is missing: HAProxy's stats socket with level admin";
        table.note_missing(&["socket"], what, None);
    }
    let base = one_or_more(&mut table, "base", parse_absolute_path);
    let timeout = table.time("timeout", parse_duration);
    table.finish(&["socket", "base", "timeout"]);
    (!sockets.is_empty()).then_some(Haproxy {
        sockets,
        base,
        timeout: timeout.filter(|time| !time.is_zero()).unwrap_or(TIMEOUT),
    })
}

/// Takes a string or a list of strings, and parses each.
fn one_or_more<T, E: std::fmt::Display>(
    table: &mut TomlTable<'_, '_>,
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
