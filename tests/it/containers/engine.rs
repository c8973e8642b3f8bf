//! A Docker Engine whose containers are announced: the machine's own, or one of the test's that can be killed.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::SERVER;
use crate::harness::docker::{self, Image, Rootfs, said};
use crate::harness::{Process, skipped, temp_dir, wait_for};

pub(super) struct Engine {
    /// What names it to `docker`.
    args: Vec<String>,
    socket: PathBuf,
    image: String,
    /// What goes with the test.
    _image: Option<Image>,
    own: Option<Own>,
}

/// A daemon of the test's own, in a network namespace of its own. Its containerd is another process, so that containers
/// outlive the daemon, as they do on a host.
struct Own {
    process: Process,
    containerd: Process,
    dir: tempfile::TempDir,
}

/// A shell and what `SERVER` needs.
fn rootfs() -> Rootfs {
    let rootfs = Rootfs::new();
    for program in ["sh", "sleep", "rm"] {
        rootfs.program(program);
    }
    rootfs
}

impl Engine {
    /// The engine of this machine; says that the test is skipped where there is none.
    pub(super) fn shared() -> Option<Self> {
        if !docker::engine() {
            return None;
        }
        let image = rootfs().import("containers");
        Some(Self {
            args: Vec::new(),
            socket: "/var/run/docker.sock".into(),
            image: image.0.clone(),
            _image: Some(image),
            own: None,
        })
    }

    /// One that can be killed; its containers have no network but the host's. Says that the test is skipped where it does not
    /// start.
    pub(super) fn own() -> Option<Self> {
        if !docker::engine() {
            return None;
        }
        let dir = temp_dir();
        let socket = dir.path().join("docker.sock");
        let containerd = Self::launch_containerd(&dir);
        let process = Self::launch(&dir);
        let mut engine = Self {
            args: vec!["-H".to_owned(), format!("unix://{}", socket.display())],
            socket,
            image: "server".to_owned(),
            _image: None,
            own: Some(Own {
                process,
                containerd,
                dir,
            }),
        };
        if let Err(why) = engine.wait_until_up() {
            skipped(&format!("a Docker Engine of its own does not start: {why}"));
            return None;
        }
        rootfs().import_into(&engine.args, &engine.image);
        Some(engine)
    }

    fn launch_containerd(dir: &tempfile::TempDir) -> Process {
        let path = |name: &str| dir.path().join(name);
        let mut command = Command::new("containerd");
        command.arg("--root").arg(path("containerd/root"));
        command.arg("--state").arg(path("containerd/state"));
        command.arg("--address").arg(path("containerd.sock"));
        Process::start(&mut command, &path("containerd.log"))
    }

