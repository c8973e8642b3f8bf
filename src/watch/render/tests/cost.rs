//! What rendering costs.

use std::collections::BTreeMap;

use super::{catalog, view};
use crate::watch::render::Template;

/// Prints what rendering 10,000 instances costs; meant for a release build:
/// `cargo test --release --lib render::tests::cost:: -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_ten_thousand_instances() {
    let mut entries = BTreeMap::new();
    for n in 0..10_000 {
        let dir = format!("/services/s{:04}/i{:05}", n / 10, n);
        entries.insert(
            format!("{dir}/ip"),
            format!("10.0.{}.{}", n / 250, n % 250 + 1),
        );
        entries.insert(format!("{dir}/port"), "8080".to_owned());
        entries.insert(format!("{dir}/host"), format!("host-{n}.example.org"));
    }
    let entries: Vec<(&str, &[u8])> = entries
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_bytes()))
        .collect();
    let mut view = view(&[], &["/services"]);
    view.catalog = catalog(&entries);
    let typed = "{% for name, list in services %}backend {{ name }}\n{% for i in list %}  server {{ i.id }} {{ i.addr }} check inter 2s fall 3 rise 2 weight {{ i.weight | default(value=100) }}\n{% endfor %}{% endfor %}";
    let raw = r#"{% for s in ls(path="/services") %}{% set dir = "/services/" ~ s %}{% for i in ls(path=dir) %}{{ i }} {{ getv(key=dir ~ "/" ~ i ~ "/ip") }}
{% endfor %}{% endfor %}"#;
    for (kind, source) in [("services", typed), ("ls and getv", raw)] {
        let template = Template::compile("t", source).unwrap();
        for _ in 0..10 {
            let start = std::time::Instant::now();
            let bytes = template.render(&view).unwrap().len();
            println!("{kind}: {bytes} bytes in {:?}", start.elapsed());
        }
    }
}
