//! What is shipped in `conf.d`, `templates` and `contrib`, judged by the programs it is for.

mod judges;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sidekick::model::catalog::Catalog;
use sidekick::model::key::Entries;
use sidekick::model::keyspace;
use sidekick::model::prefix::Prefix;
use sidekick::model::update::{Revision, Snapshot, Update};
use sidekick::watch::render::{Host, Template, View};

use crate::harness;

pub(crate) const FIXTURES: [&str; 3] = ["empty", "ordinary", "hostile"];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A target as far as these tests go: the fields of `[template]`, and the files of all parts of a group.
pub(crate) struct Target {
    keys: Vec<String>,
    services: Vec<String>,
    check_cmd: Option<String>,
    /// Of each the template, and the name of the file it goes to.
    parts: Vec<(String, String)>,
}

pub(crate) fn target(name: &str) -> Target {
    let file: toml::Table = read(format!("conf.d/{name}.toml"))
        .parse()
        .expect("valid TOML");
    let tables = match &file["template"] {
        toml::Value::Array(tables) => tables.clone(),
        table => vec![table.clone()],
    };
    let text = |value: &toml::Value| value.as_str().expect("a string").to_owned();
    let list = |field: &str| {
        let list = tables[0]
            .get(field)
            .map(|list| list.as_array().expect("a list"));
        list.into_iter()
            .flatten()
            .map(text)
            .collect::<Vec<String>>()
    };
    let part = |table: &toml::Value| {
        let dest = text(&table["dest"]);
        let (_, name) = dest.rsplit_once('/').expect("a path");
        (text(&table["src"]), name.to_owned())
    };
    let (mut keys, mut services) = (list("keys"), list("services"));
    if services == ["*"] {
        keys.push(keyspace::DEFAULT_PREFIX.to_owned());
        services.clear();
    }
    Target {
        keys,
        services,
        check_cmd: tables[0].get("check_cmd").map(text),
        parts: tables.iter().map(part).collect(),
    }
}

/// Every template that is shipped, by its name.
fn templates() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for dir in ["", "examples/"] {
        for entry in std::fs::read_dir(root().join("templates").join(dir)).expect("templates") {
            let name = entry.expect("an entry").file_name();
            let name = format!("{dir}{}", name.to_str().expect("text"));
            if std::path::Path::new(&name).extension() == Some("tera".as_ref()) {
                all.push((name.clone(), read(format!("templates/{name}"))));
            }
        }
    }
    all
}

fn prefix(path: &str) -> Prefix {
    Prefix::parse(path).expect("a valid prefix")
}

pub(crate) fn fixture(name: &str) -> Entries {
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
        target: "t".to_owned(),
        catalog: Arc::new(catalog(entries)),
        services: target
            .services
            .iter()
            .map(|name| name.parse().expect("a name"))
            .collect(),
        keys: target.keys.iter().map(|key| prefix(key)).collect(),
        root: prefix("/"),
        env: Arc::new(env.collect()),
        host: Host::empty(),
    }
}

