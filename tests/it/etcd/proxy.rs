//! Through etcd's own grpc-proxy, which answers heartbeats with the answers to its own.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::etcd::Etcd;
use crate::harness::{Process, free_port, sidekick, temp_dir, tool, wait_for};

struct Proxy {
    _process: Process,
    port: u16,
}

impl Proxy {
    fn start(etcd: &Etcd, dir: &std::path::Path) -> Self {
        let port = free_port();
        let mut command = Command::new(tool("etcd"));
        command.args(["grpc-proxy", "start", "--endpoints", &etcd.endpoint()]);
        command.args(["--listen-addr", &format!("127.0.0.1:{port}")]);
        let mut process = Process::start(&mut command, &dir.join("proxy"));
        wait_for("the proxy", || {
            assert!(process.ended().is_none(), "{}", process.output());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self {
            _process: process,
            port,
        }
    }

    fn url(&self) -> String {
        format!("etcd://127.0.0.1:{}", self.port)
    }
}

fn field(etcd: &Etcd, key: &str, name: &str) -> Option<String> {
    let got = etcd.etcdctl(&["get", key, "-w", "fields"]);
    let start = format!("\"{name}\" : ");
    let line = got.lines().find_map(|line| line.strip_prefix(&start));
    line.map(|value| value.trim_matches('"').to_owned())
}

#[test]
fn leases_and_marks_last_and_a_watch_follows() {
    let (etcd, dir) = (Etcd::start_new(), temp_dir());
    let proxy = Proxy::start(&etcd, dir.path());
    // A third of it is longer than most answers may take.
    let ttl = "12s";
    let mut register = sidekick();
    register
        .args(["register", "--store", &proxy.url(), "--ttl", ttl])
        .args([
            "--name",
            "web",
            "--id",
            "a",
            "--ip",
            "127.0.0.1",
            "--port",
            "80",
        ]);
    let register = Process::start(&mut register, &dir.path().join("register"));
    let conf = dir.path().join("conf.d");
    let templates = dir.path().join("templates");
    for directory in [&conf, &templates] {
        std::fs::create_dir(directory).expect("make a directory");
    }
    let dest = dir.path().join("list");
    std::fs::write(
        conf.join("list.toml"),
        format!(
            "[template]\nsrc = \"list.tera\"\ndest = {:?}\nservices = [\"web\"]\n",
            dest.display().to_string()
        ),
    )
    .expect("write a target");
    std::fs::write(
        templates.join("list.tera"),
        "{% for i in instances(service=\"web\", include_draining=true) %}{{ i.id }} {{ i.state }}\n{% endfor %}",
    )
    .expect("write a template");
    let mut watch = sidekick();
    watch
        .args([
            "watch",
            "--store",
            &proxy.url(),
            "--log-level",
            "debug",
            "--conf-dir",
        ])
        .arg(dir.path())
        .arg("--state-dir")
        .arg(dir.path().join("state"));
    let watch = Process::start(&mut watch, &dir.path().join("watch"));
    let shows = |text: &str| {
        wait_for(text, || {
            let found = std::fs::read_to_string(&dest).unwrap_or_default();
            (found == text).then_some(())
        });
    };
    shows("a up\n");
    let lease = field(&etcd, "/services/web/a/ip", "Lease").expect("it is announced");
    let mut drain = sidekick();
    drain.args(["drain", "--store", &proxy.url(), "web", "a"]);
    let output = drain.output().expect("run sidekick drain");
    assert!(output.status.success(), "{output:?}");
    shows("a drain\n");
    // More than two TTLs, in which several heartbeats have to be answered.
    let end = Instant::now() + Duration::from_secs(27);
    wait_for("several heartbeats", || {
        let state = field(&etcd, "/services/web/a/state", "Value");
        assert_eq!(state.as_deref(), Some("drain"), "{}", register.output());
        let now = field(&etcd, "/services/web/a/ip", "Lease");
        assert_eq!(now.as_ref(), Some(&lease), "{}", register.output());
        (Instant::now() > end).then_some(())
    });
    let (registered, watched) = (register.output(), watch.output());
    assert!(!registered.contains("WARN"), "{registered}");
    assert!(!watched.contains("following failed"), "{watched}");
}
