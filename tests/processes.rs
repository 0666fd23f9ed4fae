//! Roles as processes of their own, killed at will.

use std::{
    collections::{HashSet, VecDeque},
    path::Path,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::StatusCode;
use serde_json::Value;
use shared::{
    config::StorageConfig,
    db, postgres,
    storage::{ListedObject, ObjectKind, Storage, StorageKey},
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::time::Instant;

use crate::harness::{
    Client, ImageLinks, fresh_database, pictures,
    processes::{Pictier, Running},
};

const IMAGES: usize = 100;
const HEIGHTS: [i64; 3] = [50, 100, 150];

fn worker(data: &Path, database: &PgConnectOptions) -> Running {
    let worker = Pictier::new(data).on(database).args(&["worker"]);
    worker.env("WORKER_HEARTBEAT_SECONDS", "1").env("WORKER_CONCURRENCY", "2").start()
}

async fn migrated(data: &Path) -> (PgConnectOptions, PgPool) {
    let database = fresh_database().await;
    let migrate = Pictier::new(data).on(&database).args(&["migrate"]).output();
    assert!(migrate.status.success(), "{migrate:?}");
    let pool = postgres::connect(database.clone(), 5).await.expect("a pool");
    (database, pool)
}

async fn admin(origin: &str) -> Client {
    let admin = Client::new(origin);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    admin
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.expect("a count")
}

#[tokio::test]
async fn three_hundred_thumbnails_are_made_once_each_while_workers_are_killed() {
    let data = tempfile::tempdir().expect("a folder");
    let (database, pool) = migrated(data.path()).await;
    set_heights(&pool).await;
    count_completions(&pool).await;
    let mut api = Pictier::new(data.path())
        .on(&database)
        .args(&["api"])
        .env("UPLOADS_PER_MINUTE", "1000")
        .start();
    let admin = admin(&api.origin().await).await;
    let images = upload_many(&admin).await;

    let mut workers =
        VecDeque::from([worker(data.path(), &database), worker(data.path(), &database)]);
    let links = images.iter().flat_map(|image| image["file_urls"].as_object().expect("links"));
    let links: Vec<String> =
        links.map(|(_, url)| url.as_str().expect("a link").to_owned()).collect();
    // on a busy machine the workers are done when the last one is requested
    let asking = {
        let (admin, links) = (admin.clone(), links.clone());
        tokio::spawn(async move {
            for url in links {
                admin.get(&url).await;
            }
        })
    };
    let mut kills = 0;
    let deadline = Instant::now() + Duration::from_mins(4);
    loop {
        let ready = count(&pool, "SELECT count(*) FROM thumbnails WHERE state = 'ready'").await;
        assert!(Instant::now() < deadline, "not all thumbnails are ready after four minutes");
        if ready >= 300 {
            break;
        }
        // spread over the work, however quick it is
        if kills < 10 && ready >= 25 * kills {
            workers.pop_front().expect("a worker").kill();
            workers.push_back(worker(data.path(), &database));
            kills += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    asking.await.expect("requests");
    assert!(kills >= 3, "the workers were too quick to be killed: {kills}");
    assert_eq!(count(&pool, "SELECT count(*) FROM completions").await, 300);
    assert_eq!(count(&pool, "SELECT count(DISTINCT thumbnail) FROM completions").await, 300);
    // a job whose worker was killed between the file and its acknowledgement runs again, and finds
    // nothing to do
    while count(&pool, "SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'").await > 0 {
        assert!(Instant::now() < deadline, "not all jobs are done after four minutes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count(&pool, "SELECT count(*) FROM apalis.jobs").await, 300);
    assert_eq!(count_stored(data.path()).await, 300 + IMAGES);
    for worker in workers {
        assert!(worker.stop().await.success());
    }
    expect_clean(data.path(), &database);
}

async fn set_heights(pool: &PgPool) {
    let mut connection = pool.acquire().await.expect("a connection");
    let mut tier = db::tiers::by_name(&mut connection, "Enterprise")
        .await
        .expect("a query")
        .expect("the tier");
    tier.spec.thumbnail_heights = HEIGHTS.to_vec().try_into().expect("heights");
    db::tiers::update(&mut connection, tier.id, &tier.spec).await.expect("a changed tier");
}

/// Has the database count every time that a thumbnail becomes ready, in any process.
async fn count_completions(pool: &PgPool) {
    for statement in [
        "CREATE TABLE completions (thumbnail uuid NOT NULL)",
        "CREATE FUNCTION count_completion() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO completions VALUES (NEW.id); RETURN NULL; END $$",
        "CREATE TRIGGER completions AFTER UPDATE OF state ON thumbnails FOR EACH ROW
            WHEN (NEW.state = 'ready') EXECUTE FUNCTION count_completion()",
    ] {
        sqlx::query(statement).execute(pool).await.expect(statement);
    }
}

async fn upload_many(admin: &Client) -> Vec<Value> {
    let picture = pictures::jpeg(1600, 1200);
    let uploads = (0..IMAGES).map(|n| {
        let (admin, picture) = (admin.clone(), picture.clone());
        async move { admin.uploaded(&format!("{n}.jpg"), picture).await }
    });
    stream::iter(uploads).buffer_unordered(4).collect().await
}

async fn count_objects(data: &Path) -> usize {
    let config = StorageConfig { data_dir: data.to_owned(), s3_bucket: None, s3_allow_http: false };
    Storage::open(&config).expect("a storage").list().count().await
}

/// Originals and thumbnails that have an object. A worker that is killed between the object and its
/// row leaves the object of an earlier attempt, which cleanups delete.
async fn count_stored(data: &Path) -> usize {
    let config = StorageConfig { data_dir: data.to_owned(), s3_bucket: None, s3_allow_http: false };
    let listed: Vec<_> =
        Storage::open(&config).expect("a storage").list().try_collect().await.expect("a listing");
    let owner =
        |object: &ListedObject| match StorageKey::parse(&object.path).expect("a key").owner() {
            ObjectKind::Original(id) => id.0,
            ObjectKind::Thumbnail(id, _) => id.0,
        };
    listed.iter().map(owner).collect::<HashSet<_>>().len()
}

/// The audit finds nothing, without any patience. Killed workers leave half-written files, which
/// the cleanup deletes.
fn expect_clean(data: &Path, database: &PgConnectOptions) {
    let without_patience = |role: &str| {
        let run = Pictier::new(data).on(database).args(&[role, "--temp-file-age-seconds", "0"]);
        run.args(&["--stuck-job-seconds", "0"]).output()
    };
    assert!(without_patience("cleanup").status.success());
    let audit = without_patience("audit");
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}

#[tokio::test]
async fn four_workers_make_both_heights_of_an_image_once_when_they_are_asked_for_together() {
    const PAIRS: usize = 60;
    let data = tempfile::tempdir().expect("a folder");
    let (database, pool) = migrated(data.path()).await;
    count_completions(&pool).await;
    let mut api = Pictier::new(data.path())
        .on(&database)
        .args(&["api"])
        .env("UPLOADS_PER_MINUTE", "1000")
        .start();
    let admin = admin(&api.origin().await).await;
    let workers = [(); 4].map(|()| worker(data.path(), &database));
    let picture = pictures::jpeg(800, 600);
    let pairs = (0..PAIRS).map(|n| {
        let (admin, picture) = (admin.clone(), picture.clone());
        async move {
            let image = admin.uploaded(&format!("{n}.jpg"), picture).await;
            let link = |name: &str| image["file_urls"][name].as_str().expect("a link").to_owned();
            let (low, high) = (link("200 px high"), link("400 px high"));
            let wait = [("prefer", "wait=30")];
            let (low, high) =
                tokio::join!(admin.get_with(&low, &wait), admin.get_with(&high, &wait));
            for (answer, height) in [(low, 200), (high, 400)] {
                let answer = answer.expect(StatusCode::OK);
                assert_eq!(pictures::size(&answer.body).1, height);
                assert_eq!(answer.header("content-length"), answer.body.len().to_string());
            }
        }
    });
    stream::iter(pairs).buffer_unordered(6).collect::<Vec<()>>().await;
    let made = count(&pool, "SELECT count(*) FROM completions").await;
    assert_eq!(
        made,
        count(&pool, "SELECT count(DISTINCT thumbnail) FROM completions").await,
        "made twice"
    );
    for worker in workers {
        assert!(worker.stop().await.success());
    }
    // a thumbnail that two workers made would have left two objects, or one of another size than
    // its row
    assert_eq!(count_objects(data.path()).await, 3 * PAIRS);
    expect_clean(data.path(), &database);
}

#[tokio::test]
async fn a_worker_that_was_frozen_in_the_middle_of_a_job_changes_nothing_when_it_is_back() {
    let data = tempfile::tempdir().expect("a folder");
    let (database, pool) = migrated(data.path()).await;
    let mut api = Pictier::new(data.path()).on(&database).args(&["api"]).start();
    let admin = admin(&api.origin().await).await;
    let image = admin.uploaded("a.png", pictures::png(4000, 4000)).await;
    let url = image.thumbnail(200).to_owned();
    // its deadline passes while it is frozen, which is no verdict on the picture
    let frozen = Pictier::new(data.path()).on(&database).args(&["worker"]);
    let frozen = frozen.env("WORKER_HEARTBEAT_SECONDS", "1").env("DECODE_MAX_SECONDS", "6").start();
    admin.get(&url).await.expect(StatusCode::ACCEPTED);
    let deadline = Instant::now() + Duration::from_mins(2);
    while count(&pool, "SELECT count(*) FROM thumbnails WHERE attempt = 1").await == 0 {
        assert!(Instant::now() < deadline, "no worker claimed the thumbnail");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    frozen.signal(rustix::process::Signal::STOP);
    let state = "SELECT count(*) FROM thumbnails WHERE state = 'ready' AND attempt = 1";
    assert_eq!(count(&pool, state).await, 0, "the worker was too quick to be frozen");
    let other = worker(data.path(), &database);
    let answer = admin.get_with(&url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    let row = "SELECT row_to_json(t)::text FROM thumbnails t WHERE state = 'ready' AND attempt = 2";
    let before: String = sqlx::query_scalar(row).fetch_one(&pool).await.expect("a thumbnail");
    tokio::time::sleep(Duration::from_secs(7)).await;
    frozen.signal(rustix::process::Signal::CONT);
    assert!(other.stop().await.success());
    // it works again, and what it had begun is over
    let next = admin.uploaded("b.jpg", pictures::jpeg(400, 300)).await;
    let next = next.thumbnail(200);
    admin.get_with(next, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    assert!(frozen.stop().await.success());
    let after: String = sqlx::query_scalar(row).fetch_one(&pool).await.expect("a thumbnail");
    assert_eq!(before, after);
    assert_eq!(admin.get(&url).await.expect(StatusCode::OK).body, answer.body);
    assert_eq!(count_stored(data.path()).await, 4, "two originals and a thumbnail of each");
}

#[tokio::test]
async fn a_database_that_is_away_costs_no_attempt_and_floods_no_log() {
    // the owner of the embedded server takes it away from the worker, its guest
    let data = tempfile::tempdir().expect("a folder");
    let mut owner = Pictier::new(data.path()).args(&["api"]).start();
    owner.origin().await;
    let mut worker = worker_of_embedded(data.path());
    worker.wait_for("working").await;
    owner.kill();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let ended = worker.said().iter().filter(|line| line.contains("a queue's worker ended")).count();
    assert!((1..=4).contains(&ended), "one line for each queue in a minute: {:#?}", worker.said());
    let mut owner = Pictier::new(data.path()).args(&["api"]).start();
    let admin = admin(&owner.origin().await).await;
    let image = admin.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    let url = image.thumbnail(200);
    admin.get_with(url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    assert!(worker.stop().await.success());
}

fn worker_of_embedded(data: &Path) -> Running {
    Pictier::new(data).args(&["worker"]).env("WORKER_HEARTBEAT_SECONDS", "1").start()
}

#[tokio::test]
async fn three_workers_that_tick_each_second_enqueue_one_cleanup_a_tick() {
    let data = tempfile::tempdir().expect("a folder");
    let (database, pool) = migrated(data.path()).await;
    let ticking = || {
        Pictier::new(data.path()).on(&database).args(&[
            "worker",
            "--cleanup-schedule",
            "* * * * * *",
        ])
    };
    let mut workers = [ticking().start(), ticking().start(), ticking().start()];
    let deadline = Instant::now() + Duration::from_mins(1);
    while count(&pool, "SELECT count(*) FROM apalis.jobs WHERE status = 'Done'").await < 4 {
        assert!(Instant::now() < deadline, "no cleanup within a minute: {:#?}", workers[0].said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // each of the three saw at least one of the ticks
    for worker in &mut workers {
        assert!(!worker.said().iter().any(|line| line.contains("ERROR")), "{:#?}", worker.said());
    }
    for worker in workers {
        assert!(worker.stop().await.success());
    }
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'clean-up'";
    let ticks = "SELECT count(DISTINCT convert_from(job, 'UTF8')) FROM apalis.jobs WHERE job_type = 'clean-up'";
    assert_eq!(count(&pool, jobs).await, count(&pool, ticks).await, "each tick has one job");
}

#[tokio::test]
async fn a_waiting_request_hears_of_a_thumbnail_that_another_process_makes() {
    let data = tempfile::tempdir().expect("a folder");
    let (database, _pool) = migrated(data.path()).await;
    let mut api = Pictier::new(data.path()).on(&database).args(&["api"]).start();
    let admin = admin(&api.origin().await).await;
    let image = admin.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    let _worker = worker(data.path(), &database);
    let url = image.thumbnail(200);
    let answer = admin.get_with(url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    assert_eq!(pictures::size(&answer.body), (267, 200));
}

#[tokio::test]
async fn everything_goes_on_after_the_database_was_restarted() {
    // the owner of an embedded server is killed, which restarts the database under its guests
    let data = tempfile::tempdir().expect("a folder");
    let mut owner = Pictier::new(data.path()).start();
    owner.origin().await;
    let mut api = Pictier::new(data.path()).args(&["api"]).start();
    let mut worker =
        Pictier::new(data.path()).args(&["worker"]).env("WORKER_HEARTBEAT_SECONDS", "1").start();
    let admin = admin(&api.origin().await).await;
    let first = admin.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    let url = |image: &Value| image.thumbnail(200).to_owned();
    admin.get_with(&url(&first), &[("prefer", "wait=30")]).await.expect(StatusCode::OK);

    owner.kill();
    // nobody but the guests is left to work, on a database that comes back after a while
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut keeper = Pictier::new(data.path()).args(&["api"]).start();
    keeper.origin().await;
    let mut second = admin.upload("b.jpg", pictures::jpeg(400, 300)).await;
    for _ in 0..100 {
        if second.status == StatusCode::CREATED {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        second = admin.upload("b.jpg", pictures::jpeg(400, 300)).await;
    }
    let second = second.expect(StatusCode::CREATED).json();
    let answer = admin.get_with(&url(&second), &[("prefer", "wait=30")]).await;
    assert_eq!(answer.status, StatusCode::OK, "the worker said {:#?}", worker.said());
    assert!(worker.wait_for("made a thumbnail").await.contains("height=200"));
}

/// As when the program that collects the log has crashed.
#[tokio::test]
async fn serves_and_stops_although_nobody_reads_its_log() {
    let data = tempfile::tempdir().expect("a folder");
    let (database, _) = migrated(data.path()).await;
    let pictier = Pictier::new(data.path()).on(&database).env("RUST_LOG", "debug");
    let mut unheard = pictier.start_reading_until(Some("the API:"));
    let origin = unheard.origin().await;
    unheard.wait_for("the API:").await;
    let admin = admin(&origin).await;
    admin.uploaded("a.png", pictures::png(10, 10)).await;
    assert!(unheard.stop().await.success());
}

#[tokio::test]
async fn a_stop_lets_requests_and_jobs_end() {
    let data = tempfile::tempdir().expect("a folder");
    let (database, pool) = migrated(data.path()).await;
    let mut everything = Pictier::new(data.path()).on(&database).start();
    let origin = everything.origin().await;
    let admin = admin(&origin).await;
    let image = admin.uploaded("a.jpg", pictures::jpeg(3000, 2000)).await;
    let url = image.thumbnail(200).to_owned();
    let request =
        tokio::spawn(async move { admin.get_with(&url, &[("prefer", "wait=30")]).await.status });
    let asked = Instant::now() + Duration::from_secs(30);
    while count(&pool, "SELECT count(*) FROM apalis.jobs").await == 0 && Instant::now() < asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(everything.stop().await.success());
    let status = request.await.expect("an answer in spite of the stop");
    assert!(status == StatusCode::OK || status == StatusCode::ACCEPTED, "{status}");
    // the stop may have come before a worker claimed it
    let cut_off = "SELECT count(*) FROM thumbnails WHERE state <> 'ready' AND attempt > 0";
    assert_eq!(count(&pool, cut_off).await, 0, "no job was cut off");
}
