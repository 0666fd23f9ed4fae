//! Everything is reached with the keyboard, and one sees where one is.

use thirtyfour::Key;

use crate::harness::{Browser, PASSWORD, TestApp, pictures};

/// What has the focus, and whether all of its outline is seen; nothing at the end of the page.
const FOCUSED: &str = "
    const element = document.activeElement;
    if (element === document.body) return null;
    const style = getComputedStyle(element);
    const width = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
    const box = element.getBoundingClientRect();
    let isSeen = element.matches(':focus-visible') && style.outlineStyle !== 'none' && box.width > 0;
    for (let around = element.parentElement; around !== document.body; around = around.parentElement) {
        if (getComputedStyle(around).overflow === 'visible') continue;
        const edge = around.getBoundingClientRect();
        isSeen &&= edge.left <= box.left - width && edge.right >= box.right + width
            && edge.top <= box.top - width && edge.bottom >= box.bottom + width;
    }
    const name = element.ariaLabel || element.id || element.name || element.innerText.trim() || element.getAttribute('href');
    return { name, isSeen }";

/// Presses Tab until the page's end; what had the focus, each of which showed it.
async fn walk(visitor: &Browser) -> Vec<String> {
    let mut passed = Vec::new();
    for _ in 0..100 {
        visitor.press(Key::Tab + "").await;
        let focused = visitor.execute(FOCUSED).await;
        let Some(name) = focused["name"].as_str() else { return passed };
        assert_eq!(focused["isSeen"], true, "the focus of {name} is not seen");
        passed.push(name.to_owned());
    }
    panic!("no end: {passed:?}");
}

#[tokio::test]
async fn uploads_and_links_are_reached_with_tab() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Premium").await;
    app.start_worker().await;
    app.logged_in("ada").await.uploaded("Rome.png", pictures::png(300, 300)).await;
    let ada = Browser::start(&app.origin).await;
    ada.open("/login").await;
    ada.press("ada").await;
    ada.press(Key::Tab + PASSWORD).await;
    ada.press(Key::Enter + "").await;
    ada.wait_for_path("/").await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    let passed = walk(&ada).await;
    assert_eq!(
        passed,
        [
            "Skip to content",
            "Pictier",
            "Images",
            "API",
            "ada",
            "Log out",
            "files",
            "/images/1",
            "Original",
            "Copy the link: Original of Rome",
            "200 px",
            "Copy the link: 200 px of Rome",
            "400 px",
            "Copy the link: 400 px of Rome",
        ]
    );
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn the_forms_of_an_image_and_of_the_administration_are_reached_with_tab() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Enterprise").await;
    app.start_worker().await;
    app.logged_in("ada").await.uploaded("Rome.png", pictures::png(300, 300)).await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.wait_until_loaded("img.thumbnail").await;
    for (path, reached) in [
        ("/images/1", ["target", "valid_for", "Create", "title", "Delete this image…"]),
        ("/images/1/delete", ["Images", "API", "Log out", "Delete", "Cancel"]),
        ("/admin/users", ["search", "All users of this page", "ada", "new_tier", "Move"]),
        ("/admin/images", ["title", "All images of this page", "Rome", "ada", "Delete selected…"]),
        ("/admin/tiers/1", ["name", "thumbnail_heights", "original_access", "Save", "Delete …"]),
    ] {
        ada.open(path).await;
        let passed = walk(&ada).await;
        for name in reached {
            assert!(
                passed.iter().any(|passed| passed == name),
                "{name} of {path} is not in {passed:?}"
            );
        }
    }
    ada.close().await;
    app.stop_worker().await;
}

#[tokio::test]
async fn the_skip_link_leads_past_the_navigation() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.press(Key::Tab + "").await;
    ada.press(Key::Enter + "").await;
    ada.wait_until_true("return location.hash === '#main'").await;
    ada.press(Key::Tab + "").await;
    assert_eq!(ada.execute("return document.activeElement.id").await, "files");
    ada.close().await;
}
