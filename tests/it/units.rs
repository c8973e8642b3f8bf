//! What the shipped units and drop-ins let `sidekick` do, and how they end, run by a real systemd in a container.

use std::fs;
use std::path::Path;

use crate::harness::docker::said;
use crate::harness::{skipped, tool, wait_for};
use crate::shipped::root;
use crate::systemd::{Booted, shipped};

/// The directories that the packages of the examples' programs make.
const DIRECTORIES: &str = "/etc/app /etc/dnsmasq.hosts /etc/elasticsearch /etc/kibana /etc/logstash-forwarder \
                           /etc/mysql/mariadb.conf.d /etc/prometheus /etc/apache2/sites-enabled /etc/nginx/conf.d";

/// Installs all example targets in place of the shipped one; how many there are.
fn install_examples(booted: &Booted) -> usize {
    // With a file of before and nothing announced a guard would keep that file.
    booted.shell("rm /etc/sidekick/conf.d/* /etc/haproxy/haproxy.cfg");
    for entry in fs::read_dir(root().join("templates/examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let template = shipped(&format!("templates/examples/{name}"));
        booted.write(
            &format!("/etc/sidekick/templates/examples/{name}"),
            &template,
        );
    }
    for entry in fs::read_dir(root().join("templates")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "tera") {
            let name = path.file_name().unwrap().to_str().unwrap();
            let template = shipped(&format!("templates/{name}"));
            booted.write(&format!("/etc/sidekick/templates/{name}"), &template);
        }
    }
    let has_promtool = booted
        .container
        .exec(&["which", "promtool"])
        .status
        .success();
    let mut count = 0;
    for entry in fs::read_dir(root().join("conf.d/examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let mut text = shipped(&format!("conf.d/examples/{name}"));
        if name == "prometheus.toml" && !has_promtool {
            skipped("promtool is not there: what it says of the example is not asked for");
            text = text.replace("promtool check config", "true");
        }
        // Of the two for Apache one is used on a real host.
        let single = "sites-enabled/sidekick-single.conf";
        if name == "apache-single.toml" {
            text = text.replace("sites-enabled/sidekick.conf", single);
        }
        booted.write(&format!("/etc/sidekick/conf.d/{name}"), &text);
        count += 1;
    }
    booted.shell(&format!("mkdir -p {DIRECTORIES}"));
    // Debian's /usr/bin/php is a link to there.
    let php = fs::canonicalize(tool("php")).unwrap();
    let link = format!("ln -sf {} /etc/alternatives/php", php.display());
    booted.shell(&format!("mkdir -p /etc/alternatives && {link}"));
    // Units that the programs' packages bring, which are not installed here.
    for unit in ["apache2", "kibana", "logstash-forwarder"] {
        let text = "[Service]\nExecStart=/usr/bin/sleep infinity\nExecReload=/usr/bin/true\n";
        booted.write(&format!("/etc/systemd/system/{unit}.service"), text);
    }
    count
}

#[test]
fn every_example_can_be_published_by_the_unit_with_the_drop_in_that_is_shipped() {
    let Some(booted) = Booted::new() else { return };
    let count = install_examples(&booted);
    booted.run(&["systemctl", "daemon-reload"]);
    booted.run(&["systemctl", "start", "--no-block", "sidekick-watch"]);
    let says = |text: &str| booted.journal("sidekick-watch").matches(text).count();
    let refused = "Read-only file system";
    wait_for("all targets to be published, or refused", || {
        let all = says("have been updated") + says("has been updated") + says(refused);
        (all >= count).then_some(())
    });
    let journal = booted.journal("sidekick-watch");
    let lines = journal.lines().filter(|line| line.contains(refused));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 7, "{journal}");
    for line in lines {
        let dir = line
            .split_once("ReadWritePaths=/")
            .and_then(|(_, rest)| rest.split_once(' '))
            .map(|(dir, _)| format!("/{dir}"))
            .unwrap_or_default();
        assert!(
            DIRECTORIES.split_whitespace().any(|known| known == dir),
            "{line}"
        );
        assert!(
            line.contains("`systemctl edit sidekick-watch.service`"),
            "{line}"
        );
    }

    let drop_in = "systemd/sidekick-watch.service.d/examples.conf";
    booted.write(
        &format!("/etc/{}", drop_in.replace("systemd/", "systemd/system/")),
        &shipped(&format!("contrib/{drop_in}")),
    );
    booted.run(&["systemctl", "daemon-reload"]);
    let started = booted
        .container
        .exec(&["systemctl", "restart", "sidekick-watch"]);
    let journal = booted.journal("sidekick-watch");
    assert!(started.status.success(), "{journal}");
    assert_eq!(booted.show("sidekick-watch", "ActiveState"), "active");
    for path in [
        "/etc/dnsmasq.hosts/sidekick",
        "/etc/mysql/mariadb.conf.d/90-sidekick.cnf",
    ] {
        booted.run(&["test", "-s", path]);
    }
}

