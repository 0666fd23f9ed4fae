//! How quick the administrators' pages are when the tables are large: `cargo bench --bench tables`.
//!
//! Starts an embedded Postgres and an API in a folder of their own, fills the tables, and prints
//! the median and the longest of twenty requests of each page, from the request to the last byte of
//! its HTML.

use std::time::{Duration, Instant};

use embedded_postgres::{Durability, Server};
use pictier::{Config, Process, service};
use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, HeaderMap, HeaderValue},
};
use serde_json::json;
use shared::{
    clock::Clock,
    config::{self, StorageConfig},
    postgres,
    services::setup,
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Connections of the API.
const API_CONNECTIONS: u32 = 8;
const RUNS: usize = 20;

/// 100,000 users, 1,000,000 images, 2,000,000 thumbnails, 100,000 links, 60,000 sessions, 200,000
/// jobs and 100,000 past actions. Without triggers and foreign keys, which take most of the time.
const SEEDS: [&str; 8] = [
    "SET session_replication_role = replica",
    "INSERT INTO users (username, password_hash, tier_id, is_admin, is_active, used_bytes, created_at)
     SELECT (ARRAY['anna', 'jan', 'maria', 'piotr', 'ewa', 'tomasz', 'olga', 'adam', 'zofia', 'marek'])[1 + n % 10]
            || '.'
            || (ARRAY['nowak', 'kowalski', 'smith', 'garcia', 'mueller', 'rossi', 'dubois'])[1 + n % 7] || n,
            '', CASE WHEN n % 100 < 85 THEN 1 WHEN n % 100 < 99 THEN 2 ELSE 3 END, n % 5000 = 0, n % 49 <> 0,
            (1e9 * power(random(), 3))::bigint, now() - (100000 - n) * interval '5 minutes'
     FROM generate_series(1, 100000) AS n",
    "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
     SELECT CASE WHEN n % 10 = 0 THEN 2 ELSE 1 + (99999 * power(random(), 2))::int END, gen_random_uuid(),
            CASE WHEN n % 300000 = 7 THEN 'Zanzibar at dawn'
                 WHEN n % 5 < 2 THEN 'IMG_' || n % 10000
                 WHEN n % 5 = 2 THEN 'DSC0' || n % 10000
                 ELSE (ARRAY['Holiday', 'Birthday', 'Sunset', 'Wedding', 'Garden', 'Mountain', 'Harbour', 'Market',
                             'Old town', 'Concert', 'Breakfast', 'Snow'])[1 + (random() * 11)::int]
                      || ' in '
                      || (ARRAY['Rome', 'Kraków', 'Lisbon', 'Paris', 'Berlin', 'Oslo', 'Vienna', 'Porto', 'Gdańsk',
                                'Dublin', 'Bergen', 'Naples', 'Malmö'])[1 + (random() * 12)::int] || ' ' || n % 997
            END,
            CASE WHEN n % 7 = 0 THEN 'png' ELSE 'jpeg' END, 4032, 3024, 100000 + (8e6 * power(random(), 3))::int,
            now() - (1000000 - n) * interval '30 seconds'
     FROM generate_series(1, 1000000) AS n",
    "INSERT INTO thumbnails (id, image_id, height, state, job_id, width_px, height_px, bytes, failure_reason,
                             requested_at, finished_at)
     SELECT gen_random_uuid(), id, height, state,
            CASE WHEN state <> 'absent' THEN '01' || upper(substr(md5(id::text || height), 1, 24)) END,
            CASE WHEN state = 'ready' THEN 267 END, CASE WHEN state = 'ready' THEN height END,
            CASE WHEN state = 'ready' THEN 12000 END, CASE WHEN state = 'failed' THEN 'the file ends early' END,
            CASE WHEN state <> 'absent' THEN uploaded_at END,
            CASE WHEN state IN ('ready', 'failed') THEN uploaded_at END
     FROM (SELECT i.id, i.uploaded_at, h AS height,
                  CASE WHEN i.id % 1000 = 3 AND h = 200 THEN 'failed' WHEN i.id % 5000 = 4 THEN 'pending'
                       WHEN random() < 0.55 THEN 'ready' ELSE 'absent' END AS state
           FROM images i, unnest('{200,400}'::int[]) AS h) AS t",
    "INSERT INTO expiring_links (id, image_id, height, valid_for, created_at, expires_at)
     SELECT gen_random_uuid(), 1 + (random() * 999999)::int, CASE WHEN n % 2 = 0 THEN 200 END, 30000, made,
            made + interval '30000 seconds'
     FROM (SELECT n, now() - random() * interval '8 hours' AS made FROM generate_series(1, 100000) AS n) AS t",
    "INSERT INTO sessions (id, user_id, data, expires_at)
     SELECT md5(n::text), 1 + n % 100000, '{}', now() + random() * interval '14 days'
     FROM generate_series(1, 60000) AS n",
    "WITH places AS (
         SELECT n, now() - (200000 - n) * interval '0.43 seconds' AS at FROM generate_series(1, 200000) AS n
     ), planned AS (
         SELECT n, at, (extract(epoch FROM at) * 1000)::bigint AS ms,
                CASE WHEN n % 50 = 0 THEN 'object-deletion' ELSE 'thumbnails' END AS queue,
                CASE WHEN n > 199500 THEN 'Pending' WHEN n > 199480 THEN 'Running' WHEN n % 100 IN (0, 3) THEN 'Failed'
                     WHEN n % 200 = 1 THEN 'Killed' ELSE 'Done' END AS status
         FROM places
     ), worker AS (
         INSERT INTO apalis.workers (id, worker_type, storage_name) VALUES ('host-1', 'thumbnails', 'PgStorage')
     )
     INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, last_result, lock_at,
                              lock_by, done_at, metadata)
     SELECT (SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((ms >> (5 * digit)) & 31)::int, 1), ''
                               ORDER BY digit DESC)
             FROM generate_series(0, 9) AS digit) || upper(substr(md5(n::text), 1, 16)),
            queue,
            convert_to(CASE queue WHEN 'thumbnails'
                           THEN json_build_object('thumbnail', (SELECT id FROM thumbnails WHERE image_id = 5 * n
                                                                AND height = 200))::text
                           ELSE '{\"keys\": [\"originals/a.jpg\"]}' END, 'UTF8'),
            status, CASE status WHEN 'Pending' THEN 0 WHEN 'Failed' THEN 1 + 4 * (n / 100 % 2) WHEN 'Killed' THEN 5
                                ELSE 1 END, 5, at,
            CASE WHEN status IN ('Failed', 'Killed') THEN '{\"Err\": \"the disk is full\"}'::jsonb
                 WHEN status = 'Done' THEN '{\"Ok\": null}' END,
            CASE WHEN status <> 'Pending' THEN at END, CASE WHEN status <> 'Pending' THEN 'host-1' END,
            CASE WHEN status IN ('Done', 'Failed', 'Killed') THEN at + interval '20 milliseconds' END, ''
     FROM planned",
    "INSERT INTO admin_actions (at, actor_id, actor_name, action, object_type, object_id, object_label, changes)
     SELECT now() - (100000 - n) * interval '10 minutes', CASE WHEN n % 10 <> 0 THEN 5000 * (1 + n % 20) END,
            'admin' || n % 20, (ARRAY['update', 'retry', 'delete', 'create'])[1 + n % 4],
            CASE WHEN n % 1000 = 0 THEN 'tier' ELSE (ARRAY['user', 'image', 'job', 'user', 'link'])[1 + n % 5] END,
            CASE WHEN n % 1000 = 0 THEN '1' ELSE (1 + n * 7 % 997)::text END, 'label ' || n,
            '{\"is_active\": {\"before\": true, \"after\": false}}'
     FROM generate_series(1, 100000) AS n",
];

