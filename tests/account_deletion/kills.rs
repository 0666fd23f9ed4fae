//! A deletion goes on where a killed worker left it.

use std::{path::Path, time::Duration};

use reqwest::StatusCode;
use sqlx::postgres::PgConnectOptions;
use tokio::time::Instant;

use super::{belongings, delete, expect_clean};
use crate::harness::{
    TestApp,
    processes::{Pictier, Running},
};

/// More than one job deletes.
const IMAGES: i64 = 21_000;
const KILLS: usize = 3;

fn worker(data: &Path, database: &PgConnectOptions) -> Running {
    let worker = Pictier::new(data).on(database).args(&["worker"]);
    worker.env("WORKER_HEARTBEAT_SECONDS", "1").env("WORKER_CONCURRENCY", "1").start()
}

async fn images_of(app: &TestApp, owner: i64) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM images WHERE owner_id = $1").bind(owner);
    count.fetch_one(&app.pool).await.expect("a count")
}

#[tokio::test]
async fn a_deletion_survives_workers_that_are_killed() {
    let mut app = TestApp::start().await;
    let (ada, bob) =
        (app.create_user("ada", "Enterprise").await, app.create_user("bob", "Enterprise").await);
    let admin = app.admin().await;
    let client = app.logged_in("ada").await;
    belongings(&mut app, &client).await;
    let client = app.logged_in("bob").await;
    let of_bob = belongings(&mut app, &client).await;
    for owner in [ada, bob] {
        let fill = "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
            SELECT $1, gen_random_uuid(), 'x', 'png', 1, 1, 1, now() FROM generate_series(1, $2)";
        sqlx::query(fill).bind(owner.0).bind(IMAGES).execute(&app.pool).await.expect("images");
    }
    let thumbnails = "INSERT INTO thumbnails (id, image_id, height)
        SELECT gen_random_uuid(), id, 300 FROM images";
    sqlx::query(thumbnails).execute(&app.pool).await.expect("thumbnails");
    let used = "UPDATE users SET used_bytes = (SELECT coalesce(sum(bytes), 0) FROM images WHERE owner_id = users.id)";
    sqlx::query(used).execute(&app.pool).await.expect("bytes");
    delete(&admin, ada).await;

    let deadline = Instant::now() + Duration::from_mins(4);
    let (mut kills, mut left) = (0, IMAGES + 1);
    let mut running = worker(app.data_dir(), &app.database);
    while kills < KILLS {
        assert!(Instant::now() < deadline, "the deletion does not go on");
        let now = images_of(&app, ada.0).await;
        assert!(now > 0, "the worker was too quick to be killed: {kills}");
        if now < left {
            running.kill();
            (kills, left) = (kills + 1, now);
            running = worker(app.data_dir(), &app.database);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while app.open_jobs().await > 0 || app.rows("users WHERE username = 'ada'").await > 0 {
        assert!(Instant::now() < deadline, "the deletion does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(running.stop().await.success());
    assert_eq!((images_of(&app, ada.0).await, images_of(&app, bob.0).await), (0, IMAGES + 1));
    for url in of_bob.urls() {
        client.get(url).await.expect(StatusCode::OK);
    }
    assert!(app.jobs_in("account-deletion").await > 1, "more than one job");
    // rows without files are those that the test made up
    let forget = "DELETE FROM images WHERE title = 'x'";
    sqlx::query(forget).execute(&app.pool).await.expect("no images");
    let recount = "UPDATE users SET used_bytes = (SELECT coalesce(sum(bytes), 0) FROM images WHERE owner_id = users.id)";
    sqlx::query(recount).execute(&app.pool).await.expect("bytes");
    expect_clean(&mut app).await;
    assert_eq!(app.objects().await.len(), 2);
}
