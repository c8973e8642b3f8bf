//! Counts the processor's instructions in the inner work of `sidekick watch`: unlike milliseconds, they are the same from
//! run to run, also on a busy machine. Valgrind counts them.
//!
//! `make instructions` compares them with the record, `benches/instructions/record.txt`, and fails if one has grown by
//! more than a tenth. `make instructions ARGS=--write` writes the record anew: commit it with the change that it measures.
//! `ARGS='WORK ROUNDS [SIZE]'` only does one of the works, for a profiler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use sidekick::model::catalog::Catalog;
use sidekick::model::prefix::Prefix;
use sidekick::model::update::{Change, Revision, Snapshot, Update};
use sidekick::proxy::haproxy::diff::diff;
use sidekick::watch::render::{Host, Template, View};

/// How many instances a work is about, unless the command line says otherwise.
const INSTANCES: usize = 1_000;
/// How many rounds are counted. One round more is made before them, with everything that is done once.
const ROUNDS: u64 = 4;
/// By how many percent a count may grow.
const TOLERANCE: u64 = 10;
/// What Valgrind needs to choose the same functions of the C library on every processor.
const TUNABLES: &str =
    "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-BMI2,-ERMS,-FSRM,-MOVBE,-AVX_Fast_Unaligned_Load";

const TERA: &str = "backend web
{% for i in services.web %}    server {{ i.id }} {{ i.addr }} check weight {{ i.weight }}
{% endfor %}";

const GO: &str = r#"backend web
{{range $id := lsdir "/services/web"}}{{$dir := printf "/services/web/%s" $id}}    server {{$id}} {{getv (printf "%s/ip" $dir)}}:{{getv (printf "%s/port" $dir)}} check weight {{getv (printf "%s/weight" $dir)}}
{{end}}"#;

/// Does something a number of times, to so many instances.
type Work = fn(rounds: usize, size: usize);

/// The works, by their names in the record.
const WORKS: [(&str, &str, Work); 8] = [
    ("list", "the catalog takes in everything", list),
    ("change", "the catalog takes in one change", change),
    (
        "tera",
        "one change is rendered by a Tera template",
        |rounds, size| {
            render("out.tera", TERA, rounds, size);
        },
    ),
    (
        "go",
        "one change is rendered by a Go template",
        |rounds, size| {
            render("out.tmpl", GO, rounds, size);
        },
    ),
    (
        "go-all",
        "everything is rendered by a Go template",
        render_all,
    ),
    (
        "compile-tera",
        "a Tera template is compiled",
        |rounds, _| {
            compile("out.tera", TERA, rounds);
        },
    ),
    ("compile-go", "a Go template is compiled", |rounds, _| {
        compile("out.tmpl", GO, rounds);
    }),
    (
        "diff",
        "two files of HAProxy are read and compared",
        compare,
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => check(false),
        ["--write"] => check(true),
        [name, rounds, ref size @ ..] => {
            let size = size.first().map_or(INSTANCES, |size| number(size));
            let work = WORKS.iter().find(|(work, _, _)| *work == name);
            let (_, _, work) = work.expect("the name of a work");
            work(number(rounds), size);
            ExitCode::SUCCESS
        }
        [_] => {
            eprintln!("instructions [--write | WORK ROUNDS [SIZE]]");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Counts every work, and compares the counts with the record or writes it.
fn check(write: bool) -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: valgrind is not installed");
        return ExitCode::SUCCESS;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("record.txt");
    let record = std::fs::read_to_string(&path).unwrap_or_default();
    let record = read(&record);
    let mut lines = format!(
        "# Instructions for one round, with {INSTANCES} instances; built with the profile `dist`. `make instructions`\n\
         # compares them, `make instructions ARGS=--write` writes this file.\n"
    );
    let mut has_grown = false;
    for (name, what, _) in WORKS {
        let count = (run(name, ROUNDS + 1) - run(name, 1)) / ROUNDS;
        let _ = writeln!(lines, "{name:<14} {count:>10}  # {what}");
        let Some(before) = record.get(name) else {
            println!("{name:<14} {count:>10}  not recorded");
            has_grown = true;
            continue;
        };
        let percent = count * 100 / before;
        let grows = percent > 100 + TOLERANCE;
        let verdict = if grows { "  MORE THAN BEFORE" } else { "" };
        println!("{name:<14} {count:>10}  {percent:>4} % of the record{verdict}");
        has_grown |= grows;
    }
    if write {
        std::fs::write(&path, lines).expect("the record is written");
    } else if has_grown {
        println!("if that has to be, record it with the change: make instructions ARGS=--write");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The counts of a record, by the names of the works.
fn read(record: &str) -> BTreeMap<&str, u64> {
    let lines = record.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?, fields.next()?.parse().ok()?))
    });
    fields.collect()
}

