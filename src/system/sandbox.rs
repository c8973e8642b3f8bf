//! What a unit of systemd keeps its process from writing, and how an operator allows it. Adapter.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// An error of a write to `file`, with what to do about it where the unit that we run in is the likely reason.
#[must_use]
pub fn explain(error: io::Error, file: &Path) -> io::Error {
    let Some(unit) = own_unit() else {
        return error;
    };
    match advice(&error, file, &unit) {
        Some(advice) => io::Error::new(error.kind(), format!("{error}; {advice}")),
        None => error,
    }
}

/// The unit of systemd that this process belongs to; `None` in a session of a user, in a container, or without systemd.
fn own_unit() -> Option<String> {
    env::var_os("INVOCATION_ID")?;
    unit_of(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The service in the text of `/proc/PID/cgroup`.
fn unit_of(cgroups: &str) -> Option<String> {
    let names = cgroups.lines().filter_map(|line| line.rsplit('/').next());
    let mut services = names.filter(|name| name.ends_with(".service"));
    services.next().map(str::to_owned)
}

fn advice(error: &io::Error, file: &Path, unit: &str) -> Option<String> {
    let is_unit_likely = matches!(
        error.kind(),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
    );
    let dir = file.parent().filter(|_| is_unit_likely)?;
    // A path that is missing when the unit starts stays read-only.
    let make = if dir.is_dir() {
        String::new()
    } else {
        format!("make the directory {}, ", dir.display())
    };
    Some(format!(
        "{unit} may write only to the directories in its ReadWritePaths=: {make}add ReadWritePaths={} to its [Service] \
         section by `systemctl edit {unit}`, and restart it",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_service_at_the_end_of_the_path_of_the_control_group() {
        for (text, unit) in [
            (
                "0::/system.slice/sidekick-watch.service\n",
                Some("sidekick-watch.service"),
            ),
            (
                "12:pids:/system.slice/a.service\n1:name=systemd:/system.slice/a.service\n0::/\n",
                Some("a.service"),
            ),
            (
                "0::/system.slice/system-sidekick\\x2dregister.slice/sidekick-register@web.service\n",
                Some("sidekick-register@web.service"),
            ),
            (
                "0::/user.slice/user-0.slice/user@0.service/app.slice/shell.scope\n",
                None,
            ),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of(text).as_deref(), unit, "{text}");
        }
    }

    #[test]
    fn only_a_write_that_was_not_allowed_is_explained_by_the_unit() {
        let dir = tempfile::tempdir().unwrap();
        let advice = |kind: ErrorKind, name: &str| {
            super::advice(&kind.into(), &dir.path().join(name), "a.service")
        };
        for kind in [ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied] {
            let text = advice(kind, "file").unwrap();
            let wanted = format!("add ReadWritePaths={} to", dir.path().display());
            assert!(text.contains(&wanted), "{text}");
            assert!(!text.contains("make the directory"), "{text}");
            let text = advice(kind, "none/file").unwrap();
            assert!(text.contains("/none, add ReadWritePaths="), "{text}");
        }
        assert_eq!(advice(ErrorKind::NotFound, "file"), None);
        assert_eq!(advice(ErrorKind::StorageFull, "file"), None);
    }
}
