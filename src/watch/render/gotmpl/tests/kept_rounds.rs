//! A render that takes rounds over from the last one gives what a render gives that knows of none.

use std::sync::Arc;

use proptest::prelude::*;

use crate::model::catalog::Catalog;
use crate::model::key::{Entries, Key, Value};
use crate::model::prefix::Prefix;
use crate::model::update::{Change, Revision, Snapshot, Update};
use crate::watch::render::gotmpl::GoTemplate;
use crate::watch::render::{Host, RenderError, View};

fn prefix(path: &str) -> Prefix {
    Prefix::parse(path).unwrap()
}

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.into(), value.as_bytes().into())
}

fn delete(key: &str) -> Change {
    Change::Delete(key.into())
}

fn view(entries: &[(&str, &str)]) -> View {
    let mut catalog = Catalog::new(prefix("/services"));
    let entries = entries
        .iter()
        .map(|(key, value)| (Key::from(*key), Value::from(value.as_bytes())));
    let entries = entries.collect::<Entries>();
    let revision = Revision(1);
    catalog.apply(&prefix("/"), Update::Reset(Snapshot { revision, entries }));
    View {
        target: "t".to_owned(),
        catalog: Arc::new(catalog),
        services: Vec::new(),
        keys: vec![prefix("/app")],
        root: prefix("/app"),
        env: Arc::default(),
        host: Host::empty(),
    }
}

fn change(view: &mut View, changes: Vec<Change>) {
    let revision = Revision(2);
    let update = Update::Changed { revision, changes };
    Arc::make_mut(&mut view.catalog).apply(&prefix("/"), update);
}

fn compile(source: &str) -> GoTemplate {
    let others = [("other.tmpl", "{{range ls \"/s\"}}{{.}}{{end}}")];
    GoTemplate::compile_among("t.tmpl", source, &others).unwrap()
}

/// The text that a template without a memory gives.
fn fresh(source: &str, view: &View) -> Result<String, RenderError> {
    compile(source).render(view)
}

/// How many rounds run for the next text, which is the right one.
#[track_caller]
fn ran(template: &GoTemplate, source: &str, view: &View) -> usize {
    let (text, ran) = template.run(view);
    assert_eq!(text.ok(), fresh(source, view).ok(), "{source}");
    ran
}

const SIX: &[(&str, &str)] = &[
    ("/app/s/a/ip", "1"),
    ("/app/s/b/ip", "2"),
    ("/app/s/c/ip", "3"),
    ("/app/s/d/ip", "4"),
    ("/app/s/e/ip", "5"),
    ("/app/s/f/ip", "6"),
    ("/app/top", "t"),
];

/// How many rounds run after each of a few changes.
const TABLE: &[(&str, [usize; 6])] = &[
    // Another value; one more; one less; another value elsewhere; nothing; two at once.
    (
        "{{range lsdir \"/s\"}}{{.}} {{getv (printf \"/s/%s/ip\" .)}}\n{{end}}",
        [1, 1, 0, 0, 0, 2],
    ),
    (
        "{{range $i, $x := ls \"/s\"}}{{$x}} {{range ls (printf \"/s/%s\" $x)}}{{.}}{{end}}\n{{end}}",
        [0, 1, 0, 0, 0, 0],
    ),
    // The index is another one from the change on.
    (
        "{{range $i, $x := ls \"/s\"}}{{$i}} {{$x}}\n{{end}}",
        [0, 5, 4, 0, 0, 0],
    ),
    (
        "{{range gets \"/s/*/ip\"}}{{.Key}}={{.Value}}\n{{end}}",
        [1, 1, 0, 0, 0, 2],
    ),
    (
        "{{range getvs \"/s/*/ip\"}}{{.}}\n{{end}}",
        [1, 1, 0, 0, 0, 2],
    ),
    (
        "{{$t := getv \"/top\"}}{{range lsdir \"/s\"}}{{.}}{{$t}}\n{{end}}",
        [0, 1, 0, 6, 0, 0],
    ),
    (
        "{{range lsdir \"/s\"}}{{.}}{{getv \"/top\"}}\n{{end}}",
        [0, 1, 0, 6, 0, 0],
    ),
    (
        "{{range reverse (lsdir \"/s\")}}{{template \"one\" .}}{{end}}{{define \"one\"}}{{getv (printf \"/s/%s/ip\" .)}}{{end}}",
        [1, 1, 0, 0, 0, 2],
    ),
    // A round of the outer loop has to run, but only one of the inner; so it is with loops that are not in a recorded one.
    (
        "{{range ls \"/\"}}{{range gets \"/s/*/ip\"}}{{.Value}}{{end}}{{end}}{{range split \"s,t\" \",\"}}{{.}}:{{range ls (printf \"/%s\" .)}}{{.}}{{getv (printf \"/s/%s/ip\" .)}} {{end}}{{end}}",
        [3, 3, 1, 0, 0, 5],
    ),
];