/// The instructions of a whole process that does a work.
fn run(name: &str, rounds: u64) -> u64 {
    let own: PathBuf = std::env::current_exe().expect("our own path");
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ])
        .arg(own)
        .args([name, &rounds.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let count = said.lines().find_map(|line| line.split_once("refs:"));
    let (_, count) = count.expect("valgrind says how many");
    count.trim().replace(',', "").parse().expect("a number")
}

fn services() -> Prefix {
    Prefix::parse("/services").expect("a path")
}

fn key(n: usize, field: &str) -> String {
    format!("/services/web/i{n:05}/{field}")
}

/// A catalog that has taken in `size` instances.
fn catalog(size: usize) -> Catalog {
    let fields = (0..size).flat_map(|n| {
        let ip = format!("10.1.{}.{}", n / 250, n % 250 + 1);
        let fields = [("ip", ip.as_str()), ("port", "8080"), ("weight", "100")];
        fields.map(|(field, value)| (key(n, field).into(), value.as_bytes().into()))
    });
    let snapshot = Snapshot {
        revision: Revision(1),
        entries: fields.collect(),
    };
    let mut catalog = Catalog::new(services());
    catalog.apply(&services(), Update::Reset(snapshot));
    catalog
}

/// Another weight for one of the instances.
fn update(round: usize, size: usize) -> Update {
    let weight = (round % 99 + 1).to_string();
    let key = key(round * 7 % size, "weight");
    Update::Changed {
        revision: Revision(2),
        changes: vec![Change::Put(key.into(), weight.as_bytes().into())],
    }
}

fn list(rounds: usize, size: usize) {
    for _ in 0..rounds {
        black_box(catalog(size));
    }
}

fn change(rounds: usize, size: usize) {
    let mut catalog = catalog(size);
    for round in 0..rounds {
        black_box(catalog.apply(&services(), update(round, size)));
    }
}

fn render(name: &str, source: &str, rounds: usize, size: usize) {
    let template = Template::compile(name, source).expect("a template");
    let mut catalog = Arc::new(catalog(size));
    for round in 0..rounds {
        Arc::make_mut(&mut catalog).apply(&services(), update(round, size));
        render_once(&template, &catalog, size);
    }
}

/// Renders with a template that has not rendered before.
fn render_all(rounds: usize, size: usize) {
    let catalog = Arc::new(catalog(size));
    for _ in 0..rounds {
        let template = Template::compile("out.tmpl", GO).expect("a template");
        render_once(&template, &catalog, size);
    }
}

fn render_once(template: &Template, catalog: &Arc<Catalog>, size: usize) {
    let view = View {
        target: "out".to_owned(),
        catalog: Arc::clone(catalog),
        services: vec!["web".parse().expect("a name")],
        keys: Vec::new(),
        root: Prefix::parse("/").expect("a path"),
        env: Arc::default(),
        host: Host::empty(),
    };
    let text = template.render(&view).expect("a text");
    assert!(text.len() > 10 * size, "{text}");
}

fn compile(name: &str, source: &str, rounds: usize) {
    for _ in 0..rounds {
        black_box(Template::compile(name, source).expect("a template"));
    }
}

fn compare(rounds: usize, size: usize) {
    let texts = [config(size, 1), config(size, 2)];
    for round in 0..rounds {
        let [live, new] = [&texts[round % 2], &texts[(round + 1) % 2]];
        black_box(diff("", live, new));
    }
}

/// A configuration of HAProxy, of which one server has this weight.
fn config(size: usize, weight: usize) -> String {
    let mut text = "defaults\n    mode http\nbackend web\n".to_owned();
    for n in 0..size {
        let weight = if n == size / 2 { weight } else { 100 };
        let (high, low) = (n / 250, n % 250 + 1);
        let _ = writeln!(
            text,
            "    server i{n:05} 10.1.{high}.{low}:8080 check weight {weight}"
        );
    }
    text
}
