//! The JSON and the pages as a client gets them. A change shows as a difference to the files in
//! `tests/snapshots`: `cargo insta review`, or `INSTA_UPDATE=always`, takes it over.

use insta::{Settings, assert_json_snapshot, assert_snapshot};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Client, ImageLinks, TestApp, pictures};

/// What differs from run to run.
const VARYING: [(&str, &str); 8] = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "[time]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?", "[time]"),
    (r"127\.0\.0\.1:\d+", "[host]"),
    (r"\?v=[0-9a-f]+", "?v=[version]"),
    (r"/assets/[0-9a-f]{8,}/", "/assets/[version]/"),
    (r"data:image/png;base64,[A-Za-z0-9+/=]+", "[placeholder]"),
    (r"thumbhash=\S+", "[placeholder]"),
];

fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    for (pattern, name) in VARYING {
        settings.add_filter(pattern, name);
    }
    settings
}

async fn json_of(client: &Client, path: &str) -> Value {
    client.get(path).await.expect(StatusCode::OK).json()
}

#[tokio::test]
async fn the_json_of_a_session_an_image_and_its_links() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    let ada = app.logged_in("ada").await;
    let image = ada.uploaded("Holiday in Rome.png", pictures::png(600, 400)).await;
    ada.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    let pending = json_of(&ada, "/api/images/1/thumbnails/200").await;
    app.run_jobs().await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let link = ada.post(generator, json!({"height": 200, "valid_for": 300})).await;
    let refused = ada.post(generator, json!({"height": 200, "valid_for": "1 hour"})).await;
    let (link, shown) = (link.json(), image.clone());
    let shown = [
        ("session", json_of(&ada, "/api/session").await),
        ("upload", shown),
        ("thumbnail-pending", pending),
        ("thumbnail-ready", json_of(&ada, "/api/images/1/thumbnails/200").await),
        ("images", json_of(&ada, "/api/images").await),
        ("expiring-link", link),
        ("problem-invalid-field", refused.json()),
        ("problem-not-found", ada.get("/api/images/99").await.json()),
        ("problem-not-logged-in", app.anonymous().get("/api/images").await.json()),
    ];
    settings().bind(|| {
        for (name, json) in shown {
            assert_json_snapshot!(name, json);
        }
    });
}

#[tokio::test]
async fn the_html_of_pages() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Enterprise").await;
    let ada = app.logged_in("ada").await;
    let image = ada.uploaded("Holiday in Rome.png", pictures::png(600, 400)).await;
    ada.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let mut shown = vec![("page-login", app.anonymous().page("/login").await.html())];
    for (name, path) in [
        ("page-gallery", "/"),
        ("page-image", "/images/1"),
        ("page-account", "/account"),
        ("page-admin-users", "/admin/users"),
        ("page-admin-tiers", "/admin/tiers"),
        ("page-admin-images", "/admin/images"),
    ] {
        shown.push((name, ada.page(path).await.html()));
    }
    settings().bind(|| {
        for (name, html) in shown {
            assert_snapshot!(name, html);
        }
    });
}
