//! What a browser lets pages of other origins do.

use reqwest::{Method, StatusCode};

use crate::harness::{Answer, Client, ImageLinks, TestApp, pictures, send};

const APP: &str = "https://app.example";
const OTHER: &str = "https://evil.example";

async fn start() -> TestApp {
    TestApp::start_with(|config| config.http.cors_origins = Some(APP.parse().expect("an origin")))
        .await
}

async fn preflight(client: &Client, path: &str, origin: &str, method: &str) -> Answer {
    let request = client
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type,prefer,if-match");
    send(request).await
}

fn allowed_origin(answer: &Answer) -> Option<&str> {
    answer.headers.get("access-control-allow-origin")?.to_str().ok()
}

#[tokio::test]
async fn a_preflight_of_a_configured_origin_is_allowed_and_cached() {
    let app = start().await;
    let nobody = app.anonymous();
    for (path, method) in
        [("/api/images", "POST"), ("/api/images/1", "PATCH"), ("/api/images/1/", "DELETE")]
    {
        let answer = preflight(&nobody, path, APP, method).await.expect(StatusCode::OK);
        assert_eq!(allowed_origin(&answer), Some(APP), "{path}");
        assert!(answer.header("access-control-allow-methods").contains(method), "{path}");
        let headers = answer.header("access-control-allow-headers");
        for name in ["authorization", "content-type", "prefer", "if-match"] {
            assert!(headers.contains(name), "{headers}");
        }
        assert_eq!(answer.header("access-control-max-age"), "86400");
        assert!(answer.headers.get("access-control-allow-credentials").is_none());
    }
    for origin in [OTHER, "https://app.example.evil.example", "http://app.example", "null"] {
        let answer = preflight(&nobody, "/api/images", origin, "POST").await;
        assert_eq!(allowed_origin(&answer), None, "{origin}");
    }
}

#[tokio::test]
async fn answers_to_a_configured_origin_can_be_read_failed_ones_too() {
    let app = start().await;
    let user = app.user("Basic").await;
    let program = user.program(&["images:read", "images:write"]).await;
    let from = |origin| [("origin", origin), ("sec-fetch-site", "cross-site")];
    let answer = program.get_with("/api/images", &from(APP)).await.expect(StatusCode::OK);
    assert_eq!(allowed_origin(&answer), Some(APP));
    assert!(answer.header("vary").to_lowercase().contains("origin"));
    let exposed = answer.header("access-control-expose-headers");
    for name in [
        "location",
        "link",
        "retry-after",
        "etag",
        "preference-applied",
        "ratelimit",
        "x-request-id",
    ] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let nobody = app.anonymous();
    for path in ["/api/images", "/api/images/1", "/api/nothing"] {
        let refused = nobody.get_with(path, &from(APP)).await;
        assert!(refused.status.is_client_error(), "{path}");
        assert_eq!(allowed_origin(&refused), Some(APP), "{path}");
    }
    let answer = program.get_with("/api/images", &from(OTHER)).await.expect(StatusCode::OK);
    assert_eq!(allowed_origin(&answer), None);
}

#[tokio::test]
async fn another_origin_changes_something_with_a_token_only() {
    let app = start().await;
    let user = app.user("Basic").await;
    let image = user.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    let path = format!("/api/images/{}", image["pk"]);
    let rename = async |client: &Client, origin: &str| {
        let request = client
            .request(Method::PATCH, &path)
            .header("origin", origin)
            .header("sec-fetch-site", "cross-site")
            .json(&serde_json::json!({"title": "renamed"}));
        send(request).await
    };
    // a browser that sent the cookie would find no use of it
    for origin in [APP, OTHER] {
        rename(&user, origin).await.expect_problem(403, "cross-site-request");
    }
    let program = user.program(&["images:write"]).await;
    rename(&program, APP).await.expect(StatusCode::OK);
    // a valid token is sent on purpose, whoever sends it
    rename(&program, OTHER).await.expect(StatusCode::OK);
    // with the session's cookie beside it, a useless token is no way around the check
    let forged = user.with_token("pic_");
    rename(&forged, OTHER).await.expect_problem(401, "invalid-token");
}

#[tokio::test]
async fn files_are_open_to_pages_of_any_origin_and_pages_to_none() {
    let mut app = start().await;
    let user = app.user("Premium").await;
    let image = user.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    let origin = [("origin", OTHER)];
    let nobody = app.anonymous();
    let pending = nobody.get_with(image.thumbnail(200), &origin).await.expect(StatusCode::ACCEPTED);
    assert_eq!(allowed_origin(&pending), Some("*"));
    app.run_jobs().await;
    let ready = nobody.get_with(image.thumbnail(200), &origin).await.expect(StatusCode::OK);
    assert_eq!(allowed_origin(&ready), Some("*"));
    assert!(!ready.headers.get_all("vary").iter().any(|vary| vary == "origin"));
    let path = image.original().trim_start_matches(&app.origin);
    let answer = preflight(&nobody, path, OTHER, "GET").await.expect(StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-headers"), "*");
    for path in ["/", "/login", "/account/tokens", "/healthz"] {
        let answer = user.get_with(path, &[("origin", APP)]).await;
        assert_eq!(allowed_origin(&answer), None, "{path}");
    }
}

#[tokio::test]
async fn no_origin_is_allowed_unless_it_is_configured() {
    let app = TestApp::start().await;
    let answer = preflight(&app.anonymous(), "/api/images", APP, "POST").await;
    assert_eq!(allowed_origin(&answer), None);
}
