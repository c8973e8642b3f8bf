//! What the programs of the application read out of the examples: not only that they take the file, but what it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Value, json};
use sidekick::model::key::Entries;

use crate::application::example;
use crate::harness::{self, Process, free_port, temp_dir, wait_for};
use crate::routing::{answer_with, ask};
use crate::shipped::{fixture, render, render_with};

/// Entries below `/services`.
fn entries(pairs: &[(&str, &str)]) -> Entries {
    let pair = |(key, value): &(&str, &str)| {
        let key = format!("/services/{key}");
        (key.into(), value.as_bytes().to_vec().into())
    };
    pairs.iter().map(pair).collect()
}

fn rendered_to(dir: &Path, name: &str, given: Entries) -> std::path::PathBuf {
    let file = dir.join(name);
    fs::write(&file, render(&example(name), given)).expect("write");
    file
}

/// What mariadbd takes `wsrep_cluster_address` for.
fn cluster_address(given: Entries) -> String {
    let dir = temp_dir();
    let file = rendered_to(dir.path(), "galera", given);
    let output = Command::new(harness::tool("mariadbd"))
        .arg(format!("--defaults-file={}", file.display()))
        .args(["--help", "--verbose"])
        .output()
        .expect("run mariadbd");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said
        .lines()
        .find(|line| line.starts_with("wsrep-cluster-address "))
        .expect("the variable is listed");
    line.split_whitespace().nth(1).unwrap_or("").to_owned()
}

#[test]
fn mariadb_reads_the_members_of_its_cluster() {
    assert_eq!(cluster_address(Entries::new()), "gcomm://");
    let one = entries(&[("galera/a/ip", "10.0.0.1"), ("galera/a/port", "3306")]);
    assert_eq!(cluster_address(one), "gcomm://10.0.0.1");
    assert_eq!(
        cluster_address(fixture("ordinary")),
        "gcomm://10.0.13.1,10.0.13.2:4568,[2001:db8::13],10.0.13.4,10.0.13.5"
    );
}

/// The array that PHP makes of its settings.
fn php_settings(given: Entries) -> Value {
    let dir = temp_dir();
    let file = rendered_to(dir.path(), "php", given);
    let output = Command::new(harness::tool("php"))
        .args(["-r", "echo json_encode(require $argv[1]);", "--"])
        .arg(file)
        .output()
        .expect("run php");
    assert!(output.status.success(), "{output:?}");
    // Whatever stands before the opening tag would be printed as well.
    serde_json::from_slice(&output.stdout).expect("nothing but JSON")
}

#[test]
fn php_reads_its_settings() {
    assert_eq!(
        php_settings(Entries::new()),
        json!({"database": null, "memcached": []})
    );
    assert_eq!(
        php_settings(fixture("ordinary")),
        json!({
            "database": "mysql:host=10.0.5.1;port=3306;dbname=app",
            "memcached": [["10.0.12.1", 11211, 100], ["10.0.12.2", 11211, 50], ["2001:db8::12", 11211, 100]],
        })
    );
}

/// A setting in a YAML file, a list of texts; `None` if it is not there.
fn yaml_list(text: &str, setting: &str) -> Option<Vec<String>> {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(documents.len(), 1, "{text}");
    let map = documents[0].as_mapping().expect("settings");
    let found = map
        .iter()
        .find(|(name, _)| name.as_str() == Some(setting))?;
    let list = found.1.as_vec().expect("a list");
    Some(
        list.iter()
            .map(|one| one.as_str().expect("text").to_owned())
            .collect(),
    )
}

#[test]
fn elasticsearch_and_kibana_get_yaml() {
    let (nodes, page) = (example("elasticsearch"), example("kibana"));
    let list = |text: String, setting: &str| yaml_list(&text, setting);
    let seeds = "discovery.seed_hosts";
    assert_eq!(list(render(&nodes, Entries::new()), seeds), Some(vec![]));
    assert_eq!(
        list(render(&nodes, fixture("ordinary")), seeds).unwrap(),
        ["10.0.14.1:9300", "[2001:db8::14]:9300"]
    );
    let zen = "discovery.zen.ping.unicast.hosts";
    let env = [
        ("ELASTICSEARCH_SEEDS", zen),
        ("ELASTICSEARCH_CLUSTER", "a: \"b\" #"),
    ];
    let old = render_with(&nodes, fixture("ordinary"), &env);
    assert_eq!(yaml_list(&old, zen).unwrap().len(), 2);
    assert!(old.contains(r#"cluster.name: "a: \"b\" #""#), "{old}");

    // Kibana takes a list of at least one, or none.
    let hosts = "elasticsearch.hosts";
    assert_eq!(list(render(&page, Entries::new()), hosts), None);
    assert_eq!(
        list(render(&page, fixture("ordinary")), hosts).unwrap(),
        [
            "http://10.0.14.1:9200",
            "http://[2001:db8::14]:9200",
            "http://10.0.14.3:9200"
        ]
    );
}

#[test]
fn a_log_shipper_gets_json_whatever_the_number_of_servers() {
    let target = example("log-shipper");
    let mut given = Vec::new();
    for count in 0..4 {
        let keys: Vec<(String, &str)> = (0..count)
            .flat_map(|n| {
                [
                    (format!("logcollector/{n}/ip"), "10.0.0.1"),
                    (format!("logcollector/{n}/port"), "5043"),
                ]
            })
            .collect();
        let pairs: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let text = render(&target, entries(&pairs));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["network"]["servers"], json!(given));
        given.push("10.0.0.1:5043");
    }
    let env = [("LOG_SHIPPER_CA", "/a \"b\"\\\n")];
    let text = render_with(&target, Entries::new(), &env);
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["network"]["ssl ca"], env[0].1);
}

