//! A template that is split gives what it gives as a whole, whatever it has rendered before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::TeraTemplate;
use crate::model::catalog::Catalog;
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Snapshot, Update};
use crate::watch::render::rows::Fields;
use crate::watch::render::{Host, View};

fn prefix(path: &str) -> Prefix {
    Prefix::parse(path).unwrap()
}

/// What the bodies of loops are made of; some of it has rounds that depend on each other, and some of it fails.
const INSIDE: &[&str] = &[
    "{{ i.id }}",
    " {{ i.addr }}\n",
    "{{ i.weight | default(value=100) }}",
    "{% if i.state == \"drain\" %}d{% else %}u{% endif %}",
    "{% set w = i.weight | default(value=2) %}",
    "{{- i.host -}}",
    "{% for name, port in i.ports %}{{ name }}{{ port }}{% endfor %}",
    "{{ i.attrs.note | default(value=\"-\") }}",
    "{{ toUpper(value=i.id) ~ getenv(name=\"HOME\") }}",
    "{{ i.weight }}",
    "{{ i | length }}",
    "{% include \"p\" %}",
    "{% if i.id in [\"v\", \"w\"] %}in{% endif %}",
    "{{ x if i.weight is defined else name }}",
    "{% set_global x = i.id %}",
    "{{ loop.index }}",
    "{{ x }}",
    "{{ x }}{{ name }}",
    "{{ all | length }}",
    "{% set x = 1 %}",
    "{# a comment #}",
    "\n",
];

/// What stands outside of loops.
const OUTSIDE: &[&str] = &[
    "{{ services | length }}",
    "{% if services.a %}a{% endif %}",
    "{% set x = 7 %}",
    "{% set x = services.a | length %}",
    "{% set x = 7.0 %}",
    "{% set name = \"n\" %}",
    "{% set all = services.a %}",
    "{% set all = instances(service=\"b\") %}",
    "{{ all | length }}",
    "{{ all | json_encode }}",
    "{% set x = false or services.a %}{{ x | json_encode }}",
    "{% set body = services.a %}{{ body | json_encode }}",
    "{% for p in [] %}{% else %}{% set all = services.a %}{% endfor %}",
    "{{ services.b | default(value=[]) | sort(attribute=\"weight\") | json_encode }}",
    "{{ all | first | json_encode }}",
    "{% set first = all | first %}{{ first.ip }}",
    "{% set first = services.a | first %}{{ first.ip }}",
    "{{ x | default(value=0) }}",
    "{{ instances(service=\"a\") | length }}",
    "{{ agreed(instances=speaking(service=\"a\", protocols=[\"http\"]), attribute=\"note\") }}",
    " \n ",
];

const LISTS: &[&str] = &[
    "services.a",
    "services.b | default(value=[])",
    "instances(service=\"a\")",
    "instances(service=\"a\", include_draining=true)",
    "speaking(service=\"a\", protocols=[\"http\"])",
    "all",
];

fn any_of(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(parts).prop_map(str::to_owned)
}

fn loops() -> impl Strategy<Value = String> {
    let dashes = proptest::array::uniform4(prop_oneof![Just(""), Just("-")]);
    let body = proptest::collection::vec(any_of(INSIDE), 0..5);
    let otherwise = prop_oneof![
        3 => Just(None),
        1 => (dashes.clone(), any_of(OUTSIDE)).prop_map(Some)
    ];
    let parts = (any_of(LISTS), body, dashes, otherwise);
    parts.prop_map(|(list, body, [a, b, c, d], otherwise)| {
        let otherwise = otherwise.map(|([a, b, _, _], text)| format!("{{%{a} else {b}%}}{text}"));
        let (body, otherwise) = (body.concat(), otherwise.unwrap_or_default());
        format!("{{%{a} for i in {list} {b}%}}{body}{otherwise}{{%{c} endfor {d}%}}")
    })
}

/// What other templates have that are included.
fn included() -> impl Strategy<Value = String> {
    let part = prop_oneof![loops(), any_of(OUTSIDE), any_of(INSIDE)];
    proptest::collection::vec(part, 1..3).prop_map(|parts| parts.concat())
}

fn sources() -> impl Strategy<Value = String> {
    let dashes = proptest::array::uniform2(prop_oneof![Just(""), Just("-")]);
    let include = dashes.prop_map(|[a, b]| format!(" {{%{a} include \"o\" {b}%}} "));
    let part = prop_oneof![
        2 => loops(),
        1 => include,
        1 => any_of(OUTSIDE),
        1 => loops().prop_map(|inner| format!("{{% for name, all in services %}}{{{{ name }}}} {inner}{{% endfor %}}")),
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.concat())
}

