//! How much and how often an account uploads.

use reqwest::StatusCode;

use crate::harness::{TestApp, pictures};

#[tokio::test]
async fn what_an_account_stores_is_counted_and_limited() {
    let app = TestApp::start().await;
    let bytes = pictures::png(50, 50);
    let size = i64::try_from(bytes.len()).expect("a size");
    app.change_tier("Basic", |tier| {
        tier.storage_quota_bytes = (size * 2 + 1).try_into().expect("bytes");
    })
    .await;
    let client = app.user("Basic").await;
    let first = client.uploaded("1.png", bytes.clone()).await;
    client.uploaded("2.png", bytes.clone()).await;
    assert_eq!(client.get("/api/session").await.json()["used_bytes"], size * 2);
    client.upload("3.png", bytes.clone()).await.expect_problem(507, "over-quota");
    assert_eq!(app.objects().await.len(), 2, "the refused file is gone");

    client.delete(&format!("/api/images/{}", first["pk"])).await.expect(StatusCode::NO_CONTENT);
    client.uploaded("3.png", bytes).await;
    let mut app = app;
    app.run_jobs().await;
}

#[tokio::test]
async fn uploads_at_once_cannot_exceed_the_quota() {
    let app = TestApp::start().await;
    let bytes = pictures::png(50, 50);
    let size = i64::try_from(bytes.len()).expect("a size");
    app.change_tier("Basic", |tier| {
        tier.storage_quota_bytes = (size * 3).try_into().expect("bytes");
    })
    .await;
    let client = app.user("Basic").await;
    let uploads = (0..10).map(|n| {
        let (client, bytes) = (client.clone(), bytes.clone());
        async move { client.upload(&format!("{n}.png"), bytes).await.status }
    });
    let statuses = futures::future::join_all(uploads).await;
    assert_eq!(
        statuses.iter().filter(|status| **status == StatusCode::CREATED).count(),
        3,
        "{statuses:?}"
    );
    assert_eq!(app.objects().await.len(), 3);
    assert_eq!(client.get("/api/session").await.json()["used_bytes"], size * 3);
}

#[tokio::test]
async fn a_user_uploads_at_most_so_many_files_in_a_minute() {
    let app = TestApp::start_with(|config| config.limits.uploads_per_minute = 2).await;
    let client = app.user("Basic").await;
    let first = client.upload("a.png", pictures::png(10, 10)).await.expect(StatusCode::CREATED);
    assert_eq!(first.header("ratelimit-policy"), r#""uploads";q=2;w=60"#);
    let (remaining, reset) = first.header("ratelimit").split_once(";t=").expect("a window");
    assert_eq!(remaining, r#""uploads";r=1"#);
    assert!((1..=60).contains(&reset.parse::<u64>().expect("seconds")), "{reset} s");
    let second = client.upload("a.txt", "no image".into()).await;
    second.expect_problem(415, "not-an-image");
    assert!(second.header("ratelimit").starts_with(r#""uploads";r=0;"#));
    let refused = client.upload("a.png", pictures::png(10, 10)).await;
    refused.expect_problem(429, "too-many-uploads");
    assert!(refused.header("ratelimit").starts_with(r#""uploads";r=0;"#));
    assert!(refused.headers.contains_key("retry-after"));
    app.user("Basic").await.uploaded("a.png", pictures::png(10, 10)).await;
    app.clock.advance(std::time::Duration::from_secs(61));
    client.uploaded("a.png", pictures::png(10, 10)).await;
}
