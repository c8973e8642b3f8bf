//! Directories made for confd: reads `confd.toml`, and translates confd's fields in conf.d into sidekick's.
//!
//! A file in conf.d is in confd's style if its `src` does not end in `.tera`, or if there is a `confd.toml`. In such a file
//! an unknown field is a warning only: confd ignores unknown fields, and directories that work with it have some.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::store::{STORE_SRV, is_domain, is_endpoint};
use super::style::{Style, is_tera};
use super::toml_fields::TomlTable;
use super::toml_file::TomlFile;
use super::{Env, Problem};
use crate::cli::StoreArgs;
use crate::model::pace::Pace;
use crate::model::prefix::Prefix;

const FILE: &str = "confd.toml";
/// The default of confd for `nodes`.
const NODE: &str = "127.0.0.1:2379";
const KNOWN: [&str; 13] = [
    "backend",
    "file",
    "filter",
    "nodes",
    "srv_domain",
    "scheme",
    "prefix",
    "interval",
    "client_cakeys",
    "client_cert",
    "client_key",
    "username",
    "password",
];

/// The settings in `confd.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confd {
    /// The longest time between two comparisons.
    pub interval: Option<Duration>,
    /// Settings that sidekick does not follow.
    pub(super) warnings: Vec<Problem>,
    file: Option<PathBuf>,
    prefix: Option<String>,
    backend: Option<String>,
    nodes: Vec<String>,
    /// The domain whose DNS names the nodes.
    srv_domain: Option<String>,
    /// What the backend `file` reads.
    files: Vec<String>,
    /// The settings for access to etcd, by the variable from which `etcdctl` reads the same.
    access: Vec<(&'static str, String)>,
}

impl Confd {
    /// Reads `<conf_dir>/confd.toml`; without such a file there are no settings.
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
        let document = TomlFile::new(file, text);
        document.be_lenient();
        let mut root = TomlTable::root(&document);
        root.ignore_case();
        let mut confd = Self {
            file: Some(file.to_owned()),
            interval: take_interval(&mut root),
            prefix: take_non_empty(&mut root, "prefix"),
            backend: take_non_empty(&mut root, "backend"),
            nodes: take_nodes(&mut root),
            srv_domain: take_srv_domain(&mut root),
            files: take_files(&mut root, &document),
            ..Self::default()
        };
        for (field, variable) in [
            ("client_cakeys", "ETCDCTL_CACERT"),
            ("client_cert", "ETCDCTL_CERT"),
            ("client_key", "ETCDCTL_KEY"),
            ("username", "ETCDCTL_USER"),
            ("password", "ETCDCTL_PASSWORD"),
        ] {
            let value = take_non_empty(&mut root, field);
            confd.access.extend(value.map(|value| (variable, value)));
        }
        if let Some(scheme) = take_non_empty(&mut root, "scheme") {
            confd.give_scheme(&scheme);
        }
        for field in ["noop", "sync-only", "sync_only"] {
            report_unsupported(&mut root, &document, field);
        }
        for field in ["watch", "onetime", "basic_auth", "confdir"] {
            // These say how confd itself runs, or ask for what sidekick always does.
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
        for node in self.nodes.iter_mut().chain(&mut self.srv_domain) {
            if !node.contains("://") {
                *node = format!("{scheme}://{node}");
            }
        }
    }

    /// Whether there is a `confd.toml`, so that the whole directory is in confd's style.
    pub(super) fn exists(&self) -> bool {
        self.file.is_some()
    }

    /// The flags and the environment, completed by the store of `confd.toml` if neither of them names one. The path is that
    /// of `confd.toml`, if it was used.
    pub fn complete(
        &self,
        mut args: StoreArgs,
        env: Env,
    ) -> Result<(StoreArgs, Env, Option<&Path>), Vec<Problem>> {
        let is_set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
        let named = args.store.is_some() || args.store_srv.is_some() || is_set("ETCDCTL_ENDPOINTS");
        let silent = self.backend.is_none() && self.nodes.is_empty() && self.srv_domain.is_none();
        let (Some(file), false) = (&self.file, named || silent) else {
            return Ok((args, env, None));
        };
        match self.backend.as_deref() {
            None | Some("etcd" | "etcdv3") => Ok((args, self.with_etcd(env), Some(file))),
            Some("env") => {
                args.store = Some("env:".to_owned());
                Ok((args, env, Some(file)))
            }
            Some("file") => {
                args.store = Some(self.files_url(file)?);
                Ok((args, env, Some(file)))
            }
            Some(other) => {
                let problem =
                    Problem::in_file(file, None, format!("backend: there is no {other:?} here"));
                let hint = "etcd (v3), file and env are the backends there are; --store names another store than this file";
                Err(vec![problem.hint(hint)])
            }
        }
    }

