//! API processes that are killed in the middle of uploads, and ones that are replaced in order.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{light, patience, probes, recover};
use crate::{
    load::{Load, Rate},
    plan::Plan,
    report::{Outcome, tally},
    site::Site,
};

/// The API is killed while many uploads are under way, and started again.
pub(super) async fn kill(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "api-killed", 1, 1).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("api-killed");
    let kills: usize = plan.pick(5, 50);
    let mut rest = probes(&site, kills).await;
    let rate = Rate { clients: 12, pause: Duration::from_secs(1), is_large: false };
    let load = Load::start(&site.front, &plan, rate, &mut random);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.u64(200..700))).await;
        let killed = Instant::now();
        site.kill_api();
        site.start_api(&[]).await;
        let probe: Vec<_> = rest.pop().into_iter().collect();
        recover(&site, &probe, killed, &mut outcome).await;
    }
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}

/// Two APIs and two workers are replaced one by one with SIGTERM, while clients go on.
pub(super) async fn roll(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "rolling-restart", 2, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("rolling-restart");
    let rounds: usize = plan.pick(3, 20);
    let mut rest = probes(&site, 2 * rounds).await;
    let load = Load::start(&site.front, &plan, Rate { clients: 4, ..light() }, &mut random);
    for _ in 0..rounds {
        site.start_worker(&[]);
        sleep(Duration::from_millis(random.u64(300..800))).await;
        let stopped = Instant::now();
        if !site.stop_worker().await {
            outcome
                .findings
                .find_broken("a worker that was stopped exited with an error".to_owned());
        }
        let probe: Vec<_> = rest.pop().into_iter().collect();
        recover(&site, &probe, stopped, &mut outcome).await;
        site.start_api(&[]).await;
        sleep(Duration::from_millis(random.u64(100..400))).await;
        let stopped = Instant::now();
        if !site.stop_api().await {
            outcome.findings.find_broken("an API that was stopped exited with an error".to_owned());
        }
        site.tell_clients();
        let probe: Vec<_> = rest.pop().into_iter().collect();
        recover(&site, &probe, stopped, &mut outcome).await;
    }
    load.stop().await;
    expect_order(&site, &mut outcome).await;
    site.finish(outcome, patience(&plan)).await
}

/// No job was tried twice, and clients of a process that was stopped saw at most refused
/// connections.
async fn expect_order(site: &Site, outcome: &mut Outcome) {
    for (what, count) in site.front.failures() {
        if what != "connection failed" {
            outcome.findings.find_broken(format!("clients saw {count} × {what}"));
        }
    }
    site.wait_for_count(crate::verify::OPEN_JOBS, 0, patience(&site.plan)).await;
    let attempts: Vec<String> = sqlx::query_scalar(
        "SELECT attempts || ' attempts, ' || status FROM apalis.jobs WHERE job_type = 'thumbnails'",
    )
    .fetch_all(&site.pool)
    .await
    .expect("the jobs");
    let lost = attempts
        .iter()
        .filter(|job| !["1 attempts, Done", "0 attempts, Done"].contains(&job.as_str()));
    let lost: Vec<_> = lost.map(String::as_str).collect();
    if !lost.is_empty() {
        outcome.findings.find_broken(format!("{} jobs lost an attempt", lost.len()));
    }
    outcome.notes.push(format!("jobs: {}", tally(attempts.iter().map(String::as_str))));
}
