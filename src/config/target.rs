//! The targets: what the files of `conf.d` say is to be rendered, from what, to where, and what to do about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::confd::{self, Confd};
use super::document::{Document, Located, Section};
use super::guard::guard;
use super::{Problem, parse_duration};
use crate::model::facts::Signal;
use crate::model::guard::Rules;
use crate::model::instance::ServiceName;
use crate::model::pace::Pace;
use crate::model::update::Prefix;

const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
const RELOAD_TIMEOUT: Duration = Duration::from_mins(1);

/// One file to be kept equal to what is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How it is called in the log: the name of its file in conf.d, without `.toml`.
    pub name: String,
    /// The file in conf.d.
    pub file: PathBuf,
    /// The template's file.
    pub src: PathBuf,
    /// The template's text.
    pub template: String,
    /// The file to be kept.
    pub dest: PathBuf,
    /// What the template reads.
    pub sources: Sources,
    /// Whether missing directories above the file are made.
    pub make_dirs: bool,
    /// What is left out at the start of each key in the template, as confd does with its `prefix`.
    pub root: Prefix,
    /// The permission bits; those of the existing file, or 0644, if not said.
    pub mode: Option<u32>,
    /// The owners.
    pub owner: Owner,
    /// A command that says whether a staged file is good.
    pub check: Option<String>,
    /// How long that may take.
    pub check_timeout: Duration,
    /// How the program that reads the file is told.
    pub reload: Option<Reload>,
    /// How long that may take.
    pub reload_timeout: Duration,
    /// How fast it follows.
    pub pace: Pace,
    /// What it may lose at once.
    pub guard: Rules,
}

/// What a template reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// The instances of these services.
    Services(Vec<ServiceName>),
    /// All keys under these paths.
    Keys(Vec<Prefix>),
}

/// The owner and group of a file; those of the existing file, or our own, if not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

/// How a program is told of a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// By a command.
    Command(String),
    /// By a signal to the process whose id stands in a file.
    Signal {
        /// The signal.
        signal: Signal,
        /// The file.
        pidfile: PathBuf,
    },
    /// By a signal to the command of `sidekick watch`.
    Child(Signal),
}

/// All targets of a directory, and everything that is wrong with them.
#[derive(Debug, Default)]
pub struct Targets {
    /// The good ones, sorted by file.
    pub good: Vec<Target>,
    /// The problems.
    pub problems: Vec<Problem>,
    /// What is no problem, and should be known all the same.
    pub warnings: Vec<Problem>,
}

/// Reads `<conf_dir>/conf.d/*.toml`, and below it what is in confd's style.
#[must_use]
pub fn targets(conf_dir: &Path) -> Targets {
    let mut all = Targets::default();
    let layout = Confd::read(conf_dir).unwrap_or_else(|problems| {
        all.problems.extend(problems);
        Confd::default()
    });
    all.warnings.clone_from(&layout.warnings);
    let dir = conf_dir.join("conf.d");
    let mut files = match list(&dir) {
        Ok(files) => files,
        Err(error) => {
            let problem = Problem::in_file(&dir, None, format!("cannot be read: {error}"));
            all.problems.push(
                problem.hint("--conf-dir names the directory that holds conf.d and templates"),
            );
            return all;
        }
    };
    files.extend(confd::below(&dir));
    files.sort();
    if files.is_empty() {
        let problem = Problem::in_file(
            &dir,
            None,
            "there is no *.toml in it, so there is nothing to render",
        );
        all.problems.push(problem);
    }
    for file in files {
        match fs::read_to_string(&file) {
            Ok(text) => read(&file, &text, (conf_dir, &layout), &mut all),
            Err(error) => {
                all.problems.push(Problem::in_file(
                    &file,
                    None,
                    format!("cannot be read: {error}"),
                ));
            }
        }
    }
    no_two_for_one_file(&mut all);
    all
}

/// The files `*.toml` of a directory that are not hidden.
pub(super) fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    Ok(files)
}

fn no_two_for_one_file(all: &mut Targets) {
    for (n, target) in all.good.iter().enumerate() {
        let lies = place(&target.dest);
        if let Some(first) = all.good[..n]
            .iter()
            .find(|other| place(&other.dest) == lies)
        {
            let what = format!(
                "{} is the dest of {} already",
                target.dest.display(),
                first.file.display()
            );
            all.problems
                .push(Problem::in_file(&target.file, None, what));
        }
    }
}

/// Where a file lies, whatever links lead to it.
fn place(dest: &Path) -> PathBuf {
    let in_its_dir = || {
        let dir = fs::canonicalize(dest.parent()?).ok()?;
        Some(dir.join(dest.file_name()?))
    };
    fs::canonicalize(dest)
        .ok()
        .or_else(in_its_dir)
        .unwrap_or_else(|| dest.to_owned())
}