/// A key of an instance, with its value or none.
fn steps() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    let field = prop_oneof![
        Just(("ip", "10.0.0.1")),
        Just(("ip", "10.0.0.2")),
        Just(("port", "80")),
        Just(("weight", "3")),
        Just(("state", "drain")),
        Just(("note", "n")),
        Just(("protocol", "tcp")),
        Just(("a-port", "81")),
    ];
    let step =
        ("[ab]", "[v-z]", field, any::<bool>()).prop_map(|(service, id, field, is_there)| {
            let (name, value) = field;
            let key = format!("/services/{service}/{id}/{name}");
            (key, is_there.then(|| value.to_owned()))
        });
    proptest::collection::vec(step, 1..12)
}

/// What a target sees of these keys.
fn view(catalog: &mut Catalog, entries: &BTreeMap<String, String>) -> View {
    let entries = entries.iter();
    let entries = entries.map(|(key, value)| (key.as_str().into(), value.as_bytes().into()));
    let snapshot = Snapshot {
        revision: Revision(1),
        entries: entries.collect(),
    };
    catalog.apply(&prefix("/"), Update::Reset(snapshot));
    View {
        target: "t".to_owned(),
        catalog: Arc::new(catalog.clone()),
        services: Vec::new(),
        keys: Vec::new(),
        root: prefix("/"),
        env: Arc::new(BTreeMap::from([("HOME".to_owned(), "/root".to_owned())])),
        host: Host::empty(),
    }
}

/// The keys of instances of the service `a`.
fn instances(ids: &[&str]) -> BTreeMap<String, String> {
    let fields = [("ip", "10.0.0.9"), ("port", "80"), ("weight", "1")];
    let keys = |id: &&str| {
        fields.map(|(name, value)| (format!("/services/a/{id}/{name}"), value.to_owned()))
    };
    ids.iter().flat_map(keys).collect()
}

/// The same template, whose rows have also the fields that it does not read.
fn with_all_fields(whole: &TeraTemplate) -> TeraTemplate {
    TeraTemplate {
        fields: Fields::new(|_| true),
        last_rows: Arc::default(),
        ..whole.clone()
    }
}

proptest! {
    #[test]
    fn the_parts_give_what_the_whole_gives(source in sources(), other in included(), history in proptest::collection::vec(steps(), 1..5)) {
        let template = TeraTemplate::compile_among("t.tera", &source, &[("o", &other), ("p", "{{ i.ip }}")]).unwrap();
        let whole = TeraTemplate { split: None, ..template.clone() };
        let with_all_fields = with_all_fields(&whole);
        let mut entries = instances(&["v", "w", "x", "y"]);
        let mut catalog = Catalog::new(prefix("/services"));
        for steps in history {
            for (key, value) in steps {
                match value {
                    Some(value) => drop(entries.insert(key, value)),
                    None => drop(entries.remove(&key)),
                }
            }
            let view = view(&mut catalog, &entries);
            let text = whole.render(&view);
            prop_assert_eq!(&text, &template.render(&view));
            if text.is_ok() {
                prop_assert_eq!(&text, &with_all_fields.render(&view));
            }
        }
    }
}

