//! The settings of conf.d for reloads: how a program is asked to reload, and how far reloads are apart.

use super::Reload;
use crate::config::parse_duration;
use crate::config::path::parse_absolute_path;
use crate::config::toml_fields::TomlTable;
use crate::config::toml_file::TomlFile;
use crate::model::os::Signal;
use crate::model::pace::Pace;

pub(super) fn read_reload(
    table: &mut TomlTable<'_, '_>,
    document: &TomlFile<'_>,
) -> Option<Reload> {
    let command = table.string("reload_cmd");
    let table = table.table("reload");
    if let (Some(command), Some(_)) = (&command, &table) {
        document.report(
            &command.span,
            "template.reload_cmd and [template.reload] exclude each other",
        );
    }
    let Some(mut table) = table else {
        return command.map(|command| Reload::Command(command.value));
    };
    let reload = read_way(&mut table, document);
    table.finish(&[
        "signal",
        "pidfile",
        "child",
        "systemd_unit",
        "haproxy_master",
        "verify",
    ]);
    reload
}

/// The keys that name what is asked to reload; a table has one of them.
const WAYS: [&str; 4] = ["pidfile", "child", "systemd_unit", "haproxy_master"];

fn read_way(table: &mut TomlTable<'_, '_>, document: &TomlFile<'_>) -> Option<Reload> {
    let given: Vec<&str> = WAYS.into_iter().filter(|key| table.has(key)).collect();
    let (has_signal, has_verify) = (table.has("signal"), table.has("verify"));
    let signal = table.parsed("signal", str::parse::<Signal>);
    let pidfile = table.parsed("pidfile", parse_absolute_path);
    let child = table.flag("child");
    let unit = table.parsed("systemd_unit", parse_unit);
    let master = table.parsed("haproxy_master", parse_absolute_path);
    let verify = table.flag("verify").unwrap_or(true);
    if let [first, second, ..] = given.as_slice() {
        let what =
            format!("template.reload.{first} and template.reload.{second} exclude each other");
        document.report(table.span(), what);
        return None;
    }
    let needs_signal = !given.contains(&"systemd_unit") && !given.contains(&"haproxy_master");
    if needs_signal && !has_signal {
        let what = "template.reload.signal is missing, \"HUP\" for example";
        // A unit and HAProxy's master need no signal.
        table.note_missing(&["signal", "systemd_unit", "haproxy_master"], what, None);
        return None;
    }
    if given.is_empty() || child == Some(false) {
        let what =
            "template.reload.pidfile is missing: the file with the id of the process to signal";
        let hint = "other ways are child = true (the command of `sidekick watch -- COMMAND`), systemd_unit and \
                    haproxy_master";
        table.note_missing(&WAYS, what, Some(hint));
        return None;
    }
    if let Some(socket) = master {
        for (has, key) in [(has_signal, "signal"), (has_verify, "verify")] {
            if has {
                let what = format!(
                    "template.reload.{key} has no effect with haproxy_master: the master gets the command `reload`, and \
                     answers whether the reload has succeeded"
                );
                document.report(table.span(), what);
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

/// Parses the name of a unit. A name without an ending gets `.service`, as with systemctl.
fn parse_unit(text: &str) -> Result<String, String> {
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

/// Reads the table `pace`, if there is one.
pub(super) fn read_pace(table: &mut TomlTable<'_, '_>) -> Option<Pace> {
    let default = Pace::default();
    let mut table = table.table("pace")?;
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
