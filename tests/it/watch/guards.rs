//! `[template.guard]` and `sidekick guard`: what is lost is held or let go, told, seen and released.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use nix::sys::signal::Signal;

use super::{PACE, TEMPLATE};
use crate::harness::etcd::Etcd;
use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// A directory store, a state directory, and one target `a` with a file of two services.
struct Bench {
    dir: tempfile::TempDir,
    store: String,
}

impl Bench {
    fn new(guard: &str) -> Self {
        let dir = temp_dir();
        for name in ["store/services/web", "conf.d", "templates", "aside"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let store = format!("dir://{}/store", dir.path().display());
        let bench = Self { dir, store };
        bench.conf(guard);
        let db = TEMPLATE.replace("web", "db");
        fs::write(bench.file("templates/a.tera"), TEMPLATE.to_owned() + &db).unwrap();
        bench
    }

    fn conf(&self, guard: &str) {
        self.conf_of("a.cfg", "'web', 'db'", guard);
    }

    fn conf_of(&self, dest: &str, services: &str, guard: &str) {
        let dest = self.file(dest);
        let text = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = [{services}]\n{PACE}[template.guard]\n{guard}\n",
            dest.display()
        );
        fs::write(self.file("conf.d/a.toml"), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn instance(&self, service: &str, id: &str) -> PathBuf {
        self.file("store/services").join(service).join(id)
    }

    /// Puts an instance, all of it in one step.
    fn put(&self, service: &str, id: &str) {
        self.put_at(service, id, "10.0.0.1");
    }

    fn put_at(&self, service: &str, id: &str, ip: &str) {
        let aside = self.file("aside").join(id);
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("ip"), ip).unwrap();
        fs::write(aside.join("port"), "80").unwrap();
        fs::create_dir_all(self.file("store/services").join(service)).unwrap();
        fs::rename(aside, self.instance(service, id)).unwrap();
    }

    /// It goes without a word, all of it in one step.
    fn lose(&self, service: &str, id: &str) {
        fs::rename(self.instance(service, id), self.file("aside").join(id)).unwrap();
        fs::remove_dir_all(self.file("aside").join(id)).unwrap();
    }

    fn drain(&self, service: &str, id: &str) {
        // In one step: a file that is there and still empty is no state, and the instance would be skipped for a moment.
        let dir = self.instance(service, id);
        fs::write(dir.join(".state"), "drain").unwrap();
        fs::rename(dir.join(".state"), dir.join("state")).unwrap();
    }

    fn start(&self, args: &[&str]) -> Process {
        Process::start(self.watch().args(args), &self.file("log"))
    }

    fn watch(&self) -> std::process::Command {
        let mut command = sidekick();
        command.args(["watch", "--store", &self.store, "--conf-dir"]);
        command.arg(self.dir.path()).arg("--state-dir");
        command.arg(self.file("state"));
        command
    }

    fn guard(&self, args: &[&str]) -> Output {
        let mut command = sidekick();
        command.arg("guard").args(args).arg("--state-dir");
        command.arg(self.file("state")).output().unwrap()
    }

    fn list(&self) -> String {
        text(&self.guard(&["list"]))
    }

    fn live(&self) -> String {
        fs::read_to_string(self.file("a.cfg")).unwrap_or_default()
    }

    /// Waits until the file shows just these; an id stands for an instance that is up, with `-` at its end for one that drains.
    fn wait_live(&self, ids: &[&str]) {
        let line = |id: &&str| match id.strip_suffix('-') {
            Some(id) => format!("{id} 10.0.0.1:80 drain\n"),
            None => format!("{id} 10.0.0.1:80 up\n"),
        };
        let want: String = ids.iter().map(line).collect();
        wait_for(&format!("the file to show {ids:?}"), || {
            (self.live() == want).then_some(())
        });
    }
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn a_clean_stop_is_published_at_once_also_of_the_last_instance() {
    let bench = Bench::new("");
    bench.put("web", "i");
    bench.put("web", "j");
    let process = bench.start(&[]);
    bench.wait_live(&["i", "j"]);
    for (id, left) in [("i", &["i-", "j"][..]), ("j", &["j-"][..])] {
        bench.drain("web", id);
        bench.wait_live(left);
        bench.lose("web", id);
        bench.wait_live(&left[1..]);
    }
    assert!(!process.output().contains("stay"), "{}", process.output());
    assert_eq!(bench.list(), "nothing is held\n");
}

#[test]
fn a_lost_service_is_held_while_others_change_until_one_returns() {
    let bench = Bench::new("hold = '1h'");
    for id in ["x", "y", "z"] {
        bench.put("db", id);
    }
    bench.put("web", "i");
    let process = bench.start(&[]);
    bench.wait_live(&["i", "x", "y", "z"]);
    fs::rename(bench.file("store/services/db"), bench.file("aside/db")).unwrap();
    process.wait_said("all 3 instances are lost: x, y, z stay");
    bench.put("web", "j");
    bench.wait_live(&["i", "j", "x", "y", "z"]);
    let list = bench.list();
    let json = text(&bench.guard(&["list", "--format", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json[0]["target"], &json[0]["running"]),
        (&"a".into(), &true.into()),
        "{json}"
    );
    assert!(
        json[0]["since"].is_u64() && json[0]["instances"].is_array(),
        "{json}"
    );
    assert!(
        list.contains("until it returns  none is left\n  x, y, z\n"),
        "{list}"
    );
    // The first one that returns ends the wait without end.
    bench.put("db", "x");
    wait_for("a time", || {
        (bench.list().contains("\n  y, z\n") && !bench.list().contains("until it returns"))
            .then_some(())
    });
    bench.put("db", "y");
    bench.put("db", "z");
    process.wait_said("db: nothing is held any more");
    bench.wait_live(&["i", "j", "x", "y", "z"]);
    assert_eq!(bench.list(), "nothing is held\n");
    assert_eq!(
        process.output().matches(" WARN ").count(),
        1,
        "{}",
        process.output()
    );
}

#[test]
fn too_large_a_loss_is_held_for_its_time() {
    let bench = Bench::new("max_drop = '50%'\nhold = '1s'");
    for id in ["i", "j", "k", "l"] {
        bench.put("web", id);
    }
    let process = bench.start(&[]);
    bench.wait_live(&["i", "j", "k", "l"]);
    bench.lose("web", "i");
    bench.wait_live(&["j", "k", "l"]);
    bench.lose("web", "j");
    bench.wait_live(&["k", "l"]);
    bench.lose("web", "k");
    process.wait_said("3 of 4 instances are lost within 30s, and max_drop is 50%: i, j, k stay");
    process.wait_said("i, j, k are given up, since they were held long enough");
    bench.wait_live(&["l"]);
}

#[test]
fn a_hold_is_released_by_hand() {
    let bench = Bench::new("min_instances = 2\nhold = '1h'");
    let absent = bench.guard(&["release", "a"]);
    assert_eq!(absent.status.code(), Some(69), "{absent:?}");
    fs::create_dir(bench.file("state")).unwrap();
    let unknown = bench.guard(&["release", "a"]);
    assert_eq!(unknown.status.code(), Some(64), "{unknown:?}");
    bench.put("web", "i");
    bench.put("web", "j");
    let mut process = bench.start(&[]);
    bench.wait_live(&["i", "j"]);
    wait_for("its record", || {
        let nothing = bench.guard(&["release", "a"]);
        assert_ne!(nothing.status.code(), Some(0), "{nothing:?}");
        (nothing.status.code() == Some(1) && text(&nothing).contains("nothing is held"))
            .then_some(())
    });
    bench.lose("web", "i");
    process.wait_said("1 of 2 instances is lost, and min_instances is 2: i stays");
    wait_for("the record of the hold", || {
        bench.list().contains("\n  i\n").then_some(())
    });
    let unknown = bench.guard(&["release", "b"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(text(&unknown).contains("knows a"), "{unknown:?}");
    let released = bench.guard(&["release", "a"]);
    assert_eq!(released.status.code(), Some(0), "{released:?}");
    assert_eq!(text(&released), "a: released\n");
    bench.wait_live(&["j"]);
    process.wait_said("i is given up, by hand");
    assert_eq!(bench.guard(&["release", "--all"]).status.code(), Some(1));
    // Who holds it is gone: nobody answers, and nobody waits for that.
    bench.lose("web", "j");
    wait_for("the second hold", || {
        bench.list().contains("\n  j\n").then_some(())
    });
    process.signal(Signal::SIGTERM);
    process.wait();
    let gone = bench.guard(&["release", "a"]);
    assert_eq!(gone.status.code(), Some(69), "{gone:?}");
    assert!(bench.list().contains("has ended"), "{}", bench.list());
}

#[test]
fn a_pass_that_changes_nothing_names_what_the_running_process_holds() {
    let bench = Bench::new("min_instances = 2\nhold = '1h'");
    bench.put("web", "i");
    bench.put("web", "j");
    let mut process = bench.start(&[]);
    bench.wait_live(&["i", "j"]);
    let pass = || {
        let mut watch = bench.watch();
        watch.args(["--once", "--noop", "--diff"]).output().unwrap()
    };
    let nothing = text(&pass());
    assert!(!nothing.contains("holds"), "{nothing}");
    wait_for("its record", || {
        let list = bench.guard(&["release", "a"]);
        (list.status.code() == Some(1)).then_some(())
    });
    bench.lose("web", "i");
    wait_for("the record of the hold", || {
        bench.list().contains("\n  i\n").then_some(())
    });
    let said = pass();
    let said = (said.status.code(), text(&said));
    assert!(said.0 == Some(2) && said.1.contains("\n-i "), "{said:?}");
    let want = "a: web: the guard of the running `sidekick watch` (process ";
    assert!(
        said.1.contains(want) && said.1.contains("holds 1 instance until 20"),
        "{said:?}"
    );
    // What nobody keeps any more does go.
    process.signal(Signal::SIGTERM);
    process.wait();
    let gone = text(&pass());
    assert!(!gone.contains("the running"), "{gone}");
}

#[test]
fn a_store_that_is_empty_after_the_start_does_not_wipe_the_file() {
    let bench = Bench::new("");
    bench.put("web", "i");
    bench.put("db", "x");
    let mut process = bench.start(&[]);
    bench.wait_live(&["i", "x"]);
    wait_for("its record", || {
        bench.file("state/guards").read_dir().ok()?.next()?.ok()
    });
    process.signal(Signal::SIGTERM);
    process.wait();

    // One of two services is empty. A single pass leaves the file as it is, and has failed.
    bench.lose("db", "x");
    bench.put("web", "j");
    let once = bench.watch().arg("--once").output().unwrap();
    assert_eq!(once.status.code(), Some(1), "{once:?}");
    bench.wait_live(&["i", "x"]);

    // What was there of it is held, and everything else goes on, also over another restart.
    let mut process = bench.start(&[]);
    process.wait_said("a: db: the only instance is lost: x stays in");
    bench.wait_live(&["i", "j", "x"]);
    bench.drain("web", "i");
    bench.wait_live(&["i-", "j", "x"]);
    bench.lose("web", "i");
    bench.wait_live(&["j", "x"]);
    process.signal(Signal::SIGTERM);
    process.wait();
    bench.put("web", "i");
    let mut process = bench.start(&[]);
    bench.wait_live(&["i", "j", "x"]);
    assert!(
        bench.list().contains("\na       db ") && bench.list().contains("none is left"),
        "{}",
        bench.list()
    );
    bench.put("db", "y");
    bench.wait_live(&["i", "j", "x", "y"]);
    assert_eq!(bench.guard(&["release", "a"]).status.code(), Some(0));
    bench.wait_live(&["i", "j", "y"]);
    process.signal(Signal::SIGTERM);
    process.wait();

    // Where nobody knows what there was, the file is left as it is, and a command starts with it.
    bench.lose("db", "y");
    bench.put("web", "k");
    fs::remove_dir_all(bench.file("state/snapshots")).unwrap();
    let started = bench.file("started").display().to_string();
    let mut process = bench.start(&[
        "--",
        "sh",
        "-c",
        &format!("touch {started}; exec sleep 600"),
    ]);
    process.wait_said("nothing of db is announced after the start, and what");
    wait_for("the command", || {
        bench.file("started").exists().then_some(())
    });
    bench.wait_live(&["i", "j", "y"]);
    let list = bench.list();
    assert!(
        list.contains("\na       (whole file) ")
            && list.contains("until it returns  nothing of db is announced after the start"),
        "{list}"
    );
    bench.put("db", "y");
    bench.wait_live(&["i", "j", "k", "y"]);
    process.signal(Signal::SIGTERM);
    process.wait();

    // By hand it goes through, and is remembered.
    bench.lose("db", "y");
    fs::remove_dir_all(bench.file("state/snapshots")).unwrap();
    let mut process = bench.start(&[]);
    wait_for("the freeze", || {
        bench.list().contains("(whole file)").then_some(())
    });
    assert_eq!(bench.guard(&["release", "a"]).status.code(), Some(0));
    bench.wait_live(&["i", "j", "k"]);
    process.signal(Signal::SIGTERM);
    process.wait();
    let once = bench.watch().arg("--once").output().unwrap();
    assert_eq!(once.status.code(), Some(0), "{once:?}");
}

#[test]
fn a_file_that_nobody_remembers_is_kept_while_nothing_at_all_is_announced() {
    let bench = Bench::new("");
    // Without a file there is nothing to lose, and a proxy that waits for its first one.
    let once = bench.watch().arg("--once").output().unwrap();
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    assert!(bench.file("a.cfg").exists());
    fs::remove_dir_all(bench.file("state")).unwrap();
    fs::write(bench.file("a.cfg"), "somebody's\n").unwrap();
    let process = bench.start(&[]);
    process.wait_said("nothing it follows is announced after the start");
    assert_eq!(bench.live(), "somebody's\n");
    bench.put("web", "i");
    bench.wait_live(&["i"]);
}

#[test]
fn instances_outside_of_the_networks_are_skipped_and_logged_once() {
    let bench = Bench::new("networks = ['10.0.0.0/8']");
    bench.put("web", "i");
    bench.put_at("web", "o", "192.168.0.1");
    let process = bench.start(&[]);
    bench.wait_live(&["i"]);
    bench.drain("web", "o");
    bench.put("web", "j");
    bench.wait_live(&["i", "j"]);
    let told = process.output().matches("web/o is skipped").count();
    assert_eq!(told, 1, "{}", process.output());
}

#[test]
fn changed_limits_apply_to_holds_under_way() {
    let bench = Bench::new("hold = '1h'");
    bench.put("web", "i");
    let process = bench.start(&[]);
    bench.wait_live(&["i"]);
    bench.lose("web", "i");
    process.wait_said("the only instance is lost: i stays in");
    bench.conf("hold = '2h'");
    process.wait_said("the configuration has changed");
    bench.put("db", "x");
    bench.wait_live(&["i", "x"]);
    bench.conf("on_empty = 'render'\nmax_drop = '100%'");
    bench.wait_live(&["x"]);
}

#[test]
fn holds_outlive_a_change_of_the_configuration() {
    let guard = "max_drop = '50%'\nhold = '1h'";
    let bench = Bench::new(guard);
    for id in ["i", "j", "k", "l"] {
        bench.put("web", id);
    }
    bench.put("db", "x");
    let process = bench.start(&[]);
    bench.wait_live(&["i", "j", "k", "l", "x"]);
    bench.lose("db", "x");
    for id in ["i", "j", "k"] {
        bench.lose("web", id);
    }
    wait_for("both holds", || {
        let list = bench.list();
        (list.contains("\n  x\n") && list.contains("\n  i, j, k\n")).then_some(())
    });
    let changes = |count: usize| {
        wait_for("the configuration to be read", || {
            let read = process.output().matches("has changed").count();
            (read >= count).then_some(())
        });
    };

    // Another name of the file.
    fs::rename(bench.file("conf.d/a.toml"), bench.file("conf.d/b.toml")).unwrap();
    changes(1);
    wait_for("the other name", || {
        bench.list().contains("\nb       db ").then_some(())
    });
    bench.put("web", "m");
    bench.wait_live(&["i", "j", "k", "l", "m", "x"]);
    fs::rename(bench.file("conf.d/b.toml"), bench.file("conf.d/a.toml")).unwrap();
    changes(2);
    bench.put("web", "n");
    bench.wait_live(&["i", "j", "k", "l", "m", "n", "x"]);

    // Another destination, and a service more.
    bench.conf_of("other.cfg", "'web', 'db', 'more'", guard);
    let live = bench.live();
    wait_for("the other file", || {
        (fs::read_to_string(bench.file("other.cfg")).ok()? == live).then_some(())
    });
    changes(3);
    assert!(
        bench.list().contains("\na       db ") && bench.list().contains("none is left"),
        "{}",
        bench.list()
    );
    bench.conf(guard);
    changes(4);
    bench.put("web", "o");
    bench.wait_live(&["i", "j", "k", "l", "m", "n", "o", "x"]);

    // A service less: what was held of it goes, and that is told; the other one is held still.
    bench.conf_of("a.cfg", "'web'", guard);
    process.wait_said("a: db: x is given up, since no target follows it");
    changes(5);
    fs::write(bench.file("templates/a.tera"), TEMPLATE).unwrap();
    bench.put("web", "p");
    bench.wait_live(&["i", "j", "k", "l", "m", "n", "o", "p"]);
    assert!(!bench.list().contains("db"), "{}", bench.list());
    assert!(bench.list().contains("\n  i, j, k\n"), "{}", bench.list());
    bench.conf("on_empty = 'render'\nmax_drop = '100%'");
    process.wait_said("i, j, k are given up, since the limits are others now");
    bench.wait_live(&["l", "m", "n", "o", "p"]);
}

#[test]
fn the_hold_of_one_service_is_released_alone() {
    let bench = Bench::new("hold = '1h'");
    bench.put("web", "i");
    bench.put("db", "x");
    let _process = bench.start(&[]);
    bench.wait_live(&["i", "x"]);
    bench.lose("web", "i");
    bench.lose("db", "x");
    wait_for("both to be held", || {
        (bench.list().matches("none is left").count() == 2).then_some(())
    });
    let db = ["release", "a", "--service", "db"];
    let released = bench.guard(&db);
    assert_eq!(
        (released.status.code(), text(&released)),
        (Some(0), "a: db: released\n".into())
    );
    bench.wait_live(&["i"]);
    assert!(
        bench.list().contains("\na       web ") && bench.list().contains("none is left"),
        "{}",
        bench.list()
    );
    let again = bench.guard(&db);
    assert_eq!(
        (again.status.code(), text(&again)),
        (Some(1), "a: nothing of db is held\n".into())
    );
    assert_eq!(bench.guard(&["release", "a"]).status.code(), Some(0));
    bench.wait_live(&[]);
}

#[test]
fn a_file_that_goes_while_it_is_kept_is_published() {
    let bench = Bench::new("");
    fs::write(bench.file("a.cfg"), "somebody's\n").unwrap();
    let process = bench.start(&["--interval", "1s"]);
    process.wait_said("nothing it follows is announced after the start");
    fs::remove_file(bench.file("a.cfg")).unwrap();
    wait_for("the file", || bench.file("a.cfg").exists().then_some(()));
    process.wait_said("there is nothing to keep");
    wait_for("the record", || {
        (bench.list() == "nothing is held\n").then_some(())
    });
}

#[test]
fn leases_that_expire_together_are_held_and_a_stop_is_not() {
    let (etcd, mut bench) = (Etcd::start_new(), Bench::new("hold = '1h'"));
    bench.store = etcd.url();
    let register = |id: &str| {
        let mut command = sidekick();
        command.args([
            "register",
            "--store",
            &bench.store,
            "--name",
            "web",
            "--port",
            "80",
        ]);
        command.args(["--id", id, "--ip", "10.0.0.1", "--ttl", "2s"]);
        Process::start(&mut command, &bench.file(id))
    };
    let [i, j, mut k] = ["i", "j", "k"].map(register);
    let process = bench.start(&[]);
    bench.wait_live(&["i", "j", "k"]);
    // What `register` is going to do before it withdraws: it drains.
    let keys = etcd.etcdctl(&["get", "--write-out=json", "/services/web/k/ip"]);
    let lease =
        serde_json::from_str::<serde_json::Value>(&keys).unwrap()["kvs"][0]["lease"].as_u64();
    let lease = format!("--lease={:x}", lease.unwrap());
    etcd.etcdctl(&["put", &lease, "/services/web/k/state", "drain"]);
    bench.wait_live(&["i", "j", "k-"]);
    k.signal(Signal::SIGTERM);
    k.wait();
    bench.wait_live(&["i", "j"]);
    i.signal(Signal::SIGKILL);
    j.signal(Signal::SIGKILL);
    process.wait_said("instances are lost");
    wait_for("all keys to expire", || {
        etcd.etcdctl(&["get", "--prefix", "--keys-only", "/services/"])
            .trim()
            .is_empty()
            .then_some(())
    });
    wait_for("both to be held", || {
        (bench.list().contains("none is left") && bench.list().contains("\n  i, j\n")).then_some(())
    });
    bench.wait_live(&["i", "j"]);
    let _back = register("i");
    wait_for("the other one to have its time", || {
        (bench.list().contains("\n  j\n") && !bench.list().contains("until it returns"))
            .then_some(())
    });
    assert_eq!(bench.guard(&["release", "--all"]).status.code(), Some(0));
    bench.wait_live(&["i"]);
}

#[test]
fn the_log_does_not_say_that_a_file_stays_that_was_never_published() {
    let bench = Bench::new("");
    let conf = bench.file("conf.d/a.toml");
    let text = fs::read_to_string(&conf).unwrap();
    let check = "[template]\ncheck_cmd = 'test {{src}} = no'\n";
    fs::write(conf, text.replace("[template]\n", check)).unwrap();
    bench.put("web", "i");
    let process = bench.start(&[]);
    process.wait_said("the check refused the new file, and there is no live one yet");
    bench.lose("web", "i");
    process.wait_said("the only instance is lost: i is kept for");
    let said = process.output();
    assert!(
        said.contains("a.cfg, which is not there yet, until"),
        "{said}"
    );
    assert!(!said.contains("stays"), "{said}");
}

/// Servers that stop together with a watcher are no loss: it publishes nothing any more.
#[test]
fn losses_during_a_stop_are_not_logged() {
    let bench = Bench::new("on_empty = 'hold'");
    bench.put("web", "a");
    let gate = bench.file("gate");
    let script = format!(
        "trap 'echo stopping >&2; while ! test -e {}; do sleep 0.02; done; exit 0' TERM; while :; do sleep 0.02; done",
        gate.display()
    );
    let mut stopped = bench.start(&["--", "sh", "-c", &script]);
    stopped.wait_said("has been updated");
    let mut beside = Bench::new("on_empty = 'hold'");
    beside.store.clone_from(&bench.store);
    let other = beside.start(&[]);
    other.wait_said("has been updated");
    stopped.signal(Signal::SIGTERM);
    stopped.wait_said("stopping");
    bench.lose("web", "a");
    other.wait_said("the only instance is lost");
    fs::write(gate, "").unwrap();
    assert!(stopped.wait().success(), "{}", stopped.output());
    assert!(!stopped.output().contains("lost"), "{}", stopped.output());
}
