//! The scheduler against a model of start-time fair queueing (Goyal, Vin and Cheng, 1996): any order
//! of arrivals, claims, failures and promotions.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use shared::{db, domain::ThumbnailId, jobs::Flow};
use sqlx::{PgConnection, PgPool};
use tokio::runtime::Runtime;

use super::{claim, request, thumbnails_of, with_owners};

const OWNERS: i64 = 3;
const MAX_STEPS: usize = 60;

#[derive(Clone, Copy, Debug)]
enum Step {
    Enqueue {
        owner: i64,
        flow: Flow,
    },
    /// A worker takes a job, which then succeeds or fails and is due again at once.
    Work {
        succeeds: bool,
    },
    /// Somebody asks for the thumbnail of the first prepared job that waits.
    Promote,
}

fn step() -> impl Strategy<Value = Step> {
    let flow = prop_oneof![Just(Flow::WaitedFor), Just(Flow::Prepared)];
    prop_oneof![
        4 => (1..=OWNERS, flow).prop_map(|(owner, flow)| Step::Enqueue { owner, flow }),
        3 => any::<bool>().prop_map(|succeeds| Step::Work { succeeds }),
        1 => Just(Step::Promote),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    owner: i64,
    flow: Flow,
    tag: i64,
    thumbnail: ThumbnailId,
    /// Virtual time at the arrival.
    arrived_at: i64,
    /// The place in the order in which jobs became due, which decides between equal tags.
    due: usize,
    /// Whether it was promoted, and so has a tag of another flow.
    is_promoted: bool,
}

/// What the database should do.
#[derive(Default)]
struct Model {
    virtual_time: i64,
    finish: BTreeMap<(i64, bool), i64>,
    waiting: Vec<(String, Waiting)>,
    /// Failed jobs, in the order in which they became due.
    failed: Vec<(String, Waiting)>,
    became_due: usize,
}

fn cost(flow: Flow) -> i64 {
    match flow {
        Flow::WaitedFor => 1,
        Flow::Prepared => 4,
    }
}

impl Model {
    fn start_tag(&mut self, owner: i64, flow: Flow) -> i64 {
        let finish = self.finish.entry((owner, flow == Flow::Prepared)).or_default();
        let start = self.virtual_time.max(*finish);
        *finish = start + cost(flow);
        start
    }

    fn arrive(&mut self, job: String, owner: i64, flow: Flow, thumbnail: ThumbnailId) {
        let (tag, arrived_at) = (self.start_tag(owner, flow), self.virtual_time);
        let due = self.becomes_due();
        self.waiting.push((
            job,
            Waiting { owner, flow, tag, thumbnail, arrived_at, due, is_promoted: false },
        ));
    }

    fn becomes_due(&mut self) -> usize {
        self.became_due += 1;
        self.became_due
    }

    fn fail(&mut self, job: String, waiting: Waiting) {
        let due = self.becomes_due();
        self.failed.push((job, Waiting { due, ..waiting }));
    }

    /// The job that is next. A failed one that is due arrives anew before.
    fn claim(&mut self) -> Option<(String, Waiting)> {
        if !self.failed.is_empty() {
            let (job, failed) = self.failed.remove(0);
            let tag = self.start_tag(failed.owner, failed.flow);
            self.waiting.push((
                job,
                Waiting { tag, arrived_at: self.virtual_time, is_promoted: false, ..failed },
            ));
        }
        let order = |(_, (_, job)): &(usize, &(String, Waiting))| (job.tag, job.due);
        let (at, _) = self.waiting.iter().enumerate().min_by_key(order)?;
        let claimed = self.waiting.remove(at);
        self.virtual_time = self.virtual_time.max(claimed.1.tag);
        Some(claimed)
    }
}

/// A claimed job waited no longer than its share allows: of each other flow, at most as many jobs
/// came before it as fit between its arrival and its tag, and one more.
fn assert_share(claimed: &Waiting, served: &[Waiting]) {
    let mut before = BTreeMap::<(i64, bool), i64>::new();
    for other in served {
        let flow = (other.owner, other.flow == Flow::Prepared);
        if flow != (claimed.owner, claimed.flow == Flow::Prepared)
            && other.tag >= claimed.arrived_at
            && !other.is_promoted
        {
            let count = before.entry(flow).or_default();
            *count += 1;
            let allowed = (claimed.tag - claimed.arrived_at) / cost(other.flow) + 1;
            assert!(*count <= allowed, "{claimed:?} came after {count} jobs of {other:?}");
        }
    }
}

async fn virtual_time(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT virtual_time()").fetch_one(connection).await.expect("a time")
}

async fn clear(connection: &mut PgConnection) {
    for statement in [
        "DELETE FROM apalis.jobs",
        "DELETE FROM queue_shares",
        "UPDATE thumbnails SET state = 'absent', job_id = NULL",
        "SELECT setval('queue_virtual_time', 0, false)",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.expect("an empty queue");
    }
}

struct Run<'a> {
    connection: &'a mut PgConnection,
    model: Model,
    thumbnails: BTreeMap<i64, Vec<ThumbnailId>>,
    served: Vec<Waiting>,
}

