//! A primary that dies while its standby has every commit.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use super::{light, patience, probes, recover};
use crate::{
    cluster::{self, Postgres},
    load::Load,
    plan::Plan,
    report::Outcome,
    site::{Setup, Site},
    tcp_proxy::TcpProxy,
};

/// The primary is killed under load, its standby promoted, and the one address that everybody knows
/// leads there.
pub(super) async fn fail_over(plan: Arc<Plan>) -> Outcome {
    let setup = Setup::usual(&plan);
    let mut standby = block_in_place(|| plan.clusters.start_standby(&setup.postgres));
    wait_for_standby(&setup.postgres).await;
    let proxy = TcpProxy::start(setup.postgres.address()).await.expect("a proxy");
    let setup = Setup { database: Some(proxy.address), ..setup };
    let mut site = Site::start_with(&plan, "postgres-failover", setup, 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("postgres-failover");
    for round in 0..plan.pick(1, 5) {
        if round > 0 {
            standby = block_in_place(|| plan.clusters.start_standby(&site.postgres));
            wait_for_standby(&site.postgres).await;
        }
        let late = probes(&site, 5).await;
        let load = Load::start(&site.front, &plan, light(), &mut random);
        sleep(Duration::from_millis(random.u64(1000..2500))).await;
        block_in_place(|| {
            site.postgres.kill();
            standby.promote();
        });
        proxy.switch_to(standby.address());
        // the promotion is the database's own time
        let back = Instant::now();
        std::mem::swap(&mut site.postgres, &mut standby);
        recover(&site, &late, back, &mut outcome).await;
        load.stop().await;
    }
    site.finish(outcome, patience(&plan)).await
}

/// From here on a commit is acknowledged once the standby has it.
async fn wait_for_standby(primary: &Postgres) {
    let mut connection =
        PgConnection::connect(&cluster::url(primary.address())).await.expect("a connection");
    for statement in [
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::raw_sql(statement).execute(&mut connection).await.expect(statement);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_synchronous =
        "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
    while !sqlx::query_scalar::<_, bool>(is_synchronous)
        .fetch_one(&mut connection)
        .await
        .expect("a state")
    {
        assert!(Instant::now() < deadline, "the standby does not follow");
        sleep(Duration::from_millis(50)).await;
    }
}
