//! The commands of the other pages, word for word, on a directory store in a network and among processes of their own; and what
//! the pages show as their output, compared with what is printed.

use std::collections::BTreeMap;
use std::fs;

use super::commands::{program, run};
use super::markdown::{Block, blocks};
use super::{judges, root, shell};
use crate::harness::{temp_dir, tool};

/// How a line of a block goes.
enum How {
    /// It ends with this status.
    Ends(u8),
    /// It stays, until the next line that stays, or to the end of the scene; what follows waits for a condition of the shell.
    Stays(&'static str),
}

impl How {
    fn run(&self, command: &str) -> String {
        match self {
            Self::Ends(wanted) => format!(
                "status=0\n{command} || status=$?\n\
                 test $status = {wanted} || {{ echo status $status; exit 1; }}"
            ),
            Self::Stays(until) => {
                let until = until.replace('\'', "'\\''");
                format!("stop\n{command} &\nstays=$!\nuntil_ok '{until}'")
            }
        }
    }
}

/// A scene: a host whose `/etc/sidekick` is a directory, with a target `haproxy` that lists the instances of `web`.
struct Scene {
    dir: tempfile::TempDir,
    script: Vec<String>,
    /// Paths of the pages, and what stands for them.
    places: Vec<(&'static str, String)>,
}

const TEMPLATE: &str = "\
{% for i in instances(service=\"web\", include_draining=true) %}{{ i.id }}{% if i.state == \"drain\" %} drains{% endif %} {% endfor %}
";

/// Functions of the scenes: a wait, and an announcement.
const BEGINNING: &str = r#"
ip addr add 10.9.9.9/8 dev lo; ip route add default via 10.9.9.8 dev lo
cd $TMPDIR
mkdir -p run
until_ok() {
    for _ in $(seq 300); do if eval "$1" >/dev/null 2>&1; then return; fi; sleep 0.1; done
    echo "waited in vain for: $1"; exit 1
}
stop() { test -z "$stays" || { kill $stays; wait $stays || true; stays=; }; }
announce() {
    sidekick register --name "$1" --id "$2" --ip "$3" --port 80 "${@:4}" >>registers.log 2>&1 &
    until_ok "test -e store/services/$1/$2/port"
}
"#;

impl Scene {
    fn new() -> Self {
        let dir = temp_dir();
        let at = |path: &str| dir.path().join(path).display().to_string();
        for path in ["sidekick/conf.d", "sidekick/templates", "state"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("sidekick/templates/haproxy.tera"), TEMPLATE).unwrap();
        let places = vec![
            ("/etc/sidekick", at("sidekick")),
            ("/run/sidekick", at("run")),
        ];
        let scene = Self {
            dir,
            script: vec![BEGINNING.to_owned()],
            places,
        };
        scene.target("services = ['web']\n");
        scene
    }

    fn file(&self, path: &str) -> String {
        self.dir.path().join(path).display().to_string()
    }

    /// The target `haproxy`, with these lines.
    fn target(&self, lines: &str) {
        let text = format!(
            "[template]\nsrc = 'haproxy.tera'\ndest = '{}'\n{lines}",
            self.file("out.cfg")
        );
        fs::write(self.file("sidekick/conf.d/haproxy.toml"), text).unwrap();
    }

    fn does(mut self, script: &str) -> Self {
        self.script.push(script.to_owned());
        self
    }

    /// Runs a block, whose lines succeed unless something else is said of them, by their beginnings.
    fn plays(mut self, block: &Block, how: &[(&str, How)]) -> Self {
        let text = block.text.replace("\\\n", "");
        let mut used = 0;
        for line in text.lines() {
            let command = line.split("  #").next().unwrap_or_default().trim_end();
            let how = how.iter().find(|(begin, _)| command.starts_with(begin));
            used += usize::from(how.is_some());
            self.script.push(match how {
                None => command.to_owned(),
                Some((_, how)) => how.run(command),
            });
        }
        assert_eq!(used, how.len(), "{}: lines that are spoken of", block.place);
        self
    }

