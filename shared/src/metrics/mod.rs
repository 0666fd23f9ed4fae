//! Metrics for Prometheus. `catalogue.rs` names all of them; code elsewhere can record only those,
//! and nothing is recorded until [`install`] is called.

mod catalogue;
mod instruments;
mod recorder;

pub use catalogue::*;
pub use instruments::{Counter, Gauge, Held, Histogram, Kind, Metric, approximate, is_on};
pub use recorder::{Exposition, MetricsError, install};
