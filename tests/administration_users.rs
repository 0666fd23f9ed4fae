//! The administrators' pages of accounts.

use reqwest::StatusCode;
use serde_json::json;
use shared::postgres;

use super::administration::{last_actions, tier_form, tier_id};
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn a_user_is_created_and_logs_in() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let premium = tier_id(&app, "Premium").await.to_string();
    let fields =
        [("username", "ada"), ("password", PASSWORD), ("tier", &premium), ("is_active", "on")];
    let created = admin.send_form("/admin/users/new", &fields).await.expect(StatusCode::SEE_OTHER);
    let path = created.header("location").to_owned();
    let shown = ["User created.", "ada", "create", "is_active: yes"];
    admin.page(&path).await.expect_page(StatusCode::OK, &shown);
    let session = app.logged_in("ada").await.get("/api/session").await.json();
    assert_eq!(
        (&session["tier"]["name"], &session["is_admin"]),
        (&json!("Premium"), &json!(false))
    );
    assert_eq!(last_actions(&app, 1).await, ["root create user ada"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_user_stands_beside_the_fields_and_what_was_typed_stays() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let admin = app.admin().await;
    let fields = [("username", "a b"), ("password", "short"), ("tier", ""), ("is_admin", "on")];
    let refused = admin.send_form("/admin/users/new", &fields).await;
    refused.expect_page(
        StatusCode::UNPROCESSABLE_ENTITY,
        &[
            r#"value="a b""#,
            r#"id="username-complaint""#,
            r#"id="password-complaint""#,
            r#"id="tier-complaint""#,
            r#"name="is_admin" checked"#,
        ],
    );
    let fields = [("username", "ADA"), ("password", PASSWORD), ("tier", "1"), ("is_active", "on")];
    let taken = admin.send_form("/admin/users/new", &fields).await;
    taken.expect_page(
        StatusCode::UNPROCESSABLE_ENTITY,
        &["There is already a user ADA.", r#"value="ADA""#],
    );
    assert_eq!(app.rows("users").await, 2);
}

#[tokio::test]
async fn a_user_who_is_deactivated_is_out_at_once() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    let path = format!("/admin/users/{id}");
    let basic = tier_id(&app, "Basic").await.to_string();
    admin.send_form(&path, &[("username", "Ada"), ("tier", &basic)]).await.expect_redirect(&path);
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    app.anonymous().log_in("ada", PASSWORD).await.expect_problem(401, "wrong-credentials");
    let shown = ["username: ada → Ada", "is_active: yes → no"];
    admin.page(&path).await.expect_page(StatusCode::OK, &shown);
}

#[tokio::test]
async fn a_password_that_an_administrator_sets_and_signing_out_end_the_sessions() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    let path = format!("/admin/users/{id}");
    let refused = admin.send_form(&format!("{path}/password"), &[("password", "short")]).await;
    refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &["at least 8 characters"]);
    ada.get("/api/session").await.expect(StatusCode::OK);
    let set =
        admin.send_form(&format!("{path}/password"), &[("password", "another password")]).await;
    set.expect_redirect(&path);
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    ada.log_in("ada", "another password").await.expect(StatusCode::OK);
    admin.page(&path).await.expect_page(StatusCode::OK, &["End 1 session"]);
    admin.send_form(&format!("{path}/sign-out"), &[]).await.expect_redirect(&path);
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    let history = admin.page(&path).await.html();
    assert!(
        !history.contains("another password") && !history.contains("argon2"),
        "no secret is told"
    );
    assert_eq!(
        last_actions(&app, 2).await,
        ["root sign out user ada", "root set password user ada"]
    );
}

