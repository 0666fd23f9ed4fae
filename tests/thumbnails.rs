//! Thumbnails: absent until somebody asks, pending until a worker has made them, ready from then
//! on.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestApp, pictures};

fn url<'a>(image: &'a Value, name: &str) -> &'a str {
    image["file_urls"][name].as_str().expect("a link")
}

#[tokio::test]
async fn the_first_request_answers_202_and_the_next_after_the_job_200() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.jpg", pictures::jpeg(800, 600)).await;
    let (pk, url) = (&image["pk"], url(&image, "200 px high"));
    let status = format!("/api/images/{pk}/thumbnails/200");
    assert_eq!(
        client.get(&status).await.json()["state"],
        "absent",
        "asking for the state makes nothing"
    );
    assert_eq!(app.rows("apalis.jobs").await, 0);

    let pending = app.anonymous().get(url).await.expect(StatusCode::ACCEPTED);
    assert_eq!(pending.header("location"), format!("{}{status}", app.origin));
    assert_eq!(pending.header("retry-after"), "1");
    assert_eq!(pending.header("cache-control"), "no-store");
    assert_eq!(
        pending.json(),
        json!({"state": "pending", "status_url": format!("{}{status}", app.origin)})
    );
    assert_eq!(client.get(&status).await.json()["state"], "pending");
    app.anonymous().get(url).await.expect(StatusCode::ACCEPTED);
    assert_eq!(app.jobs_in("thumbnails").await, 1);

    app.run_jobs().await;
    let ready = app.anonymous().get(url).await.expect(StatusCode::OK);
    assert_eq!(ready.header("content-type"), "image/jpeg");
    assert_eq!(pictures::size(&ready.body), (267, 200));
    let state = client.get(&status).await.json();
    assert_eq!(
        (&state["state"], &state["width"], &state["height"]),
        (&json!("ready"), &json!(267), &json!(200))
    );
    let image = client.get(&format!("/api/images/{pk}")).await.json();
    assert!(
        image["placeholder"].as_str().is_some_and(|hash| !hash.is_empty()),
        "the thumbhash is known now"
    );
}

#[tokio::test]
async fn a_thumbnail_is_kept_and_made_once() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.png", pictures::png(300, 300)).await;
    let url = url(&image, "200 px high");
    app.anonymous().get(url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let first = app.anonymous().get(url).await.expect(StatusCode::OK);
    let second = app.anonymous().get(url).await.expect(StatusCode::OK);
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("content-type"), "image/png");
    assert_eq!(app.jobs_in("thumbnails").await, 1);
    assert_eq!(app.objects().await.len(), 2);
}

#[tokio::test]
async fn five_hundred_first_requests_at_once_make_one_job_and_one_object() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.jpg", pictures::jpeg(800, 600)).await;
    let url = url(&image, "200 px high");
    app.start_worker().await;
    let nobody = app.anonymous();
    let requests = (0..500).map(|_| nobody.get_with(url, &[("prefer", "wait=30")]));
    let answers = join_all(requests).await;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body, answers[0].body);
    }
    app.stop_worker().await;
    assert_eq!(app.jobs_in("thumbnails").await, 1);
    assert_eq!(app.objects().await.len(), 2, "the original and one thumbnail");
}

#[tokio::test]
async fn a_request_that_prefers_to_wait_gets_the_bytes() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.jpg", pictures::jpeg(800, 600)).await;
    app.start_worker().await;
    let answer =
        app.anonymous().get_with(url(&image, "200 px high"), &[("prefer", "wait=30")]).await;
    let answer = answer.expect(StatusCode::OK);
    assert_eq!(answer.header("preference-applied"), "wait=30");
    assert_eq!(pictures::size(&answer.body), (267, 200));
    app.stop_worker().await;
}

#[tokio::test]
async fn a_wait_that_is_too_short_ends_with_202() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.jpg", pictures::jpeg(80, 60)).await;
    let answer =
        app.anonymous().get_with(url(&image, "200 px high"), &[("prefer", "wait=1")]).await;
    answer.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_image_of_a_page_waits_by_itself() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.jpg", pictures::jpeg(800, 600)).await;
    app.start_worker().await;
    let by_destination =
        app.anonymous().get_with(url(&image, "200 px high"), &[("sec-fetch-dest", "image")]).await;
    by_destination.expect(StatusCode::OK);
    let by_accept =
        app.anonymous().get_with(url(&image, "400 px high"), &[("accept", "image/webp,*/*")]).await;
    by_accept.expect(StatusCode::OK);
    app.stop_worker().await;
}

#[tokio::test]
async fn waiting_requests_are_limited_and_the_rest_is_told_to_come_back() {
    let mut app = TestApp::start_with(|config| config.limits.waiting_requests = 0).await;
    let image = app.user("Basic").await.uploaded("a.jpg", pictures::jpeg(80, 60)).await;
    let answer =
        app.anonymous().get_with(url(&image, "200 px high"), &[("prefer", "wait=30")]).await;
    answer.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_picture_that_cannot_be_decoded_fails_with_a_reason_and_can_be_retried() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png_with_damaged_pixels()).await;
    let (status, url) =
        (format!("/api/images/{}/thumbnails/200", image["pk"]), url(&image, "200 px high"));
    client
        .post(&format!("{status}/retry"), json!({}))
        .await
        .expect_problem(409, "thumbnail-not-failed");
    app.anonymous().get(url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;

    let problem = app.anonymous().get(url).await.expect_problem(422, "thumbnail-failed");
    let failed = client.get(&status).await.json();
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["reason"], problem["detail"]);
    assert_eq!(
        app.jobs_in("thumbnails").await,
        1,
        "what cannot be decoded is not tried again and again"
    );

    let retried =
        client.post(&format!("{status}/retry"), json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(retried.json()["state"], "pending");
    assert_eq!(app.jobs_in("thumbnails").await, 2);
    app.run_jobs().await;
    assert_eq!(client.get(&status).await.json()["state"], "failed");
}

