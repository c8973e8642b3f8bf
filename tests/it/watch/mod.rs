//! `sidekick watch` as a process: what it renders, checks, swaps and reloads, and what it does when a step fails.

mod configuration;
mod destinations;
mod disputes;
mod failures;
mod files;
mod groups;
mod guards;
mod handover;
mod hanging;
mod history;
mod hung;
mod in_place;
mod killed;
mod modes;
mod nodes;
mod publishing;
mod snapshot;
mod status;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// Renders one line per instance.
const TEMPLATE: &str =
    "{% for i in services.web %}{{ i.id }} {{ i.addr }} {{ i.state }}\n{% endfor %}";
/// Most tests delete instances as they like.
const UNGUARDED: &str = "\n[template.guard]\non_empty = 'render'\nmax_drop = '100%'\n";
/// Fast enough for a test, and no distance between reloads.
const PACE: &str = "[template.pace]\nmin_interval = '0s'\n";

struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
}

impl Bench {
    /// A store and a configuration with one target: `a.cfg` from `services.web`, with further lines in its table.
    fn new(lines: &str) -> Self {
        let bench = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
        };
        for dir in ["conf.d", "templates", "out"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        bench.target("a", lines);
        bench.template("a.tera", TEMPLATE);
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn template(&self, name: &str, text: &str) {
        fs::write(self.file("templates").join(name), text).unwrap();
    }

    fn target(&self, name: &str, lines: &str) {
        let out = self.file("out");
        let lines = lines.replace("OUT", out.to_str().unwrap());
        let text = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}/{name}.cfg'\nservices = ['web']\n{lines}{UNGUARDED}",
            out.display()
        );
        fs::write(self.file("conf.d").join(format!("{name}.toml")), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = sidekick();
        command.args(["watch", "--store", &self.etcd.url()]);
        command.arg("--conf-dir").arg(self.dir.path()).args(args);
        command
    }

    fn start(&self, args: &[&str]) -> Process {
        Process::start(&mut self.command(args), &self.file("log"))
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn put(&self, id: &str) {
        self.etcd.put_instance("web", id, "10.0.0.1", 80);
    }

    fn delete(&self, id: &str) {
        self.etcd
            .etcdctl(&["del", "--prefix", &format!("/services/web/{id}/")]);
    }

    fn out(&self, name: &str) -> PathBuf {
        self.file("out").join(name)
    }

    fn live(&self) -> Option<String> {
        fs::read_to_string(self.out("a.cfg")).ok()
    }

    fn wait_live(&self, want: &str) {
        wait_for(&format!("the file to say {want:?}"), || {
            (self.live()? == want).then_some(())
        });
    }

    /// How many lines a log of the target's commands has.
    fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.out(name)).map_or(0, |text| text.lines().count())
    }

    /// What lies in the directory of the destination.
    fn litter(&self) -> Vec<String> {
        let names = fs::read_dir(self.file("out")).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn line(id: &str) -> String {
    format!("{id} 10.0.0.1:80 up\n")
}