    fn files_url(&self, confd: &Path) -> Result<String, Vec<Problem>> {
        match self.files.as_slice() {
            [one] => Ok(format!("file:{one}")),
            many => {
                let many = many.len();
                let what = format!(
                    "file: the backend file needs one path here, and this file names {many}"
                );
                let hint = "name a directory with all of the files in it";
                Err(vec![Problem::in_file(confd, None, what).hint(hint)])
            }
        }
    }

    fn with_etcd(&self, mut env: Env) -> Env {
        let mut nodes = self.nodes.clone();
        if nodes.is_empty() {
            nodes.push(NODE.to_owned());
        }
        // confd uses the nodes that it finds by the domain in place of those that are listed.
        match &self.srv_domain {
            Some(domain) => env.insert(STORE_SRV.to_owned(), domain.clone()),
            None => env.insert("ETCDCTL_ENDPOINTS".to_owned(), nodes.join(",")),
        };
        for (variable, value) in &self.access {
            let given = env.entry((*variable).to_owned()).or_default();
            if given.is_empty() {
                given.clone_from(value);
            }
        }
        env
    }

    /// The style of a file in conf.d: a file with a Go template is in confd's. `None` if the file names no template.
    pub(super) fn style(&self, root: &TomlTable<'_, '_>) -> Option<Style> {
        if self.exists() {
            return Some(Style::Confd);
        }
        let sources = root.strings_below("template", "src");
        if sources.iter().any(|src| !is_tera(Path::new(src))) {
            return Some(Style::Confd);
        }
        (!sources.is_empty()).then_some(Style::Own)
    }

    /// Replaces confd's fields by sidekick's. Returns the prefix, which is left out of the keys that templates see.
    pub(super) fn translate(
        &self,
        table: &mut TomlTable<'_, '_>,
        document: &TomlFile<'_>,
    ) -> Prefix {
        for field in [
            "prefix",
            "mode",
            "owner",
            "group",
            "check_cmd",
            "reload_cmd",
        ] {
            if table.peek(field) == Some("") {
                table.drop_key(field);
            }
        }
        for (name, number) in [("owner", "uid"), ("group", "gid")] {
            if table.is_negative(number) {
                table.drop_key(number);
            } else if table.has(name) && table.has(number) {
                let what =
                    format!("template.{name} is ignored, since template.{number} is given, too");
                document.warn(table.span(), what, None);
                table.drop_key(name);
            }
        }
        table.map_strings("src", |src| src.trim_start_matches('/').to_owned());
        let root = self.effective_prefix(table);
        table.map_strings("keys", |key| join_paths(&root, key));
        translate_pace(table, document);
        let valid = if root.is_empty() { "/" } else { &root };
        Prefix::parse(valid).unwrap_or_else(|error| {
            document.report(table.span(), format!("template.prefix: {error}"));
            Prefix::root()
        })
    }

    /// The effective prefix: that of `confd.toml`, else that of the file.
    fn effective_prefix(&self, table: &mut TomlTable<'_, '_>) -> String {
        let own = table.string("prefix").map(|prefix| prefix.value);
        let prefix = self.prefix.clone().or(own).unwrap_or_default();
        join_paths("", &prefix).trim_end_matches('/').to_owned()
    }
}

fn take_non_empty(root: &mut TomlTable<'_, '_>, field: &str) -> Option<String> {
    let value = root.string(field)?.value;
    (!value.is_empty()).then_some(value)
}

