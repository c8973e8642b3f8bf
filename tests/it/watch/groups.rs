//! Several files that belong together, and several targets that ask for the same reload.

use std::fs;
use std::process::Command;

use super::{Bench, PACE, line};
use crate::harness::{free_port, wait_for};

/// A table of a group for the file `name`.
fn table(bench: &Bench, name: &str, lines: &str) -> String {
    let out = bench.file("out").display().to_string();
    let lines = lines.replace("OUT", &out);
    format!("[[template]]\nsrc = 'a.tera'\ndest = '{out}/{name}'\nservices = ['web']\n{lines}\n")
}

/// Puts a group of tables in the place of the bench's target.
fn group(tables: &[(&str, &str)]) -> Bench {
    let bench = Bench::new("");
    let tables: Vec<String> = tables
        .iter()
        .map(|(name, lines)| table(&bench, name, lines))
        .collect();
    fs::write(bench.file("conf.d/a.toml"), tables.concat()).unwrap();
    bench
}

fn text(bench: &Bench, name: &str) -> Option<String> {
    fs::read_to_string(bench.out(name)).ok()
}

#[test]
fn all_files_of_a_group_change_together_with_one_check_and_one_reload() {
    let check = "check_cmd = 'cat OUT/a.cfg {{src}} >> OUT/seen; echo x >> OUT/checks; ! grep -q bad {{src}}'";
    let reload = format!(
        "reload_cmd = 'cat OUT/a.cfg OUT/b.cfg > OUT/loaded; echo x >> OUT/reloads'\n{PACE}"
    );
    let bench = group(&[("a.cfg", check), ("b.cfg", &reload)]);
    bench.put("good");
    let process = bench.start(&[]);
    wait_for("the first reload", || {
        (bench.count("reloads") == 1).then_some(())
    });
    assert_eq!(text(&bench, "loaded"), Some(line("good") + &line("good")));
    bench.put("bad");
    wait_for("the check to refuse", || {
        (bench.count("checks") >= 3).then_some(())
    });
    for name in ["a.cfg", "b.cfg"] {
        assert_eq!(text(&bench, name), Some(line("good")), "{name}");
    }
    assert_eq!(bench.count("reloads"), 1);
    bench.delete("bad");
    bench.put("other");
    let both = line("good") + &line("other");
    wait_for("the second reload", || {
        (bench.count("reloads") == 2).then_some(())
    });
    assert_eq!(text(&bench, "loaded"), Some(both.clone() + &both));
    let names = ["a.cfg", "b.cfg", "checks", "loaded", "reloads", "seen"];
    assert_eq!(bench.litter(), names);
    let said = process.output();
    assert!(said.contains("b.cfg have been updated"), "{said}");
}

#[test]
fn a_failed_reload_brings_all_files_of_a_group_back() {
    let reload = format!("reload_cmd = 'echo x >> OUT/reloads; ! grep -q bad OUT/b.cfg'\n{PACE}");
    let bench = group(&[("a.cfg", ""), ("b.cfg", &reload)]);
    bench.put("good");
    let process = bench.start(&[]);
    wait_for("the first reload", || {
        (bench.count("reloads") == 1).then_some(())
    });
    bench.put("bad");
    wait_for("word of it", || {
        let said = process.output();
        said.contains("the previous file is in force again")
            .then_some(())
    });
    bench.delete("bad");
    wait_for("the group to be right again", || {
        let right = |name| text(&bench, name) == Some(line("good"));
        (right("a.cfg") && right("b.cfg")).then_some(())
    });
}

