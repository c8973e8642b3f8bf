//! Reloads of real daemons: seen when they are in force, and noticed when they are not.

mod apache;
mod generation;
mod haproxy;
mod lingering;
mod nginx;
mod pace;
mod shellless;
mod unit;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::etcd::Etcd;
use crate::harness::{PATIENCE, Process, free_port, sidekick, temp_dir, wait_for};
use crate::routing::ask;

/// What stands in a line of the template where the daemon's own words are.
const ANSWER: &str = "{% for i in services.web %}{{ i.id }}{% endfor %}";

/// So long before patience ends, a failing test says what it has seen.
const MOMENT: Duration = Duration::from_secs(1);

/// A store, and a target whose file makes a daemon
/// - answer with the ids of the instances of `web`,
/// - listen to the ports of the instances of `listen` too,
/// - refuse the file if `broken` has an instance.
struct Bench {
    etcd: Etcd,
    dir: tempfile::TempDir,
    port: u16,
}

impl Bench {
    /// `template` with PORT and DIR, and further lines of the target with DIR.
    fn new(template: &str, target: &str) -> Self {
        let bench = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
            port: free_port(),
        };
        for dir in ["conf.d", "templates"] {
            fs::create_dir(bench.file(dir)).unwrap();
        }
        bench.target("a", template, target);
        bench.put("web", "a", 80);
        bench
    }

    fn target(&self, name: &str, template: &str, target: &str) {
        let template = template.replace("ANSWER", ANSWER);
        fs::write(
            self.file(&format!("templates/{name}.tera")),
            self.fill(&template),
        )
        .unwrap();
        let target = format!(
            "[template]\nsrc = '{name}.tera'\ndest = 'DIR/{name}.cfg'\nservices = ['web', 'listen', 'broken', 'server']\n\
             {target}\n[template.pace]\nmin_interval = '0s'\n\
             [template.guard]\non_empty = 'render'\nmax_drop = '100%'\n"
        );
        fs::write(
            self.file(&format!("conf.d/{name}.toml")),
            self.fill(&target),
        )
        .unwrap();
    }

    /// The least time between two reloads.
    fn min_interval(&self, text: &str) {
        let file = self.file("conf.d/a.toml");
        let target = fs::read_to_string(&file).unwrap();
        let pace = format!("min_interval = '{text}'");
        fs::write(file, target.replace("min_interval = '0s'", &pace)).unwrap();
    }

    fn fill(&self, text: &str) -> String {
        text.replace("PORT", &self.port.to_string())
            .replace("DIR", &self.dir.path().display().to_string())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn live(&self) -> String {
        fs::read_to_string(self.file("a.cfg")).unwrap_or_default()
    }

    fn watch(&self, args: &[&str]) -> Process {
        let mut command = sidekick();
        command.args(["watch", "--store", &self.etcd.url(), "--conf-dir"]);
        command.arg(self.dir.path()).args(args);
        Process::start(&mut command, &self.file("watch.log"))
    }

    /// The first file, for which there is nobody yet.
    fn first(&self) {
        self.watch(&["--once"]).wait();
        assert_ne!(self.live(), "");
        fs::remove_file(self.file("watch.log")).unwrap();
    }

    fn run(&self, command: &mut Command) -> Process {
        Process::start(command, &self.file("daemon.log"))
    }

    fn put(&self, service: &str, id: &str, port: u16) {
        self.etcd.put_instance(service, id, "127.0.0.1", port);
    }

    fn delete(&self, service: &str) {
        let at = format!("/services/{service}/");
        self.etcd.etcdctl(&["del", "--prefix", &at]);
    }

    #[track_caller]
    fn wait_answer(port: u16, want: &str, watch: &Process) {
        let mut last = None;
        let start = std::time::Instant::now();
        wait_for("the daemon's answer", || {
            last = ask(port, "localhost", "/");
            let late = start.elapsed() + MOMENT > PATIENCE;
            assert!(!late, "{last:?} in place of {want:?}: {}", watch.output());
            (last.as_deref().map(str::trim) == Some(want)).then_some(())
        });
    }

    #[track_caller]
    fn wait_said(want: &str, watch: &Process) {
        watch.wait_said(want);
    }

    /// A good change is in force when it is said to be; one that the daemon will not have is noticed, and the file of
    /// before comes back; when nothing is in the way any more, and somebody asks for it, the change comes into force.
    fn play(&self, refused: &str) {
        let watch = self.watch(&[]);
        Self::wait_answer(self.port, "a", &watch);
        self.put("web", "b", 80);
        Self::wait_said("has been updated", &watch);
        assert_eq!(
            ask(self.port, "localhost", "/").as_deref().map(str::trim),
            Some("ab")
        );

        let other = free_port();
        let somebody = TcpListener::bind(("127.0.0.1", other)).unwrap();
        let before = self.live();
        self.put("listen", "x", other);
        Self::wait_said(refused, &watch);
        Self::wait_said("which is still in force, is back", &watch);
        wait_for("the previous file", || {
            (self.live() == before).then_some(())
        });
        Self::wait_answer(self.port, "ab", &watch);
        drop(somebody);
        watch.signal(Signal::SIGHUP);
        Self::wait_answer(other, "ab", &watch);
        Self::wait_said("failure", &watch);

        // A check that lies.
        let before = self.live();
        self.put("broken", "x", 1);
        wait_for("another failure", || {
            let said = watch.output();
            (said.matches(refused).count() >= 2).then_some(())
        });
        wait_for("the previous file", || {
            (self.live() == before).then_some(())
        });
        Self::wait_answer(self.port, "ab", &watch);
        self.delete("broken");
        self.put("web", "c", 80);
        Self::wait_answer(self.port, "abc", &watch);
    }
}
