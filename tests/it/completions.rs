//! Completions in real shells: bash, zsh and fish ask the binary, which asks the store and conf.d.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::docker::said;
use crate::harness::etcd::Etcd;
use crate::harness::{temp_dir, tool};

/// What a shell finds: a store with a service, and a conf.d with two targets.
struct Scene {
    etcd: Etcd,
    conf_dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let etcd = Etcd::start_new();
        etcd.put_instance("web", "alpha", "10.0.0.1", 80);
        etcd.put_instance("web", "beta", "10.0.0.2", 80);
        etcd.put_instance("cache", "one", "10.0.0.3", 11211);
        let conf_dir = temp_dir();
        let conf = conf_dir.path().join("conf.d");
        fs::create_dir(&conf).unwrap();
        for name in ["haproxy.toml", "nginx.toml", ".hidden.toml", "notes.txt"] {
            fs::write(conf.join(name), "").unwrap();
        }
        Self { etcd, conf_dir }
    }

    /// Runs a script in a shell that finds `sidekick` on its PATH.
    fn run(&self, shell: &str, args: &[&str], script: &str) -> String {
        let binary = Path::new(env!("CARGO_BIN_EXE_sidekick")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let home = temp_dir();
        let output = Command::new(tool(shell))
            .args(args)
            .args(["-c", script])
            .env("PATH", path)
            .env("HOME", home.path())
            .env("SIDEKICK_STORE", self.etcd.url())
            .env("SIDEKICK_CONF_DIR", self.conf_dir.path())
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .unwrap();
        let text = said(&output);
        assert!(output.status.success(), "{shell}: {script}: {text}");
        text
    }

    /// The words that bash offers for the last one of a line.
    fn bash(&self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let last = words.len() - 1;
        let script = format!(
            "source <(sidekick completions bash)
             function=$(complete -p sidekick | sed 's/.*-F \\([^ ]*\\).*/\\1/')
             COMP_WORDS=({}) COMP_CWORD={last} COMP_LINE='{line}' COMP_POINT={} COMP_TYPE=9
             $function sidekick '{}' '{}'
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words
                .iter()
                .map(|word| format!("'{word}'"))
                .collect::<Vec<_>>()
                .join(" "),
            line.len(),
            words[last],
            words[last - 1],
        );
        let text = self.run("bash", &["--norc", "--noprofile"], &script);
        let words = text.lines().map(str::trim).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }
}

/// Each line, and what is offered for its last word.
const LINES: [(&str, &[&str]); 8] = [
    ("sidekick ls w", &["web"]),
    ("sidekick status c", &["cache"]),
    ("sidekick drain web ", &["alpha", "beta"]),
    ("sidekick undrain web b", &["beta"]),
    ("sidekick drain nobody ", &[]),
    ("sidekick history h", &["haproxy"]),
    ("sidekick check n", &["nginx"]),
    ("sidekick guard release ", &["haproxy", "nginx"]),
];

#[test]
fn bash_offers_services_ids_and_targets() {
    let scene = Scene::new();
    for (line, expected) in LINES {
        let mut offered = scene.bash(line);
        // Flags are offered as well where a word has not begun.
        offered.retain(|word| !word.starts_with('-'));
        assert_eq!(offered, expected, "{line}");
    }
    let commands = scene.bash("sidekick exp");
    assert_eq!(commands, ["export"]);
}

#[test]
fn fish_offers_services_ids_and_targets() {
    let scene = Scene::new();
    for (line, expected) in LINES {
        let script = format!("sidekick completions fish | source; complete -C '{line}'");
        let text = scene.run("fish", &["--no-config"], &script);
        let words = text.lines().filter_map(|line| line.split('\t').next());
        let offered: Vec<&str> = words.filter(|word| !word.starts_with('-')).collect();
        assert_eq!(offered, expected, "{line}");
    }
}

/// What zsh prints after a line was completed and run. It completes only what is typed at a terminal, and it has loaded the
/// completions by the commands of `prepare`.
fn zsh(scene: &Scene, prepare: &str) -> String {
    let script = r#"
        mkdir $HOME/functions; sidekick completions zsh >$HOME/functions/_sidekick
        zmodload zsh/zpty
        zpty -b shell zsh -f -i
        zpty -w shell 'PS1=; PREPARE; print READ""Y'
        zpty -r -m shell seen '*READY*'
        zpty -n -w shell $'sidekick ls --format json w\t\n'
        zpty -w shell 'print DO""NE'
        zpty -r -m shell seen '*DONE*'
        print -r -- "$seen"
        zpty -d shell
    "#;
    let script = script.replace("PREPARE", prepare);
    scene.run("timeout", &["20", "zsh", "-f"], &script)
}

/// By hand, and as the package installs it: a function that zsh loads when it is asked for the first time.
#[test]
fn zsh_completes_services_by_both_ways_of_installing_them() {
    let scene = Scene::new();
    let ways = [
        "autoload -Uz compinit; compinit -D -u; source <(sidekick completions zsh)",
        "fpath=($HOME/functions $fpath); autoload -Uz compinit; compinit -D -u",
    ];
    for prepare in ways {
        let text = zsh(&scene, prepare);
        assert!(
            text.contains("10.0.0.1") && text.contains("10.0.0.2"),
            "{prepare}: {text}"
        );
        assert!(!text.contains("10.0.0.3"), "{prepare}: {text}");
    }
}

#[test]
fn a_store_that_does_not_answer_does_not_hold_the_shell_up() {
    let scene = Scene::new();
    scene.etcd.pause();
    let begin = Instant::now();
    let offered = scene.bash("sidekick ls w");
    let took = begin.elapsed();
    scene.etcd.resume();
    assert!(offered.is_empty(), "{offered:?}");
    // The limit is 300 ms. A store that is waited for takes five seconds and more.
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_variable_that_names_no_shell_changes_nothing() {
    let output = crate::harness::sidekick()
        .env("SIDEKICK_COMPLETE", "nonsense")
        .arg("--version")
        .output()
        .unwrap();
    assert!(said(&output).starts_with("sidekick 0.1.0"), "{output:?}");
}
