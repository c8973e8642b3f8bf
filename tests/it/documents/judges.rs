//! Who reads what the blocks of the documents show: each function asks the real reader, and tells what it does not like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use clap::Parser as _;
use saphyr::{LoadableYamlNode as _, Yaml};
use sidekick::cli::Cli;
use sidekick::config::{self, ContainerWays};
use sidekick::model::container::{Container, ContainerId, Status};
use sidekick::model::os::Signal;
use sidekick::model::prefix::Prefix;
use sidekick::watch::read_fixture;

use super::markdown::{codes, read, rows};
use super::{root, templates};
use crate::harness::docker::said;
use crate::harness::{free_port, modules, sidekick, skipped, temp_dir, tool};
use crate::systemd::unit_files;

type Verdict = Result<(), String>;

/// What a program says of a file; nothing is wrong when it ends with 0.
fn ask(command: &mut Command) -> Verdict {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(said(&output))
    }
}

pub(super) fn is_bash(text: &str) -> Verdict {
    ask(Command::new("bash").args(["-nc", text]))
}

/// Whether commands that are not run here would be understood.
pub(super) fn are_commands(commands: &[Vec<String>]) -> Verdict {
    if commands.is_empty() {
        return Err("there is no command in it".to_owned());
    }
    commands.iter().try_for_each(|words| {
        let judged = match words[0].as_str() {
            "sidekick" => is_sidekick(words),
            "make" => is_make(&words[1..]),
            "cargo" => is_cargo(&words[1..]),
            "docker" => is_docker(&words[1..]),
            "apt-get" => is_apt(&words[1..]),
            "ssh" => is_ssh(&words[1..]),
            path if path.contains('/') && root().join(path).is_file() => Ok(()),
            // They print for others.
            "head" | "curl" | "source" => Ok(()),
            other => Err(format!(
                "nobody knows whether {other} works as shown: write a test that runs it, and name it in PLAYED"
            )),
        };
        judged.map_err(|why| format!("{}: {why}", words.join(" ")))
    })
}

