//! Files that a container has by themselves: who still sees the previous file after its replacement. Adapter.

use std::fs;
use std::path::Path;

use super::bounded;

/// What the kernel adds to the path of a mounted file whose name was given to another file.
const GONE: &str = "//deleted";

/// Why a program may still read the old file at `dest` after it was replaced, as a hint for the operator.
#[must_use]
pub fn why_stale(dest: &Path) -> String {
    match sees_replaced_file(dest) {
        Some(pid) => format!(
            "{} is mounted by itself where process {pid} runs, which keeps the previous file: mount its directory there",
            dest.display()
        ),
        None => "if a container has that file mounted by itself, it keeps the previous file: mount its directory there"
            .to_owned(),
    }
}

/// A process into whose file system the file at `dest` was mounted by itself before it was replaced, and which therefore
/// sees the previous file. `None` if there is none, or none whose mounts we may read.
#[must_use]
fn sees_replaced_file(dest: &Path) -> Option<i32> {
    let dest = bounded::within(dest, |dest| fs::canonicalize(dest))
        .ok()?
        .ok()?;
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        mounts.lines().any(|line| is_mount_of_replaced(line, &dest))
    })
}

/// Whether a line of a mountinfo is of the file that was at `dest` before. Its fourth field is a path within the file
/// system, which may itself be mounted anywhere.
fn is_mount_of_replaced(line: &str, dest: &Path) -> bool {
    let root = line
        .split(' ')
        .nth(3)
        .and_then(|root| root.strip_suffix(GONE));
    let root = root.map(|root| root.replace("\\040", " "));
    root.is_some_and(|root| dest.ends_with(root.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_mountinfo() {
        let dest = Path::new("/srv/etc/a b.cfg");
        for (root, is_it) in [
            ("/srv/etc/a\\040b.cfg//deleted", true),
            // The file system is mounted at /srv.
            ("/etc/a\\040b.cfg//deleted", true),
            ("/srv/etc/a\\040b.cfg", false),
            ("/srv/etc/b.cfg//deleted", false),
            ("/", false),
        ] {
            let line =
                format!("812 640 8:1 {root} /etc/haproxy/haproxy.cfg rw - ext4 /dev/sda1 rw");
            assert_eq!(is_mount_of_replaced(&line, dest), is_it, "{root}");
        }
        assert!(!is_mount_of_replaced("", dest));
    }
}
