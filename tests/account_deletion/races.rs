//! What is under way while an account is closed and deleted leaves nothing behind.

use reqwest::StatusCode;
use serde_json::json;
use shared::{
    db,
    domain::{Actor, AuditAction, AuditEntry, AuditObject, User, UserId, Username},
    postgres,
    services::account_deletion::{self, Progress},
};
use sqlx::{Postgres, Transaction};

use super::{NAME, delete, expect_clean, rows_with};
use crate::{
    administration::last_actions,
    harness::{ImageLinks, PASSWORD, TestApp, pictures},
};

/// Whether a connection of the test's database waits for a lock.
const IS_WAITING: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock')";

async fn begin(app: &TestApp) -> Transaction<'static, Postgres> {
    postgres::begin(&app.pool).await.expect("a transaction")
}

/// Commits as soon as another connection waits for what the transaction has locked.
async fn commit_when_awaited(app: &TestApp, tx: Transaction<'static, Postgres>) {
    app.wait_until(IS_WAITING).await;
    tx.commit().await.expect("a commit");
}

#[tokio::test]
async fn an_upload_that_commits_after_the_closing_leaves_nothing_behind() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    // its file is stored when it finds out
    let mut closing = begin(&app).await;
    db::users::close(&mut closing, &[id], app.clock.now()).await.expect("a closed account");
    let closed = commit_when_awaited(&app, closing);
    let (refused, ()) = tokio::join!(ada.upload("a.png", pictures::png(10, 10)), closed);
    refused.expect_problem(409, "account-closed");
    for table in ["images", "thumbnails", "uploads_under_way"] {
        assert_eq!(app.rows(table).await, 0, "{table}");
    }
    assert_eq!(app.objects().await, Vec::<String>::new());

    // as the cleanup does, since this closing enqueued no job
    assert_eq!(worker::clean_up(&app.job_context()).await.expect("a cleanup").resumed_deletions, 1);
    app.run_jobs().await;
    admin.page(&format!("/admin/users/{id}")).await.expect(StatusCode::NOT_FOUND);
    expect_clean(&mut app).await;
}

#[tokio::test]
async fn an_upload_that_commits_after_the_deletion_leaves_nothing_behind() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let ada = app.logged_in("ada").await;
    let mut deletion = begin(&app).await;
    db::users::close(&mut deletion, &[id], app.clock.now()).await.expect("a closed account");
    let finished = account_deletion::finish(&mut deletion, id).await.expect("a deletion");
    assert_eq!(finished, Progress::Gone);
    let deleted = commit_when_awaited(&app, deletion);
    let (refused, ()) = tokio::join!(ada.upload("a.png", pictures::png(10, 10)), deleted);
    refused.expect_problem(409, "account-closed");
    assert_eq!(app.objects().await, Vec::<String>::new());
    assert_eq!(app.rows("uploads_under_way").await, 0);
    expect_clean(&mut app).await;
}

/// A process of an earlier edition does not know of closed accounts.
#[tokio::test]
async fn an_image_that_comes_after_the_others_were_deleted_is_deleted_too() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    ada.uploaded("a.png", pictures::png(10, 10)).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    let mut images = async || {
        account_deletion::delete_images(&mut connection, id, None, 10).await.expect("a batch")
    };
    assert_eq!(images().await, None, "the account is open");
    delete(&admin, id).await;
    assert!(images().await.is_some());
    assert_eq!(images().await, None);
    let late = "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
        VALUES ($1, gen_random_uuid(), 'late', 'png', 1, 1, 1, now())";
    sqlx::query(late).bind(id.0).execute(&app.pool).await.expect("an image");
    let used = "UPDATE users SET used_bytes = 1 WHERE id = $1";
    sqlx::query(used).bind(id.0).execute(&app.pool).await.expect("its bytes");
    let mut tx = begin(&app).await;
    let finished = account_deletion::finish(&mut tx, id).await.expect("no deletion yet");
    assert_eq!(finished, Progress::HasImages);
    tx.rollback().await.expect("a rollback");
    app.run_jobs().await;
    assert_eq!((app.rows("users").await, app.rows("images").await), (1, 0));
    expect_clean(&mut app).await;
}

