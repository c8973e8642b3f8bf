//! As the entrypoint of a container, where a Docker Engine answers. The image is made of files of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Place, skipped};
use crate::harness::{tool, wait_for};

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn engine_answers() -> bool {
    let ask = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .output();
    ask.is_ok_and(|answer| answer.status.success())
}

/// The shared libraries of a program, as the loader finds them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

/// An image and a container, removed with their test.
struct Container {
    name: String,
}

impl Container {
    /// Makes an image of `sidekick`, a shell and a few tools, with `sidekick` as its entrypoint.
    fn image(place: &Place) -> Self {
        let root = place.file("root");
        let sidekick = Path::new(env!("CARGO_BIN_EXE_sidekick"));
        let mut files = BTreeSet::new();
        for name in ["sh", "sleep", "cat", "grep"] {
            let path = tool(name);
            files.extend(libraries(&path));
            copy(&path, &root.join("bin").join(name));
        }
        files.extend(libraries(sidekick));
        copy(sidekick, &root.join("bin/sidekick"));
        for file in &files {
            copy(file, &root.join(file.strip_prefix("/").unwrap()));
        }
        let tar = place.file("image.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let name = format!("sidekick-test-{}", std::process::id());
        let entrypoint = "ENTRYPOINT [\"/bin/sidekick\"]";
        let path = "ENV PATH=/bin";
        let tar = tar.to_str().unwrap();
        docker(&[
            "import", "--change", entrypoint, "--change", path, tar, &name,
        ]);
        Self { name }
    }

    /// Starts `sidekick register` in it, on the store of `place`, with `script` for its command.
    fn start(&self, place: &Place, options: &[&str], script: &str) {
        let store = place.file("store");
        fs::create_dir_all(&store).unwrap();
        let volume = format!("{}:/store", store.display());
        let register = "register --store dir:///store --name web --id a --port 80 --ip 10.0.0.1 --";
        let mut args = vec!["run", "--detach", "--name", &self.name, "--network", "none"];
        args.extend(["--volume", &volume]);
        args.extend(options);
        args.push(&self.name);
        args.extend(register.split(' '));
        args.extend(["sh", "-c", script]);
        docker(&args);
    }

    /// What it printed.
    fn logs(&self) -> String {
        let output = Command::new("docker").args(["logs", &self.name]).output();
        let output = output.unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn status(&self) -> String {
        docker(&["inspect", "--format", "{{.State.ExitCode}}", &self.name])
    }

    fn remove(&self) {
        let _ = Command::new("docker")
            .args(["rm", "--force", &self.name])
            .output();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.remove();
        let _ = Command::new("docker")
            .args(["rmi", "--force", &self.name])
            .output();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

#[test]
fn a_container_is_stopped_in_order() {
    if !engine_answers() {
        skipped("no Docker Engine answers");
        return;
    }
    let place = Place::new();
    let container = Container::image(&place);
    let script = "trap 'cat /store/services/web/a/ip; echo asked; exit 7' TERM; (sleep 0.01 &); echo up; \
                  while :; do sleep 0.05; done";
    for options in [&[][..], &["--tty", "--interactive"]] {
        container.start(&place, options, script);
        wait_for("the announcement", || place.is_announced().then_some(()));
        wait_for("the command", || {
            container.logs().contains("up").then_some(())
        });
        let first = docker(&["exec", &container.name, "cat", "/proc/1/comm"]);
        assert_eq!(first, "sidekick");
        docker(&["stop", "--time", "30", &container.name]);
        assert_eq!(container.status(), "7", "{}", container.logs());
        assert!(!place.is_announced());
        let logs = container.logs();
        assert!(logs.contains("asked"), "{logs}");
        assert!(
            !logs.contains("10.0.0.1"),
            "asked before it was withdrawn: {logs}"
        );
        container.remove();
    }
    container.start(&place, &[], "exit 42");
    assert_eq!(docker(&["wait", &container.name]), "42");
}
