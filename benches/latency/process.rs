//! What the kernel says of a process: memory and processor time.

use std::fs;

use crate::harness::Process;

/// Resident memory, in megabytes: with the pages of the program's file that are mapped (`VmRSS` of `/proc/PID/status`).
pub(crate) fn resident(process: &Process) -> f64 {
    megabytes(process, "VmRSS:")
}

/// The part of the resident memory that is in no file, in megabytes (`RssAnon` of `/proc/PID/status`): the kernel cannot
/// take it back while memory is short.
pub(crate) fn anonymous(process: &Process) -> f64 {
    megabytes(process, "RssAnon:")
}

fn megabytes(process: &Process, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("/proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("the memory of a process");
    let kib: f64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kib / 1024.0
}

/// The processor time of a process and of its children that have ended, in seconds; counted in hundredths.
pub(crate) fn processor_time(process: &Process) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("/proc");
    let fields = stat.rsplit_once(')').expect("a name in brackets").1;
    // utime, stime, cutime and cstime are fields 14 to 17; the first one behind the name is field 3.
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse::<f64>().expect("a number"))
        .sum();
    ticks / 100.0
}
