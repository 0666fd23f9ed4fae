//! One's own password.

use crate::harness::{Browser, PASSWORD, TestApp};

const NEW: &str = "New password at least 8 characters";
const AGAIN: &str = "New password again";
const CHOSEN: &str = "battery staple";

async fn change_password(visitor: &Browser, current: &str, new: &str, again: &str) {
    visitor.fill("Current password", current).await;
    visitor.fill(NEW, new).await;
    visitor.fill(AGAIN, again).await;
    visitor.click_text("Change password").await;
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    let elsewhere = Browser::logged_in(&app, "ada").await;
    ada.click_text("ada").await;
    ada.wait_for_path("/account").await;
    ada.expect_status("/account/password", 422);
    change_password(&ada, "wrong horse", CHOSEN, CHOSEN).await;
    assert_eq!(ada.text("#current_password-complaint").await, "This is not your current password.");
    change_password(&ada, PASSWORD, CHOSEN, "battery stable").await;
    assert_eq!(ada.text("#repeated_password-complaint").await, "The two new passwords differ.");
    assert_eq!(ada.count(".complaint").await, 1);
    ada.skip_validation().await;
    change_password(&ada, PASSWORD, "short", "short").await;
    assert_eq!(
        ada.text("#new_password-complaint").await,
        "A password has at least 8 characters and at most 1024 bytes."
    );

    change_password(&ada, PASSWORD, CHOSEN, CHOSEN).await;
    ada.wait_for_text("Password changed. All your other sessions have ended.").await;
    ada.wait_for_path("/account").await;
    elsewhere.open("/account").await;
    elsewhere.wait_for_path("/login?next=%2Faccount").await;
    elsewhere.log_in("ada", CHOSEN).await;
    elsewhere.wait_for_path("/account").await;
    ada.close().await;
    elsewhere.close().await;
}

#[tokio::test]
async fn the_default_password_is_warned_of_until_it_is_changed() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let default =
        sqlx::query("UPDATE users SET password_is_default = true WHERE id = $1").bind(id.0);
    default.execute(&app.pool).await.expect("a default password");
    let ada = Browser::logged_in(&app, "ada").await;
    ada.wait_for_text("This account still has the default password, which is public.").await;
    ada.click_text("Change it now").await;
    ada.wait_for_path("/account").await;
    ada.wait_for(".banner").await;
    change_password(&ada, PASSWORD, CHOSEN, CHOSEN).await;
    ada.wait_for_text("Password changed.").await;
    ada.wait_until_gone(".banner").await;
    ada.close().await;
}
