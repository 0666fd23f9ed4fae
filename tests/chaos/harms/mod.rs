//! The table of harms.

mod apis;
mod backlog;
mod changes;
mod clocks;
mod database;
mod deletions;
mod failover;
mod locks;
mod storage;
mod together;
mod workers;

use std::{sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::{
    album::Album,
    load::{Rate, Upload},
    plan::Plan,
    report::Outcome,
    s3_proxy::Fault,
    site::Site,
};

/// What is done to the program, and what is checked afterwards.
pub(crate) struct Harm {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it mostly waits, and others may run at the same time.
    pub(crate) mostly_waits: bool,
    pub(crate) short_limit: Duration,
    pub(crate) long_limit: Duration,
    pub(crate) run: fn(Arc<Plan>) -> LocalBoxFuture<'static, Outcome>,
}

const SHORT_LIMIT: Duration = Duration::from_mins(2);
const LONG_LIMIT: Duration = Duration::from_mins(20);

/// How long thumbnails may take once a harm is over: retries are up to a minute apart.
const SHORT_PATIENCE: Duration = Duration::from_secs(40);
const LONG_PATIENCE: Duration = Duration::from_mins(3);

macro_rules! harm {
    ($name:literal, $about:literal, waits: $waits:literal, |$plan:ident| $run:expr) => {
        Harm {
            name: $name,
            about: $about,
            mostly_waits: $waits,
            short_limit: SHORT_LIMIT,
            long_limit: LONG_LIMIT,
            run: |$plan| Box::pin($run),
        }
    };
}

/// Every harm.
pub(crate) const HARMS: &[Harm] = &[
    harm!("worker-frozen", "a worker stands still in the middle of jobs, and goes on", waits: true,
        |plan| workers::freeze(plan)),
    harm!("s3-away", "the object store refuses connections", waits: true,
        |plan| storage::s3(plan, "s3-away", Fault::Away)),
    harm!("row-locks", "a session holds locks on rows of images, thumbnails and jobs", waits: true,
        |plan| locks::hold(plan)),
    harm!("postgres-away", "the database is stopped and comes back", waits: true,
        |plan| database::away(plan)),
    harm!("s3-errors", "a fifth of the store's answers are errors or resets", waits: true,
        |plan| storage::s3(plan, "s3-errors", Fault::Errors(20))),
    harm!("s3-cut-bodies", "a third of all bodies end early, in both directions", waits: true,
        |plan| storage::s3(plan, "s3-cut-bodies", Fault::CutBodies(33))),
    harm!("s3-full", "the store is full: writes answer 507", waits: true,
        |plan| storage::s3(plan, "s3-full", Fault::Full)),
    harm!("s3-read-only", "the store is read-only: writes answer 403", waits: true,
        |plan| storage::s3(plan, "s3-read-only", Fault::ReadOnly)),
    harm!("disk-full", "the data folder's disk is full", waits: true, |plan| storage::disk_full(plan)),
    harm!("postgres-frozen", "every process of the database stands still", waits: true,
        |plan| database::freeze(plan)),
    harm!("together-1-worker", "both heights of each image are asked for together", waits: false,
        |plan| together::together(plan, "together-1-worker", 1)),
    harm!("together-2-workers", "the same with two worker processes", waits: false,
        |plan| together::together(plan, "together-2-workers", 2)),
    harm!("together-4-workers", "the same with four worker processes", waits: false,
        |plan| together::together(plan, "together-4-workers", 4)),
    harm!("stampede", "many first requests of one thumbnail over two APIs", waits: false,
        |plan| together::stampede(plan)),
    harm!("worker-killed", "workers are killed under load", waits: false, |plan| workers::kill(plan)),
    harm!("api-killed", "the API is killed in the middle of uploads", waits: false, |plan| apis::kill(plan)),
    harm!("rolling-restart", "workers and APIs are replaced one by one under load", waits: false,
        |plan| apis::roll(plan)),
    harm!("postgres-killed", "the database is killed and started again", waits: false,
        |plan| database::kill(plan)),
    harm!("postgres-failover", "the primary is killed and its standby promoted", waits: false,
        |plan| failover::fail_over(plan)),
    harm!("deletions", "images are deleted while their thumbnails are made", waits: false,
        |plan| deletions::delete(plan)),
    harm!("clocks", "one API and one worker are two hours ahead, then behind", waits: false,
        |plan| clocks::skew(plan)),
    harm!("changes", "clients follow an account's changes while its APIs are killed", waits: false,
        |plan| changes::follow(plan)),
    harm!("backlog", "thousands of jobs of one account wait, and another makes first requests", waits: false, |plan| backlog::wait(plan)),
];

/// Clients that leave the machine something to do besides.
fn light() -> Rate {
    Rate { clients: 2, pause: Duration::from_millis(300), is_large: false }
}

fn patience(plan: &Plan) -> Duration {
    plan.pick(SHORT_PATIENCE, LONG_PATIENCE)
}

/// Images whose thumbnails nobody has asked for.
async fn probes(site: &Site, count: usize) -> Vec<Upload> {
    let pictures = (0..count).map(Album::small).collect();
    site.front.upload_all(&site.plan, pictures).await
}

/// Measures from the end of the harm to the bytes of the probes' thumbnails.
async fn recover(site: &Site, probes: &[Upload], since: Instant, outcome: &mut Outcome) {
    let limit = patience(&site.plan);
    for recovered in site.front.recover(&site.plan, probes, since, limit).await {
        match recovered {
            Some(time) => outcome.recovery.push(time),
            None => outcome
                .findings
                .find_broken(format!("no bytes for a first request within {} s", limit.as_secs())),
        }
    }
}
