use super::*;

/// Reads one conf.d file in a directory that has a template `a.tera`.
fn load(text: &str) -> (Vec<Target>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("conf.d/a.toml", text),
        ("templates/a.tera", "hello"),
        ("templates/a.tmpl", "hello"),
    ] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let all = read_targets(dir.path());
    let root = format!("{}/conf.d/", dir.path().display());
    let problems = all
        .all_problems()
        .iter()
        .map(|problem| problem.to_string().replace(&root, ""))
        .collect();
    (all.good, problems)
}

const LEAST: &str = "[template]\nsrc = 'a.tera'\ndest = '/d'\nkeys = ['/services']\n";

#[test]
fn a_small_target_has_defaults() {
    let (good, problems) = load(LEAST);
    assert_eq!(problems, [""; 0]);
    let [target] = good.as_slice() else {
        panic!("{good:?}")
    };
    assert_eq!(
        (target.name.as_str(), target.outputs[0].template.as_str()),
        ("a", "hello")
    );
    assert_eq!(
        (target.outputs[0].mode, target.pace, &target.reload),
        (None, Pace::default(), &None)
    );
}

#[test]
fn all_fields_are_read() {
    let (good, problems) = load(
        "[template]\nsrc = 'a.tera'\ndest = '/d'\nservices = ['web']\nmode = '640'\nowner = 'root'\ngid = 0\n\
         check_cmd = 'true {{src}}'\ncheck_timeout = '1s'\nreload_timeout = '2s'\n\
         [template.reload]\nsignal = 'SIGUSR2'\npidfile = '/p'\n[template.pace]\nsettle = '0s'\nmin_interval = '1ms'\n",
    );
    assert_eq!(problems, [""; 0]);
    let target = &good[0];
    assert_eq!(
        (
            target.outputs[0].mode,
            target.outputs[0].owner.uid,
            target.outputs[0].owner.gid
        ),
        (Some(0o640), Some(0), Some(0))
    );
    let usr2 = Reload::Signal {
        signal: Signal(12),
        pidfile: "/p".into(),
        verify: true,
    };
    assert_eq!(target.reload, Some(usr2));
    assert_eq!(target.pace.min_interval, Duration::from_millis(1));
}

#[test]
fn a_star_stands_for_every_service_and_stands_alone() {
    let load = |services: &str| load(&LEAST.replace("keys = ['/services']", services));
    let (good, problems) = load("services = ['*']");
    assert_eq!(problems, [""; 0]);
    assert_eq!(good[0].outputs[0].sources, Sources::AllServices);
    assert_eq!(good[0].guard, Rules::of_services());
    for (services, want) in [
        (
            "services = ['*', 'web']",
            "\"*\" is every service already, so it stands alone",
        ),
        (
            "services = ['web*']",
            "\"*\" alone stands for every service, and a part of a name for none",
        ),
        ("services = ['*']\nkeys = ['/a']", "exclude each other"),
    ] {
        let (good, problems) = load(services);
        assert!(good.is_empty(), "{services}");
        assert!(problems.concat().contains(want), "{services}: {problems:?}");
    }
}

#[test]
fn the_page_of_a_generation_is_a_url() {
    let load = |url: &str| load(&format!("{LEAST}generation_url = '{url}'\n"));
    let (good, problems) = load("http://127.0.0.1:8089/generation");
    assert_eq!(problems, [""; 0]);
    let page = good[0].generation.clone().unwrap();
    let place = (page.at.host.as_deref(), page.at.port, page.path.as_str());
    assert_eq!(place, (Some("127.0.0.1"), Some(8089), "/generation"));
    for (url, want) in [
        (
            "http://:80/",
            "the host is missing: write http://127.0.0.1:PORT/PATH",
        ),
        ("https://a/", "write http://HOST:PORT/PATH"),
        ("/generation", "write http://HOST:PORT/PATH"),
    ] {
        assert_eq!(
            load(url).1,
            [format!("a.toml:5: template.generation_url: {want}")]
        );
    }
}