    fn launch(dir: &tempfile::TempDir) -> Process {
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("daemon.json"), "{}").expect("write a configuration");
        // A second daemon would remove the bridge of the first one.
        let mut command = Command::new("unshare");
        command.args(["--net", "dockerd"]);
        command.arg("--config-file").arg(path("daemon.json"));
        command.arg("--data-root").arg(path("data"));
        command.arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("pid"));
        let socket = format!("unix://{}", path("docker.sock").display());
        command.args(["-H", &socket, "--bridge=none", "--storage-driver=vfs"]);
        command.args(["--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
        command.arg("--containerd").arg(path("containerd.sock"));
        Process::start(&mut command, &path("log"))
    }

    /// Waits until the test's own engine answers; what it says if it ends.
    fn wait_until_up(&mut self) -> Result<(), String> {
        wait_for("the engine", || {
            let asked = self.docker(&["version"]);
            let own = self.own.as_mut()?;
            if asked.status.success() {
                return Some(Ok(()));
            }
            own.process.ended()?;
            let said = own.process.output();
            Some(Err(said.lines().last().unwrap_or_default().to_owned()))
        })
    }

    pub(super) fn socket(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(super) fn process(&self) -> &Process {
        &self.own.as_ref().expect("it is the test's own").process
    }

    pub(super) fn kill(&mut self) {
        let own = self.own.as_mut().expect("it is the test's own");
        own.process.signal(Signal::SIGKILL);
        own.process.wait();
        // It does not clean up behind itself then, and looks whether the pid of the file is that of somebody.
        let _ = std::fs::remove_file(own.dir.path().join("pid"));
    }

    pub(super) fn start(&mut self) {
        let own = self.own.as_mut().expect("it is the test's own");
        own.process = Self::launch(&own.dir);
        self.wait_until_up().expect("it has started before");
    }

    fn docker(&self, args: &[&str]) -> Output {
        let own = self.args.iter().map(String::as_str);
        docker::docker(&own.chain(args.iter().copied()).collect::<Vec<_>>())
    }

    #[track_caller]
    pub(super) fn must(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A container with these labels, which stand without what they all begin with.
    #[track_caller]
    pub(super) fn run(&self, labels: &[&str], args: &[&str]) -> Container {
        let name = docker::name("server");
        let labels = labels
            .iter()
            .map(|label| format!("--label=sidekick.{label}"));
        let labels: Vec<String> = labels.collect();
        let own = ["run", "-d", "--name", &name];
        let command = [&*self.image, "sh", "-c", SERVER];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let mut container = Container {
            args: self.args.clone(),
            // Until it has one; a container that does not start is there, too.
            id: name.clone(),
            pid: None,
        };
        container.id = self.must(&[&own, &labels[..], args, &command].concat());
        container.pid = container.inspect("{{.State.Pid}}").parse().ok();
        container
    }

    /// A network that goes with the test.
    pub(super) fn network(&self) -> Network {
        let name = docker::name("network");
        self.must(&["network", "create", &name]);
        Network { name }
    }
}

impl Drop for Own {
    /// In order, so that nothing of theirs is left.
    fn drop(&mut self) {
        for process in [&mut self.process, &mut self.containerd] {
            if process.ended().is_some() {
                continue;
            }
            process.signal(Signal::SIGCONT);
            process.signal(Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(20);
            while process.ended().is_none() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // A daemon that was killed leaves these behind, and with them the directory could not be removed.
        for mount in ["data", "exec/netns/default"] {
            let path = self.dir.path().join(mount);
            while std::fs::read_to_string("/proc/self/mounts")
                .is_ok_and(|mounts| mounts.contains(&format!(" {} ", path.display())))
            {
                let done = Command::new("umount").arg("-l").arg(&path).status();
                if !done.is_ok_and(|status| status.success()) {
                    break;
                }
            }
        }
    }
}

/// A container that goes with its test.
pub(super) struct Container {
    /// What names its engine to `docker`.
    args: Vec<String>,
    pub(super) id: String,
    /// Its first process.
    pid: Option<i32>,
}

impl Container {
    /// The id of its instance.
    pub(super) fn instance(&self) -> String {
        format!("{}-8080", &self.id[..12])
    }

    fn docker(&self, args: &[&str]) -> Output {
        let own = self.args.iter().map(String::as_str);
        let (own, args) = (own, args.iter().copied());
        docker::docker(&own.chain(args).chain([&*self.id]).collect::<Vec<_>>())
    }

    /// Runs a command of `docker` on it.
    #[track_caller]
    pub(super) fn must(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    pub(super) fn inspect(&self, format: &str) -> String {
        self.must(&["inspect", "-f", format])
    }

    /// Runs a command in it.
    #[track_caller]
    pub(super) fn exec(&self, command: &[&str]) {
        let own = self.args.iter().map(String::as_str);
        let args = ["exec", &self.id];
        let all = own.chain(args).chain(command.iter().copied());
        let output = docker::docker(&all.collect::<Vec<_>>());
        assert!(output.status.success(), "{command:?}: {}", said(&output));
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let removed = self.docker(&["rm", "-f", "-v"]);
        let command = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        if let Some(pid) = self.pid.filter(|_| !removed.status.success())
            && command(pid).is_ok_and(|command| command.contains(SERVER))
        {
            // Its engine has not come back.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// A network that goes with its test.
pub(super) struct Network {
    pub(super) name: String,
}

impl Drop for Network {
    fn drop(&mut self) {
        docker::docker(&["network", "rm", &self.name]);
    }
}
