//! From conf.d to targets with compiled templates; every problem of all of them at once. Shell.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::haproxy::Haproxies;
use super::render::{RenderError, Template};
use crate::config::{self, Confd, Output, Pass, Problem, Reload, Target};
use crate::system::command;

/// A target that is ready to be rendered.
#[derive(Debug)]
pub struct Loaded {
    /// What conf.d says.
    pub target: Target,
    /// The templates of its outputs, in their order.
    pub templates: Vec<Template>,
    /// The `HAProxies` whose servers are changed while they run, in the order of the outputs.
    pub(super) haproxies: Haproxies,
    /// What the templates may include or extend.
    others: Arc<Others>,
}

/// Names and sources of templates.
type Others = Vec<(String, String)>;

impl Loaded {
    /// Whether both were loaded from the same text.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.target == other.target && self.others == other.others
    }
}

/// The directories in which a configuration lies, as far as they are there.
pub(super) fn directories(conf_dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut next: Vec<PathBuf> = ["conf.d", "templates"]
        .map(|name| conf_dir.join(name))
        .into();
    while let Some(dir) = next.pop() {
        // A link to a directory is followed; one that leads in a circle is seen once.
        let Ok(place) = fs::canonicalize(&dir) else {
            continue;
        };
        if place.is_dir() && found.insert(place) {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            next.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
        }
    }
    found
}

/// What may appear or be replaced as a whole: the directory of a configuration, what it is a link to, and what counts in
/// it. Other files may lie beside that, also those that are kept.
pub(super) fn links(conf_dir: &Path) -> BTreeSet<PathBuf> {
    let own = std::path::absolute(conf_dir).unwrap_or_else(|_| conf_dir.to_owned());
    let place = fs::canonicalize(conf_dir);
    let parts = ["conf.d", "templates", "confd.toml"].map(|name| own.join(name));
    [own].into_iter().chain(place).chain(parts).collect()
}

/// Reads the targets of a directory. `pass` says whether there is a command that they can signal.
pub fn load(conf_dir: &Path, pass: &Pass) -> Result<Vec<Loaded>, Vec<Problem>> {
    let (loaded, problems) = read(conf_dir, pass);
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(problems)
    }
}

/// Looks for mistakes in a directory without running anything; how many targets there are.
pub fn check(conf_dir: &Path) -> Result<usize, Vec<Problem>> {
    let (loaded, mut problems) = read(conf_dir, &Pass::offline());
    problems.extend(loaded.iter().flat_map(check_commands));
    problems.extend(Confd::read(conf_dir).err().into_iter().flatten());
    if problems.is_empty() {
        Ok(loaded.len())
    } else {
        Err(problems)
    }
}

/// The targets as far as they are good, and what is wrong with the others.
fn read(conf_dir: &Path, pass: &Pass) -> (Vec<Loaded>, Vec<Problem>) {
    let config::Targets {
        good,
        mut problems,
        warnings,
    } = config::targets(conf_dir);
    for warning in warnings {
        warn!("{warning}");
    }
    let others = Arc::new(others(&conf_dir.join("templates")));
    let mut loaded = Vec::new();
    for target in good {
        problems.extend(no_command(&target, pass));
        let mut templates = Vec::new();
        for output in &target.outputs {
            match compile(output, conf_dir, &others) {
                Ok(template) => {
                    warn_of_time(output, &template);
                    templates.push(template);
                }
                Err(error) => problems.extend(explain(output, conf_dir, &error)),
            }
        }
        loaded.push(Loaded {
            haproxies: Haproxies::of(&target),
            target,
            templates,
            others: Arc::clone(&others),
        });
    }
    // Two targets may share a template.
    let mut seen = Vec::new();
    problems.retain(|problem| {
        !seen.contains(problem) && {
            seen.push(problem.clone());
            true
        }
    });
    (loaded, problems)
}

fn warn_of_time(output: &Output, template: &Template) {
    if template.tells_the_time() {
        warn!(
            "{}: datetime makes every render another one, so the file is published at every change and every --interval",
            output.src.display()
        );
    }
}

/// What a target signals has to be there, unless nothing is to be signalled anyway.
fn no_command(target: &Target, pass: &Pass) -> Option<Problem> {
    let missing = pass.program.is_none() && !pass.noop;
    match target.reload {
        Some(Reload::Child { .. }) if missing => {
            let what = "template.reload.child: there is no command that could be signalled";
            let problem = Problem::in_file(&target.file, None, what);
            Some(problem.hint("sidekick watch -- COMMAND starts one"))
        }
        Some(
            Reload::Child { .. }
            | Reload::Command(_)
            | Reload::Signal { .. }
            | Reload::Unit { .. }
            | Reload::HaproxyMaster(_),
        )
        | None => None,
    }
}

/// What can be said of a target's commands without running them: their syntax, and whether their programs are there.
fn check_commands(loaded: &Loaded) -> Vec<Problem> {
    let target = &loaded.target;
    let reload = match &target.reload {
        Some(Reload::Command(command)) => Some(command),
        Some(
            Reload::Child { .. }
            | Reload::Signal { .. }
            | Reload::Unit { .. }
            | Reload::HaproxyMaster(_),
        )
        | None => None,
    };
    let checks = target.outputs.iter().map(|output| output.check.as_ref());
    let checks = checks.map(|check| ("check_cmd", check));
    let given = checks
        .chain([("reload_cmd", reload)])
        .filter_map(|(key, command)| Some((key, command?)));
    let problems = given.filter_map(|(key, command)| {
        let what = command::mistake(command)?;
        Some(Problem::in_file(
            &target.file,
            None,
            format!("template.{key}: {what}"),
        ))
    });
    problems.collect()
}

fn compile(
    output: &Output,
    conf_dir: &Path,
    others: &[(String, String)],
) -> Result<Template, RenderError> {
    let name = name(&output.src, &conf_dir.join("templates"));
    let others: Vec<(&str, &str)> = others
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_str()))
        .collect();
    if output.src.extension() == Some("tera".as_ref()) {
        Template::compile_among(&name, &output.template, &others)
    } else {
        Template::compile_go(&name, &output.template)
    }
}

/// A template's name for `include` and `extends`: its path below the directory of templates.
fn name(path: &Path, templates: &Path) -> String {
    path.strip_prefix(templates)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// The templates that others may include or extend. One that cannot be read is missed by those who need it only.
fn others(templates: &Path) -> Others {
    let mut found = Vec::new();
    let mut dirs = vec![templates.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "tera")
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.push((name(&path, templates), text));
            }
        }
    }
    found.sort();
    found
}

fn explain(output: &Output, conf_dir: &Path, error: &RenderError) -> Vec<Problem> {
    let templates = conf_dir.join("templates");
    let problem = |fault: &super::render::Fault| {
        let (file, line) = match &fault.place {
            Some((name, line)) if output.src.ends_with(name) => (output.src.clone(), Some(*line)),
            Some((name, line)) => (templates.join(name), Some(*line)),
            None => (output.src.clone(), None),
        };
        let problem = Problem::in_file(&file, line, &fault.what);
        match &fault.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    };
    error.faults().iter().map(problem).collect()
}
