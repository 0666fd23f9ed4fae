//! The configuration: command-line options, each with an environment variable and a default.
//! `pictier --help` prints these texts, and the table in docs/operations.md repeats them.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Command};
use cron::Schedule;

use crate::{
    public_url::{Origins, PublicUrl},
    schedule::parse_schedule,
};

/// Connections that a worker needs besides one per concurrent thumbnail, for heartbeats, polling
/// and listening. The help of `--database-connections` repeats this number.
pub const WORKER_EXTRA_CONNECTIONS: u32 = 7;

/// Which database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseConfig {
    /// URL of a Postgres 15 or newer database; PGPASSWORD may hold its password. Without a URL,
    /// Pictier runs a private server in the data directory
    #[arg(long, env, global = true, hide_env_values = true)]
    pub database_url: Option<String>,

    /// Maximum database connections of one process; a worker needs at least its concurrency plus 7
    #[arg(long, env, global = true, default_value_t = 20)]
    pub database_connections: u32,

    /// Directory of the initdb and postgres programs for the private server, if they are not where
    /// Debian or Homebrew install them
    #[arg(long, env = "PG_BIN_DIR", global = true)]
    pub pg_bin_dir: Option<PathBuf>,
}

/// Where files are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Storage")]
pub struct StorageConfig {
    /// Directory for uploads in progress, files (unless in S3) and the private database
    #[arg(long, env, global = true, default_value = "data")]
    pub data_dir: PathBuf,

    /// S3 bucket for files; credentials, region and endpoint come from the usual AWS_* variables
    #[arg(long, env, global = true)]
    pub s3_bucket: Option<String>,

    /// Allow S3 without TLS, for a store on the same machine
    #[arg(long, env, global = true)]
    pub s3_allow_http: bool,
}

/// Where files are, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoragePlace {
    /// A data directory.
    Disk(PathBuf),
    /// A bucket.
    S3(String),
}

impl FromStr for StoragePlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("disk", data_dir)) if !data_dir.is_empty() => Ok(Self::Disk(data_dir.into())),
            Some(("s3", bucket)) if !bucket.is_empty() => Ok(Self::S3(bucket.to_owned())),
            _ => Err("say disk:DATA_DIR or s3:BUCKET"),
        }
    }
}

impl StorageConfig {
    /// The same configuration with files in another place.
    #[must_use]
    pub fn at(&self, place: &StoragePlace) -> Self {
        match place {
            StoragePlace::Disk(data_dir) => {
                Self { data_dir: data_dir.clone(), s3_bucket: None, ..self.clone() }
            }
            StoragePlace::S3(bucket) => Self { s3_bucket: Some(bucket.clone()), ..self.clone() },
        }
    }
}

/// How the API is reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpConfig {
    /// Address and port to listen on
    #[arg(long, env, global = true, default_value = "127.0.0.1:8000")]
    pub bind: SocketAddr,

    /// Public URL of the service: scheme, host and port, no path. Without it, links use the
    /// request's host. With https, session cookies are Secure
    #[arg(long, env, global = true)]
    pub public_url: Option<PublicUrl>,

    /// Trust X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto, which a reverse proxy sets
    #[arg(long, env, global = true)]
    pub behind_proxy: bool,

    /// Origins whose pages may call the API with a token, separated by commas: scheme, host and
    /// port as in a public URL. Pages of other origins cannot
    #[arg(long, env, global = true)]
    pub cors_origins: Option<Origins>,

    /// Maximum open HTTP connections of one process; further ones are refused
    #[arg(long, env, global = true, default_value_t = 8192)]
    pub http_connections: usize,

    /// Allow other than loopback addresses while an administrator has the default password
    #[arg(long, env, global = true)]
    pub allow_default_password: bool,
}

/// The account that the first start creates.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "First superuser")]
pub struct SuperuserConfig {
    /// Username of the superuser that the first start creates
    #[arg(long, env, global = true, default_value = "admin")]
    pub superuser_username: String,

    /// Password of the superuser that the first start creates; change it
    #[arg(long, env, global = true, default_value = "admin", hide_env_values = true)]
    pub superuser_password: String,
}

