//! nginx, told by a signal.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Bench;
use crate::harness::{Process, descendants, tool};

pub(super) const TEMPLATE: &str = "pid DIR/pid;
user root;
worker_processes 2;
daemon off;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    server {
        listen 127.0.0.1:PORT;
{% for i in services.listen %}        listen {{ i.addr }};
{% endfor %}{% for i in services.broken %}        nonsense;
{% endfor %}        return 200 \"ANSWER\";
    }
}
";
pub(super) const SIGNAL: &str =
    "check_cmd = 'true'\n[template.reload]\nsignal = 'HUP'\npidfile = 'DIR/pid'\n";

pub(super) fn nginx(bench: &Bench) -> Process {
    run(bench, "a.cfg")
}

pub(super) fn run(bench: &Bench, file: &str) -> Process {
    let mut command = Command::new(tool("nginx"));
    command.args(["-e", "stderr", "-c"]).arg(bench.file(file));
    bench.run(&mut command)
}

#[test]
fn nginx_is_reloaded_by_a_signal() {
    let bench = Bench::new(TEMPLATE, SIGNAL);
    bench.first();
    let _nginx = nginx(&bench);
    bench.play("nginx has not loaded the new configuration");
}

#[test]
fn a_pidfile_of_a_dead_process_fails_the_reload() {
    let bench = Bench::new(TEMPLATE, SIGNAL);
    bench.first();
    let mut nginx = nginx(&bench);
    let watch = bench.watch(&[]);
    Bench::wait_said("the reload that was owed has been made", &watch);
    // It leaves its pidfile behind; and its workers, who do not notice.
    let workers = descendants(nginx.pid().as_raw());
    nginx.signal(Signal::SIGKILL);
    nginx.wait();
    for worker in workers {
        let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
    }
    bench.put("web", "b", 80);
    Bench::wait_said("cannot be sent SIGHUP", &watch);
}

#[test]
fn a_lasting_refusal_is_logged_once_and_so_is_its_end() {
    let check = format!(
        "check_cmd = '{} -t -c {{{{src}}}}'\n",
        tool("nginx").display()
    );
    // Dates and process ids stand in what it says.
    let template = TEMPLATE.replace("error_log stderr;", "error_log /dev/stderr;");
    let bench = Bench::new(&template, &check);
    bench.put("broken", "x", 1);
    let watch = bench.watch(&["--log-level", "debug"]);
    Bench::wait_said("[emerg]", &watch);
    Bench::wait_said("4 times now", &watch);
    let said = watch.output();
    let errors = said.lines().filter(|line| line.contains("ERROR"));
    assert_eq!(errors.count(), 1, "{said}");
    let is_process = |word: &str| {
        let ids = word.trim_end_matches(':').split_once('#');
        ids.is_some_and(|(one, other)| one == other && one.parse::<u32>().is_ok())
    };
    let said_by: std::collections::BTreeSet<&str> = said
        .split_whitespace()
        .filter(|word| is_process(word))
        .collect();
    assert!(said_by.len() > 1, "no two processes have said it: {said}");
    bench.delete("broken");
    Bench::wait_said("has been updated", &watch);
    assert!(watch.output().contains("failures"), "{}", watch.output());
}