/// The store of a host without etcd is written by both units, each as another user.
#[test]
fn the_directory_store_serves_both_units_whichever_comes_first() {
    let Some(booted) = Booted::new() else { return };
    booted.run(&["systemctl", "start", "sidekick-watch"]);
    let announced = "/run/sidekick/services/web/a/port";
    for _ in 0..2 {
        booted.run(&["systemctl", "start", "web"]);
        wait_for("the announcement", || {
            let there = booted.container.exec(&["cat", announced]).status.success();
            there.then_some(())
        });
        booted.run(&["systemctl", "stop", "web"]);
        // It leaves a lease behind that somebody has to clear away.
        booted.run(&["systemctl", "kill", "-s", "KILL", "sidekick-watch"]);
        wait_for("the watch to be back", || {
            (booted.show("sidekick-watch", "ActiveState") == "active").then_some(())
        });
    }
    let journal = booted.journal("sidekick-register@web");
    assert!(!journal.contains("denied"), "{journal}");
}

/// The unit of the documentation in which `sidekick` starts the program.
#[test]
fn a_unit_whose_program_sidekick_starts_ends_a_stop_without_a_failure() {
    let Some(booted) = Booted::new() else { return };
    let path = "systemd/web.service.d/sidekick.conf";
    let drop_in = shipped(&format!("contrib/{path}"));
    let documented = shipped("docs/systemd.md");
    for line in drop_in.lines().filter(|line| !line.starts_with('#')) {
        assert!(
            documented.contains(line),
            "the documentation has not: {line}"
        );
    }
    let program = "/usr/bin/web --listen :8080";
    assert!(drop_in.contains(program), "{drop_in}");
    let own = drop_in
        .replace(program, "/usr/bin/sleep infinity")
        .replace("--name web", "--name job --id a --ip 127.0.0.1");
    booted.write(
        "/etc/systemd/system/job.service",
        "[Service]\nExecStart=/usr/bin/true\n",
    );
    booted.write("/etc/systemd/system/job.service.d/sidekick.conf", &own);
    booted.run(&["systemctl", "daemon-reload"]);
    booted.run(&["systemctl", "start", "job"]);
    booted.run(&["cat", "/run/sidekick/services/job/a/port"]);
    stops_well(&booted, "job");
    let left = booted
        .container
        .exec(&["cat", "/run/sidekick/services/job/a/port"]);
    assert!(!left.status.success(), "{}", said(&left));
}

/// The shipped units with a command in their options.
#[test]
fn the_shipped_units_end_a_stop_without_a_failure_when_they_have_a_command() {
    let Some(booted) = Booted::new() else { return };
    let command = "-- /usr/bin/sleep infinity";
    let options = format!("OPTIONS=--name web --id a --port 80 --ip 127.0.0.1 {command}");
    booted.write("/etc/sidekick/register/web.env", &options);
    booted.run(&["systemctl", "start", "web", "sidekick-register@web"]);
    booted.write("/etc/sidekick/watch.env", &format!("OPTIONS={command}"));
    booted.run(&["systemctl", "start", "sidekick-watch"]);
    stops_well(&booted, "sidekick-watch");
    stops_well(&booted, "sidekick-register@web");
}

/// Stops a unit. systemd forgets how a unit ended that nobody refers to, but its journal does not.
#[track_caller]
fn stops_well(booted: &Booted, unit: &str) {
    assert_eq!(booted.show(unit, "ActiveState"), "active");
    booted.run(&["systemctl", "stop", unit]);
    assert_eq!(booted.show(unit, "ActiveState"), "inactive");
    let journal = booted.journal(unit);
    assert!(journal.contains("Deactivated successfully"), "{journal}");
    assert!(!journal.contains("Failed with result"), "{journal}");
}

/// What the drop-in allows is what the examples need.
#[test]
fn the_drop_in_for_the_examples_names_their_directories() {
    let unit = shipped("contrib/systemd/sidekick-watch.service");
    let drop_in = shipped("contrib/systemd/sidekick-watch.service.d/examples.conf");
    let allowed: Vec<String> = (unit + &drop_in)
        .lines()
        .filter_map(|line| line.strip_prefix("ReadWritePaths="))
        .flat_map(str::split_whitespace)
        .map(|path| path.trim_start_matches('-').to_owned())
        .collect();
    for entry in fs::read_dir(root().join("conf.d/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let dests = text.lines().filter_map(|line| {
            let (field, value) = line.split_once('=')?;
            (field.trim() == "dest").then(|| value.trim().trim_matches('"').to_owned())
        });
        let dests: Vec<String> = dests.collect();
        assert!(!dests.is_empty(), "{}", path.display());
        for dest in dests {
            let is_allowed = |dir: &String| Path::new(&dest).starts_with(dir);
            assert!(allowed.iter().any(is_allowed), "{dest}: {allowed:?}");
        }
    }
}
