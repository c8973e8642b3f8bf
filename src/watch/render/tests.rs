//! The template language as a template sees it: tables of sources and what they give.

mod cost;
mod properties;

use std::sync::Arc;

use super::{Cause, Host, RenderError, Template, View};
use crate::model::catalog::Catalog;
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Snapshot, Update};

const ENTRIES: &[(&str, &str)] = &[
    ("/services/web/b/ip", "10.0.0.2"),
    ("/services/web/b/port", "8080"),
    ("/services/web/b/state", "drain"),
    ("/services/web/a/ip", "10.0.0.1"),
    ("/services/web/a/port", "80"),
    ("/services/web/a/host", "a.example.org"),
    ("/services/web/a/http-port", "9200"),
    ("/services/web/a/weight", "0"),
    ("/services/web/a/settings/distribution", "blue"),
    ("/services/web/c/ip", "2001:db8::1"),
    ("/services/web/c/port", "80"),
    ("/services/web/c/state", "maint"),
    ("/services/my-app/x/ip", "10.0.1.1"),
    ("/services/my-app/x/port", "81"),
    ("/services/half/x/ip", "10.0.1.1"),
    ("/config/n", "7"),
    ("/config/empty", ""),
    (
        "/config/object",
        r#"{"big": 1000000, "nested": {"a": [1, 2.5]}}"#,
    ),
    ("/config/list", "[3, 1]"),
    ("/other/secret", "s"),
];

fn prefix(path: &str) -> Prefix {
    Prefix::parse(path).unwrap()
}

fn catalog(entries: &[(&str, &[u8])]) -> Arc<Catalog> {
    let mut catalog = Catalog::new(prefix("/services"));
    let entries = entries.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    let snapshot = Snapshot {
        revision: Revision(1),
        entries: entries.collect(),
    };
    catalog.apply(&prefix("/"), Update::Reset(snapshot));
    Arc::new(catalog)
}