#[test]
fn only_rounds_run_of_which_something_has_changed() {
    for (source, want) in TABLE {
        let template = compile(source);
        let mut view = view(SIX);
        assert!(
            ran(&template, source, &view) >= 6,
            "the first time, all run: {source}"
        );
        let steps = [
            vec![put("/app/s/c/ip", "33")],
            vec![put("/app/s/bb/ip", "22")],
            vec![delete("/app/s/bb/ip")],
            vec![put("/app/top", "tt")],
            vec![put("/other", "o")],
            vec![put("/app/s/a/ip", "11"), put("/app/s/f/ip", "66")],
        ];
        let found = steps.map(|changes| {
            change(&mut view, changes);
            ran(&template, source, &view)
        });
        assert_eq!(found, *want, "{source}");
    }
}

#[test]
fn what_depends_on_other_rounds_or_on_the_host_runs() {
    for source in [
        "{{$n := 0}}{{range ls \"/s\"}}{{$n}}{{$n = add $n 1}}{{end}}",
        "{{range ls \"/s\"}}{{if eq . \"d\"}}{{break}}{{end}}{{.}}{{end}}",
        "{{range ls \"/s\"}}{{.}}{{hostname}}{{end}}",
        "{{range ls \"/s\"}}{{template \"x\"}}{{end}}{{define \"x\"}}{{template \"y\"}}{{end}}{{define \"y\"}}{{fileExists \"/\"}}{{end}}",
        "{{range ls \"/s\"}}{{include \"other.tmpl\"}}{{end}}",
        "{{range lookupIP \"a\"}}{{.}}{{end}}",
        "{{$l := ls \"/s\"}}{{range ls \"/s\"}}{{index $l 1}}{{end}}",
    ] {
        let (text, ran) = compile(source).run(&view(SIX));
        assert!(text.is_ok(), "{source}");
        assert_eq!(ran, 0, "nothing is kept: {source}");
    }
    // Leaving an inner loop, or going on, says nothing about the other rounds.
    let source = "{{range ls \"/s\"}}{{range ls \"/s\"}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}{{if eq . \"c\"}}{{continue}}{{end}}{{.}}{{end}}";
    let (template, view) = (compile(source), view(SIX));
    assert_eq!(ran(&template, source, &view), 6);
    assert_eq!(ran(&template, source, &view), 0);
}

#[test]
fn after_a_failure_the_last_text_still_serves() {
    let source = "{{range lsdir \"/s\"}}{{getv (printf \"/s/%s/ip\" .)}}{{end}}";
    let (template, mut view) = (compile(source), view(SIX));
    assert_eq!(ran(&template, source, &view), 6);
    change(&mut view, vec![put("/app/s/g/port", "1")]);
    assert_eq!(template.render(&view), fresh(source, &view));
    assert!(template.render(&view).is_err());
    change(&mut view, vec![put("/app/s/g/ip", "7")]);
    assert_eq!(ran(&template, source, &view), 1);
}