fn render_part(src: &str, view: &View) -> String {
    let all = templates();
    let others: Vec<(&str, &str)> = all.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
    let (_, source) = others.iter().find(|(name, _)| *name == src).expect(src);
    let template =
        Template::compile_among(src, source, &others).unwrap_or_else(|error| panic!("{error}"));
    template
        .render(view)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The file that a target is rendered to; the first one of a group.
pub(crate) fn render_with(target: &Target, entries: Entries, env: &[(&str, &str)]) -> String {
    render_part(&target.parts[0].0, &view(target, entries, env))
}

pub(crate) fn render(target: &Target, entries: Entries) -> String {
    render_with(target, entries, &[])
}

/// Names and texts of files.
pub(crate) type Files = Vec<(String, String)>;

fn view_files(target: &Target, view: &View) -> Files {
    let parts = target.parts.iter();
    parts
        .map(|(src, name)| (name.clone(), render_part(src, view)))
        .collect()
}

/// All files of a group.
pub(crate) fn render_files(target: &Target, entries: Entries, env: &[(&str, &str)]) -> Files {
    view_files(target, &view(target, entries, env))
}

/// Runs the very check of the target on `text`; what the check prints.
pub(crate) fn check(target: &Target, text: &str) -> Result<String, String> {
    check_files(target, &[(target.parts[0].1.clone(), text.to_owned())])
}

/// The same on all files of a group, by the program that the PATH has.
pub(crate) fn check_files(target: &Target, files: &[(String, String)]) -> Result<String, String> {
    let program = target.program().map(harness::tool);
    check_files_by(program.as_deref(), target, files)
}

/// The same by one version of the program. The operator's file of HAProxy is the shipped one; modules are those of the program.
fn check_files_by(
    program: Option<&Path>,
    target: &Target,
    files: &[(String, String)],
) -> Result<String, String> {
    let dir = harness::temp_dir();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("write the candidate");
    }
    let Some(command) = &target.check_cmd else {
        return Ok(String::new());
    };
    let base = root().join("contrib/haproxy/base.cfg");
    let mut command = command
        .replace(
            "{{src}}",
            &dir.path().join(&files[0].0).display().to_string(),
        )
        .replace("{{tree}}", &dir.path().display().to_string())
        .replace("/etc/haproxy/haproxy.cfg", &base.display().to_string());
    let mut path = std::env::var("PATH").unwrap_or_default();
    if let Some(program) = program {
        let name = target.program().expect("it has one");
        let usual = format!("/usr/lib/{name}/modules");
        command = command.replace(&usual, &harness::modules_of(program));
        let first = program.parent().expect("a directory");
        path = format!("{}:{path}", first.display());
    }
    let prometheus = harness::prometheus_dir();
    let output = Command::new("/bin/sh")
        .args(["-c", &command])
        .env(
            "PATH",
            format!("{path}:/usr/sbin:/sbin:{}", prometheus.display()),
        )
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

/// What needs HAProxy 2.5: the shipped base, which the check puts before the backends, and the single file.
const NEEDS_HAPROXY_2_5: [&str; 2] = ["haproxy-backends.cfg.tera", "haproxy.cfg.tera"];

impl Target {
    /// The proxy that checks it.
    fn program(&self) -> Option<&'static str> {
        let command = self.check_cmd.as_deref()?;
        let proxies = ["haproxy", "nginx", "apache2"];
        proxies
            .into_iter()
            .find(|name| command.contains(&format!("{name} -")))
    }

    /// Every version of it that is here and has to take its files; none if another program checks it, which has one version.
    fn versions(&self) -> Vec<Option<PathBuf>> {
        let Some(name) = self.program() else {
            return vec![None];
        };
        let needs_2_5 = NEEDS_HAPROXY_2_5.contains(&self.parts[0].0.as_str());
        let all = harness::versions(name).into_iter();
        let fit = all.filter(|program| !(needs_2_5 && is_before_2_5(program)));
        fit.map(Some).collect()
    }
}

/// Whether it is an HAProxy of before 2.5.
pub(crate) fn is_before_2_5(haproxy: &Path) -> bool {
    let said = Command::new(haproxy).arg("-v").output().expect("run it");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let (_, version) = said.split_once("version ").expect("its version");
    let mut numbers = version.split(['.', '-']).map(|n| n.parse::<u32>().ok());
    (numbers.next().flatten(), numbers.next().flatten()) < (Some(2), Some(5))
}

#[track_caller]
pub(crate) fn assert_valid(target: &Target, what: &str, text: &str) {
    assert_files_valid(
        target,
        what,
        &[(target.parts[0].1.clone(), text.to_owned())],
    );
}

/// Asks every version of the program.
#[track_caller]
pub(crate) fn assert_files_valid(target: &Target, what: &str, files: &[(String, String)]) {
    for program in target.versions() {
        if let Err(said) = check_files_by(program.as_deref(), target, files) {
            panic!("{what}, {program:?}: {said}\n{files:?}");
        }
    }
}

