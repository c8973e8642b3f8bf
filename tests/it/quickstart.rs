//! The quick start of the README, word for word, on a Debian whose packages run already.

use std::fs;
use std::path::Path;

use crate::harness::docker::{docker, said};
use crate::harness::wait_for;
use crate::shipped::root;
use crate::systemd::{Booted, shipped};

/// The blocks of commands in the section of this name.
fn blocks(section: &str) -> Vec<String> {
    let readme = shipped("README.md");
    let (_, rest) = readme.split_once(section).expect("the section is there");
    let text = rest.split("\n## ").next().unwrap_or_default();
    let parts = text.split("```sh\n").skip(1);
    let block = |part: &str| part.split("```").next().map(str::to_owned);
    parts.filter_map(block).collect()
}

/// A Debian as its packages leave it: HAProxy and etcd run with the files that came along, and nobody has heard of us.
fn stock(booted: &Booted) {
    booted
        .shell("rm -r /etc/sidekick /etc/haproxy/sidekick.d /etc/systemd/system/haproxy.service.d");
    booted.write(
        "/etc/haproxy/haproxy.cfg",
        &fs::read_to_string("/etc/haproxy/haproxy.cfg").unwrap(),
    );
    booted.shell("echo etcd:x:112:112::/var/lib/etcd:/bin/false >>/etc/passwd; echo etcd:x:112: >>/etc/group");
    booted.shell("mkdir -p /var/lib/etcd/default && chown -R etcd:etcd /var/lib/etcd && chmod 700 /var/lib/etcd/default");
    // What is installed here already, and who we are already.
    for (program, text) in [("sudo", "exec \"$@\""), ("apt-get", "exit 0")] {
        booted.write(
            &format!("/usr/local/sbin/{program}"),
            &format!("#!/bin/sh\n{text}"),
        );
    }
    booted.shell("chmod 755 /usr/local/sbin/*; mkdir -p /root/checkout");
    for dir in ["conf.d", "templates", "contrib"] {
        let from = root().join(dir).display().to_string();
        let to = format!("{}:/root/checkout/", booted.container.0);
        let copied = docker(&["cp", &from, &to]);
        assert!(copied.status.success(), "{}", said(&copied));
    }
    booted.run(&["systemctl", "daemon-reload"]);
    booted.run(&["systemctl", "start", "haproxy", "etcd"]);
}

#[test]
fn the_quick_start_ends_with_an_answer_on_a_debian_whose_packages_run() {
    if !Path::new("/etc/haproxy/haproxy.cfg").exists() {
        return crate::harness::skipped("HAProxy is not installed from Debian's package");
    }
    let Some(booted) = Booted::new() else { return };
    stock(&booted);
    let own = booted.shell("cat /etc/haproxy/haproxy.cfg");
    let blocks = blocks("## Quick start on etcd");
    let [build, steps @ .., clean_up] = blocks.as_slice() else {
        panic!("{blocks:?}");
    };
    // What it makes is in its place already.
    assert!(
        build.contains("/usr/local/bin/") && build.contains("make build"),
        "{build}"
    );
    let look = "ss -ltn; cat /etc/haproxy/sidekick.d/backends.cfg";
    let script = format!(
        "cd /root/checkout\nset -e\n{}\n{look}\n{clean_up}",
        steps.concat()
    );
    booted.write("/root/quick-start", &script);
    let output = booted
        .container
        .exec(&["timeout", "600", "bash", "/root/quick-start"]);
    let text = said(&output);
    assert!(output.status.success(), "{}: {text}", output.status);
    assert!(!text.contains("ERROR"), "{text}");
    assert!(
        text.contains("Directory listing for /"),
        "curl is answered: {text}"
    );
    assert!(
        text.contains(" server a 127.0.0.1:8001") && text.contains(" server b "),
        "{text}"
    );
    assert!(
        text.contains("does not read it, also after a reload"),
        "{text}"
    );
    for port in [8001, 8002] {
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(!text.contains(&format!("0.0.0.0:{port}")), "{text}");
    }
    // Nothing of it is left.
    assert_eq!(booted.shell("cat /etc/haproxy/haproxy.cfg"), own);
    let left = "ls -d /etc/sidekick /etc/haproxy/* /etc/systemd/system/haproxy.service.d/*";
    let left = said(&booted.container.exec(&["sh", "-c", left]));
    assert!(left.contains("/etc/haproxy/errors"), "{left}");
    for gone in [
        "\n/etc/sidekick",
        "/sidekick.d\n",
        "orig",
        "/sidekick.conf\n",
    ] {
        assert!(!format!("\n{left}").contains(gone), "{gone:?}: {left}");
    }
    wait_for("HAProxy with its own file", || {
        (booted.show("haproxy", "ActiveState") == "active").then_some(())
    });
    let keys = booted.shell("ETCDCTL_API=3 etcdctl get --prefix /services --keys-only");
    assert_eq!(keys.trim(), "", "all are withdrawn");
}