#[test]
fn prometheus_gets_groups() {
    let target = example("prometheus");
    let groups = |given| -> Value { serde_json::from_str(&render(&target, given)).expect("JSON") };
    assert_eq!(groups(Entries::new()), json!([]));
    let group = |addr: &str, id: &str, path: &str| {
        let labels = json!({"service": "twice", "id": id, "__metrics_path__": path});
        json!({"targets": [addr], "labels": labels})
    };
    assert_eq!(
        groups(fixture("ordinary")),
        json!([
            group("10.0.16.1:9100", "x1", "/metrics"),
            group("10.0.16.1:9101", "x2", "/x/metrics")
        ])
    );
}

/// dnsmasq says of every file of hosts how much it took, and of every line it did not understand.
#[test]
fn dnsmasq_takes_the_names() {
    let target = example("dnsmasq");
    for (given, names) in [("empty", 0), ("ordinary", 20), ("hostile", 20)] {
        let dir = temp_dir();
        let hosts = dir.path().join("hosts");
        fs::create_dir(&hosts).unwrap();
        let text = render(&target, fixture(given));
        fs::write(hosts.join("sidekick"), &text).unwrap();
        // As a candidate, beside it.
        fs::write(hosts.join(".sidekick.1.sidekick"), "nonsense here\n").unwrap();
        let port = free_port();
        let mut command = Command::new(harness::tool("dnsmasq"));
        command
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv"])
            .args([
                "--no-hosts",
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--hostsdir={}", hosts.display()));
        let process = Process::start(&mut command, &dir.path().join("log"));
        let said = wait_for("dnsmasq to read the hosts", || {
            Some(process.output()).filter(|said| said.contains("read "))
        });
        assert!(!said.contains("bad "), "{given}: {said}\n{text}");
        assert!(!said.contains(".sidekick.1"), "{given}: {said}");
        let taken = said
            .lines()
            .find_map(|line| line.split_once("/sidekick - "));
        let taken: usize = taken
            .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no number in {said}"));
        assert!(taken >= names, "{given}: {said}\n{text}");
    }
    let given = entries(&[
        ("web/a/ip", "10.0.0.1"),
        ("web/a/port", "80"),
        ("web/a/host", "www.example.com"),
        ("web/b_1/ip", "2001:db8::1"),
        ("web/b_1/port", "80"),
        ("web/c/ip", "10.0.0.3"),
        ("web/c/port", "80"),
        ("web/c/state", "drain"),
        ("com.example/x/ip", "10.0.0.4"),
        ("com.example/x/port", "80"),
    ]);
    let text = render_with(&target, given, &[("HOSTS_DOMAIN", "example.org")]);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            "10.0.0.1 a.web.example.org web.example.org",
            "2001:db8::1 web.example.org"
        ]
    );
}

/// A node of Galera whose small HTTP service says it is well, or that it is not.
fn nodes() -> Entries {
    let mut entries = Entries::new();
    let mut put = |id: &str, check: u16| {
        let port = answer_with(id).to_string();
        for (field, value) in [
            ("ip", "127.0.0.1"),
            ("port", &port),
            ("check-port", &check.to_string()),
        ] {
            let key = format!("/services/galera/{id}/{field}");
            entries.insert(key.into(), value.as_bytes().to_vec().into());
        }
    };
    put("well", answer_with("200"));
    // Nobody listens there.
    put("ill", free_port());
    entries
}

#[test]
fn haproxy_sends_connections_to_the_nodes_that_are_well() {
    let dir = temp_dir();
    let port = free_port();
    let bind = format!("127.0.0.1:{port}");
    let env = [("GALERA_BIND", bind.as_str())];
    // As in use: behind the main file, whose settings must not leak into it.
    let main = "global\n    maxconn 100\ndefaults\n    mode http\n    timeout client 1s\n";
    fs::write(dir.path().join("main.cfg"), main).unwrap();
    let text = render_with(&example("haproxy-galera"), nodes(), &env);
    fs::write(dir.path().join("galera.cfg"), text).unwrap();
    let mut command = Command::new(harness::tool("haproxy"));
    command.args(["-db", "-f", "main.cfg", "-f", "galera.cfg"]);
    let process = Process::start(command.current_dir(dir.path()), &dir.path().join("log"));
    // Servers count as well until the first checks have failed.
    process.wait_said("ill is DOWN");
    for _ in 0..6 {
        let got = ask(port, "x", "/");
        assert_eq!(got.as_deref(), Some("well"), "{}", process.output());
    }
}

#[test]
fn nginx_passes_streams_on() {
    let dir = temp_dir();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let env = [("GALERA_LISTEN", listen.as_str())];
    let text = render_with(&example("nginx-stream"), nodes(), &env);
    let module = harness::modules("nginx") + "/ngx_stream_module.so";
    let load = if Path::new(&module).exists() {
        format!("load_module {module};")
    } else {
        String::new()
    };
    let frame = format!(
        "{load}\ndaemon off; master_process off; pid {}/pid; error_log stderr; events {{}}\nstream {{ {text} }}",
        dir.path().display()
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, frame).unwrap();
    let mut command = Command::new(harness::tool("nginx"));
    command.args(["-e", "stderr", "-c"]).arg(&file);
    let _process = Process::start(&mut command, &dir.path().join("log"));
    let mut seen: Vec<String> = Vec::new();
    wait_for("both nodes", || {
        seen.extend(ask(port, "x", "/"));
        let both = ["ill", "well"]
            .iter()
            .all(|id| seen.iter().any(|s| s == id));
        both.then_some(())
    });
}
