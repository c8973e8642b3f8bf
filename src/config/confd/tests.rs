//! Directories that were made for confd.

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};
use crate::config::{HostFile, Sources, Target, choose_store, read_targets};
use crate::model::store_url::Location;

/// A directory with these files below it.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

/// The targets, problems and warnings of a conf.d file and a `confd.toml`; problems and warnings without the directory's name.
fn load(text: &str, confd: Option<&str>) -> (Vec<Target>, Vec<String>, Vec<String>) {
    let mut files = vec![
        ("conf.d/a.toml", text),
        ("templates/a.tmpl", "hello"),
        ("templates/a.conf", "other"),
        ("templates/a.tera", "tera"),
    ];
    files.extend(confd.map(|confd| ("confd.toml", confd)));
    let dir = directory(&files);
    let all = read_targets(dir.path());
    let root = format!("{}/", dir.path().display());
    let texts = |problems: Vec<Problem>| {
        let texts = problems
            .iter()
            .map(|one| one.to_string().replace(&root, ""));
        texts.collect()
    };
    let problems = all.all_problems();
    (all.good, texts(problems), texts(all.warnings))
}

#[track_caller]
fn one(text: &str, confd: Option<&str>) -> Target {
    let (mut good, problems, _) = load(text, confd);
    assert_eq!(problems, [""; 0]);
    good.pop().unwrap()
}

const LEAST: &str = "[template]\nsrc = 'a.tmpl'\ndest = '/d'\nkeys = ['/services']\n";

fn keys(target: &Target) -> Vec<&str> {
    match &target.outputs[0].sources {
        Sources::Keys(keys) => keys.iter().map(Prefix::as_str).collect(),
        services => panic!("{services:?}"),
    }
}

#[test]
fn all_fields_of_confd_are_translated() {
    let target = one(
        "[template]\nprefix = 'app/'\nsrc = '/a.tmpl'\ndest = '/d'\nmode = '0640'\nuid = -1\ngid = 0\nowner = ''\n\
         keys = ['web', '/db//x/', '../up', '/']\ncheck_cmd = '/bin/check {{.src}}'\nreload_cmd = ''\n\
         check_cmd_timeout = '1m30s'\nreload_cmd_timeout = '1.5s'\ndebounce = '2s'\nmin_reload_interval = '500ms'\n",
        None,
    );
    assert_eq!(keys(&target), ["/app/web", "/app/db/x", "/up", "/app"]);
    assert_eq!(target.outputs[0].root.as_str(), "/app");
    assert_eq!(
        (
            target.outputs[0].mode,
            target.outputs[0].owner.uid,
            target.outputs[0].owner.gid
        ),
        (Some(0o640), None, Some(0))
    );
    assert_eq!(
        target.outputs[0].check.as_deref(),
        Some("/bin/check {{.src}}")
    );
    assert_eq!(
        (target.reload, target.outputs[0].template.as_str()),
        (None, "hello")
    );
    assert_eq!(target.check_timeout, Duration::from_secs(90));
    assert_eq!(target.reload_timeout, Duration::from_millis(1500));
    let want = Pace {
        settle: Duration::from_secs(2),
        max_wait: Duration::from_secs(2),
        min_interval: Duration::from_millis(500),
    };
    assert_eq!(target.pace, want);
}

#[test]
fn keys_lie_below_the_prefix_of_confd_toml_or_of_the_file() {
    let with = |own: &str, global: Option<&str>| {
        let target = one(&format!("{LEAST}{own}"), global);
        format!("{} {}", keys(&target)[0], target.outputs[0].root)
    };
    for (own, global, want) in [
        ("", None, "/services /"),
        ("prefix = '/'", None, "/services /"),
        ("prefix = ''", None, "/services /"),
        ("prefix = '/own'", None, "/own/services /own"),
        ("prefix = 'own/'", Some("prefix = ''"), "/own/services /own"),
        (
            "prefix = '/own'",
            Some("prefix = 'global'"),
            "/global/services /global",
        ),
        ("", Some("prefix = '/a/b/'"), "/a/b/services /a/b"),
    ] {
        assert_eq!(with(own, global), want, "{own} {global:?}");
    }
}