/// Pages, and what is asked of them. `{job}` is a job in the middle, `{bytes}` the size of an image
/// in the middle, `{microseconds}` four hours from now, `{sampled}` a title that the planner takes
/// for frequent. Account 2 owns a tenth of all images.
const PAGES: [(&str, &str); 62] = [
    ("overview", "/admin"),
    ("users, newest", "/admin/users"),
    ("users, newest, deep", "/admin/users?cursor=50000"),
    ("users, oldest, deep", "/admin/users?sort=oldest&cursor=50000"),
    ("users, by name", "/admin/users?sort=name"),
    ("users, by name, deep", "/admin/users?sort=name&cursor=50000"),
    ("users, by name, descending, deep", "/admin/users?sort=name_descending&cursor=50000"),
    ("users, most used", "/admin/users?sort=most_used"),
    ("users, most used, deep", "/admin/users?sort=most_used&cursor=50000"),
    ("users, least used, deep", "/admin/users?sort=least_used&cursor=50000"),
    ("users of a rare tier", "/admin/users?tier=3"),
    ("users of a rare tier, most used", "/admin/users?tier=3&sort=most_used"),
    ("users of a common tier, by name, deep", "/admin/users?tier=1&sort=name&cursor=50000"),
    ("users who may not log in, by name", "/admin/users?active=no&sort=name"),
    ("users who may not log in, of a rare tier", "/admin/users?active=no&tier=3"),
    ("administrators, by name", "/admin/users?admin=yes&sort=name"),
    ("users like nowak123", "/admin/users?search=nowak123"),
    ("users like NOWAK, by name", "/admin/users?search=NOWAK&sort=name"),
    ("users like xyzzy", "/admin/users?search=xyzzy"),
    ("users like qz", "/admin/users?search=qz"),
    ("users like nowak1, of a rare tier", "/admin/users?search=nowak1&tier=3&sort=name"),
    ("a user with 100,000 images", "/admin/users/2"),
    ("tiers", "/admin/tiers"),
    ("a tier in use, to be deleted", "/admin/tiers/1/delete"),
    ("images, newest", "/admin/images"),
    ("images, newest, deep", "/admin/images?cursor=1-500000"),
    ("images, oldest, deep", "/admin/images?sort=oldest&cursor=1-500000"),
    ("images, largest", "/admin/images?sort=largest"),
    ("images, largest, deep", "/admin/images?sort=largest&cursor={bytes}-500000"),
    ("images of one in ten, deep", "/admin/images?owner={collector}&cursor=1-500000"),
    ("images of one in ten, largest", "/admin/images?owner={collector}&sort=largest"),
    ("images of somebody, largest", "/admin/images?owner={somebody}&sort=largest"),
    ("images like zanzibar", "/admin/images?title=zanzibar"),
    ("images like zanzibar, largest", "/admin/images?title=zanzibar&sort=largest"),
    ("images like IMG_1235", "/admin/images?title=IMG_1235"),
    ("images like img, deep", "/admin/images?title=img&cursor=1-500000"),
    (
        "images like holiday, largest, deep",
        "/admin/images?title=holiday&sort=largest&cursor={bytes}-500000",
    ),
    ("images like rome 99, largest", "/admin/images?title=rome+99&sort=largest"),
    ("images like a title that was sampled", "/admin/images?title={sampled}"),
    ("images like xyzzy", "/admin/images?title=xyzzy"),
    ("images like Gdańsk, oldest", "/admin/images?title=Gda%C5%84sk&sort=oldest"),
    ("images like Малага", "/admin/images?title=%D0%9C%D0%B0%D0%BB%D0%B0%D0%B3%D0%B0"),
    ("images whose words start with za", "/admin/images?title=za"),
    ("images whose words start with q", "/admin/images?title=q"),
    ("images like xyzzy of one in ten", "/admin/images?title=xyzzy&owner={collector}"),
    ("images with a failed thumbnail", "/admin/images?failed=yes"),
    (
        "images with a failed thumbnail, largest",
        "/admin/images?failed=yes&sort=largest&cursor={bytes}-500000",
    ),
    ("an image by its number", "/admin/images?id=500000"),
    ("links", "/admin/links"),
    ("links, deep", "/admin/links?cursor={microseconds}-00000000-0000-0000-0000-000000000000"),
    ("links of one in ten", "/admin/links?owner={collector}"),
    ("links of somebody", "/admin/links?owner={somebody}"),
    ("waiting jobs", "/admin/jobs"),
    ("waiting jobs of a rare queue", "/admin/jobs?queue=object-deletion"),
    ("running jobs", "/admin/jobs?state=running"),
    ("failed jobs, deep", "/admin/jobs?state=failed&cursor={job}"),
    ("dead jobs", "/admin/jobs?state=dead"),
    (
        "dead jobs of a rare queue, deep",
        "/admin/jobs?state=dead&queue=object-deletion&cursor={job}",
    ),
    ("history", "/admin/history"),
    ("history, deep", "/admin/history?cursor=50000"),
    ("history of a user", "/admin/history?kind=user&id=8"),
    ("history of tiers", "/admin/history?kind=tier"),
];

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = embedded_postgres::Config {
        root: folder.path().join("postgres"),
        durability: Durability::Durable,
        max_connections: 20,
        binaries: None,
    };
    let server = Server::start(&config, &|line| println!("{line}")).expect("a Postgres server");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        postgres::create_database(&server.options("postgres"), "tables").await.expect("a database");
        let pool = postgres::connect_unlimited(server.options("tables"), 10).await.expect("a pool");
        postgres::migrate(&pool).await.expect("the schema");
        let mut config: Config = config::defaults();
        config.storage =
            StorageConfig { data_dir: folder.path().into(), s3_bucket: None, s3_allow_http: false };
        config.database.database_connections = API_CONNECTIONS;
        let api_pool = service::connect(&config, server.options("tables")).await.expect("a pool");
        // before there are images, none of which has a file
        let process = Process::open(config, api_pool).await.expect("a process");
        fill(&pool).await;
        let origin = serve(&process).await;
        measure(&pool, &origin).await;
    });
}

