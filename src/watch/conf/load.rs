//! Reads conf.d and compiles the templates of its targets; reports every problem of all of them at once. Shell.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::haproxy::Haproxies;
use super::placeholders;
use crate::config::{
    self, BadTarget, Output, Problem, Reload, Style, Target, WatchOptions, is_tera,
};
use crate::model::suggestion::did_you_mean;
use crate::system::bounded;
use crate::watch::render::{RenderError, Template};

/// A target that is ready to be rendered.
#[derive(Debug)]
pub struct Loaded {
    /// What conf.d says.
    pub target: Target,
    /// The templates of its outputs, in their order.
    pub templates: Vec<Template>,
    /// The `HAProxies` whose servers are changed while they run, in the order of the outputs.
    pub(crate) haproxies: Haproxies,
    /// The templates that its own templates may include or extend.
    others: Arc<Others>,
}

/// Names and sources of templates.
type Others = Vec<(String, String)>;

impl Loaded {
    /// The sources that an output's template may be made of: its own, and those that it may include.
    pub(crate) fn texts<'a>(&'a self, output: &'a Output) -> impl Iterator<Item = &'a str> {
        let others = self.others.iter().map(|(_, text)| text.as_str());
        others.chain([output.template.as_str()])
    }

    /// The other templates of the directory, by their names.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, &str)> {
        let others = self.others.iter();
        others.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Whether both were loaded from the same text.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let shares = self.uses_others() || other.uses_others();
        self.target == other.target && (!shares || self.others == other.others)
    }

    /// Whether one of its templates may include, extend or import another one.
    fn uses_others(&self) -> bool {
        let mut texts = self.target.outputs.iter().map(|output| &output.template);
        texts.any(|text| {
            ["include", "extends", "import"]
                .iter()
                .any(|word| text.contains(word))
        })
    }
}

/// The directories in which a configuration lies, as far as they exist.
pub(crate) fn directories(conf_dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut next: Vec<PathBuf> = ["conf.d", "templates"]
        .map(|name| conf_dir.join(name))
        .into();
    while let Some(dir) = next.pop() {
        // A link to a directory is followed; one that leads in a circle is seen once.
        let Ok(Some((place, below))) = bounded::within(&dir, directory) else {
            continue;
        };
        if found.insert(place) {
            next.extend(below);
        }
    }
    found
}

/// Where a directory lies, and what lies in it: directories, and links, which may lead to some.
fn directory(dir: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    let place = fs::canonicalize(dir).ok()?;
    let entries = fs::read_dir(dir).ok()?.flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()));
    Some((place, below.map(|entry| entry.path()).collect()))
}

/// The paths that may appear or be replaced as a whole: the directory of a configuration, the place that it links to, and
/// the parts that are read. Other files may lie beside those, also rendered ones.
pub(crate) fn links(conf_dir: &Path) -> BTreeSet<PathBuf> {
    let own = std::path::absolute(conf_dir).unwrap_or_else(|_| conf_dir.to_owned());
    let place = fs::canonicalize(conf_dir);
    let parts = ["conf.d", "templates", "confd.toml"].map(|name| own.join(name));
    [own].into_iter().chain(place).chain(parts).collect()
}

/// The targets of a configuration directory.
#[derive(Debug, Default)]
pub struct Configuration {
    /// The targets that can be published.
    pub good: Vec<Loaded>,
    /// The targets in confd's style that have a mistake; the others run without them.
    pub bad: Vec<BadTarget>,
    /// Settings that work, but perhaps not as meant.
    pub warnings: Vec<Problem>,
}

impl Configuration {
    /// The names of all targets.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let good = self.good.iter().map(|one| one.target.name.clone());
        good.chain(self.bad.iter().map(|bad| bad.name.clone()))
            .collect()
    }
}

/// Reads all targets of a directory. `options` say whether there is a command that they can signal.
///
/// # Errors
/// All problems, if there is one outside of the targets in confd's style. A mistake in one of those makes only that target
/// bad.
pub fn load(conf_dir: &Path, options: &WatchOptions) -> Result<Configuration, Vec<Problem>> {
    let Everything {
        good,
        bad,
        problems,
        warnings,
    } = Everything::read(conf_dir, options);
    let is_own = |bad: &BadTarget| bad.style == Style::Own;
    if problems.is_empty() && !bad.iter().any(is_own) {
        return Ok(Configuration {
            good,
            bad,
            warnings,
        });
    }
    Err(all_problems(problems, &bad))
}

