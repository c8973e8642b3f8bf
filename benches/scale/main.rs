//! Measures what many instances and many clients cost one etcd: ten thousand instances in one `register`, hundreds of
//! `watch`, thousands of clients that connect again at once, a hundred thousand instances in one `watch`.
//!
//! `cargo bench --bench scale [-- [--quick] PART...]`; the parts are `register`, `watchers`, `storm` and `large`. `--quick` does a
//! tenth of each. Everything runs on one machine, so the clients take from etcd what they need themselves. The report is
//! printed, and written to `target/bench/scale.json`.

#[path = "../../tests/it/harness/mod.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod harness;

mod etcd;
mod large;
mod register;
mod storm;
mod watchers;

#[path = "../latency/process.rs"]
#[expect(dead_code, reason = "the other benchmark needs more of it")]
mod process;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

const PARTS: [&str; 4] = ["register", "watchers", "storm", "large"];

/// What a part reports: names with their units, and figures.
type Figures = Vec<(&'static str, Value)>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let all = !PARTS.iter().any(|part| has(part));
    let share = if has("--quick") { 10 } else { 1 };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut report = Map::new();
    for part in PARTS.into_iter().filter(|part| all || has(part)) {
        print(part);
        let figures = match part {
            "register" => runtime.block_on(register::measure(10_000 / share)),
            "watchers" => runtime.block_on(watchers::measure(300 / share)),
            "storm" => runtime.block_on(storm::measure(2_000 / share)),
            _ => runtime.block_on(large::measure(100_000 / share)),
        };
        for (name, value) in &figures {
            print(&format!("  {name:<60} {value}"));
        }
        let figures = figures
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        report.insert(part.to_owned(), Value::Object(figures.collect()));
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&dir).expect("target/bench");
    let json = serde_json::to_string_pretty(&report).expect("JSON");
    fs::write(dir.join("scale.json"), json + "\n").expect("the report");
}

/// A directory on a disk, where an fsync takes time.
fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// A figure with two digits behind the point.
fn figure(value: f64) -> Value {
    Value::from((value * 100.0).round() / 100.0)
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn print(text: &str) {
    println!("{text}");
}