/// The first superuser, who is account 1, and everything else.
async fn fill(pool: &PgPool) {
    let started = Instant::now();
    let mut connection = pool.acquire().await.expect("a connection");
    setup::prepare(&mut connection, &config::defaults(), &Clock::default())
        .await
        .expect("a superuser");
    for statement in SEEDS {
        sqlx::query(statement).execute(&mut *connection).await.expect(statement);
    }
    sqlx::query("SET session_replication_role = origin")
        .execute(&mut *connection)
        .await
        .expect("triggers");
    sqlx::query("VACUUM ANALYZE").execute(&mut *connection).await.expect("statistics");
    println!("filled in {} s", started.elapsed().as_secs());
}

async fn serve(process: &Process) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(process.api().serve(listener, CancellationToken::new()));
    origin
}

async fn measure(pool: &PgPool, origin: &str) {
    let browser = log_in(origin).await;
    let values = values(pool).await;
    let mut medians = Vec::new();
    println!("{:<46} {:>9} {:>10} {:>9}", "", "median", "max", "HTML");
    for (what, path) in PAGES {
        let path =
            values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
        let mut times = Vec::with_capacity(RUNS + 1);
        let mut bytes = 0;
        // the first one warms up
        for _ in 0..=RUNS {
            let started = Instant::now();
            let page = browser.get(format!("{origin}{path}")).send().await.expect("an answer");
            assert_eq!(page.status(), StatusCode::OK, "{path}");
            bytes = page.bytes().await.expect("a page").len();
            times.push(started.elapsed());
        }
        times.remove(0);
        times.sort_unstable();
        let (median, max) = (times[RUNS / 2], times[RUNS - 1]);
        println!("{what:<46} {:>6.1} ms {:>7.1} ms {:>5} KB", ms(median), ms(max), bytes / 1000);
        medians.push(median);
    }
    println!(
        "the slowest median is {:.1} ms",
        medians.into_iter().max().map(ms).unwrap_or_default()
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

async fn log_in(origin: &str) -> Client {
    // reqwest leaves the choice of the TLS provider to the process
    let _ = rustls::crypto::ring::default_provider().install_default();
    let html = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/html"))]);
    let browser = Client::builder()
        .cookie_store(true)
        .no_proxy()
        .default_headers(html)
        .build()
        .expect("a client");
    let credentials = json!({"username": "admin", "password": "admin"});
    let login = browser
        .post(format!("{origin}/api/session"))
        .json(&credentials)
        .send()
        .await
        .expect("an answer");
    assert_eq!(login.status(), StatusCode::OK);
    browser
}

/// What stands in the paths for what only the filled tables tell.
async fn values(pool: &PgPool) -> Vec<(&'static str, String)> {
    let queries = [
        ("{bytes}", "SELECT bytes::text FROM images WHERE id = 500000"),
        ("{job}", "SELECT id FROM apalis.jobs ORDER BY id OFFSET 100000 LIMIT 1"),
        (
            "{microseconds}",
            "SELECT (extract(epoch FROM now() + interval '4 hours') * 1e6)::bigint::text",
        ),
        ("{collector}", "SELECT username FROM users WHERE id = 2"),
        ("{somebody}", "SELECT username FROM users WHERE id = 100"),
        (
            "{sampled}",
            "SELECT replace((histogram_bounds::text::text[])[500], ' ', '+') FROM pg_stats
             WHERE tablename = 'images' AND attname = 'title'",
        ),
    ];
    let mut values = Vec::new();
    for (name, query) in queries {
        let value = sqlx::query_scalar(query).fetch_one(pool).await.expect(query);
        values.push((name, value));
    }
    values
}
