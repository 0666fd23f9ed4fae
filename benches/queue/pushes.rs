//! First requests of thumbnails that no worker makes: each enqueues a job.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Database, Plan, report, report_rate};

const CLIENTS: usize = 32;

pub(crate) async fn measure(database: &Database, plan: &Plan) {
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(database.process.api().serve(listener, stop.clone()));
    for owners in [1, 20, 1_000] {
        database.add_images(owners, plan.pushes).await;
        let before = database.wal_bytes().await;
        push_all(database, &origin, owners).await;
        let wal = database.wal_bytes().await - before;
        println!("{:<66} {:>8} bytes of WAL", "  each", wal / i64::from(plan.pushes));
    }
    let connections = database.process.services.pool.size();
    println!("{:<66} {connections:>8}", "  connections of the API's pool, without its listener");
    stop.cancel();
}

async fn push_all(database: &Database, origin: &str, owners: i32) {
    let urls = format!(
        "SELECT '{origin}/user_content/resized/photo-' || id || '.jpg' FROM thumbnails ORDER BY random()"
    );
    let urls = sqlx::query_scalar(sqlx::AssertSqlSafe(urls)).fetch_all(&database.pool).await;
    let urls: Arc<Vec<String>> = Arc::new(urls.expect("thumbnails"));
    let next = Arc::new(AtomicUsize::new(0));
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|_| {
        let (urls, next, http) = (urls.clone(), next.clone(), http.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
                let requested = Instant::now();
                let answer = http.get(url).send().await.expect("an answer");
                assert_eq!(answer.status(), 202, "{url}");
                answer.bytes().await.expect("bytes");
                times.push(requested.elapsed());
            }
            times
        })
    });
    let times = join_all(clients).await;
    let what = format!("first requests that enqueue, {owners} owners, {CLIENTS} clients");
    report_rate(&what, urls.len(), started);
    report("  each", times.into_iter().flat_map(|times| times.expect("a client")).collect());
    let waiting = database.number("SELECT count(*) FROM apalis.jobs WHERE status = 'Pending'");
    assert_eq!(usize::try_from(waiting.await), Ok(urls.len()));
}
