//! The alerts and the dashboard of `deploy/observability`, with Debian's Prometheus and real
//! processes.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::Value;
use shared::metrics::CATALOGUE;
use sqlx::{PgPool, postgres::PgConnectOptions};

use crate::harness::{
    Client, Prometheus, fresh_database, pictures,
    processes::{Pictier, Running},
    prometheus::promtool,
};

/// An alert fires, and clears, within this time.
const ALERT_TIME: Duration = Duration::from_mins(1);
/// What the test's copy of the rules has instead of their times.
const SHORTENED: [(&str, &str); 4] =
    [("for: 1m", "for: 1s"), ("for: 2m", "for: 1s"), ("for: 5m", "for: 1s"), ("[10m]", "[15s]")];
const ORIGINAL_OF_NOBODY: &str = "media/originals/ab/ab000000-0000-4000-8000-000000000000.png";

#[test]
fn the_rules_pass_their_unit_tests() {
    for args in
        [["check", "config", "prometheus.yml"].as_slice(), &["test", "rules", "alerts.test.yml"]]
    {
        let output = promtool(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    let read = |file: &str| fs::read_to_string(format!("deploy/observability/{file}"));
    let (rules, tests) =
        (read("alerts.yml").expect("rules"), read("alerts.test.yml").expect("tests"));
    let manual = fs::read_to_string("docs/operations.md").expect("the manual");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no unit test");
        assert!(manual.contains(&format!("| `{alert}` |")), "{alert} is not in the manual");
    }
}

#[test]
fn rules_and_dashboard_use_metrics_of_the_catalogue() {
    let text = fs::read_to_string("deploy/observability/dashboard.json").expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() >= 6));
    for file in ["dashboard.json", "alerts.yml", "alerts.test.yml"] {
        let text = fs::read_to_string(format!("deploy/observability/{file}")).expect("a file");
        for part in text.split("pictier_").skip(1) {
            let rest = part.split(|sign: char| !sign.is_ascii_lowercase() && sign != '_').next();
            let name = format!("pictier_{}", rest.unwrap_or_default());
            let is_known = CATALOGUE.iter().any(|metric| {
                name == metric.name || name.strip_suffix("_bucket") == Some(metric.name)
            });
            assert!(is_known, "{file}: {name} is not in the catalogue");
        }
    }
}

/// A database, an API and a worker with metrics, and a Prometheus that scrapes both.
struct Installation {
    data: tempfile::TempDir,
    database: PgConnectOptions,
    pool: PgPool,
    _api: Running,
    worker: Option<Running>,
    worker_bind: String,
    client: Client,
    prometheus: Prometheus,
}

impl Installation {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let database = fresh_database().await;
        let migrate = Pictier::new(data.path()).on(&database).args(&["migrate"]).output();
        assert!(migrate.status.success(), "{migrate:?}");
        let pool = shared::postgres::connect(database.clone(), 3).await.expect("a pool");
        let binds = [0, 1].map(|_| format!("127.0.0.1:{}", crate::harness::free_port()));
        let [api_bind, worker_bind] = binds.clone();
        let api = Pictier::new(data.path()).on(&database).env("METRICS_BIND", api_bind);
        let mut api = api.args(&["api"]).start();
        let client = Client::new(&api.origin().await);
        client.log_in("admin", "admin").await.expect(StatusCode::OK);
        let worker = Some(start_worker(data.path(), &database, &worker_bind).await);
        let prometheus = Prometheus::start(&binds, &SHORTENED).await;
        let started = Instant::now();
        while prometheus.series("pictier_live_workers == 1").await < 2 {
            assert!(started.elapsed() < ALERT_TIME, "Prometheus does not scrape both processes");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Self { data, database, pool, _api: api, worker, worker_bind, client, prometheus }
    }

    async fn request_thumbnail(&self, name: &str) {
        let image = self.client.uploaded(name, pictures::png(300, 300)).await;
        let url = image["file_urls"]["200 px high"].as_str().expect("a link");
        self.client.get(url).await.expect(StatusCode::ACCEPTED);
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.pool).await.expect("a statement");
    }

    /// Waits until exactly these alerts fire.
    async fn expect_firing(&self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        let started = Instant::now();
        loop {
            let firing = self.prometheus.firing().await;
            if firing == expected {
                return;
            }
            assert!(
                started.elapsed() < ALERT_TIME,
                "after a minute {firing:?} fire, not {expected:?}; the worker: {:#?}",
                self.worker.as_ref().map(Running::said)
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn start_worker(data: &Path, database: &PgConnectOptions, bind: &str) -> Running {
    let mut worker = Pictier::new(data)
        .on(database)
        .env("METRICS_BIND", bind)
        .env("WORKER_HEARTBEAT_SECONDS", "1")
        .env("AUDIT_SCHEDULE", "* * * * * *")
        .env("ORPHAN_AGE_SECONDS", "3600")
        .args(&["worker"])
        .start();
    worker.wait_for("metrics: http://").await;
    worker
}

#[tokio::test]
async fn alerts_of_the_queue_fire_under_their_faults_and_clear_after_them() {
    let mut installation = Installation::start().await;
    installation.expect_firing(&[]).await;

    let worker = installation.worker.take().expect("a worker");
    assert!(worker.stop().await.success());
    installation.request_thumbnail("late.png").await;
    installation.execute("UPDATE apalis.jobs SET run_at = now() - interval '10 minutes'").await;
    let alerts = ["PictierNoLiveWorker", "PictierQueueOld", "PictierProcessDown"];
    installation.expect_firing(&alerts).await;
    let (data, bind) = (installation.data.path(), installation.worker_bind.clone());
    installation.worker = Some(start_worker(data, &installation.database, &bind).await);
    installation.expect_firing(&[]).await;

    installation
        .execute("UPDATE apalis.jobs SET status = 'Killed', attempts = 5, done_at = now()")
        .await;
    installation.expect_firing(&["PictierDeadJobs"]).await;
    installation.execute("DELETE FROM apalis.jobs WHERE status = 'Killed'").await;
    installation.expect_firing(&[]).await;
}

#[tokio::test]
async fn alerts_of_the_storage_fire_under_their_faults_and_clear_after_them() {
    let installation = Installation::start().await;
    installation.expect_firing(&[]).await;
    let original = installation.data.path().join(ORIGINAL_OF_NOBODY);
    fs::create_dir_all(original.parent().expect("a folder")).expect("a folder");
    let file = fs::File::create(&original).expect("a file");
    let old = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    file.set_modified(old - Duration::from_hours(48)).expect("an old file");
    installation.expect_firing(&["PictierUnknownOriginals"]).await;
    fs::remove_file(&original).expect("a file less");
    installation.expect_firing(&[]).await;

    let (media, away) =
        (installation.data.path().join("media"), installation.data.path().join("away"));
    let image = installation.client.uploaded("a.png", pictures::png(300, 300)).await;
    fs::rename(&media, &away).expect("a folder that is away");
    fs::create_dir(&media).expect("an empty folder");
    let url = image["file_urls"]["200 px high"].as_str().expect("a link");
    installation.client.get(url).await.expect(StatusCode::ACCEPTED);
    installation.expect_firing(&["PictierStorageErrors", "PictierJobFailures"]).await;
    fs::remove_dir_all(&media).expect("an empty folder");
    fs::rename(&away, &media).expect("the folder again");
    installation.expect_firing(&[]).await;
}
