//! Everything works without scripts.

use crate::harness::{Browser, ImageLinks, TestApp, pictures};

#[tokio::test]
async fn images_are_kept_shown_and_deleted_without_scripts() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    app.start_worker().await;
    let ada = Browser::start(&app.origin).await;
    ada.disable_javascript().await;
    ada.open("/").await;
    ada.log_in("ada", crate::harness::PASSWORD).await;
    ada.wait_for_text("No images yet.").await;
    ada.upload(&[("<b>.png", b"no picture".to_vec()), ("Rome.png", pictures::png(600, 400))]).await;
    ada.expect_status("/images", 422);
    ada.click_text("Upload").await;
    ada.wait_for_text("<b>.png The file is neither PNG nor JPEG. Save the picture as one of them.")
        .await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    ada.upload(&[("Oslo.png", pictures::png(600, 400))]).await;
    ada.click_text("Upload").await;
    ada.wait_for_text("Uploaded 1 image.").await;
    ada.wait_for_path("/").await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    assert_eq!(ada.count(".tile").await, 2);

    ada.click(".tile a[href='/images/1']").await;
    ada.wait_until_loaded("img.thumbnail").await;
    ada.click_text("5 minutes").await;
    ada.wait_for_text("Link created. It expires in 5 minutes.").await;
    ada.wait_for("[data-expiring] a").await;
    ada.fill("Title 1 to 255 characters", "Roma").await;
    ada.click_text("Rename").await;
    ada.wait_for_text("Renamed.").await;
    assert_eq!(ada.text("h1").await, "Roma");
    // what works with scripts only is not there
    assert_eq!(ada.count("[data-copy]:not([hidden])").await, 0);
    ada.click_text("Delete this image…").await;
    ada.click_text("Delete").await;
    ada.wait_for_text("Image deleted.").await;
    assert_eq!(ada.text(".tile .title").await, "Oslo");
    ada.click_text("Log out").await;
    ada.wait_for_path("/login").await;
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn a_failed_thumbnail_is_tried_again_without_scripts() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let client = app.logged_in("ada").await;
    let image = client.uploaded("Rome.png", pictures::png_with_damaged_pixels()).await;
    client.get(image.thumbnail(200)).await;
    app.run_jobs().await;
    let ada = Browser::start(&app.origin).await;
    ada.disable_javascript().await;
    ada.open("/").await;
    ada.log_in("ada", crate::harness::PASSWORD).await;
    ada.wait_for_text("No thumbnail").await;
    ada.click_text("Try again").await;
    ada.wait_for_path("/images/1").await;
    ada.wait_for_text("The thumbnail is being made again.").await;
    ada.wait_for_text("64 × 64 px, being made").await;
    // the picture that the page waits for
    ada.expect_log("status of 422");
    app.run_jobs().await;
    ada.open("/images/1").await;
    ada.wait_for_text("No thumbnail").await;
    ada.close().await;
}