/// Limits, each with its unit.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitsConfig {
    /// Maximum size of an upload in bytes; a tier may allow less
    #[arg(long, env, global = true, default_value_t = 20 << 20)]
    pub upload_max_bytes: u64,

    /// Maximum pixels of an upload, width times height
    #[arg(long, env, global = true, default_value_t = 50_000_000)]
    pub image_max_pixels: u64,

    /// Maximum width and height of an upload in px
    #[arg(long, env, global = true, default_value_t = 16_384)]
    pub image_max_side_px: u32,

    /// Maximum scans in a progressive JPEG
    #[arg(long, env, global = true, default_value_t = 64)]
    pub jpeg_max_scans: u32,

    /// Maximum CPU time to decode an image, in seconds
    #[arg(long, env, global = true, default_value_t = 20)]
    pub decode_max_seconds: u64,

    /// Maximum time to read a request body, in seconds
    #[arg(long, env, global = true, default_value_t = 120)]
    pub request_body_max_seconds: u64,

    /// Failed logins within 15 minutes before an address is locked out of an account; ten times as
    /// many over all accounts lock it out of all
    #[arg(long, env, global = true, default_value_t = 10)]
    pub login_max_failures: i32,

    /// Maximum uploads of one account per minute
    #[arg(long, env, global = true, default_value_t = 120)]
    pub uploads_per_minute: i32,

    /// Maximum live expiring links of one image
    #[arg(long, env, global = true, default_value_t = 1000)]
    pub links_per_image: i64,

    /// Maximum thumbnails that wait for a worker; further first requests get 503
    #[arg(long, env, global = true, default_value_t = 100_000)]
    pub waiting_thumbnails: u32,

    /// Maximum requests of one process that wait for a thumbnail; further ones get 202 at once
    #[arg(long, env, global = true, default_value_t = 10_000)]
    pub waiting_requests: usize,

    /// Of them, the maximum that wait for thumbnails of one account
    #[arg(long, env, global = true, default_value_t = 1000)]
    pub waiting_requests_per_account: usize,

    /// Of them, the maximum that come from one address, or from one /64 network of IPv6
    #[arg(long, env, global = true, default_value_t = 1000)]
    pub waiting_requests_per_address: usize,
}

impl LimitsConfig {
    /// Those that hold for an image's content.
    pub fn imaging(&self) -> imaging::Limits {
        imaging::Limits {
            max_pixels: self.image_max_pixels,
            max_side_px: self.image_max_side_px,
            max_scans: self.jpeg_max_scans,
            ..imaging::Limits::default()
        }
    }

    /// The longest time to decode an image.
    pub fn decode_time(&self) -> Duration {
        Duration::from_secs(self.decode_max_seconds)
    }
}

/// How the worker works.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Worker")]
pub struct WorkerConfig {
    /// Thumbnails that one worker makes at the same time [default: one per core]
    #[arg(long, env, global = true)]
    pub worker_concurrency: Option<usize>,

    /// Memory budget of a worker's decoders in MiB [default: half of the machine's or container's
    /// memory]
    #[arg(long, env, global = true)]
    pub worker_memory_mib: Option<u64>,

    /// Seconds between a worker's heartbeats; after four missed ones its jobs go to another worker
    #[arg(long, env, global = true, default_value_t = 5)]
    pub worker_heartbeat_seconds: u64,

    /// When jobs by the clock run.
    #[command(flatten)]
    pub schedules: ScheduleConfig,
}

/// When jobs by the clock run.
#[derive(Args, Clone, Debug)]
pub struct ScheduleConfig {
    /// When the cleanup runs: a cron expression with seconds, in UTC; once across all workers
    #[arg(long, env, global = true, default_value = "0 0 * * * *", value_parser = parse_schedule)]
    pub cleanup_schedule: Schedule,

    /// When this worker audits, for its log and metrics: a cron expression with seconds, in UTC;
    /// each worker that has it audits
    #[arg(long, env, global = true, value_parser = parse_schedule)]
    pub audit_schedule: Option<Schedule>,
}

/// Metrics.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsConfig {
    /// Address and port to serve /metrics for Prometheus on, without a login; off without it
    #[arg(long, env, global = true)]
    pub metrics_bind: Option<SocketAddr>,
}

/// How long obsolete data are kept.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Cleanup and audit")]
pub struct RetentionConfig {
    /// Delete thumbnail files that no row references after this many seconds; at least 3600
    #[arg(long, env, global = true, default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(3600..))]
    pub orphan_age_seconds: u64,

    /// Delete temporary files older than this many seconds
    #[arg(long, env, global = true, default_value_t = 3_600)]
    pub temp_file_age_seconds: u64,

    /// Report jobs as stuck after this many seconds without progress
    #[arg(long, env, global = true, default_value_t = 600)]
    pub stuck_job_seconds: u64,
}

/// A group of options as it is where the command line says nothing of it: for tests and benchmarks.
///
/// # Panics
/// When an option has no default, or its environment variable holds what it does not take.
pub fn defaults<T: Args>() -> T {
    let matches = T::augment_args(Command::new("pictier")).get_matches_from(["pictier"]);
    T::from_arg_matches(&matches).expect("every option has a default")
}
