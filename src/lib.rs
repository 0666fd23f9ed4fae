//! The configuration of the service, and the wiring of its processes.

pub mod metrics_listener;
pub mod service;

use clap::Args;
use shared::config::{
    DatabaseConfig, HttpConfig, LimitsConfig, MetricsConfig, RetentionConfig, StorageConfig,
    SuperuserConfig, WorkerConfig,
};

pub use self::service::Process;

/// The options of every process.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Where files are kept.
    #[command(flatten)]
    pub storage: StorageConfig,
    /// How the API is reached.
    #[command(flatten)]
    pub http: HttpConfig,
    /// The account that the first start creates.
    #[command(flatten)]
    pub superuser: SuperuserConfig,
    /// Limits.
    #[command(flatten)]
    pub limits: LimitsConfig,
    /// How the worker works.
    #[command(flatten)]
    pub worker: WorkerConfig,
    /// How long obsolete data are kept.
    #[command(flatten)]
    pub retention: RetentionConfig,
    /// Metrics.
    #[command(flatten)]
    pub metrics: MetricsConfig,
}
