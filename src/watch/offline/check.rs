//! `sidekick check`: finds mistakes in a configuration without a store and without running any of its commands. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Output, Problem, Reload, Sources, Target, WatchOptions, is_tera};
use crate::model::catalog::Catalog;
use crate::model::instance::ServiceName;
use crate::model::key::Entries;
use crate::model::keyspace::DEFAULT_PREFIX;
use crate::model::prefix::Prefix;
use crate::model::update::{Snapshot, Update};
use crate::system::command;
use crate::watch::conf::load::{
    Everything, LoadError, Loaded, all_problems, explain, without_doubles,
};
use crate::watch::conf::placeholders;
use crate::watch::render::{Cause, Fault, Host, Mistakes, RenderError, Template, View};

/// The findings of `sidekick check`.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many targets were checked.
    pub targets: usize,
    /// Problems that have to be corrected.
    pub mistakes: Vec<Problem>,
    /// Settings that may be wrong.
    pub warnings: Vec<Problem>,
}

/// Checks the targets of these names, or all if there is no name, without running any command.
pub fn check(conf_dir: &Path, names: &[String]) -> Result<Findings, LoadError> {
    let mut everything = Everything::read(conf_dir, &WatchOptions::offline());
    if !names.is_empty() {
        everything.keep_named(names)?;
    }
    let Everything {
        good,
        bad,
        problems,
        mut warnings,
    } = everything;
    let mut mistakes = all_problems(problems, &bad);
    for loaded in &good {
        mistakes.extend(
            commands(&loaded.target).filter_map(|one| command_mistake(&loaded.target, one)),
        );
        warnings
            .extend(commands(&loaded.target).flat_map(|one| unknown_actions(&loaded.target, one)));
        for (output, template) in loaded.target.outputs.iter().zip(&loaded.templates) {
            mistakes.extend(expression_in_dest(&loaded.target, output));
            warnings.extend(missing_directory(&loaded.target, output));
            let names = UndefinedNames::find(loaded, output, template, conf_dir);
            mistakes.extend(names.certain);
            warnings.extend(names.doubtful);
        }
    }
    Ok(Findings {
        targets: good.len() + bad.len(),
        mistakes: without_doubles(mistakes),
        warnings: without_doubles(warnings),
    })
}

/// A command, and the field it stands in.
type Command<'a> = (&'static str, &'a str);

fn commands(target: &Target) -> impl Iterator<Item = Command<'_>> {
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
    let given = checks.chain([("reload_cmd", reload)]);
    given.filter_map(|(key, command)| Some((key, command?.as_str())))
}

/// The mistake in a command: in its syntax, or a program that does not exist.
fn command_mistake(target: &Target, (key, command): Command<'_>) -> Option<Problem> {
    let what = command::mistake(command)?;
    Some(at(target, command, format!("template.{key}: {what}")))
}

/// A warning for each action in a command that names nothing it could stand for.
fn unknown_actions<'a>(
    target: &'a Target,
    (key, command): Command<'a>,
) -> impl Iterator<Item = Problem> {
    let is_check = key == "check_cmd";
    let names = if is_check {
        "{{src}}, {{dest}} or {{tree}}"
    } else {
        "{{src}} or {{dest}}"
    };
    placeholders::find_unknown(command, is_check)
        .into_iter()
        .map(move |text| {
            let what =
                format!("template.{key}: {text} is not {names}, so the shell gets it as it stands");
            at(target, text, what)
        })
}

/// The mistake of an expression in `dest`. Nothing evaluates it, so it would be part of the file's name.
fn expression_in_dest(target: &Target, output: &Output) -> Option<Problem> {
    let dest = output.dest.to_str()?;
    let mark = ["{{", "{%", "${", "$("]
        .into_iter()
        .find(|mark| dest.contains(mark))?;
    let what = format!(
        "template.dest: {mark:?} begins no expression here, and would be in the name of the file"
    );
    Some(at(target, dest, what).hint("dest is taken as it stands; give one target for each file"))
}

fn missing_directory(target: &Target, output: &Output) -> Option<Problem> {
    let dir = output.dest.parent()?;
    if output.make_dirs || dir.is_dir() {
        return None;
    }
    let dest = output.dest.to_string_lossy();
    let what = format!("template.dest: there is no directory {}", dir.display());
    Some(at(target, &dest, what).hint("make_dirs = true makes it"))
}

/// A problem on the line of the target's file that has this text.
fn at(target: &Target, text: &str, what: String) -> Problem {
    let file = fs::read_to_string(&target.file).unwrap_or_default();
    let line = file.lines().position(|line| line.contains(text));
    Problem::in_file(&target.file, line.map(|line| line + 1), what)
}

/// The names in a template that stand for nothing.
#[derive(Debug, Default)]
struct UndefinedNames {
    /// Names at which every render fails.
    certain: Vec<Problem>,
    /// Names at which a render fails, or goes on with an empty value, for an instance that announces nothing optional.
    doubtful: Vec<Problem>,
}

