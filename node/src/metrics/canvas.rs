//! Draws rows in the text format, checked against the catalogue.

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::catalogue::{Kind, Metric};

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// A recorder for one picture: what is not drawn is not shown.
pub(super) struct Canvas {
    recorder: PrometheusRecorder,
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self { recorder: PrometheusBuilder::new().build_recorder() }
    }

    /// Draws a value that rises and falls.
    pub(super) fn gauge(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.recorder.register_gauge(&key(metric, labels), &METADATA).set(value);
    }

    /// Draws a value that has only risen since the process started.
    pub(super) fn counter(&self, metric: &'static Metric, labels: &[&str], value: u64) {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.recorder.register_counter(&key(metric, labels), &METADATA).absolute(value);
    }

    /// The picture in the text format.
    pub(super) fn render(&self, described: impl Iterator<Item = &'static Metric>) -> String {
        described.for_each(|metric| describe(&self.recorder, metric));
        self.recorder.handle().render()
    }
}

/// Says what a metric means.
pub(super) fn describe(recorder: &impl Recorder, metric: &'static Metric) {
    let name = KeyName::from_const_str(metric.name);
    let help = SharedString::const_str(metric.help);
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, None, help),
        Kind::Gauge => recorder.describe_gauge(name, None, help),
        Kind::Histogram => recorder.describe_histogram(name, None, help),
    }
}

/// A handle to a histogram that is kept between scrapes.
pub(super) fn histogram(recorder: &impl Recorder, metric: &'static Metric) -> metrics::Histogram {
    debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
    recorder.register_histogram(&key(metric, &[]), &METADATA)
}

fn key(metric: &'static Metric, labels: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
    let pairs = metric.labels.iter().zip(labels);
    let labels: Vec<Label> =
        pairs.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name, labels)
}

/// A count as Prometheus has numbers; exact below 2^53.
pub(super) fn number(count: usize) -> f64 {
    count as f64
}

/// A count as Prometheus has numbers; exact below 2^53.
pub(super) fn long(count: u64) -> f64 {
    count as f64
}

/// 1 for true.
pub(super) fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}
