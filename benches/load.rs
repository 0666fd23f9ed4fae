//! How quick the whole chain is: `cargo bench --bench load [-- PHOTO.jpg]`.
//!
//! Starts a durable embedded Postgres, an API and a worker in this process, in a folder of its own,
//! and prints how long things take. The client is in the same process and shares its cores. Then it
//! tells one story to this service and to the Django server of `benches/peers/django`, on the same
//! Postgres, where `bin/django-peer` could install it.

#[path = "peers/django.rs"]
mod django;

use std::{
    env, fs,
    io::Cursor,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use django::DjangoPeer;
use embedded_postgres::{Durability, Server};
use futures::future::join_all;
use image::{DynamicImage, ImageFormat, RgbImage};
use pictier::{Config, Process, service};
use reqwest::{
    header::SET_COOKIE,
    multipart::{Form, Part},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    config::{self, StorageConfig},
    jobs::{self, Job, JobId},
    postgres,
    services::setup,
};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use worker::queue::Queues;

/// Connections of the API, and as many of the worker.
const CONNECTIONS: u32 = 40;
const JOBS: usize = 500;
const FIRST_REQUESTS: usize = 100;
const LIST_REQUESTS: usize = 300;
const CLIENTS: usize = 32;
const READY_TIME: Duration = Duration::from_secs(5);
/// Photos of the story that is told to two servers; as many as a page of our list has.
const STORY_PHOTOS: usize = 50;
/// Worker processes of gunicorn.
const PEER_WORKERS: usize = 2;

fn main() {
    // cargo passes --bench; what else there is names a photo
    let photo = env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = tempfile::tempdir().expect("a folder");
    let config = embedded_postgres::Config {
        root: folder.path().join("postgres"),
        durability: Durability::Durable,
        max_connections: 100,
        binaries: None,
    };
    let server = Server::start(&config, &|line| println!("{line}")).expect("a Postgres server");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&server, folder.path(), photo.as_deref()));
    runtime.shutdown_background();
}

async fn run(server: &Server, folder: &Path, photo: Option<&str>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!("{} cores, {}", cores, processor());
    postgres::create_database(&server.options("postgres"), "load").await.expect("a database");
    let mut config: Config = config::defaults();
    config.storage =
        StorageConfig { data_dir: folder.to_owned(), s3_bucket: None, s3_allow_http: false };
    config.database.database_connections = CONNECTIONS;
    config.limits.uploads_per_minute = i32::MAX;
    let pool = service::connect(&config, server.options("load")).await.expect("a pool");
    postgres::migrate(&pool).await.expect("the schema");
    let queue_pool =
        service::connect_for_queue(&config, server.options("load")).await.expect("a pool");
    enqueue_to_handler(&queue_pool).await;

    let stop = CancellationToken::new();
    let service = Service::start(config, &pool, queue_pool, &stop).await;
    let (photo, name) = match photo {
        Some(path) => {
            (fs::read(path).expect("a photo"), path.rsplit('/').next().unwrap_or(path).to_owned())
        }
        None => (noise(4032, 3024), "4032 × 3024 px of noise".to_owned()),
    };
    service.first_request_to_bytes(&photo, &name, FIRST_REQUESTS).await;
    service.first_request_to_bytes(&noise(800, 600), "800 × 600 px of noise", FIRST_REQUESTS).await;
    service.ready_thumbnails().await;
    beside_django(server, &service, &photo, &name).await;
    for images in [1_000, 100_000] {
        service.list(&pool, images).await;
    }
    stop.cancel();
}

/// One story told to this service and to Django, one after the other.
async fn beside_django(server: &Server, service: &Service, photo: &[u8], name: &str) {
    postgres::create_database(&server.options("postgres"), "peer").await.expect("a database");
    let database = server.options("peer");
    let starting =
        tokio::task::spawn_blocking(move || DjangoPeer::start(Some(&database), PEER_WORKERS)).await;
    let Some(peer) = starting.expect("a start") else { return };
    let django = Service::log_in_to_django(&peer.origin).await;
    for (whose, service) in [("Pictier", service), ("Django", &django)] {
        println!("-- {whose}");
        service.first_request_to_bytes(photo, name, STORY_PHOTOS).await;
        service.ready_thumbnails().await;
        service.list_of_story().await;
    }
}

