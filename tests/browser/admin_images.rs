//! Administrators' images and links, and what is written down of it.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Browser, TestApp, pictures};

#[tokio::test]
async fn images_are_found_and_deleted_once_what_goes_with_them_was_read() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    app.create_user("bob", "Enterprise").await;
    let bob = app.logged_in("bob").await;
    for name in ["Rome by day.png", "Oslo.png", "Rome by night.png"] {
        let image = bob.uploaded(name, pictures::png(40, 30)).await;
        let generator = image["expiring_link_generator"].as_str().expect("a link");
        bob.post(generator, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
        for height in ["200 px high", "400 px high"] {
            bob.get(image["file_urls"][height].as_str().expect("a link")).await;
        }
    }
    app.run_jobs().await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/admin/images").await;
    ada.wait_until_loaded("td img.thumbnail").await;
    ada.fill("Owner is", "bob").await;
    ada.fill("Title contains", "rome").await;
    ada.select("Sort by", "oldest first").await;
    ada.click_text("Filter").await;
    ada.wait_for_path("/admin/images?owner=bob&title=rome&id=&failed=&sort=oldest").await;
    let titles = "return [...document.querySelectorAll('td:nth-child(4)')].map(title => title.innerText).join()";
    assert_eq!(ada.execute(titles).await, "Rome by day,Rome by night");
    ada.click("input[aria-label='Rome by night']").await;
    ada.click("input[aria-label='Rome by day']").await;
    ada.click_text("Delete selected…").await;
    ada.wait_for_text("Delete 2 images?").await;
    ada.wait_for_text("With 4 thumbnails and 2 live expiring links").await;
    ada.wait_for_text("Rome by day, of bob").await;
    ada.wait_for_text("Rome by night, of bob").await;
    ada.click_text("Delete").await;
    ada.wait_for_text("Deleted 2 images.").await;
    ada.wait_for_path("/admin/images").await;
    assert_eq!(ada.execute(titles).await, "Oslo");
    ada.open("/admin/history?kind=image").await;
    ada.wait_for_text("ada delete image Rome by day").await;
    ada.wait_for_text("ada delete image Rome by night").await;
    ada.close().await;
    app.run_jobs().await;
    assert_eq!(
        app.objects().await.len(),
        3,
        "the original and the thumbnails of the one that stays"
    );
}

#[tokio::test]
async fn the_link_of_somebody_is_revoked() {
    let app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    app.create_user("bob", "Enterprise").await;
    let bob = app.logged_in("bob").await;
    let mut links = Vec::new();
    for name in ["Rome.png", "Oslo.png"] {
        let image = bob.uploaded(name, pictures::png(40, 30)).await;
        let generator = image["expiring_link_generator"].as_str().expect("a link");
        let link = bob.post(generator, json!({"valid_for": 300})).await.json();
        links.push(link["link"].as_str().expect("a link").to_owned());
    }
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/admin/links").await;
    ada.fill("Owner is", "bob").await;
    ada.click_text("Filter").await;
    ada.wait_for_path("/admin/links?owner=bob").await;
    ada.wait_for_text("Rome Original bob").await;
    ada.click_text("Revoke the link to Rome").await;
    ada.wait_for_text("Link revoked.").await;
    assert_eq!(ada.text("tbody td").await, "Oslo");
    assert_eq!(ada.count("tbody tr").await, 1);
    app.anonymous().get(&links[0]).await.expect(StatusCode::NOT_FOUND);
    app.anonymous().get(&links[1]).await.expect(StatusCode::OK);
    ada.click_text("History").await;
    ada.select("Kind of object", "link").await;
    ada.click_text("Filter").await;
    ada.wait_for_path("/admin/history?kind=link&id=").await;
    ada.wait_for_text("ada revoke link Rome").await;
    ada.close().await;
}