#[test]
fn the_command_of_watch_needs_no_pidfile() {
    let reload = "[template.reload]\nsignal = 'USR2'\nchild = true\n";
    let (good, problems) = load(&format!("{LEAST}{reload}"));
    assert_eq!(problems, [""; 0]);
    let child = |verify| {
        let signal = Signal::USR2;
        Some(Reload::Child { signal, verify })
    };
    assert_eq!(good[0].reload, child(true));
    let (good, _) = load(&format!("{LEAST}{reload}verify = false\n"));
    assert_eq!(good[0].reload, child(false));
}

#[test]
fn a_unit_or_a_master_is_reloaded() {
    let told = |lines: &str| {
        let (good, problems) = load(&format!("{LEAST}[template.reload]\n{lines}\n"));
        assert_eq!(problems, [""; 0], "{lines}");
        good[0].reload.clone().unwrap()
    };
    let unit = |unit: &str, signal| Reload::Unit {
        unit: unit.to_owned(),
        signal,
        verify: true,
    };
    assert_eq!(
        told("systemd_unit = 'haproxy'"),
        unit("haproxy.service", None)
    );
    assert_eq!(
        told("systemd_unit = 'a@b.service'\nsignal = 'HUP'"),
        unit("a@b.service", Some(Signal::HUP))
    );
    assert_eq!(
        told("haproxy_master = '/run/m.sock'"),
        Reload::HaproxyMaster("/run/m.sock".into())
    );
    for (lines, want) in [
        ("systemd_unit = 'a b'", "is not the name of a unit"),
        ("systemd_unit = 'a'\npidfile = '/p'", "exclude each other"),
        (
            "child = true\nsignal = 'HUP'\nhaproxy_master = '/m'",
            "exclude each other",
        ),
        ("haproxy_master = 'm.sock'", "is not an absolute path"),
        (
            "haproxy_master = '/m'\nsignal = 'HUP'",
            "has no effect with haproxy_master",
        ),
        (
            "haproxy_master = '/m'\nverify = false",
            "has no effect with haproxy_master",
        ),
        ("pidfile = '/p'", "signal is missing"),
        ("signal = 'HUP'", "pidfile is missing"),
    ] {
        let (_, problems) = load(&format!("{LEAST}[template.reload]\n{lines}\n"));
        assert!(problems.join(" ").contains(want), "{lines}: {problems:?}");
    }
}

const GROUP: &str = "[[template]]\nsrc = 'a.tera'\ndest = '/d/a'\nkeys = ['/services']\ntree = '/d'\n\
                     [[template]]\nsrc = 'a.tera'\ndest = '/d/b'\nservices = ['web']\nmode = '600'\n\
                     check_cmd = 'true {{tree}}'\nreload_cmd = 'true'\n[template.pace]\nsettle = '1ms'\n";

#[test]
fn a_group_is_several_files_with_one_reload() {
    let (good, problems) = load(GROUP);
    assert_eq!(problems, [""; 0]);
    let [target] = good.as_slice() else {
        panic!("{good:?}")
    };
    let outputs = target.outputs.iter();
    let told: Vec<_> = outputs
        .map(|output| {
            (
                output.dest.to_str().unwrap(),
                output.mode,
                output.check.is_some(),
            )
        })
        .collect();
    assert_eq!(told, [("/d/a", None, false), ("/d/b", Some(0o600), true)]);
    assert_eq!(target.reload, Some(Reload::Command("true".to_owned())));
    assert_eq!(target.pace.settle, Duration::from_millis(1));
    assert_eq!(target.tree.as_deref(), Some(Path::new("/d")));
}

