//! A running service: the API on a port of its own, a database and a data folder of its own, and a
//! worker when a test asks for one. Dropping it fails the test if a job is left behind.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use futures::TryStreamExt;
use pictier::{Config, Process, service};
use shared::{
    clock::Clock,
    config::{self, ScheduleConfig, StorageConfig},
    db::{self, users::NewUser},
    domain::{Attempt, Password, ThumbnailId, TierSpec, UserId, Username},
    passwords, postgres,
    schedule::parse_schedule,
    services::Services,
    storage::Storage,
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use worker::Context;

use super::{Client, Proxy, fresh_database};

/// The password of every user that tests create.
pub(crate) const PASSWORD: &str = "correct horse";

/// Connections of the API, and as many of the worker: many tests share one server.
const CONNECTIONS: u32 = 11;

/// A schedule without a tick during any test. Workers tick by the system's clock, not by the one
/// that tests advance, so a test across a full hour would get a cleanup that it did not ask for.
const NEVER: &str = "0 0 0 1 1 * 2099";

pub(crate) struct TestApp {
    pub(crate) origin: String,
    pub(crate) pool: PgPool,
    pub(crate) storage: Storage,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) database: PgConnectOptions,
    data: TempDir,
    stop: CancellationToken,
    worker: Option<(CancellationToken, JoinHandle<()>)>,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a configuration that differs from the tests' own.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let database = fresh_database().await;
        Self::launch(database.clone(), database, change).await
    }

    /// With an API that reaches its database over a proxy.
    pub(crate) async fn start_through(proxy: &Proxy, database: PgConnectOptions) -> Self {
        Self::launch(proxy.options(&database), database, |_| {}).await
    }

    async fn launch(
        of_api: PgConnectOptions,
        database: PgConnectOptions,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut config = test_config(data.path());
        change(&mut config);
        let api_pool = service::connect(&config, of_api).await.expect("a pool");
        let process = Process::open(config, api_pool).await.expect("a process");
        let pool = postgres::connect(database.clone(), 10).await.expect("a pool");
        insert_tiers(&pool, &process.services.clock).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        tokio::spawn(process.api().serve(listener, stop.clone()));
        let Process { config, services: Services { storage, clock, .. } } = process;
        Self { origin, pool, storage, clock, config, database, data, stop, worker: None }
    }

    /// Somebody who is not logged in.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&self.origin)
    }

    /// A new user of the named tier who is logged in.
    pub(crate) async fn user(&self, tier: &str) -> Client {
        let name = format!("user{}", uuid::Uuid::new_v4().simple());
        self.create_user(&name, tier).await;
        self.logged_in(&name).await
    }

    pub(crate) async fn logged_in(&self, username: &str) -> Client {
        let client = self.anonymous();
        client.log_in(username, PASSWORD).await.expect(reqwest::StatusCode::OK);
        client
    }

    /// A new administrator of the tier Enterprise who is logged in.
    pub(crate) async fn admin(&self) -> Client {
        self.create_admin("root", "Enterprise").await;
        self.logged_in("root").await
    }

    /// A new user of the named tier with [`PASSWORD`].
    pub(crate) async fn create_user(&self, name: &str, tier: &str) -> UserId {
        self.insert_user(name, tier, false).await
    }

    /// A new administrator of the named tier with [`PASSWORD`].
    pub(crate) async fn create_admin(&self, name: &str, tier: &str) -> UserId {
        self.insert_user(name, tier, true).await
    }

    async fn insert_user(&self, name: &str, tier: &str, is_admin: bool) -> UserId {
        let mut connection = self.pool.acquire().await.expect("a connection");
        let tier =
            db::tiers::by_name(&mut connection, tier).await.expect("a query").expect("the tier");
        let password = Password::chosen(PASSWORD.to_owned()).expect("a password");
        let user = NewUser {
            username: &name.parse::<Username>().expect("a name"),
            password_hash: &passwords::hash(&password, &mut passwords::Memory::default())
                .expect("a hash"),
            password_is_default: false,
            tier: tier.id,
            is_admin,
        };
        db::users::insert(&mut connection, &user, self.clock.now()).await.expect("a new user")
    }

    /// Changes a tier, as an administrator would.
    pub(crate) async fn change_tier(&self, name: &str, change: impl FnOnce(&mut TierSpec)) {
        let mut connection = self.pool.acquire().await.expect("a connection");
        let mut tier =
            db::tiers::by_name(&mut connection, name).await.expect("a query").expect("the tier");
        change(&mut tier.spec);
        db::tiers::update(&mut connection, tier.id, &tier.spec).await.expect("a changed tier");
    }

    /// Works until no job is left.
    pub(crate) async fn run_jobs(&mut self) {
        self.start_worker().await;
        self.stop_worker().await;
    }

    /// Starts a worker that works until the test ends.
    pub(crate) async fn start_worker(&mut self) {
        let pool =
            service::connect_for_queue(&self.config, self.database.clone()).await.expect("a pool");
        let stop = CancellationToken::new();
        let running = self.process().worker(pool.clone()).expect("a worker").run(stop.clone());
        let handle = tokio::spawn(async move {
            running.await.expect("a worker that works");
            pool.close().await;
        });
        self.worker = Some((stop, handle));
    }

    /// What a job needs that a test runs by itself.
    pub(crate) fn job_context(&self) -> Context {
        self.process().job_context()
    }

    /// A process with the present configuration, on the test's own connections.
    fn process(&self) -> Process {
        let (pool, storage, clock) = (self.pool.clone(), self.storage.clone(), self.clock.clone());
        let services = Services::new(pool, storage, clock, self.config.limits.clone());
        Process { config: self.config.clone(), services }
    }

    /// Stops the worker once no job is left.
    pub(crate) async fn stop_worker(&mut self) {
        self.wait_for_jobs().await;
        if let Some((stop, handle)) = self.worker.take() {
            stop.cancel();
            handle.await.expect("a worker that stops");
        }
    }

    pub(crate) async fn wait_for_jobs(&self) {
        self.wait_for_open_jobs(0).await;
    }

    /// Waits until so many jobs have not ended.
    pub(crate) async fn wait_for_open_jobs(&self, count: i64) {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        while self.open_jobs().await != count {
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {count} jobs are open after a minute"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the query says so.
    pub(crate) async fn wait_until(&self, condition: &'static str) {
        wait_until(&self.pool, condition).await;
    }

    pub(crate) async fn open_jobs(&self) -> i64 {
        count_open_jobs(&self.pool).await
    }

    /// Jobs that were ever enqueued in a queue and are still in its table.
    pub(crate) async fn jobs_in(&self, queue: &str) -> i64 {
        let count =
            sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE job_type = $1").bind(queue);
        count.fetch_one(&self.pool).await.expect("a count")
    }

    /// Rows of a table.
    pub(crate) async fn rows(&self, table: &str) -> i64 {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(count).fetch_one(&self.pool).await.expect("a count")
    }

    /// Every object of the storage, in order.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let listed = self.storage.list().map_ok(|object| object.path).try_collect::<Vec<_>>();
        let mut paths = listed.await.expect("a listing");
        paths.sort();
        paths
    }

    /// The one thumbnail that is ready.
    pub(crate) async fn only_ready_thumbnail(&self) -> (ThumbnailId, Attempt) {
        let ready = sqlx::query_as("SELECT id, attempt FROM thumbnails WHERE state = 'ready'");
        let (id, attempt): (uuid::Uuid, i32) =
            ready.fetch_one(&self.pool).await.expect("a ready thumbnail");
        (ThumbnailId(id), Attempt(attempt.try_into().expect("an attempt")))
    }

    /// Temporary files that nobody is writing to any more.
    pub(crate) async fn temp_files(&self) -> Vec<PathBuf> {
        self.storage.abandoned_temp_files(Duration::ZERO).await.expect("a listing")
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Nothing of a refused request is left: no row, no object, no temporary file, no job.
    pub(crate) async fn expect_nothing_left(&self) {
        assert_eq!(self.rows("images").await, 0);
        assert_eq!(self.rows("thumbnails").await, 0);
        assert_eq!(self.objects().await, Vec::<String>::new());
        assert_eq!(self.temp_files().await, Vec::<PathBuf>::new());
        assert_eq!(self.rows("apalis.jobs").await, 0);
    }
}

/// What tests have in common; the rest is as it is by default.
fn test_config(data: &Path) -> Config {
    let mut config: Config = config::defaults();
    // whatever the environment says of another storage
    config.storage =
        StorageConfig { data_dir: data.to_owned(), s3_bucket: None, s3_allow_http: false };
    config.database.database_connections = CONNECTIONS;
    config.worker.worker_concurrency = Some(2);
    config.worker.worker_heartbeat_seconds = 1;
    config.worker.schedules = ScheduleConfig {
        cleanup_schedule: parse_schedule(NEVER).expect("a schedule"),
        audit_schedule: None,
    };
    config
}

async fn insert_tiers(pool: &PgPool, clock: &Clock) {
    let mut connection = pool.acquire().await.expect("a connection");
    for spec in TierSpec::built_in() {
        db::tiers::insert(&mut connection, &spec, clock.now()).await.expect("a built-in tier");
    }
}

/// Waits until the query says so.
pub(crate) async fn wait_until(pool: &PgPool, condition: &'static str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !sqlx::query_scalar::<_, bool>(condition).fetch_one(pool).await.expect("a query") {
        assert!(tokio::time::Instant::now() < deadline, "not within 30 s: {condition}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Jobs that have not ended.
async fn count_open_jobs(pool: &PgPool) -> i64 {
    let open = "SELECT count(*) FROM apalis.jobs
        WHERE status IN ('Pending', 'Queued', 'Running') OR (status = 'Failed' AND attempts < max_attempts)";
    sqlx::query_scalar(open).fetch_one(pool).await.expect("a count")
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
        if thread::panicking() {
            return;
        }
        let database = self.database.clone();
        let left = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let pool = postgres::connect(database, 1).await.expect("a connection");
                count_open_jobs(&pool).await
            })
        });
        assert_eq!(
            left.join().expect("a count"),
            0,
            "the test left jobs behind: run them, or say why not"
        );
    }
}