/// The token against forged requests that Django sets.
fn token(answer: &reqwest::Response) -> String {
    let cookies =
        answer.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let mut tokens =
        cookies.filter_map(|cookie| cookie.strip_prefix("csrftoken=")?.split(';').next());
    tokens.next().expect("a token").to_owned()
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown processor", |(_, model)| model).to_owned()
}

/// A JPEG that compresses about as badly as a photo.
fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut state = 1_u32;
    let picture = RgbImage::from_fn(width, height, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let level = u8::try_from((x / 7 + y / 5 + (state >> 27)) % 256).unwrap_or_default();
        image::Rgb([level, 255 - level, level / 2])
    });
    let mut bytes = Vec::new();
    DynamicImage::ImageRgb8(picture)
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
        .expect("a JPEG");
    bytes
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{what:<58} p50 {:>8.2} ms   p99 {:>8.2} ms   n {}",
        percentile(50),
        percentile(99),
        times.len()
    );
}

#[derive(Serialize, Deserialize)]
struct Probe {}

impl Job for Probe {
    const QUEUE: &'static str = "probe";
    const MAX_ATTEMPTS: i32 = 1;
}

/// From the commit that makes a job to the start of its handler.
async fn enqueue_to_handler(pool: &PgPool) {
    let stop = CancellationToken::new();
    let (handled, mut starts) = mpsc::unbounded_channel();
    let queues = Queues::new(pool.clone(), Duration::from_secs(5), stop.clone());
    let queues = queues.handle(1, Duration::from_secs(5), move |_: Probe, _| {
        let sent = handled.send(Instant::now());
        async move { sent.map_err(|error| worker::queue::JobError::Failed(error.to_string())) }
    });
    let running = tokio::spawn(queues.run(stop.clone()));
    let mut times = Vec::with_capacity(JOBS);
    for number in 0..JOBS {
        let mut tx = postgres::begin(pool).await.expect("a transaction");
        jobs::enqueue(&mut tx, JobId::fresh(), &Probe {}).await.expect("a job");
        tx.commit().await.expect("a commit");
        let committed = Instant::now();
        let started = starts.recv().await.expect("a handler");
        times.push(started.saturating_duration_since(committed));
        // not in step with anything
        tokio::time::sleep(Duration::from_micros(500 * (number as u64 % 17))).await;
    }
    stop.cancel();
    running.await.expect("a queue").expect("a queue");
    report("enqueue to handler", times);
}

/// A running server, and somebody who is logged in.
struct Service {
    origin: String,
    client: reqwest::Client,
    /// What Django asks for with each change.
    token: String,
}

impl Service {
    async fn start(
        config: Config,
        pool: &PgPool,
        queue_pool: PgPool,
        stop: &CancellationToken,
    ) -> Self {
        let process = Process::open(config, pool.clone()).await.expect("a process");
        let mut connection = pool.acquire().await.expect("a connection");
        let prepared =
            setup::prepare(&mut connection, &process.config.superuser, &process.services.clock)
                .await;
        prepared.expect("a superuser");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let worker = process.worker(queue_pool).expect("a worker");
        tokio::spawn(process.api().serve(listener, stop.clone()));
        tokio::spawn(worker.run(stop.clone()));
        let client =
            reqwest::Client::builder().cookie_store(true).no_proxy().build().expect("a client");
        let login = client.post(format!("{origin}/api/session"));
        let login = login
            .json(&json!({"username": "admin", "password": "admin"}))
            .send()
            .await
            .expect("a login");
        assert!(login.status().is_success());
        Self { origin, client, token: String::new() }
    }

    async fn log_in_to_django(origin: &str) -> Self {
        let client = reqwest::Client::builder().cookie_store(true).no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let url = format!("{origin}/api-auth/login/");
        let page = client.get(&url).send().await.expect("a page");
        let token = token(&page);
        let fields =
            [("username", "admin"), ("password", "admin"), ("csrfmiddlewaretoken", &token)];
        let answer = client.post(&url).form(&fields).send().await.expect("a login");
        assert_eq!(answer.status(), 302);
        Self { origin: origin.to_owned(), client, token: self::token(&answer) }
    }

