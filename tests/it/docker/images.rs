//! The images of `docker/Dockerfile`, on bases that are made of programs of this machine: no registry is asked.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use super::ROOT;
use crate::harness::docker::{Rootfs, docker, said};

const BINARY: &str = env!("CARGO_BIN_EXE_sidekick");

/// What the usual image of nginx has in this place, as far as it matters to a process without privileges.
const NGINX_CONF: &str = "pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    include /etc/nginx/conf.d/*.conf;
}
";

/// The name of a base image, what is in it, and the lines of a Dockerfile that the official image ends with.
type Base = (&'static str, fn() -> Rootfs, &'static [&'static str]);

const BASES: [Base; 5] = [
    ("rust", compiler, &[]),
    ("static", || base(&[]), &["USER 65532"]),
    // The home of its user is a directory of root.
    (
        "haproxy",
        haproxy,
        &["USER haproxy", "WORKDIR /var/lib/haproxy"],
    ),
    (
        "nginx",
        nginx,
        &["USER 101", r#"CMD ["nginx", "-g", "daemon off;"]"#],
    ),
    ("etcd", || base(&["etcd", "etcdctl"]), &[]),
];

/// The stages of the Dockerfile.
const STAGES: [&str; 4] = ["build", "sidekick", "haproxy", "web"];

/// A base image: a shell, a few tools, programs, and the libraries of the binary under test.
pub(super) fn base(programs: &[&str]) -> Rootfs {
    let rootfs = Rootfs::new();
    let tools = ["sh", "mkdir", "chown", "chmod", "touch", "cp", "rm", "cat"];
    for program in tools.iter().chain(programs) {
        rootfs.program(program);
    }
    rootfs.libraries(Path::new(BINARY));
    let users = "root:x:0:0::/root:/bin/sh\nhaproxy:x:99:99::/var/lib/haproxy:/bin/sh\n\
                 nginx:x:101:101::/:/bin/sh\nnonroot:x:65532:65532::/:/bin/sh\n\
                 www-data:x:33:33::/:/bin/sh\nmysql:x:999:999::/:/bin/sh\nmemcache:x:11211:11211::/:/bin/sh\n\
                 nobody:x:65534:65534::/:/bin/sh\n";
    rootfs.write("etc/passwd", users);
    let groups = "root:x:0:\nhaproxy:x:99:\nnginx:x:101:\nnonroot:x:65532:\nwww-data:x:33:\nmysql:x:999:\n\
                  memcache:x:11211:\nnogroup:x:65534:\n";
    rootfs.write("etc/group", groups);
    rootfs
}

/// In place of the compiler's image: what is built is the binary under test, if all of its sources are there.
fn compiler() -> Rootfs {
    let rootfs = base(&[]);
    rootfs.copy(BINARY, "sidekick");
    let sources: Vec<String> = sources().into_iter().collect();
    rootfs.write("sources", &(sources.join("\n") + "\n"));
    rootfs.script("usr/sbin/apk", "");
    let build = r#"while read -r file; do
    test -f "/src/$file" || { echo "cargo needs $file, which is not in the image" >&2; exit 1; }
done </sources
mkdir -p /src/target/release && cp /sidekick /src/target/release/"#;
    rootfs.script("usr/bin/cargo", build);
    rootfs
}

/// The files of this repository that the compiler has read for the binary and for its build script, those that the build script
/// reads, and those of Cargo.
fn sources() -> BTreeSet<String> {
    let built = Path::new(BINARY).parent().expect("it lies in a directory");
    let mut words = vec!["Cargo.toml".to_owned(), "Cargo.lock".to_owned()];
    for path in entries(&built.join("deps")) {
        let of_binary = starts_with(&path, "sidekick-") || starts_with(&path, "libsidekick-");
        if of_binary && is_note(&path) {
            words.extend(noted(&path));
        }
    }
    let of_package = entries(&built.join("build"));
    for path in of_package.filter(|path| starts_with(path, "etcd-sidekick-")) {
        words.extend(
            entries(&path)
                .filter(|path| is_note(path))
                .flat_map(|path| noted(&path)),
        );
        let said = fs::read_to_string(path.join("output")).unwrap_or_default();
        let read = said
            .lines()
            .filter_map(|line| line.strip_prefix("cargo:rerun-if-changed="));
        words.extend(read.map(str::to_owned));
    }
    // Notes of before name files that are gone by now.
    let is_source = |path: &String| {
        let path = Path::new(path);
        path.is_relative() && !path.starts_with(".git") && Path::new(ROOT).join(path).is_file()
    };
    let all: BTreeSet<String> = words.into_iter().filter(is_source).collect();
    for path in ["src/main.rs", "src/lib.rs", "build/build.rs"] {
        assert!(all.contains(path), "the compiler's notes are elsewhere");
    }
    all
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(dir).expect("what Cargo leaves");
    entries.map(|entry| entry.expect("an entry").path())
}

fn starts_with(path: &Path, begin: &str) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(begin))
}

/// Whether the compiler says in this file what it has read.
fn is_note(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "d")
}

