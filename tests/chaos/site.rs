//! One harm's installation: a Postgres, a store, and API and worker processes that can be killed.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tokio::{task::block_in_place, time::Instant};

use crate::{
    client::Client,
    cluster::{self, Postgres},
    load::Front,
    objects::{self, Objects},
    plan::Plan,
    processes::{Pictier, Running},
    report::Outcome,
    s3_server,
};

const CONNECTIONS: u32 = 10;

/// Where the files are.
pub(crate) enum Store {
    Disk,
    /// A bucket that is reached through a proxy.
    S3 {
        server: SocketAddr,
        proxy: SocketAddr,
        bucket: String,
    },
}

/// Settings that differ from the usual ones.
pub(crate) struct Setup {
    pub(crate) postgres: Postgres,
    /// The address at which the database is reached, if it is not the server's own.
    pub(crate) database: Option<SocketAddr>,
    pub(crate) store: Store,
    /// The data folder, if it is not a new one.
    pub(crate) data: Option<PathBuf>,
}

impl Setup {
    pub(crate) fn usual(plan: &Plan) -> Self {
        Self {
            postgres: block_in_place(|| plan.clusters.start(&[])),
            database: None,
            store: Store::Disk,
            data: None,
        }
    }
}

/// A process of the program with what it is started with again.
struct Process {
    running: Running,
    origin: String,
}

/// An installation; its processes end when it is dropped.
pub(crate) struct Site {
    harm: &'static str,
    pub(crate) plan: Arc<Plan>,
    pub(crate) front: Arc<Front>,
    pub(crate) pool: PgPool,
    pub(crate) store: Store,
    database: SocketAddr,
    data: PathBuf,
    apis: Vec<Process>,
    workers: Vec<Running>,
    /// Lines of processes that have ended.
    said: Vec<String>,
    // dropped after the processes that use them
    pub(crate) postgres: Postgres,
    _folder: TempDir,
}

impl Site {
    /// The usual installation with so many API and worker processes.
    pub(crate) async fn start(
        plan: &Arc<Plan>,
        harm: &'static str,
        apis: usize,
        workers: usize,
    ) -> Self {
        Self::start_with(plan, harm, Setup::usual(plan), apis, workers).await
    }

    pub(crate) async fn start_with(
        plan: &Arc<Plan>,
        harm: &'static str,
        setup: Setup,
        apis: usize,
        workers: usize,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = setup.database.unwrap_or_else(|| setup.postgres.address());
        let pool =
            PgPoolOptions::new().max_connections(CONNECTIONS).connect_lazy(&cluster::url(database));
        let mut site = Self {
            harm,
            plan: plan.clone(),
            front: Arc::new(Front::new(Client::new("http://unused"))),
            pool: pool.expect("a pool"),
            store: setup.store,
            database,
            data: setup.data.unwrap_or_else(|| folder.path().to_owned()),
            apis: Vec::new(),
            workers: Vec::new(),
            said: Vec::new(),
            postgres: setup.postgres,
            _folder: folder,
        };
        site.prepare().await;
        for _ in 0..apis {
            site.start_api(&[]).await;
        }
        let login = format!("{}/api/session", site.apis[0].origin);
        let login = site
            .front
            .client
            .post(&login, serde_json::json!({"username": "admin", "password": "admin"}));
        login.await.expect(StatusCode::OK);
        for _ in 0..workers {
            site.start_worker(&[]);
        }
        site
    }

    async fn prepare(&self) {
        if let Store::S3 { server, bucket, .. } = &self.store {
            s3_server::create_bucket(*server, bucket).await;
        }
        let migrated = self.run(&["migrate"]).await;
        assert!(migrated.status.success(), "{migrated:?}");
        for statement in COUNT_COMPLETIONS {
            sqlx::query(statement).execute(&self.pool).await.expect(statement);
        }
    }

    /// The program with what every process of this installation needs.
    fn pictier(&self, arguments: &[&str]) -> Pictier {
        let heartbeat = self.plan.pick("1", "5");
        let mut program = Pictier::new(&self.data)
            .args(arguments)
            .env("DATABASE_URL", cluster::url(self.database))
            .env("UPLOADS_PER_MINUTE", "1000000")
            .env("WORKER_HEARTBEAT_SECONDS", heartbeat)
            .env("WORKER_CONCURRENCY", "2");
        if let Store::S3 { proxy, bucket, .. } = &self.store {
            program = program
                .env("S3_BUCKET", bucket)
                .env("S3_ALLOW_HTTP", "true")
                .env("AWS_ENDPOINT", format!("http://{proxy}"))
                .env("AWS_REGION", "us-east-1")
                .env("AWS_ACCESS_KEY_ID", "chaos")
                .env("AWS_SECRET_ACCESS_KEY", "chaos");
        }
        program
    }