/// Reads the targets of these names and logs their warnings; all targets if there is no name. Mistakes in targets that are
/// not named do not matter.
pub fn load_some(conf_dir: &Path, names: &[String]) -> Result<Configuration, LoadError> {
    let configuration = read_some(conf_dir, names)?;
    log_warnings(&configuration.warnings, &[]);
    Ok(configuration)
}

fn read_some(conf_dir: &Path, names: &[String]) -> Result<Configuration, LoadError> {
    if names.is_empty() {
        return load(conf_dir, &WatchOptions::offline()).map_err(LoadError::Bad);
    }
    let mut everything = Everything::read(conf_dir, &WatchOptions::offline());
    everything.keep_named(names)?;
    let Everything {
        good,
        bad,
        problems,
        warnings,
    } = everything;
    let problems = all_problems(problems, &bad);
    if problems.is_empty() {
        Ok(Configuration {
            good,
            bad,
            warnings,
        })
    } else {
        Err(LoadError::Bad(problems))
    }
}

/// Why some targets cannot be had.
#[derive(Debug)]
pub enum LoadError {
    /// Somebody asked for targets that are not there.
    Unknown(Vec<Problem>),
    /// Something is wrong with them.
    Bad(Vec<Problem>),
}

/// All that a directory gives.
pub(crate) struct Everything {
    pub(crate) good: Vec<Loaded>,
    pub(crate) bad: Vec<BadTarget>,
    /// What is wrong with the directory as a whole.
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl Everything {
    pub(crate) fn read(conf_dir: &Path, options: &WatchOptions) -> Self {
        let config::Targets {
            good,
            bad,
            problems,
            warnings,
        } = config::read_targets(conf_dir);
        let mut everything = Self {
            good: Vec::new(),
            bad,
            problems,
            warnings,
        };
        let others = Arc::new(read_others(&conf_dir.join("templates")));
        for target in good {
            everything.compile(target, conf_dir, &others, options);
        }
        everything
            .bad
            .sort_by(|one, other| one.file.cmp(&other.file));
        everything
    }

    fn compile(
        &mut self,
        target: Target,
        conf_dir: &Path,
        others: &Arc<Others>,
        options: &WatchOptions,
    ) {
        let mut problems: Vec<Problem> = missing_command(&target, options).into_iter().collect();
        let mut templates = Vec::new();
        for output in &target.outputs {
            match compile(output, conf_dir, others) {
                Ok(template) => {
                    self.warnings.extend(warning_of_time(output, &template));
                    self.warnings.extend(warning_of_check(&target, output));
                    templates.push(template);
                }
                Err(error) => problems.extend(explain(output, conf_dir, &error)),
            }
        }
        if problems.is_empty() {
            // Without the templates that it does not read, an edit of one of those does not change this target.
            let reads_others = templates.iter().any(Template::reads_others);
            let others = Arc::clone(others);
            self.good.push(Loaded {
                haproxies: Haproxies::of(&target),
                target,
                templates,
                others: if reads_others { others } else { Arc::default() },
            });
        } else {
            self.bad.push(target.into_bad(problems));
        }
    }

    /// Keeps only the targets of these names.
    pub(crate) fn keep_named(&mut self, names: &[String]) -> Result<(), LoadError> {
        let good = self.good.iter().map(|one| &one.target.name);
        let there: Vec<&String> = good.chain(self.bad.iter().map(|bad| &bad.name)).collect();
        let unknown = names.iter().filter(|name| !there.contains(name));
        let unknown: Vec<Problem> = unknown.map(|name| no_target(name, &there)).collect();
        if !unknown.is_empty() {
            return Err(LoadError::Unknown(unknown));
        }
        self.good.retain(|one| names.contains(&one.target.name));
        self.bad.retain(|bad| names.contains(&bad.name));
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.retain(|warning| match &warning.place {
            Some((place, _)) => self.files().any(|file| file == place),
            None => true,
        });
        self.warnings = warnings;
        Ok(())
    }

    /// The files that the targets are read from.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let good = self.good.iter().flat_map(|one| {
            let templates = one.target.outputs.iter().map(|output| &*output.src);
            templates.chain([&*one.target.file])
        });
        good.chain(self.bad.iter().map(|bad| &*bad.file))
    }
}

