//! What goes wrong in rare moments has the right status, names its field, and is never the server's
//! mistake.

use std::fs;

use futures::future::join_all;
use reqwest::{Method, StatusCode, multipart::Form};
use serde_json::json;
use shared::postgres;
use sqlx::{Executor, PgPool};

use crate::harness::{PASSWORD, TestApp, pictures, send};

#[tokio::test]
async fn a_bad_query_value_is_named() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    for (query, field) in [
        ("limit=abc", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("limit=5&cursor=%00", "cursor"),
        ("format=xml", "format"),
        ("page=2", "page"),
    ] {
        let problem =
            client.get(&format!("/api/images?{query}")).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], field, "{query}: {problem}");
        assert!(problem[field][0].is_string(), "{query}: {problem}");
    }
    client.get("/api/images?limit=&cursor=").await.expect(StatusCode::OK);
    client.get("/api/images?format=json").await.expect(StatusCode::OK);
    let admin = app.admin().await;
    for (page, field, reason) in [
        ("/admin/users?tier=x", "tier", "This must be a whole number."),
        ("/admin/tiers/new?copy=x", "copy", "This must be a whole number."),
        ("/?cursor=x", "cursor", "This must be a whole number."),
        ("/admin/images?cursor=1", "cursor", "There is no such page."),
        ("/admin/links?cursor=1-x", "cursor", "There is no such page."),
        ("/admin/users?active=x", "active", "`x` has no meaning here. Use `yes` or `no`."),
        (
            "/admin/images?sort=x",
            "sort",
            "`x` has no meaning here. Use one of `newest`, `oldest`, `largest`.",
        ),
    ] {
        let problem = admin.get(page).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], field, "{page}: {problem}");
        assert_eq!(problem["errors"][0]["detail"], reason, "{page}: {problem}");
    }
    for page in ["/admin/images?owner=&title=&id=+&failed=&sort=&cursor=", "/admin/jobs?state="] {
        admin.page(page).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_missing_or_unknown_field_of_a_body_is_named() {
    let app = TestApp::start().await;
    for (body, field) in [
        (json!({"username": "ann"}), "password"),
        (json!({"username": "ann", "password": "x", "remember": true}), "remember"),
        (json!({"username": 1, "password": "x"}), "username"),
    ] {
        let problem =
            app.anonymous().post("/api/session", body).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
}

#[tokio::test]
async fn a_login_is_a_form_as_well() {
    let app = TestApp::start().await;
    app.create_user("ann", "Basic").await;
    let fields = [("username", "ann"), ("password", PASSWORD), ("csrfmiddlewaretoken", "anything")];
    let url_encoded = app.anonymous();
    let answer = send(url_encoded.request(Method::POST, "/api/session").form(&fields)).await;
    assert_eq!(answer.expect(StatusCode::OK).json()["username"], "ann");
    url_encoded.get("/api/images").await.expect(StatusCode::OK);
    let multipart = app.anonymous();
    let form = Form::new().text("username", "ann").text("password", PASSWORD);
    send(multipart.request(Method::POST, "/api/session").multipart(form))
        .await
        .expect(StatusCode::OK);
    multipart.get("/api/images").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_refused_file_is_named_by_the_field_it_came_in() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let text =
        client.upload("a.png", b"file content".to_vec()).await.expect_problem(415, "not-an-image");
    let none = client
        .upload_form(Form::new().text("title", "Rome"))
        .await
        .expect_problem(422, "missing-file");
    for problem in [text, none] {
        assert_eq!(problem["file"], json!([problem["detail"]]), "{problem}");
    }
}

#[tokio::test]
async fn a_nul_character_in_a_filter_or_a_form_is_the_senders_mistake() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for (page, field) in [
        ("/admin/users", "search"),
        ("/admin/images", "owner"),
        ("/admin/images", "title"),
        ("/admin/links", "owner"),
        ("/admin/jobs", "queue"),
        ("/admin/jobs", "cursor"),
        ("/admin/history", "kind"),
    ] {
        let problem =
            admin.get(&format!("{page}?{field}=a%00b")).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], field, "{page}: {problem}");
    }
    let request =
        admin.request(Method::POST, "/admin/thumbnails/retry").form(&[("reason", "a\0b")]);
    send(request).await.expect_problem(422, "invalid-field");
    let request = admin.request(Method::POST, "/api/session");
    let form = [("username", "ann\0"), ("password", "x")];
    send(request.form(&form)).await.expect_problem(401, "wrong-credentials");
}

