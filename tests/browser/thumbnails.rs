//! Thumbnails that fail, and are tried again.

use std::fs;

use crate::harness::{Browser, ImageLinks, TestApp, pictures};

#[tokio::test]
async fn a_tile_says_why_its_thumbnail_failed_and_tries_again() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.remember_page().await;
    ada.upload(&[("Rome.png", pictures::png_with_damaged_pixels())]).await;
    let why = ada.text(".tile .failed").await;
    assert!(why.contains("No thumbnail: The picture's compressed data are damaged."), "{why}");

    app.stop_worker().await;
    ada.click_text("Try again").await;
    ada.wait_for(".tile [data-awaited]").await;
    ada.wait_until_gone(".tile .failed, .tile form").await;
    // the page hears of what ends from when it has asked on
    let asked = "return performance.getEntriesByType('resource')
        .filter(({ name }) => name.includes('/resized/')).length === 2";
    ada.wait_until_true(asked).await;
    app.start_worker().await;
    assert_eq!(ada.text(".tile .failed").await, why);
    ada.expect_same_page().await;
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn a_thumbnail_that_failed_is_made_once_the_reason_is_gone() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.remember_page().await;
    ada.upload(&[("Rome.png", pictures::png(300, 300))]).await;
    app.wait_for_open_jobs(1).await;
    let original = app.data_dir().join("media").join(&app.objects().await[0]);
    let elsewhere = app.data_dir().join("elsewhere.png");
    fs::rename(&original, &elsewhere).expect("a moved file");
    // a day of looking for it passes
    app.start_worker().await;
    let looked = "SELECT coalesce(bool_and(transient_failures > 0 AND status = 'Failed'), false) FROM apalis.jobs";
    app.wait_until(looked).await;
    let day = "UPDATE apalis.jobs SET run_at = now(), created_at = now() - interval '1 day'";
    sqlx::query(day).execute(&app.pool).await.expect("an older job");
    ada.wait_for_text("No thumbnail: The original file is missing").await;

    fs::create_dir_all(original.parent().expect("a folder")).expect("a folder");
    fs::rename(&elsewhere, &original).expect("a moved file");
    ada.click_text("Try again").await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    ada.expect_same_page().await;
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn the_page_of_an_image_tells_when_another_of_its_thumbnails_is_made() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Premium").await;
    let client = app.logged_in("ada").await;
    let image = client.uploaded("Rome.png", pictures::png(600, 600)).await;
    client.get(image.thumbnail(400)).await;
    app.run_jobs().await;
    let fail =
        "UPDATE thumbnails SET state = 'failed', failure_reason = 'bad luck' WHERE height = 200";
    sqlx::query(fail).execute(&app.pool).await.expect("a failed thumbnail");
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open(&format!("/images/{}", image["pk"])).await;
    ada.wait_until_loaded(".picture img.thumbnail").await;
    ada.wait_for_text("bad luck").await;
    ada.click_text("Try again").await;
    ada.wait_for_text("200 × 200 px, being made").await;
    ada.remember_page().await;
    app.start_worker().await;
    ada.wait_until_gone("[data-awaited]").await;
    let files = ada.text(".files").await;
    assert!(files.contains("200 × 200 px") && !files.contains("being made"), "{files}");
    ada.expect_same_page().await;
    ada.close().await;
    app.stop_worker().await;
}