impl Run<'_> {
    async fn enqueue(&mut self, owner: i64, flow: Flow) {
        let thumbnail = self.thumbnails.get_mut(&owner).and_then(Vec::pop).expect("a thumbnail");
        let job = request(self.connection, thumbnail, flow).await;
        self.model.arrive(job.to_string(), owner, flow, thumbnail);
    }

    async fn work(&mut self, succeeds: bool) -> bool {
        let before = virtual_time(self.connection).await;
        let claimed = claim(self.connection).await;
        let expected = self.model.claim();
        assert_eq!(claimed.as_ref(), expected.as_ref().map(|(job, _)| job));
        let now = virtual_time(self.connection).await;
        assert!(now >= before, "virtual time went back from {before} to {now}");
        assert_eq!(now, self.model.virtual_time);
        let Some((job, waiting)) = expected else { return false };
        assert_share(&waiting, &self.served);
        self.served.push(waiting);
        let end = if succeeds {
            "UPDATE apalis.jobs SET status = 'Done', done_at = now() WHERE id = $1"
        } else {
            self.model.fail(job.clone(), waiting);
            "UPDATE apalis.jobs SET status = 'Failed', max_attempts = 1000, done_at = now() WHERE id = $1"
        };
        sqlx::query(end).bind(&job).execute(&mut *self.connection).await.expect("an end");
        sqlx::query("UPDATE apalis.jobs SET run_at = now() WHERE id = $1 AND status = 'Failed'")
            .bind(&job)
            .execute(&mut *self.connection)
            .await
            .expect("a job that is due");
        true
    }

    async fn promote(&mut self) {
        let first = self.model.waiting.iter().position(|(_, job)| job.flow == Flow::Prepared);
        let Some(at) = first else { return };
        let (owner, thumbnail) = {
            let (_, waiting) = &self.model.waiting[at];
            (waiting.owner, waiting.thumbnail)
        };
        assert!(db::queue::promote(self.connection, thumbnail).await.expect("a promotion"));
        let tag = self.model.start_tag(owner, Flow::WaitedFor);
        let (_, waiting) = &mut self.model.waiting[at];
        *waiting = Waiting {
            flow: Flow::WaitedFor,
            tag: waiting.tag.min(tag),
            is_promoted: true,
            ..*waiting
        };
    }
}

async fn run(pool: &PgPool, steps: Vec<Step>) {
    let mut connection = pool.acquire().await.expect("a connection");
    clear(&mut connection).await;
    let mut thumbnails = BTreeMap::new();
    for owner in 1..=OWNERS {
        thumbnails.insert(owner, thumbnails_of(&mut connection, owner).await);
    }
    let (model, served) = (Model::default(), Vec::new());
    let mut run = Run { connection: &mut connection, model, thumbnails, served };
    for step in steps {
        match step {
            Step::Enqueue { owner, flow } => run.enqueue(owner, flow).await,
            Step::Promote => run.promote().await,
            Step::Work { succeeds } => {
                run.work(succeeds).await;
            }
        }
    }
    // nobody starves: every job is claimed in the end
    while run.work(true).await {}
    assert!(run.model.waiting.is_empty() && run.model.failed.is_empty());
}

#[test]
fn any_order_of_arrivals_is_served_as_the_model_says() {
    let runtime = Runtime::new().expect("a runtime");
    let pool = runtime.block_on(with_owners(OWNERS, MAX_STEPS));
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(48) });
    let steps = prop::collection::vec(step(), 1..MAX_STEPS);
    let result = runner.run(&steps, |steps| {
        runtime.block_on(run(&pool, steps));
        Ok(())
    });
    runtime.block_on(pool.close());
    result.expect("the model's order");
}
