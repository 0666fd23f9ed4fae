//! From the login to the first pictures, and files that are refused.

use serde_json::json;

use crate::harness::{Browser, PASSWORD, TestApp, pictures};

#[tokio::test]
async fn a_login_leads_to_where_one_wanted_to_go() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let ada = Browser::start(&app.origin).await;
    ada.open("/").await;
    ada.wait_for_path("/login").await;
    ada.open("/account?from=mail").await;
    ada.wait_for_path("/login?next=%2Faccount%3Ffrom%3Dmail").await;

    ada.expect_status("/login", 401);
    ada.log_in("ada", "wrong horse").await;
    assert_eq!(ada.text("[role=alert]").await, "No active account has this username and password.");
    assert_eq!(ada.attribute("#username", "value").await.as_deref(), Some("ada"));
    ada.fill("Password", PASSWORD).await;
    ada.click_text("Log in").await;
    ada.wait_for_path("/account?from=mail").await;

    ada.click_text("Log out").await;
    ada.wait_for_path("/login").await;
    ada.open("/account").await;
    ada.wait_for_path("/login?next=%2Faccount").await;
    ada.close().await;
}

#[tokio::test]
async fn chosen_files_become_pictures_without_another_page() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.wait_for_text("No images yet.").await;
    ada.wait_for_text("0 B of").await;
    ada.remember_page().await;
    // nobody makes thumbnails yet
    ada.upload(&[("Oslo.png", pictures::png(1600, 1200))]).await;
    ada.wait_for(".tile [data-awaited]").await;
    ada.wait_until_gone("[data-empty]").await;
    app.wait_for_open_jobs(1).await;
    assert_eq!(ada.count(".tile img.thumbnail").await, 0);
    app.start_worker().await;
    ada.wait_until_loaded(".tile img.thumbnail").await;

    let photo = pictures::jpeg(1600, 1200);
    let files =
        [("Rome.jpg", photo.clone()), ("Lima.png", pictures::png(900, 1600)), ("Bern.jpg", photo)];
    ada.upload(&files).await;
    ada.wait_for(".tile:nth-child(4)").await;
    ada.wait_until_gone("[data-awaited]").await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    ada.wait_until_gone(".uploads li, .placeholder").await;
    ada.wait_until_true("return !document.querySelector('.quota').innerText.includes('\\n0 B of')")
        .await;
    let titles = "return [...document.querySelectorAll('.tile:has(img.thumbnail) .title')]
        .map(title => title.textContent).sort()";
    assert_eq!(ada.execute(titles).await, json!(["Bern", "Lima", "Oslo", "Rome"]));
    ada.expect_same_page().await;
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn a_refused_file_has_the_reason_beside_its_name() {
    let mut app = TestApp::start_with(|config| config.limits.upload_max_bytes = 100_000).await;
    app.create_user("ada", "Basic").await;
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    let mut half = pictures::png(300, 200);
    half.truncate(half.len() / 2);
    ada.expect_status("/api/images", 415);
    ada.expect_status("/api/images", 422);
    // sending the largest one would leave a 413 on the console
    ada.upload(&[
        ("words.png", b"no picture at all".to_vec()),
        ("half.png", half),
        ("large.png", vec![0; 200_000]),
        ("whole.png", pictures::png(300, 200)),
    ])
    .await;
    for row in [
        "words.png The file is neither PNG nor JPEG. Save the picture as one of them. Dismiss",
        "half.png The file ends in the middle of the picture. Copy it again. Dismiss",
        "large.png The file has 200000 bytes; at most 100000 are taken. Dismiss",
    ] {
        ada.wait_for_text(row).await;
    }
    ada.wait_until_loaded(".tile img.thumbnail").await;
    assert_eq!(ada.text(".tile .title").await, "whole");
    assert_eq!(ada.count(".tile").await, 1);

    ada.click_text("Dismiss words.png").await;
    ada.click_text("Dismiss large.png").await;
    ada.wait_until_gone(".uploads li:nth-child(2)").await;
    assert_eq!(ada.text(".uploads .name").await, "half.png");
    ada.close().await;
    app.stop_worker().await;
}
