//! What every test starts with: a [`TestApp`], clients with cookies, and pictures made in memory.

mod app;
mod browser;
mod chromedriver;
mod client;
mod own_postgres;
mod pgbouncer;
pub(crate) mod pictures;
mod postgres;
pub(crate) mod processes;
pub(crate) mod prometheus;
mod proxy;
mod s3_server;
mod site;
mod terminal;

pub(crate) use app::{PASSWORD, TestApp, wait_until};
pub(crate) use browser::Browser;
pub(crate) use client::{Answer, Client, ImageLinks, send};
pub(crate) use own_postgres::OwnPostgres;
pub(crate) use pgbouncer::{PgBouncer, free_port};
pub(crate) use postgres::{binaries, fresh_database};
pub(crate) use prometheus::Prometheus;
pub(crate) use proxy::Proxy;
pub(crate) use s3_server::{S3Server, create_bucket};
pub(crate) use site::{Site, ended, files, log_in};
pub(crate) use terminal::Terminal;
