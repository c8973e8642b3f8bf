//! The plot of a scene: response times and failures over time, as SVG. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use super::stats::{SLOT, Slot};

const WIDTH: f64 = 1200.0;
/// The height of the frame, in pixels.
pub(crate) const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
/// The upper edge of the frame, in pixels.
pub(crate) const TOP: f64 = 60.0;
/// The range of the response times, in milliseconds; the scale is logarithmic.
const LEAST: f64 = 1.0;
const MOST: f64 = 10_000.0;

/// Draws a time line; `marks` are events, each with its time after the start.
pub(crate) fn svg(title: &str, line: &[Slot], marks: &[(Duration, String)]) -> String {
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
        right + 20.0,
        bottom + 40.0,
        escape(title)
    );
    svg += &axes(line.len(), right, bottom);
    let x = |slot: f64| LEFT + WIDTH * slot / to_f64(line.len().max(1));
    for (at, name) in marks {
        let x = x(at.as_secs_f64() / SLOT.as_secs_f64());
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>\
             <text transform=\"translate({x:.1} {}) rotate(-35)\" font-size=\"9\" fill=\"#555\">{}</text>",
            TOP - 3.0,
            escape(name)
        );
    }
    let _ = writeln!(svg, "{}", curve(line, x, |slot| slot.worst, "#bbd"));
    let _ = writeln!(svg, "{}", curve(line, x, |slot| slot.p95, "#225"));
    for (n, slot) in line.iter().enumerate().filter(|(_, slot)| slot.failed > 0) {
        let height = HEIGHT * to_f64(slot.failed) / to_f64(slot.requests.max(1));
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"red\"/>",
            x(to_f64(n)),
            bottom - height,
            (x(1.0) - x(0.0)).max(1.0)
        );
    }
    svg + "</svg>\n"
}

fn axes(slots: usize, right: f64, bottom: f64) -> String {
    let mut svg = String::new();
    for (ms, name) in [
        (1.0, "1 ms"),
        (10.0, "10 ms"),
        (100.0, "100 ms"),
        (1e3, "1 s"),
        (1e4, "10 s"),
    ] {
        let y = height(ms);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#eee\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 5.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">0 s</text><text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{:.0} s</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">dark: 95th percentile of the response times of each 100 ms; \
         light: the longest; red: the share that failed</text>",
        bottom + 16.0,
        bottom + 16.0,
        to_f64(slots) * SLOT.as_secs_f64(),
        f64::midpoint(LEFT, right),
        bottom + 32.0
    );
    svg
}

/// The vertical position of a response time.
pub(crate) fn height(ms: f64) -> f64 {
    let share = (ms.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10();
    TOP + HEIGHT * (1.0 - share)
}

fn curve(
    line: &[Slot],
    x: impl Fn(f64) -> f64,
    value: impl Fn(&Slot) -> Option<Duration>,
    colour: &str,
) -> String {
    let points = line.iter().enumerate().filter_map(|(n, slot)| {
        let y = height(value(slot)?.as_secs_f64() * 1e3);
        Some(format!("{:.1},{y:.1}", x(to_f64(n) + 0.5)))
    });
    let points: Vec<String> = points.collect();
    format!(
        "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>",
        points.join(" ")
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
