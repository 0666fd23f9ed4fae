//! Links that are copied, and links that expire.

use std::time::Duration;

use crate::harness::{Browser, ImageLinks, TestApp, pictures};

const LIVES_FOR: &str = "Expires after 300 to 30,000 seconds";

/// The path of the first expiring link on the page.
async fn first_link(visitor: &Browser, app: &TestApp) -> String {
    let url = visitor.attribute("[data-expiring] a", "href").await.expect("a link");
    url.strip_prefix(&app.origin).expect("a link of ours").to_owned()
}

#[tokio::test]
async fn a_link_is_copied_with_a_button() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Premium").await;
    let image = app.logged_in("ada").await.uploaded("Rome.png", pictures::png(300, 300)).await;
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.allow_clipboard().await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    // the button says so for a moment only
    let watch = "window.said = [];
        const button = document.querySelector('.tile [data-copy]');
        new MutationObserver(() => said.push(button.textContent)).observe(button, { childList: true })";
    ada.execute(watch).await;
    ada.click_text("Copy the link: Original of Rome").await;
    ada.wait_until_true("return said.join() === 'Copied,Copy'").await;
    let url = image.original();
    assert_eq!(ada.execute("return navigator.clipboard.readText()").await, url);
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn a_link_lives_as_long_as_was_said_and_not_less_than_may_be() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    let image = app.logged_in("ada").await.uploaded("Rome.png", pictures::png(300, 300)).await;
    let path = format!("/images/{}", image["pk"]);
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open(&path).await;
    ada.wait_until_loaded("img.thumbnail").await;
    ada.click_text("5 minutes").await;
    ada.wait_for_text("Link created. It expires in 5 minutes.").await;
    ada.fill(LIVES_FOR, "1234").await;
    ada.select("Shows", "200 px").await;
    ada.click_text("Create").await;
    ada.wait_for_text("Link created. It expires in 20 minutes 34 seconds.").await;
    assert_eq!(ada.count("[data-expiring]").await, 2);

    ada.fill(LIVES_FOR, "299").await;
    ada.select("Shows", "400 px").await;
    ada.skip_validation().await;
    ada.expect_status(&format!("{path}/links#links"), 422);
    ada.click_text("Create").await;
    assert_eq!(
        ada.text("#valid_for-complaint").await,
        "A link lives 300 to 30000 seconds, not 299."
    );
    assert_eq!(ada.attribute("#valid_for", "value").await.as_deref(), Some("299"));
    assert_eq!(
        ada.attribute("#valid_for", "aria-describedby").await.as_deref(),
        Some("valid_for-complaint")
    );
    assert_eq!(ada.selected("#target").await, "400 px");
    assert_eq!(ada.count("[data-expiring]").await, 2);
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn a_link_shows_strangers_the_picture_until_it_is_revoked_or_expires() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    let image = app.logged_in("ada").await.uploaded("Rome.png", pictures::png(300, 300)).await;
    let path = format!("/images/{}", image["pk"]);
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    let stranger = Browser::start(&app.origin).await;
    ada.open(&path).await;
    ada.click_text("5 minutes").await;
    let left = "const parts = document.querySelector('time[data-left]').textContent.split(' ');
        window.left ??= Infinity;
        const seconds = parts.includes('min') ? parts[0] * 60 + Number(parts[2]) : Number(parts[0]);
        [window.before, window.left] = [window.left, seconds];
        return seconds > 0 && seconds < before && before < Infinity";
    ada.wait_until_true(left).await;

    let link = first_link(&ada, &app).await;
    stranger.open(&link).await;
    stranger.wait_until_loaded("img").await;
    ada.click_text("Revoke").await;
    ada.wait_for_text("Link revoked.").await;
    ada.wait_for_text("No live links.").await;
    stranger.expect_status(&link, 404);
    stranger.forget_files().await;
    stranger.open(&link).await;
    stranger.wait_for_text("Not found").await;

    ada.click_text("5 minutes").await;
    let link = first_link(&ada, &app).await;
    stranger.open(&link).await;
    stranger.wait_until_loaded("img").await;
    app.clock.advance(Duration::from_mins(5));
    ada.open(&path).await;
    ada.wait_for_text("No live links.").await;
    ada.wait_until_loaded("img.thumbnail").await;
    stranger.expect_status(&link, 404);
    stranger.forget_files().await;
    stranger.open(&link).await;
    stranger.wait_for_text("Not found").await;
    ada.close().await;
    stranger.close().await;
    app.stop_worker().await;
}
