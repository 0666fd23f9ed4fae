//! Jobs that do nothing, through the real queue.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{
    domain::ThumbnailId,
    jobs::{self, Flow, GenerateThumbnail, Job, JobId},
    postgres,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use worker::queue::Queues;

use crate::{Database, Plan, cores};

const OWNERS: i32 = 20;
const HEARTBEAT: Duration = Duration::from_secs(5);
const TIME_LIMIT: Duration = Duration::from_secs(5);
const ACKNOWLEDGED: Duration = Duration::from_millis(5);

#[derive(Serialize, Deserialize)]
struct NoOp {}

impl Job for NoOp {
    const QUEUE: &'static str = "no-op";
    const MAX_ATTEMPTS: i32 = 1;
}

/// Enqueues jobs in one transaction, of a queue of their own and of that of the thumbnails, and
/// lets one worker handle them.
pub(crate) async fn measure(database: &Database, plan: &Plan) {
    let mut rates = BTreeMap::<_, Vec<u32>>::new();
    for _ in 0..plan.rounds {
        for concurrency in [1, cores(), 8 * cores()] {
            enqueue(database, plan.no_op_jobs).await;
            let rate = handle_all::<NoOp>(database, plan.no_op_jobs, concurrency).await;
            rates.entry((NoOp::QUEUE, concurrency)).or_default().push(rate);
            enqueue_thumbnails(database, plan.no_op_jobs).await;
            let rate =
                handle_all::<GenerateThumbnail>(database, plan.no_op_jobs, concurrency).await;
            rates.entry((GenerateThumbnail::QUEUE, concurrency)).or_default().push(rate);
        }
    }
    for ((queue, concurrency), mut rates) in rates {
        rates.sort_unstable();
        let what = format!("jobs that do nothing, queue {queue}, {concurrency} at a time");
        println!("{what:<66} {:>8} a second, rounds {rates:?}", rates[rates.len() / 2]);
    }
}

async fn enqueue(database: &Database, jobs: usize) {
    let mut tx = postgres::begin(&database.pool).await.expect("a transaction");
    for _ in 0..jobs {
        jobs::enqueue(&mut tx, JobId::fresh(), &NoOp {}).await.expect("a job");
    }
    tx.commit().await.expect("a commit");
}

async fn enqueue_thumbnails(database: &Database, jobs: usize) {
    database.add_images(OWNERS, i32::try_from(jobs).expect("a count")).await;
    let thumbnails = sqlx::query_scalar("SELECT id FROM thumbnails").fetch_all(&database.pool);
    let mut tx = postgres::begin(&database.pool).await.expect("a transaction");
    for thumbnail in thumbnails.await.expect("thumbnails") {
        let thumbnail = ThumbnailId(thumbnail);
        jobs::enqueue_thumbnail(&mut tx, JobId::fresh(), thumbnail, Flow::WaitedFor)
            .await
            .expect("a job");
    }
    tx.commit().await.expect("a commit");
}

/// Starts a worker whose handler does nothing; how many jobs a second were done in the end.
async fn handle_all<J>(database: &Database, jobs: usize, concurrency: usize) -> u32
where
    J: Job + DeserializeOwned + Send + Sync + Unpin + 'static,
{
    let stop = CancellationToken::new();
    let (handled, mut handlings) = mpsc::unbounded_channel();
    let queues = Queues::new(database.queue_pool(), HEARTBEAT, stop.clone());
    let queues = queues.handle(concurrency, TIME_LIMIT, move |_: J, _| {
        let sent = handled.send(());
        async move { sent.map_err(|error| worker::queue::JobError::Failed(error.to_string())) }
    });
    let started = Instant::now();
    let running = tokio::spawn(queues.run(stop.clone()));
    for _ in 0..jobs {
        handlings.recv().await.expect("a handler");
    }
    while database.number("SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'").await > 0 {
        tokio::time::sleep(ACKNOWLEDGED).await;
    }
    let time = started.elapsed();
    stop.cancel();
    running.await.expect("a queue").expect("a queue");
    let milliseconds = u32::try_from(time.as_millis()).expect("a time").max(1);
    u32::try_from(jobs).expect("a count") * 1_000 / milliseconds
}
