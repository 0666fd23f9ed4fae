//! The kinds of metrics. Without a recorder, each call ends at the first comparison.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use metrics::{Key, Label, Level, Metadata};

/// Whether [`super::install`] was called in this process.
static IS_ON: AtomicBool = AtomicBool::new(false);

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// From now on, calls reach the recorder.
pub(super) fn turn_on() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// Whether this process records metrics.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// What Prometheus calls the type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As in the exposition's `# TYPE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric as the catalogue describes it.
#[derive(Debug)]
pub struct Metric {
    /// The unit is part of the name.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// Upper bounds, of histograms only.
    pub buckets: &'static [f64],
}

impl Metric {
    fn key<const N: usize>(&self, values: [&str; N]) -> Key {
        let labels = self.labels.iter().zip(values);
        let labels: Vec<_> =
            labels.map(|(name, value)| Label::new(*name, value.to_owned())).collect();
        Key::from_parts(self.name, labels)
    }
}

/// A count that only grows.
#[derive(Debug)]
pub struct Counter<const N: usize>(pub(super) Metric);

/// A value that rises and falls.
#[derive(Debug)]
pub struct Gauge<const N: usize>(pub(super) Metric);

/// A distribution.
#[derive(Debug)]
pub struct Histogram<const N: usize>(pub(super) Metric);

impl<const N: usize> Counter<N> {
    /// Adds to the series with these values of the labels. Adding 0 makes the series appear, which
    /// lets a rate see the first event.
    pub fn add(&self, labels: [&str; N], count: u64) {
        if is_on() {
            metrics::with_recorder(|recorder| {
                recorder.register_counter(&self.0.key(labels), &METADATA).increment(count);
            });
        }
    }
}

impl<const N: usize> Gauge<N> {
    pub fn set(&self, labels: [&str; N], value: f64) {
        self.change(labels, |gauge| gauge.set(value));
    }

    /// Adds to a value that several tasks change; a negative number lowers it.
    pub fn add(&self, labels: [&str; N], difference: f64) {
        self.change(labels, |gauge| gauge.increment(difference));
    }

    fn change(&self, labels: [&str; N], change: impl FnOnce(&metrics::Gauge)) {
        if is_on() {
            metrics::with_recorder(|recorder| {
                change(&recorder.register_gauge(&self.0.key(labels), &METADATA));
            });
        }
    }
}

impl Gauge<0> {
    /// Counts something from now until the guard is dropped.
    pub fn hold(&'static self, amount: f64) -> Held {
        self.add([], amount);
        Held { gauge: self, amount }
    }
}

/// What a gauge counts, until it is dropped.
#[derive(Debug)]
#[must_use = "the gauge falls when this is dropped"]
pub struct Held {
    gauge: &'static Gauge<0>,
    amount: f64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.add([], -self.amount);
    }
}

impl<const N: usize> Histogram<N> {
    pub fn record(&self, labels: [&str; N], value: f64) {
        if is_on() {
            metrics::with_recorder(|recorder| {
                recorder.register_histogram(&self.0.key(labels), &METADATA).record(value);
            });
        }
    }

    /// Records the seconds since `start`.
    pub fn record_since(&self, labels: [&str; N], start: Instant) {
        if is_on() {
            self.record(labels, start.elapsed().as_secs_f64());
        }
    }
}

/// A count as the type of gauges, which is exact up to 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "no count is near 2⁵³")]
pub fn approximate(count: u64) -> f64 {
    count as f64
}
