//! Every page can be used by everybody, as far as a program can tell: in light and dark colours,
//! wide and narrow.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Browser, ImageLinks, TestApp, pictures};

/// Looks at the page in all ways, and keeps two pictures of it.
async fn look(visitor: &Browser, name: &str) {
    for (width, height) in [(390, 844), (1280, 1000)] {
        visitor.resize(width, height).await;
        visitor.emulate_dark().await;
        visitor.expect_accessible().await;
        visitor.emulate_light().await;
        visitor.expect_accessible().await;
        let broad = "return document.documentElement.scrollWidth > innerWidth";
        assert_eq!(visitor.execute(broad).await, false, "{name} is broader than {width} px");
        visitor.screenshot(&format!("{name}-{width}")).await;
    }
}

async fn look_at(visitor: &Browser, pages: &[(&str, &str)]) {
    for (name, path) in pages {
        visitor.open(path).await;
        look(visitor, name).await;
    }
}

/// Sends the form whose button this is as it stands, which is refused.
async fn look_at_complaints(visitor: &Browser, name: &str, path: &str, button: &str) {
    visitor.expect_log("status of 422");
    visitor.open(path).await;
    visitor.skip_validation().await;
    visitor.click_text(button).await;
    visitor.wait_for(".complaint").await;
    look(visitor, name).await;
}

/// An image whose thumbnail is there, one whose failed, and one whose was not asked for yet.
async fn fill(app: &mut TestApp, username: &str) {
    let client = app.logged_in(username).await;
    let thumbnail = "200 px high";
    for (name, bytes) in [
        ("Rome, by night and from afar.png", pictures::png(600, 400)),
        ("Oslo.png", pictures::png_with_damaged_pixels()),
    ] {
        let image = client.uploaded(name, bytes).await;
        let url = image["file_urls"][thumbnail].as_str().expect("a link");
        client.get(url).await.expect(StatusCode::ACCEPTED);
        let generator = image["expiring_link_generator"].as_str().expect("a link");
        client.post(generator, json!({"valid_for": 30000})).await.expect(StatusCode::CREATED);
    }
    app.run_jobs().await;
    client.uploaded("Bern.png", pictures::png(400, 600)).await;
}

#[tokio::test]
async fn everybody_can_use_the_pages_of_a_visitor() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    let ada = Browser::start(&app.origin).await;
    look_at(&ada, &[("login", "/login")]).await;
    ada.expect_status("/login", 401);
    ada.log_in("ada", "wrong horse").await;
    ada.wait_for(".alert").await;
    look(&ada, "login-refused").await;
    ada.log_in("ada", crate::harness::PASSWORD).await;
    ada.wait_for_path("/").await;
    look(&ada, "gallery-empty").await;

    fill(&mut app, "ada").await;
    ada.open("/").await;
    ada.expect_status("/api/images", 415);
    ada.upload(&[("words.png", b"no picture".to_vec())]).await;
    ada.wait_for(".uploads .refused").await;
    ada.wait_for(".tile .working").await;
    ada.wait_for(".tile .failed").await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    look(&ada, "gallery").await;
    ada.open("/images/1").await;
    // the highest of the thumbnails is awaited as well
    ada.wait_for(".picture .working").await;
    look(&ada, "image").await;
    app.wait_for_open_jobs(2).await;
    ada.click_text("8 hours").await;
    ada.wait_for(".notice").await;
    look(&ada, "image-notice").await;
    look_at(&ada, &[("image-failed", "/images/2"), ("image-delete", "/images/1/delete")]).await;
    look_at_complaints(&ada, "account-complaints", "/account", "Change password").await;
    let button = "Delete my account";
    look_at_complaints(&ada, "account-delete-complaint", "/account/delete", button).await;
    ada.expect_status("/images/9", 404);
    let pages = [
        ("account", "/account"),
        ("tokens", "/account/tokens"),
        ("account-delete", "/account/delete"),
        ("problem", "/images/9"),
    ];
    look_at(&ada, &pages).await;
    ada.close().await;
    app.run_jobs().await;
}

