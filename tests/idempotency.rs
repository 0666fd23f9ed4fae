//! A request that a client sends again has its effect once, and one that was damaged has none.

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::join_all;
use reqwest::{
    Method, StatusCode,
    multipart::{Form, Part},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{Answer, Client, ImageLinks, TestApp, pictures, send};

const KEY: &str = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"";

async fn upload(client: &Client, key: &str, bytes: Vec<u8>, title: &str) -> Answer {
    let file = Part::bytes(bytes).file_name("a.jpg");
    let form = Form::new().part("file", file).text("title", title.to_owned());
    send(client.request(Method::POST, "/api/images").header("idempotency-key", key).multipart(form))
        .await
}

/// A key without an outcome is given back by a task of its own.
async fn key_is_free(app: &TestApp) {
    app.wait_until("SELECT NOT EXISTS (SELECT FROM idempotency_keys)").await;
}

#[tokio::test]
async fn an_upload_that_is_sent_again_answers_with_the_image_that_there_is() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let bytes = pictures::jpeg(40, 30);
    let first = upload(&user, KEY, bytes.clone(), "holiday").await.expect(StatusCode::CREATED);
    // some clients leave the quotes out
    for key in [KEY, KEY.trim_matches('"')] {
        let again = upload(&user, key, bytes.clone(), "holiday").await.expect(StatusCode::CREATED);
        assert_eq!(again.json(), first.json());
        assert_eq!(again.header("location"), first.header("location"));
    }
    assert_eq!(app.rows("images").await, 1);
    assert_eq!(app.objects().await.len(), 1);
    assert!(app.temp_files().await.is_empty());
    // another account's key is another one
    let other = app.user("Basic").await;
    upload(&other, KEY, bytes, "holiday").await.expect(StatusCode::CREATED);
    assert_eq!(app.rows("images").await, 2);
}

#[tokio::test]
async fn of_simultaneous_requests_with_one_key_one_has_its_effect() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let uploads = (0..8).map(|_| upload(&user, KEY, pictures::jpeg(40, 30), "holiday"));
    let mut created = 0;
    for answer in join_all(uploads).await {
        if answer.status == StatusCode::CREATED {
            assert_eq!(answer.json()["pk"], 1);
            created += 1;
        } else {
            answer.expect_problem(409, "request-under-way");
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    assert!(created >= 1);
    assert_eq!(app.rows("images").await, 1);
}

#[tokio::test]
async fn a_key_is_not_used_for_something_else() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let bytes = pictures::jpeg(40, 30);
    upload(&user, KEY, bytes.clone(), "holiday").await.expect(StatusCode::CREATED);
    for (bytes, title) in [(bytes, "other"), (pictures::jpeg(30, 40), "holiday")] {
        let refused = upload(&user, KEY, bytes, title).await;
        refused.expect_problem(422, "idempotency-key-reused");
    }
    assert_eq!(app.rows("images").await, 1);
    for key in ["", "\"\"", "a\"b", &"x".repeat(256)] {
        let refused = upload(&user, key, pictures::jpeg(40, 30), "holiday").await;
        let problem = refused.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], "Idempotency-Key", "{key}");
    }
}

#[tokio::test]
async fn a_request_that_had_no_effect_gives_its_key_back() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    upload(&user, KEY, b"no image".to_vec(), "x").await.expect_problem(415, "not-an-image");
    key_is_free(&app).await;
    upload(&user, KEY, pictures::jpeg(40, 30), "x").await.expect(StatusCode::CREATED);
    assert_eq!(app.rows("images").await, 1);
}