fn view(services: &[&str], keys: &[&str]) -> View {
    let entries: Vec<(&str, &[u8])> = ENTRIES.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
    let env = [("HOME", "/root"), ("EMPTY", "")];
    View {
        target: "t".to_owned(),
        catalog: catalog(&entries),
        services: services.iter().map(|name| name.parse().unwrap()).collect(),
        keys: keys.iter().map(|path| prefix(path)).collect(),
        root: prefix("/"),
        env: Arc::new(env.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        host: Host::empty(),
    }
}

fn everything() -> View {
    view(&[], &["/services", "/config"])
}

fn render(source: &str, view: &View) -> Result<String, RenderError> {
    Template::compile("t.tera", source)?.render(view)
}

#[track_caller]
fn gives(view: &View, table: &[(&str, &str)]) {
    for (source, want) in table {
        assert_eq!(render(source, view).as_deref(), Ok(*want), "{source}");
    }
}

#[track_caller]
fn fails(view: &View, table: &[(&str, &str)]) {
    for (source, want) in table {
        let error = render(source, view).expect_err(source);
        let said = format!("{error} ({})", error.hint().unwrap_or_default());
        assert!(said.contains(want), "{source}: {said}");
    }
}

/// Tera has no kinds of errors; these are the sentences by which they are told apart.
#[test]
fn the_cause_of_an_error_is_known() {
    let cause = |source: &str| {
        let error = render(source, &view(&["web"], &[])).expect_err(source);
        error.faults()[0].cause.clone()
    };
    for source in [
        "{{ x }}",
        "{{ x.y }}",
        "{{ services.wbe }}",
        "{{ services.web[0].adr }}",
        "{{ services.wbe.x }}",
        "{{ services.web[9] }}",
        "{{ services.wbe[0] }}",
        "{{ services.wbe[0:1] }}",
        "{{ services[x] }}",
        "{{ services.web[x:1] }}",
        "{{ services.web[0:x] }}",
        "{% for i in services.wbe %}{% endfor %}",
        "{% set x = services.wbe %}{{ x.y }}",
        "{{ services.web[0].adr | upper }}",
        "{{ services.wbe | length }}",
        "{{ services.wbe | first }}",
    ] {
        assert_eq!(cause(source), Cause::Undefined, "{source}");
    }
    for service in ["wbe", "a b"] {
        let source = format!("{{{{ instances(service='{service}') }}}}");
        assert_eq!(cause(&source), Cause::NotFollowed(service.into()));
    }
    for source in [
        "{{ getv(key='/undefined') }}",
        "{{ throw(message='x is not defined') }}",
        "{{ atoi(value='undefined') }}",
    ] {
        assert_eq!(cause(source), Cause::Other, "{source}");
    }
}

#[test]
fn instances_and_their_fields() {
    gives(
        &everything(),
        &[
            (
                "{% for i in services.web %}{{ i.id }} {{ i.addr }} {{ i.state }};{% endfor %}",
                "a 10.0.0.1:80 up;b 10.0.0.2:8080 drain;c [2001:db8::1]:80 maint;",
            ),
            (r#"{{ services["my-app"][0].host }}"#, "10.0.1.1"),
            ("{{ services | keys }}", r#"["my-app", "web"]"#),
            (
                "{{ services.web[0].ports.http }} {{ services.web[0].host }}",
                "9200 a.example.org",
            ),
            (
                r#"{{ services.web[0].attrs["settings/distribution"] }}"#,
                "blue",
            ),
            (
                "{% for i in services.web %}{{ i.weight | default(value=100) }} {% endfor %}",
                "0 100 100 ",
            ),
            ("{{ services.web[1].weight is defined }}", "false"),
            (
                "{% if services.web[0].attrs.vhost %}y{% else %}n{% endif %}",
                "n",
            ),
            (
                r#"{% for i in instances(service="web") %}{{ i.id }}{% endfor %}"#,
                "a",
            ),
            (
                r#"{% for i in instances(service="web", include_draining=true) %}{{ i.id }}{% endfor %}"#,
                "ab",
            ),
            (r#"{{ instances(service="nobody") | length }}"#, "0"),
            ("<{{ \"a&'\" }}>", "<a&'>"),
        ],
    );
}

#[test]
fn a_target_sees_what_it_lists() {
    gives(
        &view(&["web", "absent"], &[]),
        &[
            ("{{ services | keys }}", r#"["absent", "web"]"#),
            (
                "{{ services.absent | length }}{{ instances(service=\"absent\") | length }}",
                "00",
            ),
            (r#"{{ ls(path="/services") }}"#, r#"["web"]"#),
            (
                r#"{{ exists(key="/services/my-app/x/ip") }}{{ exists(key="/config/n") }}"#,
                "falsefalse",
            ),
        ],
    );
    gives(
        &view(&[], &["/services/web/a", "/other"]),
        &[
            (
                "{{ services | keys }}{{ services.web | length }}",
                r#"["web"]1"#,
            ),
            (r#"{{ getv(key="/other/secret") }}"#, "s"),
        ],
    );
    gives(
        &view(&[], &[]),
        &[("{{ services | length }} {{ ls(path='/') | length }}", "2 3")],
    );
    fails(
        &view(&["web"], &[]),
        &[
            (
                r#"{{ instances(service="my-app") }}"#,
                "service \"my-app\" is not among those of this target (name it",
            ),
            ("{{ services.nope | length }}", "undefined"),
            (
                "{% for i in services.nope %}{% endfor %}",
                "undefined`, in `{% for i in services.nope %}",
            ),
        ],
    );
}

#[test]
fn raw_functions() {
    gives(
        &everything(),
        &[
            (
                r#"{{ getv(key="/config/n") }}|{{ getv(key="/nope", default="d") }}|{{ getv(key="/config/empty", default="d") }}"#,
                "7|d|",
            ),
            (r#"{{ getv(key="/nope", default=3) + 1 }}"#, "4"),
            (
                r#"{% set kv = get(key="/config/n") %}{{ kv.key }}={{ kv.value }}"#,
                "/config/n=7",
            ),
            (
                r#"{{ exists(key="/config") }} {{ exists(key="/config/n") }}"#,
                "false true",
            ),
            (
                r#"{% for kv in gets(pattern="/services/web/*/ip") %}{{ kv.key }}={{ kv.value }};{% endfor %}"#,
                "/services/web/a/ip=10.0.0.1;/services/web/b/ip=10.0.0.2;/services/web/c/ip=2001:db8::1;",
            ),
            (
                r#"{{ getvs(pattern="/services/web/*/port") }}"#,
                r#"["80", "80", "8080"]"#,
            ),
            (r#"{{ getvs(pattern="/nope/*") }}"#, "[]"),
            (
                r#"{{ ls(path="/services/web/") }} {{ lsdir(path="/services/web/a") }}"#,
                r#"["a", "b", "c"] ["settings"]"#,
            ),
            (
                r#"{{ getenv(name="HOME") }}|{{ getenv(name="EMPTY", default="d") }}|{{ getenv(name="NOPE") }}"#,
                "/root|d|",
            ),
            (
                r#"{% set o = json(value=getv(key="/config/object")) %}{{ o.big }} {{ o.nested.a[1] }}"#,
                "1000000 2.5",
            ),
            (
                r#"{{ jsonArray(value=getv(key="/config/list"))[0] + 1 }}"#,
                "4",
            ),
            (r#"{{ base(path="/a/b") }} {{ dir(path="/a/b") }}"#, "b /a"),
            (
                r#"{{ split(value="a,b", sep=",") | last }} {{ join(list=["a", "b"], sep="-") }}"#,
                "b a-b",
            ),
            (
                r#"{{ toUpper(value="a") }}{{ toLower(value="B") }}{{ contains(value="abc", sub="b") }}{{ trimSuffix(value="a.b", suffix=".b") }}"#,
                "Abtruea",
            ),
            (
                r#"{{ replace(value="aaa", old="a", new="b") }}{{ replace(value="aaa", old="a", new="b", count=1) }}"#,
                "bbbbaa",
            ),
            (r#"{{ base64Decode(value=base64Encode(value="é")) }}"#, "é"),
            (
                r#"{{ parseBool(value="T") }} {{ atoi(value="12") + 1 }} {{ seq(first=1, last=3) }}"#,
                "true 13 [1, 2, 3]",
            ),
            (
                "{{ add(a=1, b=2) }} {{ sub(a=1, b=2) }} {{ mul(a=2, b=3) }} {{ div(a=7, b=2) }} {{ mod(a=7, b=2) }}",
                "3 -1 6 3 1",
            ),
            (
                r#"{{ sortByLength(list=["ccc", "b", "a"]) }}"#,
                r#"["b", "a", "ccc"]"#,
            ),
            (
                r#"{% for kv in sortKVByLength(list=gets(pattern="/config/*")) %}{{ base(path=kv.key) }} {% endfor %}"#,
                "n list empty object ",
            ),
        ],
    );
}

#[test]
fn the_world() {
    let mut view = everything();
    view.host = Host {
        addresses: |_| ["::1", "10.0.0.1"].map(|ip| ip.parse().unwrap()).into(),
        services: |name| {
            vec![crate::model::os::Srv {
                target: format!("{name}."),
                port: 80,
                priority: 1,
                weight: 2,
            }]
        },
        file_exists: |path| path == "/there",
        hostname: || "here".to_owned(),
        ..Host::empty()
    };
    gives(
        &view,
        &[
            (
                r#"{{ lookupIP(host="x") }}{{ lookupIPV4(host="x") }}{{ lookupIPV6(host="x") }}"#,
                r#"["10.0.0.1", "::1"]["10.0.0.1"]["::1"]"#,
            ),
            (
                r#"{% for s in lookupSRV(service="a", protocol="tcp", name="x") %}{{ s.target }} {{ s.port }} {{ s.priority }} {{ s.weight }}{% endfor %}"#,
                "_a._tcp.x. 80 1 2",
            ),
            (
                r#"{{ fileExists(path="/there") }}{{ fileExists(path="/nope") }} {{ hostname() }}"#,
                "truefalse here",
            ),
            (
                "{{ target() }} {{ generation() | haproxy_quote }}",
                &format!("t '{}'", super::generation::PLACE),
            ),
        ],
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    fails(
        &everything(),
        &[
            (
                "\n{{ nope }}",
                "t.tera line 2: variable `nope` is not defined (available variables: services)",
            ),
            (
                "{{ services.web[0].prt }}",
                "t.tera line 1: tried to render a variable that is undefined, in `{{ services.web[0].prt }}`",
            ),
            (
                r#"{{ getv(key="/nope") }}"#,
                "key /nope does not exist among the keys of this target (getv(",
            ),
            (r#"{{ getv(key="/other/secret") }}"#, "does not exist"),
            (
                r#"{{ getv(key="/a", defualt="x") }}"#,
                "function `getv` has no argument `defualt` (its arguments are: key, default)",
            ),
            ("{{ getv() }}", "missing keyword argument `key`"),
            ("{{ getv(key=1) }}", "expected `&str`"),
            (
                "\n\n{{ nope() }} {{ 1 | nope }}",
                "t.tera line 3: unknown function `nope`; t.tera line 3: unknown filter `nope`",
            ),
            ("{% if x is nope %}{% endif %}", "unknown test `nope`"),
            ("{{ now() }}", "unknown function `now`"),
            ("a\n{% if", "t.tera line 2: "),
            (r#"{% include "nope" %}"#, "unknown template `nope`"),
            (r#"{{ json(value="[]") }}"#, "not an object"),
            (r#"{{ jsonArray(value="{}") }}"#, "not a list"),
            (r#"{{ json(value="{") }}"#, "not JSON"),
            (r#"{{ gets(pattern="/[") }}"#, "is not a pattern"),
            (r#"{{ atoi(value="x") }}"#, "not an integer"),
            ("{{ div(a=1, b=0) }}", "division by zero"),
            (
                r#"{{ "a'b" | haproxy_quote }}"#,
                "holds a quote (a template can ask first",
            ),
            (r#"{{ "a b" | url_host }}"#, "(a template can ask first"),
            ("{{ services | shell_quote }}", "only text can be quoted"),
            (
                "{{ services.web[0].attrs.x | shell_quote }}",
                "t.tera line 1: ",
            ),
            (r#"{{ throw(message="own words") }}"#, "own words"),
        ],
    );
    let error = render("a\n  {{ nope }}", &everything()).unwrap_err();
    let excerpt = error.faults()[0].excerpt.clone().unwrap();
    assert!(
        excerpt.contains("2 |   {{ nope }}") && excerpt.contains("^^^^"),
        "{excerpt}"
    );
}

#[test]
fn a_value_that_is_not_text_is_named() {
    let mut view = everything();
    view.catalog = catalog(&[("/config/bin", b"\xff")]);
    fails(
        &view,
        &[
            (
                r#"{{ getv(key="/config/bin", default="x") }}"#,
                "the value of key /config/bin is not UTF-8",
            ),
            (
                r#"{{ gets(pattern="/config/*") }}"#,
                "the value of key /config/bin is not UTF-8",
            ),
        ],
    );
    gives(
        &view,
        &[(
            r#"{{ exists(key="/config/bin") }}{{ ls(path="/config") }}"#,
            r#"true["bin"]"#,
        )],
    );
}

#[test]
fn filters_and_tests() {
    gives(
        &everything(),
        &[
            (
                r#"{{ "a b" | haproxy_quote }}{{ 'a"b' | nginx_quote }}{{ "it's" | php_quote }}{{ "it's" | shell_quote }}"#,
                r#"'a b'"a\"b"'it\'s''it'\''s'"#,
            ),
            ("{{ 80 | shell_quote }}", "'80'"),
            (
                r#"{{ {"b": [1, "x\ny"]} | json_encode }}"#,
                r#"{"b":[1,"x\ny"]}"#,
            ),
            (
                r#"{{ services["my-app"] | json_encode }}"#,
                r#"[{"id":"x","host":"10.0.1.1","ip":"10.0.1.1","port":81,"ports":{},"state":"up","attrs":{},"addr":"10.0.1.1:81"}]"#,
            ),
            ("{{ [1] | json_encode(pretty=true) }}", "[\n  1\n]"),
            (
                r#"{{ "a.example.org" is hostname }}{{ "a b" is hostname }}{{ services.web[0].attrs.vhost is hostname }}"#,
                "truefalsefalse",
            ),
            (
                r#"{{ "/a" is url_path }}{{ "/a b" is url_path }}{{ 1 is url_path }}"#,
                "truefalsefalse",
            ),
            (
                r#"{{ "::1" is ip }}{{ "x" is ip }}{{ "'" is haproxy_quotable }}{{ "'" is nginx_quotable }}"#,
                "truefalsefalsetrue",
            ),
            (r#"{{ "My_app:x" | nginx_name }}"#, "_my__app_.x"),
            (
                r#"{{ "::1" | url_host }} {{ "10.0.0.1" | url_host }} {{ "a.b" | url_host }}"#,
                "[::1] 10.0.0.1 a.b",
            ),
            (
                r#"{% for k, g in services.web | group_by(attribute="port") %}{{ k }}:{{ g | length }} {% endfor %}"#,
                "80:2 8080:1 ",
            ),
            ("{{ routes(protocols=[\"http\"]) | length }}", "0"),
        ],
    );
}

#[test]
fn templates_of_a_directory_include_and_extend_each_other() {
    let others = [
        ("part", "part of {{ services | length }}"),
        ("frame", "[{% block body %}{% endblock %}]"),
        ("broken", "{% if"),
    ];
    let view = everything();
    let compile = |source| Template::compile_among("t.tera", source, &others[..2]);
    let render = |source| compile(source).unwrap().render(&view);
    assert_eq!(
        render(r#"{% include "part" %}"#).as_deref(),
        Ok("part of 2")
    );
    let extends = r#"{% extends "frame" %}{% block body %}x{% endblock %}"#;
    assert_eq!(render(extends).as_deref(), Ok("[x]"));
    // What is wrong with others is no concern of those that do not name them.
    for source in ["alone", r#"{% include "part" %}"#] {
        assert!(Template::compile_among("t.tera", source, &others).is_ok());
    }
    let source = r#"{% include "broken" %}"#;
    let error = Template::compile_among("t.tera", source, &others).unwrap_err();
    assert_eq!(error.faults()[0].place, Some(("broken".to_owned(), 1)));
}

#[test]
fn copies_of_a_template_may_lie_beside_it() {
    let component = "{% component c(x) %}<{{ x }}>{% endcomponent c %}";
    let part = format!(r#"{component}{{{{ <c x="1" /> }}}}"#);
    let others = [("part", part.as_str()), ("copy of part", part.as_str())];
    let source = r#"{% include "part" %}"#;
    let template = Template::compile_among("t.tera", source, &others).unwrap();
    assert_eq!(template.render(&everything()).as_deref(), Ok("<1>"));
    // One that is named nowhere, but whose component is used.
    let template = Template::compile_among("t.tera", r#"{{ <c x="2" /> }}"#, &others[..1]).unwrap();
    assert_eq!(template.render(&everything()).as_deref(), Ok("<2>"));
}

#[test]
fn every_render_is_the_same() {
    let source = r#"{% for k, g in services.web | group_by(attribute="id") %}{{ k }}{% endfor %}{{ json(value=getv(key="/config/object")) }}{{ services }}"#;
    let first = render(source, &everything()).unwrap();
    for _ in 0..20 {
        assert_eq!(render(source, &everything()).unwrap(), first);
    }
}
