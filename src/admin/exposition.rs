//! Metrics as text for Prometheus, and times as seconds since 1970, which it expects. Adapter.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The media type of [`encode`]'s text.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Writes all metrics of a registry.
pub(super) fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = prometheus_text::encode(&mut text, registry);
    text
}

/// Writes gauges whose values are looked up at each request.
pub(super) struct Gauges<'a>(pub(super) DescriptorEncoder<'a>);

impl Gauges<'_> {
    /// Writes a gauge without labels, or nothing if it has no value.
    pub(super) fn write_one(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let values = value.map(|value| ([("", ""); 0], value));
        self.write(name, help, values)
    }

    /// Writes a gauge with one label.
    pub(super) fn write_by<'s>(
        &mut self,
        (name, label): (&str, &str),
        help: &str,
        values: impl IntoIterator<Item = (&'s str, f64)>,
    ) -> fmt::Result {
        let values = values.into_iter();
        self.write(name, help, values.map(|(of, value)| ([(label, of)], value)))
    }

    /// Writes the gauge with the version and the mode.
    pub(super) fn write_build(&mut self, version: &str, mode: &str) -> fmt::Result {
        let labels = [("version", version), ("mode", mode)];
        let help = "Always 1; the labels say which version runs, and in which mode.";
        self.write("sidekick_build_info", help, [(labels, 1.0)])
    }

    fn write<'s, 'l: 's, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'l str, &'s str); N], f64)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        // A gauge without a value is left out, name and help included.
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            if N == 0 {
                metric.encode_gauge(&value)?;
            } else {
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

/// 1 for true and 0 for false.
pub(super) fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// The time now in seconds since 1970, by the system's clock.
pub(super) fn wall_seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

/// An instant as seconds since 1970.
pub(super) fn timestamp(at: Instant) -> f64 {
    let now = Instant::now();
    let ahead = at.saturating_duration_since(now).as_secs_f64();
    wall_seconds() + ahead - now.saturating_duration_since(at).as_secs_f64()
}