pub(super) fn is_sidekick(words: &[impl AsRef<str>]) -> Verdict {
    let words = words.iter().map(AsRef::as_ref);
    match Cli::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if error.exit_code() == 0 => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_make(words: &[String]) -> Verdict {
    let makefile = read("Makefile");
    let targets = words.iter().filter(|word| !word.contains('='));
    for target in targets {
        if !makefile.contains(&format!("\n{target}:")) {
            return Err(format!("the Makefile has no {target}"));
        }
    }
    let variables = words.iter().filter_map(|word| word.split_once('='));
    for (name, _) in variables {
        let is_used = makefile.contains(&format!("$({name})"));
        // A program of a recipe reads it from its environment.
        let is_passed_on = makefile.contains(&format!("\n{name} ?="));
        if !is_used && !is_passed_on {
            return Err(format!("the Makefile knows no {name}"));
        }
    }
    Ok(())
}

/// The tests that a command asks for are somewhere.
fn is_cargo(words: &[String]) -> Verdict {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (dir, filter) = match words.as_slice() {
        ["check" | "test"] => return Ok(()),
        ["test", "--lib", filter] => ("src", filter),
        ["test", "--test", "it", filter] => ("tests/it", filter),
        _ => return Err("nobody knows this command of cargo".to_owned()),
    };
    let filter = filter.replace("::", "/");
    let mut next = vec![root().join(dir)];
    while let Some(path) = next.pop() {
        if path.is_dir() {
            next.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        if path.display().to_string().contains(&filter) {
            return Ok(());
        }
    }
    Err(format!("no test is called {filter}"))
}

/// The files, stages, services and labels that a command names are there.
fn is_docker(words: &[String]) -> Verdict {
    let behind = |flag: &str| {
        let at = words.iter().position(|word| word == flag)?;
        words.get(at + 1).cloned()
    };
    let file = behind("-f").map(|path| {
        fs::read_to_string(root().join(&path)).map_err(|error| format!("{path}: {error}"))
    });
    let text = file.transpose()?.unwrap_or_default();
    if let Some(stage) = behind("--target")
        && !text
            .lines()
            .any(|line| line.ends_with(&format!(" AS {stage}")))
    {
        return Err(format!("the Dockerfile has no stage {stage}"));
    }
    let scaled = behind("--scale").and_then(|word| word.split('=').next().map(str::to_owned));
    for service in scaled.into_iter().chain(behind("-q")) {
        if !text.contains(&format!("\n  {service}:\n")) {
            return Err(format!("the file has no service {service}"));
        }
    }
    let labels = words.windows(2).filter(|pair| pair[0] == "--label");
    let labels: BTreeMap<String, String> = labels
        .filter_map(|pair| pair[1].split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if labels.is_empty() {
        Ok(())
    } else {
        are_labels(labels)
    }
}

/// A package of ours, by the name that `make deb` gives it.
fn is_apt(words: &[String]) -> Verdict {
    let deb = read("contrib/deb.sh");
    match words {
        [install, path] if install == "install" => {
            let name = path.trim_start_matches("./target/debian/");
            let name = name.split('_').next().unwrap_or_default();
            let is_ours = path.starts_with("./target/debian/")
                && deb.contains(&format!("/{name}_${{version}}"));
            is_ours
                .then_some(())
                .ok_or_else(|| format!("no such package is made: {name}"))
        }
        _ => Err("nobody knows these packages".to_owned()),
    }
}

fn is_ssh(words: &[String]) -> Verdict {
    match Command::new("ssh").arg("-G").args(words).output() {
        Err(_) => {
            skipped("ssh is not there to judge its options");
            Ok(())
        }
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(said(&output)),
    }
}

pub(super) fn is_services(text: &str) -> Verdict {
    let dir = temp_dir();
    let file = dir.path().join("services.toml");
    fs::write(&file, text).unwrap();
    let prefix = Prefix::parse("/services").unwrap();
    let read = config::read_announcements(&file, &prefix);
    read.map(drop).map_err(|problems| format!("{problems:?}"))
}

/// What a target needs at least, for examples that show a part of one.
const REST: &str = "src = 'example.cfg.tera'\ndest = '/etc/example.cfg'\nservices = ['web']\n";

/// A file of conf.d, or a part of one. A setting that is commented out has to be right too, beside the others or in their place.
pub(super) fn is_conf_d(text: &str) -> Verdict {
    let whole = |text: &str| {
        if text.contains("\nsrc ") {
            text.to_owned()
        } else if text.starts_with("[template]\n") {
            text.replacen("[template]\n", &format!("[template]\n{REST}"), 1)
        } else {
            format!("[template]\n{REST}{text}")
        }
    };
    check(&whole(text))?;
    let head = text.lines().next().unwrap_or_default();
    let is_setting = |line: &&str| {
        line.split_once(" = ")
            .is_some_and(|(name, _)| !name.trim_end().contains(' '))
    };
    let others = text.lines().filter_map(|line| line.strip_prefix("# "));
    let others: Vec<&str> = others.filter(is_setting).collect();
    for (at, other) in others.iter().enumerate() {
        let beside = format!("{text}{other}\n");
        let alone = format!("{head}\n{other}\n");
        let mut ways = vec![beside, alone.clone()];
        let partners = others.iter().enumerate().filter(|(place, _)| *place != at);
        ways.extend(partners.map(|(_, partner)| format!("{alone}{partner}\n")));
        let mut verdicts = ways.iter().map(|way| check(&whole(way)));
        let first = verdicts.next().unwrap_or(Ok(()));
        if first.is_err() && !verdicts.any(|verdict| verdict.is_ok()) {
            return first.map_err(|why| format!("{other}: {why}"));
        }
    }
    Ok(())
}

/// What `sidekick check` says of a directory with this target and the shipped templates.
fn check(text: &str) -> Verdict {
    let dir = temp_dir();
    let templates = dir.path().join("templates");
    fs::create_dir(&templates).unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/example.toml"), text).unwrap();
    fs::write(templates.join("example.cfg.tera"), "").unwrap();
    for entry in fs::read_dir(root().join("templates")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), templates.join(entry.file_name())).unwrap();
        }
    }
    let mut command = sidekick();
    let output = command
        .args(["check", "--conf-dir"])
        .arg(dir.path())
        .output();
    let output = output.unwrap();
    let text = said(&output);
    if output.status.success() && text.contains("1 target, no mistakes") {
        Ok(())
    } else {
        Err(text)
    }
}

pub(super) fn is_fixture(language: &str, text: &str) -> Verdict {
    let dir = temp_dir();
    let file = dir.path().join(format!("fixture.{language}"));
    fs::write(&file, text).unwrap();
    let entries = read_fixture(&file).map_err(|error| format!("{error:?}"))?;
    if entries.is_empty() {
        return Err("it has no key".to_owned());
    }
    Ok(())
}

/// A line of the log, with the fields of the table on the page of logs.
pub(super) fn is_log_line(text: &str) -> Verdict {
    let line: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let rows = rows("docs/logs.md");
    let rows = rows.iter().filter(|row| row.titles[0] == "field");
    let mut known: BTreeSet<&str> = rows.flat_map(|row| codes(&row.cells[0])).collect();
    known.extend(["timestamp", "level", "message"]);
    match line.keys().find(|field| !known.contains(field.as_str())) {
        Some(field) => Err(format!("no line has the field {field}")),
        None => Ok(()),
    }
}

