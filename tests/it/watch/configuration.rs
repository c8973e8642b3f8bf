//! Edits of conf.d and templates while it runs.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::wait_for;

/// The template of the bench with a word in front of each line.
fn worded(word: &str) -> String {
    format!("{{% for i in services.web %}}{word} {{{{ i.id }}}}\n{{% endfor %}}")
}

#[test]
fn an_edited_template_applies_without_a_restart_and_a_bad_one_changes_nothing() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    bench.template("a.tera", &worded("new"));
    bench.wait_live("new i\n");
    // As editors do: another file takes the name.
    let aside = bench.file("templates/.a.swp");
    fs::write(&aside, worded("newer")).unwrap();
    fs::rename(&aside, bench.file("templates/a.tera")).unwrap();
    bench.wait_live("newer i\n");
    bench.template("a.tera", "fine\n{% if %}\n");
    wait_for("word of it", || {
        process.output().contains("a.tera:2: ").then_some(())
    });
    assert!(
        process.output().contains("the previous one stays in force"),
        "{}",
        process.output()
    );
    bench.put("j");
    bench.wait_live("newer i\nnewer j\n");
    bench.template("a.tera", &worded("mended"));
    bench.wait_live("mended i\nmended j\n");
}

#[test]
fn targets_come_and_go_with_their_files() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    bench.target("b", PACE);
    wait_for("the new target", || {
        fs::read_to_string(bench.out("b.cfg")).ok()
    });
    // Another path of the store, which nobody has followed until now.
    let text = fs::read_to_string(bench.file("conf.d/b.toml")).unwrap();
    bench.etcd.etcdctl(&["put", "/other/x", "hello"]);
    bench.template("c.tera", "{{ getv(key='/other/x') }}");
    let text = text
        .replace("services = ['web']", "keys = ['/other']")
        .replace("b.cfg", "c.cfg");
    fs::write(
        bench.file("conf.d/c.toml"),
        text.replace("a.tera", "c.tera"),
    )
    .unwrap();
    wait_for("the other path", || {
        (fs::read_to_string(bench.out("c.cfg")).ok()? == "hello").then_some(())
    });
    fs::remove_file(bench.file("conf.d/a.toml")).unwrap();
    wait_for("word of it", || {
        process.output().contains("there were 3").then_some(())
    });
    bench.put("j");
    wait_for("the others to go on", || {
        (fs::read_to_string(bench.out("b.cfg")).ok()? == line("i") + &line("j")).then_some(())
    });
    assert_eq!(bench.live(), Some(line("i")), "nobody keeps it any more");
}

#[test]
fn a_configuration_behind_a_link_is_swapped_as_kubernetes_does() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let templates = bench.file("templates");
    for (name, word) in [("..one", "one"), ("..two", "two")] {
        fs::create_dir(templates.join(name)).unwrap();
        fs::write(templates.join(name).join("a.tera"), worded(word)).unwrap();
    }
    fs::remove_file(templates.join("a.tera")).unwrap();
    symlink("..one", templates.join("..data")).unwrap();
    symlink("..data/a.tera", templates.join("a.tera")).unwrap();
    let _process = bench.start(&[]);
    bench.wait_live("one i\n");
    symlink("..two", templates.join("..data_tmp")).unwrap();
    fs::rename(templates.join("..data_tmp"), templates.join("..data")).unwrap();
    bench.wait_live("two i\n");
}

