//! Checks that can judge a file only in its place, as `nginx -t` without a file does.

use std::fs;

use nix::sys::signal::Signal;

use super::{Bench, PACE, line};
use crate::harness::{tool, wait_for};

/// Refuses a live file with `bad` in it.
const REFUSES: &str = "check_cmd = 'echo x >> OUT/checks; ! grep -qs bad OUT/a.cfg OUT/b.cfg'\n";
const RELOADS: &str = "reload_cmd = 'cat OUT/a.cfg >> OUT/reloads'\n";

#[test]
fn a_file_that_a_check_in_place_refuses_is_taken_out_before_the_reload() {
    let bench = Bench::new(&format!("{REFUSES}{RELOADS}{PACE}"));
    bench.put("good");
    let process = bench.start(&[]);
    bench.wait_live(&line("good"));
    process.wait_said("names neither {{src}} nor {{tree}}");
    bench.put("bad");
    process.wait_said("refused it, and the previous file is back");
    bench.wait_live(&line("good"));
    bench.delete("bad");
    bench.put("other");
    bench.wait_live(&(line("good") + &line("other")));
    wait_for("the reload", || (bench.count("reloads") == 3).then_some(()));
    let reloads = fs::read_to_string(bench.out("reloads")).unwrap();
    assert!(!reloads.contains("bad"), "{reloads}");
}

#[test]
fn a_first_file_that_is_refused_is_removed() {
    let bench = Bench::new(&format!("{REFUSES}{RELOADS}{PACE}"));
    bench.put("bad");
    let process = bench.start(&[]);
    process.wait_said("as there was none before, it has been removed");
    assert_eq!(bench.litter(), ["checks"]);
    bench.delete("bad");
    bench.put("good");
    bench.wait_live(&line("good"));
}

#[test]
fn all_files_of_a_group_come_back_when_a_check_in_place_refuses_one() {
    let bench = Bench::new("");
    bench.template("b.tera", "{{ services.web | length }}");
    let out = bench.file("out").display().to_string();
    let table = |name: &str| {
        format!(
            "[[template]]\nsrc = '{name}.tera'\ndest = '{out}/{name}.cfg'\nservices = ['web']\n{}",
            REFUSES.replace("OUT", &out)
        )
    };
    let text = table("a") + &RELOADS.replace("OUT", &out) + PACE + super::UNGUARDED + &table("b");
    fs::write(bench.file("conf.d/a.toml"), text).unwrap();
    bench.put("good");
    let process = bench.start(&[]);
    let both = || {
        let other = fs::read_to_string(bench.out("b.cfg")).ok()?;
        Some((bench.live()?, other))
    };
    let before = Some((line("good"), "1".to_owned()));
    wait_for("both", || (both() == before).then_some(()));
    bench.put("bad");
    process.wait_said("refused it, and the previous file is back");
    assert_eq!(both(), before);
}

#[test]
fn killed_before_the_check_has_ended_the_next_process_judges_and_takes_out() {
    let checks = "check_cmd = 'echo x >> OUT/checks; while test -e OUT/hold; do sleep 0.02; done; ! grep -q bad OUT/a.cfg'\n";
    for reload in ["", RELOADS] {
        for had_file in [true, false] {
            let bench = Bench::new(&format!("{checks}{reload}{PACE}"));
            let args = ["--state-dir", bench.dir.path().to_str().unwrap()];
            if had_file {
                bench.put("good");
                let mut process = bench.start(&args);
                bench.wait_live(&line("good"));
                process.wait_said("has been updated");
                process.signal(Signal::SIGTERM);
                process.wait();
            }
            let before = bench.live();
            fs::write(bench.out("hold"), "").unwrap();
            bench.put("bad");
            let process = bench.start(&args);
            wait_for("the bad file", || {
                bench.live()?.contains("bad").then_some(())
            });
            drop(process); // It is killed, with all it has started.
            fs::remove_file(bench.out("hold")).unwrap();
            assert!(bench.live().unwrap().contains("bad"));
            let process = bench.start(&args);
            process.wait_said("which can judge the new file only in its place, refused it");
            wait_for("the previous file", || {
                (bench.live() == before).then_some(())
            });
            assert_eq!(
                bench.count("reloads"),
                usize::from(had_file && !reload.is_empty())
            );
        }
    }
}

