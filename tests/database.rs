//! The pools of connections, which everything relies on: what is given up on its way, as a request
//! is whose client goes away, takes nothing with it that comes later.

use std::{future::Future, pin::pin, process::Command, time::Duration};

use shared::postgres;
use sqlx::PgPool;

use crate::harness::{TestApp, binaries, fresh_database};

/// What begins takes two or three steps: each round gives up after each of them.
const STEPS: usize = 5;
const ROUNDS: usize = 20;

/// Polls a future so many times, each time when there is something new, and gives it up.
async fn give_up_after(steps: usize, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..steps {
        if futures::poll!(&mut future).is_ready() {
            break;
        }
        // what it waits for comes meanwhile
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn insert(pool: &PgPool, key: usize) {
    let insert = "INSERT INTO rate_limits (key, hits, resets_at) VALUES ($1, 1, now())";
    sqlx::query(insert).bind(key.to_string()).execute(pool).await.expect("a row");
}

#[tokio::test]
async fn a_transaction_that_is_given_up_as_it_begins_swallows_nothing_that_comes_later() {
    let app = TestApp::start().await;
    let pool = postgres::connect(app.database.clone(), 1).await.expect("a pool");
    for number in 0..STEPS * ROUNDS {
        give_up_after(number % STEPS, postgres::begin(&pool)).await;
        insert(&pool, number).await;
    }
    assert_eq!(app.rows("rate_limits").await, 100);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "apalis begins transactions so")]
async fn nor_does_one_that_the_queue_begins() {
    let app = TestApp::start().await;
    let pool = postgres::connect_for_queue(app.database.clone(), 1).await.expect("a pool");
    for number in 0..STEPS * ROUNDS {
        give_up_after(number % STEPS, pool.begin()).await;
        insert(&pool, number).await;
    }
    assert_eq!(app.rows("rate_limits").await, 100);
}

#[tokio::test]
async fn the_tests_run_on_the_postgres_that_pg_bin_dir_names() {
    let pool = postgres::connect(fresh_database().await, 1).await.expect("a pool");
    let version: String =
        sqlx::query_scalar("SHOW server_version").fetch_one(&pool).await.expect("a version");
    let major =
        |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    assert!(major(&version) >= Some(15), "{version}");
    if let Some(binaries) = binaries() {
        let named =
            Command::new(binaries.join("postgres")).arg("--version").output().expect("a version");
        let named = String::from_utf8_lossy(&named.stdout).into_owned();
        assert_eq!(major(&version), named.split_whitespace().nth(2).and_then(major), "{named}");
    }
}
