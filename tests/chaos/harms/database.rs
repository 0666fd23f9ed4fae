//! A database that is killed, away, or stands still.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use super::{light, patience, probes, recover};
use crate::{load::Load, plan::Plan, report::Outcome, site::Site};

/// Every process of the database is killed under load, and it is started again at once.
pub(super) async fn kill(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "postgres-killed", 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("postgres-killed");
    let kills: usize = plan.pick(3, 30);
    let mut rest = probes(&site, 3 * kills).await;
    let load = Load::start(&site.front, &plan, light(), &mut random);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.u64(300..1200))).await;
        block_in_place(|| {
            site.postgres.kill();
            site.postgres.start();
        });
        let back = Instant::now();
        let probe = rest.split_off(rest.len() - 3);
        recover(&site, &probe, back, &mut outcome).await;
    }
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}

/// The database is stopped, and comes back after a while.
pub(super) async fn away(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "postgres-away", 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("postgres-away");
    let late = probes(&site, plan.pick(5, 20)).await;
    let load = Load::start(&site.front, &plan, light(), &mut random);
    sleep(Duration::from_secs(1)).await;
    block_in_place(|| site.postgres.stop());
    sleep(plan.pick(Duration::from_secs(10), Duration::from_mins(1))).await;
    block_in_place(|| site.postgres.start());
    let back = Instant::now();
    recover(&site, &late, back, &mut outcome).await;
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}

/// Every process of the database stands still, with its connections open, and goes on.
pub(super) async fn freeze(plan: Arc<Plan>) -> Outcome {
    let site = Site::start(&plan, "postgres-frozen", 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("postgres-frozen");
    let late = probes(&site, plan.pick(5, 20)).await;
    let load = Load::start(&site.front, &plan, light(), &mut random);
    sleep(Duration::from_secs(1)).await;
    site.postgres.freeze();
    sleep(plan.pick(Duration::from_secs(8), Duration::from_secs(30))).await;
    site.postgres.thaw();
    let back = Instant::now();
    recover(&site, &late, back, &mut outcome).await;
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}
