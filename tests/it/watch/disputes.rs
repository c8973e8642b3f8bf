//! Announcements that contradict each other are named, once, with who gets what.

use nix::sys::signal::Signal;

use super::{Bench, PACE};
use crate::harness::sidekick;

const TEMPLATE: &str = "{% for r in routes(protocols=[\"http\"]) %}{{ r.path }} {{ r.service }}\n{% endfor %}\
                        default {{ default_service(protocols=[\"http\"]) }}\n";

impl Bench {
    fn announce(&self, dir: &str, attribute: &str, value: &str) {
        let (service, id) = dir.split_once('/').unwrap();
        self.etcd.put_instance(service, id, "10.0.0.1", 80);
        let key = format!("/services/{dir}/{attribute}");
        self.etcd.etcdctl(&["put", &key, value]);
    }
}

#[test]
fn two_services_that_claim_one_route_are_logged_once_and_so_is_the_end_of_it() {
    let bench = Bench::new(PACE);
    bench.template("a.tera", TEMPLATE);
    let conf = std::fs::read_to_string(bench.file("conf.d/a.toml")).unwrap();
    std::fs::write(
        bench.file("conf.d/a.toml"),
        conf.replace("['web']", "['*']"),
    )
    .unwrap();
    bench.announce("web/a", "path", "/");
    let mut process = bench.start(&[]);
    bench.wait_live("default web\n");
    bench.announce("shop/a", "path", "/shop");
    bench.wait_live("/shop shop\ndefault web\n");
    bench.announce("store/a", "path", "/shop/");
    process.wait_said("the services store and shop all claim the route /shop: shop has it");
    bench.announce("young/a", "path", "/");
    process
        .wait_said("the services young and web all claim the default route (path=/): web has it");
    bench.announce("other/a", "path", "/other");
    bench.wait_live("/other other\n/shop shop\ndefault web\n");
    bench.etcd.etcdctl(&["del", "--prefix", "/services/store/"]);
    process.wait_said("this is settled: the services store and shop");
    process.signal(Signal::SIGTERM);
    process.wait();
    let log = process.output();
    assert_eq!(
        log.matches("WARN a: the services store and shop").count(),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches("WARN a: the services young and web").count(),
        1,
        "{log}"
    );

    // Without a store, from a file that stands for it.
    let fixture = bench.file("fixture.json");
    let keys = ["web", "young"].map(|name| {
        format!(r#""/services/{name}/a/ip":"10.0.0.1","/services/{name}/a/port":"80","/services/{name}/a/path":"/""#)
    });
    std::fs::write(&fixture, format!("{{{}}}", keys.join(","))).unwrap();
    let mut render = sidekick();
    render.arg("render").arg("--conf-dir").arg(bench.dir.path());
    let output = render.arg("--from").arg(&fixture).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "default web\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("young and web all claim the default route"),
        "{said}"
    );
}