/// The targets of `conf.d`, and those that have everything in one file.
const TARGETS: [&str; 4] = [
    "haproxy",
    "nginx",
    "examples/haproxy-single",
    "examples/nginx-single",
];

#[test]
fn the_programs_take_what_is_rendered() {
    for tool in ["haproxy", "nginx"] {
        harness::tool(tool);
    }
    for name in TARGETS {
        let target = target(name);
        for given in FIXTURES {
            let files = render_files(&target, fixture(given), &[]);
            assert_files_valid(&target, &format!("{name}, {given}"), &files);
        }
    }
}

#[test]
fn a_check_refuses_what_is_wrong() {
    for name in TARGETS {
        let target = target(name);
        let mut files = render_files(&target, Entries::new(), &[]);
        files[0].1 = "nonsense here\n".to_owned();
        let said = check_files(&target, &files).expect_err("nonsense is refused");
        assert!(said.contains(&files[0].0), "the check says where: {said}");
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
    for name in TARGETS {
        let target = target(name);
        let env = [("SIDEKICK_DEFAULT_SERVICE", "good")];
        let files = render_files(&target, hostile.clone(), &env);
        assert_eq!(files, render_files(&target, tame.clone(), &env), "{name}");
        for (_, text) in files {
            assert!(!text.contains("10.6.6.6"), "{text}");
        }
    }
}

/// What is wrong with a value, without what is hostile about it. The fixture marks its hostile values.
pub(crate) fn tamed(value: &[u8]) -> &[u8] {
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
    for name in TARGETS {
        let target = target(name);
        let render = || render_files(&target, fixture("ordinary"), &[]);
        let first = render();
        for _ in 0..5 {
            assert_eq!(render(), first);
        }
    }
}

/// A path that some instances of a service do not know would take them out of service.
#[test]
fn a_check_path_is_asked_for_when_all_instances_announce_it() {
    type Attributes = [(&'static str, &'static str)];
    let old: &Attributes = &[];
    let new: &Attributes = &[("check", "/healthz"), ("vhost", "shop.example.org")];
    let newer: &Attributes = &[("check", "/ready"), ("vhost", "shop.example.org")];
    let table: [([&Attributes; 2], Option<&str>); 5] = [
        (
            [new, new],
            Some("uri /healthz ver HTTP/1.1 hdr Host shop.example.org\n"),
        ),
        ([new, old], None),
        ([old, new], None),
        ([new, newer], None),
        ([old, old], None),
    ];
    let target = target("haproxy");
    for (instances, want) in table {
        let mut entries = Entries::new();
        for (n, attrs) in instances.iter().enumerate() {
            for (name, value) in [("ip", "10.0.0.1"), ("port", "80")].iter().chain(*attrs) {
                entries.insert(
                    format!("/services/shop/{n}/{name}").into(),
                    value.as_bytes().into(),
                );
            }
        }
        let text = render(&target, entries);
        assert_eq!(text.matches("    server ").count(), 2, "{text}");
        match want {
            Some(check) => assert!(text.contains(check), "{text}"),
            None => assert!(!text.contains("http"), "{text}"),
        }
    }
}

/// The zone of an upstream in nginx has a size, and what does not fit into it fails the reload.
#[test]
fn many_instances_of_one_service_fit() {
    let target = target("nginx");
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
    for name in TARGETS {
        let line = if name.contains("haproxy") {
            "backend absent\n    balance roundrobin\n"
        } else {
            "    server unix:/run/sidekick-none.sock down;\n"
        };
        let target = target(name);
        for default in ["absent", "web", "not-listed"] {
            let env = [("SIDEKICK_DEFAULT_SERVICE", default)];
            let mut view = view(&target, fixture("ordinary"), &env);
            view.keys.clear();
            view.services = ["absent", "web"]
                .map(|name| name.parse().expect("a name"))
                .into();
            let files = view_files(&target, &view);
            let text = &files[0].1;
            assert!(text.contains(line) && !text.contains("search"), "{text}");
            assert_files_valid(&target, name, &files);
        }
    }
}

#[test]
fn what_the_environment_can_change() {
    let single = target("examples/nginx-single");
    let env = [
        ("NGINX_LISTEN", "127.0.0.1:8081"),
        ("NGINX_DEFAULT_LISTEN", "127.0.0.1:8081 default_server"),
        ("NGINX_NAMES_BUCKET", "off"),
    ];
    let mut entries = fixture("ordinary");
    // Its name is longer than what fits without the setting.
    entries.retain(|key, _| !key.starts_with("/services/long/"));
    let text = render_with(&single, entries, &env);
    assert!(
        !text.contains("hash_bucket") && text.contains("listen 127.0.0.1:8081;"),
        "{text}"
    );
    assert_valid(&single, "nginx", &text);
    let single = target("examples/haproxy-single");
    let env = [
        ("HAPROXY_HTTP_BIND", "127.0.0.1:8082,[::1]:8082"),
        ("SIDEKICK_DEFAULT_SERVICE", "search"),
    ];
    let text = render_with(&single, fixture("ordinary"), &env);
    assert!(text.contains("    default_backend search\n"), "{text}");
    assert_valid(&single, "haproxy", &text);
    let files = render_files(&target("haproxy"), fixture("ordinary"), &env);
    assert!(files[1].1.ends_with("\n/ search\n"), "{files:?}");
}

/// The settings of the single file are those of the base, which has more to say about routing.
#[test]
fn the_single_file_has_the_settings_of_the_base() {
    let settings = |text: &str| -> Vec<String> {
        let (_, text) = text.split_once("\nglobal\n").expect("settings");
        let (text, _) = text.split_once("\nfrontend stats\n").expect("listeners");
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '.']));
        // What comes from the environment is written in other ways.
        let first = |line: &str| line.split(['"', '/']).next().map(str::to_owned);
        lines.filter_map(first).collect()
    };
    let single = render(&target("examples/haproxy-single"), Entries::new());
    let mut base = settings(&read("contrib/haproxy/base.cfg"));
    base.retain(|line| !line.starts_with("presetenv "));
    let mut single = settings(&single);
    single.retain(|line| !line.starts_with("setenv SIDEKICK_GENERATION_t "));
    assert_eq!(base.len(), single.len(), "{base:?} {single:?}");
    for (base, single) in base.iter().zip(&single) {
        assert!(single.starts_with(base), "{base:?} {single:?}");
    }
}

