//! The signals that processes of the tests start with: none ignored, none blocked, however the tests themselves were
//! started (`nohup make test`).

use std::collections::BTreeSet;
use std::sync::Once;

use nix::sys::signal::SigSet;
use tokio::signal::unix::{SignalKind, signal};

/// Signals of the process itself, and those that cannot be caught.
const LEFT_ALONE: [i32; 9] = [4, 5, 6, 7, 8, 9, 11, 19, 31];

/// Lets the processes that this thread starts from now on begin with the usual dispositions and an empty mask.
///
/// What is ignored stays ignored in a child; what has a handler gets its default there. So the tests catch what they were
/// to ignore, which keeps it from ending them.
pub(crate) fn reset_for_children() {
    static CAUGHT: Once = Once::new();
    CAUGHT.call_once(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("make a runtime");
        let entered = runtime.enter();
        for number in ignored() {
            // The handler stays when the stream is dropped.
            let _ = signal(SignalKind::from_raw(number)).expect("catch a signal");
        }
        drop(entered);
        // The test may be within a runtime of its own, where another one may not be waited for.
        runtime.shutdown_background();
    });
    SigSet::empty().thread_set_mask().expect("empty the mask");
}

/// What this process ignores, but for SIGPIPE, which Rust ignores and gives its default in each child.
fn ignored() -> BTreeSet<i32> {
    let status = std::fs::read_to_string("/proc/self/status").expect("read the own status");
    let mask = mask(&status, "SigIgn:");
    let is_ours = |number: &i32| *number != 13 && !LEFT_ALONE.contains(number);
    // What lies above has no name, and is ignored by nobody.
    (1..=31)
        .filter(|number| mask >> (number - 1) & 1 == 1)
        .filter(is_ours)
        .collect()
}

fn mask(status: &str, name: &str) -> u64 {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number")
}

/// Runs itself once more, as a shell would under `nohup` and with signals blocked.
#[test]
fn processes_start_with_the_usual_signals_however_the_tests_were_started() {
    const INNER: &str = "TEST_SIGNALS_INNER";
    let name =
        "harness::signals::processes_start_with_the_usual_signals_however_the_tests_were_started";
    if std::env::var_os(INNER).is_some() {
        let cat = super::tool("cat");
        let output = std::process::Command::new(cat)
            .arg("/proc/self/status")
            .output();
        let status = String::from_utf8(output.unwrap().stdout).unwrap();
        // Two are the C library's own: it ignores them or not as it likes.
        let seen = ["SigIgn:", "SigBlk:"].map(|name| mask(&status, name) & !(0b11 << 31));
        assert_eq!(seen, [0, 0], "{status}");
        return;
    }
    let output = std::process::Command::new(super::tool("env"))
        .args(["--ignore-signal=HUP,QUIT,USR1", "--block-signal=TERM,USR2"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(INNER, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}