    async fn upload(&self, photo: &[u8]) -> Value {
        let form = Form::new().part("file", Part::bytes(photo.to_vec()).file_name("photo.jpg"));
        let request = self.client.post(format!("{}/api/images", self.origin)).multipart(form);
        let answer = request.header("x-csrftoken", &self.token).send().await;
        answer.expect("an upload").json().await.expect("an image")
    }

    /// From the first request of a thumbnail, which waits, to its last byte.
    async fn first_request_to_bytes(&self, photo: &[u8], name: &str, photos: usize) {
        let (mut uploads, mut times) = (Vec::new(), Vec::new());
        for _ in 0..photos {
            let started = Instant::now();
            let image = self.upload(photo).await;
            uploads.push(started.elapsed());
            let url = image["file_urls"]["200 px high"].as_str().expect("a link").to_owned();
            let started = Instant::now();
            let answer =
                self.client.get(url).header("prefer", "wait=30").send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answer.bytes().await.expect("bytes");
            times.push(started.elapsed());
        }
        report(&format!("upload to 201, {name}, {} KiB", photo.len() >> 10), uploads);
        report("first request to bytes, 200 px", times);
    }

    /// Requests of thumbnails that are ready, by many clients at once.
    async fn ready_thumbnails(&self) {
        let list: Value = self.get("/api/images?limit=50").await;
        let urls: Vec<String> = list
            .as_array()
            .expect("images")
            .iter()
            .map(|image| image["file_urls"]["200 px high"].as_str().expect("a link").to_owned())
            .collect();
        let (urls, answered, until) =
            (Arc::new(urls), Arc::new(AtomicUsize::new(0)), Instant::now() + READY_TIME);
        let clients = (0..CLIENTS).map(|client| {
            let (urls, answered, http) = (urls.clone(), answered.clone(), self.client.clone());
            tokio::spawn(async move {
                let mut next = client;
                while Instant::now() < until {
                    let answer =
                        http.get(&urls[next % urls.len()]).send().await.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.expect("bytes");
                    answered.fetch_add(1, Ordering::Relaxed);
                    next += 1;
                }
            })
        });
        join_all(clients).await;
        let rate = answered.load(Ordering::Relaxed) as u64 / READY_TIME.as_secs();
        println!("{:<58} {rate} requests a second, {CLIENTS} clients", "ready thumbnails");
    }

    async fn get(&self, path: &str) -> Value {
        let answer =
            self.client.get(format!("{}{path}", self.origin)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// The list as the story leaves it: its photos, one by one and not at once.
    async fn list_of_story(&self) {
        let mut times = Vec::with_capacity(LIST_REQUESTS);
        for _ in 0..LIST_REQUESTS {
            let started = Instant::now();
            assert_eq!(
                self.get("/api/images?limit=50").await.as_array().map(Vec::len),
                Some(STORY_PHOTOS)
            );
            times.push(started.elapsed());
        }
        report("list of 50", times);
    }

    /// The first page, and one in the middle, of an account that has so many images.
    async fn list(&self, pool: &PgPool, images: i32) {
        let insert =
            "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
            SELECT id, gen_random_uuid(), 'photo', 'jpeg', 4032, 3024, 4000000, now()
            FROM users, generate_series(1, $1 - (SELECT count(*) FROM images)::int)";
        sqlx::query(insert).bind(images).execute(pool).await.expect("images");
        let insert = "INSERT INTO thumbnails (id, image_id, height)
            SELECT gen_random_uuid(), images.id, h FROM images, unnest('{200,400}'::int[]) AS h
            ON CONFLICT DO NOTHING";
        sqlx::query(insert).execute(pool).await.expect("thumbnails");
        sqlx::query("ANALYZE").execute(pool).await.expect("statistics");
        let last = self.get("/api/images?limit=1").await[0]["pk"].as_i64().expect("a number");
        for (page, path) in [
            ("first page", "/api/images".to_owned()),
            ("middle page", format!("/api/images?cursor={}", last - i64::from(images) / 2)),
        ] {
            let mut times = Vec::with_capacity(LIST_REQUESTS);
            for _ in 0..LIST_REQUESTS {
                let started = Instant::now();
                assert_eq!(self.get(&path).await.as_array().map(Vec::len), Some(50));
                times.push(started.elapsed());
            }
            report(&format!("list of 50 among {images} images, {page}"), times);
        }
    }
}
