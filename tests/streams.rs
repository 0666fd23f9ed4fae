//! What lasts longer than a request: streams of events, and requests that wait. Both end, or are
//! judged again, when the account or its rights change.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::{db, domain::HeightSet};
use tokio::time::timeout;

use crate::harness::{Client, ImageLinks, PASSWORD, TestApp, pictures};

/// A stream ends within seconds.
const END_LIMIT: Duration = Duration::from_secs(20);

async fn stream_of(client: &Client, path: &str) -> Response {
    let stream = client.request(Method::GET, path).send().await.expect("an answer");
    assert_eq!(stream.status(), StatusCode::OK);
    stream
}

async fn expect_end(mut stream: Response) {
    let ending = async { while stream.chunk().await.expect("a whole answer").is_some() {} };
    timeout(END_LIMIT, ending).await.expect("the stream ends");
}

fn url(image: &Value) -> String {
    image.thumbnail(200).to_owned()
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_others_go_on() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let (here, elsewhere) = (app.logged_in("ada").await, app.logged_in("ada").await);
    let image = here.uploaded("a.png", pictures::png(9, 9)).await;
    let of_image = stream_of(&here, &format!("/api/images/{}/events", image["pk"])).await;
    let of_account = stream_of(&here, "/api/events").await;
    let mut of_other_session = stream_of(&elsewhere, "/api/events").await;
    here.delete("/api/session").await.expect(StatusCode::NO_CONTENT);
    expect_end(of_image).await;
    expect_end(of_account).await;
    let next = timeout(Duration::from_millis(100), of_other_session.chunk()).await;
    assert!(next.is_err(), "the stream of another session ended: {next:?}");
}

#[tokio::test]
async fn a_stream_ends_with_a_new_password_a_deactivation_and_the_sessions_time() {
    let app = TestApp::start().await;
    let ada = app.create_user("ada", "Basic").await;
    let grace = app.create_user("grace", "Basic").await;
    app.create_user("alan", "Basic").await;
    let mut streams = Vec::new();
    for name in ["ada", "grace", "alan"] {
        streams.push(stream_of(&app.logged_in(name).await, "/api/events").await);
    }
    let mut connection = app.pool.acquire().await.expect("a connection");
    db::users::set_password(&mut connection, ada, &"a hash".to_owned().into(), false)
        .await
        .expect("another password");
    db::users::deactivate(&mut connection, grace).await.expect("a deactivated user");
    let of_alan = streams.pop().expect("a stream");
    for stream in streams {
        expect_end(stream).await;
    }
    app.clock.advance(Duration::from_hours(24 * 15));
    expect_end(of_alan).await;
}

#[tokio::test]
async fn a_login_that_was_checked_against_an_older_password_opens_no_session() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    let name = "ada".parse().expect("a name");
    let before =
        db::users::credentials(&mut connection, &name).await.expect("a query").expect("ada");
    db::users::set_password(&mut connection, id, &"another hash".to_owned().into(), false)
        .await
        .expect("another password");
    let user = db::users::active(&mut connection, before.login).await.expect("a query");
    assert!(user.is_none(), "a session with the older credentials still works");
    // one's own change does not undo the one that came between
    let replaced = db::users::replace_password(
        &mut connection,
        before.login,
        &"mine".to_owned().into(),
        false,
    )
    .await;
    assert!(replaced.expect("a query").is_none());
}

#[tokio::test]
async fn a_login_from_before_a_deactivation_does_not_come_back_with_the_account() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let admin = app.admin().await;
    let ada = app.logged_in("ada").await;
    let tier: i64 = sqlx::query_scalar("SELECT tier_id FROM users WHERE username = 'ada'")
        .fetch_one(&app.pool)
        .await
        .expect("a tier");
    let (path, tier) = (format!("/admin/users/{id}"), tier.to_string());
    // as if the login had been checked before, and its session been opened after the deactivation
    let kept = "CREATE TABLE kept AS SELECT * FROM sessions";
    sqlx::query(kept).execute(&app.pool).await.expect("sessions");
    admin
        .send_form(&path, &[("username", "ada"), ("tier", &tier)])
        .await
        .expect(StatusCode::SEE_OTHER);
    let again = "INSERT INTO sessions SELECT * FROM kept ON CONFLICT DO NOTHING";
    sqlx::query(again).execute(&app.pool).await.expect("sessions");
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    let active = [("username", "ada"), ("tier", tier.as_str()), ("is_active", "on")];
    admin.send_form(&path, &active).await.expect(StatusCode::SEE_OTHER);
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
}

