//! Administrators' users.

use reqwest::StatusCode;

use crate::harness::{Browser, PASSWORD, TestApp};

const NAME: &str = "Username letters, digits and @.+-_";
const NEW_PASSWORD: &str = "New password at least 8 characters";
const CHOSEN: &str = "battery staple";
const TO_LOG_IN: &str = "/login?next=%2Faccount";

#[tokio::test]
async fn a_new_user_logs_in_and_one_who_is_deactivated_does_not() {
    let app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    let bob = Browser::start(&app.origin).await;
    ada.open("/admin/users").await;
    ada.click_text("Add a user").await;
    ada.fill(NAME, "ada").await;
    ada.fill("Password at least 8 characters", PASSWORD).await;
    ada.select("Tier", "Premium").await;
    ada.expect_status("/admin/users/new", 422);
    ada.click_text("Add").await;
    assert_eq!(ada.text("#username-complaint").await, "There is already a user ada.");
    assert_eq!(ada.selected("#tier").await, "Premium");
    ada.fill(NAME, "bob").await;
    ada.fill("Password at least 8 characters", PASSWORD).await;
    ada.click_text("Add").await;
    ada.wait_for_text("User created.").await;
    bob.open("/account").await;
    bob.log_in("bob", PASSWORD).await;
    bob.wait_for_text("Tier Premium").await;

    ada.fill(NAME, "bobby").await;
    ada.select("Tier", "Enterprise").await;
    ada.click_text("Save").await;
    ada.wait_for_text("Saved.").await;
    ada.wait_for_text("tier: Premium → Enterprise").await;
    bob.open("/account").await;
    bob.wait_for_text("Tier Enterprise").await;
    assert_eq!(bob.text("h1").await, "bobby");
    ada.click("input[name=is_active]").await;
    ada.click_text("Save").await;
    ada.wait_for_text("is_active: yes → no").await;
    bob.open("/account").await;
    bob.wait_for_path(TO_LOG_IN).await;
    bob.expect_status("/login", 401);
    bob.log_in("bobby", PASSWORD).await;
    bob.wait_for_text("No active account has this username and password.").await;
    ada.close().await;
    bob.close().await;
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let app = TestApp::start().await;
    let id = app.create_admin("ada", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    let path = format!("/admin/users/{id}");
    ada.open(&path).await;
    ada.click("input[name=is_admin]").await;
    ada.expect_status(&path, 422);
    ada.click_text("Save").await;
    assert_eq!(
        ada.text("#is_admin-complaint").await,
        "This is the last active administrator. Create another one first."
    );
    ada.close().await;
}

#[tokio::test]
async fn an_administrator_ends_sessions_and_sets_passwords() {
    let app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    let id = app.create_user("bob", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    let bob = Browser::logged_in(&app, "bob").await;
    app.logged_in("bob").await;
    let path = format!("/admin/users/{id}");
    ada.open(&path).await;
    ada.click_text("End 2 sessions").await;
    ada.wait_for_text("Ended 2 sessions.").await;
    bob.open("/account").await;
    bob.wait_for_path(TO_LOG_IN).await;
    bob.log_in("bob", PASSWORD).await;
    bob.wait_for_path("/account").await;

    ada.fill(NEW_PASSWORD, "short").await;
    ada.skip_validation().await;
    ada.expect_status(&format!("{path}/password"), 422);
    ada.click_text("Set the password").await;
    assert_eq!(
        ada.text("#password-complaint").await,
        "A password has at least 8 characters and at most 1024 bytes."
    );
    ada.fill(NEW_PASSWORD, CHOSEN).await;
    ada.click_text("Set the password").await;
    ada.wait_for_text("Password set. The user's sessions have ended.").await;
    bob.open("/account").await;
    bob.wait_for_path(TO_LOG_IN).await;
    bob.log_in("bob", CHOSEN).await;
    bob.wait_for_path("/account").await;
    app.anonymous().log_in("bob", PASSWORD).await.expect(StatusCode::UNAUTHORIZED);
    ada.open("/admin/history?kind=user").await;
    ada.wait_for_text("ada set password user bob ended_sessions: 1 password: changed").await;
    ada.wait_for_text("ada sign out user bob ended_sessions: 2").await;
    ada.close().await;
    bob.close().await;
}

#[tokio::test]
async fn what_is_shown_of_the_users_stands_in_the_url() {
    let app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    for (name, tier) in
        [("bob", "Premium"), ("bobby", "Premium"), ("abob", "Premium"), ("bobette", "Basic")]
    {
        app.create_user(name, tier).await;
    }
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/admin/users").await;
    ada.fill("Name contains", "BOB").await;
    ada.select("Tier", "Premium").await;
    ada.select("Active", "yes").await;
    ada.select("Administrator", "no").await;
    ada.select("Sort by", "name, Z to A").await;
    let tier = ada.execute("return document.querySelector('#tier').value").await;
    let tier = tier.as_str().expect("a number");
    ada.click_text("Filter").await;
    let path =
        format!("/admin/users?search=BOB&tier={tier}&active=yes&admin=no&sort=name_descending");
    ada.wait_for_path(&path).await;
    let names =
        "return [...document.querySelectorAll('tbody th')].map(name => name.innerText).join()";
    assert_eq!(ada.execute(names).await, "bobby,bob,abob");

    // the same after something was done
    ada.click("[data-select-all]").await;
    ada.select("Move the selected ones to", "Enterprise").await;
    ada.click_text("Move").await;
    ada.wait_for_text("Moved 3 users to another tier.").await;
    assert!(ada.path().await.starts_with(&path), "{}", ada.path().await);
    ada.wait_for_text("No user.").await;
    assert_eq!(ada.selected("#sort").await, "name, Z to A");
    ada.close().await;
}

#[tokio::test]
async fn users_who_are_selected_are_deleted_after_a_question() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    app.create_user("bob", "Basic").await;
    let ada = Browser::logged_in(&app, "ada").await;
    let bob = Browser::logged_in(&app, "bob").await;
    ada.open("/admin/users?sort=name").await;
    ada.click("input[aria-label=bob]").await;
    ada.click_text("Delete selected…").await;
    ada.wait_for_text("Delete bob?").await;
    ada.click_text("Delete").await;
    ada.wait_for_text("Closed 1 account.").await;
    ada.wait_for_text("being deleted").await;
    bob.open("/account").await;
    bob.wait_for_path(TO_LOG_IN).await;
    app.run_jobs().await;
    ada.open("/admin/users").await;
    ada.wait_for_text("1 in total").await;
    ada.open("/account").await;
    ada.click_text("Delete your account …").await;
    ada.fill("Your password", PASSWORD).await;
    ada.expect_status("/account/delete", 409);
    ada.click_text("Delete my account").await;
    ada.wait_for_text("No active administrator would be left.").await;
    ada.close().await;
    bob.close().await;
}
