//! API tokens: a program with one may do what its scopes say, and no more than its account.

use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::harness::{Client, ImageLinks, PASSWORD, TestApp, pictures, send};

/// Every operation that a token can make, as the description says: method, path, scope.
fn operations_with_scopes() -> Vec<(Method, String, Option<String>)> {
    let document = api::openapi_document();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let requirements = operation["security"].as_array().cloned().unwrap_or_default();
            if let Some(scopes) = requirements.iter().find_map(|one| one["token"].as_array()) {
                let scope = scopes.first().and_then(Value::as_str).map(str::to_owned);
                let method = method.to_uppercase().parse().expect("a method");
                found.push((method, path.clone(), scope));
            }
        }
    }
    found
}

fn filled(path: &str) -> String {
    path.replace("{pk}", "1").replace("{height}", "200").replace("{id}", "1")
}

#[tokio::test]
async fn a_token_is_shown_once_and_kept_as_its_digest() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let asked =
        json!({"name": " nightly backup ", "scopes": ["images:read"], "expires_in_days": 30});
    let created = user.post("/api/tokens", asked).await.expect(StatusCode::CREATED).json();
    let text = created["token"].as_str().expect("a token").to_owned();
    assert!(text.starts_with("pic_") && text.len() == 40, "{text}");
    assert_eq!(created["name"], "nightly backup");
    assert_eq!(created["scopes"], json!(["images:read"]));

    let listed = user.get("/api/tokens").await.expect(StatusCode::OK);
    assert!(!String::from_utf8_lossy(&listed.body).contains(&text));
    let listed = listed.json();
    assert_eq!(listed[0]["id"], created["id"]);
    assert_eq!(listed[0]["last_used_at"], Value::Null);
    let kept: Vec<u8> =
        sqlx::query_scalar("SELECT sha256 FROM tokens").fetch_one(&app.pool).await.expect("a row");
    assert_eq!(kept.len(), 32);

    let program = app.anonymous().with_token(&text);
    program.get("/api/images").await.expect(StatusCode::OK);
    let listed = user.get("/api/tokens").await.expect(StatusCode::OK).json();
    assert!(listed[0]["last_used_at"].is_string(), "{listed}");
}

