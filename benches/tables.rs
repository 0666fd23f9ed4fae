//! How quick the administrators' tables are when they are large: `cargo bench --bench tables`.
//!
//! Starts an embedded Postgres in a folder of its own, fills it, and prints the median and the longest of twenty runs of
//! each page.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    clock::Clock,
    db::{
        self,
        admin::{
            history::{self, HistoryFilter},
            images::{self, ImageCursor, ImageFilter, ImageSort},
            jobs::{self, JobState},
            links::{self, LinkCursor},
            plan_for_values, statistics, tiers,
            users::{self, UserFilter, UserSort},
        },
    },
    domain::{ImageId, LinkId, TierId, TierSpec, UserId},
    postgres::{
        self,
        embedded::{Config, Durability, Server},
    },
};
use sqlx::{PgConnection, PgPool};

const RUNS: usize = 20;
/// One more than a page shows, which tells whether there is another.
const LIMIT: i64 = 51;
const QUEUES: [&str; 3] = ["thumbnails", "object-deletion", "clean-up"];
/// Owns a tenth of all images.
const COLLECTOR: UserId = UserId(2);
const SOMEBODY: UserId = UserId(50_000);

/// 100,000 users, 1,000,000 images, 2,000,000 thumbnails, 100,000 links, 60,000 sessions, 200,000 jobs and 100,000 past
/// actions. Without triggers and foreign keys, which take most of the time.
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

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        root: folder.path().join("postgres"),
        durability: Durability::Durable,
        max_connections: 20,
        binaries: None,
    };
    let server = Server::start(&config, &|line| println!("{line}")).expect("a Postgres server");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&server));
}

async fn run(server: &Server) {
    postgres::create_database(&server.options("postgres"), "tables").await.expect("a database");
    let pool = postgres::connect(server.options("tables"), 2).await.expect("a pool");
    postgres::migrate(&pool).await.expect("the schema");
    let now = Clock::default().now();
    seed(&pool, now).await;
    println!("{:<58} {:>9} {:>9} {:>6}", "", "median", "max", "rows");
    measure_users(&pool, now).await;
    measure_images(&pool, now).await;
    measure_links(&pool, now).await;
    measure_jobs(&pool).await;
    measure_history(&pool).await;
    measure(&pool, "statistics", async |connection| statistics::read(connection, now).await.map(|_| 1)).await;
}

async fn seed(pool: &PgPool, now: DateTime<Utc>) {
    let started = Instant::now();
    let mut connection = pool.acquire().await.expect("a connection");
    for spec in TierSpec::built_in() {
        db::tiers::insert(&mut connection, &spec, now).await.expect("a tier");
    }
    for statement in SEEDS {
        sqlx::query(statement).execute(&mut *connection).await.expect(statement);
    }
    sqlx::query("SET session_replication_role = origin").execute(&mut *connection).await.expect("triggers");
    sqlx::query("VACUUM ANALYZE").execute(&mut *connection).await.expect("statistics");
    println!("filled in {} s", started.elapsed().as_secs());
}

/// Reads a page as the service does, in a transaction whose statements are planned for their values.
async fn measure<F>(pool: &PgPool, what: &str, read: F)
where
    F: AsyncFn(&mut PgConnection) -> sqlx::Result<usize>,
{
    let mut times = Vec::with_capacity(RUNS);
    let mut rows = 0;
    // the first one warms up
    for _ in 0..=RUNS {
        let started = Instant::now();
        let mut tx = pool.begin().await.expect("a transaction");
        plan_for_values(&mut tx).await.expect("a setting");
        rows = read(&mut tx).await.expect("a page");
        tx.commit().await.expect("a commit");
        times.push(started.elapsed());
    }
    times.remove(0);
    times.sort_unstable();
    let milliseconds = |index: usize| times[index].as_secs_f64() * 1e3;
    println!("{what:<58} {:>6.2} ms {:>6.2} ms {rows:>6}", milliseconds(RUNS / 2), milliseconds(RUNS - 1));
}

/// A number that a query gives.
async fn number(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.expect(query)
}

