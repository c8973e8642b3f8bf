//! Programs that say themselves which generation of the files they run.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::{Bench, haproxy, nginx};
use crate::harness::{Process, descendants, free_port, tool, wait_for};
use crate::routing::ask;

const MASTER: &str = "[template.reload]\nhaproxy_master = 'DIR/m.sock'\n";
/// The status says nothing of what HAProxy does with the signal.
const COMMAND: &str = "reload_timeout = '5s'\nreload_cmd = 'kill -USR2 $(cat DIR/pid)'\n\
                       [template.haproxy]\nsocket = 'DIR/admin.sock'\n";

/// HAProxy's template with a mark, a socket for questions, and servers.
fn marked() -> String {
    let global = "global\n    setenv SIDEKICK_GENERATION {{ generation() }}\n    \
                  stats socket DIR/admin.sock level admin\n";
    let servers = "backend app\n{% for i in services.server %}    server {{ i.id }} {{ i.addr }}\n{% endfor %}";
    format!("{global}{}{servers}", haproxy::TEMPLATE)
}

/// What the worker that serves has loaded.
fn loaded(bench: &Bench) -> String {
    let said = haproxy::master(bench, "@1 show env SIDEKICK_GENERATION").unwrap();
    let value = said.trim().strip_prefix("SIDEKICK_GENERATION=");
    value.unwrap_or_else(|| panic!("{said:?}")).to_owned()
}

/// What stands in the file.
fn written(bench: &Bench) -> String {
    let live = bench.live();
    let (_, rest) = live.split_once("setenv SIDEKICK_GENERATION ").unwrap();
    rest.lines().next().unwrap().to_owned()
}

#[test]
fn haproxy_has_the_generation_after_a_reload_and_servers_change_without_one() {
    let target = format!("{MASTER}[template.haproxy]\nsocket = 'DIR/admin.sock'\n");
    let bench = Bench::new(&marked(), &target);
    bench.first();
    let _haproxy = haproxy::haproxy(&bench, &["a.cfg"]);
    let watch = bench.watch(&[]);
    Bench::wait_answer(bench.port, "a", &watch);
    bench.put("web", "b", 80);
    Bench::wait_said("has been updated", &watch);
    assert_eq!(loaded(&bench), written(&bench));

    let (before, _) = haproxy::counts(&bench);
    let was = loaded(&bench);
    bench.put("server", "one", 8001);
    Bench::wait_said("without a reload", &watch);
    assert_ne!(written(&bench), was, "another text");
    assert_eq!(loaded(&bench), was, "which nobody has loaded");
    assert_eq!(haproxy::counts(&bench).0, before, "{}", watch.output());
}

#[test]
fn an_haproxy_that_reads_another_file_is_found_out() {
    let bench = Bench::new(&marked(), MASTER);
    bench.first();
    fs::copy(bench.file("a.cfg"), bench.file("other.cfg")).unwrap();
    let _haproxy = haproxy::haproxy(&bench, &["other.cfg"]);
    let watch = bench.watch(&[]);
    Bench::wait_said("the reload that was owed has been made", &watch);
    let before = bench.live();
    bench.put("web", "b", 80);
    Bench::wait_said("runs something else: its SIDEKICK_GENERATION is", &watch);
    Bench::wait_said("the previous file is in force again", &watch);
    assert_eq!(bench.live(), before);
}

