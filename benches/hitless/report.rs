//! The report: collects the results of the scenes in tables and plots. Shell.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::fault::{Fault, Kill, Victim};
use crate::load::Load;
use crate::plot;
use crate::progress::print_progress;
use crate::sample::Sample;
use crate::stats::{due, percentile, time_line, times};
use crate::table::{Table, failed, spread, time};

/// The recording of one scene.
pub(crate) struct Recording {
    reloads: usize,
    marks: Vec<(Instant, String)>,
    start: Instant,
    samples: Vec<Sample>,
}

impl Recording {
    /// Begins a recording; `reloads` is the number of reloads so far.
    pub(crate) fn begin(reloads: usize) -> Self {
        Self {
            reloads,
            marks: Vec::new(),
            start: Instant::now(),
            samples: Vec::new(),
        }
    }

    /// Notes an event.
    pub(crate) fn mark(&mut self, what: &str) {
        self.marks.push((Instant::now(), what.to_owned()));
    }

    /// Ends the recording and the load; `reloads` is the number of reloads by now.
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
pub(crate) struct Report {
    dir: PathBuf,
    header: String,
    /// The variant of the next rows.
    variant: &'static str,
    floor: Table,
    scale: Table,
    rolling: Table,
    kill: Table,
    outage: Table,
    skipped: Vec<String>,
}

impl Report {
    /// An empty report, whose files go to a directory.
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

    /// Sets the variant of the next rows.
    pub(crate) fn variant(&mut self, name: &'static str) {
        self.variant = name;
    }

    /// Notes something that cannot be measured on this host.
    pub(crate) fn skip(&mut self, why: &str) {
        print_progress(&format!("skipped: {why}"));
        self.skipped.push(format!("skipped: {why}"));
        self.write();
    }

    fn name(&self, fault: Fault) -> String {
        format!("{}{}", self.variant, fault.name())
    }

    /// Scene 0.
    pub(crate) fn floor(&mut self, recording: &Recording) {
        let late: Vec<Duration> = recording.samples.iter().map(|s| s.sent - s.due).collect();
        self.floor.row(vec![
            self.name(Fault::None),
            recording.requests(),
            failed(&recording.samples),
            time(percentile(&times(&recording.samples), 50)),
            recording.p95(),
            recording.worst(),
            time(percentile(&late, 99)),
        ]);
        self.finish_scene("0-floor", recording, Fault::None);
    }

    /// Scene 1.
    pub(crate) fn scale(
        &mut self,
        recording: &Recording,
        rounds: usize,
        first: &[Duration],
        fault: Fault,
    ) {
        self.scale.row(vec![
            self.name(fault),
            rounds.to_string(),
            recording.requests(),
            failed(&recording.samples),
            recording.raced(),
            spread(first),
            recording.reloads.to_string(),
            recording.p95(),
            recording.worst(),
        ]);
        self.finish_scene("1-scale", recording, fault);
    }

    /// Scene 2.
    pub(crate) fn rolling(&mut self, recording: &Recording, restarts: &[Duration], fault: Fault) {
        self.rolling.row(vec![
            self.name(fault),
            restarts.len().to_string(),
            recording.requests(),
            failed(&recording.samples),
            recording.raced(),
            spread(restarts),
            recording.reloads.to_string(),
            recording.p95(),
            recording.worst(),
        ]);
        self.finish_scene("2-rolling", recording, fault);
    }

    /// Scene 3.
    pub(crate) fn kill(
        &mut self,
        recording: &Recording,
        victim: Victim,
        kills: &[Kill],
        fault: Fault,
    ) {
        let part = |n: usize| {
            let parts = kills.iter().map(move |kill| kill.times()[n]);
            parts
                .flat_map(|(from, to)| due(&recording.samples, from, to))
                .collect::<Vec<_>>()
        };
        let p95 = |n: usize| time(percentile(&times(part(n)), 95));
        let last: Option<Vec<Duration>> = kills.iter().map(|kill| kill.last).collect();
        let (before, after): (Vec<&Sample>, Vec<&Sample>) =
            recording.samples.iter().partition(|sample| {
                kills
                    .iter()
                    .any(|kill| sample.sent <= kill.at && kill.at <= sample.end)
            });
        self.kill.row(vec![
            self.name(fault),
            victim.name().to_owned(),
            kills.len().to_string(),
            recording.requests(),
            failed(before),
            failed(after),
            last.map_or("- (needs root)".to_owned(), |last| spread(&last)),
            format!("{} / {} / {}", p95(0), p95(1), p95(2)),
            recording.worst(),
            recording.reloads.to_string(),
        ]);
        let word = victim.name().split(' ').next_back().unwrap_or_default();
        self.finish_scene(&format!("3-kill-{word}"), recording, fault);
    }

    /// Scene 5.
    pub(crate) fn outage(&mut self, recording: &Recording, first: &[Duration], settled: Duration) {
        let moment = |name: &str| recording.marks.iter().find(|(_, what)| what == name);
        let down = moment("etcd is down").zip(moment("etcd is back"));
        self.outage.row(vec![
            self.name(Fault::None),
            time(down.map(|((down, _), (back, _))| *back - *down)),
            recording.requests(),
            failed(&recording.samples),
            recording.raced(),
            spread(first),
            time(Some(settled)),
            recording.reloads.to_string(),
            recording.p95(),
            recording.worst(),
        ]);
        self.finish_scene("5-outage", recording, Fault::None);
    }

    /// Draws the plot of a scene, and writes the report so far.
    fn finish_scene(&self, scene: &str, recording: &Recording, fault: Fault) {
        let name = format!("{scene}-{}", self.name(fault).replace(' ', "-"));
        let marks = recording.marks.iter();
        let marks: Vec<(Duration, String)> = marks
            .map(|(at, what)| (at.saturating_duration_since(recording.start), what.clone()))
            .collect();
        let svg = plot::svg(
            &name,
            &time_line(&recording.samples, recording.start),
            &marks,
        );
        fs::write(self.dir.join(format!("{name}.svg")), svg).expect("write a plot");
        print_progress(&format!(
            "{name}: {} requests, failed: {}, {} reloads",
            recording.samples.len(),
            failed(&recording.samples),
            recording.reloads
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