async fn measure_users(pool: &PgPool, now: DateTime<Utc>) {
    let (every, tier) =
        (UserFilter::default(), |id| UserFilter { tier: Some(TierId(id)), ..UserFilter::default() });
    let search = |text: &str| UserFilter { search: Some(text.to_owned()), ..UserFilter::default() };
    let inactive = UserFilter { is_active: Some(false), ..UserFilter::default() };
    let admins = UserFilter { is_admin: Some(true), ..UserFilter::default() };
    let (newest, name) = (UserSort::Newest, UserSort::NameAscending);
    for (what, filter, sort, after) in [
        ("users, newest", every.clone(), newest, None),
        ("users, newest, deep", every.clone(), newest, Some(SOMEBODY)),
        ("users, oldest, deep", every.clone(), UserSort::Oldest, Some(SOMEBODY)),
        ("users, by name", every.clone(), name, None),
        ("users, by name, deep", every.clone(), name, Some(SOMEBODY)),
        ("users, by name, descending, deep", every.clone(), UserSort::NameDescending, Some(SOMEBODY)),
        ("users, most used", every.clone(), UserSort::MostUsed, None),
        ("users, most used, deep", every.clone(), UserSort::MostUsed, Some(SOMEBODY)),
        ("users, least used, deep", every.clone(), UserSort::LeastUsed, Some(SOMEBODY)),
        ("users of a rare tier", tier(3), newest, None),
        ("users of a rare tier, most used", tier(3), UserSort::MostUsed, None),
        ("users of a common tier, by name, deep", tier(1), name, Some(SOMEBODY)),
        ("users who may not log in, by name", inactive.clone(), name, None),
        (
            "users who may not log in, of a rare tier",
            UserFilter { is_active: Some(false), ..tier(3) },
            newest,
            None,
        ),
        ("administrators, by name", admins, name, None),
        ("users like nowak123", search("nowak123"), newest, None),
        ("users like NOWAK, by name", search("NOWAK"), name, None),
        ("users like xyzzy", search("xyzzy"), newest, None),
        ("users like qz", search("qz"), newest, None),
        (
            "users like nowak1, of a rare tier",
            UserFilter { tier: Some(TierId(3)), ..search("nowak1") },
            name,
            None,
        ),
    ] {
        measure(pool, what, async |connection| {
            users::page(connection, &filter, sort, after, LIMIT).await.map(|page| page.len())
        })
        .await;
    }
    measure(pool, "users, count", async |connection| users::count(connection).await.map(|_| 1)).await;
    measure(pool, "a user's figures", async |connection| {
        users::figures(connection, COLLECTOR, now).await.map(|_| 1)
    })
    .await;
    measure(pool, "tiers", async |connection| tiers::all(connection).await.map(|page| page.len())).await;
    measure(pool, "users of a tier that is in use", async |connection| {
        tiers::users_of(connection, TierId(1), LIMIT).await.map(|page| page.len())
    })
    .await;
}

async fn measure_images(pool: &PgPool, now: DateTime<Utc>) {
    let middle = "SELECT bytes FROM images WHERE id = 500000";
    let middle = u64::try_from(number(pool, middle).await).expect("a size");
    let middle = Some(ImageCursor { bytes: middle, id: ImageId(500_000) });
    // one that the planner takes for frequent
    let sampled = "SELECT (histogram_bounds::text::text[])[500] FROM pg_stats
        WHERE tablename = 'images' AND attname = 'title'";
    let sampled: String = sqlx::query_scalar(sampled).fetch_one(pool).await.expect("a title");
    let every = ImageFilter::default();
    let of = |owner| ImageFilter { owner: Some(owner), ..ImageFilter::default() };
    let title = |text: &str| ImageFilter { title: Some(text.to_owned()), ..ImageFilter::default() };
    let failed = ImageFilter { has_failed_thumbnail: Some(true), ..ImageFilter::default() };
    let (newest, oldest, largest) = (ImageSort::Newest, ImageSort::Oldest, ImageSort::Largest);
    for (what, filter, sort, after) in [
        ("images, newest", every.clone(), newest, None),
        ("images, newest, deep", every.clone(), newest, middle),
        ("images, oldest, deep", every.clone(), oldest, middle),
        ("images, largest", every.clone(), largest, None),
        ("images, largest, deep", every.clone(), largest, middle),
        ("images of one in ten, deep", of(COLLECTOR), newest, middle),
        ("images of one in ten, largest, deep", of(COLLECTOR), largest, middle),
        ("images of somebody", of(SOMEBODY), newest, None),
        ("images of somebody, largest", of(SOMEBODY), largest, None),
        ("images like zanzibar", title("zanzibar"), newest, None),
        ("images like zanzibar, oldest", title("zanzibar"), oldest, None),
        ("images like zanzibar, largest", title("zanzibar"), largest, None),
        ("images like IMG_1235", title("IMG_1235"), newest, None),
        ("images like img, deep", title("img"), newest, middle),
        ("images like holiday, largest, deep", title("holiday"), largest, middle),
        ("images like rome 99, largest", title("rome 99"), largest, None),
        ("images like a title that was sampled", title(&sampled), newest, None),
        ("images like a title that was sampled, largest", title(&sampled), largest, None),
        ("images like xyzzy", title("xyzzy"), newest, None),
        ("images like Gdańsk, oldest", title("Gdańsk"), oldest, None),
        ("images whose words start with za", title("za"), newest, None),
        ("images whose words start with q", title("q"), newest, None),
        ("images whose words start with o, largest", title("o"), largest, None),
        (
            "images like img of one in ten",
            ImageFilter { owner: Some(COLLECTOR), ..title("img") },
            largest,
            None,
        ),
        (
            "images like xyzzy of one in ten",
            ImageFilter { owner: Some(COLLECTOR), ..title("xyzzy") },
            newest,
            None,
        ),
        ("images with a failed thumbnail", failed.clone(), newest, None),
        ("images with a failed thumbnail, oldest, deep", failed.clone(), oldest, middle),
        ("images with a failed thumbnail, largest, deep", failed.clone(), largest, middle),
        (
            "images with a failed thumbnail of somebody",
            ImageFilter { owner: Some(SOMEBODY), ..failed },
            newest,
            None,
        ),
    ] {
        measure(pool, what, async |connection| {
            images::page(connection, &filter, sort, after, LIMIT, now).await.map(|page| page.len())
        })
        .await;
    }
    measure(pool, "images, count", async |connection| images::count(connection).await.map(|_| 1)).await;
    let chosen: Vec<ImageId> = (1..=50).map(|n| ImageId(n * 19_999)).collect();
    measure(pool, "images by their numbers", async |connection| {
        images::find(connection, &chosen, now).await.map(|page| page.len())
    })
    .await;
}

