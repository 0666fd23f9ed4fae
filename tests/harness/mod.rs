//! What every test starts with: a [`TestApp`], clients with cookies, and pictures made in memory.

mod app;
mod client;
pub mod pictures;
mod postgres;

pub use app::{PASSWORD, TestApp};
pub use client::{Answer, Client, send};
pub use postgres::fresh_database;
