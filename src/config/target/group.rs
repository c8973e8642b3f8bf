//! The target of one file of conf.d: `[template]`, or `[[template]]` several times for a group.
//!
//! The settings of a group as a whole may stand in any of its tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::read_output;
use super::reload::{read_pace, read_reload};
use super::{CHECK_TIMEOUT, RELOAD_TIMEOUT, Reload, Target};
use crate::config::check::parse_page;
use crate::config::confd::Confd;
use crate::config::duration::parse_positive_duration;
use crate::config::guard::{Limits, read_guard};
use crate::config::path::parse_absolute_path;
use crate::config::style::Style;
use crate::config::toml_fields::TomlTable;
use crate::config::toml_file::TomlFile;
use crate::model::check::HttpCheck;
use crate::model::pace::Pace;
use crate::model::prefix::Prefix;

const KNOWN: [&str; 20] = [
    "src",
    "dest",
    "services",
    "keys",
    "make_dirs",
    "mode",
    "owner",
    "group",
    "uid",
    "gid",
    "check_cmd",
    "reload_cmd",
    "check_timeout",
    "reload_timeout",
    "generation_url",
    "tree",
    "[template.reload]",
    "[template.haproxy]",
    "[template.pace]",
    "[template.guard]",
];

/// The settings in a table that concern the whole group.
#[derive(Debug, Default)]
struct Shared {
    tree: Option<PathBuf>,
    check_timeout: Option<Duration>,
    reload: Option<Reload>,
    reload_timeout: Option<Duration>,
    generation: Option<HttpCheck>,
    pace: Option<Pace>,
    guard: Option<Limits>,
}

/// Reads the tables of a file; `None` if one of them has no usable template or destination.
pub(super) fn read_target(
    tables: Vec<TomlTable<'_, '_>>,
    document: &TomlFile<'_>,
    (file, conf_dir): (&Path, &Path),
    confd: Option<&Confd>,
) -> Option<Target> {
    let mut shared = Shared::default();
    let count = tables.len();
    let span = tables.first()?.span().clone();
    let mut outputs = Vec::new();
    for mut table in tables {
        let root = confd.map_or_else(Prefix::root, |confd| confd.translate(&mut table, document));
        outputs.extend(read_output(&mut table, document, conf_dir, root));
        let own = read_shared(&mut table, document);
        shared.merge(own, &table, document);
        table.finish(&KNOWN);
    }
    if outputs.len() < count {
        return None;
    }
    if let Some(tree) = shared.tree.as_deref()
        && !outputs.iter().any(|output| output.dest.starts_with(tree))
    {
        let what = format!("template.tree: no dest lies below {}", tree.display());
        document.report(&span, what);
    }
    Some(Target {
        name: target_name(file, conf_dir),
        file: file.to_owned(),
        style: if confd.is_some() {
            Style::Confd
        } else {
            Style::Own
        },
        guard: shared.guard.unwrap_or_default().rules(&outputs),
        outputs,
        tree: shared.tree,
        check_timeout: shared.check_timeout.unwrap_or(CHECK_TIMEOUT),
        reload: shared.reload,
        reload_timeout: shared.reload_timeout.unwrap_or(RELOAD_TIMEOUT),
        generation: shared.generation,
        pace: shared.pace.unwrap_or_default(),
    })
}

fn read_shared(table: &mut TomlTable<'_, '_>, document: &TomlFile<'_>) -> Shared {
    Shared {
        tree: table.parsed("tree", parse_absolute_path),
        check_timeout: table.time("check_timeout", parse_positive_duration),
        reload: read_reload(table, document),
        reload_timeout: table.time("reload_timeout", parse_positive_duration),
        generation: table.parsed("generation_url", parse_page),
        pace: read_pace(table),
        guard: read_guard(table),
    }
}

impl Shared {
    /// Adds the settings of another table. Two tables may have the same setting, but not with different values.
    fn merge(&mut self, other: Self, table: &TomlTable<'_, '_>, document: &TomlFile<'_>) {
        let report = |what: &str| {
            let what = format!(
                "{what} differs from that of the tables above, and a group can have only one"
            );
            document.report(table.span(), what);
        };
        merge_setting(&mut self.tree, other.tree, || report("template.tree"));
        merge_setting(&mut self.check_timeout, other.check_timeout, || {
            report("template.check_timeout");
        });
        merge_setting(&mut self.reload, other.reload, || report("the reload"));
        merge_setting(&mut self.reload_timeout, other.reload_timeout, || {
            report("template.reload_timeout");
        });
        merge_setting(&mut self.generation, other.generation, || {
            report("template.generation_url");
        });
        merge_setting(&mut self.pace, other.pace, || report("[template.pace]"));
        merge_setting(&mut self.guard, other.guard, || report("[template.guard]"));
    }
}

fn merge_setting<T: PartialEq>(first: &mut Option<T>, other: Option<T>, differs: impl FnOnce()) {
    match (&*first, other) {
        (Some(one), Some(other)) if *one != other => differs(),
        (Some(_), _) | (None, None) => {}
        (None, Some(other)) => *first = Some(other),
    }
}

/// The name of a target: the path of its file below conf.d, without `.toml`.
pub(super) fn target_name(file: &Path, conf_dir: &Path) -> String {
    let below = file.strip_prefix(conf_dir.join("conf.d"));
    let name = below.unwrap_or(file).with_extension("");
    name.to_string_lossy().into_owned()
}
