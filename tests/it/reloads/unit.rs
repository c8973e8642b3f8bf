//! Units of a real systemd, told over D-Bus.

use crate::harness::docker::said;
use crate::systemd::Booted;

/// Units by what becomes of their reload, each with further lines.
const UNITS: [(&str, &str); 5] = [
    (
        "good",
        "ExecReload=/usr/bin/sh -c 'echo $$0 >>/run/reloads' good",
    ),
    ("failing", "ExecReload=/usr/bin/false"),
    ("mute", ""),
    ("slow", "ExecReload=/usr/bin/sleep 1000"),
    ("stopped", "ExecReload=/usr/bin/false"),
];

/// Installs the units, and a target for each, and for one that is not there.
fn install(booted: &Booted) {
    let mut script =
        "mkdir -p /run/conf/conf.d /run/conf/templates; echo text >/run/conf/templates/a.tera\n"
            .to_owned();
    for (name, lines) in UNITS.iter().chain(&[("unknown", ""), ("signalled", "")]) {
        if *name != "unknown" {
            script = format!(
                "{script}cat >/run/systemd/system/{name}.service <<'END'\n[Service]\nExecStart=/usr/bin/sleep infinity\n{lines}\nEND\n"
            );
        }
        let signal = if *name == "signalled" {
            "signal = 'HUP'\n"
        } else {
            ""
        };
        // The other reloads end by themselves, however slow the machine is.
        let timeout = if *name == "slow" { "3s" } else { "60s" };
        script = format!(
            "{script}cat >/run/conf/conf.d/{name}.toml <<'END'\n[template]\nsrc = 'a.tera'\ndest = '/run/{name}.out'\nkeys = ['/services']\n\
             reload_timeout = '{timeout}'\n[template.reload]\nsystemd_unit = '{name}'\n{signal}END\n"
        );
    }
    booted.shell(&script);
    booted.shell("systemctl daemon-reload; systemctl start good failing mute slow signalled");
}

/// What `sidekick watch --once` says, run by `prefix`.
fn watch(booted: &Booted, prefix: &str) -> String {
    let script = format!(
        "rm -rf /run/*.out /run/state; mkdir -p /run/store/services; chmod 777 /run; {prefix} timeout 100 /usr/local/bin/sidekick watch --once --timeout 60s --conf-dir /run/conf \
         --store dir:///run/store --state-dir /run/state 2>&1"
    );
    said(&booted.container.exec(&["sh", "-c", &script]))
}

#[track_caller]
fn each_is_told(said: &str) {
    let line = |name: &str| {
        let lines = said.lines();
        let mut lines = lines.filter(|line| line.contains(&format!(" {name}")));
        lines
            .next()
            .unwrap_or_else(|| panic!("{name}: {said}"))
            .to_owned()
    };
    for (name, want) in [
        ("good:", "/run/good.out has been updated"),
        (
            "failing:",
            "the reload of failing.service ended with \"failed\"; see journalctl -u failing.service",
        ),
        (
            "mute:",
            "mute.service cannot be reloaded: its unit has no ExecReload=",
        ),
        (
            "slow:",
            "the reload of slow.service has not ended within 3 s",
        ),
        (
            "stopped.service",
            "does not run; it will find the new file when it starts",
        ),
        ("stopped:", "/run/stopped.out has been updated"),
        ("unknown:", "systemd knows no unit unknown.service"),
        ("signalled:", "/run/signalled.out has been updated"),
    ] {
        assert!(line(name).contains(want), "{name}: {}\n{said}", line(name));
    }
}

#[test]
fn systemd_is_asked_over_the_bus_to_reload_a_unit() {
    let Some(booted) = Booted::new() else { return };
    booted.run(&["systemctl", "start", "dbus"]);
    install(&booted);
    each_is_told(&watch(&booted, ""));
    assert_eq!(booted.shell("cat /run/reloads"), "good\n");
    // It ended at a signal that it does not handle.
    assert_eq!(booted.show("signalled", "ActiveState"), "inactive");

    // Somebody who may not.
    let said = watch(&booted, "setpriv --reuid=65534 --clear-groups");
    assert!(
        said.contains("systemd does not let us reload good.service"),
        "{said}"
    );
    assert!(
        said.contains("polkit rule for org.freedesktop.systemd1.manage-units"),
        "{said}"
    );

    let said = watch(
        &booted,
        "env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/nothing",
    );
    assert!(
        said.contains("systemd cannot be reached at unix:path=/run/nothing"),
        "{said}"
    );
}

#[test]
fn without_a_bus_the_error_names_what_is_missing() {
    let Some(booted) = Booted::new() else { return };
    booted.shell("systemctl stop dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket");
    install(&booted);
    let said = watch(&booted, "");
    let want = "systemd cannot be reached at unix:path=/run/dbus/system_bus_socket";
    assert!(said.contains(want), "{said}");
}
