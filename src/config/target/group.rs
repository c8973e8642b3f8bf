//! One file of conf.d as a target: `[template]`, or `[[template]]` several times for a group.
//!
//! What concerns a group as a whole stands in any of its tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::output;
use super::reload::{pace, reload};
use super::{CHECK_TIMEOUT, RELOAD_TIMEOUT, Reload, Target};
use crate::config::check::page;
use crate::config::confd::Confd;
use crate::config::guard::{Limits, guard};
use crate::config::parse_duration;
use crate::config::style::Style;
use crate::config::toml_file::Document;
use crate::config::toml_table::Section;
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

/// What a table may say of its whole group.
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

/// Reads the tables of a file; nothing if one of them has no file that could be kept.
pub(super) fn target(
    sections: Vec<Section<'_, '_>>,
    document: &Document<'_>,
    (file, conf_dir): (&Path, &Path),
    confd: Option<&Confd>,
) -> Option<Target> {
    let mut shared = Shared::default();
    let count = sections.len();
    let span = sections.first()?.span().clone();
    let mut outputs = Vec::new();
    for mut section in sections {
        let root = confd.map_or_else(Prefix::root, |confd| {
            confd.translate(&mut section, document)
        });
        outputs.extend(output(&mut section, document, conf_dir, root));
        let own = said(&mut section, document);
        shared.take_in(own, &section, document);
        section.finish(&KNOWN);
    }
    if outputs.len() < count {
        return None;
    }
    if let Some(tree) = shared.tree.as_deref()
        && !outputs.iter().any(|output| output.dest.starts_with(tree))
    {
        let what = format!("template.tree: no dest lies below {}", tree.display());
        document.say(&span, what);
    }
    Some(Target {
        name: name(file, conf_dir),
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

fn said(section: &mut Section<'_, '_>, document: &Document<'_>) -> Shared {
    Shared {
        tree: section.parsed("tree", |text| match Path::new(text) {
            path if path.is_absolute() => Ok(path.to_owned()),
            _ => Err(format!("{text:?} is not an absolute path")),
        }),
        check_timeout: section.time("check_timeout", positive),
        reload: reload(section, document),
        reload_timeout: section.time("reload_timeout", positive),
        generation: section.parsed("generation_url", page),
        pace: pace(section),
        guard: guard(section),
    }
}

impl Shared {
    /// Two tables may say the same, but not two things.
    fn take_in(&mut self, other: Self, section: &Section<'_, '_>, document: &Document<'_>) {
        let say = |what: &str| {
            let what =
                format!("{what} is another one than in the tables above, and a group has one");
            document.say(section.span(), what);
        };
        merge(&mut self.tree, other.tree, || say("template.tree"));
        merge(&mut self.check_timeout, other.check_timeout, || {
            say("template.check_timeout");
        });
        merge(&mut self.reload, other.reload, || say("the reload"));
        merge(&mut self.reload_timeout, other.reload_timeout, || {
            say("template.reload_timeout");
        });
        merge(&mut self.generation, other.generation, || {
            say("template.generation_url");
        });
        merge(&mut self.pace, other.pace, || say("[template.pace]"));
        merge(&mut self.guard, other.guard, || say("[template.guard]"));
    }
}

fn merge<T: PartialEq>(first: &mut Option<T>, other: Option<T>, differs: impl FnOnce()) {
    match (&*first, other) {
        (Some(one), Some(other)) if *one != other => differs(),
        (Some(_), _) | (None, None) => {}
        (None, Some(other)) => *first = Some(other),
    }
}

/// The path below conf.d, without `.toml`.
pub(super) fn name(file: &Path, conf_dir: &Path) -> String {
    let below = file.strip_prefix(conf_dir.join("conf.d"));
    let name = below.unwrap_or(file).with_extension("");
    name.to_string_lossy().into_owned()
}

fn positive(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}