#[test]
fn killed_with_a_bad_file_in_place_newer_data_that_are_bad_too_bring_the_last_good_file_back() {
    let checks =
        "check_cmd = 'while test -e OUT/hold; do sleep 0.02; done; ! grep -q bad OUT/a.cfg'\n";
    let bench = Bench::new(&format!("{checks}{PACE}"));
    let args = ["--state-dir", bench.dir.path().to_str().unwrap()];
    bench.put("good");
    let mut process = bench.start(&args);
    bench.wait_live(&line("good"));
    process.wait_said("has been updated");
    process.signal(Signal::SIGTERM);
    process.wait();
    fs::write(bench.out("hold"), "").unwrap();
    bench.put("bad");
    let process = bench.start(&args);
    wait_for("the bad file", || {
        bench.live()?.contains("bad").then_some(())
    });
    drop(process);
    bench.put("bad2");
    fs::remove_file(bench.out("hold")).unwrap();
    let process = bench.start(&args);
    process.wait_said("refused it, and the previous file is back");
    bench.wait_live(&line("good"));
}

#[test]
fn a_stop_during_a_check_in_place_puts_the_previous_file_back_at_once() {
    let bench =
        Bench::new("check_cmd = 'echo x >> OUT/checks; test ! -e OUT/hold || sleep 1000'\n");
    bench.put("good");
    let mut process = bench.start(&[]);
    process.wait_said("has been updated");
    fs::write(bench.out("hold"), "").unwrap();
    bench.put("other");
    wait_for("the check", || (bench.count("checks") == 2).then_some(()));
    let asked = std::time::Instant::now();
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert!(asked.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(bench.live(), Some(line("good")));
}

#[test]
fn nginx_judges_its_own_configuration() {
    let bench = Bench::new("");
    let dir = bench.dir.path().display().to_string();
    fs::write(
        bench.file("nginx.conf"),
        format!("pid {dir}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n    include {dir}/out/*.cfg;\n}}\n"),
    )
    .unwrap();
    let nginx = tool("nginx");
    let check = format!("check_cmd = '{} -t -c {dir}/nginx.conf'\n", nginx.display());
    bench.target("a", &format!("{check}{PACE}"));
    bench.template(
        "a.tera",
        "upstream web {\n{% for i in services.web %}    server {{ i.addr }};\n{% endfor %}}\n",
    );
    bench.put("i");
    let process = bench.start(&[]);
    let good = "upstream web {\n    server 10.0.0.1:80;\n}\n";
    bench.wait_live(good);
    process.wait_said("has been updated");
    // Without servers nginx refuses the upstream.
    bench.delete("i");
    process.wait_said("no servers are inside upstream");
    process.wait_said("and the previous file is back");
    bench.wait_live(good);
    bench.put("j");
    process.wait_said(", after");
    bench.wait_live(good);
}

#[test]
fn sidekick_check_warns_of_a_check_in_place() {
    let bench = Bench::new(REFUSES);
    let mut command = crate::harness::sidekick();
    command.args(["check", "--conf-dir"]).arg(bench.dir.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("names neither {{src}} nor {{tree}}"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(0), "it is no mistake: {said}");
}

#[test]
fn a_check_in_place_is_logged_once() {
    const TOLD: &str = "names neither {{src}} nor {{tree}}";
    let bench = Bench::new(&format!("check_cmd = 'true'\n{PACE}"));
    bench.put("i");
    let process = bench.start(&[]);
    bench.wait_live(&line("i"));
    let told = || process.output().matches(TOLD).count();
    assert_eq!(told(), 1, "{}", process.output());
    // Each of these reads all of the configuration again.
    let reads = |text: &str| {
        bench.template("a.tera", text);
        bench.wait_live(text);
    };
    reads("one\n");
    process.signal(Signal::SIGHUP);
    reads("two\n");
    // One that differs is another one, and so is one that is back.
    bench.target("a", &format!("check_cmd = 'true # again'\n{PACE}"));
    wait_for("word of the other check", || (told() == 2).then_some(()));
    bench.target("a", &format!("check_cmd = 'test -e {{{{src}}}}'\n{PACE}"));
    reads("three\n");
    assert_eq!(told(), 2, "{}", process.output());
    bench.target("a", &format!("check_cmd = 'true # again'\n{PACE}"));
    wait_for("word of what is back", || (told() == 3).then_some(()));
}