    /// Runs a role to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[]).await
    }

    pub(crate) async fn run_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Output {
        let program = with(self.pictier(arguments), environment);
        tokio::task::spawn_blocking(move || program.output()).await.expect("an output")
    }

    /// Starts another API process; clients use it as well.
    pub(crate) async fn start_api(&mut self, environment: &[(&str, String)]) {
        let mut running = with(self.pictier(&["api"]), environment).start();
        let origin = running.origin().await;
        self.apis.push(Process { running, origin });
        self.tell_clients();
    }

    pub(crate) fn start_worker(&mut self, environment: &[(&str, String)]) {
        self.workers.push(with(self.pictier(&["worker"]), environment).start());
    }

    /// Clients ask the processes that run, and no others.
    pub(crate) fn tell_clients(&self) {
        self.front.set_origins(self.apis.iter().map(|api| api.origin.clone()).collect());
    }

    /// Kills the oldest worker.
    pub(crate) fn kill_worker(&mut self) {
        let worker = self.workers.remove(0);
        self.said.extend(worker.said());
        worker.kill();
    }

    /// Kills the oldest API process. Clients go on asking there until another is started in its
    /// place.
    pub(crate) fn kill_api(&mut self) {
        let api = self.apis.remove(0);
        self.said.extend(api.running.said());
        api.running.kill();
    }

    /// Stops the oldest worker as an operator does; whether it ended well.
    pub(crate) async fn stop_worker(&mut self) -> bool {
        stop(self.workers.remove(0), &mut self.said).await
    }

    /// Stops the oldest API process as an operator does; clients still ask there.
    pub(crate) async fn stop_api(&mut self) -> bool {
        stop(self.apis.remove(0).running, &mut self.said).await
    }

    pub(crate) fn signal_worker(&self, index: usize, signal: Signal) {
        self.workers[index].signal(signal);
    }

    /// Every line that processes logged.
    pub(crate) fn said(&self) -> Vec<String> {
        let running = self.apis.iter().map(|api| &api.running).chain(&self.workers);
        self.said.iter().cloned().chain(running.flat_map(Running::said)).collect()
    }

    pub(crate) async fn count(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool).await.expect("a count")
    }

    /// Waits until a count is `wanted`; whether it became that in time.
    pub(crate) async fn wait_for_count(&self, query: &str, wanted: i64, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let counted =
                sqlx::query_scalar::<_, i64>(AssertSqlSafe(query)).fetch_one(&self.pool).await;
            if counted.is_ok_and(|count| count == wanted) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every object of the store.
    pub(crate) async fn objects(&self) -> Objects {
        match &self.store {
            Store::Disk => objects::on_disk(&self.data.join("media")).expect("a listing"),
            Store::S3 { server, bucket, .. } => {
                objects::in_bucket(*server, bucket).await.expect("a listing")
            }
        }
    }

    /// Puts copies of an image's original on the disk, by their ids.
    pub(crate) async fn link_originals(&self, image: i64, ids: &[String]) {
        let name = "SELECT original_id::text || CASE format WHEN 'png' THEN '.png' ELSE '.jpg' END FROM images WHERE id = $1";
        let name: String =
            sqlx::query_scalar(name).bind(image).fetch_one(&self.pool).await.expect("a name");
        let (source, extension) =
            (name.clone(), name.rsplit('.').next().unwrap_or_default().to_owned());
        let path = |name: &str| self.data.join("media/originals").join(&name[..2]).join(name);
        for id in ids {
            let target = path(&format!("{id}.{extension}"));
            fs::create_dir_all(target.parent().unwrap_or(&target)).expect("a folder");
            fs::hard_link(path(&source), target).expect("another name of the original");
        }
    }

    /// Checks everything once the harm is over: every thumbnail has to be ready within `limit`.
    pub(crate) async fn finish(self, mut outcome: Outcome, limit: Duration) -> Outcome {
        self.check(&mut outcome, limit).await;
        self.keep_log();
        outcome
    }

    fn keep_log(&self) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
        let log = folder.join(format!("{}.log", self.harm));
        let kept =
            fs::create_dir_all(&folder).and_then(|()| fs::write(&log, self.said().join("\n")));
        kept.expect("a log that can be kept");
    }
}

fn with(program: Pictier, environment: &[(&str, String)]) -> Pictier {
    environment.iter().fold(program, |program, (name, value)| program.env(name, value))
}

async fn stop(process: Running, said: &mut Vec<String>) -> bool {
    said.extend(process.said());
    process.stop().await.success()
}

/// Has the database count every time that a thumbnail becomes ready, in any process.
const COUNT_COMPLETIONS: [&str; 3] = [
    "CREATE TABLE completions (thumbnail uuid NOT NULL, attempt bigint NOT NULL)",
    "CREATE FUNCTION count_completion() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
         INSERT INTO public.completions VALUES (NEW.id, coalesce((to_jsonb(NEW) ->> 'attempt')::bigint, 0));
         RETURN NULL;
     END $$",
    "CREATE TRIGGER completions AFTER UPDATE OF state ON thumbnails FOR EACH ROW
     WHEN (NEW.state = 'ready') EXECUTE FUNCTION count_completion()",
];
