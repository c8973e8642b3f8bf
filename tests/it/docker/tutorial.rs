//! The commands of `docs/tutorial.md`, word for word and in order. Images of this machine's own programs take the place of the
//! official ones, and small servers that of Elasticsearch, Logstash and Kibana.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::images::{Images, base};
use super::{ROOT, compose_program};
use crate::documents::commands::commands;
use crate::documents::markdown::blocks;
use crate::harness::docker::{self, Image, Rootfs, said};
use crate::harness::{free_port, modules, skipped, temp_dir, tool};

/// What Debian's `mariadb-server` has in its scripts for a state transfer, and what the stand-in's entrypoint needs.
const TOOLS: &[&str] = &[
    "bash", "mv", "ls", "grep", "sed", "awk", "tr", "cut", "head", "tail", "sleep", "getent",
    "dirname", "basename", "find", "xargs", "sort", "id", "ps", "timeout", "mktemp", "readlink",
    "date", "wc", "uname", "env", "hostname", "ss", "ip", "expr", "sync", "ln", "rmdir",
];

const APACHE: &str = "ServerRoot /usr/lib/apache2
ServerName localhost
PidFile /tmp/apache2.pid
DefaultRuntimeDir /tmp
Listen 80
LoadModule mpm_prefork_module modules/mod_mpm_prefork.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule dir_module modules/mod_dir.so
LoadModule php_module modules/libphp.so
StartServers 2
ErrorLog /dev/stderr
DocumentRoot /var/www/html
DirectoryIndex index.php
<FilesMatch \\.php$>
    SetHandler application/x-httpd-php
</FilesMatch>
";

/// What the official image does at its first start: a database of its own, and one user.
const MARIADB: &str = r#"
set -e
if [ ! -d /var/lib/mysql/mysql ]; then
    cd /usr/share/mysql
    {
        echo "CREATE DATABASE mysql;"
        echo "USE mysql;"
        cat mysql_system_tables.sql mysql_performance_tables.sql mysql_system_tables_data.sql
        echo "FLUSH PRIVILEGES;"
        echo "CREATE DATABASE $MARIADB_DATABASE;"
        echo "GRANT ALL ON $MARIADB_DATABASE.* TO $MARIADB_USER@'%' IDENTIFIED BY '$MARIADB_PASSWORD';"
    } | mariadbd --bootstrap --wsrep-on=OFF >/dev/null
    cd /
fi
exec "$@""#;

const MY_CNF: &str = "[mariadbd]
datadir = /var/lib/mysql
socket  = /tmp/mysqld.sock
!includedir /etc/mysql/conf.d/
!includedir /etc/mysql/mariadb.conf.d/
";

/// The only file in a directory of a tree whose name begins and ends so.
fn named(tree: &Path, dir: &str, begin: &str, end: &str) -> String {
    let files = fs::read_dir(tree.join(dir)).unwrap_or_else(|error| panic!("{dir}: {error}"));
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names = names.filter(|name| name.starts_with(begin) && name.ends_with(end));
    let name = names
        .next()
        .unwrap_or_else(|| panic!("{dir} has no {begin}{end}"));
    format!("{dir}/{name}")
}

/// Apache with PHP as a module, and PHP's client of the database, which is active when it is installed.
fn php(tree: &Path) -> Image {
    let rootfs = base(&["apache2", "php"]);
    rootfs.write("etc/apache2/apache2.conf", APACHE);
    rootfs.dir("var/www/html");
    for name in ["mpm_prefork", "authz_core", "dir"] {
        let module = format!("{}/mod_{name}.so", modules("apache2"));
        rootfs.copy(&module, &module);
        rootfs.libraries(Path::new(&module));
    }
    let module = named(tree, "usr/lib/apache2/modules", "libphp", ".so");
    rootfs.copy(tree.join(&module), "usr/lib/apache2/modules/libphp.so");
    rootfs.libraries(&tree.join(&module));
    // Of its extensions' interface, such as 20220829.
    let extensions = named(tree, "usr/lib/php", "20", "");
    for name in ["mysqlnd", "pdo_mysql"] {
        rootfs.unpacked(tree, &format!("{extensions}/{name}.so"));
    }
    rootfs.unpacked(Path::new("/"), &format!("{extensions}/pdo.so"));
    let version = Path::new(&module).file_stem().unwrap().to_str().unwrap();
    let version = version.trim_start_matches("libphp");
    let dir = format!("etc/php/{version}/apache2/conf.d");
    rootfs.dir(&dir);
    let install = format!(
        "for name in pdo mysqlnd \"$@\"; do echo \"extension=$name\" >>/{dir}/extensions.ini; done"
    );
    rootfs.script("usr/bin/docker-php-ext-install", &install);
    rootfs.script("usr/bin/docker-php-entrypoint", "exec \"$@\"");
    rootfs.script("usr/bin/apache2-foreground", "exec apache2 -DFOREGROUND");
    import(&rootfs, "php", &[])
}