fn read(file: &Path, text: &str, (conf_dir, layout): (&Path, &Confd), all: &mut Targets) {
    let document = Document::new(file, text);
    let mut root = document.root();
    let section = root.section("template");
    let is_confd = section.as_ref().is_some_and(|table| layout.speaks(table));
    if is_confd {
        document.be_lenient();
    } else if file.parent() != Some(&conf_dir.join("conf.d")) {
        // Below conf.d are targets of confd only; what else lies there was put aside by somebody.
        return;
    }
    match section {
        Some(mut section) => {
            let confd_root = is_confd.then(|| layout.translate(&mut section, &document));
            let target = template(section, &document, file, conf_dir);
            all.good.extend(target.map(|target| Target {
                root: confd_root.unwrap_or_else(Prefix::root),
                ..target
            }));
        }
        None => document.say(&(0..0), "there is no table [template]"),
    }
    root.finish("[template] and the tables below it");
    all.warnings.extend(document.take_warnings());
    let problems = document.into_problems();
    if !problems.is_empty() {
        // A target is good as a whole or not at all.
        all.good.retain(|target| target.file != file);
    }
    all.problems.extend(problems);
}

fn template(
    mut section: Section<'_, '_>,
    document: &Document<'_>,
    file: &Path,
    conf_dir: &Path,
) -> Option<Target> {
    let source = source(&mut section, document, conf_dir);
    let dest = dest(&mut section, document);
    let sources = sources(&mut section, document);
    let guard = guard(&mut section, usual_guard(sources.as_ref()));
    let make_dirs = section.flag("make_dirs");
    let mode = section.parsed("mode", octal);
    let owner = owner(&mut section, document);
    let check = section.string("check_cmd").map(|command| command.value);
    let check_timeout = section.parsed("check_timeout", positive);
    let reload = reload(&mut section, document);
    let reload_timeout = section.parsed("reload_timeout", positive);
    let pace = pace(&mut section);
    section.finish(
        "src, dest, services, keys, make_dirs, mode, owner, group, uid, gid, check_cmd, reload_cmd, check_timeout, \
         reload_timeout, [template.reload], [template.pace] and [template.guard]",
    );
    let (src, template) = source?;
    Some(Target {
        name: name(file, conf_dir),
        file: file.to_owned(),
        src,
        template,
        dest: dest?,
        sources: sources?,
        make_dirs: make_dirs.unwrap_or(false),
        root: Prefix::root(),
        mode,
        owner,
        check,
        check_timeout: check_timeout.unwrap_or(CHECK_TIMEOUT),
        reload,
        reload_timeout: reload_timeout.unwrap_or(RELOAD_TIMEOUT),
        pace,
        guard,
    })
}

/// Services are guarded unless conf.d says otherwise; raw keys are not, as with confd.
fn usual_guard(sources: Option<&Sources>) -> Rules {
    match sources {
        Some(Sources::Services(_)) => Rules::of_services(),
        Some(Sources::Keys(_)) | None => Rules::none(),
    }
}

/// The path below conf.d, without `.toml`.
fn name(file: &Path, conf_dir: &Path) -> String {
    let below = file.strip_prefix(conf_dir.join("conf.d"));
    let name = below.unwrap_or(file).with_extension("");
    name.to_string_lossy().into_owned()
}

fn source(
    section: &mut Section<'_, '_>,
    document: &Document<'_>,
    conf_dir: &Path,
) -> Option<(PathBuf, String)> {
    let Some(src) = section.string("src") else {
        document.say(
            section.span(),
            "template.src is missing: the template's file in the directory templates",
        );
        return None;
    };
    // What is in confd's style is in confd's language, whatever its ending.
    if Path::new(&src.value).extension() != Some("tera".as_ref()) && !document.is_lenient() {
        let what = format!(
            "template.src: {:?} ends neither in .tera nor in .tmpl",
            src.value
        );
        document.note(
            &src.span,
            what,
            Some(
                "the ending names the language: Tera, or confd's; where there is a confd.toml, it is confd's for any \
                 other ending too",
            ),
        );
        return None;
    }
    let path = conf_dir.join("templates").join(&src.value);
    match fs::read_to_string(&path) {
        Ok(text) => Some((path, text)),
        Err(error) => {
            document.say(
                &src.span,
                format!("template.src: {} cannot be read: {error}", path.display()),
            );
            None
        }
    }
}

fn dest(section: &mut Section<'_, '_>, document: &Document<'_>) -> Option<PathBuf> {
    let Some(dest) = section.string("dest") else {
        document.say(
            section.span(),
            "template.dest is missing: the file to be kept",
        );
        return None;
    };
    let path = PathBuf::from(&dest.value);
    if !path.is_absolute() || path.file_name().is_none() || dest.value.ends_with('/') {
        document.say(
            &dest.span,
            format!(
                "template.dest: {:?} is not the absolute path of a file",
                dest.value
            ),
        );
        return None;
    }
    Some(path)
}

