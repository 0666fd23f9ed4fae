//! Workers that are killed, and one that stands still.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{light, patience, probes, recover};
use crate::{
    album::Album,
    load::{Load, Rate},
    plan::Plan,
    report::Outcome,
    site::Site,
};

/// Workers are killed under load, one or both at a time.
pub(super) async fn kill(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "worker-killed", 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("worker-killed");
    let kills: usize = plan.pick(10, 100);
    let mut rest = probes(&site, kills).await;
    let rate = Rate { clients: 2, pause: Duration::from_millis(150), is_large: true };
    let load = Load::start(&site.front, &plan, rate, &mut random);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.u64(100..500))).await;
        let both = 1 + usize::from(random.bool());
        let killed = Instant::now();
        for _ in 0..both {
            site.kill_worker();
            site.start_worker(&[]);
        }
        let probe: Vec<_> = rest.pop().into_iter().collect();
        recover(&site, &probe, killed, &mut outcome).await;
    }
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}

/// A worker stands still in the middle of jobs, long enough to count as dead, and then goes on with
/// them.
pub(super) async fn freeze(plan: Arc<Plan>) -> Outcome {
    let site = Site::start(&plan, "worker-frozen", 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("worker-frozen");
    let late = probes(&site, plan.pick(5, 20)).await;
    let backlog = (0..plan.pick(16, 60)).map(Album::large).collect();
    let backlog = site.front.upload_all(&plan, backlog).await;
    for upload in &backlog {
        site.front.ask(&plan, upload).await;
    }
    sleep(Duration::from_millis(random.u64(0..100))).await;
    site.signal_worker(0, Signal::STOP);
    let held =
        site.count("SELECT count(*) FROM apalis.jobs WHERE status IN ('Queued', 'Running')").await;
    outcome.notes.push(format!("{held} jobs were under way when the worker stood still"));
    let load = Load::start(&site.front, &plan, light(), &mut random);
    sleep(plan.pick(Duration::from_secs(25), Duration::from_mins(1))).await;
    site.signal_worker(0, Signal::CONT);
    let thawed = Instant::now();
    recover(&site, &late, thawed, &mut outcome).await;
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}
