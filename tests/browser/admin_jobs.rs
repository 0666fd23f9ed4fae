//! Administrators' jobs.

use std::fs;

use reqwest::StatusCode;

use crate::harness::{Browser, Client, ImageLinks, TestApp, pictures};

/// Uploads so many images and asks for a thumbnail of each, which nobody makes yet; the thumbnails'
/// links.
async fn ask_for_thumbnails(client: &Client, count: usize) -> Vec<String> {
    let mut urls = Vec::new();
    for _ in 0..count {
        let image = client.uploaded("Rome.png", pictures::png(40, 30)).await;
        let url = image.thumbnail(200);
        client.get(url).await.expect(StatusCode::ACCEPTED);
        urls.push(url.to_owned());
    }
    urls
}

#[tokio::test]
async fn jobs_that_were_given_up_are_retried() {
    let mut app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    let urls = ask_for_thumbnails(&app.logged_in("ada").await, 3).await;
    // a storage that has not taken thumbnails for a day
    let folder = app.data_dir().join("media/thumbnails");
    fs::write(&folder, "not a folder").expect("a file");
    let old = "UPDATE apalis.jobs SET created_at = now() - interval '1 day', max_attempts = 1";
    sqlx::query(old).execute(&app.pool).await.expect("old jobs");
    app.run_jobs().await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.wait_for_text("The storage could not be reached for 24 hours.").await;
    ada.click_text("Admin").await;
    ada.click_text("Jobs").await;
    ada.wait_for_path("/admin/jobs").await;
    ada.click_text("Dead (3)").await;
    ada.wait_for_path("/admin/jobs?state=dead&queue=").await;
    ada.wait_for_text("thumbnails image 3 1 of 1").await;
    let reason = ada.text("td.text").await;
    assert!(reason.contains("Not a directory") || reason.contains("exists"), "{reason}");

    fs::remove_file(&folder).expect("a storage in order");
    ada.click("tr:has([href='/admin/images?id=3']) input").await;
    ada.click_text("Retry selected").await;
    ada.wait_for_text("1 job will be retried now.").await;
    ada.wait_for_text("Dead (2)").await;
    app.run_jobs().await;
    let nobody = app.anonymous();
    nobody.get(&urls[2]).await.expect(StatusCode::OK);
    nobody.get(&urls[1]).await.expect_problem(422, "thumbnail-failed");
    ada.click_text("Retry all").await;
    ada.wait_for_text("2 jobs will be retried now.").await;
    ada.wait_for_text("No jobs.").await;
    app.run_jobs().await;
    for url in &urls {
        nobody.get(url).await.expect(StatusCode::OK);
    }
    ada.open("/").await;
    ada.wait_until_loaded(".tile img.thumbnail").await;
    assert_eq!(ada.count(".tile img.thumbnail").await, 3);
    ada.close().await;
}

#[tokio::test]
async fn a_job_that_waits_is_discarded() {
    let app = TestApp::start().await;
    app.create_admin("ada", "Basic").await;
    ask_for_thumbnails(&app.logged_in("ada").await, 2).await;
    let ada = Browser::logged_in(&app, "ada").await;
    ada.open("/admin/jobs").await;
    ada.select("Queue", "thumbnails").await;
    ada.click_text("Filter").await;
    ada.wait_for_path("/admin/jobs?state=&queue=thumbnails").await;
    ada.wait_for_text("Waiting (2)").await;
    ada.click("tr:has([href='/admin/images?id=1']) input").await;
    ada.click_text("Discard selected").await;
    ada.wait_for_text("Discarded 1 job.").await;
    ada.wait_for_text("Waiting (1)").await;
    ada.wait_for_text("image 2").await;
    assert_eq!(app.open_jobs().await, 1);
    ada.click("[data-select-all]").await;
    ada.click_text("Discard selected").await;
    ada.wait_for_text("No jobs.").await;
    ada.open("/admin/history?kind=job").await;
    ada.wait_for_text("ada discard job thumbnails").await;
    ada.close().await;
}
