//! Thumbnails that fail, and are tried again.

use std::fs;

use crate::harness::{Browser, TestApp, pictures};

#[tokio::test]
async fn a_tile_says_why_its_thumbnail_failed_and_tries_again() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    app.start_worker().await;
    let Some(ada) = Browser::logged_in(&app, "ada").await else { return };
    ada.remember_page().await;
    ada.upload(&[("Rome.png", pictures::png_with_damaged_pixels())]).await;
    let why = ada.text(".tile .failed").await;
    assert!(why.starts_with("The thumbnail of Rome could not be made: the image is damaged: "), "{why}");

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
    let Some(ada) = Browser::logged_in(&app, "ada").await else { return };
    ada.remember_page().await;
    ada.upload(&[("Rome.png", pictures::png(300, 300))]).await;
    app.wait_for_open_jobs(1).await;
    let original = app.data_dir().join("media").join(&app.objects().await[0]);
    let elsewhere = app.data_dir().join("elsewhere.png");
    fs::rename(&original, &elsewhere).expect("a moved file");
    app.start_worker().await;
    ada.wait_for_text("The thumbnail of Rome could not be made: the original file is missing").await;

    fs::create_dir_all(original.parent().expect("a folder")).expect("a folder");
    fs::rename(&elsewhere, &original).expect("a moved file");
    ada.click_text("Try again").await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    ada.expect_same_page().await;
    ada.close().await;
    app.stop_worker().await;
}