fn noted(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a note of what was read");
    let words = text.split_whitespace();
    words
        .map(|word| word.trim_end_matches(':').to_owned())
        .collect()
}

fn haproxy() -> Rootfs {
    let rootfs = base(&["haproxy", "grep"]);
    for code in [400, 403, 408, 500, 502, 503, 504] {
        let page = format!("haproxy/errors/{code}.http");
        rootfs.copy(format!("/etc/{page}"), &format!("usr/local/etc/{page}"));
    }
    rootfs
}

fn nginx() -> Rootfs {
    let rootfs = base(&["nginx"]);
    rootfs.write("etc/nginx/nginx.conf", NGINX_CONF);
    rootfs.dir("var/log/nginx");
    // In place of the one of its image; it finds fault when a test says so.
    rootfs.script("usr/bin/wget", "[ ! -e /tmp/sick ]");
    rootfs
}

/// The images that the Dockerfile makes, and their bases. They are made once for all tests of a run that need them at a
/// time, also where each test is a process of its own; the last one removes them.
pub(super) struct Images {
    /// What all tests of this run have in common, and no others.
    run: String,
    users: Option<File>,
}

impl Images {
    pub(super) fn get() -> Self {
        let built = fs::metadata(BINARY).and_then(|file| file.modified());
        let built = built.expect("the binary under test");
        let built = built.duration_since(UNIX_EPOCH).expect("a time");
        // cargo or cargo-nextest is the parent of them all.
        let run = format!(
            "{}-{}",
            std::os::unix::process::parent_id(),
            built.as_secs()
        );
        let mut images = Self { run, users: None };
        let gate = Self::gate();
        gate.lock().expect("lock a file");
        let users = images.users();
        if users.try_lock().is_ok() {
            // Nobody uses them; what is there was left behind by one that was killed.
            images.make();
            users.unlock().expect("unlock a file");
        }
        users.lock_shared().expect("lock a file");
        images.users = Some(users);
        images
    }

    /// Who holds its lock, may make and remove images.
    fn gate() -> File {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images.gate");
        File::create(path).expect("make a file")
    }

    fn users_path(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("images-{}.users", self.run))
    }

    /// Whoever uses the images shares its lock. It is opened and removed behind the gate only.
    fn users(&self) -> File {
        File::create(self.users_path()).expect("make a file")
    }

    /// The name of the stand-in for an official image.
    pub(super) fn base(&self, kind: &str) -> String {
        format!("sidekick-test-{}-base-{kind}", self.run)
    }

    /// The name of the image of a stage.
    pub(super) fn stage(&self, stage: &str) -> String {
        format!("sidekick-test-{}-{stage}", self.run)
    }

    /// The arguments of the Dockerfile, which are variables of the compose files too.
    pub(super) fn args(&self) -> Vec<(String, String)> {
        let arg = |kind: &&str| (format!("{}_IMAGE", kind.to_uppercase()), self.base(kind));
        ["rust", "static", "haproxy", "nginx"]
            .iter()
            .map(arg)
            .collect()
    }

    fn make(&self) {
        for (kind, rootfs, lines) in BASES {
            rootfs().import_as(&self.base(kind), lines);
        }
        let args = self.args().into_iter();
        let args: Vec<String> = args
            .flat_map(|(name, value)| ["--build-arg".to_owned(), format!("{name}={value}")])
            .collect();
        // Every stage has a name, so that it can be removed.
        for stage in STAGES {
            let output = Command::new("docker")
                .args(["build", "-f", "docker/Dockerfile", "--target", stage])
                .args(["-t", &self.stage(stage)])
                .args(&args)
                .arg(".")
                .current_dir(ROOT)
                .output()
                .expect("run docker build");
            assert!(output.status.success(), "{stage}: {}", said(&output));
        }
    }

    fn remove(&self) {
        let stages = STAGES.iter().rev().map(|stage| self.stage(stage));
        for name in stages.chain(BASES.iter().map(|(kind, ..)| self.base(kind))) {
            docker(&["rmi", "-f", &name]);
        }
        let _ = fs::remove_file(self.users_path());
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let gate = Self::gate();
        if gate.lock().is_err() {
            return;
        }
        drop(self.users.take());
        if self.users().try_lock().is_ok() {
            self.remove();
        }
    }
}
