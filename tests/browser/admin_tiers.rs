//! Administrators' tiers.

use crate::harness::{Browser, TestApp, pictures};

const HEIGHTS: &str = "Thumbnail heights in px at most 16 of 1 to 4000, with commas between";
const ORIGINALS: &str = "input[name=original_access]";
const LARGEST: &str = "Largest file such as 20 MiB";
const SPACE: &str = "Space for all originals of a user such as 10 GiB";

async fn is_ticked(visitor: &Browser, name: &str) -> bool {
    visitor.count(&format!("input[name={name}]:checked")).await == 1
}

#[tokio::test]
async fn only_administrators_see_their_pages() {
    let app = TestApp::start().await;
    app.create_user("bob", "Basic").await;
    let bob = Browser::logged_in(&app, "bob").await;
    bob.wait_for("nav a[href='/account']").await;
    assert_eq!(bob.count("a[href^='/admin']").await, 0);
    for path in ["/admin", "/admin/users"] {
        bob.expect_status(path, 403);
        bob.open(path).await;
        assert_eq!(bob.text("h1").await, "Administrators only");
    }
    bob.close().await;
}

#[tokio::test]
async fn a_new_tier_is_what_its_users_have_at_once() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    app.create_user("bob", "Basic").await;
    app.start_worker().await;
    let ada = Browser::logged_in(&app, "ada").await;
    let bob = Browser::logged_in(&app, "bob").await;
    ada.click_text("Admin").await;
    ada.click_text("Tiers").await;
    ada.click_text("Add a tier").await;
    ada.wait_for_path("/admin/tiers/new").await;
    ada.fill("Name", "Portrait").await;
    ada.fill(HEIGHTS, "150, 4001").await;
    ada.click(ORIGINALS).await;
    ada.fill(LARGEST, "2 MiB").await;
    ada.fill(SPACE, "1 GiB").await;
    ada.expect_status("/admin/tiers/new", 422);
    ada.click_text("Add").await;
    assert_eq!(
        ada.text("#thumbnail_heights-complaint").await,
        "a height is 1 to 4000 px, not 4001"
    );
    for (field, typed) in [
        ("name", "Portrait"),
        ("thumbnail_heights", "150, 4001"),
        ("max_upload_bytes", "2 MiB"),
        ("storage_quota_bytes", "1 GiB"),
    ] {
        assert_eq!(ada.attribute(&format!("#{field}"), "value").await.as_deref(), Some(typed));
    }
    assert!(is_ticked(&ada, "original_access").await && !is_ticked(&ada, "expiring_links").await);
    ada.fill(HEIGHTS, "150, 300").await;
    ada.click_text("Add").await;
    ada.wait_for_text("Tier created.").await;
    ada.wait_for_text("Portrait 150, 300 px yes no 2.0 MiB 1.0 GiB 0").await;

    ada.click_text("Users").await;
    ada.click("input[aria-label=bob]").await;
    ada.select("Move the selected ones to", "Portrait").await;
    ada.click_text("Move").await;
    ada.wait_for_text("Moved 1 user to another tier.").await;
    bob.open("/").await;
    bob.wait_for_text("Tier Portrait Thumbnails 150, 300 px high Originals yes").await;
    bob.upload(&[("Rome.png", pictures::png(600, 600))]).await;
    bob.wait_until_loaded(".tile img.thumbnail").await;
    bob.wait_for_text("Original Copy 150 px Copy 300 px Copy").await;
    assert_eq!(bob.attribute(".tile img.thumbnail", "height").await.as_deref(), Some("300"));
    ada.close().await;
    bob.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn a_tier_in_use_stays_and_its_copy_goes() {
    let app = TestApp::start().await;
    app.create_admin("ada", "Premium").await;
    app.create_user("bob", "Premium").await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/admin/tiers").await;
    ada.click_text("Delete Premium").await;
    ada.wait_for_text("These users have it. A tier in use cannot be deleted").await;
    ada.wait_for_text("ada bob").await;
    assert_eq!(ada.count("main form").await, 0);
    ada.click("main [href='/admin/tiers']").await;
    ada.click_text("Delete Basic").await;
    ada.wait_for_text("New users get this tier.").await;
    assert_eq!(ada.count("main form").await, 0);

    ada.open("/admin/tiers").await;
    ada.click_text("Copy Premium").await;
    assert_eq!(ada.attribute("#name", "value").await.as_deref(), Some("Copy of Premium"));
    assert_eq!(ada.attribute("#thumbnail_heights", "value").await.as_deref(), Some("200, 400"));
    assert!(is_ticked(&ada, "original_access").await);
    ada.click_text("Add").await;
    ada.wait_for_text("Tier created.").await;
    ada.click_text("Copy of Premium").await;
    ada.fill("Name", "Gold").await;
    ada.click(ORIGINALS).await;
    ada.click_text("Save").await;
    ada.wait_for_text("Saved. The change applies to its users' next requests.").await;
    ada.click_text("Gold").await;
    ada.wait_for_text("name: Copy of Premium → Gold original_access: yes → no").await;
    ada.click_text("Delete …").await;
    ada.click_text("Delete").await;
    ada.wait_for_text("Tier deleted.").await;
    assert_eq!(ada.count("tbody tr").await, 3);
    ada.close().await;
}
