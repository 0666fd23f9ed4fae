//! Everything is reached with the keyboard, and one sees where one is.

use thirtyfour::Key;

use crate::harness::{Browser, PASSWORD, TestApp, pictures};

/// Presses Tab until the page's end; what had the focus, each of which showed it.
async fn walk(visitor: &Browser) -> Vec<String> {
    let focused = "
        const element = document.activeElement;
        if (element === document.body) return null;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        if (outlineStyle === 'none' || outlineWidth === '0px' || box.width === 0) return 'nothing to be seen';
        return element.ariaLabel || element.id || element.innerText.trim() || element.getAttribute('href')";
    let mut passed = Vec::new();
    for _ in 0..100 {
        visitor.press(Key::Tab + "").await;
        match visitor.execute(focused).await.as_str() {
            Some(name) => passed.push(name.to_owned()),
            None => return passed,
        }
    }
    panic!("no end: {passed:?}");
}

#[tokio::test]
async fn uploads_and_links_are_reached_with_tab() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Premium").await;
    app.start_worker().await;
    app.logged_in("ada").await.uploaded("Rome.png", pictures::png(300, 300)).await;
    let Some(ada) = Browser::start(&app.origin).await else { return };
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
            "Skip to the content",
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
async fn the_skip_link_leads_past_the_navigation() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let Some(ada) = Browser::logged_in(&app, "ada").await else { return };
    ada.press(Key::Tab + "").await;
    ada.press(Key::Enter + "").await;
    ada.wait_until_true("return location.hash === '#main'").await;
    ada.press(Key::Tab + "").await;
    assert_eq!(ada.execute("return document.activeElement.id").await, "files");
    ada.close().await;
}