impl UndefinedNames {
    /// Follows the template through every branch, and then renders it from made-up instances, which also finds names that
    /// depend on the results of functions.
    fn find(loaded: &Loaded, output: &Output, template: &Template, conf_dir: &Path) -> Self {
        let services = match &output.sources {
            Sources::Services(services) => Some(services.as_slice()),
            Sources::AllServices | Sources::Keys(_) => None,
        };
        let others: Vec<(&str, &str)> = loaded.others().collect();
        let Mistakes { certain, doubtful } = template.mistakes(&output.template, &others, services);
        let explained = |error: &RenderError| explain(output, conf_dir, error);
        let mut names = Self {
            certain: certain.iter().flat_map(explained).collect(),
            doubtful: doubtful.iter().flat_map(explained).collect(),
        };
        let follows_services = match output.sources {
            Sources::Services(_) | Sources::AllServices => true,
            Sources::Keys(_) => false,
        };
        if follows_services && is_tera(&output.src) && names.certain.is_empty() {
            names.render(loaded, output, template, conf_dir);
        }
        names
    }

    /// Renders the template from made-up instances. Only an undefined name, or a service that the target does not follow,
    /// counts: any other failure may not happen with the real instances.
    fn render(&mut self, loaded: &Loaded, output: &Output, template: &Template, conf_dir: &Path) {
        let text: String = loaded.texts(output).collect();
        let problems = |whole: bool| -> Vec<Problem> {
            let view = made_up_view(&loaded.target, output, &text, whole);
            match template.render(&view) {
                Err(error) if error.faults().iter().any(|fault| is_certain(fault, &text)) => {
                    explain(output, conf_dir, &error)
                }
                Err(_) | Ok(_) => Vec::new(),
            }
        };
        self.certain = problems(true);
        if self.certain.is_empty() {
            let hint = "default(value=...) gives a value to what an instance does not announce";
            let sometimes = problems(false).into_iter().map(|problem| Problem {
                what: format!(
                    "an instance that announces no more than an address and a port stops this target: {}",
                    problem.what
                ),
                ..problem
            });
            self.doubtful
                .extend(sometimes.map(|problem| problem.hint(hint)));
        }
    }
}

/// Whether a fault in a render of made-up instances would be one with real instances as well. A service that is not followed
/// counts only if its name stands in a template; otherwise the template has made the name from made-up values.
fn is_certain(fault: &Fault, text: &str) -> bool {
    match &fault.cause {
        Cause::Undefined => true,
        Cause::NotFollowed(service) => ['"', '\'', '`']
            .iter()
            .any(|quote| text.contains(&format!("{quote}{service}{quote}"))),
        Cause::Other => false,
    }
}

/// A view of made-up instances for an output. `whole` instances have everything that the template can ask for.
fn made_up_view(target: &Target, output: &Output, text: &str, whole: bool) -> View {
    let prefix = Prefix::parse(DEFAULT_PREFIX).unwrap_or_else(|_| Prefix::root());
    let (services, keys) = match &output.sources {
        Sources::Services(services) => (services.clone(), Vec::new()),
        Sources::AllServices | Sources::Keys(_) => (Vec::new(), vec![prefix.clone()]),
    };
    let mut names: BTreeSet<&str> = services.iter().map(ServiceName::as_str).collect();
    if services.is_empty() {
        names.extend(names_read(text, "services"));
        names.insert("made-up");
    }
    let mut entries = Entries::new();
    for name in names {
        let dir = format!("{prefix}/{name}/made-up");
        let mut put = |field: &str, value: &str| {
            entries.insert(format!("{dir}/{field}").into(), value.as_bytes().into());
        };
        put("ip", "192.0.2.1");
        put("port", "80");
        if !whole {
            continue;
        }
        put("host", "made-up.example.org");
        put("weight", "100");
        for port in names_read(text, "ports") {
            put(&format!("{port}-port"), "8080");
        }
        for attribute in names_read(text, "attrs") {
            put(attribute, "made-up");
        }
    }
    let mut catalog = Catalog::new(prefix);
    let snapshot = Snapshot {
        entries,
        ..Snapshot::default()
    };
    catalog.apply(&Prefix::root(), Update::Reset(snapshot));
    View {
        target: target.name.clone(),
        catalog: Arc::new(catalog),
        services,
        keys,
        root: output.root.clone(),
        env: Arc::new(BTreeMap::new()),
        host: Host::empty(),
    }
}

/// The names that a text reads from a map, as in `attrs.vhost` or `attrs["a/b"]`.
fn names_read<'a>(text: &'a str, map: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(map).skip(1).filter_map(move |rest| {
        let name = if let Some(rest) = rest.strip_prefix('.') {
            &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
        } else {
            let rest = rest.strip_prefix('[')?;
            let quote = rest
                .chars()
                .next()
                .filter(|c| ['"', '\'', '`'].contains(c))?;
            rest[1..].split_once(quote)?.0
        };
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_from_a_map_are_found_in_every_form() {
        let text = r#"{{ i.attrs.vhost }}{{ i.attrs["a/b"] }}{{ i.attrs['c'] }}{{ i.attrs | length }}{{ attrs[x] }}"#;
        assert_eq!(
            names_read(text, "attrs").collect::<Vec<_>>(),
            ["vhost", "a/b", "c"]
        );
    }
}
