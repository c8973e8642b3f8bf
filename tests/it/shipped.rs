//! What is shipped in `conf.d` and `templates`, judged by the programs it is for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sidekick::model::catalog::Catalog;
use sidekick::model::keyspace;
use sidekick::model::update::{Entries, Prefix, Revision, Snapshot, Update};
use sidekick::watch::render::{Template, View, World};

use crate::harness;

const FIXTURES: [&str; 3] = ["empty", "ordinary", "hostile"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A target as far as these tests go: the fields of `[template]`.
pub(crate) struct Target {
    src: String,
    keys: Vec<String>,
    check_cmd: String,
}

pub(crate) fn target(name: &str) -> Target {
    let file: toml::Table = read(format!("conf.d/{name}.toml"))
        .parse()
        .expect("valid TOML");
    let table = file["template"].as_table().expect("a [template] table");
    let text = |field: &str| table[field].as_str().expect("a string").to_owned();
    let keys = table["keys"].as_array().expect("a list").iter();
    Target {
        src: text("src"),
        keys: keys
            .map(|key| key.as_str().expect("a string").to_owned())
            .collect(),
        check_cmd: text("check_cmd"),
    }
}

fn prefix(path: &str) -> Prefix {
    Prefix::parse(path).expect("a valid prefix")
}

fn fixture(name: &str) -> Entries {
    let text = read(format!("tests/it/fixtures/{name}.json"));
    let pairs: BTreeMap<String, String> = serde_json::from_str(&text).expect("a flat map");
    let pairs = pairs.into_iter();
    pairs
        .map(|(key, value)| (key.into(), value.into_bytes().into()))
        .collect()
}

fn catalog(entries: Entries) -> Catalog {
    let mut catalog = Catalog::new(prefix(keyspace::DEFAULT_PREFIX));
    let snapshot = Snapshot {
        revision: Revision(1),
        entries,
    };
    catalog.apply(&prefix("/"), Update::Reset(snapshot));
    catalog
}

fn view(target: &Target, entries: Entries, env: &[(&str, &str)]) -> View {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    View {
        catalog: Arc::new(catalog(entries)),
        services: Vec::new(),
        keys: target.keys.iter().map(|key| prefix(key)).collect(),
        root: prefix("/"),
        env: Arc::new(env.collect()),
        world: World::empty(),
    }
}

fn render_view(target: &Target, view: &View) -> String {
    let source = read(format!("templates/{}", target.src));
    let template =
        Template::compile(&target.src, &source).unwrap_or_else(|error| panic!("{error}"));
    template
        .render(view)
        .unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn render_with(target: &Target, entries: Entries, env: &[(&str, &str)]) -> String {
    render_view(target, &view(target, entries, env))
}

fn render(target: &Target, entries: Entries) -> String {
    render_with(target, entries, &[])
}

/// Runs the very check of the target on `text`; what the check prints.
fn check(target: &Target, text: &str) -> Result<String, String> {
    let dir = harness::temp_dir();
    let file = dir.path().join(".candidate");
    std::fs::write(&file, text).expect("write the candidate");
    let command = target
        .check_cmd
        .replace("{{src}}", &file.display().to_string());
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("/bin/sh")
        .args(["-c", &command])
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .expect("run the check");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

#[track_caller]
fn assert_valid(target: &Target, what: &str, text: &str) {
    if let Err(said) = check(target, text) {
        panic!("{what}: {said}\n{text}");
    }
}

fn program(name: &str) -> Target {
    harness::tool(name);
    target(name)
}

#[test]
fn haproxy_takes_what_is_rendered() {
    let target = program("haproxy");
    for name in FIXTURES {
        assert_valid(&target, name, &render(&target, fixture(name)));
    }
}

#[test]
fn nginx_takes_what_is_rendered() {
    let target = program("nginx");
    for name in FIXTURES {
        assert_valid(&target, name, &render(&target, fixture(name)));
    }
}

#[test]
fn a_check_refuses_what_is_wrong() {
    for name in ["haproxy", "nginx"] {
        let target = program(name);
        let said = check(&target, "nonsense here\n").expect_err("nonsense is refused");
        assert!(said.contains(".candidate"), "the check says where: {said}");
    }
}

/// No invalid value leaves a trace: where each is replaced by a plain word that is just as invalid in its place, the
/// output is the same to the byte.
#[test]
fn no_hostile_value_leaves_a_trace() {
    let hostile = fixture("hostile");
    let entries = hostile.iter();
    let tame: Entries = entries
        .map(|(key, value)| (key.clone(), tamed(value).into()))
        .collect();
    for name in ["haproxy", "nginx"] {
        let target = target(name);
        let env = [("SIDEKICK_DEFAULT_SERVICE", "good")];
        let text = render_with(&target, hostile.clone(), &env);
        assert_eq!(text, render_with(&target, tame.clone(), &env), "{name}");
        assert!(!text.contains("10.6.6.6"), "{text}");
    }
}

/// What is wrong with a value, without what is hostile about it. The fixture marks its hostile values.
fn tamed(value: &[u8]) -> &[u8] {
    let text = std::str::from_utf8(value).expect("the fixture is text");
    match text {
        // Valid in many places.
        "evil" => value,
        _ if !text.contains("evil") => value,
        // Nothing at all may have these.
        _ if text.len() > 4096 || text.contains(char::is_control) => b"\x01",
        _ => b"not_valid",
    }
}

#[test]
fn rendering_is_deterministic() {
    for name in ["haproxy", "nginx"] {
        let target = target(name);
        let first = render(&target, fixture("ordinary"));
        for _ in 0..5 {
            assert_eq!(render(&target, fixture("ordinary")), first);
        }
    }
}

/// The zone of an upstream in nginx has a size, and what does not fit into it fails the reload.
#[test]
fn many_instances_of_one_service_fit() {
    let target = program("nginx");
    for count in [400, 401, 10_000] {
        let instances = (0..count).flat_map(|n| {
            let dir = format!("/services/web/{n:063}");
            let ip = format!(
                "2001:db8:1111:2222:3333:4444:{:x}:{:x}",
                n / 250,
                n % 250 + 0xf000
            );
            [
                (format!("{dir}/ip"), ip),
                (format!("{dir}/port"), "65535".to_owned()),
            ]
        });
        let entries = instances
            .map(|(k, v)| (k.into(), v.into_bytes().into()))
            .collect();
        assert_valid(
            &target,
            &format!("{count} instances"),
            &render(&target, entries),
        );
    }
}

/// Targets that name their services in place of keys: one without instances is there, and the file is still valid.
#[test]
fn a_listed_service_without_instances_is_there() {
    for (name, line) in [
        ("haproxy", "backend absent\n    balance roundrobin\n"),
        ("nginx", "    server unix:/run/sidekick-none.sock down;\n"),
    ] {
        let target = program(name);
        for default in ["absent", "web", "not-listed"] {
            let env = [("SIDEKICK_DEFAULT_SERVICE", default)];
            let mut view = view(&target, fixture("ordinary"), &env);
            view.keys.clear();
            view.services = ["absent", "web"]
                .map(|name| name.parse().expect("a name"))
                .into();
            let text = render_view(&target, &view);
            assert!(text.contains(line) && !text.contains("search"), "{text}");
            assert_valid(&target, name, &text);
        }
    }
}

#[test]
fn what_the_environment_can_change() {
    let target = program("nginx");
    let env = [
        ("NGINX_LISTEN", "127.0.0.1:8081"),
        ("NGINX_DEFAULT_LISTEN", "127.0.0.1:8081 default_server"),
        ("NGINX_NAMES_BUCKET", "off"),
    ];
    let mut entries = fixture("ordinary");
    // Its name is longer than what fits without the setting.
    entries.retain(|key, _| !key.starts_with("/services/long/"));
    let text = render_with(&target, entries, &env);
    assert!(
        !text.contains("hash_bucket") && text.contains("listen 127.0.0.1:8081;"),
        "{text}"
    );
    assert_valid(&target, "nginx", &text);
    let target = program("haproxy");
    let env = [
        ("HAPROXY_HTTP_BIND", "127.0.0.1:8082,[::1]:8082"),
        ("SIDEKICK_DEFAULT_SERVICE", "search"),
    ];
    let text = render_with(&target, fixture("ordinary"), &env);
    assert!(text.contains("    default_backend search\n"), "{text}");
    assert_valid(&target, "haproxy", &text);
}
