//! What the tests share: conditions to wait for, free ports, directories, and processes that end with their test.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};
use nix::unistd::Pid;

pub(crate) mod browser;
pub(crate) mod command;
pub(crate) mod docker;
pub(crate) mod etcd;
pub(crate) mod haproxy;
pub(crate) mod notify;
pub(crate) mod pki;
mod signals;

/// How long a condition may take on a loaded machine before its test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(10);

/// Waits until `condition` yields something; fails the test, naming `what`, when patience ends.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(POLL);
    }
}

/// The same for a condition that awaits.
pub(crate) async fn wait_for_async<T>(
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A port of 127.0.0.1 that was free a moment ago, below the range from which the kernel takes ports by itself. It is this
/// process's until that ends: a test that stops its etcd for a while must not find another test's etcd in its place.
pub(crate) fn free_port() -> u16 {
    let ports = std::env::temp_dir().join("sidekick-test-ports");
    std::fs::create_dir_all(&ports).expect("make the directory of ports");
    loop {
        let port = fastrand::u16(20_000..32_000);
        if reserves(&ports.join(port.to_string())) && is_free(port) {
            return port;
        }
    }
}

/// Whether nobody listens on this port. It is bound and not listened on: a child that another thread is just starting has a
/// copy of the socket for a moment, and that of a listener would keep the port.
fn is_free(port: u16) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket =
        socket::socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket");
    socket::setsockopt(&socket, socket::sockopt::ReuseAddr, &true).expect("share the port");
    let address = SockaddrIn::new(127, 0, 0, 1, port);
    socket::bind(socket.as_raw_fd(), &address).is_ok()
}

/// Whether this file, which stands for a port, could be made. One whose process is gone is removed, for others to find.
fn reserves(file: &Path) -> bool {
    let made = std::fs::File::create_new(file);
    if let Ok(mut made) = made {
        let pid = std::process::id().to_string();
        return std::io::Write::write_all(&mut made, pid.as_bytes()).is_ok();
    }
    let pid = std::fs::read_to_string(file).unwrap_or_default();
    let is_owned = pid.is_empty() || Path::new("/proc").join(pid).exists();
    if !is_owned {
        let _ = std::fs::remove_file(file);
    }
    false
}

/// A directory that goes with its test; in memory where there is room (an etcd server takes 130 MB at its start), since
/// nothing here is about disks.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    const ROOM: u64 = 4 << 30;
    let memory = Path::new("/dev/shm");
    let free = nix::sys::statvfs::statvfs(memory)
        .map_or(0, |stat| stat.blocks_available() * stat.fragment_size());
    let dir = if free > ROOM {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    dir.expect("make a temporary directory")
}

/// The program `name` on the PATH. A machine without it fails the test: `make test` installs what is needed.
pub(crate) fn tool(name: &str) -> PathBuf {
    signals::reset_for_children();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed; `make test` installs it"))
}

/// Where the modules of `nginx` or `apache2` are: beside the program, which need not be the system's.
pub(crate) fn modules(program: &str) -> String {
    modules_of(&tool(program))
}

/// The same of this one of its versions.
pub(crate) fn modules_of(program: &Path) -> String {
    let name = program.file_name().expect("a program");
    let above = program.ancestors().nth(2).expect("it lies in a directory");
    let modules = above.join("lib").join(name).join("modules");
    modules.display().to_string()
}

/// A program of another Debian release that `contrib/debian.sh` has unpacked; says that the test is skipped where it is
/// not there.
pub(crate) fn unpacked(release: &str, path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian");
    let program = root.join(release).join(path);
    // It also has to find its libraries.
    let runs = |option: &str| {
        let output = Command::new(&program).arg(option).output();
        output.is_ok_and(|output| output.status.success())
    };
    if runs("-v") || runs("--version") {
        return Some(program);
    }
    skipped(&format!(
        "contrib/debian.sh has not unpacked {path} of Debian {release}"
    ));
    None
}

/// The program `name` in every version that is here: the system's first, then those of the releases of Debian that
/// `contrib/debian.sh` has unpacked. Says so where the oldest or the newer one of `make test` is missing.
pub(crate) fn versions(name: &str) -> Vec<PathBuf> {
    let path = format!("usr/sbin/{name}");
    let mut all = vec![tool(name)];
    all.extend(
        RELEASES
            .iter()
            .filter_map(|release| unpacked(release, &path)),
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian");
    let found = std::fs::read_dir(root).into_iter().flatten().flatten();
    let others = found.filter(|dir| !RELEASES.iter().any(|release| dir.file_name() == *release));
    let others = others.map(|dir| dir.path().join(&path));
    let runs = |program: &PathBuf| Command::new(program).arg("-v").output().is_ok();
    all.extend(others.filter(runs));
    all
}

/// The releases of Debian whose proxies `make test` unpacks beside the system's: the oldest that the shipped files are for, and
/// one that is newer than Debian 12.
const RELEASES: [&str; 2] = ["bullseye", "trixie"];

/// A program that the PATH has, or that `contrib/prometheus.sh` has unpacked.
pub(crate) fn unpacked_or_installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([prometheus_dir()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Where `contrib/prometheus.sh` unpacks.
pub(crate) fn prometheus_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian/prometheus/usr/bin")
}

/// Says that a test cannot be made here, and why; also where what passing tests print is not shown.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A process that is killed, by its pid, when its test ends.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; what it prints goes to the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        signals::reset_for_children();
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("open the log of a process");
        let err = out.try_clone().expect("share the log of a process");
        let child = command
            .stdin(std::process::Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("send a signal");
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask after a process")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let log = self.log.clone();
        wait_for(
            &format!("the end of the process that logs to {}", log.display()),
            || self.ended(),
        )
    }

    /// Waits until it has printed this.
    #[track_caller]
    pub(crate) fn wait_said(&self, want: &str) {
        let start = Instant::now();
        loop {
            let said = self.output();
            if said.contains(want) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{want:?} is not in: {said}");
            std::thread::sleep(POLL);
        }
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

/// The children of a process, their children, and so on.
pub(crate) fn descendants(pid: i32) -> Vec<i32> {
    let parent_of = |pid: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let pairs: Vec<(i32, i32)> = pids
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(
            pairs
                .iter()
                .filter(|(_, parent)| *parent == member)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    family.split_off(1)
}

impl Drop for Process {
    fn drop(&mut self) {
        let running = matches!(self.child.try_wait(), Ok(None));
        let family = if running {
            descendants(self.pid().as_raw())
        } else {
            Vec::new()
        };
        // KILL works on a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in family {
            // It may have gone with its parent.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The program under test, with nothing in its environment that could tell it of another store.
pub(crate) fn sidekick() -> Command {
    signals::reset_for_children();
    // `make bench` measures the binary that is shipped.
    let given = std::env::var_os("SIDEKICK_BINARY");
    let mut command = Command::new(given.unwrap_or_else(|| env!("CARGO_BIN_EXE_sidekick").into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["SIDEKICK_", "ETCDCTL_", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET"]
            .iter()
            .any(|own| text.starts_with(own))
        {
            command.env_remove(&name);
        }
    }
    // What is remembered of the files of one test does not disturb those of another.
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("state");
    command.env("SIDEKICK_STATE_DIR", state);
    // This machine's own file names another store.
    command.env("SIDEKICK_ENV_FILE", "/nonexistent/sidekick.env");
    command
}
