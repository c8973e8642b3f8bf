//! The report: JSON, tables that are Markdown too, and the part of the README. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::{Figures, Size};
use crate::numbers::{Spread, short};

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The size of `sidekick` itself.
    pub(crate) binary_mb: f64,
    /// The other program: its name, or why there is none.
    pub(crate) peer: Option<String>,
    pub(crate) sizes: Vec<Size>,
}

/// What stands where there is no figure.
const NONE: &str = "not measured: no peer";

impl Report {
    /// The name of a renderer, for people.
    pub(crate) fn title(&self, name: &str) -> String {
        match (name, &self.peer) {
            ("tera", _) => "sidekick, Tera".to_owned(),
            ("go", _) => "sidekick, Go template".to_owned(),
            ("peer", Some(peer)) => peer.clone(),
            _ => name.to_owned(),
        }
    }

    /// Everything, as a table with a row for each size and renderer.
    pub(crate) fn table(&self) -> String {
        let mut text = "| instances | renderer | change → file, ms | p99 | times the floor | peer / this | start → first file, ms | processor a change, ms | memory idle → busy (in no file), MB | churn: processor s, last change ms |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for size in &self.sizes {
            for one in &size.renderers {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} | {} | {:.1} → {:.1} ({:.1}) | {:.2}, {} |",
                    thousands(size.instances),
                    self.title(one.name),
                    spread(one.change_ms),
                    short(one.change_ms.p99),
                    spread(one.to_floor),
                    one.times_as_fast.map_or_else(|| NONE.to_owned(), spread),
                    spread(one.start_ms),
                    short(one.processor_ms),
                    one.idle_mb,
                    one.busy_mb,
                    one.anonymous_mb,
                    one.churn_s,
                    short(one.churn_tail_ms),
                );
            }
            let _ = writeln!(
                text,
                "| {} | floor: etcd's event, then write, fsync, rename | {} + {} | | 1 | | | | | |",
                thousands(size.instances),
                spread(size.floor.event_ms),
                spread(size.floor.write_ms),
            );
        }
        text
    }

    /// The ratios of the kind, one line each: ours to the peer, and growth.
    pub(crate) fn ratios(&self) -> String {
        let mut text = String::new();
        for size in &self.sizes {
            let Some(peer) = size.renderers.iter().find(|one| one.name == "peer") else {
                continue;
            };
            for one in size.renderers.iter().filter(|one| one.name != "peer") {
                let _ = writeln!(
                    text,
                    "- {} instances, {} to {}: a change {}; start {}, processor {}, churn {}, memory {}",
                    thousands(size.instances),
                    self.title(one.name),
                    self.title("peer"),
                    one.times_as_fast.map_or_else(
                        || NONE.to_owned(),
                        |ratio| format!("{} times as fast", short(ratio.median))
                    ),
                    share(one.start_ms.median, peer.start_ms.median),
                    share(one.processor_ms, peer.processor_ms),
                    share(one.churn_s, peer.churn_s),
                    share(one.busy_mb, peer.busy_mb),
                );
            }
        }
        if let [.., small, large] = &self.sizes[..] {
            for (a, b) in small.renderers.iter().zip(&large.renderers) {
                let _ = writeln!(
                    text,
                    "- {}: {:.2} KiB of memory for each instance more, between {} and {}",
                    self.title(a.name),
                    growth(small.instances, a, large.instances, b),
                    thousands(small.instances),
                    thousands(large.instances)
                );
            }
        }
        let _ = writeln!(text, "- sidekick's binary: {:.1} MB", self.binary_mb);
        text
    }

    /// The table of the README.
    pub(crate) fn readme(&self) -> String {
        let mut text = "| instances | change → file | times the floor | start → first file | memory |\n| --- | --- | --- | --- | --- |\n".to_owned();
        for size in &self.sizes {
            let cells = |value: &dyn Fn(&Figures) -> String| {
                let each = size.renderers.iter().map(value);
                each.collect::<Vec<_>>().join(" · ")
            };
            let _ = writeln!(
                text,
                "| {} | {} ms | {} | {} ms | {} MB |",
                thousands(size.instances),
                cells(&|one| short(one.change_ms.median)),
                cells(&|one| short(one.to_floor.median)),
                cells(&|one| short(one.start_ms.median)),
                cells(&|one| format!("{:.0}", one.busy_mb)),
            );
        }
        let titles = self.sizes.first().map(|size| {
            let titles = size.renderers.iter().map(|one| self.title(one.name));
            titles.collect::<Vec<_>>().join(" · ")
        });
        let _ = writeln!(
            text,
            "\nEach cell: {}. Medians of one run.",
            titles.unwrap_or_default()
        );
        text
    }
}

/// Puts a text between the two marks of a document; `None` if it has no such marks.
pub(crate) fn insert(document: &str, text: &str) -> Option<String> {
    let (head, rest) = document.split_once("<!-- bench -->\n")?;
    let (_, tail) = rest.split_once("<!-- /bench -->")?;
    Some(format!("{head}<!-- bench -->\n{text}<!-- /bench -->{tail}"))
}

/// The memory that an instance more takes, in KiB.
fn growth(small: usize, a: &Figures, large: usize, b: &Figures) -> f64 {
    (b.busy_mb - a.busy_mb) * 1024.0 / to_f64(large - small)
}

fn share(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 {
        format!("{:.0} %", ours / theirs * 100.0)
    } else {
        "-".to_owned()
    }
}

/// A median, and between which values a half of them lies.
fn spread(spread: Spread) -> String {
    format!(
        "{} [{}–{}]",
        short(spread.median),
        short(spread.low),
        short(spread.high)
    )
}

/// A number with a comma before its last three digits.
pub(crate) fn thousands(number: usize) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1_000, number % 1_000)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
