//! Files: who may see them, and how they are sent.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{ImageLinks, TestApp, pictures, send};

#[tokio::test]
async fn an_original_comes_back_byte_by_byte() {
    let app = TestApp::start().await;
    let bytes = pictures::jpeg(1200, 900);
    let image = app.user("Premium").await.uploaded("a.jpg", bytes.clone()).await;
    let url = image.original();
    let answer = app.anonymous().get(url).await.expect(StatusCode::OK);
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-type"), "image/jpeg");
    assert_eq!(answer.header("content-length"), bytes.len().to_string());
}

#[tokio::test]
async fn an_upload_larger_than_a_part_comes_back_whole() {
    let app = TestApp::start().await;
    let mut bytes = pictures::png(100, 100);
    bytes.resize(3_000_000, 7);
    let image = app.user("Premium").await.uploaded("a.png", bytes.clone()).await;
    let url = image.original();
    assert_eq!(app.anonymous().get(url).await.expect(StatusCode::OK).body, bytes);
}

#[tokio::test]
async fn a_file_is_sent_so_that_a_browser_takes_it_for_nothing_but_an_image() {
    let app = TestApp::start().await;
    let image = app.user("Premium").await.uploaded("a.png", pictures::png(10, 10)).await;
    let url = image.original();
    let answer = app.anonymous().get(url).await.expect(StatusCode::OK);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    );
    assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(answer.header("cache-control"), "private, max-age=60");
    assert!(!answer.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_client_that_has_the_file_gets_304() {
    let app = TestApp::start().await;
    let image = app.user("Premium").await.uploaded("a.png", pictures::png(10, 10)).await;
    let url = image.original();
    let etag = app.anonymous().get(url).await.header("etag").to_owned();
    assert!(etag.starts_with('"'), "strong: {etag}");
    let answer = app
        .anonymous()
        .get_with(url, &[("if-none-match", &etag)])
        .await
        .expect(StatusCode::NOT_MODIFIED);
    assert_eq!(answer.body, b"");
    assert_eq!(answer.header("etag"), etag);
    app.anonymous().get_with(url, &[("if-none-match", "\"other\"")]).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_client_may_ask_for_a_range() {
    let app = TestApp::start().await;
    let bytes = pictures::jpeg(200, 200);
    let image = app.user("Premium").await.uploaded("a.jpg", bytes.clone()).await;
    let url = image.original();
    let nobody = app.anonymous();
    let part =
        nobody.get_with(url, &[("range", "bytes=10-19")]).await.expect(StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, bytes[10..20]);
    assert_eq!(part.header("content-range"), format!("bytes 10-19/{}", bytes.len()));
    let end =
        nobody.get_with(url, &[("range", "bytes=-5")]).await.expect(StatusCode::PARTIAL_CONTENT);
    assert_eq!(end.body, bytes[bytes.len() - 5..]);
    let beyond = nobody.get_with(url, &[("range", "bytes=99999999-")]).await;
    beyond.expect_problem(416, "range-not-satisfiable");
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", bytes.len()));
}

#[tokio::test]
async fn head_answers_with_the_headers_alone() {
    let app = TestApp::start().await;
    let bytes = pictures::jpeg(200, 200);
    let image = app.user("Premium").await.uploaded("a.jpg", bytes.clone()).await;
    let url = image.original();
    let answer = send(app.anonymous().request(Method::HEAD, url)).await.expect(StatusCode::OK);
    assert_eq!(answer.header("content-length"), bytes.len().to_string());
    assert_eq!(answer.body, b"");
}

#[tokio::test]
async fn a_file_is_public_only_while_the_owners_tier_includes_it() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(500, 500)).await;
    let link = |name: &str| image["file_urls"][name].as_str().expect("a link").to_owned();
    let (original, large) = (link("original"), link("400 px high"));
    let nobody = app.anonymous();
    app.start_worker().await;
    nobody.get_with(&large, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    nobody.get(&original).await.expect(StatusCode::OK);

    app.change_tier("Premium", |tier| {
        tier.original_access = false;
        tier.thumbnail_heights = vec![200].try_into().expect("heights");
    })
    .await;
    nobody.get(&original).await.expect_problem(403, "original-not-in-tier");
    nobody.get(&large).await.expect_problem(403, "height-not-in-tier");
    let list = client.get("/api/images").await.json();
    assert_eq!(
        list[0]["file_urls"].as_object().expect("links").keys().collect::<Vec<_>>(),
        ["200 px high"]
    );

    app.change_tier("Premium", |tier| {
        tier.original_access = true;
        tier.thumbnail_heights = vec![200, 400].try_into().expect("heights");
    })
    .await;
    nobody.get(&original).await.expect(StatusCode::OK);
    nobody.get(&large).await.expect(StatusCode::OK);
    app.stop_worker().await;
}

#[tokio::test]
async fn a_url_that_names_no_file_is_not_found() {
    let app = TestApp::start().await;
    let image = app.user("Premium").await.uploaded("a.png", pictures::png(10, 10)).await;
    let nobody = app.anonymous();
    let original = image.original();
    let wrong_type = original.replace(".png", ".jpg");
    let resized = original.replace("/original/", "/resized/");
    for url in [
        wrong_type.as_str(),
        resized.as_str(),
        "/user_content/original/x",
        "/user_content/resized/%FF.png",
        "/user_content/original/a-00000000-0000-4000-8000-000000000000.png",
        "/user_content/expiring/x/",
        "/user_content/expiring/00000000-0000-4000-8000-000000000000/",
        "/user_content/other/x",
        "/user_content/original/..%2F..%2Fetc%2Fpasswd",
    ] {
        nobody.get(url).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn health_and_readiness_need_no_login() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/readyz"] {
        app.anonymous().get(path).await.expect(StatusCode::OK);
    }
    app.anonymous().get("/nothing").await.expect_problem(404, "not-found");
    app.anonymous().post("/healthz", json!({})).await.expect_problem(405, "method-not-allowed");
}
