//! An image's title, its end, and a list that goes on where it ends.

use serde_json::json;

use crate::harness::{Browser, TestApp, pictures};

#[tokio::test]
async fn an_image_is_renamed() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let image = app.logged_in("ada").await.uploaded("Rome.png", pictures::png(300, 300)).await;
    let path = format!("/images/{}", image["pk"]);
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open(&path).await;
    ada.wait_until_loaded("img.thumbnail").await;
    ada.fill("Title 1 to 255 characters", "").await;
    ada.skip_validation().await;
    ada.expect_status(&format!("{path}/title"), 422);
    ada.click_text("Rename").await;
    assert_eq!(ada.text("#title-complaint").await, "a title has 1 to 255 characters, not 0");
    assert_eq!(ada.attribute("#title", "value").await.as_deref(), Some(""));
    assert_eq!(ada.text("h1").await, "Rome");

    ada.fill("Title 1 to 255 characters", "Roma, di notte").await;
    ada.click_text("Rename").await;
    ada.wait_for_text("Renamed. Existing links keep working.").await;
    ada.wait_for_path(&path).await;
    assert_eq!(ada.text("h1").await, "Roma, di notte");
    ada.open("/").await;
    assert_eq!(ada.text(".tile .title").await, "Roma, di notte");
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn an_image_is_deleted_once_what_goes_with_it_was_read() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    let client = app.logged_in("ada").await;
    let image = client.uploaded("Rome.png", pictures::png(300, 200)).await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    client.post(generator, json!({"valid_for": 300})).await;
    let path = format!("/images/{}", image["pk"]);
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.wait_until_loaded("img.thumbnail").await;
    ada.open(&path).await;
    ada.wait_until_loaded("img.thumbnail").await;
    ada.click_text("Delete this image…").await;
    ada.wait_for_path(&format!("{path}/delete")).await;
    ada.wait_for_text("Delete “Rome”?").await;
    ada.wait_for_text("the original, 300 × 200 px").await;
    ada.wait_for_text("2 thumbnails 1 live expiring link").await;
    ada.click_text("Cancel").await;
    ada.wait_for_path(&path).await;

    ada.click_text("Delete this image…").await;
    ada.click_text("Delete").await;
    ada.wait_for_path("/").await;
    ada.wait_for_text("Image deleted.").await;
    ada.wait_for_text("No images yet.").await;
    ada.expect_status(&path, 404);
    ada.open(&path).await;
    ada.wait_for_text("There is no such image.").await;
    ada.close().await;
    app.stop_worker().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_list_goes_on_until_every_image_stands_there_once() {
    let app = TestApp::start().await;
    let owner = app.create_user("ada", "Basic").await;
    // tiles without pictures: none of these images has a file
    app.change_tier("Basic", |tier| {
        tier.thumbnail_heights = Vec::new().try_into().expect("no heights");
    })
    .await;
    let images =
        "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
        SELECT $1, gen_random_uuid(), 'image ' || n, 'png', 4, 3, 1, now() FROM generate_series(1, 110) AS n";
    sqlx::query(images).bind(owner.0).execute(&app.pool).await.expect("images");
    let ada = Browser::logged_in(&app, "ada").await;
    assert_eq!(ada.count(".tile").await, 48, "no more than is nearly in view");
    ada.remember_page().await;
    let to_the_end = "scrollTo(0, document.body.scrollHeight)";
    ada.execute(to_the_end).await;
    ada.wait_for(".tile:nth-child(96)").await;
    ada.execute(to_the_end).await;
    ada.wait_for(".tile:nth-child(110)").await;
    ada.wait_until_gone("[data-more]").await;
    let titles =
        "return [...document.querySelectorAll('.tile .title')].map(title => title.textContent)";
    let expected: Vec<_> = (1..=110).rev().map(|number| format!("image {number}")).collect();
    assert_eq!(ada.execute(titles).await, json!(expected));
    ada.expect_same_page().await;
    ada.close().await;
}