#[test]
fn if_one_file_of_a_group_cannot_be_swapped_none_is() {
    // The second destination becomes a directory behind our back, after it was looked at.
    let trap = "check_cmd = ': {{src}}; test ! -e OUT/trap || { rm -f OUT/b.cfg; mkdir -p OUT/b.cfg; }'\nreload_cmd = 'echo x >> OUT/reloads'";
    let bench = group(&[("a.cfg", ""), ("b.cfg", trap)]);
    bench.put("old");
    let once = bench.run(&["--once"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    fs::write(bench.out("trap"), "").unwrap();
    bench.put("new");
    let once = bench.run(&["--once"]);
    assert_eq!(once.status.code(), Some(1), "{once:?}");
    let said = String::from_utf8_lossy(&once.stderr);
    assert!(said.contains("cannot replace"), "{said}");
    assert_eq!(text(&bench, "a.cfg"), Some(line("old")));
    assert_eq!(bench.count("reloads"), 1);
}

#[test]
fn equal_reloads_of_one_pass_are_made_once() {
    let lines = format!(
        "reload_cmd = 'cat OUT/a.cfg OUT/b.cfg > OUT/loaded; echo x >> OUT/reloads'\n{PACE}"
    );
    let bench = Bench::new(&lines);
    // The check of the second one takes its time; the first one waits for it.
    bench.target("b", &format!("check_cmd = 'sleep 0.3'\n{lines}"));
    bench.target("c", &format!("reload_cmd = 'echo x >> OUT/others'\n{PACE}"));
    bench.put("one");
    let _process = bench.start(&[]);
    for (count, want) in [(1, line("one")), (2, line("one") + &line("two"))] {
        wait_for("the reload", || {
            (bench.count("reloads") >= count).then_some(())
        });
        assert_eq!(text(&bench, "loaded"), Some(want.clone() + &want));
        assert_eq!(
            (bench.count("reloads"), bench.count("others")),
            (count, count)
        );
        bench.put("two");
    }
}

/// nginx reads what its configuration includes from beside it: the live file is good, and so is the new one, but not both
/// together.
#[test]
fn a_check_of_a_whole_tree_sees_all_new_files() {
    let check = "check_cmd = 'nginx -t -q -p OUT -e OUT/error.log -c {{tree}}/nginx.conf'";
    let bench = Bench::new("");
    let out = bench.file("out");
    for dir in ["upstreams", "sites"] {
        fs::create_dir(out.join(dir)).unwrap();
    }
    let tables = [
        table(&bench, "upstreams/web.conf", check),
        table(&bench, "sites/web.conf", "tree = 'OUT'"),
    ];
    let tables = tables.concat().replacen("a.tera", "upstream.tera", 1);
    let tables = tables.replacen("a.tera", "site.tera", 1);
    fs::write(bench.file("conf.d/a.toml"), tables).unwrap();
    // The name of the upstream changes with the instances.
    let name = "{% for i in services.web %}{{ i.id }}{% endfor %}";
    bench.template(
        "upstream.tera",
        &format!("upstream {name} {{ server 127.0.0.1:9; }}\n"),
    );
    bench.template(
        "site.tera",
        &format!(
            "server {{ listen 127.0.0.1:{}; location / {{ proxy_pass http://{name}; }} }}\n",
            free_port()
        ),
    );
    let main = format!(
        "pid {0}/pid;\nevents {{}}\nhttp {{ access_log off;\ninclude upstreams/*.conf;\ninclude sites/*.conf; }}\n",
        out.display()
    );
    fs::write(out.join("nginx.conf"), main).unwrap();
    bench.put("one");
    let once = bench.run(&["--once"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    bench.put("two");
    let once = bench.run(&["--once"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    assert!(
        text(&bench, "sites/web.conf")
            .unwrap()
            .contains("http://onetwo")
    );
    let live = Command::new("nginx")
        .args(["-t", "-q", "-e", "stderr", "-c"])
        .arg(out.join("nginx.conf"))
        .output()
        .unwrap();
    assert!(live.status.success(), "{live:?}");
    // A new site without its upstream is refused.
    bench.template("upstream.tera", "upstream other { server 127.0.0.1:9; }\n");
    bench.template(
        "site.tera",
        "server { location / { proxy_pass http://a_b_c; } }\n# {{ services.web | length }}\n",
    );
    let once = bench.run(&["--once"]);
    assert_eq!(once.status.code(), Some(1), "{once:?}");
    assert!(
        text(&bench, "upstreams/web.conf")
            .unwrap()
            .contains("onetwo")
    );
}

#[test]
fn haproxy_checks_a_directory_with_the_new_file_in_it() {
    let bench = Bench::new("");
    let out = bench.file("out");
    fs::create_dir(out.join("sidekick.d")).unwrap();
    let base = format!(
        "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
         frontend f\n bind 127.0.0.1:{}\n default_backend web\n",
        free_port()
    );
    fs::write(out.join("base.cfg"), base).unwrap();
    let check = "check_cmd = 'haproxy -c -q -f OUT/base.cfg -f {{tree}}'";
    let tables = table(&bench, "sidekick.d/web.cfg", check)
        .replace("[[", "[")
        .replace("]]", "]");
    fs::write(bench.file("conf.d/a.toml"), tables).unwrap();
    let servers = "{% for i in services.web %} server {{ i.id }} {{ i.addr }}\n{% endfor %}";
    bench.template("a.tera", &format!("backend web\n{servers}"));
    bench.put("one");
    let once = bench.run(&["--once"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    // The base does not find its backend in the new tree.
    bench.template("a.tera", &format!("backend other\n{servers}"));
    let once = bench.run(&["--once"]);
    assert_eq!(once.status.code(), Some(1), "{once:?}");
    assert!(
        text(&bench, "sidekick.d/web.cfg")
            .unwrap()
            .starts_with("backend web")
    );
}