/// The fields of a service that the documents may show.
const COMPOSE: [&str; 9] = [
    "image",
    "labels",
    "command",
    "network_mode",
    "environment",
    "volumes",
    "healthcheck",
    "ports",
    "depends_on",
];

/// A compose file, or what stands below a service: its fields, the command of `sidekick`, and the labels.
pub(super) fn is_compose(text: &str) -> Verdict {
    let whole = if text.starts_with(' ') {
        format!("services:\n  app:\n{text}")
    } else {
        text.to_owned()
    };
    let files = Yaml::load_from_str(&whole).map_err(|error| error.to_string())?;
    let services = files[0]["services"].as_mapping();
    let services = services.ok_or("it has no services")?;
    for (name, service) in services {
        let fields = service.as_mapping().ok_or("a service is a mapping")?;
        for field in fields.keys().filter_map(|field| field.as_str()) {
            if !COMPOSE.contains(&field) {
                return Err(format!("{name:?} has an unknown field {field}"));
            }
        }
        let field = |name: &str| {
            let found = fields
                .iter()
                .find(|(field, _)| field.as_str() == Some(name));
            found.map(|(_, value)| value)
        };
        if let Some(words) = field("command").and_then(Yaml::as_vec) {
            let words = words.iter().filter_map(Yaml::as_str);
            let words: Vec<&str> = std::iter::once("sidekick").chain(words).collect();
            is_sidekick(&words)?;
        }
        if let Some(all) = field("labels").and_then(Yaml::as_mapping) {
            let text = |node: &Yaml| node.as_str().unwrap_or_default().to_owned();
            are_labels(all.iter().map(|(k, v)| (text(k), text(v))).collect())?;
        }
    }
    Ok(())
}

/// What is wrong with the labels of a container, one sentence after the other.
pub(super) fn are_labels(labels: BTreeMap<String, String>) -> Verdict {
    let container = container(labels);
    let ways = ContainerWays {
        published: false,
        network: None,
        host: Vec::new(),
    };
    config::read_labels(&container, &ways)
        .map(drop)
        .map_err(|problems| {
            let texts = problems.iter().map(|problem| match &problem.hint {
                Some(hint) => format!("{problem} ({hint})"),
                None => problem.to_string(),
            });
            texts.collect::<Vec<_>>().join("; ")
        })
}

pub(super) fn container(labels: BTreeMap<String, String>) -> Container {
    let id = format!("4be1c8a0d7f2{}", "0".repeat(52));
    Container {
        id: ContainerId::parse(&id).unwrap(),
        name: "app-1".to_owned(),
        hostname: "app-1".to_owned(),
        labels,
        status: Status::Up,
        started_at: 0,
        stop_signal: Signal::TERM,
        is_on_host_network: false,
        networks: BTreeMap::from([("bridge".to_owned(), "172.17.0.2".parse().unwrap())]),
        published: BTreeMap::new(),
    }
}

/// Instructions, and an entrypoint that is a list of words which `sidekick` understands.
pub(super) fn is_dockerfile(text: &str) -> Verdict {
    let mut words: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
        match instruction {
            "FROM" | "COPY" | "USER" | "ENV" => {}
            "ENTRYPOINT" | "CMD" => {
                // What stands behind the list would make Docker take the line for a command of a shell.
                let list: Vec<String> = serde_json::from_str(rest)
                    .map_err(|error| format!("{line}: no list of words: {error}"))?;
                words.extend(list);
            }
            other => return Err(format!("no instruction: {other}")),
        }
    }
    is_sidekick(&words)
}

/// A drop-in, or a whole unit. Its first line says for which unit, if that is not the one of `sidekick watch`.
pub(super) fn is_unit(text: &str) -> Verdict {
    let first = text.lines().next().filter(|line| line.starts_with('#'));
    let first = first.unwrap_or("sidekick-watch");
    let unit = ["web.service", "sidekick-register@web", "sidekick-watch"];
    let unit = unit.into_iter().find(|unit| first.contains(unit));
    let unit = unit.ok_or_else(|| format!("which unit is that for? {first}"))?;
    let unit = format!("{}.service", unit.trim_end_matches(".service"));
    let dir = unit_files();
    let drop_ins = dir.path().join(format!("{unit}.d"));
    fs::create_dir(&drop_ins).unwrap();
    let text = text.replace("/usr/local/bin/sidekick", env!("CARGO_BIN_EXE_sidekick"));
    fs::write(drop_ins.join("block.conf"), text).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", &format!("./{unit}")]);
    let Ok(output) = command.current_dir(dir.path()).output() else {
        skipped("systemd-analyze is not there");
        return Ok(());
    };
    let said = said(&output);
    if output.status.success() && said.is_empty() {
        Ok(())
    } else {
        Err(said)
    }
}