#[tokio::test]
async fn logins_and_password_changes_at_the_same_time_leave_no_session_of_the_old_password() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let here = app.logged_in("ada").await;
    let others: Vec<_> = (0..6).map(|_| app.anonymous()).collect();
    let change = json!({"current_password": PASSWORD, "new_password": "another password"});
    let logins =
        futures::future::join_all(others.iter().map(|client| client.log_in("ada", PASSWORD)));
    let (changed, _) = tokio::join!(here.post("/api/session/password", change), logins);
    changed.expect(StatusCode::NO_CONTENT);
    here.get("/api/session").await.expect(StatusCode::OK);
    for other in others {
        other.get("/api/session").await.expect_problem(401, "not-logged-in");
    }
}

#[tokio::test]
async fn the_tier_is_looked_at_again_after_a_wait() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.png", pictures::png(50, 50)).await;
    let (client, link) = (app.anonymous(), url(&image));
    let waiting =
        tokio::spawn(async move { client.get_with(&link, &[("prefer", "wait=30")]).await });
    app.wait_until("SELECT count(*) = 1 FROM thumbnails WHERE state = 'pending'").await;
    app.change_tier("Basic", |tier| tier.thumbnail_heights = heights("400")).await;
    app.run_jobs().await;
    waiting.await.expect("an answer").expect_problem(403, "height-not-in-tier");
}

fn heights(text: &str) -> HeightSet {
    text.parse().expect("heights")
}

#[tokio::test]
async fn an_expiry_is_looked_at_again_after_a_wait() {
    let mut app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(50, 50)).await;
    let path = format!("/api/images/{}/expiring_links", image["pk"]);
    let made = client
        .post(&path, json!({"valid_for": 300, "height": 200}))
        .await
        .expect(StatusCode::CREATED);
    let link = made.json()["link"].as_str().expect("a link").to_owned();
    let anonymous = app.anonymous();
    let waiting =
        tokio::spawn(async move { anonymous.get_with(&link, &[("prefer", "wait=30")]).await });
    app.wait_until("SELECT count(*) = 1 FROM thumbnails WHERE state = 'pending'").await;
    app.clock.advance(Duration::from_secs(301));
    app.run_jobs().await;
    waiting.await.expect("an answer").expect_problem(404, "not-found");
}

#[tokio::test]
async fn the_files_of_a_deactivated_account_are_gone_and_come_back_with_it() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Enterprise").await;
    let ada = app.logged_in("ada").await;
    let image = ada.uploaded("a.png", pictures::png(50, 50)).await;
    let original = image.original().to_owned();
    let path = format!("/api/images/{}/expiring_links", image["pk"]);
    let made = ada.post(&path, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
    let expiring = made.json()["link"].as_str().expect("a link").to_owned();
    let anyone = app.anonymous();
    anyone.get(&url(&image)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let links = [original, url(&image), expiring];
    for link in &links {
        anyone.get(link).await.expect(StatusCode::OK);
    }
    let mut connection = app.pool.acquire().await.expect("a connection");
    db::users::deactivate(&mut connection, id).await.expect("a deactivated user");
    for link in &links {
        anyone.get(link).await.expect_problem(404, "not-found");
    }
    sqlx::query("UPDATE users SET is_active = true")
        .execute(&mut *connection)
        .await
        .expect("an active user");
    for link in &links {
        anyone.get(link).await.expect(StatusCode::OK);
    }
}
