//! Mending what an audit finds, as far as it can be mended without a backup.

use std::fmt;

use shared::{
    db,
    domain::{Attempt, ThumbnailId},
    jobs::{self, Flow, JobId},
    postgres,
    storage::ObjectKind,
};

use crate::{
    Context,
    audit::{Damaged, damaged_objects},
    jobs::clean_up::{abandoned_temp_files, delete_temp_files},
    queue::JobError,
};

/// Rows looked for at a time.
const BATCH_ROWS: i64 = 1000;
/// Originals named in the plan; the audit lists more.
const NAMED_ORIGINALS: usize = 20;

/// What a repair is going to do.
#[derive(Debug, Default)]
pub struct RepairPlan {
    /// Thumbnails whose object is missing or of another size.
    thumbnails: Vec<(ThumbnailId, Attempt)>,
    jobless_thumbnails: usize,
    miscounted_users: Vec<String>,
    temp_files: usize,
    /// Originals that are missing or of another size: only a backup has them.
    lost_originals: Vec<Damaged>,
}

impl RepairPlan {
    /// Whether there is anything that a repair can do.
    pub fn is_empty(&self) -> bool {
        self.thumbnails.is_empty()
            && self.jobless_thumbnails == 0
            && self.miscounted_users.is_empty()
            && self.temp_files == 0
    }

    /// Whether something is wrong that only a backup can mend.
    pub fn needs_backup(&self) -> bool {
        !self.lost_originals.is_empty()
    }
}

impl fmt::Display for RepairPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8} thumbnails to make again", self.thumbnails.len())?;
        writeln!(f, "{:>8} pending thumbnails without a job to set free", self.jobless_thumbnails)?;
        writeln!(
            f,
            "{:>8} accounts to recount: {}",
            self.miscounted_users.len(),
            self.miscounted_users.join(", ")
        )?;
        writeln!(f, "{:>8} temporary files to delete", self.temp_files)?;
        writeln!(
            f,
            "{:>8} originals missing or damaged; only a backup has them",
            self.lost_originals.len()
        )?;
        for original in self.lost_originals.iter().take(NAMED_ORIGINALS) {
            writeln!(f, "         {original}")?;
        }
        Ok(())
    }
}

/// Looks at every row and every object, and says what a repair would do. Fails when the store is
/// away.
pub async fn plan_repair(context: &Context) -> Result<RepairPlan, JobError> {
    context.storage.verify_now().await?;
    let mut plan = RepairPlan::default();
    for damaged in damaged_objects(context).await? {
        match damaged.key.owner() {
            ObjectKind::Thumbnail(id, attempt) => plan.thumbnails.push((id, attempt)),
            ObjectKind::Original(_) => plan.lost_originals.push(damaged),
        }
    }
    plan.temp_files = abandoned_temp_files(context).await?.len();
    let mut connection = context.pool.acquire().await?;
    plan.jobless_thumbnails =
        db::integrity::jobless_thumbnails(&mut connection, BATCH_ROWS).await?.len();
    plan.miscounted_users = db::integrity::miscounted_users(&mut connection, BATCH_ROWS).await?;
    Ok(plan)
}

/// How much of a plan was carried out; what was mended meanwhile by others is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Thumbnails that are made again.
    pub thumbnails: u64,
    /// Thumbnails that were pending without a job.
    pub released_thumbnails: u64,
    /// Accounts whose count of used bytes was wrong.
    pub recounted_users: u64,
    /// Temporary files that were left behind.
    pub temp_files: u64,
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thumbnails, released_thumbnails, recounted_users, temp_files } = self;
        write!(
            f,
            "{thumbnails} thumbnails are made again, {released_thumbnails} set free, {recounted_users} accounts \
             recounted, {temp_files} temporary files deleted"
        )
    }
}

/// Carries a plan out. Workers make the thumbnails again; their damaged objects become orphans,
/// which cleanups delete.
pub async fn repair(context: &Context, plan: &RepairPlan) -> Result<Repaired, JobError> {
    let mut repaired = Repaired::default();
    for &(id, attempt) in &plan.thumbnails {
        repaired.thumbnails += u64::from(make_again(context, id, attempt).await?);
    }
    let mut tx = postgres::begin(&context.pool).await?;
    repaired.released_thumbnails = db::thumbnails::release_jobless(&mut tx).await?;
    repaired.recounted_users = db::integrity::recount_users(&mut tx).await?;
    tx.commit().await?;
    repaired.temp_files = delete_temp_files(context).await?;
    Ok(repaired)
}

async fn make_again(
    context: &Context,
    id: ThumbnailId,
    attempt: Attempt,
) -> Result<bool, JobError> {
    let mut tx = postgres::begin(&context.pool).await?;
    let job = JobId::fresh();
    let is_requested = db::thumbnails::discard_file(&mut tx, id, attempt).await?
        && db::thumbnails::request(&mut tx, id, job, context.clock.now()).await?;
    if is_requested {
        jobs::enqueue_thumbnail(&mut tx, job, id, Flow::Prepared).await?;
    }
    tx.commit().await?;
    Ok(is_requested)
}

/// Has thumbnails that failed, for this reason or for any, tried again; how many. One batch after
/// the other.
pub async fn retry_failed(context: &Context, reason: Option<&str>) -> Result<u64, JobError> {
    let mut retried = 0;
    loop {
        let mut tx = postgres::begin(&context.pool).await?;
        let batch =
            jobs::retry_failed_thumbnails(&mut tx, reason, BATCH_ROWS, context.clock.now()).await?;
        tx.commit().await?;
        retried += batch;
        if batch < BATCH_ROWS.unsigned_abs() {
            return Ok(retried);
        }
    }
}
