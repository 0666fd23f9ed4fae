//! Clients follow an account's changes while API processes are killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{patience, probes};
use crate::{load::Front, plan::Plan, report::Outcome, site::Site};

/// Transactions that rename images at the same time.
const WRITERS: u64 = 8;
/// The most images that one of them renames.
const RENAMES_MAX: u64 = 20;
/// One of so many transactions is slow to commit.
const SLOW_ONE_IN: u64 = 50;
const SLOW: Duration = Duration::from_millis(30);
const RENAME: &str = "UPDATE images SET title = md5(random()::text) WHERE id = $1";
const LAST: &str = "SELECT coalesce(max(last), 0) FROM change_counters";
/// How long a client waits for an answer beyond what it asks the server to wait.
const REPLY_TIME: Duration = Duration::from_secs(5);
/// Pause before a client connects again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Two clients that poll and one that reads the stream see every change once and in order, although
/// transactions commit in another order than they begin, and the APIs are killed.
pub(super) async fn follow(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "changes", 2, 1).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("changes");
    let wanted: i64 = plan.pick(3_000, 100_000);
    let images: Arc<Vec<i64>> =
        Arc::new(probes(&site, 40).await.iter().map(|image| image.pk).collect());
    let start = current(&site.front).await;
    let first = number(&start);
    let writing = CancellationToken::new();
    let until = Until { last: Arc::new(AtomicI64::new(i64::MAX)), end: CancellationToken::new() };
    let readers: Vec<JoinHandle<Vec<i64>>> = vec![
        tokio::spawn(poll(site.front.clone(), start.clone(), until.clone(), random.fork())),
        tokio::spawn(poll(site.front.clone(), start.clone(), until.clone(), random.fork())),
        tokio::spawn(stream(site.front.clone(), start, until.clone())),
    ];
    let writers: Vec<JoinHandle<()>> = (0..WRITERS)
        .map(|_| {
            let pool = site.pool.clone();
            tokio::spawn(write(pool, images.clone(), writing.clone(), random.fork()))
        })
        .collect();
    let mut kills = 0;
    while site.count(LAST).await < first + wanted {
        sleep(Duration::from_millis(random.u64(200..800))).await;
        site.kill_api();
        site.start_api(&[]).await;
        kills += 1;
    }
    writing.cancel();
    for writer in writers {
        writer.await.expect("a writer");
    }
    let last = site.count(LAST).await;
    // readers stop once they have seen the last change, or have had the time to
    until.last.store(last, Ordering::SeqCst);
    let deadline = Instant::now() + patience(&plan);
    while Instant::now() < deadline && readers.iter().any(|reader| !reader.is_finished()) {
        sleep(Duration::from_millis(50)).await;
    }
    until.end.cancel();
    for reader in readers {
        check(&reader.await.expect("a reader"), first, last, &mut outcome);
    }
    outcome.notes.push(format!("{} changes, 3 readers, {kills} APIs killed", last - first));
    site.finish(outcome, patience(&plan)).await
}

/// When a reader stops.
#[derive(Clone)]
struct Until {
    /// The number of the last change, once it is known.
    last: Arc<AtomicI64>,
    /// The time is up.
    end: CancellationToken,
}

impl Until {
    fn is_reached(&self, cursor: &str) -> bool {
        self.end.is_cancelled() || number(cursor) >= self.last.load(Ordering::SeqCst)
    }
}

fn check(seen: &[i64], first: i64, last: i64, outcome: &mut Outcome) {
    let mut expected = first;
    for number in seen {
        expected += 1;
        if *number > expected {
            outcome.findings.lose(format!("changes {expected} to {} were not told", number - 1));
        }
        if *number < expected {
            outcome.findings.double(format!("change {number} was told after {}", expected - 1));
        }
        expected = *number;
    }
    if expected < last {
        outcome.findings.lose(format!("changes {} to {last} were not told", expected + 1));
    }
}

fn number(cursor: &str) -> i64 {
    let number = cursor.split_once('-').and_then(|(_, number)| number.parse().ok());
    number.expect("a cursor")
}

async fn current(front: &Front) -> String {
    let request = front.request(Method::GET, "/api/changes");
    let reply = front.send(request, REPLY_TIME).await;
    let reply = reply.unwrap_or_else(|_| panic!("no answer before the harm"));
    let json: Value = serde_json::from_slice(&reply.body).expect("JSON");
    json["cursor"].as_str().expect("a cursor").to_owned()
}

async fn write(
    pool: sqlx::PgPool,
    images: Arc<Vec<i64>>,
    stop: CancellationToken,
    mut random: Rng,
) {
    while !stop.is_cancelled() {
        let count = random.u64(1..=RENAMES_MAX);
        let mut chosen: Vec<i64> =
            (0..count).map(|_| images[random.usize(0..images.len())]).collect();
        // locked in one order
        chosen.sort_unstable();
        chosen.dedup();
        let mut tx = shared::postgres::begin(&pool).await.expect("a transaction");
        for image in chosen {
            sqlx::query(RENAME).bind(image).execute(&mut *tx).await.expect("a new title");
        }
        if random.u64(0..SLOW_ONE_IN) == 0 {
            sleep(SLOW).await;
        }
        tx.commit().await.expect("a commit");
    }
}

/// Polls with any number of changes in an answer; the numbers that it saw.
async fn poll(front: Arc<Front>, mut cursor: String, until: Until, mut random: Rng) -> Vec<i64> {
    let mut seen = Vec::new();
    while !until.is_reached(&cursor) {
        let limit = [1, 7, 200, 1000][random.usize(0..4)];
        let path = format!("/api/changes?after={cursor}&limit={limit}");
        let request = front.request(Method::GET, &path).header("prefer", "wait=1");
        let Ok(reply) = front.send(request, REPLY_TIME).await else {
            sleep(RETRY_PAUSE).await;
            continue;
        };
        if reply.status != StatusCode::OK {
            sleep(RETRY_PAUSE).await;
            continue;
        }
        let json: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let changes = json["changes"].as_array().expect("changes");
        seen.extend(changes.iter().map(|change| number(change["cursor"].as_str().expect("one"))));
        json["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
    }
    seen
}

/// Reads the stream, and goes on where it ended; the numbers that it saw.
async fn stream(front: Arc<Front>, mut cursor: String, until: Until) -> Vec<i64> {
    let mut seen = Vec::new();
    while !until.is_reached(&cursor) {
        let request = front.request(Method::GET, "/api/changes");
        let request =
            request.header("accept", "text/event-stream").header("last-event-id", &cursor);
        let Ok(mut stream) = request.send().await else {
            sleep(RETRY_PAUSE).await;
            continue;
        };
        let mut text = String::new();
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(REPLY_TIME, stream.chunk()).await {
            text.push_str(&String::from_utf8_lossy(&chunk));
            // an event ends with an empty line; what was cut short is sent again
            while let Some(length) = text.find("\n\n") {
                let event: String = text.drain(..length + 2).collect();
                let id = event.lines().find_map(|line| line.strip_prefix("id: "));
                if let Some(id) = id.filter(|_| !event.contains("event: start")) {
                    seen.push(number(id));
                    id.clone_into(&mut cursor);
                }
            }
            if until.is_reached(&cursor) {
                break;
            }
        }
    }
    seen
}
