//! What can be announced later never keeps the command from its start.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Process, sidekick, skipped, temp_dir, tool, wait_for};

fn store(path: &Path) -> String {
    format!("dir://{}", path.display())
}

#[test]
fn a_long_host_name_and_an_odd_one_get_an_id_that_is_their_own() {
    let dir = temp_dir();
    let long = "x".repeat(61);
    let other = "x".repeat(60) + "y";
    for name in [long.as_str(), &other, "a_b c"] {
        let script = "echo \"$1\" > /proc/sys/kernel/hostname && shift && exec \"$@\"";
        let unshare = |args: &[&str]| {
            let mut command = Command::new(tool("unshare"));
            command
                .args(["-ru", "sh", "-c", script, "sh", name])
                .args(args);
            command
        };
        if !unshare(&["true"]).output().unwrap().status.success() {
            skipped("no host name of its own can be given to a process here");
            return;
        }
        let register = sidekick();
        let mut command = unshare(&[&register.get_program().to_string_lossy()]);
        command.args([
            "register",
            "--name=web",
            "--port=8080",
            "--ip=10.0.0.1",
            "--store",
        ]);
        let script = "until ls $DIR/services/web > $DIR/id 2>&1 && [ -s $DIR/id ]; do sleep 0.01; done; \
                      cat $DIR/id >> $DIR/ids; exit 3";
        command
            .arg(store(dir.path()))
            .args(["--", "sh", "-c", script]);
        command
            .env("DIR", dir.path())
            .env("SIDEKICK_ENV_FILE", "/nonexistent");
        let mut process = Process::start(&mut command, &dir.path().join("log"));
        assert_eq!(process.wait().code(), Some(3), "{}", process.output());
    }
    let ids = fs::read_to_string(dir.path().join("ids")).unwrap();
    let ids: std::collections::BTreeSet<&str> = ids.lines().collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    for id in ids {
        assert!(id.len() <= 63 && id.ends_with("-8080"), "{id}");
    }
}

#[test]
fn a_store_that_cannot_be_opened_yet_is_tried_again_while_the_command_runs() {
    let dir = temp_dir();
    let in_the_way = dir.path().join("volume");
    fs::write(&in_the_way, "not a directory yet").unwrap();
    let up = dir.path().join("up");
    let script = format!("echo up > {}; exec sleep 1000", up.display());
    let mut command = sidekick();
    command.args([
        "register",
        "--name=web",
        "--id=a",
        "--port=80",
        "--ip=10.0.0.1",
        "--store",
    ]);
    command
        .arg(store(&in_the_way.join("store")))
        .args(["--", "sh", "-c", &script]);
    let process = Process::start(&mut command, &dir.path().join("log"));
    wait_for("the command", || up.exists().then_some(()));
    process.wait_said("trying again");
    fs::remove_file(&in_the_way).unwrap();
    wait_for("the announcement", || {
        in_the_way
            .join("store/services/web/a/ip")
            .exists()
            .then_some(())
    });
}