    /// Runs what is typed in a session, and shows what it prints.
    fn types(mut self, session: &Block) -> Self {
        for command in shell::typed(&session.text).lines() {
            let run = format!("echo '{BEGIN}'\n{command} 2>errors\necho '{END}'");
            self.script.push(run);
        }
        self
    }

    /// What it printed; `None` where a scene cannot be played.
    fn end(self) -> Option<String> {
        let mut script = self.script.join("\n");
        for (path, place) in &self.places {
            script = script.replace(path, place);
        }
        let store = format!("dir://{}", self.file("store"));
        let env = [
            ("SIDEKICK_STORE", store.as_str()),
            ("SIDEKICK_CONF_DIR", &self.file("sidekick")),
            ("SIDEKICK_STATE_DIR", &self.file("state")),
            ("SIDEKICK_ENV_FILE", "/nonexistent/sidekick.env"),
        ];
        run(&script, self.dir.path(), &env)
    }
}

const BEGIN: &str = "--- printed:";
const END: &str = "--- end";

/// The output without what differs from run to run: digits, units of time, and the width of columns.
fn shape(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for line in text.lines() {
        for word in line.split_whitespace() {
            let mut form = String::new();
            for c in word.chars() {
                let is_figure = c.is_ascii_digit() || (c == '.' && form.ends_with('#'));
                if !is_figure {
                    form.push(c);
                } else if !form.ends_with('#') {
                    form.push('#');
                }
            }
            let bare = form.trim_end_matches([',', ':', ')']);
            let is_unit = ["ms", "s", "min", "h", "d"].contains(&bare);
            if is_unit && words.last().is_some_and(|last| last == "#") {
                form = form.replacen(bare, "time", 1);
            }
            words.push(form);
        }
        words.push("\n".to_owned());
    }
    words.join(" ")
}

#[test]
fn a_shape_has_words_and_no_figures() {
    let one = shape("a  12 s  10.0.0.1:80\n14/15 s, 0.5 ms");
    assert_eq!(one, "a # time #:# \n #/# s, # time \n");
    assert_eq!(one, shape("a 3 min 10.0.3.9:80\n1/15 s, 12 ms"));
    assert_ne!(shape("a"), shape("b"));
}

/// What a session shows is what is printed.
fn is_printed(session: &Block, text: &str) {
    let parts = text.split(BEGIN).skip(1);
    let real: Vec<&str> = parts.map(|part| part.split(END).next().unwrap()).collect();
    let shown = session.text.split("$ ").skip(1);
    let shown: Vec<&str> = shown
        .map(|part| part.split_once('\n').map_or("", |(_, printed)| printed))
        .collect();
    assert_eq!(real.len(), shown.len(), "{}: {text}", session.place);
    for (real, shown) in real.iter().zip(shown) {
        assert_eq!(
            shape(real.trim_start()),
            shape(shown),
            "{} shows\n{shown}\nand this is printed:{real}",
            session.place
        );
    }
}

/// The block of this language that stands first below a heading.
fn block(page: &str, heading: &str, language: &str) -> Block {
    let found = blocks(page)
        .into_iter()
        .find(|block| block.heading == heading && block.language == language);
    found.unwrap_or_else(|| panic!("{page}, {heading}: no {language}"))
}

/// The first block of a page in this language.
fn first(page: &str, language: &str) -> Block {
    let found = blocks(page)
        .into_iter()
        .find(|block| block.language == language);
    found.unwrap_or_else(|| panic!("{page}: no {language}"))
}

use How::{Ends, Stays};

#[test]
fn files_are_checked_compared_and_kept() {
    let page = "docs/conf.d.md";
    let kept = Stays("grep -q 'a b' out.cfg");
    let copied = block(page, "What is shipped", "sh");
    let scene = Scene::new();
    program(scene.dir.path(), "sudo", "exec \"$@\"");
    let scene = scene
        .does("announce web a 10.0.0.1; announce web b 10.0.0.2")
        .plays(
            &first(page, "sh"),
            &[("sidekick watch --once", Ends(2)), ("sidekick watch", kept)],
        )
        .does(&format!("cd {}", root().display()))
        .plays(&copied, &[])
        .does("test -s /etc/sidekick/conf.d/galera.toml");
    let Some(text) = scene.end() else { return };
    for words in ["1 target, no mistakes", "+a b"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_directory_of_confds_is_compared_and_taken_over() {
    let mut scene = Scene::new();
    let confd = scene.file("confd");
    scene.places.push(("/etc/confd", confd.clone()));
    for dir in ["conf.d", "templates"] {
        fs::create_dir_all(format!("{confd}/{dir}")).unwrap();
    }
    let resource = format!(
        "[template]\nsrc = 'motd.tmpl'\ndest = '{}'\nkeys = ['/app/motd']\n",
        scene.file("motd")
    );
    fs::write(format!("{confd}/conf.d/motd.toml"), resource).unwrap();
    fs::write(
        format!("{confd}/templates/motd.tmpl"),
        "{{getv \"/app/motd\"}}\n",
    )
    .unwrap();
    let migration = block("docs/migration.md", "From confd", "sh");
    let scene = scene
        .does("mkdir -p store/app && echo -n hello >store/app/motd")
        .plays(&migration, &[("sidekick watch", Ends(2))])
        .plays(
            &first("docs/confd.md", "sh"),
            &[
                ("sidekick watch --conf-dir /etc/confd --noop", Ends(2)),
                ("sidekick watch --conf-dir /etc/confd --once", Ends(0)),
                (
                    "sidekick watch --conf-dir /etc/confd",
                    Stays("echo -n bye >store/app/motd; sleep 0.5; grep bye motd"),
                ),
            ],
        );
    let Some(text) = scene.end() else { return };
    assert!(text.contains("+hello"), "{text}");
}

#[test]
fn fixtures_are_exported_rendered_and_changed() {
    let what_if = [
        (
            "sidekick export | sidekick render --from - --diff --without",
            Ends(2),
        ),
        ("sidekick export | sidekick render --from - --diff", Ends(2)),
    ];
    let scene = Scene::new()
        .does("announce web a 10.0.0.1; announce web b 10.0.0.2")
        .plays(&first("docs/fixtures.md", "sh"), &what_if)
        .plays(&first("docs/templates.md", "sh"), &[]);
    let Some(text) = scene.end() else { return };
    for words in ["a b \n", "+b x ", "1 target, no mistakes"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_two_forms_of_a_fixture_are_the_same() {
    let dir = temp_dir();
    let entries = ["yaml", "json"].map(|language| {
        let file = dir.path().join(format!("fixture.{language}"));
        fs::write(&file, first("docs/fixtures.md", language).text).unwrap();
        sidekick::watch::read_fixture(&file).unwrap()
    });
    assert_eq!(entries[0], entries[1]);
}

#[test]
fn a_process_tells_of_itself_at_its_endpoint() {
    tool("curl");
    let ready = "curl -s http://127.0.0.1:9465/ready | grep -x ready";
    let on_socket = "test -S run/watch.sock";
    let looks = first("docs/operations.md", "sh");
    let scene = Scene::new()
        .does("announce web a 10.0.0.1")
        .plays(
            &first("docs/metrics.md", "sh"),
            &[
                ("sidekick watch --admin 127.0.0.1", Stays(ready)),
                ("sidekick watch --admin unix", Stays(on_socket)),
            ],
        )
        .does(&format!(
            "stop\nsidekick watch --admin 127.0.0.1:9465 &\nuntil_ok '{ready}'"
        ))
        .plays(&looks, &[])
        .plays(&first("docs/logs.md", "sh"), &[]);
    let Some(text) = scene.end() else { return };
    for words in ["ready", "\"targets\"", "nothing is held"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// A program that listens, whatever it is told.
const SERVER: &str = "exec python3 -m http.server 8080 --directory $TMPDIR/www";

#[test]
fn programs_are_announced_from_flags_and_from_a_file() {
    let page = "docs/register.md";
    let all = blocks(page);
    let in_sections: Vec<&Block> = all.iter().filter(|block| block.language == "sh").collect();
    let [begin, checked, configured] = in_sections.as_slice() else {
        panic!("{page}: other blocks of sh");
    };
    let services = block(page, "Several services in one process", "toml");
    let scene = Scene::new();
    fs::write(scene.file("sidekick/services.toml"), &services.text).unwrap();
    fs::create_dir_all(scene.file("sidekick/services.d")).unwrap();
    fs::write(scene.file("sidekick/services.d/all.toml"), &services.text).unwrap();
    fs::create_dir_all(scene.file("www")).unwrap();
    fs::write(scene.file("www/healthz"), "ok").unwrap();
    for name in ["web", "server", "everything"] {
        program(scene.dir.path(), name, SERVER);
        fs::copy(scene.file(&format!("bin/{name}")), scene.file(name)).unwrap();
    }
    // The load balancer's checks are answered by nobody here.
    let announced = "ls store/services/web/*/port";
    let gone = "while ls store/services/web/*/port; do sleep 0.1; done >/dev/null 2>&1";
    let all_there = "test -e store/services/logstorage/*/http-port && test -e store/components/galera/*/port && \
                     test -e store/services/database/galera/port";
    let scene = scene
        .plays(
            begin,
            &[
                (
                    "sidekick register --name web --port 8080 --check",
                    Stays("test -n \"$beside\" || { ./server & beside=$!; }; ls store/services/web/*/port"),
                ),
                (
                    "sidekick register --name web --port 8080 --",
                    Stays(announced),
                ),
            ],
        )
        .does(&format!("stop; kill $beside; {gone}"))
        .plays(checked, &[("sidekick register", Stays(announced))])
        .does(&format!("stop; {gone}"))
        .plays(
            configured,
            &[
                (
                    "sidekick register --config /etc/sidekick/services.toml",
                    Stays(all_there),
                ),
                (
                    "sidekick register --config /etc/sidekick/services.d",
                    Stays(all_there),
                ),
            ],
        );
    scene.end();
}

#[test]
fn an_instance_is_drained_and_put_back_by_hand() {
    let scene = Scene::new()
        .does("announce web a 10.0.0.1; announce web b 10.0.0.2\nsidekick watch &\nuntil_ok 'grep a out.cfg'")
        .plays(&block("docs/drain.md", "By hand", "sh"), &[]);
    let Some(text) = scene.end() else { return };
    assert!(
        text.contains("/services/web/a is in state drain; applied after"),
        "{text}"
    );
    assert!(text.contains("/services/web/a is in state up"), "{text}");
}

#[test]
fn who_drains_is_shown_as_on_the_page() {
    let session = first("docs/drain.md", "console");
    let scene = Scene::new();
    let stuck = scene.file("stuck");
    scene.target(&format!(
        "services = ['web']\ncheck_cmd = 'while test -e {stuck}; do sleep 0.1; done # {{{{src}}}}'\n"
    ));
    let scene = scene
        .does("announce web a 10.0.3.17; announce web b 10.0.3.18; announce web c 10.0.3.19 --drain 60s; last=$!")
        // The stop of an instance waits for a watcher whose check takes its time.
        .does("sidekick watch &\nuntil_ok 'grep web store/sidekick/watchers/*/applied'; touch stuck")
        .does("sidekick drain web b --no-wait; kill $last; until_ok 'grep drain store/services/web/c/state'")
        .types(&session);
    let Some(text) = scene.end() else { return };
    is_printed(&session, &text);
}

#[test]
fn what_a_guard_holds_is_shown_as_on_the_page() {
    let session = first("docs/guards.md", "console");
    let scene = Scene::new();
    scene.target("services = ['db']\n");
    fs::write(
        scene.file("sidekick/templates/haproxy.tera"),
        TEMPLATE.replace("web", "db"),
    )
    .unwrap();
    let table = "[[service]]\nname = 'db'\nport = 80\n";
    let tables = [1, 2, 3].map(|n| format!("{table}id = 'db-{n}'\nip = '10.0.0.{n}'\n"));
    fs::write(scene.file("db.toml"), tables.concat()).unwrap();
    let scene = scene
        .does("sidekick register --config db.toml --ttl 2s &\nall=$!\nuntil_ok 'test -e store/services/db/db-3/port'")
        .does("sidekick watch &\nuntil_ok 'test -e out.cfg && sidekick guard list'")
        .does("kill -9 $all; until_ok 'sidekick guard list | grep db-1'")
        .types(&session);
    let Some(text) = scene.end() else { return };
    is_printed(&session, &text);
}

const HAPROXY: &str = "\
global
    stats socket DIR/admin.sock level admin
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend f
    bind 127.0.0.1:8000
    default_backend web
";

const BACKEND: &str = "\
backend web
    balance roundrobin
{%- for i in instances(service=\"web\") %}
    server {{ i.id }} {{ i.addr }}
{%- endfor %}
";

#[test]
fn the_history_is_shown_as_on_the_page() {
    let haproxy = tool("haproxy").display().to_string();
    let session = first("docs/history.md", "console");
    let scene = Scene::new();
    let at = scene.dir.path().display().to_string();
    fs::write(scene.file("haproxy.cfg"), HAPROXY.replace("DIR", &at)).unwrap();
    fs::write(scene.file("sidekick/templates/haproxy.tera"), BACKEND).unwrap();
    scene.target(&format!(
        "services = ['web']\ncheck_cmd = '{haproxy} -c -q -f {at}/haproxy.cfg -f {{{{src}}}}'\n\
         [template.haproxy]\nsocket = '{at}/admin.sock'\nbase = '{at}/haproxy.cfg'\n[template.guard]\nhold = '1s'\n"
    ));
    let table = "[[service]]\nname = 'web'\nport = 80\n";
    let tables = ["c", "d", "e"].map(|id| format!("{table}id = '{id}'\nip = '127.0.0.1'\n"));
    fs::write(scene.file("web.toml"), tables.concat()).unwrap();
    let scene = scene
        .does("sidekick register --config web.toml --ttl 2s &\nall=$!\nuntil_ok 'test -e store/services/web/e/port'")
        .does(&format!(
            "sidekick watch --once; {haproxy} -db -f haproxy.cfg -f out.cfg &\nuntil_ok 'test -S admin.sock'"
        ))
        .does("sidekick watch 2>log &\nuntil_ok 'test -e store/sidekick/watchers/*/applied'")
        .does("announce web b 127.0.0.1; until_ok 'sidekick history | grep web/b'")
        .does("kill -9 $all; until_ok 'sidekick history | grep \"runtime *the guard gave up\"'")
        .types(&session)
        .does("grep 'without a reload' log");
    let Some(text) = scene.end() else { return };
    is_printed(&session, &text);
    let line = first("docs/history.md", "text").text;
    let line = line.replace(
        "/etc/haproxy/sidekick.d/backends.cfg",
        &format!("{at}/out.cfg"),
    );
    let real = text
        .lines()
        .find(|line| line.ends_with("(+web/b)"))
        .unwrap();
    let (_, real) = real.split_once("INFO").unwrap();
    assert_eq!(shape(&format!("INFO{real}\n")), shape(&line));
}

#[test]
fn the_first_line_of_the_log_is_shown_as_on_the_page() {
    let shown = first("docs/logs.md", "text").text;
    let scene = Scene::new();
    let env_file = scene.file("sidekick/sidekick.env");
    fs::write(&env_file, "SIDEKICK_STORE=etcd://10.0.0.5:2379\n").unwrap();
    let target = fs::read_to_string(scene.file("sidekick/conf.d/haproxy.toml")).unwrap();
    let other = target.replace("out.cfg", "other.cfg");
    fs::write(scene.file("sidekick/conf.d/nginx.toml"), other).unwrap();
    let scene = scene.does(&format!(
        "unset SIDEKICK_STORE; SIDEKICK_ENV_FILE={env_file} sidekick watch 2>first &\nuntil_ok 'grep target first'; cat first"
    ));
    let Some(text) = scene.end() else { return };
    let text = text.replace(&env_file, "/etc/sidekick/sidekick.env");
    let real = text
        .lines()
        .find(|line| line.contains("the store is"))
        .unwrap();
    assert_eq!(shape(real), shape(shown.trim_end()));
}

/// The last part of the keys that a page lists, with `<...>` for what is anybody's choice.
fn keys_of(block: &Block, above: &str) -> Vec<String> {
    let keys = block
        .text
        .lines()
        .filter_map(|line| line.strip_prefix(above));
    keys.filter_map(|key| key.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn the_keys_of_instances_and_watchers_are_those_of_the_pages() {
    let scene = Scene::new()
        .does("announce web a 10.0.0.1 --host web-1.example.org --port metrics=9100 --weight 100 --attr vhost=www.example.org")
        .does("sidekick watch &\nuntil_ok 'test -e store/sidekick/watchers/*/applied'")
        .does("sidekick drain web a; echo 'src = 1' >>sidekick/conf.d/haproxy.toml")
        .does("until_ok 'test -e store/sidekick/watchers/*/config'")
        .does("find -L store/services store/sidekick -type f");
    let Some(text) = scene.end() else { return };
    let real = |above: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(above));
        let mut names: Vec<String> = lines
            .filter_map(|(_, rest)| rest.split('/').next_back().map(str::to_owned))
            .collect();
        // What the directory store needs for itself.
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let of_instances = keys_of(&first("docs/keys.md", "text"), "/services/<service>/<id>/");
    let named = |name: &String| match name.as_str() {
        "<name>-port" => "metrics-port".to_owned(),
        "<attribute>" => "vhost".to_owned(),
        other => other.to_owned(),
    };
    let of_instances = of_instances.iter().map(named).collect();
    assert_eq!(
        real("store/services/web/a/"),
        sorted(of_instances),
        "{text}"
    );
    let page = block("docs/drain.md", "What watchers write", "text");
    let mut of_watchers = keys_of(&page, "/sidekick/watchers/<id>/");
    // No program has old workers here.
    of_watchers.retain(|name| name != "old_workers");
    assert_eq!(
        real("store/sidekick/watchers/"),
        sorted(of_watchers),
        "{text}"
    );
    let of_seen = keys_of(&page, "/sidekick/seen/<id>/");
    assert_eq!(real("store/sidekick/seen/"), sorted(of_seen), "{text}");
}

#[test]
fn a_container_with_wrong_labels_is_told_as_on_the_page() {
    let shown = block("docs/docker.md", "Containers as they are", "text");
    let labels = [("sidekick.name", "web"), ("sidekick.prot", "8080")];
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let container = judges::container(labels.clone());
    let problems = judges::are_labels(labels).unwrap_err();
    let line = format!("container {container} is not announced: {problems}\n");
    assert_eq!(line, shown.text);
}

#[test]
fn a_file_is_rendered_before_a_program_starts() {
    let script = block("docs/docker.md", "More entrypoints", "sh");
    let scene = Scene::new();
    program(
        scene.dir.path(),
        "server",
        "cat $TMPDIR/out.cfg; echo served",
    );
    let scene = scene
        .does("announce web a 10.0.0.1")
        .does("cat >entrypoint <<'END'")
        .does(script.text.trim_end())
        .does("END\nchmod +x entrypoint; ./entrypoint");
    let Some(text) = scene.end() else { return };
    assert!(text.contains("a \nserved"), "{text}");
}