#[tokio::test]
async fn everybody_can_use_the_forms_of_an_image() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Enterprise").await;
    app.logged_in("ada").await.uploaded("Rome.png", pictures::png(600, 400)).await;
    let default =
        sqlx::query("UPDATE users SET password_is_default = true WHERE id = $1").bind(id.0);
    default.execute(&app.pool).await.expect("a default password");
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/images/1").await;
    ada.fill("Title 1 to 255 characters", "").await;
    ada.skip_validation().await;
    ada.expect_status("/images/1/title", 422);
    ada.click_text("Rename").await;
    ada.wait_for("#title-complaint").await;
    look(&ada, "image-title-complaint").await;
    ada.fill("Expires after 300 to 30,000 seconds", "299").await;
    ada.skip_validation().await;
    ada.expect_status("/images/1/links#links", 422);
    ada.click_text("Create").await;
    ada.wait_for("#valid_for-complaint").await;
    look(&ada, "image-link-complaint").await;

    let no_heights = Vec::new().try_into().expect("no heights");
    app.change_tier("Enterprise", |tier| {
        (tier.thumbnail_heights, tier.original_access, tier.expiring_links) =
            (no_heights, false, false);
    })
    .await;
    look_at(&ada, &[("gallery-nothing", "/"), ("image-nothing", "/images/1")]).await;
    ada.close().await;
    app.run_jobs().await;
}

#[tokio::test]
async fn everybody_can_use_the_tables_of_the_administration() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Enterprise").await;
    let id = app.create_user("bob", "Enterprise").await;
    let inactive = sqlx::query("UPDATE users SET is_active = false WHERE id = $1").bind(id.0);
    inactive.execute(&app.pool).await.expect("an inactive user");
    fill(&mut app, "ada").await;
    let client = app.logged_in("ada").await;
    let image = client.get("/api/images/3").await.json();
    client.get(image.thumbnail(200)).await;
    let dead = "INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, done_at, last_result, metadata)
        VALUES (apalis.generate_ulid(), 'clean-up', 'a payload', 'Killed', 5, 5, now(), '{\"Err\": \"it is dead\"}', '')";
    sqlx::query(dead).execute(&app.pool).await.expect("a dead job");
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/admin/users").await;
    ada.click("input[aria-label=bob]").await;
    ada.select("Move the selected ones to", "Premium").await;
    ada.click_text("Move").await;
    ada.wait_for(".notice").await;
    look(&ada, "admin-users").await;
    let pages = [
        ("admin-overview", "/admin"),
        ("admin-users-none", "/admin/users?search=nobody"),
        ("admin-users-delete", "/admin/users/delete?ids=1&ids=2"),
        ("admin-tiers", "/admin/tiers"),
        ("admin-images", "/admin/images"),
        ("admin-images-delete", "/admin/images/delete?ids=1&ids=2"),
        ("admin-links", "/admin/links"),
        ("admin-jobs", "/admin/jobs"),
        ("admin-jobs-dead", "/admin/jobs?state=dead"),
        ("admin-history", "/admin/history"),
    ];
    look_at(&ada, &pages).await;
    let bob = id.to_string();
    client.send_form("/admin/users/delete", &[("ids", &bob)]).await.expect(StatusCode::SEE_OTHER);
    let path = format!("/admin/users/{bob}");
    let pages = [("admin-users-closed", "/admin/users"), ("admin-user-closed", path.as_str())];
    look_at(&ada, &pages).await;
    ada.close().await;
    app.run_jobs().await;
}

#[tokio::test]
async fn everybody_can_use_the_forms_of_the_administration() {
    let app = TestApp::start().await;
    app.create_admin("ada", "Premium").await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/admin/tiers").await;
    ada.click_text("Copy Premium").await;
    ada.click_text("Add").await;
    ada.wait_for_text("Tier created.").await;
    ada.click_text("Copy of Premium").await;
    ada.wait_for_text("Copy this tier").await;
    look(&ada, "admin-tier").await;
    ada.click_text("Delete …").await;
    ada.wait_for_text("No user has it.").await;
    look(&ada, "admin-tier-delete").await;
    ada.open("/admin/tiers").await;
    ada.click_text("Delete Premium").await;
    ada.wait_for_text("These users have it.").await;
    look(&ada, "admin-tier-delete-in-use").await;
    look_at(
        &ada,
        &[("admin-tier-new", "/admin/tiers/new"), ("admin-user-new", "/admin/users/new")],
    )
    .await;
    look_at_complaints(&ada, "admin-tier-complaints", "/admin/tiers/new", "Add").await;
    look_at_complaints(&ada, "admin-user-complaints", "/admin/users/new", "Add").await;
    look_at_complaints(&ada, "admin-password-complaint", "/admin/users/1", "Set the password")
        .await;
    look_at(&ada, &[("admin-user", "/admin/users/1")]).await;
    ada.close().await;
}