/// Logs warnings about a configuration, except those that the log has already.
pub(crate) fn log_warnings(warnings: &[Problem], logged: &[Problem]) {
    for warning in warnings.iter().filter(|one| !logged.contains(one)) {
        warn!("{warning}{}", format_hint(warning));
    }
}

/// The hint of a problem in parentheses, as the end of a log line; empty if there is none.
pub(crate) fn format_hint(problem: &Problem) -> String {
    let hint = problem.hint.as_ref();
    hint.map_or_else(String::new, |hint| format!(" ({hint})"))
}

fn no_target(name: &str, there: &[&String]) -> Problem {
    let names = there.iter().map(|name| name.as_str());
    let hint = did_you_mean(name, names.clone()).unwrap_or_else(|| {
        let names: Vec<&str> = names.collect();
        format!("there are {}", names.join(", "))
    });
    let problem = Problem::with(format!("there is no target {name:?}"));
    if there.is_empty() {
        problem
    } else {
        problem.hint(hint)
    }
}

/// The problems of all targets and of the bad ones, each once.
pub(crate) fn all_problems(of_all: Vec<Problem>, bad: &[BadTarget]) -> Vec<Problem> {
    let of_targets = bad.iter().flat_map(|bad| bad.problems.iter().cloned());
    without_doubles(of_all.into_iter().chain(of_targets).collect())
}

/// Each problem once. Two targets may share a template, and so the problems in it.
pub(crate) fn without_doubles(problems: Vec<Problem>) -> Vec<Problem> {
    let mut seen = Vec::new();
    for problem in problems {
        if !seen.contains(&problem) {
            seen.push(problem);
        }
    }
    seen
}

fn warning_of_time(output: &Output, template: &Template) -> Option<Problem> {
    let what = "datetime gives another text each time, so the file is published at every change and every --interval";
    template
        .depends_on_time()
        .then(|| Problem::in_file(&output.src, None, what))
}

fn warning_of_check(target: &Target, output: &Output) -> Option<Problem> {
    let check = output.check.as_ref();
    let check = check.filter(|check| placeholders::judges_in_place(check))?;
    let what = format!(
        "template.check_cmd: `{check}` names neither {{{{src}}}} nor {{{{tree}}}}, so it can judge a new file only after it \
         has replaced {}",
        output.dest.display()
    );
    let hint = "it runs after that and before the reload; if it refuses the new file, the previous one is restored";
    Some(Problem::in_file(&target.file, None, what).hint(hint))
}

/// The problem of a target that reloads the command of `sidekick watch` where there is none; `--noop` needs none.
fn missing_command(target: &Target, options: &WatchOptions) -> Option<Problem> {
    let missing = options.program.is_none() && !options.noop;
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

fn compile(
    output: &Output,
    conf_dir: &Path,
    others: &[(String, String)],
) -> Result<Template, RenderError> {
    let name = template_name(&output.src, &conf_dir.join("templates"));
    // A template includes only templates of its own language.
    let others: Vec<(&str, &str)> = others
        .iter()
        .filter(|(name, _)| is_tera(Path::new(name)) == is_tera(&output.src))
        .map(|(n, s)| (n.as_str(), s.as_str()))
        .collect();
    if is_tera(&output.src) {
        Template::compile_among(&name, &output.template, &others)
    } else {
        Template::compile_go(&name, &output.template, &others)
    }
}

/// A template's name for `include` and `extends`: its path below the directory of templates.
fn template_name(path: &Path, templates: &Path) -> String {
    path.strip_prefix(templates)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// Reads the templates that others may include or extend. One that cannot be read is a mistake only in a template that
/// includes it.
fn read_others(templates: &Path) -> Others {
    let mut found = Vec::new();
    let mut dirs = vec![templates.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(path);
            } else if let Ok(Ok(text)) = bounded::within(&path, |path| fs::read_to_string(path)) {
                found.push((template_name(&path, templates), text));
            }
        }
    }
    found.sort();
    found
}

/// The faults of a render error as problems, each with its file and line.
pub(crate) fn explain(output: &Output, conf_dir: &Path, error: &RenderError) -> Vec<Problem> {
    let templates = conf_dir.join("templates");
    let problem = |fault: &crate::watch::render::Fault| {
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
