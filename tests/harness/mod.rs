//! What every test starts with: a [`TestApp`], clients with cookies, and pictures made in memory.

mod app;
mod browser;
mod chromedriver;
mod client;
pub(crate) mod pictures;
mod postgres;
pub(crate) mod processes;
mod proxy;

pub(crate) use app::{PASSWORD, TestApp, wait_until};
pub(crate) use browser::Browser;
pub(crate) use client::{Client, send};
pub(crate) use postgres::fresh_database;
pub(crate) use proxy::Proxy;
