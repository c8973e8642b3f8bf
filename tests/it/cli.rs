//! The command line as people meet it: help, mistakes, exit codes.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use crate::harness::{Process, sidekick, temp_dir, wait_for};

fn run(args: &[&str]) -> Output {
    sidekick().args(args).output().expect("run sidekick")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All commands, as the help has them.
fn commands() -> Vec<String> {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let (_, list) = help.split_once("\nCommands:\n").expect("a list");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn help_names_every_command_and_exits_0() {
    for args in [
        &["--help"][..],
        &["register", "--help"],
        &["watch", "--help"],
        &["drain", "--help"],
        &["check", "--help"],
        &["guard", "release", "--help"],
        &["register", "-h"],
        &["--version"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            assert!(line.chars().count() <= 100, "{args:?}: too wide: {line}");
        }
    }
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    assert!(
        help.contains("register") && help.contains("watch"),
        "{help}"
    );
}

#[test]
fn the_short_help_ends_with_what_the_long_one_adds() {
    let said = |args: &[&str]| {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for args in [
        &["-h"][..],
        &["drain", "-h"],
        &["-qh"],
        &["guard", "release", "-h"],
    ] {
        let help = said(args);
        let last = help.trim_end().lines().last().unwrap();
        assert!(last.starts_with("--help adds"), "{args:?}: {help}");
        assert!(!help.contains("[env: "), "{args:?}: {help}");
    }
    let long = said(&["drain", "--help"]);
    assert!(!long.contains("--help adds"), "{long}");
    assert!(long.contains("[env: SIDEKICK_STORE"), "{long}");
    assert_eq!(long, said(&["help", "drain"]));
}

#[test]
fn files_that_cannot_be_used_have_the_exit_statuses_that_the_help_names() {
    let dir = temp_dir();
    let missing = dir.path().join("missing");
    let (missing, at) = (missing.to_str().unwrap(), dir.path().to_str().unwrap());
    let store = ["--store", "etcd://127.0.0.1:1", "--cacert", missing];
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below_a_file = file.join("man");
    for args in [
        &["ls"][..],
        &["status"],
        &["export"],
        &["ip"],
        &["drain", "web", "a"],
        &["undrain", "web", "a"],
        &["dashboard"],
    ] {
        let output = run(&[args, &store].concat());
        assert_eq!(output.status.code(), Some(78), "{args:?} {output:?}");
        let help = String::from_utf8(run(&[args[0], "--help"]).stdout).unwrap();
        let (_, named) = help.split_once("\nExit status:\n").unwrap();
        assert!(named.contains(" 78 "), "{args:?}: {named}");
    }
    for (args, status) in [
        (&["man", below_a_file.to_str().unwrap()][..], 69),
        (&["guard", "list", "--state-dir", missing], 69),
        (&["history", "--state-dir", missing], 69),
        (&["check", "--conf-dir", at, "nobody"], 64),
        (&["check", "--conf-dir", missing], 78),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?} {output:?}");
        // The error names the file or directory that cannot be used.
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(status == 64 || said.contains(at), "{args:?}: {said}");
    }
}

#[test]
fn mistakes_exit_64_and_come_all_at_once() {
    for args in [
        &[][..],
        &["fly"],
        &["register"],
        &["watch", "--no-such-flag"],
    ] {
        assert_eq!(run(args).status.code(), Some(64), "{args:?}");
    }
    let output = run(&[
        "register",
        "--name",
        "a/b",
        "--port",
        "0",
        "--ttl",
        "15",
        "--store",
        "consul://x",
    ]);
    assert_eq!(output.status.code(), Some(64));
    let text = stderr(&output);
    assert_eq!(text.matches("error: ").count(), 4, "{text}");
    assert!(text.contains("hint: write etcd://HOST:2379"), "{text}");
}

#[test]
fn a_wrong_configuration_exits_78_with_file_and_line() {
    let dir = temp_dir();
    let conf = dir.path().join("conf.d");
    let templates = dir.path().join("templates");
    for path in [&conf, &templates] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(templates.join("bad.tera"), "fine\n{% if %}\n").unwrap();
    std::fs::write(
        conf.join("a.toml"),
        "[template]\nsrc = 'bad.tera'\ndest = '/tmp/x'\nkeys = ['/services']\n",
    )
    .unwrap();
    std::fs::write(
        conf.join("b.toml"),
        "[template]\nsrc = 'none.tera'\ndest = 'x'\nmode = 7\n",
    )
    .unwrap();
    let conf_dir = dir.path().to_str().unwrap();
    let output = run(&["watch", "--store", "dir:///nowhere", "--conf-dir", conf_dir]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for want in ["bad.tera:2: ", "b.toml:2: ", "b.toml:3: ", "b.toml:4: "] {
        assert!(text.contains(want), "{want} is missing in:\n{text}");
    }
    let missing = run(&[
        "watch",
        "--store",
        "dir:///nowhere",
        "--conf-dir",
        "/no/such/directory",
    ]);
    assert_eq!(missing.status.code(), Some(78));
}

#[test]
fn a_password_shows_up_nowhere() {
    let args = [
        "register",
        "--name",
        "a",
        "--port",
        "1",
        "--ip",
        "127.0.0.1",
        "--ttl",
        "2s",
    ];
    let output = sidekick()
        .args(args)
        .args([
            "--store",
            "etcd://127.0.0.1:1",
            "--log-level",
            "trace",
            "--",
            "sleep",
            "1",
        ])
        .env("ETCDCTL_USER", "root:very-secret")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("127.0.0.1:1") && !text.contains("very-secret"),
        "{text}"
    );
}

#[test]
fn targets_render_offline_and_commands_are_checked() {
    let dir = temp_dir();
    for name in ["conf.d", "templates"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let live = dir.path().join("live.cfg");
    let target = |check: &str| {
        let text = format!(
            "[template]\nsrc = 'a.tera'\ndest = '{}'\nservices = ['web']\ncheck_cmd = '{check}'\n",
            live.display()
        );
        std::fs::write(dir.path().join("conf.d/a.toml"), text).unwrap();
    };
    target("true {{src}}");
    let template = "{% for i in services.web %}{{ i.addr }}\n{% endfor %}";
    std::fs::write(dir.path().join("templates/a.tera"), template).unwrap();
    let fixture = dir.path().join("fixture.json");
    std::fs::write(
        &fixture,
        r#"{"services": {"web": {"a": {"ip": "::1", "port": 80}}}}"#,
    )
    .unwrap();
    let conf_dir = dir.path().to_str().unwrap();
    let from = [
        "render",
        "--conf-dir",
        conf_dir,
        "--from",
        fixture.to_str().unwrap(),
    ];

    let output = run(&from);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"[::1]:80\n");
    // The same in YAML, and what is wrong with one comes with its line.
    let yaml = dir.path().join("fixture.yaml");
    let from_yaml = [&from[..4], &[yaml.to_str().unwrap()]].concat();
    std::fs::write(&yaml, "services:\n  web: {a: {ip: '::1', port: 80}}\n").unwrap();
    assert_eq!(run(&from_yaml).stdout, b"[::1]:80\n");
    std::fs::write(&yaml, "services:\n  web:\n    a: [~]\n").unwrap();
    let output = run(&from_yaml);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("line 3: /services/web/a/0 is null"), "{text}");
    let with_diff: Vec<&str> = from.iter().copied().chain(["--diff"]).collect();
    let output = run(&with_diff);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\n+[::1]:80\n"));
    std::fs::write(&live, "[::1]:80\n").unwrap();
    assert_eq!(run(&with_diff).status.code(), Some(0));
    let unknown: Vec<&str> = from.iter().copied().chain(["nobody"]).collect();
    assert_eq!(run(&unknown).status.code(), Some(64));
    // In our own style, too, only what is named has to be right.
    let other = dir.path().join("conf.d/b.toml");
    std::fs::write(&other, "[template]\nsrc = 'none.tera'\n").unwrap();
    let named: Vec<&str> = from.iter().copied().chain(["a"]).collect();
    assert_eq!(run(&named).status.code(), Some(0));
    assert_eq!(run(&from).status.code(), Some(78));
    std::fs::remove_file(&other).unwrap();

    assert_eq!(
        run(&["check", "--conf-dir", conf_dir]).status.code(),
        Some(0)
    );
    target("no-such-program {{src}}");
    let output = run(&["check", "--conf-dir", conf_dir]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(
        text.contains("no-such-program is not on the PATH"),
        "{text}"
    );
}

#[test]
fn check_reports_every_problem_at_once_and_runs_nothing() {
    let dir = temp_dir();
    for name in ["conf.d", "templates"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("templates/good.tera", "fine\n");
    file("templates/bad.tera", "fine\n{% if %}\n");
    let target = |name: &str, lines: &str| {
        let dest = dir.path().join(name).display().to_string();
        let text = format!("[template]\ndest = '{dest}'\nkeys = ['/a']\n{lines}\n");
        file(&format!("conf.d/{name}.toml"), &text);
    };
    target("field", "src = 'good.tera'\nmode = 'rw'");
    target("template", "src = 'bad.tera'");
    target(
        "program",
        "src = 'good.tera'\ncheck_cmd = 'no-such-program {{src}}'",
    );
    let ran = dir.path().join("ran").display().to_string();
    target(
        "syntax",
        &format!("src = 'good.tera'\ncheck_cmd = 'touch {ran} {{{{src}}}}'\nreload_cmd = 'if'"),
    );
    let output = run(&["check", "--conf-dir", dir.path().to_str().unwrap()]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for want in [
        "field.toml:5: ",
        "bad.tera:2: ",
        "program.toml:5: template.check_cmd: no-such-program is not on the PATH",
        "syntax.toml:6: template.reload_cmd: ",
    ] {
        assert!(text.contains(want), "{want} is missing in:\n{text}");
    }
    let errors = text.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 4, "{text}");
    assert_eq!(output.stdout, b"4 targets, 4 mistakes\n");
    assert!(!dir.path().join("ran").exists());
}

/// What `sidekick check` makes of one target: its exit status, what it says, and its last line.
fn check_of(src: &str, lines: &str, template: &str) -> (Option<i32>, String, String) {
    let dir = temp_dir();
    for name in ["conf.d", "templates", "out"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file(&format!("templates/{src}"), template);
    let lines = lines.replace("OUT", dir.path().join("out").to_str().unwrap());
    file(
        "conf.d/a.toml",
        &format!("[template]\nsrc = '{src}'\n{lines}\n"),
    );
    let output = run(&["check", "--conf-dir", dir.path().to_str().unwrap()]);
    let root = format!("{}/", dir.path().display());
    let text = stderr(&output).replace(&root, "");
    let summary = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text, summary)
}

const OF_SERVICES: &str = "dest = 'OUT/d'\nservices = ['web']";
const OF_KEYS: &str = "dest = 'OUT/d'\nkeys = ['/services']";

/// A template that has something for each instance.
fn each(field: &str) -> String {
    format!("{{% for i in services.web %}}\n{{{{ {field} }}}}\n{{% endfor %}}")
}

/// What is no mistake of writing, and would fail or mean something else in use: each with its file and line.
#[test]
fn check_finds_what_would_go_wrong_in_use() {
    for (src, lines, template, want) in [
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            each("i.adr"),
            "error: templates/a.tera:2: ",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            "\n{% for i in services.wbe %}{% endfor %}".to_owned(),
            "error: templates/a.tera:2: ",
        ),
        (
            "a.tera",
            OF_SERVICES.replace("web", "*"),
            "{% for i in instances(service='web') %}{{ i.id }}{% endfor %}\n{{ serivces.web }}"
                .to_owned(),
            "error: templates/a.tera:2: ",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            "\n{% for i in instances(service=\"wbe\") %}{{ i.ip }}{% endfor %}".to_owned(),
            "error: templates/a.tera:2: service \"wbe\" is not among those of this target\nhint: did you mean web?",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            "{% for s in ['web', 'wbe'] %}\n{{ instances(service=s) | length }}{% endfor %}"
                .to_owned(),
            "error: templates/a.tera:2: service \"wbe\" is not among those of this target\nhint: name it in ",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            each("i.id }}{% if i.state == 'drain' %}{{ i.adr }}{% endif %}{{ i.id"),
            "error: templates/a.tera:2: field `adr` is not defined\nhint: did you mean addr?",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            each(
                "i.id }}{% if i.attrs.q is defined and i.attrs.q == '1' %}{{ i.adr }}{% endif %}{{ i.id",
            ),
            "error: templates/a.tera:2: field `adr` is not defined",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            "{% if services.web | length > 1 %}{{ services.wbe }}{% endif %}".to_owned(),
            "error: templates/a.tera:1: field `wbe` is not defined\nhint: did you mean web?",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            each("i.id }}{% if i.stat == 'drain' %}drain{% endif %}{{ i.id"),
            "warning: templates/a.tera:2: field `stat` is not defined\nhint: did you mean state?",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            each("i.ports.metrics"),
            "warning: templates/a.tera:2: an instance that announces no more than an address and a port",
        ),
        (
            "a.tera",
            OF_SERVICES.to_owned(),
            each("i.attrs.vhost"),
            "hint: default(value=...)",
        ),
        (
            "a.tera",
            format!("{OF_SERVICES}\nreload_cmd = 'true {{{{tree}}}}'"),
            String::new(),
            "warning: conf.d/a.toml:5: template.reload_cmd: {{tree}} is not {{src}} or {{dest}}",
        ),
        (
            "a.tera",
            format!("{OF_SERVICES}\ncheck_cmd = 'true {{{{src}}}} {{{{file}}}}'"),
            String::new(),
            "warning: conf.d/a.toml:5: template.check_cmd: {{file}} is not ",
        ),
        (
            "a.tera",
            OF_SERVICES.replace("/d'", "/{{ host }}.cfg'"),
            String::new(),
            "error: conf.d/a.toml:3: template.dest: ",
        ),
        (
            "a.tera",
            OF_SERVICES.replace("/d'", "/none/d'"),
            String::new(),
            "hint: make_dirs = true makes it",
        ),
        (
            "a.tmpl",
            OF_SERVICES.to_owned(),
            "x\n{{range gets \"/services/web/*/ip\"}}{{.Valeu}}{{end}}".to_owned(),
            "error: templates/a.tmpl:2: column 38, at <.Valeu>: can't evaluate field Valeu in type memkv.KVPair",
        ),
        (
            "a.tmpl",
            OF_KEYS.to_owned(),
            "{{if exists \"/services/x\"}}\n{{template \"server\" .}}{{end}}".to_owned(),
            "error: templates/a.tmpl:2: column 3, at <template \"server\" .>: template \"server\" not defined",
        ),
        (
            "a.tmpl",
            OF_KEYS.to_owned(),
            "{{getvv \"/services/x\"}}".to_owned(),
            "error: templates/a.tmpl:1: ",
        ),
        (
            "a.tmpl",
            format!("{OF_KEYS}\nchek_cmd = 'true'"),
            String::new(),
            "warning: conf.d/a.toml:5: template.chek_cmd is not known here and is ignored\nhint: did you mean check_cmd?",
        ),
    ] {
        let (code, text, summary) = check_of(src, &lines, &template);
        let is_mistake = text.starts_with("error: ");
        let found = if is_mistake {
            "1 mistake"
        } else {
            "no mistakes, 1 warning"
        };
        assert_eq!(code, Some(if is_mistake { 78 } else { 0 }), "{text}");
        assert_eq!(summary, format!("1 target, {found}\n"), "{template} {text}");
        assert!(text.contains(want), "{want} is not in: {text}");
    }
}

// Templates as people write them for confd. What they read depends on the store.

const HAPROXY: &str = r#"global
    maxconn {{getv "/haproxy/maxconn"}}
{{$domain := getv "/haproxy/domain" "example.org"}}
{{range $service := lsdir "/services"}}
backend {{base $service}}
{{range $i, $id := ls (printf "/services/%s" $service)}}{{$dir := printf "/services/%s/%s" $service $id}}
    {{if exists (printf "%s/weight" $dir)}}weight {{getv (printf "%s/weight" $dir)}}{{end}}
    server {{$id}}.{{$domain}} {{getv (printf "%s/ip" $dir)}}:{{getv (printf "%s/port" $dir)}} id {{add $i 1}}
{{else}}    errorfile 503 /etc/haproxy/503.http
{{end}}{{end}}
"#;

const UPSTREAMS: &str = r#"{{range gets "/services/web/*"}}{{$data := json .Value}}
server {{$data.host}}:{{$data.port}} weight={{if $data.weight}}{{$data.weight}}{{else}}1{{end}};
{{end}}{{range jsonArray (getv "/services/upstreams" "[]")}}{{with .name}}upstream {{.}}{{end}} { server {{index .servers 0}}; }
{{end}}{{with get "/services/last"}}# {{.Key}}={{.Value}} {{len .Value}}{{end}}
{{$all := gets "/services/*"}}{{with index $all 0}}{{.Key}}{{end}}
{{range sortKVByLength $all}}location {{dir .Key | trimSuffix "/"}} {}{{end}}
{{range lookupSRV "http" "tcp" "example.org"}}server {{.Target}}:{{.Port}};{{end}}
"#;

const SETTINGS: &str = r#"{{define "quoted"}}'{{replace . "'" "\\'" -1}}'{{end}}{{$found := ""}}
{{range gets "/settings/*"}}{{if eq (base .Key) "database"}}{{$found = .}}{{end}}{{end}}
{{if $found}}{{$found.Value}}{{end}}{{range split (getv "/settings/hosts") ","}}{{template "quoted" .}}{{end}}
{{$m := map "a" 1 "b" (getvs "/settings/*")}}{{$m.a}}{{range $m.b}}{{.}}{{end}}{{range seq 1 3}}{{mul . 2}}{{end}}
{{if parseBool (getv "/settings/debug" "false")}}{{atoi (getv "/settings/level") | add 1}}{{end}}
{{join (getvs "/settings/*") ","}}{{.Nothing}}{{getenv "HOME"}}{{getv "/settings/mode" "a" | toUpper}}
"#;

#[test]
fn check_does_not_tell_what_may_be_right_with_what_is_announced() {
    for (src, lines, template) in [
        ("a.tera", OF_SERVICES, each("i.addr")),
        ("a.tera", OF_SERVICES, each("i.weight | default(value=1)")),
        ("a.tera", OF_SERVICES, each("i.attrs.vhost | default(value='')")),
        (
            "a.tera",
            OF_SERVICES,
            "{% for i in services.web %}{% if i.attrs.a is defined %}{{ i.attrs.a }}{% endif %}{% endfor %}".to_owned(),
        ),
        (
            "a.tera",
            OF_SERVICES,
            each("i.attrs.a | default(value='') }}{% if i.attrs.a is defined %}{{ instances(service=i.attrs.a) | length }}{% endif %}{{ i.id"),
        ),
        ("a.tera", OF_KEYS, "{{ getv(key='/services/x') }}".to_owned()),
        ("a.tera", OF_KEYS, "{% set x = json(value=getv(key='/services/x', default='{}')) %}{{ x.y }}".to_owned()),
        ("a.tmpl", OF_KEYS, "{{getv \"/services/x\"}}".to_owned()),
        ("a.tmpl", OF_KEYS, HAPROXY.to_owned()),
        ("a.tmpl", OF_SERVICES, HAPROXY.to_owned()),
        ("a.tmpl", OF_KEYS, UPSTREAMS.to_owned()),
        ("a.tmpl", OF_KEYS, SETTINGS.to_owned()),
    ] {
        let found = check_of(src, lines, &template);
        assert_eq!(found, (Some(0), String::new(), "1 target, no mistakes\n".to_owned()), "{template}");
    }
}

#[test]
fn check_has_nothing_to_say_of_the_shipped_templates() {
    let dir = temp_dir();
    for (from, to) in [
        ("conf.d", "conf.d"),
        ("conf.d/examples", "conf.d"),
        ("templates", "templates"),
        ("templates/examples", "templates/examples"),
    ] {
        let to = dir.path().join(to);
        std::fs::create_dir_all(&to).unwrap();
        let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
    let output = run(&["check", "--conf-dir", dir.path().to_str().unwrap()]);
    let text = stderr(&output);
    // Users, programs and directories that this host lacks are for the host.
    let of_templates: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(".tera:"))
        .collect();
    assert_eq!(of_templates, [""; 0]);
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.starts_with("15 targets, "), "{summary} {text}");
}

#[test]
fn a_service_that_nobody_announces_has_no_status() {
    let dir = temp_dir();
    let web = dir.path().join("services/web/a");
    std::fs::create_dir_all(&web).unwrap();
    std::fs::write(web.join("ip"), "127.0.0.1").unwrap();
    std::fs::write(web.join("port"), "80").unwrap();
    let store = format!("dir://{}", dir.path().display());
    let command = |args: &[&str]| run(&[args, &["--store", &store]].concat());
    let output = command(&["status", "web"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (args, hint) in [
        (&["status", "wbe"][..], "hint: did you mean web?"),
        (&["status", "cache"], "hint: --prefix names"),
        (
            &["status", "wbe", "--format", "json"],
            "hint: did you mean web?",
        ),
        (&["drain", "wbe", "a"], "hint: did you mean web?"),
        (&["drain", "web", "b"], "there is a"),
    ] {
        let output = command(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{args:?}: {text}");
        assert!(text.contains(hint), "{args:?}: {text}");
        let json = args.contains(&"json");
        assert_eq!(output.stdout.is_empty(), !json, "{args:?}: {output:?}");
    }
}

/// A store, a configuration and a running watcher for every command that prints something.
struct Printers {
    dir: tempfile::TempDir,
    watch: Option<Process>,
}

impl Printers {
    fn start() -> Self {
        let dir = temp_dir();
        let mut all = Self { dir, watch: None };
        all.write("store/services/web/a/ip", "127.0.0.1");
        all.write("store/services/web/a/port", "80");
        all.write("fixture.json", "{}");
        all.write_target("conf", "a");
        all.write_target("watched", "b");
        make_store(&format!("--store=dir://{}", all.path("store")));
        let mut watch = sidekick();
        all.with_environment(&mut watch)
            .args(["watch", "--conf-dir", &all.path("watched")]);
        let log = all.dir.path().join("log");
        all.watch = Some(Process::start(&mut watch, &log));
        wait_for("the watcher", || {
            let status = |line: &str| all.command(line).output().unwrap().status.code();
            (status("health --ready") == Some(0) && status("guard release b") == Some(1))
                .then_some(())
        });
        all
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn write_target(&self, conf: &str, name: &str) {
        let dest = self.path(&format!("{name}.txt"));
        let target = format!("[template]\nsrc = 'a.tera'\ndest = '{dest}'\nservices = ['web']\n");
        self.write(&format!("{conf}/conf.d/{name}.toml"), &target);
        self.write(&format!("{conf}/templates/a.tera"), "text\n");
    }

    fn with_environment<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("SIDEKICK_STORE", format!("dir://{}", self.path("store")))
            .env("SIDEKICK_CONF_DIR", self.path("conf"))
            .env("SIDEKICK_STATE_DIR", self.path("state"))
            .env(
                "SIDEKICK_ADMIN",
                format!("unix:{}", self.path("admin.sock")),
            )
            .current_dir(self.dir.path())
    }

    fn command(&self, line: &str) -> Command {
        let mut command = sidekick();
        self.with_environment(&mut command).args(line.split(' '));
        command
    }

    /// The same command, started by a shell without any standard output.
    fn command_without_output(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_sidekick");
        self.with_environment(&mut shell)
            .env("SIDEKICK_ENV_FILE", "/nonexistent/sidekick.env")
            .args(["-c", "exec \"$@\" >&-", "sh", program])
            .args(line.split(' '));
        shell
    }
}

/// What cannot be printed is an error; a reader that has gone has read what it wanted.
#[test]
fn a_command_whose_output_cannot_be_written_fails() {
    let all = Printers::start();
    // With the exit status where the reader has gone.
    let lines = [
        ("status web", 0),
        ("status --format json", 0),
        ("ls", 0),
        ("export", 0),
        ("history", 0),
        ("drain web a --no-wait", 0),
        ("undrain web a --no-wait", 0),
        ("check", 0),
        ("render --from fixture.json", 0),
        ("render --from fixture.json --diff", 2),
        ("watch --noop --diff", 2),
        ("ip 127.0.0.1", 0),
        ("guard list", 0),
        ("guard release b", 1),
        ("health", 0),
        ("health --format json", 0),
        ("completions bash", 0),
        ("help ls", 0),
        ("--help", 0),
        ("--version", 0),
    ];
    // These print nothing: two go on until they are stopped, and one writes files.
    let silent = ["register", "dashboard", "man"];
    for command in commands() {
        let is_tried = lines
            .iter()
            .any(|(line, _)| line.split(' ').next() == Some(&command));
        assert!(is_tried != silent.contains(&command.as_str()), "{command}");
    }
    for (line, gone) in lines {
        let tell = |command: &mut Command, stdout: Option<Stdio>, status: i32| {
            if let Some(stdout) = stdout {
                command.stdout(stdout);
            }
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
            let is_told = stderr(&output).contains("standard output");
            assert_eq!(is_told, status == 74, "{line}: {output:?}");
        };
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        tell(&mut all.command(line), Some(full.unwrap().into()), 74);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        tell(&mut all.command(line), Some(writer.into()), gone);
        tell(&mut all.command_without_output(line), None, 74);
    }
}

/// A service that is spelled wrong changes nothing, and that would look like an answer.
#[test]
fn a_change_of_a_service_that_no_target_follows_is_warned_of() {
    let all = Printers::start();
    let said = |with: &str| {
        let line = format!("render --from fixture.json --diff --with {with}=10.0.0.9:80");
        stderr(&all.command(&line).output().unwrap())
    };
    assert!(
        said("wbe/x").contains("none of these targets follows wbe, so"),
        "{}",
        said("wbe/x")
    );
    assert!(!said("web/x").contains("none of"), "{}", said("web/x"));
}

#[test]
fn completions_cover_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("sidekick"), "{shell}: {text}");
    }
    // The scripts ask the binary for the words.
    for (line, words) in [
        (&["ls", "--w"][..], &["--watch", "--wide"][..]),
        (
            &["ip", "--"],
            &["--color", "--quiet", "--verbose", "--format"],
        ),
        (&["register", "--allowed"], &["--allowed-host"]),
        (&["reg"], &["register"]),
    ] {
        let mut command = sidekick();
        command
            .env("SIDEKICK_COMPLETE", "fish")
            .args(["--", "sidekick"]);
        let output = command.args(line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        for word in words {
            assert!(
                text.contains(word),
                "{line:?} does not lead to {word}: {text}"
            );
        }
    }
}

#[test]
fn every_first_line_names_the_store_and_those_for_people_read_the_file_of_the_units() {
    let dir = temp_dir();
    let at = dir.path().display();
    let file = dir.path().join("sidekick.env");
    let text = format!("# what all units share\nSIDEKICK_STORE=\"dir://{at}/store\"\n");
    std::fs::write(&file, text).unwrap();
    std::fs::create_dir_all(dir.path().join("conf.d")).unwrap();
    let conf_dir = dir.path().to_str().unwrap();
    for args in [
        &["status", "web"][..],
        &["drain", "web", "a", "--no-wait"],
        &["undrain", "web", "a", "--no-wait"],
        &["ip", "127.0.0.1"],
        &["watch", "--once", "--conf-dir", conf_dir],
        &[
            "register",
            "--name=web",
            "--port=1",
            "--ip=127.0.0.1",
            "--",
            "true",
        ],
    ] {
        let output = sidekick()
            .args(args)
            .env("SIDEKICK_ENV_FILE", &file)
            .output()
            .unwrap();
        let text = stderr(&output);
        let first = text.lines().next().unwrap_or_default();
        let want = format!(
            "{}: the store is dir://{at}/store (from SIDEKICK_STORE in {at}/sidekick.env)",
            args[0]
        );
        assert!(first.contains(&want), "{args:?}: {text}");
    }
    let output = sidekick()
        .args(["status", "web", "--store", &format!("dir://{at}/other")])
        .env("SIDEKICK_ENV_FILE", &file)
        .output()
        .unwrap();
    let text = stderr(&output);
    assert!(text.contains("/other (from --store)"), "{text}");
}

#[test]
fn a_file_of_the_units_that_cannot_be_read_is_named_and_no_other_store_is_asked() {
    let dir = temp_dir();
    // Also root cannot read a directory as a file.
    let file = dir.path().to_str().unwrap();
    for args in [
        &["status", "web"][..],
        &["drain", "web", "a"],
        &["ip"],
        &["guard", "list"],
        &["register", "--name=web", "--port=1", "--", "true"],
    ] {
        let output = sidekick()
            .args(args)
            .env("SIDEKICK_ENV_FILE", file)
            .env("XDG_RUNTIME_DIR", dir.path())
            .env_remove("SIDEKICK_STATE_DIR")
            .output()
            .unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{args:?}: {text}");
        assert!(text.contains(&format!("{file}: cannot be read")), "{text}");
        assert!(text.contains("hint: "), "{text}");
    }
}

#[test]
fn the_file_of_the_units_says_where_the_guards_and_the_configuration_are() {
    let dir = temp_dir();
    let at = dir.path().display();
    let file = dir.path().join("sidekick.env");
    let text = format!(
        "SIDEKICK_CONF_DIR={at}\nSIDEKICK_STATE_DIR={at}/state\nSIDEKICK_DEFAULT_SERVICE=web\nETCDCTL_PASSWORD=secret\n"
    );
    std::fs::write(&file, text).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let template = "{{ getenv(name=\"SIDEKICK_DEFAULT_SERVICE\", default=\"none\") }} {{ getenv(name=\"ETCDCTL_PASSWORD\", default=\"none\") }}";
    write("templates/a.tera", template);
    write(
        "conf.d/a.toml",
        &format!("[template]\nsrc = 'a.tera'\ndest = '{at}/a'\nkeys = ['/a']\n"),
    );
    write("empty.json", "{}");
    let run = |args: &[&str]| {
        let mut command = sidekick();
        let command = command.args(args).env("SIDEKICK_ENV_FILE", &file);
        command.env_remove("SIDEKICK_STATE_DIR").output().unwrap()
    };
    let output = run(&["render", "--from", &format!("{at}/empty.json")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("web none"), "{text}{}", stderr(&output));
    let output = run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = run(&["guard", "release", "a"]);
    let text = stderr(&output);
    assert!(text.contains(&format!("{at}/state")), "{text}");
}

#[test]
fn an_admin_endpoint_that_is_switched_off_is_not_healthy_and_the_error_says_why() {
    for args in [&["--admin", ""][..], &["--admin", "127.0.0.1:1"]] {
        let output = run(&[&["health", "--format", "json"], args].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["ok"], false, "{answer}");
        let reason = answer["reasons"][0].as_str().unwrap();
        assert!(stderr(&output).contains(reason.split(':').next().unwrap()));
    }
    let output = sidekick()
        .arg("health")
        .env("SIDEKICK_ADMIN", "")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("the admin endpoint is switched off"),
        "{text}"
    );
}

/// etcd has a `/health`, too.
#[test]
fn another_server_is_not_healthy_for_sidekick() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"health\":\"true\"}";
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let output = run(&["health", "--admin", &address]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains(" is no sidekick: "), "{text}");
    let output = run(&["health", "--admin", &address, "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], false, "{answer}");
}

/// A store in which `web/a` is up and `web/b` drains, as an argument.
fn store_of_two(dir: &std::path::Path) -> String {
    for (id, state) in [("a", None), ("b", Some("drain"))] {
        let instance = dir.join("services/web").join(id);
        std::fs::create_dir_all(&instance).unwrap();
        let fields = [
            ("ip", Some("10.0.0.1")),
            ("port", Some("80")),
            ("state", state),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                std::fs::write(instance.join(field), value).unwrap();
            }
        }
    }
    let store = format!("--store=dir://{}", dir.display());
    make_store(&store);
    store
}

/// What hands have made becomes a store whose instances can be drained.
fn make_store(store: &str) {
    let instance = ["--name=other", "--id=x", "--port=1", "--ip=127.0.0.1"];
    let output = run(&[&["register", store], &instance[..], &["--", "true"]].concat());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn colour_goes_where_it_is_wanted() {
    let dir = temp_dir();
    let store = store_of_two(dir.path());
    let drawn = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = sidekick();
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.args(args).arg(&store).envs(env.iter().copied());
        let output = command.output().unwrap();
        let is_colored = |text: &[u8]| text.contains(&0x1b);
        (is_colored(&output.stdout), is_colored(&output.stderr))
    };
    let force = [("CLICOLOR_FORCE", "1")];
    // Neither standard output nor standard error is a terminal here.
    assert_eq!(drawn(&["ls"], &[]), (false, false));
    assert_eq!(drawn(&["ls"], &force), (true, true));
    assert_eq!(drawn(&["ls", "--color", "never"], &force), (false, false));
    assert_eq!(drawn(&["--color=always", "ls"], &[]), (true, true));
    let both = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    assert_eq!(drawn(&["status", "web"], &both), (false, false));
    assert_eq!(drawn(&["status", "--color", "always"], &both), (true, true));
    assert!(!drawn(&["ls", "--format=json", "--color=always"], &[]).0);
    assert!(drawn(&["ls", "--help", "--color=always"], &[]).0);
    assert!(!drawn(&["ls", "--help", "--color", "never"], &force).0);
    assert!(drawn(&["ls", "--hlep", "--color=always"], &[]).1);
}

#[test]
fn quiet_commands_print_results_and_errors_only() {
    let dir = temp_dir();
    let store = store_of_two(dir.path());
    let run = |args: &[&str]| {
        let output = sidekick().args(args).arg(&store).output().unwrap();
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        (output.status.code(), stdout, stderr(&output))
    };
    let nothing = (Some(0), String::new(), String::new());
    assert_eq!(run(&["status", "-q"]), nothing);
    assert_eq!(run(&["-q", "drain", "web", "a", "--no-wait"]), nothing);
    let (status, text, log) = run(&["status", "--quiet"]);
    assert_eq!((status, log.as_str()), (Some(1), ""));
    assert_eq!(
        text,
        "1 problem:\n  no instance of web is in service; it has 2 instances\n"
    );
    assert_eq!(run(&["undrain", "web", "a", "--no-wait", "-q"]), nothing);
    let ip = (Some(0), "127.0.0.1\n".to_owned(), String::new());
    assert_eq!(run(&["ip", "127.0.0.1", "-q"]), ip);
    let (status, _, text) = run(&["drain", "-q", "web", "c", "--no-wait"]);
    assert_eq!(status, Some(69));
    assert!(text.starts_with("error: there is no instance"), "{text}");
    // The other way round: the log says more.
    let log = |args: &[&str]| run(args).2;
    assert!(log(&["ls"]).contains(" INFO ") && !log(&["ls"]).contains("DEBUG"));
}

#[test]
fn a_state_directory_that_is_not_there_is_an_error_and_an_empty_one_is_fine() {
    let dir = temp_dir();
    let home = dir.path().to_str().unwrap();
    let absent = dir.path().join("absent").display().to_string();
    for args in [
        &["guard", "list"][..],
        &["guard", "release", "--all"],
        &["history"],
        &["history", "web", "--format", "json"],
    ] {
        let at = |state: &str| {
            let mut command = sidekick();
            command.args(args).args(["--state-dir", state]);
            command.output().unwrap()
        };
        let output = at(&absent);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{args:?}: {text}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        assert!(text.contains(&absent), "{args:?}: {text}");
        assert!(
            text.contains("hint: ") && text.contains("--state-dir"),
            "{text}"
        );
        assert_ne!(at(home).status.code(), Some(69), "{args:?}");
    }
}

#[test]
fn a_history_of_no_entries_is_refused() {
    let output = run(&["history", "-n", "0"]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(stderr(&output).contains("--limit"), "{}", stderr(&output));
}