/// The first file comes before the program is told to read it: that is no reload that failed.
#[test]
fn an_haproxy_that_does_not_read_the_first_file_yet_is_no_failure() {
    let socket = "[template.haproxy]\nsocket = 'DIR/admin.sock'\n";
    let servers = marked().replace("setenv SIDEKICK_GENERATION {{ generation() }}", "");
    for (template, what) in [
        (marked(), "its SIDEKICK_GENERATION is not set"),
        (servers, "No such backend"),
    ] {
        let bench = Bench::new(&template, &format!("{MASTER}{socket}"));
        let own = "global\n    stats socket DIR/admin.sock level admin\ndefaults\n    mode http\n    timeout client 9s\n    \
                   timeout server 9s\n    timeout connect 9s\nfrontend own\n    bind 127.0.0.1:PORT\n";
        fs::write(bench.file("own.cfg"), bench.fill(own)).unwrap();
        bench.put("server", "one", 8001);
        let mut before = haproxy::haproxy(&bench, &["own.cfg"]);
        haproxy::counts(&bench);
        let mut once = bench.watch(&["--once"]);
        assert_eq!(once.wait().code(), Some(0), "{}", once.output());
        let said = once.output();
        let warning = said
            .lines()
            .find(|line| line.contains(" WARN ") && line.contains("published"));
        let warning = warning.unwrap_or_else(|| panic!("{said}"));
        assert!(warning.contains(what), "{said}");
        assert!(warning.contains("a.cfg published, but"), "{said}");
        assert!(
            warning.contains("needs a restart") && !said.contains("ERROR"),
            "{said}"
        );
        assert_ne!(bench.live(), "");

        // A further change is no failed reload either. Once HAProxy does read the file all goes its usual way.
        bench.put("web", "b", 80);
        let first = bench.live();
        let before_watch = once.output();
        let mut watch = bench.watch(&[]);
        // How often this process has said so: both write to one log.
        let times = |watch: &Process, what: &str| {
            let said = watch.output();
            said.matches(what).count() - before_watch.matches(what).count()
        };
        wait_for("the change", || (bench.live() != first).then_some(()));
        // The next process tells it once, too, and as a warning, however often it looks.
        wait_for("a warning", || {
            (times(&watch, "does not read it, also after a reload") > 0).then_some(())
        });
        let second = bench.live();
        bench.put("web", "d", 80);
        wait_for("a further change", || {
            (bench.live() != second).then_some(())
        });
        wait_for("word of both", || {
            (times(&watch, "has been updated") == 2).then_some(())
        });
        let said = watch.output();
        assert_eq!(
            times(&watch, "does not read it, also after a reload"),
            1,
            "{said}"
        );
        assert!(times(&watch, "that was owed") <= 1, "{said}");
        assert!(!said.contains("ERROR"), "{said}");
        watch.signal(nix::sys::signal::Signal::SIGTERM);
        watch.wait();
        before.signal(nix::sys::signal::Signal::SIGTERM);
        before.wait();
        let _haproxy = haproxy::haproxy(&bench, &["a.cfg"]);
        haproxy::counts(&bench);
        let watch = bench.watch(&[]);
        bench.put("web", "c", 80);
        Bench::wait_answer(bench.port, "abcd", &watch);
        assert!(!watch.output().contains("ERROR"), "{}", watch.output());
    }
}

#[test]
fn a_reload_command_that_reloads_nothing_is_found_out() {
    let bench = Bench::new(&marked(), COMMAND);
    bench.first();
    let _haproxy = haproxy::haproxy(&bench, &["a.cfg"]);
    refuses(&bench, "runs something else: its SIDEKICK_GENERATION is");
}

#[test]
fn nginx_shows_the_generation_on_a_page() {
    let bench = Bench::new(&nginx_with_a_page(), PAGE);
    bench.first();
    let _nginx = nginx::nginx(&bench);
    refuses(&bench, "does not say that it runs generation");
}

/// The target whose nginx shows its generation on a page.
const PAGE: &str = "generation_url = 'http://127.0.0.1:PORT/generation'\nreload_timeout = '2s'\n\
                    reload_cmd = 'kill -HUP $(cat DIR/pid)'\n";

/// nginx's template with that page.
fn nginx_with_a_page() -> String {
    let own = "return 200 \"ANSWER\";";
    let pages = format!(
        "location = /generation {{ return 200 $generation; }}\n        location / {{ {own} }}"
    );
    let map = "map $host $generation { default \"{{ generation() }}\"; }\n    server {";
    nginx::TEMPLATE
        .replace(own, &pages)
        .replace("server {", map)
}

