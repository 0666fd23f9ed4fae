//! Links that expire.

use std::time::Duration;

use reqwest::{Method, StatusCode, multipart::Form};
use serde_json::json;

use crate::harness::{TestApp, pictures, send};

#[tokio::test]
async fn a_link_shows_the_original_until_it_expires() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let bytes = pictures::jpeg(100, 100);
    let image = client.uploaded("Rome.jpg", bytes.clone()).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let made = client.post(generator, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
    let link = made.json();
    assert_eq!(link["valid_for"], 300);
    assert_eq!(link["height"], json!(null));
    let url = link["link"].as_str().expect("a link");
    assert_eq!(made.header("location"), url);
    assert!(
        url.starts_with(&format!("{}/user_content/expiring/", app.origin)) && url.ends_with('/'),
        "{url}"
    );

    let answer = app.anonymous().get(url).await.expect(StatusCode::OK);
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-disposition"), "inline; filename=\"rome.jpg\"");
    app.anonymous().get(url.trim_end_matches('/')).await.expect(StatusCode::OK);

    app.clock.advance(Duration::from_secs(290));
    let answer = app.anonymous().get(url).await.expect(StatusCode::OK);
    let cache = answer.header("cache-control");
    let max_age: u64 =
        cache.strip_prefix("private, max-age=").expect("a max-age").parse().expect("seconds");
    assert!(max_age <= 10, "no copy outlives the link: {cache}");

    app.clock.advance(Duration::from_secs(10));
    app.anonymous().get(url).await.expect_problem(404, "not-found");
    assert_eq!(client.get(generator).await.expect(StatusCode::OK).json(), json!([]));
}

#[tokio::test]
async fn a_link_starts_with_the_source_systems_keys_in_its_order() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let made = client.post(generator, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
    let (link, text) = (made.json(), made.html());
    let keys: Vec<_> = text.split('"').filter(|part| link.get(part).is_some()).collect();
    assert_eq!(keys, ["link", "expiration", "valid_for", "id", "height", "created_at"], "{text}");
    let expiration = link["expiration"].as_str().expect("a time");
    assert!(
        expiration.len() == "2023-09-22T15:52:59.992831Z".len() && expiration.ends_with('Z'),
        "{link}"
    );
    assert_eq!(client.get(generator).await.json(), json!([link]));
}

#[tokio::test]
async fn a_link_is_made_by_a_form_of_either_kind() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let post = || client.request(Method::POST, generator);
    let fields = [("valid_for", "300"), ("height", "200"), ("csrfmiddlewaretoken", "anything")];
    let link = send(post().form(&fields)).await.expect(StatusCode::CREATED).json();
    assert_eq!((&link["valid_for"], &link["height"]), (&json!(300), &json!(200)));
    let form = Form::new().text("valid_for", "301").text("height", "");
    let link = send(post().multipart(form)).await.expect(StatusCode::CREATED).json();
    assert_eq!((&link["valid_for"], &link["height"]), (&json!(301), &json!(null)));

    for (fields, field) in [
        (&[("valid_for", "soon")][..], "valid_for"),
        (&[("height", "200")], "valid_for"),
        (&[("valid_for", "300"), ("heigth", "200")], "heigth"),
        (&[("valid_for", "300"), ("height", "0")], "height"),
    ] {
        let problem = send(post().form(fields)).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let broken =
        post().header("content-type", "multipart/form-data; boundary=x").body("--x\r\nno end");
    send(broken).await.expect_problem(400, "malformed-multipart");
    let no_boundary = post().header("content-type", "multipart/form-data").body("--x--");
    send(no_boundary).await.expect_problem(400, "malformed-multipart");
    let long = Form::new().text("valid_for", "3".repeat(70_000));
    send(post().multipart(long)).await.expect_problem(413, "too-large");
    // a form can be sent from any page, other than JSON
    let forged = post().header("sec-fetch-site", "cross-site").form(&[("valid_for", "300")]);
    send(forged).await.expect_problem(403, "cross-site-request");
    assert_eq!(app.rows("expiring_links").await, 2);
}

