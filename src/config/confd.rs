//! Directories made for confd: its `confd.toml`, and its fields in conf.d, which become ours.
//!
//! A file in conf.d is in confd's style if its `src` does not end in `.tera`, or if there is a `confd.toml`. In such a file
//! a field that nobody knows is a warning, since confd passes over those and directories that work have some.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::store::is_endpoint;
use super::style::{Style, is_tera};
use super::toml_file::Document;
use super::toml_table::Section;
use super::{Env, Problem};
use crate::cli::StoreArgs;
use crate::model::pace::Pace;
use crate::model::prefix::Prefix;

const FILE: &str = "confd.toml";
/// Where confd looks for etcd if nobody says.
const NODE: &str = "127.0.0.1:2379";
const KNOWN: [&str; 10] = [
    "backend",
    "nodes",
    "scheme",
    "prefix",
    "interval",
    "client_cakeys",
    "client_cert",
    "client_key",
    "username",
    "password",
];

/// What `confd.toml` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confd {
    /// The longest time between two comparisons.
    pub interval: Option<Duration>,
    /// What it says and we do not do.
    pub(super) warnings: Vec<Problem>,
    file: Option<PathBuf>,
    prefix: Option<String>,
    backend: Option<String>,
    nodes: Vec<String>,
    /// What `etcdctl` reads from its environment for the same purpose.
    access: Vec<(&'static str, String)>,
}

impl Confd {
    /// Reads `<conf_dir>/confd.toml`; without one nothing is said.
    pub fn read(conf_dir: &Path) -> Result<Self, Vec<Problem>> {
        let file = conf_dir.join(FILE);
        match fs::read_to_string(&file) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                let what = format!("cannot be read: {error}");
                Err(vec![Problem::in_file(&file, None, what)])
            }
        }
    }

    fn parse(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::new(file, text);
        document.be_lenient();
        let mut root = Section::root(&document);
        root.ignore_case();
        let mut confd = Self {
            file: Some(file.to_owned()),
            interval: interval(&mut root),
            prefix: not_empty(&mut root, "prefix"),
            backend: not_empty(&mut root, "backend"),
            nodes: nodes(&mut root),
            ..Self::default()
        };
        for (field, variable) in [
            ("client_cakeys", "ETCDCTL_CACERT"),
            ("client_cert", "ETCDCTL_CERT"),
            ("client_key", "ETCDCTL_KEY"),
            ("username", "ETCDCTL_USER"),
            ("password", "ETCDCTL_PASSWORD"),
        ] {
            let value = not_empty(&mut root, field);
            confd.access.extend(value.map(|value| (variable, value)));
        }
        if let Some(scheme) = not_empty(&mut root, "scheme") {
            confd.give_scheme(&scheme);
        }
        for field in ["noop", "sync-only", "sync_only"] {
            refuse(&mut root, &document, field);
        }
        for field in ["watch", "onetime", "basic_auth", "confdir"] {
            // They say how confd runs, or what goes without saying here.
            root.drop_key(field);
        }
        root.finish(&KNOWN);
        confd.warnings = document.take_warnings();
        match document.into_problems() {
            problems if problems.is_empty() => Ok(confd),
            problems => Err(problems),
        }
    }

    fn give_scheme(&mut self, scheme: &str) {
        for node in &mut self.nodes {
            if !node.contains("://") {
                *node = format!("{scheme}://{node}");
            }
        }
    }

    /// Whether the directory is one of confd's as a whole.
    pub(super) fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// The environment, with the store that `confd.toml` names where nobody else names one, and the file's path then.
    pub fn environment(
        &self,
        args: &StoreArgs,
        mut env: Env,
    ) -> Result<(Env, Option<&Path>), Vec<Problem>> {
        let named = env
            .get("ETCDCTL_ENDPOINTS")
            .is_some_and(|list| !list.is_empty());
        let silent = self.backend.is_none() && self.nodes.is_empty();
        let (Some(file), false) = (&self.file, args.store.is_some() || named || silent) else {
            return Ok((env, None));
        };
        match self.backend.as_deref() {
            None | Some("etcd" | "etcdv3") => {}
            Some(other) => {
                let problem =
                    Problem::in_file(file, None, format!("backend: there is no {other:?} here"));
                let hint = "etcd (v3) and directories are the stores there are; --store names another one than this file";
                return Err(vec![problem.hint(hint)]);
            }
        }
        let mut nodes = self.nodes.clone();
        if nodes.is_empty() {
            nodes.push(NODE.to_owned());
        }
        env.insert("ETCDCTL_ENDPOINTS".to_owned(), nodes.join(","));
        for (variable, value) in &self.access {
            let given = env.entry((*variable).to_owned()).or_default();
            if given.is_empty() {
                given.clone_from(value);
            }
        }
        Ok((env, Some(file)))
    }

    /// The style of a file in conf.d: what renders a template in Go's language is confd's. Unknown if no template is named.
    pub(super) fn style(&self, root: &Section<'_, '_>) -> Option<Style> {
        if self.is_there() {
            return Some(Style::Confd);
        }
        let sources = root.strings_below("template", "src");
        if sources.iter().any(|src| !is_tera(Path::new(src))) {
            return Some(Style::Confd);
        }
        (!sources.is_empty()).then_some(Style::Own)
    }

    /// Puts our fields in the place of confd's; the answer is the prefix, which templates do not see.
    pub(super) fn translate(
        &self,
        section: &mut Section<'_, '_>,
        document: &Document<'_>,
    ) -> Prefix {
        for field in [
            "prefix",
            "mode",
            "owner",
            "group",
            "check_cmd",
            "reload_cmd",
        ] {
            if section.peek(field) == Some("") {
                section.drop_key(field);
            }
        }
        for (name, number) in [("owner", "uid"), ("group", "gid")] {
            if section.is_negative(number) {
                section.drop_key(number);
            } else if section.has(name) && section.has(number) {
                let what = format!(
                    "template.{name} is passed over, since template.{number} says the same"
                );
                document.warn(section.span(), what, None);
                section.drop_key(name);
            }
        }
        section.map_strings("src", |src| src.trim_start_matches('/').to_owned());
        let root = self.root(section);
        section.map_strings("keys", |key| joined(&root, key));
        pace(section, document);
        let valid = if root.is_empty() { "/" } else { &root };
        Prefix::parse(valid).unwrap_or_else(|error| {
            document.say(section.span(), format!("template.prefix: {error}"));
            Prefix::root()
        })
    }

    /// The effective prefix: that of `confd.toml`, else that of the file.
    fn root(&self, section: &mut Section<'_, '_>) -> String {
        let own = section.string("prefix").map(|prefix| prefix.value);
        let prefix = self.prefix.clone().or(own).unwrap_or_default();
        joined("", &prefix).trim_end_matches('/').to_owned()
    }
}

