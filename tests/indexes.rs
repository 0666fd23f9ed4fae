//! The queries of hot paths use indexes: no request reads a large table from end to end.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{TestApp, pictures};

#[tokio::test]
async fn no_hot_path_reads_a_large_table_from_end_to_end() {
    let mut app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(300, 300)).await;
    fill(&app).await;
    let path = format!("/api/images/{}", image["pk"]);
    let url = |name: &str| image["file_urls"][name].as_str().expect("a link").to_owned();

    client.get("/api/images").await.expect(StatusCode::OK);
    client.get("/api/images?cursor=2000").await.expect(StatusCode::OK);
    client.get(&path).await.expect(StatusCode::OK);
    client.patch(&path, json!({"title": "b"})).await.expect(StatusCode::OK);
    client.get(&format!("{path}/thumbnails/200")).await.expect(StatusCode::OK);
    client.get(&url("original")).await.expect(StatusCode::OK);
    client.get(&url("200 px high")).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    client.get(&url("200 px high")).await.expect(StatusCode::OK);
    let link =
        client.post(&format!("{path}/expiring_links"), json!({"valid_for": 300})).await.json();
    client.get(link["link"].as_str().expect("a link")).await.expect(StatusCode::OK);
    client.get(&format!("{path}/expiring_links")).await.expect(StatusCode::OK);
    client.uploaded("b.png", pictures::png(10, 10)).await;
    client.delete(&path).await.expect(StatusCode::NO_CONTENT);
    app.run_jobs().await;

    // a connection reports what it read when it ends
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    sqlx::query(end).execute(&app.pool).await.expect("ended connections");
    let read = "SELECT relname || ' ' || seq_scan FROM pg_stat_user_tables
        WHERE relname IN ('images', 'thumbnails', 'expiring_links', 'sessions', 'users') AND seq_scan > 0";
    let read: Vec<String> =
        sqlx::query_scalar(read).fetch_all(&app.pool).await.expect("statistics");
    assert_eq!(read, Vec::<String>::new());
    let used = "SELECT sum(idx_scan)::int8 FROM pg_stat_user_tables WHERE relname = 'thumbnails'";
    let used: i64 = sqlx::query_scalar(used).fetch_one(&app.pool).await.expect("statistics");
    assert!(used > 0, "the statistics are there");
}

/// So many rows that reading all of them is never the better plan.
async fn fill(app: &TestApp) {
    // one connection throughout: another one of the pool may report what it read after the
    // statistics are empty
    let mut connection = app.pool.acquire().await.expect("a connection");
    for statement in [
        "INSERT INTO users (username, password_hash, tier_id, created_at)
            SELECT 'u' || n, '', (SELECT min(id) FROM tiers), now() FROM generate_series(1, 4000) AS n",
        "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
            SELECT id, gen_random_uuid(), 'x', 'png', 1, 1, 1, now() FROM users",
        "INSERT INTO thumbnails (id, image_id, height)
            SELECT gen_random_uuid(), id, 200 FROM images ON CONFLICT DO NOTHING",
        "INSERT INTO expiring_links (id, image_id, valid_for, created_at, expires_at)
            SELECT gen_random_uuid(), id, 300, now(), now() + interval '300 seconds' FROM images",
        "INSERT INTO sessions (id, user_id, data, expires_at)
            SELECT 's' || id, id, '{}', now() + interval '1 day' FROM users",
        "ANALYZE",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.expect(statement);
    }
    // prepared statements of these connections were planned for empty tables
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    sqlx::query(end).execute(&mut *connection).await.expect("ended connections");
    sqlx::query("DISCARD PLANS").execute(&mut *connection).await.expect("no plans");
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(&mut *connection)
        .await
        .expect("flushed statistics");
    sqlx::query("SELECT pg_stat_reset()")
        .execute(&mut *connection)
        .await
        .expect("empty statistics");
}