#[tokio::test]
async fn a_link_to_a_thumbnail_has_it_made() {
    let mut app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.jpg", pictures::jpeg(800, 600)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let link = client
        .post(generator, json!({"valid_for": 30000, "height": 200}))
        .await
        .expect(StatusCode::CREATED);
    let url = link.json()["link"].as_str().expect("a link").to_owned();
    app.anonymous().get(&url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let answer = app.anonymous().get(&url).await.expect(StatusCode::OK);
    assert_eq!(pictures::size(&answer.body), (267, 200));
}

#[tokio::test]
async fn live_links_are_listed_and_revoked() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let short = client.post(generator, json!({"valid_for": 300})).await.json();
    let long = client.post(generator, json!({"valid_for": 3600, "height": 200})).await.json();
    assert_eq!(client.get(generator).await.json(), json!([long, short]));

    let path = format!("{generator}/{}", long["id"].as_str().expect("an id"));
    client.delete(&path).await.expect(StatusCode::NO_CONTENT);
    client.delete(&path).await.expect_problem(404, "not-found");
    app.anonymous()
        .get(long["link"].as_str().expect("a link"))
        .await
        .expect_problem(404, "not-found");
    assert_eq!(client.get(generator).await.json(), json!([short]));
}

#[tokio::test]
async fn a_tier_without_links_is_told_so_before_anything_else() {
    let app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    for pk in [image["pk"].to_string(), "999999".to_owned()] {
        let path = format!("/api/images/{pk}/expiring_links");
        client
            .post(&path, json!({"valid_for": 300}))
            .await
            .expect_problem(403, "expiring-links-not-in-tier");
        client
            .post(&path, json!({"valid_for": 1}))
            .await
            .expect_problem(403, "expiring-links-not-in-tier");
        client.get(&path).await.expect_problem(403, "expiring-links-not-in-tier");
    }
}

#[tokio::test]
async fn a_link_gives_nothing_that_the_tier_lacks() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let other_height = client.post(generator, json!({"valid_for": 300, "height": 300})).await;
    assert_eq!(other_height.expect_problem(422, "invalid-field")["errors"][0]["field"], "height");
    let url = client.post(generator, json!({"valid_for": 300})).await.json()["link"]
        .as_str()
        .expect("a link")
        .to_owned();

    app.change_tier("Enterprise", |tier| tier.original_access = false).await;
    client
        .post(generator, json!({"valid_for": 300}))
        .await
        .expect_problem(403, "original-not-in-tier");
    app.anonymous().get(&url).await.expect_problem(403, "original-not-in-tier");
    app.change_tier("Enterprise", |tier| {
        (tier.original_access, tier.expiring_links) = (true, false);
    })
    .await;
    app.anonymous().get(&url).await.expect_problem(403, "expiring-links-not-in-tier");
    app.change_tier("Enterprise", |tier| tier.expiring_links = true).await;
    app.anonymous().get(&url).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn an_image_has_a_limited_number_of_live_links() {
    let app = TestApp::start_with(|config| config.limits.links_per_image = 2).await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    for _ in 0..2 {
        client.post(generator, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
    }
    client
        .post(generator, json!({"valid_for": 300}))
        .await
        .expect_problem(409, "too-many-expiring-links");
    app.clock.advance(Duration::from_secs(301));
    client.post(generator, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn a_link_to_a_height_that_the_tier_has_just_gained_works() {
    let mut app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(500, 500)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    app.change_tier("Enterprise", |tier| {
        tier.thumbnail_heights = vec![300].try_into().expect("heights");
    })
    .await;
    let link = client
        .post(generator, json!({"valid_for": 300, "height": 300}))
        .await
        .expect(StatusCode::CREATED);
    let url = link.json()["link"].as_str().expect("a link").to_owned();
    app.anonymous().get(&url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    assert_eq!(
        pictures::size(&app.anonymous().get(&url).await.expect(StatusCode::OK).body),
        (300, 300)
    );
}