#[tokio::test]
async fn the_last_active_administrator_stays_one() {
    let app = TestApp::start().await;
    let id = app.create_admin("root", "Enterprise").await;
    let admin = app.logged_in("root").await;
    let path = format!("/admin/users/{id}");
    let tier = tier_id(&app, "Enterprise").await.to_string();
    for kept in ["is_active", "is_admin"] {
        let refused =
            admin.send_form(&path, &[("username", "root"), ("tier", &tier), (kept, "on")]).await;
        refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &["the last active administrator"]);
    }
    app.create_admin("other", "Enterprise").await;
    admin
        .send_form(&path, &[("username", "root"), ("tier", &tier), ("is_active", "on")])
        .await
        .expect_redirect(&path);
    admin.page("/admin").await.expect(StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn users_are_found_filtered_ordered_and_moved_together() {
    let app = TestApp::start().await;
    for name in ["Ada", "bob", "carol"] {
        app.create_user(name, "Basic").await;
    }
    let admin = app.admin().await;
    let premium = tier_id(&app, "Premium").await;
    let names = async |path: &str| -> Vec<String> {
        let html = admin.page(path).await.expect(StatusCode::OK).html();
        let rows = html.split(r#"<th scope="row"><a href="/admin/users/"#).skip(1);
        rows.map(|row| row.split(['>', '<']).nth(1).expect("a name").to_owned()).collect()
    };
    assert_eq!(names("/admin/users?sort=name").await, ["Ada", "bob", "carol", "root"]);
    assert_eq!(names("/admin/users?search=A&sort=oldest").await, ["Ada", "carol"]);
    assert_eq!(names("/admin/users?admin=yes").await, ["root"]);
    assert_eq!(names(&format!("/admin/users?tier={premium}")).await, Vec::<String>::new());

    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM users WHERE username IN ('Ada', 'bob')")
            .fetch_all(&app.pool)
            .await
            .expect("two users");
    let premium_text = premium.to_string();
    let fields = [
        ("ids", ids[0].as_str()),
        ("ids", &ids[1]),
        ("tier", &premium_text),
        ("back", "sort=name"),
    ];
    admin.send_form("/admin/users/tier", &fields).await.expect_redirect("/admin/users?sort=name");
    admin
        .page("/admin/users")
        .await
        .expect_page(StatusCode::OK, &["Moved 2 users to another tier."]);
    assert_eq!(names(&format!("/admin/users?tier={premium}&sort=name")).await, ["Ada", "bob"]);
    let session = app.logged_in("bob").await.get("/api/session").await.json();
    assert_eq!(session["tier"]["name"], "Premium");
    let away = [("ids", ids[0].as_str()), ("tier", &premium_text), ("back", "\r\nSet-Cookie: a=b")];
    admin.send_form("/admin/users/tier", &away).await.expect_redirect("/admin/users");
}

#[tokio::test]
async fn a_table_goes_on_where_its_page_ends_with_its_filters() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let more = "INSERT INTO users (username, password_hash, tier_id, created_at)
        SELECT 'user' || n, '', (SELECT min(id) FROM tiers), now() FROM generate_series(1, 120) AS n";
    sqlx::query(more).execute(&app.pool).await.expect("more users");
    let (mut path, mut rows) = ("/admin/users?search=user&sort=name_descending".to_owned(), 0);
    for is_last in [false, false, true] {
        let html = admin.page(&path).await.expect(StatusCode::OK).html();
        rows += html.matches(r#"name="ids""#).count();
        let next = html
            .split('"')
            .find(|part| part.starts_with("/admin/users?") && part.contains("cursor="))
            .map(|next| next.replace("&#38;", "&"));
        assert_eq!(next.is_none(), is_last, "{path}");
        path = next.unwrap_or_default();
    }
    assert_eq!(rows, 120);
}

#[tokio::test]
async fn nobody_gets_a_tier_that_is_deleted_meanwhile() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await.to_string();
    let admin = app.admin().await;
    let user = format!("/admin/users/{id}");
    for path in [user.as_str(), "/admin/users/tier"] {
        admin
            .send_form("/admin/tiers/new", &tier_form("Spare", ""))
            .await
            .expect_redirect("/admin/tiers");
        let spare = tier_id(&app, "Spare").await;
        let mut deletion = postgres::begin(&app.pool).await.expect("a transaction");
        let deleted =
            sqlx::query("DELETE FROM tiers WHERE id = $1").bind(spare.0).execute(&mut *deletion);
        assert_eq!(deleted.await.expect("a deletion").rows_affected(), 1);
        let spare = spare.to_string();
        let form = [("username", "ada"), ("ids", &id), ("tier", &spare), ("is_active", "on")];
        let commit = async {
            let is_waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock')";
            app.wait_until(is_waiting).await;
            deletion.commit().await.expect("a commit");
        };
        let (refused, ()) = tokio::join!(admin.send_form(path, &form), commit);
        let html = refused.expect(StatusCode::UNPROCESSABLE_ENTITY).html().clone();
        assert!(html.contains("This tier no longer exists."), "{html}");
    }
}
