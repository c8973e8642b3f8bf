//! Metrics as text, for Prometheus; and the wall clock, in which it thinks. Adapter.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The type of [`text`].
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All metrics of a registry.
pub(super) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Nothing but a String is written to, which does not fail.
    let _ = prometheus_text::encode(&mut text, registry);
    text
}

/// Gauges whose values are looked up when somebody asks.
pub(super) struct Gauges<'a>(pub(super) DescriptorEncoder<'a>);

impl Gauges<'_> {
    /// A gauge without labels; none if it has no value now.
    pub(super) fn one(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let values = value.map(|value| ([("", ""); 0], value));
        self.write(name, help, values)
    }

    /// A gauge with one label.
    pub(super) fn by<'s>(
        &mut self,
        (name, label): (&str, &str),
        help: &str,
        values: impl IntoIterator<Item = (&'s str, f64)>,
    ) -> fmt::Result {
        let values = values.into_iter();
        self.write(name, help, values.map(|(of, value)| ([(label, of)], value)))
    }

    /// Which version runs, and as what.
    pub(super) fn build(&mut self, version: &str, mode: &str) -> fmt::Result {
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
        // A name without a value would be a promise that nobody keeps.
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

/// 1 for yes and 0 for no.
pub(super) fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Seconds since 1970.
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
