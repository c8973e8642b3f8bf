//! Each file that is shipped has a judge: the program that it is for, in every version that is here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sidekick::model::key::Entries;

use super::{Target, is_before_2_5, read, render_files, root, target};
use crate::application::EXAMPLES;
use crate::bases::{self, KINDS};
use crate::harness::{self, skipped, temp_dir};
use crate::systemd;

/// Fails if there is something wrong with the file of this path below the root.
type Judge = fn(&str);

/// The release of Debian whose systemd and promtool judge beside the system's.
const NEWER: &str = "trixie";

/// A program of systemd: the system's, and the newer one if it is here.
fn both_versions(name: &str) -> Vec<PathBuf> {
    let newer = harness::unpacked(NEWER, &format!("usr/bin/{name}"));
    [PathBuf::from(name)].into_iter().chain(newer).collect()
}

fn judge(path: &str) -> Option<Judge> {
    let (dir, name) = path.rsplit_once('/')?;
    let (_, ending) = name.rsplit_once('.').unwrap_or(("", ""));
    let judge: Judge = match (dir, ending) {
        ("conf.d" | "conf.d/examples", "toml") => is_a_target,
        ("templates" | "templates/examples", "tera") => is_of_a_target,
        ("contrib/haproxy", "cfg") => haproxy,
        ("contrib/nginx" | "contrib/apache", "conf") => nginx_or_apache,
        ("contrib/prometheus", "yaml") => promtool,
        ("contrib/grafana", "json") => json,
        ("contrib/systemd", "service") => unit,
        ("contrib/systemd", "example") => environment,
        ("contrib/systemd", "conf") if name.contains(".sysusers.") => sysusers,
        ("contrib/systemd", "conf") if name.contains(".tmpfiles.") => tmpfiles,
        (dir, "conf") if is_of_a_unit(dir) => drop_in,
        ("contrib", "sh") | ("contrib/debian", "") => shell,
        _ => return None,
    };
    Some(judge)
}

fn is_of_a_unit(dir: &str) -> bool {
    dir.starts_with("contrib/systemd/") && dir.ends_with(".service.d")
}

