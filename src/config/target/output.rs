//! The settings of one file in a table of conf.d: its template, destination, sources and access.

use std::fs;
use std::path::{Path, PathBuf};

use super::haproxy::read_haproxy;
use super::{Output, Owner, Sources};
use crate::config::toml_fields::{Located, TomlTable};
use crate::config::toml_file::TomlFile;
use crate::model::instance::ServiceName;
use crate::model::prefix::Prefix;
use crate::model::suggestion::did_you_mean;
use crate::system::bounded;

/// Reads the settings in a table that concern its own file.
pub(super) fn read_output(
    table: &mut TomlTable<'_, '_>,
    document: &TomlFile<'_>,
    conf_dir: &Path,
    root: Prefix,
) -> Option<Output> {
    let source = read_template(table, document, conf_dir);
    let dest = read_dest(table);
    let sources = read_sources(table, document);
    let make_dirs = table.flag("make_dirs");
    let mode = table.parsed("mode", parse_mode);
    let owner = read_owner(table, document);
    let haproxy = read_haproxy(table);
    let check = table.string("check_cmd").map(|command| command.value);
    let (src, template) = source?;
    Some(Output {
        src,
        template,
        dest: dest?,
        sources: sources?,
        make_dirs: make_dirs.unwrap_or(false),
        root,
        mode,
        owner,
        check,
        haproxy,
    })
}

fn read_template(
    table: &mut TomlTable<'_, '_>,
    document: &TomlFile<'_>,
    conf_dir: &Path,
) -> Option<(PathBuf, String)> {
    if !table.has("src") {
        let what = "template.src is missing: the template's file in the directory templates";
        table.note_missing(&["src"], what, None);
        return None;
    }
    let src = table.string("src")?;
    let path = conf_dir.join("templates").join(&src.value);
    match bounded::within(&path, |path| fs::read_to_string(path)).flatten() {
        Ok(text) => Some((path, text)),
        Err(error) => {
            let what = format!("template.src: {} cannot be read: {error}", path.display());
            document.report_with_hint(&src.span, what, suggest_similar(&path).as_deref());
            None
        }
    }
}

/// A hint with the file beside a missing one that was probably meant.
fn suggest_similar(missing: &Path) -> Option<String> {
    let entries = fs::read_dir(missing.parent()?).ok()?.flatten();
    let names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let wanted = missing.file_name()?.to_str()?;
    did_you_mean(wanted, names.iter().map(String::as_str))
}

fn read_dest(table: &mut TomlTable<'_, '_>) -> Option<PathBuf> {
    if !table.has("dest") {
        table.note_missing(
            &["dest"],
            "template.dest is missing: the file to write",
            None,
        );
        return None;
    }
    table.parsed("dest", |text| {
        let path = Path::new(text);
        if path.is_absolute() && path.file_name().is_some() && !text.ends_with('/') {
            Ok(path.to_owned())
        } else {
            Err(format!("{text:?} is not the absolute path of a file"))
        }
    })
}

fn read_sources(table: &mut TomlTable<'_, '_>, document: &TomlFile<'_>) -> Option<Sources> {
    let before = document.problem_count();
    let services = table.list("services", Wanted::parse);
    let keys = table.list("keys", Prefix::parse);
    // A list with mistakes counts neither as empty nor as absent.
    if document.problem_count() > before {
        return None;
    }
    let not_empty = |located: &Located<Vec<_>>| !located.value.is_empty();
    match (services, keys) {
        (Some(services), None) if !services.value.is_empty() => {
            sources_of_services(&services, document)
        }
        (None, Some(keys)) if not_empty(&keys) => Some(Sources::Keys(keys.value)),
        (Some(services), Some(_)) => {
            document.report(
                &services.span,
                "template.services and template.keys exclude each other",
            );
            None
        }
        (Some(Located { span, .. }), None) | (None, Some(Located { span, .. })) => {
            document.report(
                &span,
                "the list is empty, so nothing would ever be rendered",
            );
            None
        }
        (None, None) => {
            table.note_missing(
                &["services", "keys"],
                "template.services or template.keys is missing: what the template reads from the store",
                Some("services = [\"*\"], services = [\"web\"] or keys = [\"/services\"]"),
            );
            None
        }
    }
}

/// An element of `services`.
enum Wanted {
    /// `"*"`
    All,
    One(ServiceName),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::All),
            name if name.contains('*') => Err(format!(
                "{name:?} is not a service: \"*\" alone stands for every service, and a part of a name for none"
            )),
            name => match name.parse() {
                Ok(name) => Ok(Self::One(name)),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

fn sources_of_services(
    services: &Located<Vec<Wanted>>,
    document: &TomlFile<'_>,
) -> Option<Sources> {
    let names = services.value.iter().filter_map(|wanted| match wanted {
        Wanted::All => None,
        Wanted::One(name) => Some(name.clone()),
    });
    let names: Vec<ServiceName> = names.collect();
    if names.len() == services.value.len() {
        return Some(Sources::Services(names));
    }
    if !names.is_empty() {
        document.report(
            &services.span,
            "template.services: \"*\" is every service already, so it stands alone",
        );
        return None;
    }
    Some(Sources::AllServices)
}

/// Parses permission bits: `644`, `0644` and, as Go and TOML write it, `0o644`.
fn parse_mode(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix("0o").or_else(|| text.strip_prefix("0O"));
    let number = number.unwrap_or(text);
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    match u32::from_str_radix(number, 8) {
        Ok(mode) if digits && mode <= 0o7777 => Ok(mode),
        Ok(_) | Err(_) => Err(format!("{text:?} is not an octal mode such as 0644")),
    }
}

fn read_owner(table: &mut TomlTable<'_, '_>, document: &TomlFile<'_>) -> Owner {
    for (name, number) in [("owner", "uid"), ("group", "gid")] {
        if table.has(name) && table.has(number) {
            document.report(
                table.span(),
                format!("template.{name} and template.{number} exclude each other"),
            );
        }
    }
    let user = table.parsed("owner", |name| match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(format!("there is no user {name:?} on this host")),
        Err(error) => Err(format!("user {name:?} cannot be looked up: {error}")),
    });
    let group = table.parsed("group", |name| match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group {name:?} on this host")),
        Err(error) => Err(format!("group {name:?} cannot be looked up: {error}")),
    });
    Owner {
        uid: table.number("uid").or(user),
        gid: table.number("gid").or(group),
    }
}
