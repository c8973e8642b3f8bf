//! An address that changes while its instance runs, in a network namespace whose addresses are the test's.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use sidekick::model::prefix::Prefix;
use sidekick::model::store_url::Location;
use sidekick::model::update::{Change, Update};
use sidekick::system::dns::srv_records;

use crate::harness::{Process, sidekick, skipped, temp_dir, tool, wait_for};

/// A process in a network namespace of its own, and a store that both sides see.
struct Net {
    dir: tempfile::TempDir,
    process: Process,
}

impl Net {
    /// `None`, and a word about it, where namespaces are not permitted.
    fn start(spec: &str, first: &str, args: &[&str]) -> Option<Self> {
        let can = Command::new(tool("unshare"))
            .args(["-rn", "ip", "link", "set", "lo", "up"])
            .output();
        if !can.as_ref().is_ok_and(|output| output.status.success()) {
            skipped("a network namespace of its own is not permitted here");
            return None;
        }
        let dir = temp_dir();
        let script = format!("ip link set lo up && ip addr add {first} dev lo && exec \"$@\"");
        let mut command = Command::new(tool("unshare"));
        command.args(["-rn", "sh", "-c", &script, "sh"]);
        command.arg(sidekick().get_program());
        command
            .env_remove("SIDEKICK_STORE")
            .env_remove("NOTIFY_SOCKET");
        command.args(["register", "--name", "web", "--id", "a", "--port", "80"]);
        command.args(["--ip", spec, "--store"]);
        command.arg(format!("dir://{}", dir.path().join("store").display()));
        command.args(args);
        let process = Process::start(&mut command, &dir.path().join("log"));
        Some(Self { dir, process })
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn until(&self, ip: &str) {
        let file = self.store().join("services/web/a/ip");
        wait_for(&format!("the address {ip}"), || {
            (std::fs::read_to_string(&file).ok()? == ip).then_some(())
        });
    }

    /// Runs `ip` where the process is.
    fn ip(&self, args: &str) {
        let pid = self.process.pid().to_string();
        let status = Command::new(tool("nsenter"))
            .args(["-t", &pid, "-U", "-n", "--preserve-credentials", "ip"])
            .args(args.split(' '))
            .status()
            .unwrap();
        assert!(status.success(), "ip {args}");
    }

    /// The addresses that a follower of the store has seen so far, and `absent` for the lack of one.
    fn follow(&self) -> Arc<Mutex<BTreeSet<String>>> {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let (told, store) = (Arc::clone(&seen), self.store());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let store =
                    sidekick::store::open(&Location::Directory(store), srv_records).unwrap();
                let prefix = Prefix::parse("/services").unwrap();
                let snapshot = store.snapshot(&prefix).await.unwrap();
                let mut watch = store.watch(&prefix, snapshot.revision).await.unwrap();
                note(&told, Update::Reset(snapshot));
                while let Ok(update) = watch.next().await {
                    note(&told, update);
                }
            });
        });
        wait_for("the follower", || {
            (!seen.lock().unwrap().is_empty()).then_some(())
        });
        seen
    }
}

const KEY: &str = "/services/web/a/ip";

fn note(seen: &Mutex<BTreeSet<String>>, update: Update) {
    let mut seen = seen.lock().unwrap();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    match update {
        Update::Reset(snapshot) => {
            let ip = snapshot.entries.get(KEY).map(|value| text(value));
            seen.insert(ip.unwrap_or_else(|| "absent".to_owned()));
        }
        Update::Changed { changes, .. } => {
            for change in changes {
                match change {
                    Change::Put(key, value) if &*key == KEY => drop(seen.insert(text(&value))),
                    Change::Delete(key) if &*key == KEY => drop(seen.insert("absent".to_owned())),
                    Change::Put(..) | Change::Delete(_) => {}
                }
            }
        }
    }
}

#[test]
fn an_address_that_changes_is_announced_without_an_absence() {
    changes("cidr:10.0.0.0/8", ["10.0.0.1/32", "10.0.0.2/32"]);
}

#[test]
fn a_v6_address_that_changes_is_announced_without_an_absence() {
    changes("cidr:2001:db8::/32", ["2001:db8::1/128", "2001:db8::2/128"]);
}

fn changes(spec: &str, nets: [&str; 2]) {
    let [first, second] = nets.map(|net| net.split('/').next().unwrap_or(net));
    // Whatever its checks say, it stays; a look at the addresses may come early or late.
    let args = ["--check", "exec:true", "--check-interval", "50ms"];
    let Some(net) = Net::start(spec, nets[0], &args) else {
        return;
    };
    net.until(first);
    let seen = net.follow();
    // A further address is no reason to change, one that goes is.
    net.ip(&format!("addr add {} dev lo", nets[1]));
    net.ip(&format!("addr del {} dev lo", nets[0]));
    net.until(second);
    let log = || net.process.output();
    let told = format!("the address is {second} now");
    assert!(log().contains(&told), "{}", log());
    net.ip(&format!("addr del {} dev lo", nets[1]));
    wait_for("word of the loss", || {
        log().contains("it stays announced").then_some(())
    });
    net.ip(&format!("addr add {} dev lo", nets[0]));
    net.until(first);
    assert_eq!(log().matches("it stays announced").count(), 1, "told once");
    let want = [first, second].map(str::to_owned);
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from(want));
}

#[test]
fn a_command_is_started_without_an_address_and_announced_when_there_is_one() {
    let dir = temp_dir();
    let up = dir.path().join("up");
    let script = format!("echo up > {}; exec sleep 1000", up.display());
    let command = ["--", "sh", "-c", &script];
    let Some(net) = Net::start("cidr:10.9.0.0/16", "127.0.0.5/8", &command) else {
        return;
    };
    wait_for("the command", || up.exists().then_some(()));
    net.process
        .wait_said("there is no address to announce for web");
    assert!(!net.store().join("services/web/a/ip").exists());
    net.ip("addr add 10.9.0.1/32 dev lo");
    net.until("10.9.0.1");
    let said = net.process.output();
    assert_eq!(
        said.matches("there is no address to announce").count(),
        1,
        "{said}"
    );
}