#[tokio::test]
async fn a_thumbnail_that_is_being_made_leaves_no_object_behind() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    let image = ada.uploaded("a.png", pictures::png(300, 300)).await;
    ada.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    // the worker has written the object and waits to commit the row
    let mut deletion = begin(&app).await;
    let lock = "SELECT FROM images FOR UPDATE";
    sqlx::query(lock).execute(&mut *deletion).await.expect("a lock");
    app.start_worker().await;
    app.wait_until(IS_WAITING).await;
    assert_eq!(app.objects().await.len(), 2);
    delete(&admin, id).await;
    let last = account_deletion::delete_images(&mut deletion, id, None, 10).await;
    assert!(last.expect("a batch").is_some());
    deletion.commit().await.expect("a commit");
    app.stop_worker().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
    assert_eq!((app.rows("users").await, app.rows("thumbnails").await), (1, 0));
    expect_clean(&mut app).await;
}

#[tokio::test]
async fn thumbnails_that_wait_and_are_made_meanwhile_leave_no_object_behind() {
    let mut app = TestApp::start().await;
    let id = app.create_user("ada", "Premium").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    for _ in 0..12 {
        let image = ada.uploaded("a.jpg", pictures::jpeg(900, 900)).await;
        for height in [200, 400] {
            ada.get(image.thumbnail(height)).await.expect(StatusCode::ACCEPTED);
        }
    }
    app.start_worker().await;
    app.wait_until("SELECT EXISTS (SELECT FROM thumbnails WHERE state = 'ready')").await;
    delete(&admin, id).await;
    app.stop_worker().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
    assert_eq!((app.rows("users").await, app.rows("thumbnails").await), (1, 0));
    expect_clean(&mut app).await;
}

async fn account(app: &TestApp, name: &str) -> User {
    let name: Username = name.parse().expect("a name");
    let mut connection = app.pool.acquire().await.expect("a connection");
    let found = db::users::credentials(&mut connection, &name).await.expect("a query");
    let login = found.expect("an account").login;
    db::users::active(&mut connection, login).await.expect("a query").expect("an open account")
}

/// As a request of the account does that was under way when it was closed.
async fn record(tx: &mut Transaction<'static, Postgres>, app: &TestApp, actor: &User) {
    let bob = "bob".parse().expect("a name");
    let entry = AuditEntry {
        actor: Actor::Admin(actor),
        action: AuditAction::SignOut,
        object: AuditObject::user(UserId(9), &bob),
        changes: json!({}),
    };
    db::audit_log::insert(tx, &entry, app.clock.now()).await.expect("an entry");
}

#[tokio::test]
async fn an_entry_of_the_history_that_is_committed_late_does_not_keep_the_name() {
    let mut app = TestApp::start().await;
    let id = app.create_admin(NAME, "Basic").await;
    let (admin, zeb) = (app.admin().await, account(&app, NAME).await);
    let mut late = begin(&app).await;
    record(&mut late, &app, &zeb).await;
    delete(&admin, id).await;
    app.start_worker().await;
    // the last step of the deletion
    commit_when_awaited(&app, late).await;
    app.stop_worker().await;
    let mut later = begin(&app).await;
    record(&mut later, &app, &zeb).await;
    later.commit().await.expect("a commit");
    assert_eq!(
        last_actions(&app, 3).await,
        [
            "deleted user sign out user bob",
            "root delete user deleted user",
            "deleted user sign out user bob",
        ]
    );
    assert_eq!(rows_with(&app, NAME).await, Vec::<String>::new());
}

/// Each holds the other's account and then records who they are.
#[tokio::test]
async fn administrators_who_change_each_other_do_not_wait_for_each_other() {
    let app = TestApp::start().await;
    let id = app.create_admin(NAME, "Basic").await;
    let zeb = account(&app, NAME).await;
    let mut of_other = begin(&app).await;
    db::admin::users::lock(&mut of_other, &[id]).await.expect("a lock");
    let mut own = begin(&app).await;
    record(&mut own, &app, &zeb).await;
    own.commit().await.expect("a commit");
    of_other.commit().await.expect("a commit");
}

#[tokio::test]
async fn a_login_that_ends_after_the_deletion_opens_no_session() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let mut deletion = begin(&app).await;
    let lock = "LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *deletion).await.expect("a lock");
    let deleted = async {
        app.wait_until(IS_WAITING).await;
        db::users::close(&mut deletion, &[id], app.clock.now()).await.expect("a closed account");
        account_deletion::finish(&mut deletion, id).await.expect("a deletion");
        deletion.commit().await.expect("a commit");
    };
    let client = app.anonymous();
    let (answer, ()) = tokio::join!(client.log_in("ada", PASSWORD), deleted);
    assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    client.get("/api/session").await.expect_problem(401, "not-logged-in");
    assert_eq!((app.rows("sessions").await, app.rows("users").await), (0, 0));
}
