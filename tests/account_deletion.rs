//! Deleting a user with everything that is theirs.

mod doors;
mod kills;
mod races;

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::{
    domain::UserId,
    jobs::{self, DeleteAccount, JobId},
};

use crate::{
    administration::{last_actions, tier_id},
    audit::audit,
    harness::{Client, ImageLinks, PASSWORD, TestApp, pictures},
};

/// A name that nothing else in a database contains.
const NAME: &str = "Zebediah";

/// An image with a thumbnail and a link, of somebody who is logged in.
struct Belongings {
    image: Value,
    link: String,
}

async fn belongings(app: &mut TestApp, client: &Client) -> Belongings {
    let image = client.uploaded("a.png", pictures::png(300, 300)).await;
    client.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    let made = client.post(generator, json!({"valid_for": 3000})).await;
    let link = made.expect(StatusCode::CREATED).json();
    Belongings { link: link["link"].as_str().expect("a link").to_owned(), image }
}

impl Belongings {
    fn urls(&self) -> [&str; 3] {
        [self.image.original(), self.image.thumbnail(200), &self.link]
    }
}

async fn delete(admin: &Client, id: UserId) {
    let form = [("ids", id.to_string())];
    let fields: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    admin.send_form("/admin/users/delete", &fields).await.expect_redirect("/admin/users");
}

/// Rows of any table that contain the text, whatever its case.
async fn rows_with(app: &TestApp, text: &str) -> Vec<String> {
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname IN ('public', 'apalis') ORDER BY 1";
    let tables: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(&app.pool).await.expect("tables");
    assert!(tables.len() > 10, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let rows = format!("SELECT t::text FROM {table} t WHERE t::text ILIKE '%{text}%'");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_all(&app.pool).await.expect("rows");
        found.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
    }
    found
}

async fn expect_clean(app: &mut TestApp) {
    app.config.retention.orphan_age_seconds = 0;
    let report = audit(app).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn a_closed_account_is_out_at_once_and_gives_the_answer_of_a_wrong_password() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Enterprise").await;
    let (admin, ada, nobody) = (app.admin().await, app.logged_in("ada").await, app.anonymous());
    let belongings = belongings(&mut app, &ada).await;
    for url in belongings.urls() {
        nobody.get(url).await.expect(StatusCode::OK);
    }
    let wrong = nobody.log_in("ada", "wrong horse").await.expect_problem(401, "wrong-credentials");
    delete(&admin, id).await;

    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    let refused = nobody.log_in("ada", PASSWORD).await.expect_problem(401, "wrong-credentials");
    for field in ["title", "detail", "status"] {
        assert_eq!(refused[field], wrong[field]);
    }
    for url in belongings.urls() {
        nobody.get(url).await.expect_problem(404, "not-found");
    }
    assert!(admin.page("/admin/links").await.html().contains("No live links."));
    app.run_jobs().await;
    ada.get("/api/session").await.expect_problem(401, "not-logged-in");
    nobody.log_in("ada", PASSWORD).await.expect_problem(401, "wrong-credentials");
}

#[tokio::test]
async fn everything_of_a_deleted_user_goes_and_nothing_of_others() {
    let mut app = TestApp::start().await;
    let id = app.create_user(NAME, "Enterprise").await;
    let (admin, zeb, bob) =
        (app.admin().await, app.logged_in(NAME).await, app.user("Enterprise").await);
    belongings(&mut app, &zeb).await;
    zeb.uploaded("b.jpg", pictures::jpeg(30, 30)).await;
    let of_bob = belongings(&mut app, &bob).await;
    app.anonymous().log_in(NAME, "wrong horse").await.expect_problem(401, "wrong-credentials");
    // a share of the queue of each
    assert_eq!(app.rows("queue_shares").await, 2);
    let objects = app.objects().await.len();
    delete(&admin, id).await;
    app.run_jobs().await;

    assert_eq!(app.objects().await.len(), objects - 3);
    for (table, rows) in [
        ("users", 2),
        ("images", 1),
        ("thumbnails", 2),
        ("expiring_links", 1),
        ("sessions", 2),
        ("queue_shares", 1),
        ("uploads_under_way", 0),
        ("orphans", 0),
    ] {
        assert_eq!(app.rows(table).await, rows, "{table}");
    }
    assert_eq!(rows_with(&app, NAME).await, Vec::<String>::new());
    for url in of_bob.urls() {
        bob.get(url).await.expect(StatusCode::OK);
    }
    expect_clean(&mut app).await;
    app.create_user(NAME, "Basic").await;
    app.logged_in(NAME).await;
}

