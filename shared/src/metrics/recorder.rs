//! The recorder of a process, and its text for Prometheus.

use std::time::Duration;

use metrics::{Recorder, SharedString};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{catalogue::CATALOGUE, instruments, instruments::Kind};

/// Samples of histograms are put into their buckets this often, or by a scrape.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("The buckets of a histogram are invalid: {0}")]
    Buckets(#[from] BuildError),
    #[error("This process records metrics already.")]
    Installed,
}

/// The metrics of this process as text. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exposition(PrometheusHandle);

/// Records metrics in this process from now on.
pub fn install() -> Result<Exposition, MetricsError> {
    let mut builder = PrometheusBuilder::new();
    for metric in CATALOGUE.iter().filter(|metric| metric.kind == Kind::Histogram) {
        let name = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(name, metric.buckets)?;
    }
    let recorder = builder.build_recorder();
    for metric in CATALOGUE {
        let (name, help) = (metric.name.into(), SharedString::const_str(metric.help));
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        }
    }
    let exposition = Exposition(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(|_| MetricsError::Installed)?;
    instruments::turn_on();
    Ok(exposition)
}

impl Exposition {
    /// In the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps the memory of histograms bounded until `stop`, however rarely somebody scrapes.
    pub async fn keep(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let upkeep = async {
            loop {
                interval.tick().await;
                self.0.run_upkeep();
            }
        };
        let _: Option<()> = stop.run_until_cancelled(upkeep).await;
    }
}