fn sources(section: &mut Section<'_, '_>, document: &Document<'_>) -> Option<Sources> {
    let services = section.list("services", str::parse::<ServiceName>);
    let keys = section.list("keys", Prefix::parse);
    let not_empty = |located: &Located<Vec<_>>| !located.value.is_empty();
    match (services, keys) {
        (Some(services), None) if !services.value.is_empty() => {
            Some(Sources::Services(services.value))
        }
        (None, Some(keys)) if not_empty(&keys) => Some(Sources::Keys(keys.value)),
        (Some(services), Some(_)) => {
            document.say(
                &services.span,
                "template.services and template.keys exclude each other",
            );
            None
        }
        (Some(Located { span, .. }), None) | (None, Some(Located { span, .. })) => {
            document.say(
                &span,
                "the list is empty, so nothing would ever be rendered",
            );
            None
        }
        (None, None) => {
            document.note(
                section.span(),
                "neither template.services nor template.keys says what is followed",
                Some("services = [\"web\"] or keys = [\"/services\"]"),
            );
            None
        }
    }
}

/// `644` and `0644` are the same to people who think of files.
fn octal(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match u32::from_str_radix(text, 8) {
        Ok(mode) if digits && mode <= 0o7777 => Ok(mode),
        Ok(_) | Err(_) => Err(format!("{text:?} is not an octal mode such as 0644")),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}

fn owner(section: &mut Section<'_, '_>, document: &Document<'_>) -> Owner {
    for (name, number) in [("owner", "uid"), ("group", "gid")] {
        if section.has(name) && section.has(number) {
            document.say(
                section.span(),
                format!("template.{name} and template.{number} exclude each other"),
            );
        }
    }
    let user = section.parsed("owner", |name| match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(format!("there is no user {name:?} on this host")),
        Err(error) => Err(format!("user {name:?} cannot be looked up: {error}")),
    });
    let group = section.parsed("group", |name| match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group {name:?} on this host")),
        Err(error) => Err(format!("group {name:?} cannot be looked up: {error}")),
    });
    Owner {
        uid: section.number("uid").or(user),
        gid: section.number("gid").or(group),
    }
}

fn reload(section: &mut Section<'_, '_>, document: &Document<'_>) -> Option<Reload> {
    let command = section.string("reload_cmd");
    let table = section.section("reload");
    if let (Some(command), Some(_)) = (&command, &table) {
        document.say(
            &command.span,
            "template.reload_cmd and [template.reload] exclude each other",
        );
    }
    let Some(mut table) = table else {
        return command.map(|command| Reload::Command(command.value));
    };
    let (has_signal, has_pidfile) = (table.has("signal"), table.has("pidfile"));
    let has_child = table.has("child");
    let signal = table.parsed("signal", signal);
    let pidfile = table.parsed("pidfile", |text| match Path::new(text) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(format!("{text:?} is not an absolute path")),
    });
    let child = table.flag("child");
    if !has_signal {
        document.say(
            table.span(),
            "template.reload.signal is missing, \"HUP\" for example",
        );
    } else if has_pidfile && has_child {
        document.say(
            table.span(),
            "template.reload.pidfile and template.reload.child exclude each other",
        );
    } else if !has_pidfile && (!has_child || child == Some(false)) {
        document.note(
            table.span(),
            "template.reload.pidfile is missing: the file with the id of the process to signal",
            Some("child = true signals the command of `sidekick watch -- COMMAND`"),
        );
    }
    table.finish("signal, pidfile and child");
    match (child, pidfile) {
        (Some(true), None) => Some(Reload::Child(signal?)),
        (_, pidfile) => Some(Reload::Signal {
            signal: signal?,
            pidfile: pidfile?,
        }),
    }
}

fn signal(text: &str) -> Result<Signal, String> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let signal = format!("SIG{name}").parse::<nix::sys::signal::Signal>();
    signal
        .map(|signal| Signal(signal as i32))
        .map_err(|_| format!("{text:?} is not a signal such as HUP or USR2"))
}

fn pace(section: &mut Section<'_, '_>) -> Pace {
    let default = Pace::default();
    let Some(mut table) = section.section("pace") else {
        return default;
    };
    let pace = Pace {
        settle: table
            .parsed("settle", parse_duration)
            .unwrap_or(default.settle),
        max_wait: table
            .parsed("max_wait", parse_duration)
            .unwrap_or(default.max_wait),
        min_interval: table
            .parsed("min_interval", parse_duration)
            .unwrap_or(default.min_interval),
    };
    table.finish("settle, max_wait and min_interval");
    pace
}

#[cfg(test)]
mod tests;
