//! A session that somebody forgot, with locks on rows.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::{patience, probes};
use crate::{
    cluster,
    load::{Load, Rate, Upload},
    plan::Plan,
    report::Outcome,
    site::Site,
};

/// Images of which each kind of row is locked.
const LOCKED: usize = 4;
/// While rows of others are locked a first request may take this long.
const LATENCY_MAX: Duration = Duration::from_secs(10);
/// After this long it is given up.
const GIVE_UP: Duration = Duration::from_secs(45);

/// Rows of images, of thumbnails and of jobs are locked, each kind of other images, while workers
/// want them.
pub(super) async fn hold(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "row-locks", 1, 0).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("row-locks");
    let victims = probes(&site, 3 * LOCKED).await;
    for victim in &victims {
        site.front.ask(&plan, victim).await;
    }
    let rounds: usize = plan.pick(15, 60);
    let others = probes(&site, rounds).await;
    let mut session = lock(&site, &victims).await;
    let locked = Instant::now();
    site.start_worker(&[]);
    site.start_worker(&[]);
    let rate = Rate { clients: 1, pause: Duration::from_millis(500), is_large: false };
    let load = Load::start(&site.front, &plan, rate, &mut random);
    let until = locked + Duration::from_secs(rounds as u64);
    let asks = others.iter().enumerate().map(|(second, other)| {
        let (front, plan) = (&site.front, &plan);
        async move {
            let asked = locked + Duration::from_secs(second as u64);
            tokio::time::sleep_until(asked).await;
            front.recover(plan, std::slice::from_ref(other), asked, GIVE_UP).await
        }
    });
    let answered: Vec<_> = join_all(asks).await.concat();
    let is_late = |answer: &&Option<Duration>| answer.is_none_or(|took| took > LATENCY_MAX);
    let late = answered.iter().filter(is_late).count();
    if late > 0 {
        let limit = LATENCY_MAX.as_secs();
        outcome.findings.find_broken(format!(
            "{late} first requests of other images took longer than {limit} s"
        ));
    }
    outcome.recovery.extend(answered.into_iter().flatten());
    tokio::time::sleep_until(until).await;
    outcome
        .notes
        .push("recovery: first requests of other images while the rows were locked".to_owned());
    sqlx::raw_sql("ROLLBACK").execute(&mut session).await.expect("the end of the locks");
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}

async fn lock(site: &Site, victims: &[Upload]) -> PgConnection {
    let url = cluster::url(site.postgres.address());
    let mut session = PgConnection::connect(&url).await.expect("a connection");
    sqlx::raw_sql("BEGIN").execute(&mut session).await.expect("a transaction");
    let statements = [
        "SELECT FROM images WHERE id = ANY ($1) FOR UPDATE",
        "SELECT FROM thumbnails WHERE image_id = ANY ($1) FOR UPDATE",
        "SELECT FROM apalis.jobs WHERE id IN (SELECT job_id FROM thumbnails WHERE image_id = ANY ($1)) FOR UPDATE",
    ];
    for (statement, images) in statements.into_iter().zip(victims.chunks(LOCKED)) {
        let images: Vec<i64> = images.iter().map(|image| image.pk).collect();
        let locked =
            sqlx::query(statement).bind(images).fetch_all(&mut session).await.expect("locks");
        assert!(!locked.is_empty(), "nothing was locked by {statement}");
    }
    session
}