#[test]
fn a_group_with_two_values_for_one_setting_is_a_problem() {
    let third = "[[template]]\nsrc = 'a.tera'\nkeys = ['/a']\n";
    for (lines, want) in [
        ("dest = '/d/c'\nreload_cmd = 'true'", None),
        ("dest = '/d/c'\n[template.pace]\nsettle = '1ms'", None),
        (
            "dest = '/d/c'\nreload_cmd = 'false'",
            Some(
                "a.toml:15: the reload differs from that of the tables above, and a group can have only one",
            ),
        ),
        (
            "dest = '/d/c'\n[template.pace]\nsettle = '2ms'",
            Some(
                "a.toml:15: [template.pace] differs from that of the tables above, and a group can have only one",
            ),
        ),
        (
            "dest = '/d/c'\ntree = '/e'",
            Some(
                "a.toml:15: template.tree differs from that of the tables above, and a group can have only one",
            ),
        ),
        (
            "dest = '/d/a'",
            Some("a.toml: the dest /d/a is already taken by"),
        ),
        (
            "dest = 'c'",
            Some("a.toml:18: template.dest: \"c\" is not the absolute path of a file"),
        ),
    ] {
        // The third table begins on line 15.
        let (_, problems) = load(&format!("{GROUP}{third}{lines}\n"));
        match want {
            None => assert_eq!(problems, [""; 0], "{lines}"),
            Some(want) => assert!(problems[0].starts_with(want), "{problems:?}"),
        }
    }
    let (_, problems) = load(&format!("{LEAST}tree = '/elsewhere'\n"));
    assert_eq!(
        problems,
        ["a.toml:1: template.tree: no dest lies below /elsewhere"]
    );
}

#[test]
fn every_problem_has_its_line_and_a_file_with_one_has_no_target() {
    let cases = [
        (
            "mode = '0888'",
            "a.toml:5: template.mode: \"0888\" is not an octal mode such as 0644",
        ),
        (
            "mode = 644",
            "a.toml:5: template.mode is a string, not an integer",
        ),
        (
            "owner = 'nobody-has-this-name'",
            "a.toml:5: template.owner: there is no user \"nobody-has-this-name\" on this host",
        ),
        (
            "check_timeout = '0s'",
            "a.toml:5: template.check_timeout: it has to be longer than 0",
        ),
        (
            "services = ['web']",
            "a.toml:5: template.services and template.keys exclude each other",
        ),
        (
            "colour = 'red'",
            "a.toml:5: template.colour is not known here",
        ),
        (
            "reload = 'x'",
            "a.toml:5: template.reload is a table, not a string",
        ),
        (
            "[template.reload]\nsignal = 'NO'\npidfile = '/p'",
            "a.toml:6: template.reload.signal: \"NO\" is not a signal such as HUP, USR2 or 3",
        ),
        (
            "[template.reload]\nsignal = 'HUP'",
            "a.toml:5: template.reload.pidfile is missing: the file with the id of the process to signal",
        ),
        (
            "[template.reload]\nsignal = 'HUP'\nchild = false",
            "a.toml:5: template.reload.pidfile is missing: the file with the id of the process to signal",
        ),
        (
            "[template.reload]\nsignal = 'HUP'\nchild = true\npidfile = '/p'",
            "a.toml:5: template.reload.pidfile and template.reload.child exclude each other",
        ),
        (
            "[template.reload]\nsignal = 'HUP'\nchild = 'yes'",
            "a.toml:7: template.reload.child is true or false, not a string",
        ),
        (
            "uid = -1",
            "a.toml:5: template.uid is a number from 0 to 4294967295, not an integer",
        ),
    ];
    for (line, want) in cases {
        let (good, problems) = load(&format!("{LEAST}{line}\n"));
        assert_eq!(
            (problems.as_slice(), good.len()),
            ([want.to_owned()].as_slice(), 0),
            "{line}"
        );
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let (_, problems) =
        load("[template]\nsrc = 'b.tera'\ndest = 'd'\nkeys = []\nmode = 'x'\n[other]\n");
    assert_eq!(problems.len(), 5, "{problems:?}");
    let (_, problems) = load("");
    assert_eq!(problems, ["a.toml:1: there is no table [template]"]);
}

#[test]
fn a_syntax_error_is_the_only_problem() {
    for (text, line) in [
        ("[template\nsrc = \n", "a.toml:1: "),
        (&LEAST.replace("'/d'", "'/d"), "a.toml:3: "),
        (&LEAST.replace("'/d'", "/d"), "a.toml:3: "),
        (&LEAST.replace("['/services']", "['/services'"), "a.toml:"),
        (&format!("{LEAST}dest = '/e'\n"), "a.toml:5: "),
        (&format!("{LEAST}mode = 0644\ncolour = 1\n"), "a.toml:5: "),
        (&format!("{LEAST}\"\n[template.pace\nx y\n"), "a.toml:5: "),
    ] {
        let (good, problems) = load(text);
        assert_eq!(
            (good.len(), problems.len()),
            (0, 1),
            "{text}: {problems:#?}"
        );
        assert!(problems[0].starts_with(line), "{text}: {problems:?}");
    }
}

#[test]
fn a_misspelt_name_gets_a_suggestion() {
    let hints = |lines: &str| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("conf.d")).unwrap();
        fs::create_dir_all(dir.path().join("templates")).unwrap();
        fs::write(dir.path().join("templates/backends.cfg.tera"), "").unwrap();
        fs::write(dir.path().join("conf.d/a.toml"), lines).unwrap();
        let problems = read_targets(dir.path()).all_problems();
        let hints = problems
            .into_iter()
            .map(|problem| problem.hint.unwrap_or_default());
        hints.collect::<Vec<_>>()
    };
    let least = LEAST.replace("a.tera", "backends.cfg.tera");
    for (text, want) in [
        (
            format!("{least}chek_cmd = 'true'\n"),
            "did you mean check_cmd?",
        ),
        (format!("{least}[template.pase]\n"), "did you mean pace?"),
        (
            format!("{least}[template.pace]\nmaxwait = '5s'\n"),
            "did you mean max_wait?",
        ),
        (
            format!("{least}[template.pace]\ncolour = '5s'\n"),
            "known are settle, max_wait and min_interval",
        ),
        (
            least.replace("cfg.tera", "cgf.tera"),
            "did you mean backends.cfg.tera?",
        ),
        (format!("{least}[tempalte]\n"), "did you mean template?"),
    ] {
        assert_eq!(hints(&text), [want], "{text}");
    }
}