#[tokio::test]
async fn a_small_picture_is_not_enlarged() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(30, 20)).await;
    app.start_worker().await;
    let answer =
        app.anonymous().get_with(url(&image, "200 px high"), &[("prefer", "wait=30")]).await;
    assert_eq!(pictures::size(&answer.expect(StatusCode::OK).body), (30, 20));
    app.stop_worker().await;
}

#[tokio::test]
async fn events_tell_what_is_ready_already_and_what_becomes_ready() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(500, 500)).await;
    app.start_worker().await;
    let waits = [("prefer", "wait=30")];
    client.get_with(url(&image, "200 px high"), &waits).await.expect(StatusCode::OK);

    let events = client.request(Method::GET, &format!("/api/images/{}/events", image["pk"]));
    let response = events.send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut stream, mut heard) = (response, String::new());
    hear_until(&mut stream, &mut heard, "\"height\":200").await;
    client.get_with(url(&image, "400 px high"), &waits).await.expect(StatusCode::OK);
    hear_until(&mut stream, &mut heard, "\"height\":400").await;
    assert!(heard.contains("event: thumbnail"), "{heard}");
    assert!(heard.contains("\"state\":\"ready\""), "{heard}");
    app.stop_worker().await;
}

/// Reads events until they have this text.
async fn hear_until(stream: &mut reqwest::Response, heard: &mut String, text: &str) {
    while !heard.contains(text) {
        let piece = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await;
        let piece = piece.expect("an event in time").expect("an answer").expect("an open stream");
        heard.push_str(std::str::from_utf8(&piece).expect("text"));
    }
}

#[tokio::test]
async fn an_account_hears_of_all_its_images_and_of_nobody_elses() {
    let mut app = TestApp::start().await;
    let (ada, eve) = (app.user("Basic").await, app.user("Basic").await);
    let of_eve = eve.uploaded("a.png", pictures::png(50, 50)).await;
    let images = [
        ada.uploaded("b.png", pictures::png(50, 50)).await,
        ada.uploaded("c.png", pictures::png(50, 50)).await,
    ];
    let mut stream = ada.request(Method::GET, "/api/events").send().await.expect("an answer");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    app.start_worker().await;
    let waits = [("prefer", "wait=30")];
    eve.get_with(url(&of_eve, "200 px high"), &waits).await.expect(StatusCode::OK);
    let mut heard = String::new();
    for image in &images {
        ada.get_with(url(image, "200 px high"), &waits).await.expect(StatusCode::OK);
        hear_until(&mut stream, &mut heard, &format!("\"pk\":{},", image["pk"])).await;
    }
    assert!(!heard.contains(&format!("\"pk\":{},", of_eve["pk"])), "{heard}");
    app.stop_worker().await;
}

#[tokio::test]
async fn a_height_that_the_tier_gains_can_be_asked_for_at_once() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let status = format!("/api/images/{}/thumbnails/400", image["pk"]);
    client.get(&status).await.expect_problem(403, "height-not-in-tier");
    app.change_tier("Basic", |tier| {
        tier.thumbnail_heights = vec![200, 400].try_into().expect("heights");
    })
    .await;
    assert_eq!(client.get(&status).await.expect(StatusCode::OK).json()["state"], "absent");
}

#[tokio::test]
async fn a_job_makes_the_other_thumbnails_of_its_image_that_wait() {
    let mut app = TestApp::start().await;
    app.change_tier("Premium", |tier| {
        tier.thumbnail_heights = vec![50, 100, 150, 200].try_into().expect("heights");
    })
    .await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.jpg", pictures::jpeg(800, 600)).await;
    let other = client.uploaded("b.jpg", pictures::jpeg(800, 600)).await;
    for height in [100, 50, 200, 150] {
        let url = url(&image, &format!("{height} px high"));
        app.anonymous().get(url).await.expect(StatusCode::ACCEPTED);
    }
    app.anonymous().get(url(&other, "50 px high")).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    for height in [50, 100, 150, 200] {
        let made = app
            .anonymous()
            .get(url(&image, &format!("{height} px high")))
            .await
            .expect(StatusCode::OK);
        assert_eq!(pictures::size(&made.body).1, height);
    }
    app.anonymous().get(url(&other, "50 px high")).await.expect(StatusCode::OK);
    assert_eq!(app.jobs_in("thumbnails").await, 5);
    let jobs = "SELECT count(DISTINCT job_id) FROM thumbnails WHERE state = 'ready'";
    let jobs: i64 = sqlx::query_scalar(jobs).fetch_one(&app.pool).await.expect("a count");
    // a worker may have taken a second job before the first took it along
    assert!((2..=3).contains(&jobs), "{jobs} jobs made something");
}