#[tokio::test]
async fn a_key_is_free_a_day_later_or_an_hour_after_its_request_died() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let age = async |minutes: i32| {
        sqlx::query(
            "UPDATE idempotency_keys SET created_at = created_at - make_interval(mins => $1)",
        )
        .bind(minutes)
        .execute(&app.pool)
        .await
        .expect("an older key");
    };
    upload(&user, KEY, pictures::jpeg(40, 30), "x").await.expect(StatusCode::CREATED);
    age(23 * 60).await;
    assert_eq!(worker::clean_up(&app.job_context()).await.expect("it").idempotency_keys, 0);
    upload(&user, KEY, pictures::jpeg(40, 30), "x").await.expect(StatusCode::CREATED);
    assert_eq!(app.rows("images").await, 1);
    age(2 * 60).await;
    upload(&user, KEY, pictures::jpeg(40, 30), "x").await.expect(StatusCode::CREATED);
    assert_eq!(app.rows("images").await, 2);

    // as a process leaves it that was killed
    sqlx::query("UPDATE idempotency_keys SET outcome = NULL, fingerprint = NULL")
        .execute(&app.pool)
        .await
        .expect("a request under way");
    let refused = upload(&user, KEY, pictures::jpeg(40, 30), "x").await;
    refused.expect_problem(409, "request-under-way");
    age(61).await;
    upload(&user, KEY, pictures::jpeg(40, 30), "x").await.expect(StatusCode::CREATED);
    age(25 * 60).await;
    assert_eq!(worker::clean_up(&app.job_context()).await.expect("it").idempotency_keys, 1);
}

#[tokio::test]
async fn a_link_is_created_once() {
    let app = TestApp::start().await;
    let user = app.user("Enterprise").await;
    let image = user.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    let links = format!("/api/images/{}/expiring_links", image["pk"]);
    let create = async |valid_for: i64| {
        let request = user.request(Method::POST, &links).header("idempotency-key", KEY);
        send(request.json(&json!({"valid_for": valid_for}))).await
    };
    let first = create(300).await.expect(StatusCode::CREATED).json();
    assert_eq!(create(300).await.expect(StatusCode::CREATED).json(), first);
    create(301).await.expect_problem(422, "idempotency-key-reused");
    assert_eq!(app.rows("expiring_links").await, 1);
    // what was revoked is not created again by a late repetition
    let link = format!("{links}/{}", first["id"].as_str().expect("an id"));
    user.delete(&link).await.expect(StatusCode::NO_CONTENT);
    create(300).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn an_upload_that_was_damaged_on_its_way_is_refused() {
    let app = TestApp::start().await;
    let user = app.user("Premium").await;
    let picture = pictures::jpeg(40, 30);
    let head = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\n";
    // a form may go on after its last boundary
    let body = [head, picture.as_slice(), b"\r\n--x--\r\nand an epilogue"].concat();
    let digest = |bytes: &[u8]| BASE64_STANDARD.encode(Sha256::digest(bytes));
    let send_with = async |announced: &str, body: &[u8]| {
        let request = user.request(Method::POST, "/api/images");
        let request = request.header("content-type", "multipart/form-data; boundary=x");
        send(request.header("content-digest", announced).body(body.to_vec())).await
    };
    let right = format!("sha-256=:{}:", digest(&body));
    let mut damaged = body.clone();
    damaged[200] ^= 1;
    send_with(&right, &damaged).await.expect_problem(400, "digest-mismatch");
    send_with(&right, &body[..body.len() - 1]).await.expect_problem(400, "digest-mismatch");
    for malformed in ["sha-256=abc", "sha-256=:abc:", "sha-256=::"] {
        send_with(malformed, &body).await.expect_problem(400, "malformed-request");
    }
    app.expect_nothing_left().await;
    let several = format!("sha-512=:AAAA:, {right}");
    let image = send_with(&several, &body).await.expect(StatusCode::CREATED).json();
    // other algorithms are ignored
    send_with("md5=:AAAA:", &body).await.expect(StatusCode::CREATED);

    let told = format!("sha-256=:{}:", digest(&picture));
    let whole = user.get(image.original()).await.expect(StatusCode::OK);
    assert_eq!(whole.header("repr-digest"), told);
    let part = user.get_with(image.original(), &[("range", "bytes=0-9")]).await;
    assert_eq!(part.expect(StatusCode::PARTIAL_CONTENT).header("repr-digest"), told);
}