#[test]
fn a_misspelt_field_that_is_required_is_one_problem() {
    let haproxy = format!("{LEAST}[template.haproxy]\n");
    let reload = format!("{LEAST}[template.reload]\n");
    for (text, want) in [
        (
            LEAST.replace("dest", "dset"),
            "a.toml:3: template.dset is not known here",
        ),
        (
            LEAST.replace("src", "scr"),
            "a.toml:2: template.scr is not known here",
        ),
        (
            LEAST.replace("keys", "kesy"),
            "a.toml:4: template.kesy is not known here",
        ),
        (
            LEAST.replace("keys", "servcies"),
            "a.toml:4: template.servcies is not known here",
        ),
        (
            LEAST.replace("template", "tempalte"),
            "a.toml:1: tempalte is not known here",
        ),
        // In confd's style, where other unknown fields are warnings.
        (
            format!(
                "{}prefix = '/a'\n",
                LEAST.replace("dest", "dset").replace(".tera", ".tmpl")
            ),
            "a.toml:3: template.dset is not known here",
        ),
        (
            format!("{haproxy}socekt = '/s'\n"),
            "a.toml:6: template.haproxy.socekt is not known here",
        ),
        (
            format!("{reload}sginal = 'HUP'\npidfile = '/p'\n"),
            "a.toml:6: template.reload.sginal is not known here",
        ),
        (
            format!("{reload}signal = 'HUP'\npidfle = '/p'\n"),
            "a.toml:7: template.reload.pidfle is not known here",
        ),
        (
            format!("{reload}systemd_unti = 'a'\n"),
            "a.toml:6: template.reload.systemd_unti is not known here",
        ),
        // A field that is missing altogether is still reported, and so is one with a value of another kind.
        (
            LEAST.replace("dest = '/d'\n", ""),
            "a.toml:1: template.dest is missing",
        ),
        ("template = 5\n".to_owned(), "a.toml:1: template is a table"),
        (
            "template = []\n".to_owned(),
            "a.toml:1: there is no table [template]",
        ),
    ] {
        let (good, problems) = load(&text);
        assert!(good.is_empty(), "{text}");
        assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
        assert!(problems[0].starts_with(want), "{text}: {problems:?}");
    }
    // A second misspelling of another field does not hide what is missing.
    let text = LEAST.replace("dest = '/d'", "chek_cmd = 'true'");
    assert_eq!(load(&text).1.len(), 2);
}

