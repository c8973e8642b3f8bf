//! What is written down of the scenes: tables and plots. Shell.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::plot;
use crate::report::{Table, failed, spread, time};
use crate::sample::Sample;
use crate::scenes::{Fault, Kill, Victim};
use crate::stats::{due, percentile, time_line, times};

/// The notes of a scene while it is played.
pub(crate) struct Take {
    reloads: usize,
    marks: Vec<(Instant, String)>,
    start: Instant,
    samples: Vec<Sample>,
}

impl Take {
    /// Begins, with what was reloaded so far.
    pub(crate) fn begin(reloads: usize) -> Self {
        Self {
            reloads,
            marks: Vec::new(),
            start: Instant::now(),
            samples: Vec::new(),
        }
    }

    /// Something happens.
    pub(crate) fn mark(&mut self, what: &str) {
        self.marks.push((Instant::now(), what.to_owned()));
    }

    /// Ends, with what was reloaded by now.
    pub(crate) fn end(self, load: Load, reloads: usize) -> Self {
        Self {
            reloads: reloads - self.reloads,
            start: load.start,
            samples: load.finish(),
            marks: self.marks,
        }
    }

    fn raced(&self) -> String {
        let raced = self.samples.iter().filter(|sample| sample.raced);
        raced.count().to_string()
    }

    fn p95(&self) -> String {
        time(percentile(&times(&self.samples), 95))
    }

    fn worst(&self) -> String {
        time(percentile(&times(&self.samples), 100))
    }

    fn requests(&self) -> String {
        self.samples.len().to_string()
    }
}

/// The tables of the report.
pub(crate) struct Book {
    dir: PathBuf,
    header: String,
    /// Whose rows are written now.
    variant: &'static str,
    floor: Table,
    scale: Table,
    rolling: Table,
    kill: Table,
    outage: Table,
    skipped: Vec<String>,
}

impl Book {
    /// An empty one, whose files go to a directory.
    pub(crate) fn new(dir: PathBuf, header: String) -> Self {
        Self {
            dir,
            header,
            variant: "",
            floor: Table::new(
                "0. The floor: the same load, nothing changes",
                &[
                    "variant",
                    "requests",
                    "failed",
                    "p50",
                    "p95",
                    "worst",
                    "sent late, p99",
                ],
            ),
            scale: Table::new(
                "1. Scale 2 to 10 to 2",
                &[
                    "variant",
                    "rounds",
                    "requests",
                    "failed",
                    "raced",
                    "start to first answer, median / worst",
                    "reloads",
                    "p95",
                    "worst",
                ],
            ),
            rolling: Table::new(
                "2. Rolling restart of three, one after the other",
                &[
                    "variant",
                    "restarts",
                    "requests",
                    "failed",
                    "raced",
                    "stop to first answer, median / worst",
                    "reloads",
                    "p95",
                    "worst",
                ],
            ),
            kill: Table::new(
                "3. SIGKILL",
                &[
                    "variant",
                    "killed",
                    "rounds",
                    "requests",
                    "failed of before",
                    "failed of after",
                    "last attempt there, median / worst",
                    "p95 before / during / after",
                    "worst",
                    "reloads",
                ],
            ),
            outage: Table::new(
                "5. All of etcd down, with two servers started, one restarted and one killed meanwhile",
                &[
                    "variant",
                    "down for",
                    "requests",
                    "failed",
                    "raced",
                    "etcd back to first answers, median / worst",
                    "files right after",
                    "reloads",
                    "p95",
                    "worst",
                ],
            ),
            skipped: Vec::new(),
        }
    }

    /// From now on, of this variant.
    pub(crate) fn variant(&mut self, name: &'static str) {
        self.variant = name;
    }

    /// Something cannot be done here.
    pub(crate) fn skip(&mut self, why: &str) {
        crate::scenes::say(&format!("skipped: {why}"));
        self.skipped.push(format!("skipped: {why}"));
        self.write();
    }

    fn name(&self, fault: Fault) -> String {
        format!("{}{}", self.variant, fault.name())
    }

    /// Scene 0.
    pub(crate) fn floor(&mut self, take: &Take) {
        let late: Vec<Duration> = take.samples.iter().map(|s| s.sent - s.due).collect();
        self.floor.row(vec![
            self.name(Fault::None),
            take.requests(),
            failed(&take.samples),
            time(percentile(&times(&take.samples), 50)),
            take.p95(),
            take.worst(),
            time(percentile(&late, 99)),
        ]);
        self.done("0-floor", take, Fault::None);
    }

