//! Apache, told by a signal: it ends at what it does not like.

use std::process::Command;

use super::Bench;
use crate::harness::{Process, modules, tool, wait_for};
use crate::routing::ask;

const TEMPLATE: &str = "ServerRoot DIR
User nobody
ServerName localhost
DefaultRuntimeDir DIR
PidFile DIR/pid
ErrorLog DIR/errors
LoadModule mpm_event_module MODULES/mod_mpm_event.so
LoadModule authz_core_module MODULES/mod_authz_core.so
LoadModule alias_module MODULES/mod_alias.so
Listen 127.0.0.1:PORT
StartServers 1
ServerLimit 4
ThreadsPerChild 4
MaxRequestWorkers 16
{% for i in services.listen %}Listen {{ i.addr }}
{% endfor %}{% for i in services.broken %}Nonsense
{% endfor %}Redirect 410 /ANSWER
";
const SIGNAL: &str = "[template.reload]\nsignal = 'USR1'\npidfile = 'DIR/pid'\n";

pub(super) fn template() -> String {
    TEMPLATE.replace("MODULES", &modules("apache2"))
}

pub(super) fn apache(bench: &Bench) -> Process {
    let mut command = Command::new(tool("apache2"));
    command
        .args(["-D", "FOREGROUND", "-f"])
        .arg(bench.file("a.cfg"));
    bench.run(&mut command)
}

#[test]
fn a_reload_of_apache_is_verified_and_the_end_of_apache_is_noticed() {
    let bench = Bench::new(&template(), SIGNAL);
    bench.first();
    let mut apache = apache(&bench);
    let gone = |path: &str| ask(bench.port, "localhost", path).as_deref() == Some("410");
    wait_for("apache", || gone("/a").then_some(()));
    let watch = bench.watch(&[]);
    Bench::wait_said("the reload that was owed has been made", &watch);
    bench.put("web", "b", 80);
    Bench::wait_said("has been updated", &watch);
    assert!(gone("/ab"), "{}", watch.output());
    let said = watch.output();
    assert!(said.contains("let a check_cmd run apachectl -t"), "{said}");

    let before = bench.live();
    bench.put("broken", "x", 1);
    Bench::wait_said("HAS ENDED at its reload", &watch);
    apache.wait();
    wait_for("the previous file", || {
        (bench.live() == before).then_some(())
    });
    // Somebody repairs it, and starts it again.
    bench.delete("broken");
    let _again = super::apache::apache(&bench);
    Bench::wait_said("failure", &watch);
    wait_for("apache", || gone("/ab").then_some(()));
}