#[test]
fn another_view_takes_nothing_over() {
    let source = "{{range lsdir \"/s\"}}{{.}}{{end}}";
    let before = view(SIX);
    let others: [fn(&mut View); 5] = [
        |view| view.target.push('2'),
        |view| view.env = Arc::new([("A".to_owned(), "1".to_owned())].into()),
        |view| view.keys = vec![prefix("/app/s")],
        |view| view.root = prefix("/"),
        |view| change(view, vec![put("/app/s/a//x", "1")]),
    ];
    for other in others {
        let template = compile(source);
        assert_eq!(ran(&template, source, &before), 6);
        let mut after = before.clone();
        other(&mut after);
        let (text, _) = template.run(&after);
        assert_eq!(text.ok(), fresh(source, &after).ok());
    }
}

#[test]
fn a_pair_is_no_text_that_equals_its_key() {
    let source = "{{range ternary (split \"/s/a/ip,/s/b/ip\" \",\") (gets \"/s/[ab]/ip\") (exists \"/top\")}}{{.}}{{end}}";
    let (template, mut view) = (compile(source), view(SIX));
    assert_eq!(ran(&template, source, &view), 2);
    change(&mut view, vec![delete("/app/top")]);
    assert_eq!(ran(&template, source, &view), 2);
}

#[test]
fn a_limit_is_reached_as_without_a_memory() {
    // Steps, then bytes.
    let long = "{{range seq 1 100000}}{{end}}";
    let large = "{{printf \"%400000s\" .}}";
    for body in [long, large] {
        let source = format!("{{{{range lsdir \"/s\"}}}}{body}{{{{end}}}}");
        let (template, mut view) = (compile(&source), view(SIX));
        assert_eq!(ran(&template, &source, &view), 6);
        let more = (0..8).map(|n| put(&format!("/app/s/z{n}/ip"), "1"));
        change(&mut view, more.collect());
        let error = template.render(&view);
        assert!(error.is_err());
        assert_eq!(error, fresh(&source, &view));
    }
}

// Random templates.

const HEADS: &[&str] = &[
    "lsdir \"/s\"",
    "ls \"/s\"",
    "ls (printf \"/s/%s\" $v)",
    "gets \"/s/*/ip\"",
    "gets (printf \"/s/%s/*\" $v)",
    "getvs \"/s/*/ip\"",
    "reverse (ls \"/s\")",
    "split $o \",\"",
    "split (getv \"/list\" \"\") \",\"",
    "seq 1 3",
    "jsonArray (getv \"/json\" \"[]\")",
    "ternary (ls \"/s\") (gets \"/s/*/ip\") (exists \"/top\")",
];

const ATOMS: &[&str] = &[
    " text ",
    "{{$v}}",
    "{{.}}",
    "{{.Value}}",
    "{{$i}}",
    "{{$o}}",
    "{{$n}}",
    "{{$l}}",
    "{{$}}",
    "{{getv (printf \"/s/%s/ip\" $v) \"none\"}}",
    "{{getv (printf \"/s/%v/port\" .) \"none\"}}",
    "{{getv (printf \"/s/%s/ip\" $v)}}",
    "{{if exists (printf \"/s/%s/d/e\" $v)}}e{{else}}n{{end}}",
    "{{(get \"/top\").Value}}",
    "{{json (getv \"/s/a/ip\" \"{}\")}}",
    "{{template \"t\" $v}}",
    "{{template \"u\"}}",
    "{{$n = len $o}}",
    "{{$n = add $n 1}}",
    "{{$m := $v}}{{$m}}",
    "{{getenv \"E\"}}",
    "{{lsdir \"/s\"}}",
    "{{ls \"/\"}}",
    "{{include \"other.tmpl\"}}",
];

const DEFINED: &str = "{{define \"t\"}}<{{.}} {{getv (printf \"/s/%s/ip\" .) \"-\"}}>{{end}}\
    {{define \"u\"}}{{range $i, $v := ls \"/s\"}}{{$v}}{{getv (printf \"/s/%s/ip\" $v) \"-\"}}{{end}}{{end}}\
    {{$v := \"a\"}}{{$i := 0}}{{$n := 0}}{{$l := ls \"/s\"}}{{$o := getv \"/top\" \"p,q\"}}";