#[tokio::test]
async fn the_history_keeps_its_entries_without_the_name() {
    let mut app = TestApp::start().await;
    let id = app.create_admin(NAME, "Basic").await;
    let (admin, zeb) = (app.admin().await, app.logged_in(NAME).await);
    let bob = app.create_user("bob", "Basic").await;
    let basic = tier_id(&app, "Basic").await.to_string();
    let renamed = [("username", "Zebediah2"), ("tier", &basic), ("is_active", "on")];
    zeb.send_form(&format!("/admin/users/{bob}/sign-out"), &[]).await.expect(StatusCode::SEE_OTHER);
    admin.send_form(&format!("/admin/users/{id}"), &renamed).await.expect(StatusCode::SEE_OTHER);
    let other = [("username", "bobby"), ("tier", &basic), ("is_active", "on")];
    admin.send_form(&format!("/admin/users/{bob}"), &other).await.expect(StatusCode::SEE_OTHER);
    let set_password = format!("/admin/users/{id}/password");
    let password = [("password", "another password")];
    admin.send_form(&set_password, &password).await.expect(StatusCode::SEE_OTHER);
    delete(&admin, id).await;
    app.run_jobs().await;

    assert_eq!(
        last_actions(&app, 9).await,
        [
            "root delete user deleted user",
            "root set password user deleted user",
            "root update user bobby",
            "root update user deleted user",
            "deleted user sign out user bob",
        ]
    );
    assert_eq!(rows_with(&app, NAME).await, Vec::<String>::new());
    let of_them = admin.page(&format!("/admin/history?kind=user&id={id}")).await;
    of_them.expect_page(StatusCode::OK, &["deleted user", "is_admin: yes → no", "set password"]);
    let of_bob = admin.page(&format!("/admin/history?kind=user&id={bob}")).await;
    of_bob.expect_page(StatusCode::OK, &["username: bob → bobby"]);
}

#[tokio::test]
async fn the_panel_shows_a_closed_account_until_it_is_gone_and_changes_nothing_of_it() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let admin = app.admin().await;
    delete(&admin, id).await;
    let path = format!("/admin/users/{id}");
    let list = admin.page("/admin/users").await;
    list.expect_page(StatusCode::OK, &["being deleted", "Closed 1 account."]);
    let html = admin.page(&path).await.expect_page(StatusCode::OK, &["is being deleted"]);
    assert!(!html.contains(r#"method="post" action="/admin/users"#), "{html}");

    let premium = tier_id(&app, "Premium").await.to_string();
    let change = [("username", "eve"), ("tier", &premium), ("is_active", "on")];
    for (form, fields) in [
        ("", change.as_slice()),
        ("/password", &[("password", "another password")]),
        ("/sign-out", &[]),
    ] {
        let refused = admin.send_form(&format!("{path}{form}"), fields).await;
        refused.expect_page(StatusCode::CONFLICT, &["is being deleted"]);
    }
    let id_text = id.to_string();
    let form = [("ids", id_text.as_str()), ("tier", &premium)];
    admin.send_form("/admin/users/tier", &form).await.expect(StatusCode::SEE_OTHER);
    admin.page("/admin/users").await.expect_page(StatusCode::OK, &["Moved 0 users"]);
    let taken =
        [("username", "ADA"), ("password", PASSWORD), ("tier", &premium), ("is_active", "on")];
    let refused = admin.send_form("/admin/users/new", &taken).await;
    refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &["There is already a user ADA."]);
    let again = admin.send_form("/admin/users/delete", &[("ids", &id_text)]).await;
    again.expect_redirect("/admin/users");
    assert_eq!(app.jobs_in("account-deletion").await, 1);

    app.run_jobs().await;
    admin.page(&path).await.expect(StatusCode::NOT_FOUND);
    admin.send_form("/admin/users/new", &taken).await.expect(StatusCode::SEE_OTHER);
    assert_eq!(
        last_actions(&app, 2).await,
        ["root create user ADA", "root delete user deleted user"]
    );
}

#[tokio::test]
async fn the_deletion_of_an_open_account_deletes_nothing() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Enterprise").await;
    let ada = app.logged_in("ada").await;
    let belongings = belongings(&mut app, &ada).await;
    let without_images = app.create_user("bob", "Basic").await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    for user in [id, without_images, UserId(without_images.0 + 1)] {
        let job = DeleteAccount { user };
        jobs::enqueue(&mut connection, JobId::fresh(), &job).await.expect("a job");
    }
    app.run_jobs().await;
    for url in belongings.urls() {
        ada.get(url).await.expect(StatusCode::OK);
    }
    app.logged_in("bob").await;
}

#[tokio::test]
async fn the_cleanup_resumes_a_deletion_whose_job_is_gone() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let admin = app.admin().await;
    app.logged_in("ada").await.uploaded("a.png", pictures::png(10, 10)).await;
    delete(&admin, id).await;
    let clean_up = async || worker::clean_up(&app.job_context()).await.expect("a cleanup");
    assert_eq!(clean_up().await.resumed_deletions, 0, "its job waits");
    let discard = "DELETE FROM apalis.jobs";
    sqlx::query(discard).execute(&app.pool).await.expect("no job");
    assert_eq!(clean_up().await.resumed_deletions, 1);
    assert_eq!(clean_up().await.resumed_deletions, 0);
    app.run_jobs().await;
    assert_eq!((app.rows("users").await, app.objects().await.len()), (1, 0));
}
