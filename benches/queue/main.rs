//! How much the queue and the database carry: `cargo bench --bench queue [-- [--quick] [PART ...]]`.
//! Parts are jobs, pushes, claims, backlog and footprint; without one, all are measured.
//!
//! Starts a durable embedded Postgres in a folder of its own and prints: jobs a second that do
//! nothing, first requests that enqueue, claims, the time of a claim among many waiting jobs, and
//! what an image and a thumbnail take in Postgres. The client shares the cores.

mod backlog;
mod footprint;
mod jobs;
mod pushes;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use embedded_postgres::{Durability, Server};
use pictier::{Config, Process, service};
use shared::{
    clock::Clock,
    config::{self, StorageConfig},
    postgres,
    services::setup,
};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

/// Connections for statements of the bench itself.
const OWN_CONNECTIONS: u32 = 20;

const PARTS: [&str; 5] = ["jobs", "pushes", "claims", "backlog", "footprint"];

/// How often things are done.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) no_op_jobs: usize,
    pub(crate) pushes: i32,
    pub(crate) claim_time: Duration,
    /// Waiting jobs among which the claim is timed.
    pub(crate) backlogs: &'static [i32],
    /// Images whose rows are counted.
    pub(crate) images: usize,
}

const FULL: Plan = Plan {
    rounds: 3,
    no_op_jobs: 2_000,
    pushes: 4_000,
    claim_time: Duration::from_secs(2),
    backlogs: &[10, 100_000, 1_000_000],
    images: 1_000,
};
const QUICK: Plan = Plan {
    rounds: 1,
    no_op_jobs: 500,
    pushes: 500,
    claim_time: Duration::from_millis(300),
    backlogs: &[10, 10_000],
    images: 100,
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let plan = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    // cargo passes --bench
    let wanted: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    assert!(wanted.iter().all(|part| PARTS.contains(part)), "The parts are {PARTS:?}.");
    let folder = tempfile::tempdir().expect("a folder");
    let server_config = embedded_postgres::Config {
        root: folder.path().join("postgres"),
        durability: Durability::Durable,
        max_connections: 100,
        binaries: None,
    };
    let server = Server::start(&server_config, &|line| println!("{line}")).expect("a server");
    // reqwest leaves the choice of the TLS provider to the process
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        println!("{} cores", cores());
        for part in PARTS.into_iter().filter(|part| wanted.is_empty() || wanted.contains(part)) {
            let database = Database::create(&server, part).await;
            match part {
                "jobs" => jobs::measure(&database, &plan).await,
                "pushes" => pushes::measure(&database, &plan).await,
                "claims" => backlog::claims_a_second(&database, &plan).await,
                "backlog" => backlog::time_of_claims(&database, &plan).await,
                _ => footprint::measure(&database, &plan).await,
            }
        }
    });
    runtime.shutdown_background();
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A migrated database, a storage that belongs to it, and how processes are configured.
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    pub(crate) process: Process,
    queue_pool: PgPool,
    _storage: TempDir,
}

impl Database {
    async fn create(server: &Server, name: &str) -> Self {
        postgres::create_database(&server.options("postgres"), name).await.expect("a database");
        let pool = postgres::connect_unlimited(server.options(name), OWN_CONNECTIONS)
            .await
            .expect("a pool");
        postgres::migrate(&pool).await.expect("the schema");
        let storage = tempfile::tempdir().expect("a folder");
        let mut config: Config = config::defaults();
        config.storage = StorageConfig {
            data_dir: storage.path().to_owned(),
            s3_bucket: None,
            s3_allow_http: false,
        };
        config.limits.uploads_per_minute = i32::MAX;
        let mut connection = pool.acquire().await.expect("a connection");
        setup::prepare(&mut connection, &config.superuser, &Clock::default())
            .await
            .expect("a superuser");
        drop(connection);
        let api_pool = service::connect(&config, server.options(name)).await.expect("a pool");
        let queue_pool =
            service::connect_for_queue(&config, server.options(name)).await.expect("a pool");
        // before there are images, whose files the bench does not make
        let process = Process::open(config, api_pool).await.expect("a process");
        Self { pool, process, queue_pool, _storage: storage }
    }

    pub(crate) fn queue_pool(&self) -> PgPool {
        self.queue_pool.clone()
    }

    pub(crate) async fn execute(&self, statement: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await;
        done.expect("a statement that works");
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        let number = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool).await;
        number.expect("a number")
    }

    /// Accounts with as many images in all, each with a thumbnail of 200 px that nobody requested.
    pub(crate) async fn add_images(&self, owners: i32, images: i32) {
        self.execute(&format!(
            "TRUNCATE apalis.jobs, queue_shares, images CASCADE;
             DELETE FROM users WHERE username LIKE 'owner-%';
             INSERT INTO users (username, password_hash, tier_id, created_at)
             SELECT 'owner-' || n, '', (SELECT id FROM tiers WHERE name = 'Enterprise'), now()
             FROM generate_series(1, {owners}) AS n;
             INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
             SELECT (SELECT min(id) FROM users WHERE username LIKE 'owner-%') + n % {owners},
                    gen_random_uuid(), 'photo', 'jpeg', 4032, 3024, 4000000, now()
             FROM generate_series(1, {images}) AS n;
             INSERT INTO thumbnails (id, image_id, height) SELECT gen_random_uuid(), id, 200 FROM images;
             ANALYZE"
        ))
        .await;
    }
}

pub(crate) fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{what:<66} p50 {:>8.2} ms   p99 {:>8.2} ms   n {}",
        percentile(50),
        percentile(99),
        times.len()
    );
}

pub(crate) fn report_rate(what: &str, count: usize, started: Instant) {
    let rate = f64::from(u32::try_from(count).expect("a count")) / started.elapsed().as_secs_f64();
    println!("{what:<66} {rate:>8.0} a second   n {count}");
}
