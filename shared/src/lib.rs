//! What the API and the worker share: the domain, the database, the object store and the job
//! payloads. The two meet here and nowhere else.

pub mod backoff;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod installation;
pub mod jobs;
pub mod log_limit;
pub mod metrics;
pub mod passwords;
pub mod postgres;
pub mod public_url;
pub mod schedule;
pub mod services;
pub mod storage;