async fn measure_links(pool: &PgPool, now: DateTime<Utc>) {
    let middle = LinkCursor { expires_at: now + TimeDelta::hours(4), id: LinkId(uuid::Uuid::nil()) };
    for (what, owner, after) in [
        ("links", None, None),
        ("links, deep", None, Some(middle)),
        ("links of one in ten", Some(COLLECTOR), None),
        ("links of one in ten, deep", Some(COLLECTOR), Some(middle)),
        ("links of somebody", Some(UserId(100)), None),
        ("links of somebody without images", Some(UserId(200_000)), None),
    ] {
        measure(pool, what, async |connection| {
            links::page(connection, owner, after, LIMIT, now).await.map(|page| page.len())
        })
        .await;
    }
    measure(pool, "links, count", async |connection| links::count(connection).await.map(|_| 1)).await;
}

async fn measure_jobs(pool: &PgPool) {
    let middle = "SELECT id FROM apalis.jobs ORDER BY id OFFSET 100000 LIMIT 1";
    let middle: String = sqlx::query_scalar(middle).fetch_one(pool).await.expect("a job");
    let middle = Some(middle.as_str());
    let (rare, common) = (Some(QUEUES[1]), Some(QUEUES[0]));
    for (what, state, queue, before) in [
        ("waiting jobs", JobState::Waiting, None, None),
        ("waiting jobs of a rare queue", JobState::Waiting, rare, None),
        ("running jobs", JobState::Running, None, None),
        ("failed jobs", JobState::Failed, None, None),
        ("failed jobs, deep", JobState::Failed, None, middle),
        ("failed jobs of a common queue", JobState::Failed, common, None),
        ("dead jobs", JobState::Dead, None, None),
        ("dead jobs, deep", JobState::Dead, None, middle),
        ("dead jobs of a rare queue, deep", JobState::Dead, rare, middle),
        ("dead jobs of an empty queue", JobState::Dead, Some(QUEUES[2]), None),
    ] {
        measure(pool, what, async |connection| {
            jobs::page(connection, state, queue, before, LIMIT).await.map(|page| page.len())
        })
        .await;
    }
    measure(pool, "queues", async |connection| {
        jobs::figures(connection, &QUEUES).await.map(|figures| figures.len())
    })
    .await;
}

async fn measure_history(pool: &PgPool) {
    let every = HistoryFilter::default();
    let of = |kind: &str| HistoryFilter { object_type: Some(kind.to_owned()), ..HistoryFilter::default() };
    let object =
        HistoryFilter { object: Some(("user".to_owned(), "8".to_owned())), ..HistoryFilter::default() };
    let actor = |id| HistoryFilter { actor: Some(UserId(id)), ..HistoryFilter::default() };
    for (what, filter, before) in [
        ("history", every.clone(), None),
        ("history, deep", every, Some(50_000)),
        ("history of a user", object, None),
        ("history of an administrator, deep", actor(10_000), Some(50_000)),
        ("history of somebody who did nothing", actor(17), None),
        ("history of tiers", of("tier"), None),
        ("history of users, deep", of("user"), Some(50_000)),
        ("history of a kind that is not there", of("comet"), None),
    ] {
        measure(pool, what, async |connection| {
            history::page(connection, &filter, before, LIMIT).await.map(|page| page.len())
        })
        .await;
    }
}
