//! The plot: how long a change takes with so many instances, for each renderer, as SVG. Pure.

use std::fmt::Write as _;

use crate::measure::Size;
use crate::numbers::short;
use crate::report::{Report, thousands};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
/// The range of the times, in milliseconds; the scale is logarithmic.
const LEAST: f64 = 0.3;
const MOST: f64 = 1_000.0;
const COLOURS: [&str; 3] = ["#0b6e4f", "#2b59c3", "#c1440e"];

/// Draws the medians of all sizes; both scales are logarithmic.
pub(crate) fn svg(report: &Report) -> String {
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>One change: from etcd's confirmation to the swapped file</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">One change: from etcd's confirmation to the swapped file (median)</text>\n",
        right + 200.0,
        bottom + 50.0
    );
    svg += &axes(report, right, bottom);
    let names = report.sizes.iter().flat_map(|size| &size.renderers);
    let mut drawn: Vec<&str> = Vec::new();
    for name in names.map(|one| one.name) {
        if drawn.contains(&name) {
            continue;
        }
        let colour = drawn.len();
        drawn.push(name);
        let value = |size: &Size| {
            let one = size.renderers.iter().find(|one| one.name == name)?;
            Some(one.change_ms.median)
        };
        svg += &line(report, &value, &report.title(name), colour);
    }
    svg + "</svg>\n"
}

fn axes(report: &Report, right: f64, bottom: f64) -> String {
    let mut svg = String::new();
    for ms in [1.0, 10.0, 100.0, 1_000.0] {
        let y = height(ms);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for size in &report.sizes {
        let x = position(report, size);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            thousands(size.instances)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">instances</text>",
        f64::midpoint(LEFT, right),
        bottom + 38.0
    );
    svg
}

/// A line with a dot and its value at each size, and its name at the end.
fn line(
    report: &Report,
    value: &dyn Fn(&Size) -> Option<f64>,
    title: &str,
    colour: usize,
) -> String {
    let colour = COLOURS[colour % COLOURS.len()];
    let points: Vec<(f64, f64, f64)> = report
        .sizes
        .iter()
        .filter_map(|size| {
            let ms = value(size)?;
            Some((position(report, size), height(ms), ms))
        })
        .collect();
    let path: Vec<String> = points
        .iter()
        .map(|(x, y, _)| format!("{x:.1},{y:.1}"))
        .collect();
    let mut svg = format!(
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\n",
        path.join(" ")
    );
    for (x, y, ms) in &points {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"><title>{} ms</title></circle>",
            short(*ms)
        );
    }
    if let Some((x, y, ms)) = points.last() {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}: {} ms</text>",
            x + 8.0,
            y + 4.0,
            escape(title),
            short(*ms)
        );
    }
    svg
}

/// The horizontal position of a size.
fn position(report: &Report, size: &Size) -> f64 {
    let ends = (report.sizes.first(), report.sizes.last());
    let (Some(first), Some(last)) = ends else {
        return LEFT;
    };
    let log = |count: usize| to_f64(count.max(1)).log10();
    let range = (log(last.instances) - log(first.instances)).max(f64::MIN_POSITIVE);
    let share = (log(size.instances) - log(first.instances)) / range;
    LEFT + 30.0 + (WIDTH - 60.0) * share
}

/// The vertical position of a time.
fn height(ms: f64) -> f64 {
    let share = (ms.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10();
    TOP + HEIGHT * (1.0 - share)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
