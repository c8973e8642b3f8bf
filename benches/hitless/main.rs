//! Measures whether requests are lost: web servers under `sidekick register` come, go and are killed, `sidekick watch` keeps
//! the files of two proxies up to date, and a load on a fixed schedule counts failed requests. docs/hitless.md explains the
//! method.
//!
//! `cargo bench --bench hitless [-- --quick]`; the report and the plots go to target/hitless.

#[path = "../../tests/it/harness/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod harness;

mod cleanup;
mod etcd;
mod fault;
mod files;
mod load;
mod machine;
mod packet;
mod packets;
mod plot;
mod progress;
mod proxy;
mod report;
mod sample;
mod scenes;
mod serve;
mod stage;
mod stats;
mod table;
mod variant;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;

use fault::{Fault, Victim};
use machine::Machine;
use progress::print_progress;
use report::Report;
use scenes::Script;
use stage::Stage;
use variant::{Method, Variant};

/// The command line.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    serve: Option<Role>,
    /// A short run with one round of each scene.
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
    /// Keep the files and logs of the run.
    #[arg(long)]
    keep: bool,
    /// An argument that cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Run as a web server.
    Serve(serve::Serve),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Role::Serve(serve)) = &cli.serve {
        serve::run(serve);
        return ExitCode::SUCCESS;
    }
    match cleanup::run_dir() {
        None => cleanup::run_and_clean_up(cli.keep),
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
    let mut report = Report::new(out.clone(), header(cli));
    let machine = Machine::make(dir)
        .map_err(|why| report.skip(&format!("machines that die: {why}")))
        .ok();
    let wanted = |variant: &Variant| {
        cli.variants.is_empty() || cli.variants.iter().any(|name| name == variant.name())
    };
    let mut faults = false;
    for variant in Variant::ALL.into_iter().filter(wanted) {
        if variant.method == Method::Confd && !on_path("confd") {
            report.skip(&format!("{}: no confd on the PATH", variant.name()));
            continue;
        }
        report.variant(variant.name());
        print_progress(&format!("{}:", variant.name()));
        let at = dir.join(variant.name());
        let mut stage = Stage::new(variant, 1, machine.as_ref(), at.clone(), cli.rate);
        calm(cli, script, &mut stage, &mut report);
        drop(stage);
        // Faults of the store affect all variants alike, and take a quarter of an hour, so one variant is enough.
        if cli.scenes.contains(&5) && !std::mem::replace(&mut faults, true) {
            let mut stage = Stage::new(variant, 3, machine.as_ref(), at.join("three"), cli.rate);
            faulty(script, &mut stage, &mut report);
        }
    }
    print(&report.text());
    print(&format!("report and plots: {}", out.display()));
}

/// Scenes 0 to 3, without faults of etcd.
fn calm(cli: &Cli, script: Script, stage: &mut Stage, report: &mut Report) {
    for scene in &cli.scenes {
        match scene {
            0 => scenes::floor(stage, report, script),
            1 => scenes::scale(stage, report, script.rounds, Fault::None),
            2 => scenes::rolling(stage, report, script.passes, Fault::None),
            3 => {
                for victim in Victim::ALL {
                    if victim != Victim::Machine || stage.machine.is_some() {
                        scenes::kill(stage, report, victim, script.rounds, Fault::None);
                    }
                }
            }
            _ => (),
        }
    }
}

/// Scene 5: with faults of etcd.
fn faulty(script: Script, stage: &mut Stage, report: &mut Report) {
    scenes::scale(stage, report, 1, Fault::Leader);
    scenes::rolling(stage, report, 1, Fault::Leader);
    scenes::kill(stage, report, Victim::Instance, 1, Fault::Leader);
    scenes::outage(stage, report, script);
}

/// The conditions of the run: the host, the versions and the load.
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

/// The first line of a program's version output.
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
