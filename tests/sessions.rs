//! Logging in and out.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use shared::db;

use crate::harness::{Client, PASSWORD, TestApp, send};

#[tokio::test]
async fn a_user_logs_in_sees_the_tier_and_logs_out() {
    let app = TestApp::start().await;
    app.create_user("ada", "Premium").await;
    let ada = app.anonymous();
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");

    let session = ada.log_in("ada", PASSWORD).await.expect(StatusCode::OK).json();
    assert_eq!(session["username"], "ada");
    assert_eq!(session["is_admin"], false);
    assert_eq!(session["used_bytes"], 0);
    assert_eq!(session["tier"]["name"], "Premium");
    assert_eq!(session["tier"]["thumbnail_heights"], json!([200, 400]));
    assert_eq!(ada.get("/api/session").await.expect(StatusCode::OK).json(), session);

    ada.delete("/api/session").await.expect(StatusCode::NO_CONTENT);
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    assert_eq!(app.rows("sessions").await, 0);
}

#[tokio::test]
async fn the_session_cookie_is_kept_from_scripts_and_other_sites() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let answer = app.anonymous().log_in("ada", PASSWORD).await.expect(StatusCode::OK);
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("pictier_session="), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
}

#[tokio::test]
async fn a_username_is_compared_without_regard_to_case() {
    let app = TestApp::start().await;
    for (name, typed) in [("Ada", "aDA"), ("Łukasz", "łUKASZ")] {
        app.create_user(name, "Basic").await;
        app.anonymous().log_in(typed, PASSWORD).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_apart_by_nobody() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let wrong =
        app.anonymous().log_in("ada", "wrong").await.expect_problem(401, "wrong-credentials");
    let unknown =
        app.anonymous().log_in("eve", "wrong").await.expect_problem(401, "wrong-credentials");
    let impossible =
        app.anonymous().log_in("e v e", "wrong").await.expect_problem(401, "wrong-credentials");
    assert_eq!(wrong["detail"], unknown["detail"]);
    assert_eq!(wrong["detail"], impossible["detail"]);
}

#[tokio::test]
async fn logging_in_changes_the_session_id() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let ada = app.anonymous();
    let first = ada.log_in("ada", PASSWORD).await.header("set-cookie").to_owned();
    let second = ada.log_in("ada", PASSWORD).await.header("set-cookie").to_owned();
    assert_ne!(first.split(';').next(), second.split(';').next());
    assert_eq!(app.rows("sessions").await, 1, "the session before the login is gone");
}

#[tokio::test]
async fn ten_failed_logins_close_the_account_to_the_address_for_fifteen_minutes() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    for remaining in (0..10).rev() {
        let wrong = app.anonymous().log_in("ada", "wrong").await;
        wrong.expect_problem(401, "wrong-credentials");
        let limit = format!(r#""failed-logins";r={remaining};t="#);
        assert!(wrong.header("ratelimit").starts_with(&limit), "{}", wrong.header("ratelimit"));
    }
    let refused = app.anonymous().log_in("ada", PASSWORD).await;
    refused.expect_problem(429, "too-many-logins");
    assert!(refused.header("ratelimit").starts_with(r#""failed-logins";r=0;t="#));
    assert_eq!(refused.header("ratelimit-policy"), r#""failed-logins";q=10;w=900"#);
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=900).contains(&wait), "{wait} s");

    app.clock.advance(Duration::from_secs(901));
    let successful = app.anonymous().log_in("ada", PASSWORD).await.expect(StatusCode::OK);
    assert_eq!(successful.header("ratelimit"), r#""failed-logins";r=10;t=0"#);
}

#[tokio::test]
async fn a_successful_login_forgets_the_failed_ones() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    for _ in 0..3 {
        for _ in 0..9 {
            app.anonymous().log_in("ada", "wrong").await.expect_problem(401, "wrong-credentials");
        }
        app.anonymous().log_in("ada", PASSWORD).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_session_ends_two_weeks_after_its_last_use() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    for _ in 0..3 {
        app.clock.advance(Duration::from_hours(240));
        client.get("/api/session").await.expect(StatusCode::OK);
    }
    app.clock.advance(Duration::from_secs(14 * 86_400 + 1));
    client.get("/api/session").await.expect_problem(401, "not-logged-in");
}

#[tokio::test]
async fn deactivating_a_user_ends_the_sessions_and_refuses_the_login() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let ada = app.logged_in("ada").await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    db::users::deactivate(&mut connection, id).await.expect("a deactivated user");
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    app.anonymous().log_in("ada", PASSWORD).await.expect_problem(401, "wrong-credentials");
}

#[tokio::test]
async fn a_new_password_ends_the_users_other_sessions() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let (here, elsewhere) = (app.logged_in("ada").await, app.logged_in("ada").await);

    let change =
        |current: &str, new: &str| json!({"current_password": current, "new_password": new});
    let refused = here.post("/api/session/password", change("wrong", "a new password")).await;
    refused.expect_problem(401, "wrong-credentials");
    let short = here.post("/api/session/password", change(PASSWORD, "short")).await;
    assert_eq!(short.expect_problem(422, "invalid-field")["errors"][0]["field"], "new_password");

    let changed = here.post("/api/session/password", change(PASSWORD, "a new password")).await;
    changed.expect(StatusCode::NO_CONTENT);
    here.get("/api/session").await.expect(StatusCode::OK);
    elsewhere.get("/api/session").await.expect_problem(401, "not-logged-in");
    app.anonymous().log_in("ada", PASSWORD).await.expect_problem(401, "wrong-credentials");
    app.anonymous().log_in("ada", "a new password").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_logout_wins_over_a_request_that_is_under_way() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    // the request renews the session, that is: it saves it after the logout deleted it
    app.clock.advance(Duration::from_hours(48));
    let (_, _) = tokio::join!(client.get("/api/session"), client.delete("/api/session"));
    client.get("/api/session").await.expect_problem(401, "not-logged-in");
}

#[tokio::test]
async fn a_request_from_another_site_is_refused() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let from = |client: &Client, header: &'static str, value: &'static str| {
        send(client.request(Method::DELETE, "/api/session").header(header, value))
    };
    from(&client, "sec-fetch-site", "cross-site").await.expect_problem(403, "cross-site-request");
    from(&client, "origin", "https://evil.example").await.expect_problem(403, "cross-site-request");
    client.get("/api/session").await.expect(StatusCode::OK);
    from(&client, "sec-fetch-site", "same-origin").await.expect(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn everything_of_a_user_needs_a_login() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    for path in [
        "/api/images",
        "/api/images/1",
        "/api/images/1/events",
        "/api/images/1/thumbnails/200",
        "/api/images/1/expiring_links",
    ] {
        nobody.get(path).await.expect_problem(401, "not-logged-in");
    }
    nobody.upload("a.png", vec![1]).await.expect_problem(401, "not-logged-in");
    nobody.delete("/api/images/1").await.expect_problem(401, "not-logged-in");
}
