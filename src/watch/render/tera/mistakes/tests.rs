use crate::model::instance::ServiceName;
use crate::watch::render::{RenderError, Template};

/// What is said of a template whose target follows web and api: what is certain, and what is doubtful.
fn mistakes(source: &str, others: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let template = Template::compile_among("t.tera", source, others);
    let template = template.unwrap_or_else(|error| panic!("{source}: {error}"));
    let services: Vec<ServiceName> = ["web", "api"].map(|name| name.parse().unwrap()).into();
    let found = template.mistakes(source, others, Some(&services));
    let told = |error: Option<RenderError>| {
        let faults = error.iter().flat_map(RenderError::faults);
        faults.map(ToString::to_string).collect()
    };
    (told(found.certain), told(found.doubtful))
}

/// The beginning and the end of a loop over instances.
fn each(body: &str) -> String {
    format!("{{% for i in services.web %}}\n{body}\n{{% endfor %}}")
}

#[test]
fn names_that_nothing_makes_right_are_found_in_every_branch() {
    let adr = "t.tera line 2: field `adr` is not defined";
    let wbe = "t.tera line 1: field `wbe` is not defined";
    let not_followed = r#"t.tera line 1: service "wbe" is not among those of this target"#;
    for (source, want) in [
        (each(r#"{% if i.state == "drain" %}{{ i.adr }}{% endif %}"#), adr),
        (
            each(r#"{% if i.attrs.q is defined and i.attrs.q == "1" %}{{- i.adr -}}{% endif %}"#),
            adr,
        ),
        (each("{% if false %}{% else %}{{ i['adr'] }}{% endif %}"), adr),
        (each("{{ i.adr | upper }}"), adr),
        (each("{% if i.adr.x %}{% endif %}"), adr),
        (each("{% for x in i.adr %}{% endfor %}"), adr),
        (
            "{% for i in instances(service=\"web\", include_draining=true) | sort(attribute=\"id\") %}\n{{ i.adr }}{% endfor %}"
                .to_owned(),
            adr,
        ),
        (
            "{% for name, list in services %}{% for i in list | reverse %}\n{{ i.adr }}{% endfor %}{% endfor %}"
                .to_owned(),
            adr,
        ),
        ("{% set all = services.web %}\n{{ all[0].adr }}".to_owned(), adr),
        ("{% set one = services[\"web\"] | first %}\n{{ one.adr }}".to_owned(), adr),
        ("\n{{ services[name][0].adr }}{% set name = 'web' %}".to_owned(), adr),
        (
            "{% for s in slots(instances=services.web, count=2) %}{% if s.instance %}\n{{ s.instance.adr }}{% endif %}{% endfor %}"
                .to_owned(),
            adr,
        ),
        (
            "{% if services.web | length > 1 %}{{ services.wbe }}{% endif %}".to_owned(),
            wbe,
        ),
        ("{% if services.web | length > 1 %}{{ services['wbe'][0].ip }}{% endif %}".to_owned(), wbe),
        (
            "{% if false %}{% for i in services.wbe %}{% endfor %}{% endif %}".to_owned(),
            wbe,
        ),
        (
            "{% if false %}{% set x = instances(service='wbe') %}{% endif %}".to_owned(),
            not_followed,
        ),
        (
            "{% if false %}{% for i in instances(include_draining=true, service=\"wbe\") %}{% endfor %}{% endif %}".to_owned(),
            not_followed,
        ),
        (
            "{% if false %}{{ servcies.web }}{% endif %}".to_owned(),
            "t.tera line 1: variable `servcies` is not defined",
        ),
    ] {
        let found = mistakes(&source, &[]);
        assert_eq!(found, (vec![want.to_owned()], Vec::new()), "{source}");
    }
}

#[test]
fn what_is_read_and_never_there_is_doubtful() {
    for source in [
        each(r#"{% if i.stat == "drain" %}{% endif %}"#),
        each(r#"{% if "drain" != i.stat %}{% endif %}"#),
        each(r"{% set s = i.stat %}"),
        each(r"{{ i.ip ~ i.stat }}"),
    ] {
        let want = "t.tera line 2: field `stat` is not defined".to_owned();
        assert_eq!(mistakes(&source, &[]), (Vec::new(), vec![want]), "{source}");
    }
}

#[test]
fn included_templates_are_followed_where_their_names_stand() {
    let part = "{% for i in services.web %}{{ i.adr }}{{ outer.x }}{% endfor %}";
    let source = "{# \"other.tera\" #}{% if false %}{% include \"part.tera\" %}{% endif %}{% set outer = 1 %}";
    let others = [("part.tera", part), ("other.tera", "{{ services.wbe }}")];
    let want = "part.tera line 1: field `adr` is not defined".to_owned();
    assert_eq!(mistakes(source, &others), (vec![want], Vec::new()));
}

#[test]
fn what_may_be_right_is_passed_over() {
    for source in [
        each("{{ i.addr }}{{ i.attrs.x }}{{ i.attrs['a/b'] }}{{ i.ports.http }}{{ i.weight }}{{ loop.index }}"),
        each("{{ i.adr | default(value='') }}{{ (i.adr) | default(value='') }}"),
        each("{% if i.adr %}{{ i.adr }}{% endif %}"),
        each("{% if i.adr is defined %}{{ i.adr }}{% endif %}"),
        each("{% if i.adr is not defined %}{% else %}{{ i.adr }}{% endif %}"),
        each("{% if not i.adr or i.port > 1 and i.adr %}{% endif %}{{ i?.adr }}"),
        each("{% set i = json(value='{}') %}{{ i.adr }}"),
        each("{% set i = i.attrs %}{{ i.adr }}"),
        each("{% raw %}{{ i.adr }}{% endraw %}{# {{ i.adr }} #}{{ '{{ i.adr }}' }}"),
        each("{% for i in getvs(pattern='/a/*') %}{{ i.adr }}{% endfor %}{% for i in i.attrs %}{{ i.adr }}{% endfor %}"),
        "{% for i in services.web | group_by(attribute='state') %}{{ i.adr }}{% endfor %}".to_owned(),
        "{% for i in gets(pattern='/a/*') %}{{ i.adr }}{% endfor %}".to_owned(),
        "{% set i = services.web %}{% set i = json(value='{}') %}{{ i.adr }}".to_owned(),
        "{% if services.wbe is defined %}{% for i in services.wbe %}{% endfor %}{% endif %}".to_owned(),
        "{% if 'wbe' in services %}{{ services.wbe[0].ip }}{{ instances(service='wbe') }}{% endif %}".to_owned(),
        "{% if services.wbe %}{% for i in instances(service='wbe') %}{% endfor %}{% endif %}".to_owned(),
        "{% set name = 'wbe' %}{% if false %}{% for i in instances(service=name) %}{% endfor %}{% endif %}".to_owned(),
        "{% if false %}{{ instances(service='w' ~ 'eb') }}{% endif %}".to_owned(),
        "{% for services in [1] %}{{ services.wbe }}{% endfor %}".to_owned(),
        "{% for name, value in json(value='{}') %}{{ value.adr }}{{ name.adr }}{% endfor %}".to_owned(),
        "{{ x | default(value=1) }}{% if y %}{{ y }}{% endif %}{% if z is defined %}{{ z.a }}{% endif %}".to_owned(),
        "{% for i in services.web %}{% endfor %}{% for i in seq(first=1, last=2) %}{{ i }}{% endfor %}".to_owned(),
        "{% component Row(i) %}{{ i.adr }}{% endcomponent Row %}{% for i in services.web %}{{ <Row i={i.attrs} /> }}{% endfor %}".to_owned(),
        "{% set names = [i.attrs.x for i in services.web if i.port > 1] %}{{ names | join(sep=' ') }}".to_owned(),
        "{% set m = {'adr': 1} %}{{ m.adr }}{{ services.web[0:1] | length }}".to_owned(),
        "{% for i in services.web[0:1] %}{{ i.addr }}{% endfor %}{% for i in services.web %}{{ i.id }}{% else %}none{% endfor %}".to_owned(),
        "{% block b %}{% for i in services.web %}{{ i.id }}{% endfor %}{% endblock b %}{% filter upper %}x{% endfilter %}".to_owned(),
        "{% set text %}a{% endset %}{{ text }}".to_owned(),
    ] {
        assert_eq!(mistakes(&source, &[]), (Vec::new(), Vec::new()), "{source}");
    }
}

/// `x` is not defined, and each of these stops a render.
#[test]
fn filters_that_fail_for_what_is_not_defined() {
    for filter in super::FILTERS_OF_TEXT {
        let arguments = match *filter {
            "replace" => "(from='a', to='b')",
            "truncate" => "(length=1)",
            "split" => "(pat='a')",
            _ => "",
        };
        let mut engine = tera::Tera::new();
        let source = format!("{{{{ x.y | {filter}{arguments} }}}}");
        engine.add_raw_template("t", &source).unwrap();
        let mut context = tera::Context::new();
        context.insert("x", &std::collections::BTreeMap::from([("z", "")]));
        let error = engine.render("t", &context).expect_err(&source);
        assert!(error.to_string().contains("undefined"), "{source}: {error}");
    }
}
