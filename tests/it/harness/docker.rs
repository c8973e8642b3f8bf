//! Containers of a Docker Engine, from images that are made of this machine's own files: no registry is asked.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::{skipped, temp_dir, tool};

/// Whether a Docker Engine answers; says that the test is skipped where none does.
pub(crate) fn engine() -> bool {
    let asked = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .output();
    let answers = asked.is_ok_and(|output| output.status.success());
    if !answers {
        skipped("no Docker Engine answers");
    }
    answers
}

/// A name that nobody else has.
pub(crate) fn name(kind: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("sidekick-test-{}-{kind}-{count}", std::process::id())
}

/// Runs `docker`; the answer is how it went.
pub(crate) fn docker(args: &[impl AsRef<OsStr>]) -> Output {
    let mut command = Command::new("docker");
    command.args(args).output().expect("run docker")
}

/// Both outputs of a command, as text.
pub(crate) fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// The file system of an image that is being made.
pub(crate) struct Rootfs(TempDir);

impl Rootfs {
    /// An empty one, with the directories and links that programs of this machine expect.
    pub(crate) fn new() -> Self {
        let dir = temp_dir();
        let rootfs = Self(dir);
        for path in ["etc", "proc", "sys", "dev", "run", "root", "tmp", "var/lib"] {
            rootfs.dir(path);
        }
        rootfs.open_dir("tmp");
        for path in ["bin", "sbin", "lib", "lib64"] {
            rootfs.dir(&format!("usr/{path}"));
            rootfs.link(&format!("usr/{path}"), path);
        }
        rootfs.link("../run", "var/run");
        rootfs
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// A directory, with those above it.
    pub(crate) fn dir(&self, path: &str) {
        fs::create_dir_all(self.path(path)).expect("make a directory of an image");
    }

    /// A directory in which every user of the image may write.
    pub(crate) fn open_dir(&self, path: &str) {
        self.dir(path);
        let everybody = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(self.path(path), everybody).expect("open a directory");
    }

    fn link(&self, to: &str, path: &str) {
        std::os::unix::fs::symlink(to, self.path(path)).expect("make a link of an image");
    }

    /// A file with this text.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().expect("a file lies in a directory")).expect("make it");
        fs::write(file, text).expect("write a file of an image");
    }

    /// A copy of a file.
    pub(crate) fn copy(&self, from: impl AsRef<Path>, to: &str) {
        let (from, file) = (from.as_ref(), self.path(to));
        fs::create_dir_all(file.parent().expect("a file lies in a directory")).expect("make it");
        fs::copy(from, &file).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    }

    /// A program of this machine at its usual place, with the libraries it loads.
    pub(crate) fn program(&self, name: &str) {
        let path = tool(name);
        self.copy(&path, &format!("usr/bin/{name}"));
        self.libraries(&path);
    }

    /// The libraries that a program loads.
    pub(crate) fn libraries(&self, program: &Path) {
        let output = Command::new("ldd").arg(program).output().expect("run ldd");
        let text = said(&output);
        for path in text.split_whitespace().filter(|word| word.starts_with('/')) {
            self.copy(path, path);
        }
    }

    /// A file of another tree, at the same place, with the libraries it loads.
    pub(crate) fn unpacked(&self, tree: &Path, path: &str) {
        self.copy(tree.join(path), path);
        self.libraries(&tree.join(path));
    }

    /// A script.
    pub(crate) fn script(&self, path: &str, text: &str) {
        self.write(path, &format!("#!/bin/sh\n{text}\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(path), mode).expect("make a script executable");
    }

    /// Makes it an image.
    pub(crate) fn import(self, kind: &str) -> Image {
        let name = name(kind);
        self.import_into(&[], &name);
        Image(name)
    }

    /// Makes it an image of the engine that these arguments of `docker` name.
    pub(crate) fn import_into(&self, engine: &[String], name: &str) {
        self.import_by(engine, &["import", "-", name]);
    }

    /// Makes it an image of this name, with these lines of a Dockerfile.
    pub(crate) fn import_as(&self, name: &str, lines: &[&str]) {
        let lines = lines.iter().flat_map(|line| ["--change", line]);
        let args: Vec<&str> = ["import"].into_iter().chain(lines).collect();
        self.import_by(&[], &[&args[..], &["-", name]].concat());
    }

    fn import_by(&self, engine: &[String], args: &[&str]) {
        let script = r#"root=$1; shift; tar -C "$root" -c . | docker "$@""#;
        let output = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(self.0.path())
            .args(engine)
            .args(args)
            .output()
            .expect("run tar and docker import");
        assert!(output.status.success(), "{}", said(&output));
    }
}

/// An image that goes with its test.
pub(crate) struct Image(pub(crate) String);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = docker(&["rmi", "-f", &self.0]);
    }
}

/// A container that goes with its test.
pub(crate) struct Container(pub(crate) String);

impl Container {
    /// Runs a container from these arguments of `docker run`; why not, if it does not start.
    pub(crate) fn run(kind: &str, args: &[String]) -> Result<Self, String> {
        let name = name(kind);
        let own = ["run", "-d", "--name", &name].map(str::to_owned);
        let args: Vec<String> = own.into_iter().chain(args.iter().cloned()).collect();
        // It is removed also if it was made and did not start.
        let container = Self(name);
        let output = docker(&args);
        if output.status.success() {
            Ok(container)
        } else {
            Err(said(&output))
        }
    }

    /// Runs a command in it; the answer is how it went.
    pub(crate) fn exec(&self, args: &[&str]) -> Output {
        let own = ["exec", &self.0];
        docker(&own.iter().chain(args).collect::<Vec<_>>())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", "-v", &self.0]);
    }
}