fn take_interval(root: &mut TomlTable<'_, '_>) -> Option<Duration> {
    let seconds = root.number("interval")?;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn take_nodes(root: &mut TomlTable<'_, '_>) -> Vec<String> {
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

fn take_srv_domain(root: &mut TomlTable<'_, '_>) -> Option<String> {
    if root.peek("srv_domain") == Some("") {
        root.drop_key("srv_domain");
    }
    let domain = |text: &str| {
        let bare = text.trim_end_matches('.');
        let what = || format!("{text:?} is not a domain such as example.com");
        is_domain(bare).then(|| bare.to_owned()).ok_or_else(what)
    };
    root.parsed("srv_domain", domain)
}

fn take_files(root: &mut TomlTable<'_, '_>, document: &TomlFile<'_>) -> Vec<String> {
    let span = root.span_of("filter").unwrap_or_default();
    let filter = take_non_empty(root, "filter");
    if filter.is_some_and(|filter| filter != "*") {
        let hint = "put other files into another directory";
        let what =
            "filter is ignored: of a directory the files that end in .yaml, .yml or .json are read";
        document.warn(&span, what, Some(hint));
    }
    let path = |text: &str| {
        let is_path = !text.is_empty();
        is_path.then(|| text.to_owned()).ok_or("it names no file")
    };
    let files = root.list("file", path);
    files.map(|files| files.value).unwrap_or_default()
}

/// Reports a field that keeps confd from changing files: sidekick does not follow it, so it would do more than confd.
fn report_unsupported(root: &mut TomlTable<'_, '_>, document: &TomlFile<'_>, field: &str) {
    let span = root.span_of(field).unwrap_or_default();
    if root.flag(field) == Some(true) {
        let hint = "sidekick watch --noop --diff shows what would change, and changes nothing";
        document.report_with_hint(
            &span,
            format!("sidekick does not follow {field} = true"),
            Some(hint),
        );
    }
}

/// Joins two paths as confd does with Go's `path.Join`: one slash between parts, none at the end, `.` and `..` resolved.
fn join_paths(root: &str, key: &str) -> String {
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

/// Translates the time settings that the maintained fork of confd has.
fn translate_pace(table: &mut TomlTable<'_, '_>, document: &TomlFile<'_>) {
    for (theirs, ours) in [
        ("check_cmd_timeout", "check_timeout"),
        ("reload_cmd_timeout", "reload_timeout"),
    ] {
        if let Some((time, span)) = take_time(table, document, theirs) {
            table.put(&[ours], as_toml(time), span);
        }
    }
    if let Some((time, span)) = take_time(table, document, "debounce") {
        table.put(&["pace", "settle"], as_toml(time), span.clone());
        let longest = time.max(Pace::default().max_wait);
        table.put(&["pace", "max_wait"], as_toml(longest), span);
    }
    if let Some((time, span)) = take_time(table, document, "min_reload_interval") {
        table.put(&["pace", "min_interval"], as_toml(time), span);
    }
}

fn as_toml(time: Duration) -> DeValue<'static> {
    DeValue::String(Cow::Owned(format!("{}ms", time.as_millis())))
}

/// Takes a time that is longer than 0, in Go's notation.
fn take_time(
    table: &mut TomlTable<'_, '_>,
    document: &TomlFile<'_>,
    field: &str,
) -> Option<(Duration, Range<usize>)> {
    let span = table.span_of(field)?;
    let text = table.time(field, |text| Ok(text.to_owned()))?;
    match parse_go_duration(&text) {
        Some(Duration::ZERO) => None,
        Some(time) => Some((time, span)),
        None => {
            let what =
                format!("template.{field}: {text:?} is not a time such as 500ms, 30s or 1m30s");
            document.report(&span, what);
            None
        }
    }
}

/// Parses a duration as Go writes it, such as `1h15m30.5s`. An empty text is 0.
fn parse_go_duration(text: &str) -> Option<Duration> {
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

/// Further files that may be in confd's style, besides the plain files of conf.d. confd reads every file whose name ends in
/// `toml`, also hidden ones and those in subdirectories. Hidden directories are left out: Kubernetes keeps the files there
/// to which its links point. Hidden files come last.
pub(super) fn other_files(dir: &Path, plain: &[PathBuf]) -> Vec<PathBuf> {
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