/// A database server with Galera.
fn mariadb(tree: &Path) -> Image {
    let rootfs = base(TOOLS);
    rootfs.program("mariadbd");
    for program in ["mariadb", "my_print_defaults", "rsync"] {
        rootfs.unpacked(tree, &format!("usr/bin/{program}"));
    }
    // A library of rsync.
    let popt = format!("{}/libpopt.so.0", named(tree, "usr/lib", "", "-linux-gnu"));
    rootfs.copy(tree.join(&popt), &popt);
    for script in ["wsrep_sst_rsync", "wsrep_sst_common"] {
        rootfs.copy(
            tree.join("usr/bin").join(script),
            &format!("usr/bin/{script}"),
        );
    }
    rootfs.unpacked(tree, "usr/lib/galera/libgalera_smm.so");
    let share = "usr/share/mysql";
    for dir in ["english", "charsets"] {
        for entry in fs::read_dir(format!("/{share}/{dir}")).unwrap() {
            let path = entry.unwrap().path();
            rootfs.copy(&path, path.to_str().unwrap());
        }
    }
    for name in ["system_tables", "performance_tables", "system_tables_data"] {
        let file = format!("{share}/mysql_{name}.sql");
        rootfs.copy(format!("/{file}"), &file);
    }
    rootfs.write("etc/mysql/my.cnf", MY_CNF);
    rootfs.dir("etc/mysql/mariadb.conf.d");
    rootfs.open_dir("var/lib/mysql");
    rootfs.script("usr/bin/docker-entrypoint.sh", MARIADB);
    import(&rootfs, "mariadb", &[])
}

/// An image in the place of several: memcached, a shell, and small servers for those that are heavy, at the ports and paths of the
/// official images.
fn small() -> Image {
    let rootfs = base(&["memcached", "sleep", "php"]);
    rootfs.write("srv/index.php", "It is a stand-in.\n");
    for (path, ports) in [
        ("docker-entrypoint.sh", &[9300, 9200][..]),
        ("docker-entrypoint", &[5044]),
        ("kibana-docker", &[5601]),
    ] {
        let serve = |port: &u16| format!("php -S 0.0.0.0:{port} -t /srv &\n");
        let serve: String = ports.iter().map(serve).collect();
        rootfs.script(&format!("usr/local/bin/{path}"), &format!("{serve}wait"));
    }
    rootfs.open_dir("usr/share/elasticsearch/config");
    import(&rootfs, "small", &["USER 1000:0"])
}

fn import(rootfs: &Rootfs, kind: &str, lines: &[&str]) -> Image {
    let image = Image(docker::name(kind));
    rootfs.import_as(&image.0, lines);
    image
}

/// The official images, by the variables of the compose file.
const SMALL: [&str; 5] = [
    "MEMCACHED_IMAGE",
    "ELASTICSEARCH_IMAGE",
    "LOGSTASH_IMAGE",
    "KIBANA_IMAGE",
    "BUSYBOX_IMAGE",
];

/// The project of the tutorial; everything it made goes with the test.
struct Tutorial {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    /// What the tutorial says, and what it is here.
    ports: Vec<(&'static str, String)>,
    /// Images that go with the test.
    _images: (Images, [Image; 4]),
}

impl Tutorial {
    fn new(program: &[&str], tree: &Path) -> Self {
        let (images, dir) = (Images::get(), temp_dir());
        let (php, mariadb, small) = (php(tree), mariadb(tree), small());
        let sidekick = Image(docker::name("sidekick"));
        let mut env = images.args();
        env.push(("ETCD_IMAGE".to_owned(), images.base("etcd")));
        env.push(("SIDEKICK_IMAGE".to_owned(), sidekick.0.clone()));
        env.push(("COMPOSE_PROJECT_NAME".to_owned(), docker::name("tutorial")));
        env.push(("PHP_IMAGE".to_owned(), php.0.clone()));
        env.push(("MARIADB_IMAGE".to_owned(), mariadb.0.clone()));
        env.extend(SMALL.map(|variable| (variable.to_owned(), small.0.clone())));
        let mut ports = Vec::new();
        for (variable, said) in [
            ("HTTP_PORT", "127.0.0.1:8080"),
            ("DASHBOARD_PORT", "127.0.0.1:9466"),
            ("STATS_PORT", "127.0.0.1:1936"),
            ("KIBANA_PORT", "127.0.0.1:5601"),
        ] {
            let port = free_port();
            env.push((variable.to_owned(), port.to_string()));
            ports.push((said, format!("127.0.0.1:{port}")));
        }
        if program == ["docker-compose"] {
            // `docker compose` of the document is another program here.
            let docker = tool("docker");
            let script = format!(
                "#!/bin/sh\ntest \"$1\" = compose || exec {} \"$@\"\nshift\nexec docker-compose \"$@\"\n",
                docker.display()
            );
            let file = dir.path().join("docker");
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            dir,
            env,
            ports,
            _images: (images, [php, mariadb, small, sidekick]),
        }
    }