fn not_empty(root: &mut Section<'_, '_>, field: &str) -> Option<String> {
    let value = root.string(field)?.value;
    (!value.is_empty()).then_some(value)
}

fn interval(root: &mut Section<'_, '_>) -> Option<Duration> {
    let seconds = root.number("interval")?;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn nodes(root: &mut Section<'_, '_>) -> Vec<String> {
    let node = |text: &str| {
        if is_endpoint(text) {
            return Ok(text.to_owned());
        }
        Err(format!(
            "{text:?} is not an endpoint such as http://127.0.0.1:2379"
        ))
    };
    root.list("nodes", node)
        .map(|nodes| nodes.value)
        .unwrap_or_default()
}

/// What would make `sidekick` do more than confd was told to.
fn refuse(root: &mut Section<'_, '_>, document: &Document<'_>, field: &str) {
    let span = root.place(field).unwrap_or_default();
    if root.flag(field) == Some(true) {
        let hint = "sidekick watch --noop --diff shows what would change, and changes nothing";
        document.note(
            &span,
            format!("{field} = true is not taken from here"),
            Some(hint),
        );
    }
}

/// confd's `path.Join`: one slash between parts, none at the end, `.` and `..` resolved.
fn joined(root: &str, key: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in root.split('/').chain(key.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The times that the maintained fork of confd knows.
fn pace(section: &mut Section<'_, '_>, document: &Document<'_>) {
    for (theirs, ours) in [
        ("check_cmd_timeout", "check_timeout"),
        ("reload_cmd_timeout", "reload_timeout"),
    ] {
        if let Some((time, span)) = time(section, document, theirs) {
            section.put(&[ours], written(time), span);
        }
    }
    if let Some((time, span)) = time(section, document, "debounce") {
        section.put(&["pace", "settle"], written(time), span.clone());
        let longest = time.max(Pace::default().max_wait);
        section.put(&["pace", "max_wait"], written(longest), span);
    }
    if let Some((time, span)) = time(section, document, "min_reload_interval") {
        section.put(&["pace", "min_interval"], written(time), span);
    }
}

fn written(time: Duration) -> DeValue<'static> {
    DeValue::String(Cow::Owned(format!("{}ms", time.as_millis())))
}

/// A time that is longer than nothing.
fn time(
    section: &mut Section<'_, '_>,
    document: &Document<'_>,
    field: &str,
) -> Option<(Duration, Range<usize>)> {
    let span = section.place(field)?;
    let text = section.time(field, |text| Ok(text.to_owned()))?;
    match go_duration(&text) {
        Some(Duration::ZERO) => None,
        Some(time) => Some((time, span)),
        None => {
            let what =
                format!("template.{field}: {text:?} is not a time such as 500ms, 30s or 1m30s");
            document.say(&span, what);
            None
        }
    }
}

/// A duration as Go writes it: `1h15m30.5s`; an empty one is none.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = if text == "0" { "" } else { text };
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let (unit, seconds) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = total.checked_add(part)?;
    }
    Some(total)
}

/// What else may be in confd's style besides the plain files of conf.d: confd reads whatever ends in `toml`, hidden files
/// and those in subdirectories too. Hidden directories are not looked into: there Kubernetes keeps what its links point
/// to. Hidden files come last.
pub(super) fn others(dir: &Path, plain: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.extend((!is_hidden).then_some(path));
            } else if name.as_encoded_bytes().ends_with(b"toml") && !plain.contains(&path) {
                found.push((is_hidden, path));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests;