    /// Scene 1.
    pub(crate) fn scale(&mut self, take: &Take, rounds: usize, first: &[Duration], fault: Fault) {
        self.scale.row(vec![
            self.name(fault),
            rounds.to_string(),
            take.requests(),
            failed(&take.samples),
            take.raced(),
            spread(first),
            take.reloads.to_string(),
            take.p95(),
            take.worst(),
        ]);
        self.done("1-scale", take, fault);
    }

    /// Scene 2.
    pub(crate) fn rolling(&mut self, take: &Take, restarts: &[Duration], fault: Fault) {
        self.rolling.row(vec![
            self.name(fault),
            restarts.len().to_string(),
            take.requests(),
            failed(&take.samples),
            take.raced(),
            spread(restarts),
            take.reloads.to_string(),
            take.p95(),
            take.worst(),
        ]);
        self.done("2-rolling", take, fault);
    }

    /// Scene 3.
    pub(crate) fn kill(&mut self, take: &Take, victim: Victim, kills: &[Kill], fault: Fault) {
        let part = |n: usize| {
            let parts = kills.iter().map(move |kill| kill.times()[n]);
            parts
                .flat_map(|(from, to)| due(&take.samples, from, to))
                .collect::<Vec<_>>()
        };
        let p95 = |n: usize| time(percentile(&times(part(n)), 95));
        let last: Option<Vec<Duration>> = kills.iter().map(|kill| kill.last).collect();
        let (before, after): (Vec<&Sample>, Vec<&Sample>) =
            take.samples.iter().partition(|sample| {
                kills
                    .iter()
                    .any(|kill| sample.sent <= kill.at && kill.at <= sample.end)
            });
        self.kill.row(vec![
            self.name(fault),
            victim.name().to_owned(),
            kills.len().to_string(),
            take.requests(),
            failed(before),
            failed(after),
            last.map_or("- (needs root)".to_owned(), |last| spread(&last)),
            format!("{} / {} / {}", p95(0), p95(1), p95(2)),
            take.worst(),
            take.reloads.to_string(),
        ]);
        let word = victim.name().split(' ').next_back().unwrap_or_default();
        self.done(&format!("3-kill-{word}"), take, fault);
    }

    /// Scene 5.
    pub(crate) fn outage(&mut self, take: &Take, first: &[Duration], settled: Duration) {
        let moment = |name: &str| take.marks.iter().find(|(_, what)| what == name);
        let down = moment("etcd is down").zip(moment("etcd is back"));
        self.outage.row(vec![
            self.name(Fault::None),
            time(down.map(|((down, _), (back, _))| *back - *down)),
            take.requests(),
            failed(&take.samples),
            take.raced(),
            spread(first),
            time(Some(settled)),
            take.reloads.to_string(),
            take.p95(),
            take.worst(),
        ]);
        self.done("5-outage", take, Fault::None);
    }

    /// Draws the scene, and writes what there is so far.
    fn done(&self, scene: &str, take: &Take, fault: Fault) {
        let name = format!("{scene}-{}", self.name(fault).replace(' ', "-"));
        let marks = take.marks.iter();
        let marks: Vec<(Duration, String)> = marks
            .map(|(at, what)| (at.saturating_duration_since(take.start), what.clone()))
            .collect();
        let svg = plot::svg(&name, &time_line(&take.samples, take.start), &marks);
        fs::write(self.dir.join(format!("{name}.svg")), svg).expect("write a plot");
        crate::scenes::say(&format!(
            "{name}: {} requests, failed: {}, {} reloads",
            take.samples.len(),
            failed(&take.samples),
            take.reloads
        ));
        self.write();
    }

    fn write(&self) {
        fs::write(self.dir.join("report.txt"), self.text()).expect("write the report");
    }

    /// The report so far.
    pub(crate) fn text(&self) -> String {
        let tables = [
            &self.floor,
            &self.scale,
            &self.rolling,
            &self.kill,
            &self.outage,
        ];
        let tables = tables
            .map(Table::text)
            .into_iter()
            .filter(|text| !text.is_empty());
        let skipped = self.skipped.iter().map(|why| format!("{why}\n"));
        let parts: Vec<String> = [self.header.clone()]
            .into_iter()
            .chain(tables)
            .chain(skipped)
            .collect();
        parts.join("\n")
    }
}