    fn run(&self, script: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new("timeout")
            .args(["1500", "bash", "-ec", script])
            .current_dir(ROOT)
            .env("PATH", format!("{}:{path}", self.dir.path().display()))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("run the commands")
    }

    /// What all of its containers have.
    fn label(&self) -> String {
        let project = self
            .env
            .iter()
            .find(|(name, _)| name == "COMPOSE_PROJECT_NAME");
        let (_, project) = project.expect("the project has a name");
        format!("label=com.docker.compose.project={project}")
    }

    fn play(&self) -> String {
        let mut script =
            "PS4='+ $(date +%T) '; set -x\n".to_owned() + &commands("docs/tutorial.md");
        for (said, here) in &self.ports {
            script = script.replace(said, here);
        }
        let output = self.run(&script);
        let text = said(&output);
        assert!(output.status.success(), "{}: {text}", output.status);
        text
    }
}

impl Drop for Tutorial {
    fn drop(&mut self) {
        let compose = "docker compose -f docker/compose.tutorial.yaml";
        if std::thread::panicking() {
            let logs = self.run(&format!(
                "{compose} ps; {compose} logs --no-color --tail=60"
            ));
            let _ = std::io::stderr().write_all(said(&logs).as_bytes());
        }
        self.run(&format!("{compose} down -v -t 1 --rmi local"));
    }
}

/// What `contrib/tutorial.sh` unpacks.
fn unpacked() -> Option<PathBuf> {
    let tree = Path::new(ROOT).join("target/debian/tutorial");
    if !tree.is_dir() {
        skipped("contrib/tutorial.sh has not unpacked Galera and PHP's module");
        return None;
    }
    Some(tree)
}

/// An answer without the name of its server and without numbers.
fn shape(answer: &str) -> String {
    let (_, rest) = answer.split_once(", ").unwrap_or_default();
    rest.split(|c: char| c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .collect()
}

#[test]
fn the_tutorial_runs_from_its_first_container_to_its_end() {
    if !docker::engine() {
        return;
    }
    let Some(program) = compose_program() else {
        skipped("Docker Compose is not there");
        return;
    };
    let Some(tree) = unpacked() else { return };
    let tutorial = Tutorial::new(&program, &tree);
    let text = tutorial.play();
    let order = [
        // Both nodes of the cluster, through the load balancer.
        ", database: galera-",
        " of 2, visits: ",
        "webserver     2   0      0",
        "'mysql:host=",
        ", 11211, 100],",
        "wsrep_cluster_address = gcomm://",
        ":9300\"]",
        "elasticsearch.hosts: [\"http://",
        "    server galera-1-3306 ",
        ":5044\"",
        // The third web server.
        "\n3\n",
        " of 2, visits: ",
        "runtime  +webserver/",
        // The lists of the log shipper: one server, then two.
        "\n3\n",
        // The one that was killed has gone.
        " of 2, visits: ",
        "webserver/",
        "<title>sidekick</title>",
        "database/galera ",
        "is in state drain; applied after ",
        " of 2, visits: ",
        "is in state up; applied after ",
    ];
    let mut rest = text.as_str();
    for words in order {
        let Some((_, after)) = rest.split_once(words) else {
            panic!("there is no {words:?} in its place in: {text}");
        };
        rest = after;
    }
    let example = blocks("docs/tutorial.md").into_iter();
    let mut example = example.filter(|block| block.language == "text" && block.heading == "Start");
    let example = example.next().expect("an answer").text;
    let is_alike = |line: &str| shape(line) == shape(example.trim());
    assert!(text.lines().any(is_alike), "{example}: {text}");
    assert!(
        !text.contains("SQLSTATE"),
        "the database has failed: {text}"
    );
    // All that ask while one is drained are answered by another.
    let (_, during) = text.split_once("is in state drain;").expect("it was");
    let (during, _) = during.split_once("is in state up;").expect("it was");
    let answers = during
        .lines()
        .filter_map(|line| line.split_once(", database:"));
    let servers: BTreeSet<&str> = answers.map(|(server, _)| server).collect();
    assert_eq!(servers.len(), 1, "{text}");
    let left = docker::docker(&["ps", "-aq", "--filter", &tutorial.label()]);
    assert_eq!(said(&left), "", "containers are left");
}
