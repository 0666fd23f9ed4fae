//! The pages, the JSON and the command that delete accounts.

use reqwest::{Method, StatusCode};
use serde_json::json;
use shared::{
    db,
    domain::{Login, byte_count::human_bytes},
    services::{
        ServiceError, Services,
        accounts::{self, ClientAddress},
    },
};
use sqlx::postgres::PgConnectOptions;

use super::{belongings, delete};
use crate::{
    administration::last_actions,
    harness::{Answer, Client, PASSWORD, TestApp, processes::Pictier, send},
};

const FORM: &str = "/admin/users/delete";

async fn delete_own(client: &Client, password: &str) -> Answer {
    let request = client.request(Method::DELETE, "/api/account");
    send(request.json(&json!({"password": password}))).await
}

#[tokio::test]
async fn the_panel_asks_and_lists_what_goes_with_the_users() {
    let mut app = TestApp::start().await;
    let (ada, bob) =
        (app.create_user("ada", "Enterprise").await, app.create_user("bob", "Basic").await);
    let admin = app.admin().await;
    let client = app.logged_in("ada").await;
    let bytes = belongings(&mut app, &client).await.image["bytes"].as_u64().expect("bytes");
    let of_ada = human_bytes(bytes);
    let asked = admin.page(&format!("{FORM}?ids={ada}")).await;
    let expected = [
        "Delete ada?",
        "1 image, ",
        &of_ada,
        "1 thumbnail<",
        "1 live expiring link<",
        "1 session<",
    ];
    asked.expect_page(StatusCode::OK, &expected);
    // as the button of the table sends it, with the fields of the other button
    let asked = admin.page(&format!("{FORM}?back=&tier=1&ids={ada}&ids={bob}")).await;
    let expected = ["Delete 2 users?", ">ada</a>:", ">bob</a>:", "1 image, ", "1 session<"];
    asked.expect_page(StatusCode::OK, &expected);
    assert_eq!(app.rows("apalis.jobs WHERE job_type = 'account-deletion'").await, 0);

    let (ada, bob) = (ada.to_string(), bob.to_string());
    let both = [("ids", ada.as_str()), ("ids", &bob), ("ids", "999")];
    admin.send_form(FORM, &both).await.expect_redirect("/admin/users");
    admin.page("/admin/users").await.expect_page(StatusCode::OK, &["Closed 2 accounts."]);
    let asked = admin.page(&format!("{FORM}?ids={ada}")).await;
    let html = asked.expect_page(StatusCode::OK, &["These users are gone, or are being deleted."]);
    assert!(!html.contains(">Delete</button>"));
    app.run_jobs().await;
    assert_eq!((app.rows("users").await, app.objects().await.len()), (1, 0));
}