#[test]
fn a_configuration_that_is_replaced_as_a_whole_is_noticed() {
    let bench = Bench::new(PACE);
    bench.put("i");
    // Releases beside each other, and a link to the one that counts.
    let release = |name: &str| {
        let dir = bench.file(name);
        for part in ["conf.d", "templates"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        fs::copy(bench.file("conf.d/a.toml"), dir.join("conf.d/a.toml")).unwrap();
        fs::write(dir.join("templates/a.tera"), worded(name)).unwrap();
    };
    for name in ["one", "two", "three", "four"] {
        release(name);
    }
    let link = bench.file("link");
    symlink("one", &link).unwrap();
    let mut command = crate::harness::sidekick();
    let store = format!("etcd://{}", bench.etcd.endpoint());
    command.args(["watch", "--store", &store, "--conf-dir"]);
    let _process = crate::harness::Process::start(command.arg(&link), &bench.file("log"));
    bench.wait_live("one i\n");
    let swap = |name: &str| {
        symlink(name, bench.file("new")).unwrap();
        fs::rename(bench.file("new"), &link).unwrap();
    };
    swap("two");
    bench.wait_live("two i\n");
    // The directory behind the link goes, and another one comes later.
    fs::rename(bench.file("two"), bench.file("gone")).unwrap();
    fs::rename(bench.file("three"), bench.file("two")).unwrap();
    bench.wait_live("three i\n");
    fs::write(bench.file("two/templates/a.tera"), worded("edited")).unwrap();
    bench.wait_live("edited i\n");
    swap("four");
    bench.wait_live("four i\n");
}

#[test]
fn a_reload_that_is_under_way_is_finished_before_another_configuration() {
    let bench = Bench::new(&format!(
        "reload_cmd = 'echo begun >> OUT/log; sleep 1; echo done >> OUT/log'\n{PACE}"
    ));
    bench.put("i");
    let process = bench.start(&[]);
    wait_for("the reload to begin", || {
        (bench.count("log") == 1).then_some(())
    });
    bench.template("a.tera", &worded("new"));
    process.signal(Signal::SIGHUP);
    bench.wait_live("new i\n");
    wait_for("the second reload", || {
        (bench.count("log") == 4).then_some(())
    });
    let log = fs::read_to_string(bench.out("log")).unwrap();
    assert_eq!(log, "begun\ndone\nbegun\ndone\n");
}

/// What came while a reload was under way is not lost when a bad configuration is read right after it.
#[test]
fn a_bad_configuration_loses_no_change_that_waited_for_a_reload() {
    let gate = "until [ -e OUT/gate ]; do sleep 0.02; done";
    let bench = Bench::new(&format!(
        "reload_cmd = 'echo begun >> OUT/log; {gate}'\n{PACE}settle = '0s'\n"
    ));
    bench.target("b", PACE);
    bench.put("i");
    let process = bench.start(&[]);
    wait_for("the reload to begin", || {
        (bench.count("log") == 1).then_some(())
    });
    bench.put("j");
    let both = line("i") + &line("j");
    wait_for("the other target to have heard of it", || {
        let other = fs::read_to_string(bench.out("b.cfg")).ok()?;
        (other == both).then_some(())
    });
    bench.template("a.tera", "{% if %}\n");
    process.signal(Signal::SIGHUP);
    wait_for("the signal to be heard", || {
        process.output().contains("SIGHUP").then_some(())
    });
    fs::write(bench.out("gate"), "").unwrap();
    bench.wait_live(&both);
}

#[test]
fn directories_that_appear_later_are_noticed() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    // A template that needs another one, in a directory that is not there yet.
    bench.template("a.tera", "{% include 'parts/b.tera' %}");
    wait_for("word of it", || {
        process
            .output()
            .contains("the previous one stays in force")
            .then_some(())
    });
    fs::create_dir(bench.file("templates/parts")).unwrap();
    bench.template("parts/b.tera", "one\n");
    bench.wait_live("one\n");
    bench.template("parts/b.tera", "two\n");
    bench.wait_live("two\n");
    // All of it goes away, and comes back as another one, as when it is mounted or checked out anew.
    for name in ["conf.d", "templates"] {
        fs::rename(bench.file(name), bench.file(&format!("{name}.old"))).unwrap();
    }
    wait_for("word of it", || {
        (process.output().matches("stays in force").count() >= 2).then_some(())
    });
    assert_eq!(bench.live().as_deref(), Some("two\n"));
    fs::rename(bench.file("conf.d.old"), bench.file("conf.d")).unwrap();
    fs::create_dir(bench.file("templates")).unwrap();
    bench.template("a.tera", &worded("back"));
    bench.wait_live("back i\n");
}

