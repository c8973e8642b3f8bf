//! confd's language as confd has it: tables of sources and what they give.

mod kept_rounds;

use std::sync::Arc;
use std::time::Duration;

use crate::model::catalog::Catalog;
use crate::model::os::Srv;
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Snapshot, Update};
use crate::watch::render::{Host, RenderError, Template, View};

const ENTRIES: &[(&str, &str)] = &[
    ("/app/a/x", "2"),
    ("/app/a/y", "1"),
    ("/app/a/z", "1"),
    ("/app/a/d/e", "deep"),
    ("/app/a-b/x", "other"),
    ("/app/empty", ""),
    ("/app/longer", "l"),
    ("/app/top", "t"),
    (
        "/app/object",
        r#"{"big": 1000000, "port": 65535, "f": 1.5, "no": null, "l": [1, "b"], "o": {"k": "v"}, "z": "<&>"}"#,
    ),
    ("/app/list", r#"["b", "a"]"#),
    (
        "/app/objects",
        r#"[{"ip": "10.0.0.1"}, {"ip": "10.0.0.2", "up": true}]"#,
    ),
    ("/other", "not seen"),
];

fn view() -> View {
    let prefix = |path| Prefix::parse(path).unwrap();
    let mut catalog = Catalog::new(prefix("/services"));
    let entries = ENTRIES
        .iter()
        .map(|(k, v)| ((*k).into(), v.as_bytes().into()));
    let snapshot = Snapshot {
        revision: Revision(1),
        entries: entries.collect(),
    };
    catalog.apply(&prefix("/"), Update::Reset(snapshot));
    let env = [("HOME", "/root"), ("EMPTY", "")];
    View {
        target: "t".to_owned(),
        catalog: Arc::new(catalog),
        services: Vec::new(),
        keys: vec![prefix("/app")],
        root: prefix("/app"),
        env: Arc::new(env.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        host: Host {
            addresses: |host| match host {
                "two" => ["::1", "10.0.0.2", "10.0.0.1", "::ffff:10.0.0.1"]
                    .map(|ip| ip.parse().unwrap())
                    .into(),
                _ => Vec::new(),
            },
            services: |name| match name {
                "_http._tcp.x" | "x" => vec![srv("b.", 80), srv("a.", 81)],
                _ => Vec::new(),
            },
            file_exists: |path| path == "/there",
            now: || Duration::from_secs(1_709_211_845),
            hostname: || "here".to_owned(),
            interface_addresses: |name| match name {
                "eth0" => ["::2", "10.0.0.7"].map(|ip| ip.parse().unwrap()).into(),
                _ => Vec::new(),
            },
        },
    }
}

fn srv(target: &str, port: u16) -> Srv {
    Srv {
        target: target.to_owned(),
        port,
        priority: 1,
        weight: 2,
    }
}

fn render(source: &str) -> Result<String, RenderError> {
    Template::compile("t.tmpl", source)?.render(&view())
}

#[track_caller]
fn gives(table: &[(&str, &str)]) {
    for (source, want) in table {
        assert_eq!(render(source).as_deref(), Ok(*want), "{source}");
    }
}

#[track_caller]
fn fails(table: &[(&str, &str)]) {
    for (source, want) in table {
        let error = render(source).expect_err(source);
        let said = format!("{error} ({})", error.hint().unwrap_or_default());
        assert!(said.contains(want), "{source}: {said}");
    }
}

#[test]
fn the_language() {
    gives(&[
        ("plain text\n", "plain text\n"),
        (
            "{{.foo}}|{{.}}|{{.foo.bar}}",
            "<no value>|<no value>|<no value>",
        ),
        ("{{/* a comment */}}x", "x"),
        ("a\n  {{- 1 -}}\n  b", "a1b"),
        ("{{range seq 1 3}}{{.}},{{end}}", "1,2,3,"),
        (
            "{{range $i, $x := split \"a,b\" \",\"}}{{$i}}={{$x}};{{end}}",
            "0=a;1=b;",
        ),
        ("{{range gets \"/nope/*\"}}x{{else}}none{{end}}", "none"),
        // Without an item the variables have the value that was gone through, whatever another loop has left there.
        (
            "{{range $x := ls \"/a\"}}{{end}}{{range $i, $x := gets \"/nope/*\"}}{{else}}{{$i}}{{$x}}{{end}}",
            "[][]",
        ),
        (
            "{{range seq 1 9}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}",
            "12",
        ),
        (
            "{{range seq 1 3}}{{if eq . 2}}{{continue}}{{end}}{{.}}{{end}}",
            "13",
        ),
        (
            "{{with getv \"/top\"}}{{.}}{{end}}{{with getv \"/empty\"}}x{{else}}y{{end}}",
            "ty",
        ),
        (
            "{{define \"s\"}}[{{.}}]{{end}}{{template \"s\" getv \"/top\"}}",
            "[t]",
        ),
        ("{{$x := \"a\"}}{{$x = \"b\"}}{{$x}}", "b"),
        ("{{\"abc\" | toUpper | printf \"%s-%d\" | len}}", "16"),
        (
            "{{printf \"%q %5.1f %03d %v\" \"a\" 1.25 7 true}}",
            "\"a\"   1.2 007 true",
        ),
        (
            "{{index (split \"a,b\" \",\") 1}}{{index (json (getv \"/object\")) \"f\"}}",
            "b1.5",
        ),
        (
            "{{if and (exists \"/top\") (not (exists \"/nope\"))}}y{{end}}",
            "y",
        ),
        (
            "{{if or (eq 1 2) (lt 1 2)}}y{{end}}{{if ne \"a\" \"b\"}}z{{end}}",
            "yz",
        ),
        ("{{if eq \"b\" \"a\" \"b\"}}y{{end}}", "y"),
        (
            "{{html \"<a>\"}} {{urlquery \"a b\"}} {{len \"é\"}}",
            "&lt;a&gt; a+b 2",
        ),
        ("{{`raw \\n`}}{{'a'}}", "raw \\n97"),
        ("{{if true}}a{{else if false}}b{{else}}c{{end}}", "a"),
        ("{{\"a\"}}{{println \"x\"}}{{print 1 2 \"a\"}}", "ax\n1 2a"),
    ]);
    fails(&[
        ("a\n{{nope}}", "t.tmpl line 2: "),
        ("a\n\n{{if}}{{end}}", "t.tmpl line 3: "),
        ("{{range}}", "t.tmpl line 1"),
        ("\n{{getv \"/nope\"}}", "t.tmpl line 2: "),
        ("{{template \"nope\"}}", "nope"),
    ]);
}

#[test]
fn keys() {
    gives(&[
        (
            "{{exists \"/a/x\"}}{{exists \"/a\"}}{{exists \"a/x\"}}{{exists \"/a/x/\"}}{{exists \"/other\"}}",
            "truefalsefalsefalsefalse",
        ),
        ("{{with get \"/a/x\"}}{{.Key}}={{.Value}}{{end}}", "/a/x=2"),
        (
            "{{getv \"/a/x\"}}{{getv \"/nope\" \"d\"}}{{getv \"/empty\" \"d\"}}{{getv \"/a\" \"dir\"}}",
            "2ddir",
        ),
        (
            "{{range gets \"/a/*\"}}{{.Key}}={{.Value}} {{end}}",
            "/a/x=2 /a/y=1 /a/z=1 ",
        ),
        ("{{range gets \"/*/x\"}}{{.Key}} {{end}}", "/a-b/x /a/x "),
        (
            "{{range gets \"/a/[^x]\"}}{{base .Key}}{{end}}{{range gets \"/a/?\"}}{{base .Key}}{{end}}",
            "yzxyz",
        ),
        (
            "{{len (gets \"a/*\")}}{{len (gets \"/a/*/\")}}{{len (gets \"/*\")}}",
            "006",
        ),
        ("{{getvs \"/a/*\"}} {{getvs \"/nope/*\"}}", "[1 1 2] []"),
        (
            "{{ls \"/a\"}} {{ls \"/a/\"}} {{ls \"/a/x\"}} {{ls \"/nope\"}} {{ls \"a\"}}",
            "[d x y z] [d x y z] [x] [] []",
        ),
        ("{{ls \"/a/x/\"}}{{getvs \"*/a/x\"}}", "[][2]"),
        ("{{ls \"/\"}}", "[empty list longer object objects top]"),
        (
            "{{lsdir \"/a\"}} {{lsdir \"/a/\"}} {{lsdir \"/\"}} {{lsdir \"/nope\"}} {{lsdir \"/a/x\"}}",
            "[d] [d] [] [] []",
        ),
    ]);
    fails(&[
        ("{{get \"/nope\"}}", "key does not exist: /nope"),
        (
            "{{getv \"/nope\"}}",
            "key does not exist: /nope (getv with a second argument",
        ),
        ("{{getv \"/app/top\"}}", "key does not exist"),
        ("{{getv \"/other\"}}", "key does not exist"),
        ("{{gets \"/[\"}}", "is not a pattern"),
        ("{{gets \"[\"}}", "is not a pattern"),
        (
            "{{getv}}",
            "wrong number of args for getv: want at least 1 got 0",
        ),
        ("{{getv 1}}", "expected string; got int"),
        (
            "{{get \"/a/x\" | printf \"%s\" | getv}}",
            "key does not exist",
        ),
        ("{{with get \"/a/x\"}}{{.Nope}}{{end}}", "Nope"),
        ("{{cgetv \"/a\"}}", "encrypted values are not supported"),
    ]);
}

#[test]
fn text() {
    gives(&[
        (
            "{{base \"\"}} {{base \"/a/\"}} {{dir \"a\"}} {{dir \"/\"}} {{dir \"/a/b\"}}",
            ". a . / /a",
        ),
        (
            "{{len (split \"\" \",\")}} {{split \"abc\" \"\"}} {{split \"a:b\" \":\"}}",
            "1 [a b c] [a b]",
        ),
        (
            "{{join (getvs \"/a/*\") \",\"}} {{join (jsonArray (getv \"/list\")) \"-\"}}",
            "1,1,2 b-a",
        ),
        ("{{toUpper \"aßé\"}}{{toLower \"AÉİ\"}}", "AßÉaéi"),
        (
            "{{contains \"abc\" \"b\"}}{{contains \"b\" \"abc\"}}",
            "truefalse",
        ),
        (
            "{{trimSuffix \"a.b.b\" \".b\"}} {{trimSuffix \"a\" \"x\"}}",
            "a.b a",
        ),
        (
            "{{replace \"aaa\" \"a\" \"b\" -1}} {{replace \"aaa\" \"a\" \"b\" 2}} {{replace \"aaa\" \"a\" \"b\" 0}}",
            "bbb bba aaa",
        ),
        (
            "{{base64Encode \"foob\"}} {{base64Decode \"Zm9v\\nYg==\"}}",
            "Zm9vYg== foob",
        ),
        (
            "{{parseBool \"T\"}} {{parseBool \"0\"}} {{if parseBool \"false\"}}x{{end}}",
            "true false ",
        ),
        ("{{atoi \"-12\"}} {{atoi \"+3\" | add 1}}", "-12 4"),
        (
            "{{sortByLength (split \"ccc,b,aa,a\" \",\")}}",
            "[b a aa ccc]",
        ),
        (
            "{{range sortKVByLength (gets \"/*\")}}{{.Key}} {{end}}",
            "/top /list /empty /longer /object /objects ",
        ),
        (
            "{{getenv \"HOME\"}}|{{getenv \"EMPTY\"}}|{{getenv \"EMPTY\" \"d\"}}|{{getenv \"NOPE\" \"d\"}}",
            "/root||d|d",
        ),
    ]);
    fails(&[
        ("{{base64Decode \"Zg\"}}", "base64"),
        ("{{parseBool \"yes\"}}", "not a truth value"),
        ("{{atoi \" 1\"}}", "not an integer"),
        ("{{atoi \"1.0\"}}", "not an integer"),
        ("{{join \"a\" \",\"}}", "expected a list; got string"),
        ("{{join (jsonArray \"[1]\") \",\"}}", "expected []string"),
        (
            "{{replace \"a\" \"b\" \"c\"}}",
            "wrong number of args for replace: want 4 got 3",
        ),
        (
            "{{sortKVByLength (split \"a\" \",\")}}",
            "sortKVByLength sorts",
        ),
    ]);
}

#[test]
fn numbers_and_lists() {
    gives(&[
        (
            "{{add 1 2}} {{sub 1 2}} {{mul 2 3}} {{div -7 2}} {{mod -7 2}}",
            "3 -1 6 -3 -1",
        ),
        ("{{seq 2 4}} {{seq 4 2}} {{seq 5 5}}", "[2 3 4] [4 3 2] [5]"),
        (
            "{{reverse (split \"a,b\" \",\")}} {{reverse (ls \"/a\")}}",
            "[b a] [z y x d]",
        ),
        (
            "{{range reverse (gets \"/a/*\")}}{{.Key}} {{end}}",
            "/a/x /a/y /a/z ",
        ),
        (
            "{{range reverse (sortKVByLength (gets \"/a/*\"))}}{{.Key}} {{end}}",
            "/a/z /a/y /a/x ",
        ),
        (
            "{{range reverse (jsonArray (getv \"/objects\"))}}{{.ip}} {{end}}",
            "10.0.0.1 10.0.0.2 ",
        ),
        ("{{reverse \"ab\"}}", "ab"),
        (
            "{{$m := map \"a\" 1 \"b\" \"x\"}}{{$m.a}}{{$m.b}}{{$m.c}}{{len $m}}{{range $k, $v := $m}}{{$k}}{{$v}}{{end}}",
            "1x<no value>2a1bx",
        ),
    ]);
    fails(&[
        ("{{div 1 0}}", "division by zero"),
        ("{{mod 1 0}}", "division by zero"),
        ("{{add \"1\" 2}}", "expected int; got string"),
        (
            "{{add 1 2 3}}",
            "wrong number of args for add: want 2 got 3",
        ),
        ("{{map \"a\"}}", "invalid map call"),
        ("{{map 1 2}}", "expected string; got int"),
        ("{{seq 1 1000000}}", "sequence of more than"),
    ]);
}

#[test]
fn json() {
    gives(&[
        (
            "{{$o := json (getv \"/object\")}}{{$o.big}} {{$o.port}} {{$o.f}}",
            "1e+06 65535 1.5",
        ),
        (
            "{{$o := json (getv \"/object\")}}{{$o.nope}} {{$o.no}} {{$o.o.k}} {{$o.o.x}} {{index $o.l 1}}",
            "<no value> <no value> v <no value> b",
        ),
        (
            "{{with json (getv \"/object\")}}{{range .l}}{{.}};{{end}}{{.z}}{{end}}",
            "1;b;<&>",
        ),
        (
            "{{printf \"%.0f %v\" (json (getv \"/object\")).big (json (getv \"/object\")).big}}",
            "1000000 1e+06",
        ),
        (
            "{{range jsonArray (getv \"/objects\")}}{{.ip}}{{if .up}}+{{end}} {{end}}",
            "10.0.0.1 10.0.0.2+ ",
        ),
        (
            "{{json \"null\"}} {{jsonArray \"null\"}} {{json \"{}\"}}",
            "map[] [] map[]",
        ),
        (
            "{{range gets \"/obj*t\"}}{{(json .Value).port}}{{end}}",
            "65535",
        ),
    ]);
    fails(&[
        ("{{json \"[]\"}}", "not an object"),
        ("{{jsonArray \"{}\"}}", "not a list"),
        ("{{json \"{\"}}", "not JSON"),
        ("{{json \"{} x\"}}", "not JSON"),
        (
            "{{add 1 (json (getv \"/object\")).port}}",
            "expected int; got float64",
        ),
    ]);
}

#[test]
fn the_world() {
    gives(&[
        (
            "{{lookupIP \"two\"}} {{lookupIPV4 \"two\"}} {{lookupIPV6 \"two\"}} {{lookupIP \"none\"}}",
            "[10.0.0.1 10.0.0.2 ::1] [10.0.0.1 10.0.0.2] [::1] []",
        ),
        (
            "{{range lookupSRV \"http\" \"tcp\" \"x\"}}{{.Target}}{{.Port}} {{.Priority}} {{.Weight}};{{end}}",
            "a.81 1 2;b.80 1 2;",
        ),
        (
            "{{len (lookupSRV \"\" \"\" \"x\")}}{{lookupSRV \"a\" \"b\" \"c\"}}",
            "2[]",
        ),
        (
            "{{fileExists \"/there\"}}{{fileExists \"/nope\"}}",
            "truefalse",
        ),
        (
            "{{datetime.Format \"Jan 2, 2006 at 3:04pm (MST)\"}}",
            "Feb 29, 2024 at 1:04pm (UTC)",
        ),
        (
            "{{datetime}} {{datetime.Unix}} {{datetime.Year}} {{hostname}}",
            "2024-02-29 13:04:05 +0000 UTC 1709211845 2024 here",
        ),
        (
            "{{target}} {{generation}}",
            &format!("t {}", crate::watch::render::generation::PLACE),
        ),
    ]);
    let tells = |source| {
        Template::compile("t.tmpl", source)
            .unwrap()
            .depends_on_time()
    };
    assert!(tells("{{datetime}}") && !tells("datetime {{1}}"));
}

#[test]
fn what_the_fork_adds() {
    gives(&[
        (
            "{{trimPrefix \"ab\" \"a\"}} {{repeat 3 \"x\"}} {{nospace \" a b \"}} {{indent 2 \"a\\nb\"}}{{nindent 1 \"c\"}}",
            "b xxx ab   a\n  b\n c",
        ),
        (
            "{{quote \"a\\\"b\"}} {{squote 1}} {{default \"d\" \"\"}} {{default \"d\" \"x\"}} {{ternary \"y\" \"n\" false}}",
            "\"a\\\"b\" '1' d x n",
        ),
        (
            "{{coalesce \"\" 0 \"x\"}} {{empty 0}} {{toJson (json (getv \"/object\")).o}} {{toJson (fromJson \"[1, 2.5]\")}}",
            "x true {\"k\":\"v\"} [1,2.5]",
        ),
        (
            "{{$d := dict \"b\" 1 \"a\" 2}}{{keys $d}}{{values $d}}{{hasKey $d \"a\"}} {{append (list 1) 2}}",
            "[a b][2 1]true [1 2]",
        ),
    ]);
    fails(&[
        ("{{repeat -1 \"x\"}}", "a count is"),
        ("{{dict 1}}", "without a value"),
    ]);
}

#[test]
fn a_render_leaves_nothing_behind_and_needs_no_other() {
    let template = Template::compile("t.tmpl", "{{getv \"/nope\"}}").unwrap();
    assert!(template.render(&view()).is_err());
    let good = Template::compile("t.tmpl", "{{getv \"/top\"}}").unwrap();
    let other = good.clone();
    let elsewhere = std::thread::spawn(move || other.render(&view()));
    assert_eq!(good.render(&view()), elsewhere.join().unwrap());
}

#[test]
fn many_values_are_no_obstacle() {
    // The engine's own limits would stop all of these.
    gives(&[
        ("{{len (repeat 100000 \"0123456789abcdef\")}}", "1600000"),
        ("{{range seq 1 99999}}{{end}}x", "x"),
    ]);
}

/// What Go 1.19 itself makes of templates; nothing stands for an error.
const GO: &str = include_str!("tests/go.jsonl");

#[test]
fn what_go_itself_gives() {
    let mut others = Vec::new();
    for line in GO.lines() {
        let (source, want): (String, Option<String>) = serde_json::from_str(line).unwrap();
        let got = render(&source).ok();
        if got != want {
            others.push(format!("{source}\n  Go:   {want:?}\n  here: {got:?}"));
        }
    }
    assert!(GO.lines().count() > 1000);
    assert!(others.is_empty(), "{}", others.join("\n"));
}

/// What is wrong with a template, and with those it includes.
fn mistakes(source: &str, others: &[(&str, &str)]) -> Vec<String> {
    let template = Template::compile_among("t.tmpl", source, others).unwrap();
    let error = template.mistakes(source, others, None).certain;
    let faults = error.iter().flat_map(RenderError::faults);
    faults.map(ToString::to_string).collect()
}

#[test]
fn no_mistake_is_seen_in_what_go_renders() {
    let mut told = Vec::new();
    for line in GO.lines() {
        let (source, want): (String, Option<String>) = serde_json::from_str(line).unwrap();
        // What stands in a branch that is never taken may be wrong.
        let never = source.contains("{{if false}}");
        if want.is_some() && !never {
            let found = mistakes(&source, &[]);
            told.extend(found.into_iter().map(|what| format!("{source}\n  {what}")));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn mistakes_that_no_store_makes_right() {
    let part = [("part.tmpl", "{{range ls \"/a\"}}\n{{.Key}}{{end}}")];
    for (source, want) in [
        (r#"{{template "x"}}"#, r#"template "x" not defined"#),
        (
            r#"{{define "a"}}{{template "x"}}{{end}}{{if getv "/k" ""}}{{template "a"}}{{end}}"#,
            r#""x" not defined"#,
        ),
        (
            r#"{{range gets "/a/*"}}{{.key}}{{end}}"#,
            "can't evaluate field key in type memkv.KVPair",
        ),
        (
            r#"{{range $i, $p := gets "/a/*"}}{{with $q := $p}}{{$q.Val}}{{end}}{{end}}"#,
            "field Val in type memkv.KVPair",
        ),
        (
            r#"{{range getvs "/a/*"}}{{.Value}}{{end}}"#,
            "field Value in type string",
        ),
        (r#"{{(get "/a").Name}}"#, "field Name in type memkv.KVPair"),
        (
            r#"{{range lookupSRV "a" "b" "c"}}{{.Host}}{{end}}"#,
            "field Host in type *net.SRV",
        ),
        (
            r#"{{range sortKVByLength (gets "/a")}}{{else}}{{exists "/a" "/b"}}{{end}}"#,
            "wrong number of args for exists",
        ),
        (
            r#"{{add (getv "/n") 1}}"#,
            "wrong type for argument 1 of add: expected int; got string",
        ),
        (
            r#"{{getv "/list" | join ","}}"#,
            "wrong type for argument 1 of join",
        ),
        (
            r#"{{range getv "/list"}}{{end}}"#,
            "range can't iterate over a value of type string",
        ),
        (
            r#"{{include "none.tmpl" .}}"#,
            r#"there is no template "none.tmpl" to include"#,
        ),
        (
            r#"{{include "part.tmpl"}}"#,
            "part.tmpl line 2: column 3, at <.Key>: can't evaluate field Key in type string",
        ),
    ] {
        let found = mistakes(source, &part).join("\n");
        assert!(found.contains(want), "{source}: {found:?}");
    }
}

#[test]
fn what_may_be_right_is_no_mistake() {
    for source in [
        r#"{{getv "/k"}}{{(json (getv "/j")).a.b}}{{range jsonArray (getv "/l")}}{{.Name}}{{end}}"#,
        r#"{{$x := ""}}{{range gets "/a/*"}}{{$x = .}}{{end}}{{if $x}}{{$x.Key}}{{end}}"#,
        r#"{{define "t"}}{{.Any}}{{end}}{{range gets "/a/*"}}{{template "t" .}}{{end}}"#,
        r#"{{range ls "/a"}}{{if eq . "x"}}{{continue}}{{end}}{{with get .}}{{.Key}}{{break}}{{end}}{{.}}{{end}}"#,
        r#"{{define "unused"}}{{template "x"}}{{end}}{{.Nothing.At.All}}"#,
        r#"{{range $k, $v := map "a" (gets "/x")}}{{range $v}}{{.Key}}{{end}}{{end}}{{add 1.0 (len (ls "/"))}}"#,
        r#"{{range reverse (sortKVByLength (gets "/a/*"))}}{{.Key}}{{end}}{{(index (gets "/a/*") 0).Value}}"#,
    ] {
        assert_eq!(mistakes(source, &[]), [""; 0], "{source}");
    }
}

#[test]
fn floats_in_binary_and_hexadecimal() {
    gives(&[
        (
            r#"{{printf "%x %X %b" 1.5 1.5 1.5}}"#,
            "0x1.8p+00 0X1.8P+00 6755399441055744p-52",
        ),
        (r#"{{printf "%x %b" 0.0 0.0}}"#, "0x0p+00 0p-1074"),
        (
            r#"{{printf "%x %x" -1.0 1e300}}"#,
            "-0x1p+00 0x1.7e43c8800759cp+996",
        ),
        (
            r#"{{printf "%.0x %.0x %.0x %.1x" 1.5 2.5 1.25 1.96875}}"#,
            "0x1p+01 0x1p+01 0x1p+00 0x1.0p+01",
        ),
        (
            r#"{{printf "%.3x %.15x" 3.14159 1.5}}"#,
            "0x1.922p+01 0x1.800000000000000p+00",
        ),
        (r#"{{printf "%x %b" 5e-324 5e-324}}"#, "0x1p-1074 1p-1074"),
        (
            r#"{{printf "%+x|%12x|%012x" 1.5 1.5 1.5}}"#,
            "+0x1.8p+00|   0x1.8p+00|0000x1.8p+00",
        ),
        (
            "{{0x1.8p3}} {{-0x1p-2}} {{0X.8P1}} {{0x1p-1074}} {{0x1_0p0}} {{add 0x1p4 1}}",
            "12 -0.25 1 5e-324 16 17",
        ),
    ]);
    fails(&[
        ("{{0x1.8}}", "illegal number syntax"),
        ("{{0x1p}}", "illegal number syntax"),
        ("{{0x1p99999}}", "illegal number syntax"),
    ]);
}

#[test]
fn strings_that_end_in_a_backslash() {
    gives(&[
        (r#"{{"\\"}}{{`\`}}{{"a\\"}}{{"b"}}"#, r"\\a\b"),
        (r#"{{replace "a\\b" "\\" "/" -1}}{{'\\'}}"#, "a/b92"),
        (r#"{{"\u00e9\x41\101\u2028é"}}"#, "éAA\u{2028}é"),
    ]);
    fails(&[
        (r#"{{"\q"}}"#, "invalid syntax"),
        (r#"{{"\xff"}}"#, "is not UTF-8"),
    ]);
}

#[test]
fn nil_in_comparisons() {
    gives(&[
        (
            r#"{{$o := json "{\"a\": 1, \"n\": null}"}}{{eq $o.x nil}} {{ne $o.x nil}} {{eq $o.n nil}} {{eq $o.a nil}} {{ne $o.a nil}}"#,
            "true false true false true",
        ),
        ("{{eq .x nil}}{{if ne .x nil}}x{{end}}", "true"),
    ]);
    fails(&[
        (r#"{{eq 1 "a"}}"#, "incompatible types"),
        (r#"{{$o := json "{\"n\": null}"}}{{$o.n.x}}"#, "nil pointer"),
    ]);
}

#[test]
fn depth_is_no_obstacle_whichever_branch_is_taken() {
    let nested = |count: usize| {
        format!(
            "{}x{}",
            "{{if true}}".repeat(count),
            "{{end}}".repeat(count)
        )
    };
    let chain = |count: usize| {
        format!(
            "{{{{if false}}}}a{}{{{{else}}}}z{{{{end}}}}",
            "{{else if false}}b".repeat(count)
        )
    };
    let calls = "{{define \"r\"}}{{if .}}{{template \"r\" (slice . 1)}}{{end}}{{end}}{{template \"r\" (repeat 20000 \"x\")}}y";
    let never = format!("{{{{if false}}}}{}{{{{end}}}}y", nested(5000));
    gives(&[
        (&nested(5000), "x"),
        (&chain(5000), "z"),
        (calls, "y"),
        (&never, "y"),
        (
            &format!("{{{{print {}1{}}}}}", "(".repeat(200), ")".repeat(200)),
            "1",
        ),
    ]);
    fails(&[(
        &format!("{{{{print {}1{}}}}}", "(".repeat(201), ")".repeat(201)),
        "parentheses",
    )]);
    let deep = format!(
        "{{{{toJson (fromJson `{}{}`)}}}}",
        "[".repeat(9999),
        "]".repeat(9999)
    );
    assert_eq!(render(&deep).unwrap().len(), 2 * 9999);
    let deeper = format!(
        "{{{{fromJson `{}{}`}}}}",
        "[".repeat(10_001),
        "]".repeat(10_001)
    );
    fails(&[(&deeper, "nested more than 10000")]);
}

#[test]
fn what_has_no_end_is_ended() {
    fails(&[
        (
            "{{define \"r\"}}{{template \"r\" .}}{{end}}{{template \"r\"}}",
            "templates wait for each other: \"r\" runs itself",
        ),
        (
            "{{range seq 1 100000}}{{range seq 1 100000}}{{end}}{{end}}",
            "does not end",
        ),
        (
            "{{$x := repeat 100000 \"x\"}}{{range seq 1 20}}{{$x = printf \"%s%s\" $x $x}}{{end}}",
            "larger than",
        ),
        (
            "{{$x := list 1}}{{range seq 1 60}}{{$x = list $x $x}}{{end}}{{$x}}",
            "larger than",
        ),
        (
            "{{$x := repeat 100000 \"x\"}}{{range seq 1 3000}}{{$x}}{{end}}",
            "larger than",
        ),
    ]);
}

#[test]
fn numbers_as_they_are_written() {
    gives(&[
        (
            "{{1e6}} {{123456789.0}} {{1_000}} {{0x1F}} {{0b11}} {{017}} {{'a'}}",
            "1e+06 1.23456789e+08 1000 31 3 15 97",
        ),
        (
            "{{printf \"%d %f %v\" 1.0 1 1.0}}",
            "%!d(float64=1) %!f(int=1) 1",
        ),
        ("{{add 1.0 2}}", "3"),
        (
            "{{printf \"%T %T %T %T\" 1 1.5 (gets \"/a/*\") (json \"{}\")}}",
            "int float64 memkv.KVPairs map[string]interface {}",
        ),
        (
            "{{printf \"%#v\" (get \"/a/x\")}}{{get \"/a/x\"}}",
            "memkv.KVPair{Key:\"/a/x\", Value:\"2\"}{/a/x 2}",
        ),
        (r#"{{json "{\"a\": \"\\ud800\"}"}}"#, "map[a:\u{fffd}]"),
    ]);
    fails(&[("{{add 1.5 2}}", "expected integer; found 1.5")]);
}

#[test]
fn what_the_fork_adds_to_text() {
    gives(&[
        (
            r#"{{squote "a'b"}} {{quote "a\tb\"é"}}"#,
            r#"'a''b' "a\tb\"é""#,
        ),
        (r#"{{toJson "<&>\u2028"}}"#, r#""\u003c\u0026\u003e\u2028""#),
        (
            r#"[{{indent 2 ""}}{{indent -1 "a"}}{{nindent 1 ""}}]"#,
            "[a\n]",
        ),
        ("{{coalesce}}{{seq 5 1}}", "<no value>[5 4 3 2 1]"),
        (r#"{{append (split "a,b" ",") "c"}}"#, "[a b c]"),
        (
            r#"{{regexMatch "^a+$" "aa"}} {{regexFind "[0-9]+" "a12b3"}} {{regexReplaceAll "a(b)" "abab" "${1}c"}}"#,
            "true 12 bcbc",
        ),
        (
            r#"{{snakecase "HTTPServer-name"}} {{camelcase "setting_name x"}} {{kebabcase "ServiceName2Go"}}"#,
            "http_server_name settingNameX service-name2-go",
        ),
        (
            r#"{{pluck "a" (dict "a" 1) (dict "b" 2) (dict "a" "x")}} {{hasPrefix "ab" "a"}} {{hasSuffix "ab" "a"}}"#,
            "[1 x] true false",
        ),
        (
            r#"{{sha256sum "abc"}}"#,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            r#"{{lookupIfaceIPV4 "eth0"}} {{lookupIfaceIPV6 "eth0"}}"#,
            "10.0.0.7 ::2",
        ),
    ]);
    fails(&[
        ("{{quote 1}}", "expected string; got int"),
        (r#"{{regexMatch "(" "a"}}"#, "not a regular expression"),
        (r#"{{lookupIfaceIPV4 "eth1"}}"#, "eth1"),
    ]);
}

#[test]
fn includes() {
    let others = [
        (
            "part.tmpl",
            "[{{.a}}{{define \"x\"}}{{.}}{{end}}{{template \"x\" 1}}]",
        ),
        ("sub/self.tmpl", "{{include \"sub/self.tmpl\"}}"),
        ("bad.tmpl", "a\n{{if}}"),
        ("late.tmpl", "a\n\n {{getv \"/nope\"}}"),
    ];
    let render = |source: &str| Template::compile_among("t.tmpl", source, &others)?.render(&view());
    let included = "{{range seq 1 2}}{{include \"part.tmpl\" (dict \"a\" .)}}{{end}}";
    assert_eq!(render(included).as_deref(), Ok("[11][21]"));
    for (name, want) in [
        (
            "nope.tmpl",
            "t.tmpl line 1: column 3, at <include \"nope.tmpl\">: there is no template",
        ),
        ("sub/self.tmpl", "includes wait for each other"),
        (
            "bad.tmpl",
            "bad.tmpl line 2: column 5: missing value for if",
        ),
        (
            "late.tmpl",
            "late.tmpl line 3: column 4, at <getv \"/nope\">: key does not exist",
        ),
    ] {
        let error = render(&format!("{{{{include \"{name}\"}}}}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[test]
fn errors_name_the_place_and_the_expression() {
    fails(&[
        (
            "a\n{{define \"x\"}}\n é{{getv \"/nope\"}}{{end}}{{template \"x\"}}",
            "t.tmpl line 3: column 5, at <getv \"/nope\">: key does not exist: /nope",
        ),
        (
            "{{define \"x\"}}\n{{nope}}{{end}}",
            "t.tmpl line 2: column 3: function \"nope\" not defined",
        ),
        (
            "\n{{index (list 1) 5}}",
            "t.tmpl line 2: column 3, at <index (list 1) 5>: index out of range: 5",
        ),
        (
            "{{if true}}\n{{range seq 1 2}}",
            "line 2: column 1: unexpected EOF: {{range}} has no {{end}}",
        ),
        (
            "{{(get \"/a/x\").Nope}}",
            "can't evaluate field Nope in type memkv.KVPair",
        ),
    ]);
}

#[test]
fn commands_in_the_style_of_confd() {
    let data = [("src", "/tmp/x"), ("dest", "/etc/x")];
    for (command, want) in [
        ("a {{.src}} b", Ok("a /tmp/x b")),
        ("a  {{.src -}} b {{ $.dest }}", Ok("a  /tmp/xb /etc/x")),
        ("{{printf \"%s\" .src}}", Ok("/tmp/x")),
        ("{{.other}}", Ok("<no value>")),
        ("{{getv \"/a\"}}", Err("function \"getv\" not defined")),
        (
            "{{.src.x}}",
            Err("check_cmd line 1: column 3, at <.src.x>: can't evaluate field x in type string"),
        ),
    ] {
        let got =
            super::render_with("check_cmd", command, &data).map_err(|error| error.to_string());
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{command}"),
            (Err(got), Err(want)) => assert!(got.contains(want), "{command}: {got}"),
            (got, _) => panic!("{command}: {got:?}"),
        }
    }
}
