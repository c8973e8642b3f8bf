//! `kill -9` at any point of a publish: each live file is a complete one, nothing is left that a proxy would read, and the
//! next process gets everything right.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::{Process, sidekick, temp_dir, wait_for};

/// As many lines between the first and the last one, which have the value, make a file whose writing takes a while.
const LINES: usize = 50_000;
/// So often it is killed, each time a little later after its start.
const KILLS: u32 = 80;
const FILES: [&str; 2] = ["a.cfg", "b.cfg"];

/// A directory store with one key that changes all the time, and a group of two files that show it many times.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { dir: temp_dir() };
        for dir in ["conf.d", "templates", "out/conf.d", "store/v"] {
            fs::create_dir_all(scene.file(dir)).unwrap();
        }
        let value = "{{ getv(key='/v/n') }}\n";
        let template = value.to_owned() + &"line\n".repeat(LINES) + value;
        fs::write(scene.file("templates/a.tera"), template).unwrap();
        let out = scene.file("out").display().to_string();
        let table = |name: &str| {
            format!(
                "[[template]]\nsrc = 'a.tera'\ndest = '{out}/conf.d/{name}'\nkeys = ['/v']\n\
                 check_cmd = 'test $(wc -l < {{{{src}}}}) = {}'\n",
                LINES + 2
            )
        };
        let reload = format!(
            "reload_cmd = 'head -n 1 {out}/conf.d/*.cfg > {out}/loading && mv {out}/loading {out}/loaded'\n{PACE}"
        );
        let text = FILES.map(table).concat() + &reload;
        fs::write(scene.file("conf.d/a.toml"), text).unwrap();
        scene
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self) -> Process {
        let mut command = sidekick();
        command
            .args(["watch", "--store"])
            .arg(format!("dir://{}", self.file("store").display()))
            .arg("--conf-dir")
            .arg(self.dir.path())
            .env("SIDEKICK_STATE_DIR", self.file("state"));
        Process::start(&mut command, &self.file("log"))
    }

    /// The value in a live file, whose first and last line have to say the same.
    fn live(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.file("out/conf.d").join(name)).ok()?;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            (lines.first(), lines.len(), text.ends_with('\n')),
            (lines.last(), LINES + 2, true),
            "{name} is not complete"
        );
        Some(lines[0].to_owned())
    }

    /// What lies beside the live files, hidden; anything else there fails the test.
    fn hidden(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.file("out/conf.d")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let (hidden, plain): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with('.'));
        for name in plain {
            assert!(FILES.contains(&name.as_str()), "{name} could be read");
        }
        let dir = self.file("out/conf.d");
        hidden.into_iter().map(|name| dir.join(name)).collect()
    }
}

/// Gives a key a value in one step.
fn put(store: &Path, value: u64) {
    fs::write(store.join("v/.n"), format!("{value:06}")).unwrap();
    fs::rename(store.join("v/.n"), store.join("v/n")).unwrap();
}

