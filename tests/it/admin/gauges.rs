//! The gauges for owed reloads, guards and snapshots, of a real watcher with an HAProxy and an etcd.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{get, value};
use crate::harness::etcd::Etcd;
use crate::harness::{Process, free_port, haproxy, sidekick, temp_dir, wait_for};

/// How many instances there are is a part that no HAProxy changes while it runs.
const COUNT: &str = "    http-response set-header x-instances {{ services.web | length }}\n";

struct Site {
    etcd: Etcd,
    dir: TempDir,
    admin: u16,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            etcd: Etcd::start_new(),
            dir: temp_dir(),
            admin: free_port(),
        };
        for dir in ["conf.d", "templates"] {
            fs::create_dir(site.file(dir)).unwrap();
        }
        let template = haproxy::template(site.dir.path(), COUNT, "");
        fs::write(site.file("templates/a.tera"), template).unwrap();
        let dest = site.file("a.cfg").display().to_string();
        let target = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{dest}'\nservices = ['web']\n{}\
             [template.pace]\nmin_interval = '5s'\n[template.guard]\nmax_drop = '50%'\n",
            haproxy::sockets(site.dir.path())
        );
        fs::write(site.file("conf.d/a.toml"), target).unwrap();
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sidekick(&self, args: &[&str]) -> Command {
        let mut command = sidekick();
        command
            .env("SIDEKICK_STORE", self.etcd.url())
            .env("SIDEKICK_CONF_DIR", self.dir.path())
            .env("SIDEKICK_STATE_DIR", self.file("state"))
            .args(args);
        command
    }

    fn watch(&self) -> Process {
        let admin = format!("127.0.0.1:{}", self.admin);
        let mut command = self.sidekick(&["watch", "--admin", &admin]);
        Process::start(&mut command, &self.file("watch.log"))
    }

    fn put(&self, id: &str) {
        self.etcd.put_instance("web", id, "127.0.0.1", 80);
    }

    /// Waits until this gauge of the target has this value.
    #[track_caller]
    fn wait(&self, gauge: &str, wanted: f64) {
        let series = format!("sidekick_target_{gauge}{{target=\"a\"}}");
        wait_for(&format!("{series} to be {wanted}"), || {
            let metrics = get(self.admin, "/metrics")?.1;
            (value(&metrics, &series) == Some(wanted)).then_some(())
        });
    }

    fn has(&self, gauge: &str) -> bool {
        let metrics = get(self.admin, "/metrics").unwrap().1;
        value(
            &metrics,
            &format!("sidekick_target_{gauge}{{target=\"a\"}}"),
        )
        .is_some()
    }
}

#[test]
fn owed_held_and_stale_are_those_of_a_real_watcher() {
    let mut site = Site::new();
    site.put("a");
    // The first file, for which there is nobody yet.
    let once = site.sidekick(&["watch", "--once"]).output().unwrap();
    assert!(site.file("a.cfg").exists(), "{once:?}");
    let _haproxy = haproxy::start(site.dir.path(), &site.file("a.cfg"));
    let watch = site.watch();
    for gauge in ["reload_owed", "held", "held_instances", "stale"] {
        site.wait(gauge, 0.0);
    }
    assert!(!site.has("snapshot_timestamp_seconds"));

    // Two reloads keep their distance: the second one is owed until then.
    site.put("b");
    watch.wait_said("has been updated");
    site.put("c");
    site.wait("reload_owed", 1.0);
    site.wait("reload_owed", 0.0);

    let gone = "\ndel --prefix /services/web/b/\ndel --prefix /services/web/c/\n\n\n";
    site.etcd.etcdctl_with(&["txn"], gone.as_bytes());
    site.wait("held", 1.0);
    site.wait("held_instances", 2.0);
    let release = site.sidekick(&["guard", "release", "a"]).output().unwrap();
    assert!(release.status.success(), "{release:?}");
    site.wait("held", 0.0);
    site.wait("held_instances", 0.0);

    drop(watch); // It is killed.
    site.etcd.stop();
    let _watch = site.watch();
    site.wait("stale", 1.0);
    assert!(site.has("snapshot_timestamp_seconds"));
    site.etcd.start();
    site.wait("stale", 0.0);
    assert!(!site.has("snapshot_timestamp_seconds"));
}