/// A section of HAProxy, or lines of a frontend.
pub(super) fn is_haproxy(text: &str) -> Verdict {
    let dir = temp_dir();
    fs::write(dir.path().join("routes.map"), "").unwrap();
    let rest = "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n\
                frontend f\n    bind 127.0.0.1:1\n";
    let whole = if text.starts_with("global\n") {
        format!("{text}{rest}")
    } else {
        let d = dir.path().display();
        format!("global\n    presetenv SIDEKICK_D {d}\n{rest}{text}")
    };
    let file = dir.path().join("haproxy.cfg");
    fs::write(&file, whole).unwrap();
    ask(Command::new(tool("haproxy"))
        .args(["-c", "-q", "-f"])
        .arg(&file))
}

/// What stands in `http`, or a location of a server.
pub(super) fn is_nginx(text: &str) -> Verdict {
    let dir = temp_dir();
    let at = dir.path().display();
    let text = with_own_port(&templates::rendered(text)?);
    let inside = if text.contains("server {") {
        text
    } else {
        format!("server {{\n listen 127.0.0.1:{};\n{text}}}\n", free_port())
    };
    let whole = format!(
        "pid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\nclient_body_temp_path {at}/a;\n\
         proxy_temp_path {at}/b;\nfastcgi_temp_path {at}/c;\nuwsgi_temp_path {at}/d;\nscgi_temp_path {at}/e;\n{inside}}}\n"
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, whole).unwrap();
    ask(Command::new(tool("nginx"))
        .args(["-t", "-q", "-c"])
        .arg(&file))
}

pub(super) fn is_apache(text: &str) -> Verdict {
    let dir = temp_dir();
    let at = dir.path().display();
    let modules = modules("apache2");
    let text = templates::rendered(text)?;
    let whole = format!(
        "ServerRoot {at}\nServerName localhost\nDefaultRuntimeDir {at}\nPidFile {at}/pid\nErrorLog {at}/errors\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule alias_module {modules}/mod_alias.so\n{text}"
    );
    let file = dir.path().join("apache.conf");
    fs::write(&file, whole).unwrap();
    ask(Command::new(tool("apache2")).args(["-t", "-f"]).arg(&file))
}

/// Programs that look at an address want one that is free.
fn with_own_port(text: &str) -> String {
    text.replace("127.0.0.1:8089", &format!("127.0.0.1:{}", free_port()))
}

pub(super) fn is_tera(text: &str) -> Verdict {
    templates::rendered(text).map(drop)
}

/// Records of the DNS by which the members of etcd are found.
pub(super) fn is_zone(text: &str) -> Verdict {
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, ttl, "IN", "SRV", numbers @ .., target] = words.as_slice() else {
            return Err(format!("no SRV record: {line}"));
        };
        let is_asked_for =
            name.starts_with("_etcd-client-ssl._tcp.") || name.starts_with("_etcd-client._tcp.");
        let are_numbers = numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u16>().is_ok());
        if !is_asked_for || !are_numbers || ttl.parse::<u32>().is_err() || !target.ends_with('.') {
            return Err(format!("no record of a member: {line}"));
        }
    }
    Ok(())
}

/// A rule of polkit, asked as systemd asks for a reload.
pub(super) fn is_polkit_rule(text: &str) -> Verdict {
    let script = format!(
        "let rule; const polkit = {{ addRule: given => rule = given, Result: {{ YES: 'yes' }} }};\n{text}\n\
         const ask = (id, unit, verb, user) => rule({{ id, lookup: name => ({{ unit, verb }})[name] }}, {{ user }}) ?? 'no';\n\
         const id = 'org.freedesktop.systemd1.manage-units';\n\
         [ask(id, 'haproxy.service', 'reload', 'sidekick'), ask(id, 'haproxy.service', 'stop', 'sidekick'),\n\
          ask(id, 'ssh.service', 'reload', 'sidekick'), ask(id, 'haproxy.service', 'reload', 'nobody')].join(' ')"
    );
    let mut browser = crate::harness::browser::Browser::start();
    let answer = browser.value(&format!(
        "(() => {{ return eval({}) }})()",
        serde_json::Value::from(script)
    ));
    if answer == "yes no no no" {
        Ok(())
    } else {
        Err(format!("it answers {answer}"))
    }
}
