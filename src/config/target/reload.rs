//! How conf.d says that a program is told of a new file, and how fast.

use std::path::Path;

use super::super::document::{Document, Section};
use super::super::parse_duration;
use super::Reload;
use crate::model::facts::Signal;
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

/// The table `pace`, if there is one.
pub(super) fn pace(section: &mut Section<'_, '_>) -> Option<Pace> {
    let default = Pace::default();
    let mut table = section.section("pace")?;
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
    Some(pace)
}