/// Templates that are hard to follow. The second text is that of an include.
const HARD: &[(&str, &str)] = &[
    (
        "{% for i in services.a %}{{ __tera_loop_index }}{% endfor %}",
        "",
    ),
    ("{{ __tera_context }}", ""),
    (
        "{% for p in [] %}{% else %}{% set all = services.a %}{% endfor %}{{ all | json_encode }}",
        "",
    ),
    (
        "{% if [false or services.a or 1] | json_encode == \"[[0,1]]\" %}x{% endif %}",
        "",
    ),
    (
        "{% set y = false %}{% set x = y or services.a %}{{ x | json_encode }}",
        "",
    ),
    (
        "{% set y = false %}{{ agreed(instances=y or services.a, attribute=\"note\") }}",
        "",
    ),
    ("{% set body = services.a %}{{ body | json_encode }}", ""),
    (
        "{% set else = 7 %}{% for i in services.a %}{{ else | default(value=1) }}{% endfor %}",
        "",
    ),
    (
        "{{ [services for services in [1]] }}{{ services | json_encode }}",
        "",
    ),
    (
        "{% for i in services.a %}{{ i | length }}{{ i.id }}{% endfor %}",
        "",
    ),
    (
        "{% set instances_of_rounds = 3 %}{% for i in services.a %}{{ instances_of_rounds }}{% endfor %}",
        "",
    ),
    (
        "{% for i in services.none %}{{ i.id }}{% else %}none{% endfor %}",
        "",
    ),
    (
        "{% for i in services.none | default(value=[]) %}{{ i.id }}{% else %}none{% endfor %}",
        "",
    ),
    ("{{ agreed(instances=[0], attribute=\"note\") }}", ""),
    (
        "{% for x in [\"<\" | safe, \"<\"] %}{% for i in services.a %}{{ x | escape }}{% endfor %}{% endfor %}",
        "",
    ),
    (
        "{% for x in [1, 1.0, true, \"1\"] %}{% for i in services.a %}{{ x }}{% endfor %}{% endfor %}",
        "",
    ),
    (
        "{% for i in services.a -%}\r\n{{ i.id }}\u{a0}{%- endfor -%}\u{a0}x",
        "",
    ),
    (
        "{% for i in services.a %}{% raw %}{% endfor %}{% endraw %}{# {% endfor %} #}{{ i.id }}{% endfor %}",
        "",
    ),
    (
        "{% for x in [1, 2] %}{% include \"o\" %}{% endfor %}",
        "{{ loop.index }}",
    ),
    (
        "{% include \"o\" %}{{ x | default(value=0) }}",
        "{% for p in [] %}{% else %}{% set x = 1 %}{% endfor %}",
    ),
    (
        "{% include \"o\" %}{{ x | default(value=0) }}",
        "{% set x = 1 %}{{ x }}",
    ),
    (
        " {%- include \"o\" -%} x",
        "  \n{%- if true -%} y {% endif -%}  {# c -#}  ",
    ),
    (
        "{% include \"o\" %}{{ services.a }}",
        "{% for services in [1] %}{% endfor %}",
    ),
    (
        "{% set w = 1 %}{% include \"o\" %}{{ w }}",
        "{% for i in services.a %}{% set w = i.id %}{{ w }}{% endfor %}",
    ),
];

/// Behind each of them stands a loop that could be split.
#[test]
fn templates_that_are_hard_to_follow_give_what_the_whole_gives() {
    const LOOP: &str = "{% for i in services.a %}{{ i.id }}{% endfor %}";
    for (source, other) in HARD {
        let source = format!("{source}{LOOP}");
        let others = [("o", *other)];
        let template = TeraTemplate::compile_among("t.tera", &source, &others).unwrap();
        let whole = TeraTemplate {
            split: None,
            ..template.clone()
        };
        let with_all_fields = with_all_fields(&whole);
        let catalog = &mut Catalog::new(prefix("/services"));
        for ids in [&["x", "y"][..], &["w", "x", "y"], &["y"], &[], &["x", "y"]] {
            let view = view(catalog, &instances(ids));
            let text = whole.render(&view);
            assert_eq!(template.render(&view), text, "{source} {ids:?}");
            if text.is_ok() {
                assert_eq!(with_all_fields.render(&view), text, "{source} {ids:?}");
            }
        }
    }
}

/// All rounds would run once for each of the values, in each render.
#[test]
fn a_loop_that_is_given_several_values_in_one_render_is_not_kept() {
    let source =
        "{% for x in [1, 2] %}{% for i in services.a %}{{ x }}{{ i.id }}{% endfor %}{% endfor %}";
    let template = TeraTemplate::compile_among("t.tera", source, &[]).unwrap();
    let view = view(
        &mut Catalog::new(prefix("/services")),
        &instances(&["v", "w"]),
    );
    assert!(template.split.as_ref().unwrap().render(&view).is_err());
    assert_eq!(template.render(&view).unwrap(), "1v1w2v2w");
}

/// The templates that are shipped for proxies, but for nginx.conf.tera, which is made of components.
#[test]
fn the_shipped_templates_of_proxies_are_split() {
    const NAMES: [&str; 7] = [
        "haproxy.cfg.tera",
        "haproxy-backends.cfg.tera",
        "nginx-routes.conf.tera",
        "nginx-upstreams.conf.tera",
        "examples/haproxy-galera.cfg.tera",
        "examples/nginx-stream.conf.tera",
        "examples/hosts.tera",
    ];
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let texts = NAMES.map(|name| std::fs::read_to_string(templates.join(name)).unwrap());
    let all = NAMES.into_iter().zip(texts.iter().map(String::as_str));
    let all: Vec<(&str, &str)> = all.collect();
    for (name, text) in &all {
        let template = TeraTemplate::compile_among(name, text, &all).unwrap();
        assert!(template.split.is_some(), "{name}");
    }
}
