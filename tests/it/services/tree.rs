//! The tree of keys of the application that `sidekick` comes from, key for key, announced by three machines.
//!
//! One thing differs: there are no empty directories `settings`, since etcd v3 has no directories.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::Signal;

use super::{Bench, tree};
use crate::harness::{Process, wait_for};

/// What all three machines run: a Galera node, and the local listener that stands for all of them.
fn galera(n: u8) -> String {
    format!(
        "[[service]]\nname = 'galera'\nprefix = '/components'\nid = 'uuid'\nip = '10.0.3.{n}'\nport = 3306\n\
         host = 'core-{n}'\nattrs = {{ service_instance_name = 'galera-{n}' }}\n\
         [[service]]\nname = 'database'\nid = 'galera'\nshared = true\nip = '172.17.42.1'\nport = 33306\n"
    )
}

/// What the first one runs besides.
const REST: &str = "
[[service]]
name = 'webserver'
id = 'uuid'
ip = '10.0.3.1'
host = 'core-1'
port = 8001
attrs = { service_instance_name = 'webserver-1' }

[[service]]
name = 'webserver'
id = 'uuid'
ip = '10.0.3.1'
host = 'core-1'
port = 8002
attrs = { service_instance_name = 'webserver-2' }

[[service]]
name = 'cache'
id = 'uuid'
ip = '10.0.3.1'
host = 'core-1'
port = 11211
attrs = { service_instance_name = 'cache-1' }

[[service]]
name = 'database'
id = 'uuid'
ip = '10.0.3.1'
host = 'core-1'
port = 3306
attrs = { service_instance_name = 'database-1' }

[[service]]
name = 'loadbalancer'
id = 'uuid'
ip = '10.0.3.1'
host = 'core-1'
port = 80

[service.attrs]
service_instance_name = 'loadbalancer-1'
endpoint = '10.0.3.1:80'
distribution = 'roundrobin'
'settings/distribution' = 'roundrobin'

[[service]]
name = 'logstorage'
id = 'uuid'
ip = '10.0.3.1'
host = 'core-1'
ports = { http = 9200, transport = 9300 }
attrs = { service_instance_name = 'logstorage-1' }

[[service]]
name = 'logcollector'
id = 'uuid'
ip = '10.0.3.1'
host = 'core-1'
port = 5043
attrs = { service_instance_name = 'logcollector-1' }
";

/// The tree, with the name of an instance in place of its random id.
fn whole() -> BTreeMap<String, String> {
    let mut all = tree(
        "/services/database/galera/ip 172.17.42.1
         /services/database/galera/port 33306
         /services/loadbalancer/loadbalancer-1/endpoint 10.0.3.1:80
         /services/loadbalancer/loadbalancer-1/distribution roundrobin
         /services/loadbalancer/loadbalancer-1/settings/distribution roundrobin
         /services/logstorage/logstorage-1/http-port 9200
         /services/logstorage/logstorage-1/transport-port 9300",
    );
    for (dir, machine, port) in [
        ("/components/galera/galera-1", 1, "3306"),
        ("/components/galera/galera-2", 2, "3306"),
        ("/components/galera/galera-3", 3, "3306"),
        ("/services/webserver/webserver-1", 1, "8001"),
        ("/services/webserver/webserver-2", 1, "8002"),
        ("/services/cache/cache-1", 1, "11211"),
        ("/services/database/database-1", 1, "3306"),
        ("/services/loadbalancer/loadbalancer-1", 1, "80"),
        ("/services/logstorage/logstorage-1", 1, ""),
        ("/services/logcollector/logcollector-1", 1, "5043"),
    ] {
        let (_, name) = dir.rsplit_once('/').unwrap();
        let mut put = |key, value: &str| all.insert(format!("{dir}/{key}"), value.to_owned());
        put("service_instance_name", name);
        put("host", &format!("core-{machine}"));
        put("ip", &format!("10.0.3.{machine}"));
        if !port.is_empty() {
            put("port", port);
        }
    }
    all
}

/// The keys with the name of each instance in place of its id, which has to be a random one.
fn named(keys: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let name = |(key, name): (&String, &String)| {
        let dir = key.strip_suffix("/service_instance_name")?;
        let (above, id) = dir.rsplit_once('/')?;
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{id} is not random");
        Some((format!("{dir}/"), format!("{above}/{name}/")))
    };
    let names: Vec<_> = keys.iter().filter_map(name).collect();
    let renamed = |(key, value): (String, String)| {
        let found = names.iter().find(|(dir, _)| key.starts_with(dir));
        let key = found.map_or(key.clone(), |(dir, name)| key.replacen(dir, name, 1));
        (key, value)
    };
    keys.into_iter().map(renamed).collect()
}

#[test]
fn the_whole_tree_comes_out_key_for_key() {
    let bench = Bench::new();
    bench.write("one", &format!("{}{REST}", galera(1)));
    bench.write("two", &galera(2));
    bench.write("three", &galera(3));
    let mut all: Vec<Process> = ["one", "two", "three"]
        .iter()
        .map(|config| bench.start(config, &[]))
        .collect();
    let want = whole();
    wait_for("all keys", || {
        (bench.keys().len() == want.len()).then_some(())
    });
    assert_eq!(named(bench.keys()), want);
    for process in &all {
        wait_for("everybody to keep the shared id alive", || {
            let log = process.output();
            log.contains("/services/database/galera is announced")
                .then_some(())
        });
    }

    // One lease for each machine, and one that all of them share.
    let shared = |key: &str| key.starts_with("/services/database/galera/");
    let stamps = bench.stamps();
    let leases = |of_shared: bool| -> BTreeSet<i64> {
        let of = stamps.iter().filter(|(key, _)| shared(key) == of_shared);
        of.map(|(_, (_, lease))| *lease).collect()
    };
    assert_eq!((leases(true).len(), leases(false).len()), (1, 3));
    assert!(leases(true).is_disjoint(&leases(false)));
    let listed = bench.etcd.etcdctl(&["lease", "list"]);
    assert!(listed.contains("found 4 leases"), "{listed}");

    // The first machine goes: what is its own is gone at once, what is shared stays.
    all[0].signal(Signal::SIGTERM);
    assert_eq!(all[0].wait().code(), Some(0));
    let left = named(bench.keys());
    let stays = |key: &str| shared(key) || key.contains("galera-2") || key.contains("galera-3");
    let mut want = want;
    want.retain(|key, _| stays(key));
    assert_eq!(left, want);
}

#[test]
fn an_instance_with_a_v6_address() {
    let bench = Bench::new();
    bench.write(
        "six",
        "[[service]]\nname = 'web'\nid = 'a'\nip = '::1'\nhost = 'a.example'\nport = 80\n\
         check = ['http://:PORT/', 'tcp:[::1]:PORT']\ncheck_interval = '50ms'\n"
            .replace("PORT", &answering_on_v6().to_string())
            .as_str(),
    );
    let _process = bench.start("six", &[]);
    bench.until(&tree(
        "/services/web/a/host a.example
         /services/web/a/ip ::1
         /services/web/a/port 80",
    ));
}

/// A web server on `::1` that says that all is well.
fn answering_on_v6() -> u16 {
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    port
}