/// Changes the value until it is told to end.
fn keep_changing(store: PathBuf, end: &Arc<AtomicBool>) -> JoinHandle<()> {
    let end = Arc::clone(end);
    std::thread::spawn(move || {
        for value in 1.. {
            if end.load(Ordering::Relaxed) {
                return;
            }
            put(&store, value);
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

#[test]
fn killed_at_any_time_the_live_files_are_complete_and_the_next_process_repairs_all() {
    let scene = Scene::new();
    put(&scene.file("store"), 0);
    let end = Arc::new(AtomicBool::new(false));
    let changing = keep_changing(scene.file("store"), &end);
    // How long a process takes until its files are there, on this machine today.
    let begun = Instant::now();
    let process = scene.start();
    wait_for("the first files", || scene.live("b.cfg"));
    drop(process);
    let span = begun.elapsed() * 3 / 2;
    let (mut seen, mut cut_short, mut torn) = (BTreeSet::new(), 0, 0);
    for kill in 0..KILLS {
        let mut process = scene.start();
        std::thread::sleep(span * kill / KILLS);
        // It alone: what it has started goes on, as it would.
        process.signal(Signal::SIGKILL);
        process.wait();
        let values = FILES.map(|name| scene.live(name));
        torn += usize::from(values[0] != values[1]);
        seen.extend(values.into_iter().flatten());
        let left = scene.hidden();
        cut_short += usize::from(!left.is_empty());
        for path in left {
            fs::remove_file(path).unwrap();
        }
    }
    end.store(true, Ordering::Relaxed);
    changing.join().unwrap();
    let _ = writeln!(
        std::io::stderr(),
        "{KILLS} kills: {} versions were live in between, {cut_short} left a candidate behind, {torn} came between the \
         two swaps of the group",
        seen.len()
    );
    assert!(seen.len() > 5, "the kills missed the publishes");

    put(&scene.file("store"), 999_999);
    let _process = scene.start();
    wait_for("both files to be right", || {
        let right = |name| scene.live(name).as_deref() == Some("999999");
        FILES.into_iter().all(right).then_some(())
    });
    wait_for("the program to run on them", || {
        let loaded = fs::read_to_string(scene.file("out/loaded")).ok()?;
        (loaded.matches("999999").count() == FILES.len()).then_some(())
    });
}

#[test]
fn files_that_killed_processes_leave_behind_are_removed_by_later_ones() {
    let scene = Scene::new();
    put(&scene.file("store"), 1);
    let old = SystemTime::now() - Duration::from_secs(60 * 60);
    let left = scene.file("out/conf.d/.a.cfg.999999.sidekick");
    fs::write(&left, "half a fi").unwrap();
    let kept = scene.file("state/reloaded");
    fs::create_dir_all(&kept).unwrap();
    let mark = scene
        .file("out/conf.d/a.cfg")
        .display()
        .to_string()
        .replace('/', "%2F");
    let mark = kept.join(format!(".{mark}.999999.sidekick"));
    fs::write(&mark, "half a m").unwrap();
    for path in [&left, &mark] {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    let _process = scene.start();
    wait_for("the reload", || fs::read(scene.file("out/loaded")).ok());
    assert!(scene.hidden().is_empty(), "{:?}", scene.hidden());
    wait_for("the mark of a killed one to go", || {
        (!mark.exists()).then_some(())
    });
}

/// A bench whose commands kill their parent, once, where a file of this name is.
fn suicidal() -> Bench {
    let kill =
        |point: &str| format!("if rm OUT/{point} 2>/dev/null; then kill -9 $PPID; sleep 1; fi");
    Bench::new(&format!(
        "check_cmd = ': {{{{src}}}}; {}'\nreload_cmd = '{}; if test -e OUT/refuse; then rm OUT/refuse; {}; exit 1; fi; \
         cat OUT/a.cfg >> OUT/loaded'\n{PACE}",
        kill("in-check"),
        kill("in-reload"),
        kill("before-failure"),
    ))
}

fn start(bench: &Bench) -> Process {
    let mut command = bench.command(&[]);
    command.env("SIDEKICK_STATE_DIR", bench.file("state"));
    Process::start(&mut command, &bench.file("log"))
}

/// Publishes what is there, once and to its end: what the program has loaded is written down.
fn publish_first(bench: &Bench) {
    start(bench).wait_said("has been updated");
    assert_eq!(loaded(bench), line("i"));
}

/// Starts it with this file there, and waits until it has been killed.
fn killed(bench: &Bench, points: &[&str]) {
    for point in points {
        fs::write(bench.out(point), "").unwrap();
    }
    let status = start(bench).wait();
    assert_eq!(status.code(), None, "it was not killed");
}

fn loaded(bench: &Bench) -> String {
    fs::read_to_string(bench.out("loaded")).unwrap_or_default()
}

#[test]
fn killed_in_a_check_the_live_file_is_the_old_one_and_then_the_new_one() {
    let bench = suicidal();
    bench.put("i");
    killed(&bench, &["in-check"]);
    assert_eq!(bench.live(), None);
    let left = bench.litter();
    assert!(
        left.iter().all(|name| name.starts_with(".a.cfg.")) && left.len() == 1,
        "{left:?}"
    );
    publish_first(&bench);
    bench.put("j");
    killed(&bench, &["in-check"]);
    assert_eq!(bench.live(), Some(line("i")));
    let _process = start(&bench);
    bench.wait_live(&(line("i") + &line("j")));
}

#[test]
fn killed_in_a_reload_the_new_file_is_live_and_the_next_process_reloads_once() {
    let bench = suicidal();
    bench.put("i");
    killed(&bench, &["in-reload"]);
    assert_eq!(
        (bench.live(), loaded(&bench)),
        (Some(line("i")), String::new())
    );
    let process = start(&bench);
    wait_for("the owed reload", || {
        (loaded(&bench) == line("i")).then_some(())
    });
    wait_for("word of it", || {
        let said = process.output();
        said.contains("the reload that was owed has been made")
            .then_some(())
    });
}

#[test]
fn killed_after_a_failed_reload_the_next_process_publishes() {
    let bench = suicidal();
    bench.put("i");
    publish_first(&bench);
    bench.put("j");
    killed(&bench, &["refuse", "before-failure"]);
    let both = line("i") + &line("j");
    assert_eq!(
        (bench.live(), loaded(&bench)),
        (Some(both.clone()), line("i"))
    );
    let _process = start(&bench);
    wait_for("the reload", || {
        (loaded(&bench) == line("i") + &both).then_some(())
    });
}

#[test]
fn killed_in_a_reload_that_fails_the_next_process_brings_the_file_of_before_back() {
    let bench = Bench::new(&format!(
        "reload_cmd = 'if rm OUT/in-reload 2>/dev/null; then kill -9 $PPID; sleep 1; fi; \
         if test $(wc -l < OUT/a.cfg) -gt 1; then exit 1; fi; cat OUT/a.cfg >> OUT/loaded'\n{PACE}"
    ));
    bench.put("i");
    publish_first(&bench);
    bench.put("j");
    killed(&bench, &["in-reload"]);
    assert_eq!(bench.live(), Some(line("i") + &line("j")));
    let process = start(&bench);
    process.wait_said("the reload failed, and the previous file is in force again");
    bench.wait_live(&line("i"));
    assert_eq!(loaded(&bench).replace(&line("i"), ""), "");
}

#[test]
fn killed_while_it_writes_over_a_mount_the_next_process_puts_it_right() {
    let bench = Bench::new(&format!(
        "reload_cmd = 'cat OUT/a.cfg >> OUT/loaded'\n{PACE}"
    ));
    let source = bench.file("source.cfg");
    // What a kill in the midst of it leaves: a part.
    fs::write(&source, &line("i")[..5]).unwrap();
    fs::write(bench.out("a.cfg"), "").unwrap();
    bench.put("i");
    let mount = format!("mount --bind {} OUT/a.cfg", source.display());
    let output = super::files::in_mounts(&bench, &mount, &["--once"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_to_string(&source).unwrap(), line("i"));
    assert_eq!(loaded(&bench), line("i"));
}

#[test]
fn a_mounted_file_on_a_full_disk_stays_as_it_was() {
    let bench = Bench::new(PACE);
    bench.template("a.tera", &"x".repeat(40_000));
    bench.put("i");
    let small = bench.file("small");
    fs::create_dir(&small).unwrap();
    fs::write(bench.out("a.cfg"), "").unwrap();
    let at = small.display();
    let script = format!(
        "mount -t tmpfs -o size=16k tmpfs {at}; echo old > {at}/f; mount --bind {at}/f OUT/a.cfg; \
         \"$0\" \"$@\" || echo status $?; cat {at}/f; exit"
    );
    let output = super::files::in_mounts(&bench, &script, &["--once"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "status 1\nold\n");
}