#[tokio::test]
async fn a_program_uploads_fetches_links_and_deletes_without_a_cookie() {
    let mut app = TestApp::start().await;
    let user = app.user("Enterprise").await;
    let program = user.program(&["images:read", "images:write", "links:write"]).await;
    let who = program.get("/api/session").await.expect(StatusCode::OK);
    assert!(who.headers.get(header::SET_COOKIE).is_none());
    let image = program.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    program.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    program.get(image.thumbnail(200)).await.expect(StatusCode::OK);
    let links = format!("/api/images/{}/expiring_links", image["pk"]);
    let link = program.post(&links, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
    app.anonymous().get(link.header("location")).await.expect(StatusCode::OK);
    // what the account sees in its browser is the same
    assert_eq!(user.get("/api/images").await.json()[0]["pk"], image["pk"]);
    program.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    app.run_jobs().await;
}

#[tokio::test]
async fn each_call_needs_the_scope_that_its_description_names() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let all = ["images:read", "images:write", "links:write", "admin:read", "admin:write"];
    let operations = operations_with_scopes();
    assert!(operations.len() > 8, "{operations:?}");
    for (method, path, scope) in operations {
        let others: Vec<&str> =
            all.into_iter().filter(|other| scope.as_deref() != Some(other)).collect();
        let call = |client: &Client| send(client.request(method.clone(), &filled(&path)));
        let without = call(&admin.program(&others).await).await;
        match &scope {
            None => assert_eq!(without.status, StatusCode::OK, "{method} {path}"),
            Some(scope) => {
                without.expect_problem(403, "insufficient-scope");
                let challenge = without.header("www-authenticate");
                assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
                assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
                // the head alone, as a stream of events has no end
                let program = admin.program(&[scope]).await;
                let with = program.request(method.clone(), &filled(&path)).send().await;
                let with = with.expect("an answer").status();
                let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
                assert!(!refusals.contains(&with), "{method} {path}: {with}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_ends_with_its_expiry_its_revocation_and_its_account() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = app.create_user("ada", "Basic").await;
    let ada = app.logged_in("ada").await;
    let refused = async |program: &Client| {
        let answer = program.get("/api/images").await;
        answer.expect_problem(401, "invalid-token");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    };

    let asked = json!({"name": "short", "scopes": ["images:read"], "expires_in_days": 1});
    let short = ada.post("/api/tokens", asked).await.expect(StatusCode::CREATED).json();
    let short = app.anonymous().with_token(short["token"].as_str().expect("a token"));
    short.get("/api/images").await.expect(StatusCode::OK);
    app.clock.advance(Duration::from_hours(24));
    refused(&short).await;

    let revoked = ada.program(&["images:read"]).await;
    let newest = &ada.get("/api/tokens").await.json()[0]["id"];
    let theirs = app.user("Basic").await;
    theirs.delete(&format!("/api/tokens/{newest}")).await.expect_problem(404, "not-found");
    revoked.get("/api/images").await.expect(StatusCode::OK);
    ada.delete(&format!("/api/tokens/{newest}")).await.expect(StatusCode::NO_CONTENT);
    refused(&revoked).await;

    let program = ada.program(&["images:read"]).await;
    let page = admin.page(&format!("/admin/users/{id}")).await.html();
    assert!(page.contains("Revoke 1 token<"), "{page}");
    let form = [("username", "ada"), ("tier", "1")];
    admin.send_form(&format!("/admin/users/{id}"), &form).await.expect(StatusCode::SEE_OTHER);
    refused(&program).await;
    let form = [("username", "ada"), ("tier", "1"), ("is_active", "on")];
    admin.send_form(&format!("/admin/users/{id}"), &form).await.expect(StatusCode::SEE_OTHER);
    program.get("/api/images").await.expect(StatusCode::OK);
    let revoke = format!("/admin/users/{id}/revoke-tokens");
    admin.send_form(&revoke, &[]).await.expect(StatusCode::SEE_OTHER);
    refused(&program).await;
    assert_eq!(app.rows("tokens").await, 0);
    admin.page("/admin/history").await.expect_page(StatusCode::OK, &["revoke tokens"]);
}

#[tokio::test]
async fn a_token_that_is_mistyped_or_unknown_is_refused() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let unknown = shared::domain::TokenSecret::random();
    for token in ["", "pic_", "pic_0000000000000000000000000000000CHECKS", unknown.reveal()] {
        // the session in the cookie does not count beside a token
        user.with_token(token).get("/api/images").await.expect_problem(401, "invalid-token");
    }
    // the credentials of a proxy in front are none of ours
    user.get_with("/api/images", &[("authorization", "Basic eDp5")]).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_token_opens_no_page_and_manages_no_token() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let program = admin.program(&["images:read", "images:write", "admin:write"]).await;
    program.get("/api/tokens").await.expect_problem(403, "session-required");
    let another = json!({"name": "another", "scopes": ["admin:read"]});
    program.post("/api/tokens", another).await.expect_problem(403, "session-required");
    let password = json!({"current_password": PASSWORD, "new_password": "battery staple"});
    let change = program.post("/api/session/password", password).await;
    change.expect_problem(403, "session-required");
    for path in ["/", "/account/tokens", "/admin"] {
        let texts = ["A token cannot do this"];
        program.page(path).await.expect_page(StatusCode::FORBIDDEN, &texts);
    }
}

#[tokio::test]
async fn an_account_gives_a_token_no_more_than_it_has() {
    let app = TestApp::start().await;
    let basic = app.user("Basic").await;
    for scopes in [json!(["admin:read"]), json!([]), json!(["images:delete"])] {
        let asked = json!({"name": "greedy", "scopes": scopes});
        let problem = basic.post("/api/tokens", asked).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], "scopes", "{problem}");
    }
    // a token of an account whose tier has no links creates none
    let image = basic.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    let program = basic.program(&["links:write"]).await;
    let links = format!("/api/images/{}/expiring_links", image["pk"]);
    let answer = program.post(&links, json!({"valid_for": 300})).await;
    answer.expect_problem(403, "expiring-links-not-in-tier");
}

#[tokio::test]
async fn tokens_are_limited_in_number_and_expired_ones_are_cleaned_up() {
    let mut app = TestApp::start().await;
    let user = app.user("Basic").await;
    let asked =
        |name: String| json!({"name": name, "scopes": ["images:read"], "expires_in_days": 1});
    let creations = (0..102).map(|n| user.post("/api/tokens", asked(n.to_string())));
    let answers = futures::future::join_all(creations).await;
    let created = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(created, 100);
    let refused = answers.iter().find(|answer| answer.status != StatusCode::CREATED);
    refused.expect("a refusal").expect_problem(409, "too-many-tokens");

    let clean_up = async |app: &TestApp| worker::clean_up(&app.job_context()).await.expect("it");
    app.clock.advance(Duration::from_hours(30 * 24));
    assert_eq!(clean_up(&app).await.tokens, 0);
    app.clock.advance(Duration::from_hours(24));
    assert_eq!(clean_up(&app).await.tokens, 100);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_event_stream_ends_with_its_token() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let program = user.program(&["images:read"]).await;
    let mut stream = program.request(Method::GET, "/api/events").send().await.expect("an answer");
    assert_eq!(stream.status(), StatusCode::OK);
    let id = &user.get("/api/tokens").await.json()[0]["id"];
    user.delete(&format!("/api/tokens/{id}")).await.expect(StatusCode::NO_CONTENT);
    let end = async { while stream.chunk().await.expect("a stream").is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("its end");
}

#[tokio::test]
async fn the_page_creates_a_token_shows_it_once_and_revokes_it() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let texts = ["API tokens", "No tokens."];
    let page = user.page("/account/tokens").await.expect_page(StatusCode::OK, &texts);
    assert!(!page.contains("admin:read"), "{page}");
    let refused = user.send_form("/account/tokens", &[("name", "x")]).await;
    refused.expect_page(
        StatusCode::UNPROCESSABLE_ENTITY,
        &["Choose at least one scope", "value=\"x\""],
    );
    let form = [("name", "<script>"), ("scopes", "images:read"), ("expires_in_days", "")];
    let created = user.send_form("/account/tokens", &form).await;
    let page = created.expect_page(StatusCode::CREATED, &["Copy it now", "&#60;script&#62;"]);
    let start = page.find("pic_").filter(|at| !page[*at..].starts_with("pic_…"));
    let at = start.or_else(|| page.match_indices("pic_").nth(1).map(|(at, _)| at));
    let token = &page[at.expect("a token")..][..40];
    app.anonymous().with_token(token).get("/api/images").await.expect(StatusCode::OK);

    let page = user.page("/account/tokens").await.html();
    assert!(!page.contains(token));
    let id = &user.get("/api/tokens").await.json()[0]["id"];
    let revoked = user.send_form(&format!("/account/tokens/{id}/revoke"), &[]).await;
    revoked.expect_redirect("/account/tokens");
    app.anonymous().with_token(token).get("/api/images").await.expect_problem(401, "invalid-token");
}