#[test]
fn an_nginx_with_a_mount_of_the_file_alone_is_found_out_and_the_mount_is_named() {
    let bench = Bench::new(&nginx_with_a_page(), PAGE);
    bench.first();
    fs::write(bench.file("own.cfg"), "").unwrap();
    let script = bench.fill("mount --bind DIR/a.cfg DIR/own.cfg; exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &script]);
    command.arg(tool("nginx")).args(["-e", "stderr", "-c"]);
    let nginx = bench.run(command.arg(bench.file("own.cfg")));
    let watch = bench.watch(&[]);
    Bench::wait_answer(bench.port, "a", &watch);
    bench.put("web", "b", 80);
    Bench::wait_said("does not say that it runs generation", &watch);
    // Its workers are in the same namespace.
    let family = [
        descendants(nginx.pid().as_raw()),
        vec![nginx.pid().as_raw()],
    ]
    .concat();
    let said = watch.output();
    let names =
        |pid: &i32| said.contains(&format!("a.cfg is mounted by itself where process {pid} "));
    assert!(family.iter().any(names), "{family:?}: {said}");
    assert!(said.contains("mount its directory there"), "{said}");
}

/// A page that cannot be there before the first file of ours is.
#[test]
fn an_nginx_that_has_no_page_before_the_first_file_is_no_failure() {
    let target = "generation_url = 'http://127.0.0.1:PORT/generation'\nreload_timeout = '5s'\n[template.reload]\n\
                  signal = 'HUP'\npidfile = 'DIR/pid'\n";
    let map = "map $host $generation { default \"{{ generation() }}\"; } # ANSWER\n";
    let bench = Bench::new(map, target);
    let (own, _) = nginx::TEMPLATE.split_once("{% for").unwrap();
    let plain = format!("{own}        return 200 own;\n    }}\n}}\n");
    fs::write(bench.file("own.conf"), bench.fill(&plain)).unwrap();
    let _nginx = nginx::run(&bench, "own.conf");
    wait_for("nginx", || ask(bench.port, "localhost", "/"));
    let mut once = bench.watch(&["--once"]);
    assert_eq!(once.wait().code(), Some(0), "{}", once.output());
    let said = once.output();
    assert!(
        said.contains("does not read it, also after a reload"),
        "{said}"
    );
    assert!(
        said.contains("does not say that it runs generation"),
        "{said}"
    );
    assert!(!said.contains("ERROR"), "{said}");

    fs::remove_file(bench.file("watch.log")).unwrap();

    // The operator includes the file, and shows the page.
    let include = format!(
        "    include {};\n    server {{",
        bench.file("a.cfg").display()
    );
    let pages = "        location = /generation { return 200 $generation; }\n        location / { return 200 own; }\n";
    let own = own.replace("    server {", &include);
    let shown = format!("{own}{pages}    }}\n}}\n");
    fs::write(bench.file("own.conf"), bench.fill(&shown)).unwrap();
    let watch = bench.watch(&[]);
    Bench::wait_said("the reload that was owed has been made", &watch);
    bench.put("web", "b", 80);
    Bench::wait_said("has been updated", &watch);
    assert!(
        !watch.output().contains("does not read"),
        "{}",
        watch.output()
    );

    // From then on silence is a failure.
    fs::write(bench.file("own.conf"), bench.fill(&plain)).unwrap();
    bench.put("web", "c", 80);
    Bench::wait_said("does not say that it runs generation", &watch);
    Bench::wait_said("the previous file", &watch);
}

/// A change that the program accepts comes into force; one that it does not is noticed, whatever the command says.
fn refuses(bench: &Bench, what: &str) {
    let watch = bench.watch(&[]);
    Bench::wait_answer(bench.port, "a", &watch);
    bench.put("web", "b", 80);
    Bench::wait_said("has been updated", &watch);
    assert_eq!(
        ask(bench.port, "localhost", "/").as_deref().map(str::trim),
        Some("ab")
    );
    let other = free_port();
    let _somebody = TcpListener::bind(("127.0.0.1", other)).unwrap();
    let before = bench.live();
    bench.put("listen", "x", other);
    Bench::wait_said(what, &watch);
    wait_for("the previous file", || {
        (bench.live() == before).then_some(())
    });
    Bench::wait_answer(bench.port, "ab", &watch);
}

#[test]
fn apache_shows_the_generation_on_an_error_page() {
    let page = "Define GENERATION {{ generation() }}\nRedirect 410 /generation\n<Location /generation>\n\
                ErrorDocument 410 \"${GENERATION}\"\n</Location>\nRedirect 410 /ANSWER";
    let template = super::apache::template().replace("Redirect 410 /ANSWER", page);
    let target = "generation_url = 'http://127.0.0.1:PORT/generation'\nreload_timeout = '5s'\n\
                  check_cmd = 'true'\nreload_cmd = 'kill -USR1 $(cat DIR/pid)'\n";
    let bench = Bench::new(&template, target);
    bench.first();
    let _apache = super::apache::apache(&bench);
    let page = || {
        let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).ok()?;
        let request = "GET /generation HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.trim().to_owned())
    };
    wait_for("apache", page);
    let watch = bench.watch(&[]);
    Bench::wait_said("the reload that was owed has been made", &watch);
    bench.put("web", "b", 80);
    Bench::wait_said("has been updated", &watch);
    let shown = page().unwrap();
    assert_eq!(shown.len(), 16, "{shown:?}");
    assert!(bench.live().contains(&shown), "{shown:?}");
}

#[test]
fn a_page_needs_a_template_that_shows_the_generation() {
    let target = "generation_url = 'http://127.0.0.1:PORT/generation'\nreload_cmd = 'true'\n";
    let bench = Bench::new(nginx::TEMPLATE, target);
    let watch = bench.watch(&[]);
    Bench::wait_said("no template of the target calls generation()", &watch);
}