#[tokio::test]
async fn one_request_deletes_at_least_one_user_and_at_most_a_hundred() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("Basic").await);
    let too_many: Vec<_> = std::iter::repeat_n(("ids", "9"), 101).collect();
    for (fields, rule) in [(&too_many[..], "at most 100 users"), (&[], "at least one user")] {
        let refused = admin.send_form(FORM, fields).await;
        refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &[rule]);
    }
    admin.page(FORM).await.expect(StatusCode::UNPROCESSABLE_ENTITY);
    admin.page("/admin/users/delete?ids=9").await.expect(StatusCode::OK);
    ada.page("/admin/users/delete?ids=1").await.expect(StatusCode::FORBIDDEN);
    ada.send_form(FORM, &[("ids", "1")]).await.expect(StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_last_active_administrator_is_deleted_by_no_door() {
    let mut app = TestApp::start().await;
    let id = app.create_admin("root", "Basic").await.to_string();
    let other = app.create_user("ada", "Basic").await.to_string();
    let root = app.logged_in("root").await;
    let rule = "No active administrator would be left.";
    let both = [("ids", id.as_str()), ("ids", &other)];
    root.send_form(FORM, &both).await.expect_page(StatusCode::CONFLICT, &[rule, "Delete 2 users?"]);
    let own = root.send_form("/account/delete", &[("password", PASSWORD)]).await;
    own.expect_page(StatusCode::CONFLICT, &[rule, "Delete your account?"]);
    delete_own(&root, PASSWORD).await.expect_problem(409, "last-administrator");
    let (done, said) = run(&app, &["delete-user", "root", "--yes"]);
    assert!(!done && said.contains(rule), "{said}");
    assert_eq!(app.rows("apalis.jobs").await, 0);
    root.get("/api/session").await.expect(StatusCode::OK);

    // with another one, also on the panel, which lets administrators deactivate themselves
    app.create_admin("second", "Basic").await;
    root.send_form(FORM, &both).await.expect_redirect("/admin/users");
    root.page("/admin/users").await.expect(StatusCode::SEE_OTHER);
    app.run_jobs().await;
    assert_eq!(app.rows("users").await, 1);
    assert_eq!(last_actions(&app, 1).await, ["deleted user delete user deleted user"]);
}

#[tokio::test]
async fn users_delete_their_own_account_with_their_password() {
    let mut app = TestApp::start().await;
    for name in ["ada", "bob"] {
        app.create_user(name, "Enterprise").await;
    }
    let (ada, elsewhere) = (app.logged_in("ada").await, app.logged_in("ada").await);
    belongings(&mut app, &ada).await;
    ada.page("/account").await.expect_page(StatusCode::OK, &["/account/delete"]);
    let listed = ["1 image, ", "1 thumbnail<", "1 live expiring link<", "2 sessions<"];
    ada.page("/account/delete").await.expect_page(StatusCode::OK, &listed);
    let refused = ada.send_form("/account/delete", &[("password", "wrong horse")]).await;
    let complaint = ["This is not your password.", r#"id="password-complaint""#];
    refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &complaint);
    let closed = ada.send_form("/account/delete", &[("password", PASSWORD)]).await;
    closed.expect_page(StatusCode::OK, &["Your account is closed"]);
    for client in [ada, elsewhere] {
        client.get("/api/session").await.expect_problem(401, "not-logged-in");
    }

    let bob = app.logged_in("bob").await;
    delete_own(&bob, "wrong horse").await.expect_problem(401, "wrong-credentials");
    let nothing = bob.request(Method::DELETE, "/api/account").json(&json!({}));
    send(nothing).await.expect_problem(422, "invalid-field");
    delete_own(&bob, PASSWORD).await.expect(StatusCode::NO_CONTENT);
    bob.get("/api/session").await.expect_problem(401, "not-logged-in");
    delete_own(&app.anonymous(), PASSWORD).await.expect_problem(401, "not-logged-in");
    app.run_jobs().await;
    assert_eq!((app.rows("users").await, app.objects().await.len()), (0, 0));
    assert_eq!(last_actions(&app, 9).await, ["deleted user delete user deleted user"; 2]);
}

#[tokio::test]
async fn guesses_of_the_password_are_limited_as_those_of_a_login() {
    let app = TestApp::start_with(|config| config.limits.login_max_failures = 2).await;
    app.create_user("ada", "Basic").await;
    let ada = app.logged_in("ada").await;
    delete_own(&ada, "wrong horse").await.expect_problem(401, "wrong-credentials");
    ada.send_form("/account/delete", &[("password", "wrong horse")])
        .await
        .expect(StatusCode::UNPROCESSABLE_ENTITY);
    delete_own(&ada, PASSWORD).await.expect_problem(429, "too-many-logins");
    let page = ada.send_form("/account/delete", &[("password", PASSWORD)]).await;
    assert!(!page.header("retry-after").is_empty());
    page.expect_page(StatusCode::TOO_MANY_REQUESTS, &["Too many logins failed."]);
    app.anonymous().log_in("ada", PASSWORD).await.expect_problem(429, "too-many-logins");
    ada.get("/api/session").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn the_password_of_another_account_with_the_same_name_deletes_nothing() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    let name = "ada".parse().expect("a name");
    let credentials = db::users::credentials(&mut connection, &name).await.expect("a query");
    let login: Login = credentials.expect("an account").login;
    let ada = db::users::active(&mut connection, login).await.expect("a query").expect("ada");
    let rename = sqlx::query("UPDATE users SET username = 'eve' WHERE id = $1").bind(id.0);
    rename.execute(&mut *connection).await.expect("another name");
    app.create_user("ada", "Basic").await;
    let (pool, storage, clock) = (app.pool.clone(), app.storage.clone(), app.clock.clone());
    let services = Services::new(pool, storage, clock, app.config.limits.clone());
    let from = ClientAddress { ip: [127, 0, 0, 1].into(), is_of_proxy: false };
    let deleted = accounts::delete(&services, from, &ada, PASSWORD.to_owned()).await;
    assert!(matches!(deleted, Err(ServiceError::WrongCredentials { .. })), "{deleted:?}");
    assert_eq!(app.rows("users WHERE is_active").await, 2);
}

#[tokio::test]
async fn a_password_that_is_changed_meanwhile_deletes_nothing() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let ada = app.logged_in("ada").await;
    let mut held = shared::postgres::begin(&app.pool).await.expect("a transaction");
    db::admin::users::lock_administrators(&mut held).await.expect("a lock");
    let change = async {
        // the old password was right
        let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'advisory')";
        app.wait_until(waiting).await;
        let hash = "another".to_owned().into();
        db::users::set_password(&mut held, id, &hash, false).await.expect("another password");
        held.commit().await.expect("a commit");
    };
    let (refused, ()) = tokio::join!(delete_own(&ada, PASSWORD), change);
    refused.expect_problem(401, "wrong-credentials");
    assert_eq!(app.rows("users WHERE is_active").await, 1);
}