/// What is rendered beside an operator's file has sections of a harmless kind and nothing outside of them, whatever is
/// announced: no setting, no listener, no server of nginx, no virtual host.
#[test]
fn what_is_rendered_beside_a_base_has_no_setting_and_no_listener() {
    let table: [(&str, &[&str]); 3] = [
        ("haproxy", &["backend "]),
        ("nginx", &["upstream ", "map ", "}"]),
        ("examples/apache", &["<Proxy \"balancer://svc_", "</Proxy>"]),
    ];
    for (name, sections) in table {
        let target = target(name);
        for given in FIXTURES {
            let (_, text) = render_files(&target, fixture(given), &[]).swap_remove(0);
            // The mark, and nothing below it.
            let (before, rest) = text
                .split_once("global\n    setenv SIDEKICK_GENERATION_t ")
                .unwrap_or(("", &text));
            let rest = rest
                .strip_prefix("sidekick0place0of0the0generation\n")
                .unwrap_or(rest);
            let text = format!("{before}{}", rest.trim_start_matches('\n'));
            let outside = text.lines().filter(|line| !line.starts_with([' ', '#']));
            for line in outside.filter(|line| !line.is_empty()) {
                let harmless = sections.iter().any(|section| line.starts_with(section));
                assert!(harmless, "{name}: {line:?}\n{text}");
            }
        }
    }
}
