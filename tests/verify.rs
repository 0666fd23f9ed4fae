//! A verification reads every file and finds the ones that are not as they were stored.

use std::{fs, path::PathBuf};

use reqwest::StatusCode;
use worker::VerifyReport;

use crate::harness::{ImageLinks, TestApp, pictures};

async fn verify(app: &TestApp, sample: Option<u32>) -> VerifyReport {
    worker::verify(&app.job_context(), sample, &|_| ()).await.expect("a verification")
}

/// An installation with three originals and a thumbnail.
async fn with_files() -> TestApp {
    let mut app = TestApp::start().await;
    let user = app.user("Basic").await;
    for side in [300, 310, 320] {
        let image = user.uploaded("a.png", pictures::png(side, side)).await;
        if side == 300 {
            app.anonymous().get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
        }
    }
    app.run_jobs().await;
    app
}

async fn paths(app: &TestApp, prefix: &str) -> Vec<PathBuf> {
    let objects = app.objects().await.into_iter().filter(|key| key.starts_with(prefix));
    objects.map(|key| app.data_dir().join("media").join(key)).collect()
}

#[tokio::test]
async fn files_that_are_missing_cut_or_changed_are_found() {
    let app = with_files().await;
    let sound = verify(&app, None).await;
    assert!(sound.is_clean(), "{sound}");
    assert_eq!((sound.files, sound.recorded), (4, 0));

    let originals = paths(&app, "originals/").await;
    let thumbnail = paths(&app, "thumbnails/").await.remove(0);
    let mut bytes = fs::read(&originals[0]).expect("an original");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs::write(&originals[0], &bytes).expect("a changed bit");
    fs::write(&originals[1], &bytes[..10]).expect("a cut file");
    fs::remove_file(thumbnail).expect("no thumbnail");
    let damaged = verify(&app, None).await;
    assert!(!damaged.is_clean());
    let counts = [&damaged.wrong_bytes, &damaged.wrong_sizes, &damaged.missing];
    assert_eq!(counts.map(|findings| findings.count), [1, 1, 1], "{damaged}");
    assert!(originals[0].ends_with(&damaged.wrong_bytes.examples[0]), "{damaged}");
}

#[tokio::test]
async fn the_first_verification_records_the_digests_of_older_files() {
    let app = with_files().await;
    for forget in ["UPDATE images SET sha256 = NULL", "UPDATE thumbnails SET sha256 = NULL"] {
        sqlx::query(forget).execute(&app.pool).await.expect("rows of an earlier edition");
    }
    let first = verify(&app, None).await;
    assert!(first.is_clean());
    assert_eq!((first.files, first.recorded), (4, 4));
    for path in paths(&app, "").await {
        let mut bytes = fs::read(&path).expect("a file");
        bytes[20] ^= 1;
        fs::write(&path, bytes).expect("a changed bit");
    }
    let second = verify(&app, None).await;
    assert_eq!((second.wrong_bytes.count, second.recorded), (4, 0), "{second}");
}

#[tokio::test]
async fn a_sample_reads_as_many_files_of_each_kind_as_it_says() {
    let app = with_files().await;
    let part = verify(&app, Some(2)).await;
    assert!(part.is_clean() && part.files == 3, "two originals and the thumbnail: {part}");
    let all = verify(&app, Some(20)).await;
    assert!(all.is_clean() && all.files == 4, "{all}");
}

#[tokio::test]
async fn a_thumbnail_that_is_made_again_has_the_digest_of_its_new_file() {
    let mut app = with_files().await;
    let url =
        "SELECT '/user_content/resized/' || id || '.png' FROM thumbnails WHERE state = 'ready'";
    let url: String = sqlx::query_scalar(url).fetch_one(&app.pool).await.expect("a thumbnail");
    fs::remove_file(paths(&app, "thumbnails/").await.remove(0)).expect("no file");
    app.anonymous().get(&format!("{}{url}", app.origin)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let report = verify(&app, None).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.files, 4);
}