#[test]
fn an_unknown_field_is_a_warning_with_its_line() {
    let text = format!(
        "confdir = '/etc/confd'\n{LEAST}colour = 'red'\nuid = 0\nowner = 'root'\n[other]\n"
    );
    let (good, problems, warnings) = load(&text, None);
    assert_eq!((good.len(), problems.len()), (1, 0), "{problems:?}");
    assert_eq!(
        warnings,
        [
            "conf.d/a.toml:1: confdir is not known here and is ignored",
            "conf.d/a.toml:2: template.owner is ignored, since template.uid is given, too",
            "conf.d/a.toml:6: template.colour is not known here and is ignored",
            "conf.d/a.toml:9: other is not known here and is ignored",
        ]
    );
    // A known field with a mistake is a problem all the same.
    for (line, want) in [
        ("mode = 'rw'", "conf.d/a.toml:5: template.mode"),
        (
            "owner = 'nobody-has-this-name'",
            "conf.d/a.toml:5: template.owner: there is no user",
        ),
        (
            "debounce = '5'",
            "conf.d/a.toml:5: template.debounce: \"5\" is not a time such as 500ms, 30s or 1m30s",
        ),
        ("prefix = \"a\\n\"", "conf.d/a.toml:"),
    ] {
        let (good, problems, _) = load(&format!("{LEAST}{line}\n"), None);
        assert!(
            problems.iter().any(|one| one.starts_with(want)) && good.is_empty(),
            "{line}: {problems:?}"
        );
    }
    let (_, problems, _) = load(&LEAST.replace("['/services']", "[]"), None);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn a_file_with_a_go_template_is_in_confds_style() {
    for (src, confd, style) in [
        ("a.tmpl", None, Style::Confd),
        ("a.conf", None, Style::Confd),
        ("a.tera", None, Style::Own),
        ("a.tera", Some(""), Style::Confd),
    ] {
        let target = one(&LEAST.replace("a.tmpl", src), confd);
        assert_eq!(target.style, style, "{src} {confd:?}");
    }
}

#[test]
fn hidden_files_and_subdirectories_are_read_as_confd_does() {
    let ours = LEAST.replace("a.tmpl", "a.tera");
    let with = |dest: &str| LEAST.replace("/d", dest);
    let dir = directory(&[
        ("conf.d/a.toml", LEAST),
        ("conf.d/.env.toml", &with("/hidden")),
        ("conf.d/.ours.toml", &ours),
        ("conf.d/.a.toml.swp", "x"),
        ("conf.d/webtoml", &with("/f")),
        ("conf.d/sub/deep/b.toml", &with("/e")),
        ("conf.d/sub/.e.toml", &with("/g")),
        ("conf.d/off/c.toml", &ours),
        ("conf.d/off/broken.toml", "[template\n"),
        ("conf.d/..2024/d.toml", LEAST),
        ("templates/a.tmpl", ""),
    ]);
    std::os::unix::fs::symlink("nobody@host.1", dir.path().join("conf.d/.#a.toml")).unwrap();
    let all = read_targets(dir.path());
    let mut names: Vec<_> = all.good.iter().map(|target| target.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(all.all_problems(), []);
    assert_eq!(names, [".env", "a", "sub/.e", "sub/deep/b", "webtoml"]);
}

#[test]
fn of_two_files_with_one_dest_the_hidden_one_is_wrong() {
    let dir = directory(&[
        ("conf.d/.a.toml", LEAST),
        ("conf.d/a.toml", LEAST),
        ("templates/a.tmpl", ""),
    ]);
    let all = read_targets(dir.path());
    assert_eq!((all.good[0].name.as_str(), all.good.len()), ("a", 1));
    assert_eq!(
        (all.bad[0].name.as_str(), all.bad[0].style),
        (".a", Style::Confd)
    );
}

#[test]
fn the_case_of_names_is_ignored_as_with_confd() {
    let target = one(
        "[Template]\nSRC = 'a.tmpl'\nDest = '/d'\nKeys = ['/services']\nmode = '0o640'\nCheck_Cmd = 'true'\n\
         [Template.Pace]\nMax_Wait = '9s'\n",
        Some("Prefix = '/p'\n"),
    );
    assert_eq!(target.outputs[0].mode, Some(0o640));
    assert_eq!(target.outputs[0].check.as_deref(), Some("true"));
    assert_eq!(target.pace.max_wait, Duration::from_secs(9));
    assert_eq!(keys(&target), ["/p/services"]);
    // In sidekick's own style the case counts.
    let ours = LEAST.replace("a.tmpl", "a.tera").replace("src", "Src");
    let (good, problems, _) = load(&ours, None);
    assert!(good.is_empty() && problems.len() == 1, "{problems:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_in_the_style_of_the_others() {
    let ours = LEAST.replace("a.tmpl", "a.tera").replace("/d", "/e");
    for (others, confd, style) in [
        (vec![], None, Style::Own),
        (vec![LEAST], None, Style::Confd),
        (vec![LEAST, &ours], None, Style::Own),
        (vec![LEAST, &ours], Some(""), Style::Confd),
        (vec![], Some(""), Style::Confd),
    ] {
        let mut files = vec![("conf.d/bad.toml", "[template\n"), ("templates/a.tmpl", "")];
        files.push(("templates/a.tera", ""));
        files.extend(["conf.d/a.toml", "conf.d/b.toml"].into_iter().zip(others));
        files.extend(confd.map(|confd| ("confd.toml", confd)));
        let all = read_targets(directory(&files).path());
        let styles: Vec<_> = all.bad.iter().map(|bad| bad.style).collect();
        assert_eq!(styles, [style], "{files:?}");
    }
}

fn store(confd: &str, flags: &[&str], env: &[(&str, &str)]) -> Result<Location, Vec<String>> {
    let texts =
        |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let line = ["sidekick", "watch"].iter().chain(flags);
    let Command::Watch(watch) = Cli::try_parse_from(line).unwrap().command else {
        unreachable!("watch was typed");
    };
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let confd = Confd::parse(Path::new("confd.toml"), confd).map_err(texts)?;
    let (args, env, _) = confd.complete(watch.store, env.collect()).map_err(texts)?;
    let nowhere = ("SIDEKICK_ENV_FILE".to_owned(), "/nonexistent".to_owned());
    let host = HostFile::read(&Env::from([nowhere]));
    choose_store(&args, &env, &host, true)
        .map(|place| place.location)
        .map_err(texts)
}

fn url(found: Result<Location, Vec<String>>) -> String {
    match found {
        Ok(Location::Etcd(etcd)) => format!("{} {}", etcd.endpoints.join(","), etcd.tls.is_some()),
        Ok(Location::EtcdSrv(domain, etcd)) => format!("{} {}", domain.domain, etcd.tls.is_some()),
        Ok(Location::Directory(path)) => path.display().to_string(),
        Ok(read_only @ (Location::Files(_) | Location::Environment)) => read_only.identity(),
        Err(problems) => problems.join(";"),
    }
}

#[test]
fn files_and_the_environment_are_stores_of_confd_toml_too() {
    let files = "backend = 'file'\nfile = ['/k.yaml']\nfilter = '*'\n";
    for (confd, flags, want) in [
        ("backend = 'env'\n", &[][..], "env:"),
        ("backend = 'env'\n", &["--store", "dir:///x"], "/x"),
        (files, &[], "file:/k.yaml"),
        (
            "backend = 'file'\nfile = ['/a', '/b']\n",
            &[],
            "confd.toml: file: the backend file needs one path here, and this file names 2",
        ),
        (
            "backend = 'file'\n",
            &[],
            "confd.toml: file: the backend file needs one path here, and this file names 0",
        ),
    ] {
        assert_eq!(url(store(confd, flags, &[])), want, "{confd} {flags:?}");
    }
    let confd = Confd::parse(Path::new("c"), "file = ['/a']\nfilter = '*.yml'\n").unwrap();
    let warning = confd.warnings[0].to_string();
    assert!(warning.starts_with("c:2: filter is ignored: "), "{warning}");
}

#[test]
fn the_store_of_confd_toml_is_used_if_no_other_is_given() {
    let nodes = "backend = 'etcdv3'\nnodes = ['http://a:1', 'b:2']\n";
    for (confd, flags, env, want) in [
        (nodes, &[][..], &[][..], "a:1,b:2 false"),
        (nodes, &["--store", "dir:///x"], &[], "/x"),
        (nodes, &[], &[("ETCDCTL_ENDPOINTS", "c:3")], "c:3 false"),
        ("nodes = ['a:1']\nscheme = 'https'\n", &[], &[], "a:1 true"),
        ("nodes = ['https://a:1']\n", &[], &[], "a:1 true"),
        ("backend = 'etcd'\n", &[], &[], "127.0.0.1:2379 false"),
        (
            "srv_domain = 'x.org'\nnodes = ['a:1']\n",
            &[],
            &[],
            "x.org false",
        ),
        (
            "srv_domain = 'x.org'\nscheme = 'https'\n",
            &[],
            &[],
            "x.org true",
        ),
        (
            "srv_domain = 'x.org'\n",
            &["--store-srv", "y.org"],
            &[],
            "y.org false",
        ),
        (
            "srv_domain = 'x.org'\n",
            &[],
            &[("ETCDCTL_ENDPOINTS", "c:3")],
            "c:3 false",
        ),
        (
            "srv_domain = 'x y'\n",
            &[],
            &[],
            "confd.toml:1: srv_domain: \"x y\" is not a domain such as example.com",
        ),
        (
            "client_cakeys = '/ca'\nnodes = ['a:1']",
            &[],
            &[],
            "/ca: cannot be read: No such file or directory (os error 2)",
        ),
        ("prefix = '/x'\n", &[], &[], "/run/sidekick"),
        (
            "backend = 'consul'\n",
            &["--store", "etcd://a:1"],
            &[],
            "a:1 false",
        ),
        (
            "backend = 'consul'\n",
            &[],
            &[],
            "confd.toml: backend: there is no \"consul\" here",
        ),
        (
            "nodes = ['a b']\n",
            &[],
            &[],
            "confd.toml:1: nodes: \"a b\" is not an endpoint such as http://127.0.0.1:2379",
        ),
        (
            "noop = true\n",
            &[],
            &[],
            "confd.toml:1: sidekick does not follow noop = true",
        ),
        (
            "username = 'u'\npassword = 'p'\nnodes = ['a:1']\nnoop = false",
            &[],
            &[],
            "a:1 false",
        ),
    ] {
        assert_eq!(
            url(store(confd, flags, env)),
            want,
            "{confd} {flags:?} {env:?}"
        );
    }
    let Ok(Location::Etcd(etcd)) =
        store("username = 'u'\npassword = 'p'\nnodes = ['a:1']", &[], &[])
    else {
        panic!()
    };
    let password = crate::model::store_url::Password::Given("p".to_owned());
    assert_eq!(etcd.auth, Some(("u".to_owned(), password)));
}

#[test]
fn confd_toml_gives_an_interval_and_warnings() {
    let confd = Confd::parse(
        Path::new("c"),
        "interval = 60\nlog-level = 'debug'\nwatch = true\n",
    )
    .unwrap();
    assert_eq!(confd.interval, Some(Duration::from_secs(60)));
    let warnings: Vec<_> = confd.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["c:2: log-level is not known here and is ignored"]
    );
    assert!(
        Confd::parse(Path::new("c"), "interval = 'x'\nnodes = 1\n")
            .unwrap_err()
            .len()
            == 2
    );
    assert!(Confd::parse(Path::new("c"), "interval =\n").is_err());
}

#[test]
fn durations_are_read_as_go_writes_them() {
    for (text, millis) in [
        ("", Some(0)),
        ("0", Some(0)),
        ("30s", Some(30_000)),
        ("1m30s", Some(90_000)),
        ("1.5h", Some(5_400_000)),
        ("250ms", Some(250)),
        ("1500us", Some(1)),
        ("5", None),
        ("s", None),
        ("-1s", None),
        ("1x", None),
        ("1e9999s", None),
    ] {
        let found = parse_go_duration(text).map(|time| time.as_millis());
        assert_eq!(found, millis, "{text}");
    }
}
