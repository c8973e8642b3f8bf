//! What rendering costs.

use std::collections::BTreeMap;

use super::{catalog, view};
use crate::watch::render::Template;

/// Prints what rendering 10, 1,000 and 10,000 instances costs; meant for a release build:
/// `cargo test --release --lib render::tests::cost:: -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_many_instances() {
    for count in [10, 1_000, 10_000] {
        cost_of(count);
    }
}

fn cost_of(count: usize) {
    let mut entries = BTreeMap::new();
    for n in 0..count {
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
    let go = r#"{{range $s := lsdir "/services"}}{{$dir := printf "/services/%s" $s}}{{range ls $dir}}{{.}} {{getv (printf "%s/%s/ip" $dir .)}}
{{end}}{{end}}"#;
    let templates = [
        ("services", Template::compile("t", typed)),
        ("ls and getv", Template::compile("t", raw)),
        (
            "ls and getv in Go's language",
            Template::compile("t.tmpl", go),
        ),
    ];
    for (kind, template) in templates {
        let template = template.unwrap();
        let times: Vec<std::time::Duration> = (0..10)
            .map(|_| {
                let start = std::time::Instant::now();
                assert!(!template.render(&view).unwrap().is_empty());
                start.elapsed()
            })
            .collect();
        println!("{count} instances, {kind}: {:?}", times.iter().min());
    }
}