fn pictier(app: &TestApp) -> Pictier {
    let database: &PgConnectOptions = &app.database;
    Pictier::new(app.data_dir()).on(database)
}

/// Whether it succeeded, and all that it said.
fn run(app: &TestApp, args: &[&str]) -> (bool, String) {
    let output = pictier(app).args(args).output();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    (output.status.success(), said.concat())
}

#[tokio::test]
async fn the_command_shows_what_goes_asks_and_closes_the_account() {
    let mut app = TestApp::start().await;
    app.create_user("Ada", "Enterprise").await;
    let ada = app.logged_in("ada").await;
    belongings(&mut app, &ada).await;
    let (done, said) = run(&app, &["delete-user", "nobody", "--yes"]);
    assert!(!done && said.contains("There is no user nobody."), "{said}");
    let (done, said) = run(&app, &["delete-user", "ada"]);
    for part in ["1 images, ", "1 thumbnails", "1 live expiring links", "1 sessions", "say --yes"] {
        assert!(!done && said.contains(part), "{part}: {said}");
    }
    let mut asked = pictier(&app).args(&["delete-user", "ada"]).start_on_terminal();
    asked.wait_for("Delete Ada with all of this? [y/N]").await;
    asked.type_line("n");
    assert!(!asked.end().await.success());
    asked.wait_for("Nothing was changed.").await;
    ada.get("/api/session").await.expect(StatusCode::OK);

    let (done, said) = run(&app, &["delete-user", "ada", "--yes"]);
    assert!(done && said.contains("Closed the account Ada."), "{said}");
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    let (done, said) = run(&app, &["delete-user", "ada", "--yes"]);
    assert!(done && said.contains("ada is being deleted already."), "{said}");
    app.run_jobs().await;
    assert_eq!((app.rows("users").await, app.objects().await.len()), (0, 0));
    assert_eq!(last_actions(&app, 9).await, ["command line delete user deleted user"]);
}

#[tokio::test]
async fn two_administrators_who_delete_each_other_do_not_both_succeed() {
    let mut app = TestApp::start().await;
    let (one, two) =
        (app.create_admin("one", "Basic").await, app.create_admin("two", "Basic").await);
    let (first, second) = (app.logged_in("one").await, app.logged_in("two").await);
    let mut held = shared::postgres::begin(&app.pool).await.expect("a transaction");
    db::admin::users::lock_administrators(&mut held).await.expect("a lock");
    let (one, two) = (one.to_string(), two.to_string());
    let both_wait = async {
        let waiting = "SELECT count(*) = 2 FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'advisory'";
        app.wait_until(waiting).await;
        held.commit().await.expect("a commit");
    };
    let (of_one, of_two) = ([("ids", one.as_str())], [("ids", two.as_str())]);
    let (a, b, ()) =
        tokio::join!(first.send_form(FORM, &of_two), second.send_form(FORM, &of_one), both_wait);
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::SEE_OTHER, StatusCode::CONFLICT]);
    app.run_jobs().await;
    assert_eq!(app.rows("users").await, 1);
}

#[tokio::test]
async fn a_deletion_frees_the_tier() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Premium").await;
    let admin = app.admin().await;
    delete(&admin, id).await;
    app.run_jobs().await;
    let premium = crate::administration::tier_id(&app, "Premium").await;
    let path = format!("/admin/tiers/{premium}/delete");
    admin.send_form(&path, &[]).await.expect_redirect("/admin/tiers");
}