fn template() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(ATOMS).prop_map(str::to_owned);
    let inner = atom.prop_recursive(3, 24, 4, |inner| {
        let body = prop::collection::vec(inner, 1..4).prop_map(|parts| parts.concat());
        let head = prop::sample::select(HEADS);
        let names = prop::sample::select(&["", "$v := ", "$i, $v := ", "$v = "][..]);
        let otherwise = prop::sample::select(&["", "{{else}}none", "{{else}}{{$v}}"][..]);
        let leaves = prop::sample::select(&["", "", "", "", "{{break}}", "{{continue}}"][..]);
        prop_oneof![
            4 => (names, head, body.clone(), otherwise, leaves).prop_map(|(names, head, body, otherwise, leaves)| {
                format!("{{{{range {names}{head}}}}}{{{{if eq (printf \"%v\" $v) \"b\"}}}}{leaves}{{{{end}}}}{body}{otherwise}{{{{end}}}}\n")
            }),
            1 => body.clone().prop_map(|body| format!("{{{{with getv \"/top\" \"\"}}}}{body}{{{{end}}}}")),
            1 => body.prop_map(|body| format!("{{{{if exists \"/s/b/ip\"}}}}{body}{{{{end}}}}")),
        ]
    });
    let parts = prop::collection::vec(inner, 1..4);
    parts.prop_map(|parts| format!("{DEFINED}{}", parts.concat()))
}

/// What happens before a render.
#[derive(Debug, Clone)]
enum Event {
    Change(Vec<Change>),
    /// A copy of the catalog has these changes too, and the next one does not.
    Aside(Vec<Change>),
    /// Everything is listed anew.
    List,
    /// The target sees other keys.
    Scope(&'static str),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let keys = [
        "/app/s/a/ip",
        "/app/s/b/ip",
        "/app/s/c/ip",
        "/app/s/d/ip",
        "/app/s/a/port",
        "/app/s/b/port",
        "/app/s/a/d/e",
        "/app/s/b/d/e",
        "/app/s/c",
        "/app/top",
        "/app/list",
        "/app/json",
        "/app/s/a/",
    ];
    let values = ["1", "2", "a", "", "b,a,c", "[\"a\", \"b\"]", "{\"k\": 1}"];
    let pair = (
        prop::sample::select(keys.to_vec()),
        prop::sample::select(values.to_vec()),
        0..4,
    );
    let change = pair.prop_map(|(key, value, kind)| match kind {
        0 => delete(key),
        _ if key == "/app/top" && value == "1" => {
            Change::Put(key.into(), b"\xff".as_slice().into())
        }
        _ => put(key, value),
    });
    prop::collection::vec(change, 1..3)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => changes().prop_map(Event::Change),
        3 => changes().prop_map(Event::Aside),
        1 => Just(Event::List),
        1 => prop::sample::select(&["/app", "/app/s", "/app/s/a"][..]).prop_map(Event::Scope),
    ];
    prop::collection::vec(event, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_text_is_that_of_a_fresh_template(source in template(), events in events()) {
        let kept = compile(&source);
        let mut view = view(SIX);
        prop_assert_eq!(kept.render(&view), fresh(&source, &view));
        for event in events {
            let mut now = view.clone();
            match event {
                Event::Change(changes) => {
                    change(&mut view, changes);
                    now = view.clone();
                }
                Event::Aside(changes) => change(&mut now, changes),
                Event::List => {
                    let root = prefix("/");
                    let all = view.catalog.tree().under(&root).map(|(key, value)| (key.to_key(), value.into()));
                    let snapshot = Snapshot { revision: Revision(3), entries: all.collect() };
                    let mut catalog = Catalog::new(prefix("/services"));
                    catalog.apply(&prefix("/"), Update::Reset(snapshot));
                    view.catalog = Arc::new(catalog);
                    now = view.clone();
                }
                Event::Scope(scope) => {
                    view.keys = vec![prefix(scope)];
                    now = view.clone();
                }
            }
            prop_assert_eq!(kept.render(&now), fresh(&source, &now), "{}", source);
        }
    }
}
