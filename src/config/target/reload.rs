//! How conf.d says that a program is told of a new file, and how fast.

use std::path::{Path, PathBuf};

use super::Reload;
use crate::config::parse_duration;
use crate::config::toml_file::Document;
use crate::config::toml_table::Section;
use crate::model::os::Signal;
use crate::model::pace::Pace;

pub(super) fn reload(section: &mut Section<'_, '_>, document: &Document<'_>) -> Option<Reload> {
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
    let told = way(&mut table, document);
    table.finish(&[
        "signal",
        "pidfile",
        "child",
        "systemd_unit",
        "haproxy_master",
        "verify",
    ]);
    told
}

/// The ways of a table, each by the key that names whom to tell.
const WAYS: [&str; 4] = ["pidfile", "child", "systemd_unit", "haproxy_master"];

fn way(table: &mut Section<'_, '_>, document: &Document<'_>) -> Option<Reload> {
    let given: Vec<&str> = WAYS.into_iter().filter(|key| table.has(key)).collect();
    let (has_signal, has_verify) = (table.has("signal"), table.has("verify"));
    let signal = table.parsed("signal", str::parse::<Signal>);
    let pidfile = table.parsed("pidfile", absolute);
    let child = table.flag("child");
    let unit = table.parsed("systemd_unit", unit);
    let master = table.parsed("haproxy_master", absolute);
    let verify = table.flag("verify").unwrap_or(true);
    if let [first, second, ..] = given.as_slice() {
        let what =
            format!("template.reload.{first} and template.reload.{second} exclude each other");
        document.say(table.span(), what);
        return None;
    }
    let needs_signal = !given.contains(&"systemd_unit") && !given.contains(&"haproxy_master");
    if needs_signal && !has_signal {
        let what = "template.reload.signal is missing, \"HUP\" for example";
        // A unit and HAProxy's master can be told without one.
        table.miss(&["signal", "systemd_unit", "haproxy_master"], what, None);
        return None;
    }
    if given.is_empty() || child == Some(false) {
        let what =
            "template.reload.pidfile is missing: the file with the id of the process to signal";
        let hint = "child = true signals the command of `sidekick watch -- COMMAND`; systemd_unit and haproxy_master \
                    name others that can be told";
        table.miss(&WAYS, what, Some(hint));
        return None;
    }
    if let Some(socket) = master {
        for (has, key) in [(has_signal, "signal"), (has_verify, "verify")] {
            if has {
                let what = format!(
                    "template.reload.{key} has no meaning with haproxy_master: the master is told by its command \
                     `reload`, and says itself what becomes of it"
                );
                document.say(table.span(), what);
            }
        }
        return Some(Reload::HaproxyMaster(socket));
    }
    if let Some(unit) = unit {
        return Some(Reload::Unit {
            unit,
            signal,
            verify,
        });
    }
    match (child, pidfile) {
        (Some(true), _) => Some(Reload::Child {
            signal: signal?,
            verify,
        }),
        (_, pidfile) => Some(Reload::Signal {
            signal: signal?,
            pidfile: pidfile?,
            verify,
        }),
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    match Path::new(text) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(format!("{text:?} is not an absolute path")),
    }
}

/// A unit's whole name; without an ending it is a service's, as systemctl has it.
fn unit(text: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if text.is_empty() || text.len() > 255 || !text.bytes().all(fine) {
        return Err(format!(
            "{text:?} is not the name of a unit such as nginx.service"
        ));
    }
    let is_whole = text.contains('.');
    Ok(if is_whole {
        text.to_owned()
    } else {
        format!("{text}.service")
    })
}

/// The table `pace`, if there is one.
pub(super) fn pace(section: &mut Section<'_, '_>) -> Option<Pace> {
    let default = Pace::default();
    let mut table = section.section("pace")?;
    let pace = Pace {
        settle: table
            .time("settle", parse_duration)
            .unwrap_or(default.settle),
        max_wait: table
            .time("max_wait", parse_duration)
            .unwrap_or(default.max_wait),
        min_interval: table
            .time("min_interval", parse_duration)
            .unwrap_or(default.min_interval),
    };
    table.finish(&["settle", "max_wait", "min_interval"]);
    Some(pace)
}
