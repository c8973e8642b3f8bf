//! Measures `sidekick watch` beside the floor, which no program can do without, and beside another program: how long one
//! change in etcd takes to the swapped file, how long a start takes to the first file, memory, processor time.
//!
//! `cargo bench --bench latency [-- [--quick] [--write] SIZES]`, for example `-- 10 1000`. `PEER` is the command line of
//! another program that renders files in confd's form; `{dir}` stands for their directory, `{endpoint}` for etcd's address:
//! `PEER='confd -watch -backend etcdv3 -node http://{endpoint} -confdir {dir}'`. `PEER_NAME` is its name in the report. A
//! program with files of another form gets those of the directory `PEER_FILES`, in which `{dest}` stands for the file to write
//! and `/peer/services/web` has the instances.
//!
//! Milliseconds vary between machines and over time. All that is compared is measured change by change in turn, and the
//! ratios are those of the same round. The report is printed, and written to `target/bench` as JSON and as a plot;
//! `--write` writes the plot and the tables of the documents too.

#[path = "../../tests/it/harness/mod.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod harness;

mod floor;
mod keys;
mod measure;
mod numbers;
mod plot;
mod process;
mod report;
mod variant;

use std::fs;
use std::path::Path;

use measure::{Effort, measure};
use report::Report;
use variant::Renderer;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let mut sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let quick = has("--quick");
    if sizes.is_empty() {
        let all = [10, 1_000, 10_000, 50_000];
        sizes = all[..if quick { 2 } else { 4 }].to_vec();
    }
    let (renderers, peer) = renderers();
    let mut report = Report {
        binary_mb: binary_mb(),
        peer,
        sizes: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for size in sizes {
        // A directory on a disk, where an fsync takes time.
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let effort = effort(size, quick);
        let measured = runtime.block_on(measure(&renderers, size, effort, root.path()));
        report.sizes.push(measured);
    }
    print(&report.table());
    print(&report.ratios());
    write(&report, has("--write"));
}

/// The size of the binary that is measured.
fn binary_mb() -> f64 {
    let path = harness::sidekick().get_program().to_owned();
    let size = std::fs::metadata(path).expect("sidekick's binary").len();
    #[expect(clippy::cast_precision_loss, reason = "a size in megabytes")]
    let size = size as f64;
    size / 1e6
}

/// The renderers, and the name of the other program if there is one.
fn renderers() -> (Vec<Renderer>, Option<String>) {
    let given = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let mut renderers = vec![Renderer::Tera, Renderer::Go];
    let Some(command) = given("PEER") else {
        return (renderers, None);
    };
    let program = command.split_whitespace().next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let name = given("PEER_NAME").unwrap_or(program);
    let files = given("PEER_FILES").map(Into::into);
    renderers.push(Renderer::Peer { command, files });
    (renderers, Some(name))
}

fn effort(size: usize, quick: bool) -> Effort {
    let (starts, changes, churn) = match (quick, size) {
        (true, _) => (3, 40, 200),
        (false, ..=10_000) => (11, 200, 2_000),
        (false, _) => (5, 50, 500),
    };
    Effort {
        starts,
        changes,
        churn,
    }
}

fn write(report: &Report, documents: bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = root.join("target/bench");
    fs::create_dir_all(&dir).expect("target/bench");
    let json = serde_json::to_string_pretty(report).expect("JSON");
    let plot = plot::svg(report);
    fs::write(dir.join("latency.json"), json + "\n").expect("the report");
    fs::write(dir.join("latency.svg"), &plot).expect("the plot");
    print("target/bench/latency.json and latency.svg are written.");
    if documents {
        fs::write(root.join("docs/latency.svg"), plot).expect("the plot");
        let whole = format!("{}\n{}", report.table(), report.ratios());
        for (name, text) in [("README.md", report.readme()), ("docs/speed.md", whole)] {
            let path = root.join(name);
            let document = fs::read_to_string(&path).expect("a document");
            let document = report::insert(&document, &text).expect("the marks of the table");
            fs::write(path, document).expect("a document");
        }
        print("README.md, docs/speed.md and docs/latency.svg are written.");
    }
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn print(text: &str) {
    println!("{text}");
}
