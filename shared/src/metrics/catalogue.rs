//! Every metric of the service. The table in docs/operations.md repeats this one, and a test holds
//! it equal.
//!
//! Labels have few values: templates of routes, methods, statuses, names of queues and of kinds,
//! never a user, a path, a title or an id.

use super::instruments::{Counter, Gauge, Histogram, Kind, Metric};

/// Bounds for requests, in seconds: from a file that is in memory to the longest wait.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Bounds for what jobs and the storage do, in seconds.
const WORK_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0];

/// How many labels a metric has: the length of the array that its calls take.
const fn labels(names: &[&str]) -> usize {
    names.len()
}

/// Defines the metrics and [`CATALOGUE`], so that none is missing there.
macro_rules! catalogue {
    ($($name:ident = $kind:ident($text:literal, [$($label:literal),*] $(, $buckets:ident)?): $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $name: $kind<{ labels(&[$($label),*]) }> = $kind(Metric {
                name: $text,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
                buckets: catalogue!(@buckets $($buckets)?),
            });
        )*
        /// Every metric, in the order of the manual.
        pub static CATALOGUE: &[&Metric] = &[$(&$name.0),*];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

catalogue! {
    HTTP_REQUESTS = Counter("pictier_http_requests_total", ["route", "method", "status"]):
        "Requests that were answered; status 499 if the client closed its connection before the answer";
    HTTP_REQUEST_SECONDS = Histogram("pictier_http_request_seconds", ["route", "method"], REQUEST_SECONDS):
        "Time from a request to the head of its answer";
    WAITING_REQUESTS = Gauge("pictier_waiting_requests", []):
        "Requests that wait for a thumbnail";
    EVENT_STREAMS = Gauge("pictier_event_streams", []):
        "Open event streams";
    UPLOADS = Counter("pictier_uploads_total", []):
        "Files that were stored as images";
    UPLOADED_BYTES = Counter("pictier_uploaded_bytes_total", []):
        "Their bytes";
    QUEUE_JOBS = Gauge("pictier_queue_jobs", ["queue", "state"]):
        "Jobs in the database: waiting, running, failed (to be retried) or dead (given up); every process reports the same";
    QUEUE_OLDEST_WAITING_SECONDS = Gauge("pictier_queue_oldest_waiting_seconds", ["queue"]):
        "How long the first of the due jobs has waited, 0 if none waits; every process reports the same";
    LIVE_WORKERS = Gauge("pictier_live_workers", []):
        "Worker processes with a heartbeat within the last 30 s; every process reports the same";
    DATABASE_UP = Gauge("pictier_database_up", []):
        "1 if the database answered the scrape, or 0, and then the metrics that are read from it are NaN";
    DATABASE_CONNECTIONS = Gauge("pictier_database_connections", ["pool", "state"]):
        "Connections to the database that are used or idle, by pool: api or worker";
    DATABASE_CONNECTIONS_MAX = Gauge("pictier_database_connections_max", ["pool"]):
        "Connections that the pool may open";
    JOB_ATTEMPTS = Counter("pictier_job_attempts_total", ["queue"]):
        "Attempts that a worker started";
    JOB_OUTCOMES = Counter("pictier_job_outcomes_total", ["queue", "outcome"]):
        "Attempts that ended: done, failed, transient, or waiting (for the end of a backup); the last two cost no attempt";
    JOB_SECONDS = Histogram("pictier_job_seconds", ["queue"], WORK_SECONDS):
        "Time of an attempt, whatever its outcome";
    CLAIMS = Counter("pictier_claims_total", ["result"]):
        "Claims of thumbnails: claimed, unneeded (another job made it), or lost before the end";
    THUMBNAILS = Counter("pictier_thumbnails_total", ["outcome"]):
        "Thumbnails that were made, or refused because the image cannot be decoded";
    THUMBNAIL_STAGE_SECONDS = Histogram("pictier_thumbnail_stage_seconds", ["stage"], WORK_SECONDS):
        "Stages of a thumbnail's job: fetch the original, make (wait for memory and a core, decode, resize and encode), put the file, commit the row";
    WORKER_MEMORY_BUDGET_BYTES = Gauge("pictier_worker_memory_budget_bytes", []):
        "Memory budget of the worker's decoders";
    WORKER_MEMORY_RESERVED_BYTES = Gauge("pictier_worker_memory_reserved_bytes", []):
        "What decoders reserved of it";
    STORAGE_SECONDS = Histogram("pictier_storage_seconds", ["operation", "outcome"], WORK_SECONDS):
        "Storage operations (get, head, put, delete, verify the marker) that ended ok or with an error; a get lasts until the first byte";
    STORAGE_ERRORS = Counter("pictier_storage_errors_total", ["operation"]):
        "Storage operations that failed, with reads of an object that was opened and listings";
    CLEANUP_DELETED = Counter("pictier_cleanup_deleted_total", ["kind"]):
        "What cleanups of this process deleted or repaired";
    AUDIT_FINDINGS = Gauge("pictier_audit_findings", ["kind"]):
        "What the last audit of this process found; it needs an audit schedule";
    AUDIT_TIMESTAMP_SECONDS = Gauge("pictier_audit_timestamp_seconds", []):
        "When it ended, in seconds since 1970";
}
