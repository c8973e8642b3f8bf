//! The renderers that are compared: ours with a template in Tera's and in Go's language, and another program's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::etcd::Etcd;
use crate::harness::{PATIENCE, Process, sidekick};
use crate::keys::Keys;

const TERA: &str = "backend web
{% for i in services.web %}    server {{ i.id }} {{ i.addr }} check weight {{ i.weight }}
{% endfor %}";
const GO: &str = r#"backend web
{{range $id := lsdir "/NAME/services/web"}}{{$dir := printf "/NAME/services/web/%s" $id}}    server {{$id}} {{getv (printf "%s/ip" $dir)}}:{{getv (printf "%s/port" $dir)}} check weight {{getv (printf "%s/weight" $dir)}}
{{end}}"#;

/// What renders.
#[derive(Debug, Clone)]
pub(crate) enum Renderer {
    /// `sidekick watch` with a template in Tera's language.
    Tera,
    /// `sidekick watch` with a template in Go's language.
    Go,
    /// Another program: its command line, for a shell, and a directory of files that it needs.
    Peer {
        /// `{dir}` is the directory of its files, `{endpoint}` etcd's address, `{dest}` the file to write.
        command: String,
        /// Files that are copied into `{dir}`, with the same names filled in; else it gets files in confd's form.
        files: Option<PathBuf>,
    },
}

impl Renderer {
    /// The name, which is also the first part of its keys.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tera => "tera",
            Self::Go => "go",
            Self::Peer { .. } => "peer",
        }
    }
}

/// A renderer, its instances and its files.
pub(crate) struct Variant {
    pub(crate) keys: Keys,
    pub(crate) dest: PathBuf,
    renderer: Renderer,
    dir: PathBuf,
    endpoint: String,
}

impl Variant {
    /// Writes the files of a renderer below `root`.
    pub(crate) fn new(renderer: Renderer, size: usize, etcd: &Etcd, root: &Path) -> Self {
        let name = renderer.name();
        let dir = root.join(name);
        let variant = Self {
            keys: Keys { name, size },
            dest: dir.join("out/haproxy.cfg"),
            renderer,
            dir,
            endpoint: etcd.endpoint(),
        };
        for name in ["conf.d", "templates", "out"] {
            fs::create_dir_all(variant.dir.join(name)).expect("a directory");
        }
        variant.write_files();
        variant
    }

    fn write_files(&self) {
        let write = |name: &str, text: &str| fs::write(self.dir.join(name), text).expect("a file");
        let dest = self.dest.display();
        match &self.renderer {
            Renderer::Tera => {
                write("templates/out.tera", TERA);
                let target =
                    format!("[template]\nsrc = 'out.tera'\ndest = '{dest}'\nservices = ['web']\n");
                write("conf.d/out.toml", &target);
            }
            Renderer::Go | Renderer::Peer { files: None, .. } => {
                write("templates/out.tmpl", &GO.replace("NAME", self.keys.name));
                let keys = format!("{}/web", self.keys.prefix());
                let target =
                    format!("[template]\nsrc = 'out.tmpl'\ndest = '{dest}'\nkeys = ['{keys}']\n");
                write("conf.d/out.toml", &target);
            }
            Renderer::Peer {
                files: Some(files), ..
            } => self.copy(files),
        }
    }

    fn copy(&self, files: &Path) {
        for entry in fs::read_dir(files).expect("the files of the other program") {
            let entry = entry.expect("an entry");
            let text = fs::read_to_string(entry.path()).expect("a text");
            fs::write(self.dir.join(entry.file_name()), self.fill_in(&text)).expect("a file");
        }
    }

    fn fill_in(&self, text: &str) -> String {
        text.replace("{dir}", &self.dir.display().to_string())
            .replace("{endpoint}", &self.endpoint)
            .replace("{dest}", &self.dest.display().to_string())
    }

    /// Starts the renderer as on a machine that has never had it: without its file, and without what it remembers.
    pub(crate) fn start(&self) -> Process {
        let _ = fs::remove_file(&self.dest);
        let _ = fs::remove_dir_all(self.dir.join("state"));
        Process::start(&mut self.command(), &self.dir.join("log"))
    }

    fn command(&self) -> Command {
        if let Renderer::Peer { command, .. } = &self.renderer {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec {}", self.fill_in(command))]);
            return shell;
        }
        let mut command = sidekick();
        command.env("SIDEKICK_STATE_DIR", self.dir.join("state"));
        command.args(["watch", "--store", &format!("etcd://{}", self.endpoint)]);
        command.args(["--prefix", &self.keys.prefix()]);
        command.arg("--conf-dir").arg(&self.dir);
        command
    }

    /// The number of the file, which is another one after each swap; 0 without a file.
    pub(crate) fn inode(&self) -> u64 {
        fs::metadata(&self.dest).map_or(0, |meta| meta.ino())
    }

    /// Waits until the file has another number than this one, and says when that was.
    pub(crate) fn wait_swapped(&self, before: u64) -> Instant {
        let start = Instant::now();
        while self.inode() == before {
            assert!(
                start.elapsed() < PATIENCE,
                "{} is not swapped; the log: {}",
                self.dest.display(),
                fs::read_to_string(self.dir.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_micros(20));
        }
        Instant::now()
    }

    /// Waits until the file has this text, and says when that was.
    pub(crate) fn wait_text(&self, text: &str) -> Instant {
        let start = Instant::now();
        while !fs::read_to_string(&self.dest).is_ok_and(|file| file.contains(text)) {
            assert!(start.elapsed() < PATIENCE, "{text} does not appear");
            std::thread::sleep(Duration::from_millis(1));
        }
        Instant::now()
    }
}
