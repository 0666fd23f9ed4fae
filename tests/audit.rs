//! The audit finds what is wrong, and nothing else.

use reqwest::StatusCode;
use shared::{db, storage::StorageKey};
use worker::AuditReport;

use crate::harness::{ImageLinks, TestApp, pictures};

pub(crate) async fn audit(app: &TestApp) -> AuditReport {
    worker::audit(&app.job_context()).await.expect("an audit")
}

#[tokio::test]
async fn the_audit_finds_missing_files_stuck_jobs_and_wrong_counts() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    assert!(audit(&app).await.is_clean());
    let key = StorageKey::parse(&app.objects().await[0]).expect("a key");
    app.storage.delete(vec![key.clone()]).await.expect("a lost file");
    sqlx::query("UPDATE users SET used_bytes = used_bytes + 1")
        .execute(&app.pool)
        .await
        .expect("a wrong count");
    client.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    sqlx::query("UPDATE apalis.jobs SET run_at = now() - interval '1 hour'")
        .execute(&app.pool)
        .await
        .expect("a late job");

    let report = audit(&app).await;
    assert!(!report.is_clean());
    assert_eq!(report.rows_without_object.examples, [key.to_string()]);
    assert_eq!(report.stuck_jobs.count, 1);
    assert_eq!(report.miscounted_users.count, 1);
    let text = report.to_string();
    assert!(text.contains("rows without object"), "{text}");
    assert!(text.contains(&key.to_string()), "{text}");
    // without its original the job would be tried again for a day
    sqlx::query("DELETE FROM apalis.jobs").execute(&app.pool).await.expect("no job");
}

#[tokio::test]
async fn the_audit_of_a_busy_system_raises_no_false_alarm() {
    let mut app = TestApp::start().await;
    app.config.retention.orphan_age_seconds = 0;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let kept = client.uploaded("b.png", pictures::png(10, 10)).await;
    client.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    // the rows are gone, and the job that deletes the objects waits
    client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(app.objects().await.len(), 3);
    let report = audit(&app).await;
    assert!(report.is_clean(), "{report}");

    // a long backlog that moves: a worker took a job a moment ago
    client.get(kept.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    let late = "UPDATE apalis.jobs SET run_at = now() - interval '1 hour' WHERE status = 'Pending'";
    sqlx::query(late).execute(&app.pool).await.expect("late jobs");
    let stuck = audit(&app).await.stuck_jobs.count;
    assert_eq!(stuck, 1, "the deletion is stuck, and thumbnails move");
    let stopped =
        "UPDATE apalis.jobs SET lock_at = now() - interval '1 hour' WHERE lock_at IS NOT NULL";
    sqlx::query(stopped).execute(&app.pool).await.expect("a queue that does not move");
    assert_eq!(audit(&app).await.stuck_jobs.count, 2);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_image_that_is_deleted_during_the_audit_is_no_finding() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let key = StorageKey::parse(&app.objects().await[0]).expect("a key");
    app.storage.delete(vec![key.clone()]).await.expect("a deletion");
    let mut connection = app.pool.acquire().await.expect("a connection");
    let named = || vec![key.clone()];
    assert_eq!(
        db::integrity::still_expected(&mut connection, named()).await.expect("a query"),
        named()
    );
    client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    assert!(
        db::integrity::still_expected(&mut connection, named()).await.expect("a query").is_empty()
    );
    sqlx::query("DELETE FROM apalis.jobs").execute(&app.pool).await.expect("no job");
}

#[tokio::test]
async fn a_repair_makes_damaged_thumbnails_again_and_says_what_only_a_backup_has() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let mut links = Vec::new();
    for name in ["a.png", "b.png", "c.png"] {
        let image = client.uploaded(name, pictures::png(600, 600)).await;
        let url = image.thumbnail(200).to_owned();
        client.get(&url).await.expect(StatusCode::ACCEPTED);
        links.push(url);
    }
    app.run_jobs().await;
    let thumbnails: Vec<_> =
        app.objects().await.into_iter().filter(|key| key.starts_with("thumbnails/")).collect();
    let key = |path: &String| StorageKey::parse(path).expect("a key");
    app.storage.put(&key(&thumbnails[0]), "of another size".into()).await.expect("a damaged file");
    app.storage.delete(vec![key(&thumbnails[1])]).await.expect("a lost file");
    sqlx::query("UPDATE users SET used_bytes = 7").execute(&app.pool).await.expect("a wrong count");
    let report = audit(&app).await;
    assert_eq!((report.wrong_sizes.count, report.rows_without_object.count), (1, 1), "{report}");

    let plan = worker::plan_repair(&app.job_context()).await.expect("a plan");
    assert!(plan.to_string().contains("2 thumbnails to make again"), "{plan}");
    assert!(!plan.needs_backup());
    let repaired = worker::repair(&app.job_context(), &plan).await.expect("a repair");
    assert_eq!((repaired.thumbnails, repaired.recounted_users), (2, 1));
    let again = worker::repair(&app.job_context(), &plan).await.expect("a repair");
    assert_eq!(again.thumbnails, 0, "they are under way");
    app.run_jobs().await;
    for link in &links {
        let answer = client.get(link).await.expect(StatusCode::OK);
        assert_eq!(pictures::size(&answer.body), (200, 200));
    }
    assert!(audit(&app).await.is_clean());

    let original = app
        .objects()
        .await
        .into_iter()
        .find(|key| key.starts_with("originals/"))
        .expect("an original");
    app.storage.delete(vec![key(&original)]).await.expect("a lost original");
    let plan = worker::plan_repair(&app.job_context()).await.expect("a plan");
    assert!(
        plan.is_empty() && plan.needs_backup() && plan.to_string().contains(&original),
        "{plan}"
    );
}