#[tokio::test]
async fn of_two_tiers_that_become_the_default_at_once_one_is_it() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    // both changes are under way while the row of the default that was is held
    let mut held = postgres::begin(&app.pool).await.expect("a transaction");
    held.execute("SELECT FROM tiers WHERE is_default FOR UPDATE").await.expect("a lock");
    let tiers: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, name FROM tiers WHERE NOT is_default")
            .fetch_all(&app.pool)
            .await
            .expect("tiers");
    let changes = tiers.into_iter().map(|(id, name)| {
        let fields = [
            ("name", name),
            ("thumbnail_heights", "200".to_owned()),
            ("max_upload_bytes", "1000000".to_owned()),
            ("storage_quota_bytes", "1000000".to_owned()),
            ("default", "on".to_owned()),
        ];
        tokio::spawn(send(admin.request(Method::POST, &format!("/admin/tiers/{id}")).form(&fields)))
    });
    let changes: Vec<_> = changes.collect();
    app.wait_until(TWO_WAIT).await;
    held.rollback().await.expect("a rollback");
    for answer in join_all(changes).await {
        answer.expect("an answer").expect(StatusCode::SEE_OTHER);
    }
    assert_eq!(app.rows("tiers WHERE is_default").await, 1);
}

/// Two sessions of this database wait for a lock.
const TWO_WAIT: &str = "SELECT count(*) = 2 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// A lock that every query of `tiers` waits for once it has seen its rows: a row lock stops no
/// reading.
const GATE: i64 = 7;

async fn put_gate_before_tiers(pool: &PgPool) {
    for statement in [
        "ALTER TABLE tiers RENAME TO all_tiers",
        "CREATE VIEW tiers AS SELECT t.* FROM all_tiers t, pg_advisory_xact_lock_shared(7) AS passed",
    ] {
        pool.execute(statement).await.expect("a view");
    }
}

#[tokio::test]
async fn a_file_that_is_deleted_while_it_is_asked_for_is_not_found() {
    let mut app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.jpg", pictures::jpeg(300, 300)).await;
    let urls: Vec<String> = ["original", "200 px high"]
        .iter()
        .map(|name| image["file_urls"][name].as_str().expect("a link").to_owned())
        .collect();
    client.get(&urls[1]).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    put_gate_before_tiers(&app.pool).await;
    let mut gate = postgres::begin(&app.pool).await.expect("a transaction");
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(GATE)
        .execute(&mut *gate)
        .await
        .expect("a lock");

    let nobody = app.anonymous();
    let requests: Vec<_> =
        urls.iter().map(|url| tokio::spawn(send(nobody.request(Method::GET, url)))).collect();
    app.wait_until(TWO_WAIT).await;
    app.pool.execute("DELETE FROM images").await.expect("a deletion");
    for object in app.objects().await {
        fs::remove_file(app.data_dir().join("media").join(&object)).expect("a file");
    }
    gate.commit().await.expect("an open gate");
    for answer in join_all(requests).await {
        answer.expect("an answer").expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn json_of_a_session_is_kept_by_nobody_else() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let pk = &image["pk"];
    let expect_private = |answer: crate::harness::Answer| {
        assert!(answer.status.is_success(), "{}", answer.html());
        assert_eq!(answer.header("cache-control"), "private, no-cache");
    };
    for path in [
        "/api/session".to_owned(),
        "/api/images".to_owned(),
        format!("/api/images/{pk}"),
        format!("/api/images/{pk}/thumbnails/200"),
        format!("/api/images/{pk}/expiring_links"),
    ] {
        expect_private(client.get(&path).await);
    }
    expect_private(client.upload("b.png", pictures::png(10, 10)).await);
    expect_private(
        client.post(&format!("/api/images/{pk}/expiring_links"), json!({"valid_for": 300})).await,
    );
    expect_private(client.patch(&format!("/api/images/{pk}"), json!({"title": "Rome"})).await);
    let refused = app.anonymous().get("/api/images").await;
    assert_eq!(refused.header("cache-control"), "no-store");
}