#[test]
fn all_mistakes_of_an_edit_are_logged_at_once() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    // One step, so that no reading comes in between.
    fs::create_dir(bench.file("conf.d.new")).unwrap();
    fs::write(
        bench.file("conf.d.new/a.toml"),
        "[template]\nsrc = 'none.tera'\n",
    )
    .unwrap();
    fs::write(bench.file("conf.d.new/b.toml"), "[template\n").unwrap();
    fs::rename(bench.file("conf.d"), bench.file("conf.d.old")).unwrap();
    fs::rename(bench.file("conf.d.new"), bench.file("conf.d")).unwrap();
    process.signal(Signal::SIGHUP);
    wait_for("word of both", || {
        let said = process.output();
        let both = ["a.toml:2: ", "b.toml:1: "];
        both.iter().all(|want| said.contains(want)).then_some(())
    });
    bench.put("j");
    bench.wait_live(&(line("i") + &line("j")));
}

#[test]
fn a_bad_configuration_that_comes_during_a_publish_stops_nobody() {
    let wait = "check_cmd = ': {{src}}; while test -e OUT/hold; do sleep 0.02; done'\n";
    let bench = Bench::new(&format!("{wait}{PACE}"));
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    fs::write(bench.out("hold"), "").unwrap();
    bench.put("j");
    wait_for("a candidate", || {
        let mut litter = bench.litter().into_iter();
        litter.find(|name| name.ends_with(".sidekick"))
    });
    bench.template("a.tera", "{% if %}\n");
    process.signal(Signal::SIGHUP);
    wait_for("word of it", || {
        let said = process.output();
        said.contains("reading the configuration").then_some(())
    });
    fs::remove_file(bench.out("hold")).unwrap();
    wait_for("word of the mistake", || {
        let said = process.output();
        said.contains("the previous one stays in force")
            .then_some(())
    });
    bench.put("k");
    bench.wait_live(&["i", "j", "k"].map(line).concat());
}

#[test]
fn a_configuration_that_needs_the_store_waits_for_it_and_the_one_of_before_goes_on() {
    let mut bench = Bench::new(PACE);
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    bench.etcd.kill();
    wait_for("the outage", || {
        process.output().contains("trying again").then_some(())
    });
    let other = fs::read_to_string(bench.file("conf.d/a.toml")).unwrap();
    let other = other
        .replace("a.cfg", "b.cfg")
        .replace("'web'", "'web', 'api'");
    fs::write(bench.file("conf.d/b.toml"), other).unwrap();
    wait_for("word of it", || {
        let said = process.output();
        said.contains("the previous one stays in force until it does")
            .then_some(())
    });
    fs::write(bench.out("a.cfg"), "by hand").unwrap();
    process.signal(Signal::SIGHUP);
    bench.wait_live(&line("i"));
    assert!(!bench.out("b.cfg").exists());
    bench.etcd.start();
    let start = std::time::Instant::now();
    wait_for("the other file", || {
        let late = start.elapsed() > std::time::Duration::from_secs(15);
        assert!(!late, "{}", process.output());
        bench.out("b.cfg").exists().then_some(())
    });
}

#[test]
fn a_service_that_nobody_announces_is_logged_once_with_the_most_similar_name() {
    let bench = Bench::new(PACE);
    bench.put("i");
    let file = bench.file("conf.d/b.toml");
    let target = |service: &str, dest: &str| {
        format!(
            "[template]\nsrc = 'b.tera'\ndest = '{}'\nservices = ['{service}', 'web']\n{PACE}",
            bench.out(dest).display()
        )
    };
    bench.template("b.tera", "{{ services | length }}");
    fs::write(&file, target("wbe", "b.cfg")).unwrap();
    let process = bench.start(&[]);
    process.wait_said("b: nobody announces wbe; did you mean web?");
    wait_for("the file", || fs::read_to_string(bench.out("b.cfg")).ok());
    // An edit of something else does not repeat it.
    fs::write(&file, target("wbe", "c.cfg")).unwrap();
    wait_for("the other file", || {
        fs::read_to_string(bench.out("c.cfg")).ok()
    });
    bench
        .etcd
        .etcdctl(&["put", "/services/wbe/a/ip", "127.0.0.1"]);
    bench.etcd.etcdctl(&["put", "/services/wbe/a/port", "80"]);
    process.wait_said("wbe is announced now");
    assert_eq!(process.output().matches("nobody announces").count(), 1);
}
