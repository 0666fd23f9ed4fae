//! What images and thumbnails take in Postgres: rows, bytes with indexes, and WAL.

use std::{
    collections::BTreeMap,
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::join_all;
use image::{DynamicImage, ImageFormat};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Database, Plan};

const CLIENTS: usize = 8;
/// Images that are there before anything is counted, so that the first pages of tables and indexes
/// do not count.
const EARLIER_IMAGES: usize = 50;
const HEIGHTS: [&str; 2] = ["200 px high", "400 px high"];
/// A size of each table in bytes, with its indexes and its TOAST table, and its rows.
const TABLES: &str = "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'apalis'::regnamespace)";

/// The database at one moment.
struct Snapshot {
    tables: BTreeMap<String, i64>,
    wal: i64,
}

impl Database {
    /// All that was ever written to the log.
    pub(crate) async fn wal_bytes(&self) -> i64 {
        self.number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").await
    }

    async fn snapshot(&self) -> Snapshot {
        let tables: Vec<(String, i64)> =
            sqlx::query_as(TABLES).fetch_all(&self.pool).await.expect("sizes");
        Snapshot { tables: tables.into_iter().collect(), wal: self.wal_bytes().await }
    }
}

pub(crate) async fn measure(database: &Database, plan: &Plan) {
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(database.process.api().serve(listener, stop.clone()));
    let worker = database.process.worker(database.queue_pool()).expect("a worker");
    tokio::spawn(worker.run(stop.clone()));
    let client = log_in(&origin).await;

    let earlier = upload(&client, &origin, EARLIER_IMAGES).await;
    request(&client, earlier).await;
    let before = database.snapshot().await;
    let urls = upload(&client, &origin, plan.images).await;
    let uploaded = database.snapshot().await;
    let thumbnails = urls.len();
    request(&client, urls).await;
    let made = database.snapshot().await;
    print_growth("an image: 1 row and 1 for each height", &before, &uploaded, plan.images);
    print_growth("a thumbnail: its row changes, 1 row of a job", &uploaded, &made, thumbnails);
    let (api, worker) = (&database.process.services.pool, database.queue_pool());
    println!(
        "connections of the pools, without their listeners: API {}, worker {}",
        api.size(),
        worker.size()
    );
    stop.cancel();
}

async fn log_in(origin: &str) -> reqwest::Client {
    let client = reqwest::Client::builder().cookie_store(true).no_proxy().build();
    let client = client.expect("a client");
    let login = client.post(format!("{origin}/api/session"));
    let login = login.json(&json!({"username": "admin", "password": "admin"})).send().await;
    assert!(login.expect("a login").status().is_success());
    client
}

/// Uploads a small picture so often; the links of all thumbnails.
async fn upload(client: &reqwest::Client, origin: &str, images: usize) -> Vec<String> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(640, 480).write_to(&mut file, ImageFormat::Jpeg).expect("a JPEG");
    let file = file.into_inner();
    let next = Arc::new(AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(|_| {
        let (client, file, next) = (client.clone(), file.clone(), next.clone());
        let url = format!("{origin}/api/images");
        tokio::spawn(async move {
            let mut urls = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < images {
                let part = Part::bytes(file.clone()).file_name("IMG_20261122_101112.jpg");
                let form = Form::new().part("file", part);
                let answer = client.post(&url).multipart(form).send().await.expect("an answer");
                assert_eq!(answer.status(), 201);
                let image: Value = answer.json().await.expect("an image");
                let links = HEIGHTS.map(|key| image["file_urls"][key].as_str().map(str::to_owned));
                urls.extend(links.into_iter().flatten());
            }
            urls
        })
    });
    join_all(clients).await.into_iter().flat_map(|urls| urls.expect("uploads")).collect()
}

/// Requests each thumbnail, and waits for it.
async fn request(client: &reqwest::Client, urls: Vec<String>) {
    let (urls, next) = (Arc::new(urls), Arc::new(AtomicUsize::new(0)));
    let clients = (0..CLIENTS).map(|_| {
        let (client, urls, next) = (client.clone(), urls.clone(), next.clone());
        tokio::spawn(async move {
            while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = client.get(url).header("prefer", "wait=30").send().await;
                assert_eq!(answer.expect("an answer").status(), 200);
            }
        })
    });
    for client in join_all(clients).await {
        client.expect("thumbnails");
    }
}

fn print_growth(what: &str, before: &Snapshot, after: &Snapshot, count: usize) {
    let count = i64::try_from(count).expect("a count");
    let growth = |table: &String| after.tables[table] - before.tables.get(table).unwrap_or(&0);
    let total: i64 = after.tables.keys().map(growth).sum();
    println!(
        "{what}: {} bytes with indexes, {} bytes of WAL",
        total / count,
        (after.wal - before.wal) / count
    );
    for table in after.tables.keys().filter(|table| growth(table) != 0) {
        println!("  {table:<30} {:>6} bytes", growth(table) / count);
    }
}