#[test]
fn a_number_without_a_unit_gets_a_hint() {
    for (lines, what, hint) in [
        (
            "[template.pace]\nmax_wait = 5\n",
            "a.toml:6: template.pace.max_wait: 5 has no unit",
            "write \"5s\" for seconds or \"5ms\" for milliseconds",
        ),
        (
            "check_timeout = 30\n",
            "a.toml:5: template.check_timeout: 30 has no unit",
            "write \"30s\" for seconds or \"30ms\" for milliseconds",
        ),
        (
            "[template.guard]\nwindow = 1\n",
            "a.toml:6: template.guard.window: 1 has no unit",
            "write \"1s\" for seconds or \"1ms\" for milliseconds",
        ),
        (
            "[template.guard]\nmax_drop = 50\n",
            "a.toml:6: template.guard.max_drop: 50 has no unit",
            "write \"50%\"",
        ),
        // There is no hint if the number would be wrong with a unit, too.
        (
            "[template.guard]\nmax_drop = 500\n",
            "a.toml:6: template.guard.max_drop: \"500%\" is not a share from \"0%\" to \"100%\"",
            "",
        ),
        (
            "[template.guard]\nwindow = -5\n",
            "a.toml:6: template.guard.window: \"-5s\" is not a time such as 500ms, 15s, 5m or 1h",
            "",
        ),
        (
            "[template.guard]\nwindow = 0\n",
            "a.toml:6: template.guard.window: it has to be longer than 0",
            "",
        ),
        (
            "[template.guard]\non_empty = 1\n",
            "a.toml:6: template.guard.on_empty: \"1\" is neither \"hold\" nor \"render\"",
            "",
        ),
        (
            "tree = 5\n",
            "a.toml:5: template.tree: \"5\" is not an absolute path",
            "",
        ),
        (
            "check_cmd = 1\n",
            "a.toml:5: template.check_cmd is a string, not an integer",
            "write it in quotes: \"1\"",
        ),
        (
            "mode = 640\n",
            "a.toml:5: template.mode is a string, not an integer",
            "write it in quotes: \"640\"",
        ),
        (
            "check_timeout = true\n",
            "a.toml:5: template.check_timeout is a string, not a boolean",
            "",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("conf.d/a.toml", format!("{LEAST}{lines}")),
            ("templates/a.tera", String::new()),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let problems = read_targets(dir.path()).all_problems();
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert!(problem.to_string().ends_with(what), "{problem}");
        assert_eq!(problem.hint.as_deref().unwrap_or_default(), hint);
    }
}

#[test]
fn a_value_of_another_type_is_not_missing() {
    for (line, wrong, what) in [
        (
            "src = 'a.tera'",
            "src = 5",
            "template.src is a string, not an integer",
        ),
        (
            "dest = '/d'",
            "dest = 5",
            "template.dest: \"5\" is not the absolute path of a file",
        ),
    ] {
        let (_, problems) = load(&LEAST.replace(line, wrong));
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert!(problem.ends_with(what), "{problem}");
    }
}

#[test]
fn a_directory_that_is_missing_or_empty_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        read_targets(dir.path()).all_problems()[0]
            .to_string()
            .contains("cannot be read")
    );
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    assert!(
        read_targets(dir.path()).all_problems()[0]
            .to_string()
            .contains("nothing to render")
    );
}

#[test]
fn two_targets_for_one_file_are_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("conf.d")).unwrap();
    fs::create_dir_all(dir.path().join("templates")).unwrap();
    fs::write(dir.path().join("templates/a.tera"), "").unwrap();
    for name in ["a", "b"] {
        fs::write(dir.path().join(format!("conf.d/{name}.toml")), LEAST).unwrap();
    }
    assert!(
        read_targets(dir.path()).all_problems()[0]
            .to_string()
            .contains("already")
    );
}