/// The files below a directory of the project, by their paths below the root.
fn files(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(dir)).expect(dir) {
        let entry = entry.expect("an entry");
        let path = format!("{dir}/{}", entry.file_name().to_str().expect("text"));
        if entry.path().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_shipped_file_passes_its_judge() {
    let all = ["contrib", "conf.d", "templates"].map(files).concat();
    let judged = all.iter().map(|path| (path, judge(path)));
    let (known, unknown): (Vec<_>, Vec<_>) = judged.partition(|(_, judge)| judge.is_some());
    assert!(
        unknown.is_empty(),
        "no program judges these, see tests/it/shipped/judges.rs: {unknown:?}"
    );
    for (path, judge) in known {
        judge.expect("it has one")(path);
    }
}

#[test]
fn a_file_of_a_new_kind_has_no_judge() {
    for path in [
        "contrib/haproxy/site.lua",
        "contrib/logrotate/sidekick",
        "contrib/systemd/other/sidekick.conf",
        "templates/page.html",
    ] {
        assert!(judge(path).is_none(), "{path}");
    }
}

#[track_caller]
fn assert_accepted(what: &str, output: &Output) {
    let said = harness::docker::said(output);
    assert!(output.status.success(), "{what}: {said}");
}

/// It is one of those whose rendered files the programs judge, by `check_cmd` and in each version, in this module and in
/// `application`.
fn is_a_target(path: &str) {
    let name = path.strip_prefix("conf.d/").expect("below conf.d");
    let name = name.strip_suffix(".toml").expect("TOML");
    let is_main = super::TARGETS.contains(&name);
    let example = name.strip_prefix("examples/");
    let is_example = EXAMPLES.iter().any(|(known, _)| Some(*known) == example);
    assert!(is_main || is_example, "{path} is in no list of targets");
}

fn targets() -> Vec<Target> {
    let paths = files("conf.d");
    let names = paths.iter().filter_map(|path| {
        let name = path.strip_prefix("conf.d/")?;
        name.strip_suffix(".toml")
    });
    names.map(target).collect()
}

/// A target renders it, or a template that a target renders takes it in.
fn is_of_a_target(path: &str) {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for target in targets() {
        for (src, _) in &target.parts {
            let text = read(format!("templates/{src}"));
            let included = text.split("{% include \"").skip(1);
            used.extend(included.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            used.insert(src.clone());
        }
    }
    let name = path.strip_prefix("templates/").expect("below templates");
    assert!(used.contains(name), "{path} is rendered by no target");
}

/// With the backends of nobody and with and without TLS. What it warns of is wrong, too.
fn haproxy(path: &str) {
    let dir = temp_dir();
    for (name, text) in render_files(&target("haproxy"), Entries::new(), &[]) {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let certs = temp_dir();
    crate::forwarded::certify(&certs.path().join("site.pem"));
    let versions = harness::versions("haproxy").into_iter();
    for program in versions.filter(|program| !is_before_2_5(program)) {
        for with_tls in [false, true] {
            let mut command = Command::new(&program);
            command.arg("-c").arg("-f").arg(root().join(path));
            command.arg("-f").arg(dir.path());
            command.env("SIDEKICK_D", dir.path());
            if with_tls {
                command.env("SIDEKICK_CERTS", certs.path());
            }
            let output = command.output().unwrap();
            let what = format!("{path}, {}", program.display());
            assert_accepted(&what, &output);
            let said = harness::docker::said(&output);
            assert!(!said.contains("[WARNING]"), "{what}: {said}");
        }
    }
}

/// The base needs HAProxy 2.5, what is rendered beside it does not.
#[test]
fn the_backends_are_valid_for_an_old_haproxy() {
    let Some(program) = harness::unpacked("bullseye", "usr/sbin/haproxy") else {
        return;
    };
    let head = "defaults\n    mode http\n    timeout connect 2s\n    timeout client 9s\n    timeout server 9s\nfrontend f\n    bind 127.0.0.1:1\n";
    for given in super::FIXTURES {
        let files = render_files(&target("haproxy"), super::fixture(given), &[]);
        let dir = temp_dir();
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, format!("{head}{}", files[0].1)).unwrap();
        let output = Command::new(&program)
            .arg("-c")
            .arg("-f")
            .arg(&file)
            .output();
        assert_accepted(given, &output.unwrap());
    }
}

/// All files of the program together, as they are installed.
fn nginx_or_apache(path: &str) {
    let name = path.strip_prefix("contrib/").expect("below contrib");
    let is_its = |kind: &&bases::Kind| kind.files.iter().any(|(file, _)| *file == name);
    let kind = KINDS.iter().find(is_its);
    let kind = kind.unwrap_or_else(|| panic!("{path} is not among the files of bases.rs"));
    // Once for all of them.
    if kind.files[0].0 == name {
        bases::judge(kind);
    }
}

/// Debian's mirror has to give it, in two versions.
fn promtool(path: &str) {
    let own = harness::unpacked_or_installed("promtool");
    if own.is_none() {
        skipped("promtool is not installed, and contrib/prometheus.sh has not unpacked it");
    }
    let newer = harness::unpacked(NEWER, "usr/bin/promtool");
    for promtool in own.into_iter().chain(newer) {
        let mut command = Command::new(promtool);
        command.args(["check", "rules"]).arg(root().join(path));
        assert_accepted(path, &command.output().unwrap());
    }
}

/// Grafana is no package of Debian's; `admin::monitoring` asks Prometheus for what the dashboard asks.
fn json(path: &str) {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&read(path));
    parsed.unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// The shell that its first line names; CI's shellcheck says more.
fn shell(path: &str) {
    let text = read(path);
    let first = text.lines().next().unwrap_or_default();
    let mut words = first.strip_prefix("#!").expect(path).split_whitespace();
    let shell = words.rfind(|word| !word.starts_with('-'));
    let mut command = Command::new(shell.expect(path));
    let output = command.arg("-n").arg(root().join(path)).output().unwrap();
    assert_accepted(path, &output);
}

/// `systemd-analyze` says nothing of what is right. The newer version judges too.
#[track_caller]
fn verify(dir: &Path, unit: &str) {
    for program in both_versions("systemd-analyze") {
        let args = ["verify", "--man=no", &format!("./{unit}")];
        let Some(output) = systemd::analyze(&program, dir, &args) else {
            continue;
        };
        let said = harness::docker::said(&output);
        let is_silent = output.status.success() && said.is_empty();
        assert!(is_silent, "{unit}, {}: {said}", program.display());
    }
}

fn unit(path: &str) {
    let (_, name) = path.rsplit_once('/').expect("a path");
    let name = name.replace('@', "@web");
    let dir = systemd::unit_files();
    assert!(dir.path().join(&name).exists(), "{path} is not in UNITS");
    verify(dir.path(), &name);
}

/// With the unit that it changes.
fn drop_in(path: &str) {
    let dir = systemd::unit_files();
    let (of, name) = path.rsplit_once('/').expect("a path");
    let (_, of) = of.rsplit_once('/').expect("a path");
    let unit = of.strip_suffix(".d").expect("a directory of drop-ins");
    let file = dir.path().join(unit);
    if !file.exists() {
        fs::write(&file, "[Service]\nExecStart=/usr/bin/true\n").unwrap();
    }
    let text = read(path).replace("/usr/local/bin/sidekick", env!("CARGO_BIN_EXE_sidekick"));
    fs::create_dir(dir.path().join(of)).unwrap();
    fs::write(dir.path().join(of).join(name), text).unwrap();
    verify(dir.path(), unit);
}

/// Comments, and words for the environment; what is commented out counts too.
fn environment(path: &str) {
    for line in read(path).lines() {
        let setting = line.strip_prefix('#').unwrap_or(line);
        let is_text = line.is_empty() || line.starts_with("# ");
        let (name, _) = setting.split_once('=').unwrap_or(("", ""));
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        let is_setting = !name.is_empty() && name.chars().all(is_name);
        assert!(is_text || is_setting, "{path}: {line}");
    }
}

/// Has users made below another root by this program.
fn with_users(sysusers: &Path) -> tempfile::TempDir {
    let dir = temp_dir();
    fs::create_dir(dir.path().join("etc")).unwrap();
    let file = root().join("contrib/systemd/sidekick.sysusers.conf");
    let output = below(dir.path(), sysusers, &[], &file);
    assert_accepted(&sysusers.display().to_string(), &output);
    dir
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skipped("only root makes users and directories");
    }
    is_root
}

fn below(dir: &Path, program: &Path, args: &[&str], file: &PathBuf) -> Output {
    let mut command = Command::new(program);
    command.args(args).arg(format!("--root={}", dir.display()));
    command.arg(file).output().unwrap()
}

fn sysusers(_: &str) {
    for program in both_versions("systemd-sysusers")
        .into_iter()
        .filter(|_| is_root())
    {
        let dir = with_users(&program);
        let users = fs::read_to_string(dir.path().join("etc/passwd")).unwrap();
        assert!(
            users.starts_with("sidekick:"),
            "{}: {users}",
            program.display()
        );
    }
}

fn tmpfiles(path: &str) {
    for program in both_versions("systemd-tmpfiles")
        .into_iter()
        .filter(|_| is_root())
    {
        let dir = with_users(Path::new("systemd-sysusers"));
        let output = below(dir.path(), &program, &["--create"], &root().join(path));
        let what = format!("{path}, {}", program.display());
        assert_accepted(&what, &output);
        let said = harness::docker::said(&output);
        assert!(said.is_empty(), "{what}: {said}");
        assert!(dir.path().join("run/sidekick/services").is_dir());
    }
}
