//! Names are text, whatever they look like.

use crate::harness::{Browser, TestApp, pictures};

const NAME: &str = "<img src=x onerror=alert(1)>";

/// The page shows the name, and did not make an element of it; one that it made would be on the
/// console as well.
async fn expect_text(visitor: &Browser) {
    visitor.wait_for_text(NAME).await;
    assert_eq!(visitor.count("img[src=x], [onerror]").await, 0);
}

#[tokio::test]
async fn a_name_that_looks_like_html_is_text_on_every_page() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Enterprise").await;
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    let file = format!("{NAME}.png");
    ada.expect_status("/api/images", 415);
    ada.upload(&[(&file, b"no picture".to_vec())]).await;
    ada.wait_for(".uploads .refused").await;
    expect_text(&ada).await;
    ada.upload(&[(&file, pictures::png(400, 300))]).await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    assert_eq!(ada.text(".tile .title").await, NAME);
    expect_text(&ada).await;

    ada.click(".tile a.picture").await;
    ada.wait_until_loaded("img.thumbnail").await;
    assert_eq!(ada.text("h1").await, NAME);
    assert_eq!(ada.attribute("#title", "value").await.as_deref(), Some(NAME));
    expect_text(&ada).await;
    ada.click_text("5 minutes").await;
    ada.wait_for("[data-expiring]").await;
    ada.click_text("Delete this image…").await;
    ada.wait_for_text(&format!("Delete “{NAME}”?")).await;
    expect_text(&ada).await;

    for page in ["/admin/links", "/admin/images"] {
        ada.open(page).await;
        expect_text(&ada).await;
    }
    ada.click("tbody input[type=checkbox]").await;
    ada.click_text("Delete selected…").await;
    ada.wait_for_text("Delete 1 image?").await;
    expect_text(&ada).await;
    ada.click_text("Delete").await;
    ada.wait_for_text("Deleted 1 image.").await;
    for page in ["/admin/history", "/admin"] {
        ada.open(page).await;
        expect_text(&ada).await;
    }
    ada.close().await;
    app.stop_worker().await;
}
