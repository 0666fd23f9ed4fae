//! The connection that listens: what it hears, and that it finds out when it hears nothing any
//! more.

use std::time::Duration;

use shared::postgres::{
    self,
    notifications::{EchoTest, Heard, Notifications, Subscription},
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::harness::{Proxy, fresh_database};

const CHANNEL: &str = "news";
const SOON: EchoTest =
    EchoTest { interval: Duration::from_millis(200), limit: Duration::from_millis(500) };

async fn hear(subscription: &mut Subscription) -> Heard {
    tokio::time::timeout(Duration::from_secs(20), subscription.next())
        .await
        .expect("something is heard")
}

async fn hear_missed(subscription: &mut Subscription) {
    while !matches!(hear(subscription).await, Heard::Missed) {}
}

async fn notify(pool: &PgPool, payload: &str) {
    let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload);
    notify.execute(pool).await.expect("a notification");
}

async fn expect_heard(subscription: &mut Subscription, payload: &str) {
    loop {
        match hear(subscription).await {
            Heard::Notification { payload: heard, .. } => return assert_eq!(&*heard, payload),
            // it may have connected once more
            Heard::Missed => {}
        }
    }
}

#[tokio::test]
async fn a_listener_whose_connection_goes_silent_connects_again_and_says_that_something_was_missed()
{
    let database = fresh_database().await;
    let proxy = Proxy::start(&database).await;
    let direct = postgres::connect(database.clone(), 1).await.expect("a pool");
    let through = postgres::connect(proxy.options(&database), 1).await.expect("a pool");
    let stop = CancellationToken::new();
    let listener = Notifications::listen(&through, &[CHANNEL], SOON, stop.clone());
    let mut subscription = listener.subscribe();
    hear_missed(&mut subscription).await;
    notify(&direct, "first").await;
    expect_heard(&mut subscription, "first").await;

    proxy.silence();
    notify(&direct, "lost").await;
    hear_missed(&mut subscription).await;
    notify(&direct, "second").await;
    expect_heard(&mut subscription, "second").await;
    stop.cancel();
}

#[tokio::test]
async fn a_listener_whose_connection_is_closed_connects_again() {
    let pool = postgres::connect(fresh_database().await, 1).await.expect("a pool");
    let stop = CancellationToken::new();
    let mut subscription =
        Notifications::listen(&pool, &[CHANNEL], EchoTest::default(), stop.clone()).subscribe();
    for round in ["first", "second", "third"] {
        hear_missed(&mut subscription).await;
        notify(&pool, round).await;
        expect_heard(&mut subscription, round).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(end).execute(&pool).await.expect("an ended session");
    }
    stop.cancel();
}

#[tokio::test]
async fn a_listener_that_hears_nothing_keeps_its_connection() {
    let pool = postgres::connect(fresh_database().await, 1).await.expect("a pool");
    let stop = CancellationToken::new();
    let echo = EchoTest { interval: Duration::from_millis(20), limit: Duration::from_secs(10) };
    let mut subscription = Notifications::listen(&pool, &[CHANNEL], echo, stop.clone()).subscribe();
    hear_missed(&mut subscription).await;
    // twenty tests of the connection go by
    let heard = tokio::time::timeout(Duration::from_millis(400), subscription.next()).await;
    assert!(heard.is_err(), "its own notifications are nobody else's: {heard:?}");
    stop.cancel();
}