#[test]
fn services_are_guarded_by_default_and_keys_are_not() {
    use crate::model::guard::{OnEmpty, Percent};
    let services = LEAST.replace("keys = ['/services']", "services = ['web']");
    assert_eq!(load(LEAST).0[0].guard, Rules::none());
    assert_eq!(load(&services).0[0].guard, Rules::of_services());
    let table = "[template.guard]\non_empty = 'render'\nmin_instances = 2\nmax_drop = '30%'\nwindow = '10s'\n\
                 hold = '5s'\nnetworks = ['10.0.0.0/8', 'fd00::/8']\n";
    for text in [LEAST, &services] {
        let (good, problems) = load(&format!("{text}{table}"));
        assert_eq!(problems, [""; 0]);
        let rules = &good[0].guard;
        assert_eq!(
            (rules.on_empty, rules.min_instances, rules.max_drop),
            (OnEmpty::Render, 2, Percent(30))
        );
        let seconds = (rules.window.as_secs(), rules.hold.as_secs());
        assert_eq!((seconds, rules.networks.len()), ((10, 5), 2));
        let admitted = ["10.1.2.3", "fd00::1", "::ffff:10.1.2.3", "192.168.0.1"]
            .map(|ip| rules.admits(ip.parse().unwrap()));
        assert_eq!(admitted, [true, true, true, false]);
    }
}

#[test]
fn all_mistakes_of_a_guard_are_reported_at_once() {
    let table = "[template.guard]\non_empty = 'keep'\nmin_instances = -1\nmax_drop = '101%'\nwindow = '0s'\n\
                 hold = '1'\nnetworks = ['10.0.0.0']\nmin = 1\n";
    let (good, problems) = load(&format!("{LEAST}{table}"));
    assert_eq!(good.len(), 0);
    let lines: Vec<&str> = problems
        .iter()
        .map(|problem| problem.split(": ").next().unwrap())
        .collect();
    let want: Vec<String> = (6..=12).map(|line| format!("a.toml:{line}")).collect();
    assert_eq!(lines, want, "{problems:#?}");
    for bad in ["50", "%", "-1%", "1.5%", "+5%", "5 %"] {
        let (_, problems) = load(&format!("{LEAST}[template.guard]\nmax_drop = '{bad}'\n"));
        assert!(problems[0].contains("is not a share"), "{problems:?}");
    }
}

#[test]
fn the_table_haproxy_is_read() {
    let (good, problems) = load(&format!(
        "{LEAST}[template.haproxy]\nsocket = '/run/a.sock'\n"
    ));
    assert_eq!(problems, [""; 0]);
    let haproxy = good[0].outputs[0].haproxy.as_ref().unwrap();
    assert_eq!(haproxy.sockets, ["/run/a.sock".parse().unwrap()]);
    assert_eq!(haproxy.timeout, Duration::from_secs(2));
    let (good, problems) = load(&format!(
        "{LEAST}[template.haproxy]\nsocket = ['/run/a.sock', 'ipv4@127.0.0.1:9']\nbase = ['/a', '/b']\ntimeout = '1s'\n"
    ));
    assert_eq!(problems, [""; 0]);
    let haproxy = good[0].outputs[0].haproxy.as_ref().unwrap();
    assert_eq!((haproxy.sockets.len(), haproxy.base.len()), (2, 2));
    for (lines, problem) in [
        ("", "a.toml:5: template.haproxy.socket is missing"),
        ("socket = 'a.sock'\n", "a.toml:6: template.haproxy.socket: "),
        (
            "socket = '/a'\nbase = 'b'\n",
            "a.toml:7: template.haproxy.base: \"b\" is not an absolute path",
        ),
        ("socket = '/a'\nsockets = 1\n", "a.toml:7: "),
    ] {
        let (good, problems) = load(&format!("{LEAST}[template.haproxy]\n{lines}"));
        assert!(problems[0].starts_with(problem), "{problems:?}");
        assert!(good.is_empty());
    }
}

#[test]
fn a_list_with_a_mistake_is_neither_empty_nor_absent() {
    for (line, want) in [
        (
            "keys = [5]",
            "template.keys is a list of strings, not an integer",
        ),
        (
            "keys = ['a/../b']",
            "template.keys: prefix \"a/../b\" is not a path",
        ),
        (
            "keys = 5",
            "template.keys is a list of strings, not an integer",
        ),
        ("services = ['A B']", "template.services: "),
        ("services = []", "the list is empty"),
    ] {
        let (_, problems) = load(&format!(
            "[template]\nsrc = 'a.tera'\ndest = '/d'\n{line}\n"
        ));
        let [problem] = problems.as_slice() else {
            panic!("{line}: {problems:?}")
        };
        assert!(
            problem.starts_with("a.toml:4: ") && problem.contains(want),
            "{line}: {problem}"
        );
    }
}
