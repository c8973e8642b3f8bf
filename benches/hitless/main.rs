//! Whether requests are lost: web servers under `sidekick register` come, go and are killed, two proxies kept by
//! `sidekick watch` follow, and a load on a fixed schedule counts what fails. docs/hitless.md says how it measures.
//!
//! `cargo bench --bench hitless [-- --quick]`; the report and the plots go to target/hitless.

#[path = "../../tests/it/harness/mod.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod harness;

mod book;
mod etcd;
mod files;
mod keeper;
mod load;
mod machine;
mod packet;
mod packets;
mod plot;
mod proxy;
mod report;
mod sample;
mod scenes;
mod serve;
mod stage;
mod stats;
mod variant;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;

use book::Book;
use machine::Machine;
use scenes::{Fault, Script, Victim};
use stage::Stage;
use variant::{Keeper, Variant};

/// What can be asked for.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    serve: Option<Role>,
    /// A short run: one round of each.
    #[arg(long)]
    quick: bool,
    /// Only these variants, by their names in the report.
    #[arg(long, value_delimiter = ',')]
    variants: Vec<String>,
    /// Only these scenes: 0 (the floor), 1, 2, 3, 5.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2,3,5")]
    scenes: Vec<u8>,
    /// Requests a second, to both proxies together.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Leave the files and logs of the run where they are.
    #[arg(long)]
    keep: bool,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Be a web server.
    Serve(serve::Serve),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Role::Serve(serve)) = &cli.serve {
        serve::run(serve);
        return ExitCode::SUCCESS;
    }
    match keeper::run_dir() {
        None => keeper::keep(cli.keep),
        Some(dir) => {
            play(&cli, &dir);
            ExitCode::SUCCESS
        }
    }
}

fn play(cli: &Cli, dir: &Path) {
    let script = if cli.quick {
        Script {
            rounds: 1,
            passes: 1,
            floor: Duration::from_secs(3),
            outage: Duration::from_secs(12),
        }
    } else {
        Script {
            rounds: 3,
            passes: 10,
            floor: Duration::from_secs(10),
            outage: Duration::from_secs(60),
        }
    };
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("hitless");
    std::fs::create_dir_all(&out).expect("make the directory of the report");
    let mut book = Book::new(out.clone(), header(cli));
    let machine = Machine::make(dir)
        .map_err(|why| book.skip(&format!("machines that die: {why}")))
        .ok();
    let wanted = |variant: &Variant| {
        cli.variants.is_empty() || cli.variants.iter().any(|name| name == variant.name())
    };
    let mut faults = false;
    for variant in Variant::ALL.into_iter().filter(wanted) {
        if variant.keeper == Keeper::Confd && !on_path("confd") {
            book.skip(&format!("{}: no confd on the PATH", variant.name()));
            continue;
        }
        book.variant(variant.name());
        scenes::say(&format!("{}:", variant.name()));
        let at = dir.join(variant.name());
        let mut stage = Stage::new(variant, 1, machine.as_ref(), at.clone(), cli.rate);
        calm(cli, script, &mut stage, &mut book);
        drop(stage);
        // The store's faults look the same to every variant: one of them is enough, in a quarter of an hour.
        if cli.scenes.contains(&5) && !std::mem::replace(&mut faults, true) {
            let mut stage = Stage::new(variant, 3, machine.as_ref(), at.join("three"), cli.rate);
            faulty(script, &mut stage, &mut book);
        }
    }
    print(&book.text());
    print(&format!("report and plots: {}", out.display()));
}

/// Scenes 0 to 3, with an etcd that is well.
fn calm(cli: &Cli, script: Script, stage: &mut Stage, book: &mut Book) {
    for scene in &cli.scenes {
        match scene {
            0 => scenes::floor(stage, book, script),
            1 => scenes::scale(stage, book, script.rounds, Fault::None),
            2 => scenes::rolling(stage, book, script.passes, Fault::None),
            3 => {
                for victim in Victim::ALL {
                    if victim != Victim::Machine || stage.machine.is_some() {
                        scenes::kill(stage, book, victim, script.rounds, Fault::None);
                    }
                }
            }
            _ => (),
        }
    }
}

/// Scene 5: the same with an etcd that is not.
fn faulty(script: Script, stage: &mut Stage, book: &mut Book) {
    scenes::scale(stage, book, 1, Fault::Leader);
    scenes::rolling(stage, book, 1, Fault::Leader);
    scenes::kill(stage, book, Victim::Instance, 1, Fault::Leader);
    scenes::outage(stage, book, script);
}

/// What the figures depend on.
fn header(cli: &Cli) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let sidekick = env!("CARGO_BIN_EXE_sidekick");
    let versions = [
        version("haproxy", &["-v"]),
        version("nginx", &["-v"]),
        version("etcd", &["--version"]),
        version(sidekick, &["--version"]),
    ];
    format!(
        "{cores} cores, load {load} at the start; {}\n\
         {} requests a second to {} proxies in turn, {} s leases; response times count from when a request was due\n",
        versions.join(", "),
        cli.rate,
        stage::PROXIES,
        stage::TTL.trim_end_matches('s')
    )
}

/// The first line in which a program tells its version.
fn version(program: &str, args: &[&str]) -> String {
    let program = if program.contains('/') {
        program.into()
    } else {
        harness::tool(program)
    };
    let output = Command::new(program).args(args).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat());
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    said.lines().next().unwrap_or_default().to_owned()
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn print(text: &str) {
    println!("{text}");
}
