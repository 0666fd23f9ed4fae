//! Whether rows and files agree and no job is stuck.

use std::{fmt, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use shared::{
    db::{self, integrity::ExpectedObject},
    installation,
    storage::{ObjectKind, StorageError, StorageKey},
};
use uuid::Uuid;

use crate::{Context, jobs::clean_up::abandoned_temp_files, queue::JobError};

/// Rows and objects looked at in one go.
const BATCH: usize = 1000;
const BATCH_ROWS: i64 = 1000;
/// Objects asked for at a time.
const LOOKUPS: usize = 16;
/// Examples told of each kind.
const EXAMPLES: usize = 20;
/// At most this many stuck jobs are counted.
const STUCK_JOBS: i64 = 10_000;

/// Things of one kind that should not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

impl Findings {
    pub(crate) fn add(&mut self, example: impl fmt::Display) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example.to_string());
        }
    }

    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
        writeln!(f, "{what:<34}{:>8}", self.count)?;
        self.examples.iter().try_for_each(|example| writeln!(f, "    {example}"))
    }

    fn of(found: Vec<impl fmt::Display>) -> Self {
        let mut findings = Self::default();
        for example in found {
            findings.add(example);
        }
        findings
    }
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Rows that name an object that is not there.
    pub rows_without_object: Findings,
    /// Objects of another size than their rows say.
    pub wrong_sizes: Findings,
    /// Objects of a certain age that nothing in the database names.
    pub objects_without_row: Findings,
    /// Originals among them.
    pub unknown_originals: u64,
    /// Jobs that should have moved and did not.
    pub stuck_jobs: Findings,
    /// Thumbnails that are pending although no job will make them.
    pub jobless_thumbnails: Findings,
    /// Temporary files of a certain age.
    pub temp_files: Findings,
    /// Accounts whose count of used bytes is wrong.
    pub miscounted_users: Findings,
}

impl AuditReport {
    fn lines(&self) -> [(&'static str, &Findings); 7] {
        [
            ("rows without object", &self.rows_without_object),
            ("objects of another size", &self.wrong_sizes),
            ("objects without row", &self.objects_without_row),
            ("stuck jobs", &self.stuck_jobs),
            ("pending thumbnails without job", &self.jobless_thumbnails),
            ("temporary files left", &self.temp_files),
            ("accounts with a wrong byte count", &self.miscounted_users),
        ]
    }

    /// The counts, as metrics name their kinds.
    pub(crate) fn by_kind(&self) -> [(&'static str, u64); 8] {
        [
            ("rows_without_object", self.rows_without_object.count),
            ("wrong_sizes", self.wrong_sizes.count),
            ("objects_without_row", self.objects_without_row.count),
            ("unknown_originals", self.unknown_originals),
            ("stuck_jobs", self.stuck_jobs.count),
            ("jobless_thumbnails", self.jobless_thumbnails.count),
            ("temp_files", self.temp_files.count),
            ("miscounted_users", self.miscounted_users.count),
        ]
    }

    pub fn is_clean(&self) -> bool {
        self.lines().iter().all(|(_, findings)| findings.count == 0)
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().into_iter().try_for_each(|(what, findings)| findings.write(f, what))
    }
}

/// Looks at every row and every object; changes nothing. Fails when the store is away.
pub async fn audit(context: &Context) -> Result<AuditReport, JobError> {
    context.storage.verify_now().await?;
    let retention = context.retention;
    let temp_files = abandoned_temp_files(context).await?;
    let (missing, resized): (Vec<_>, _) =
        damaged_objects(context).await?.into_iter().partition(|damaged| damaged.found.is_none());
    let (objects_without_row, unknown_originals) = objects_without_row(context).await?;
    let mut connection = context.pool.acquire().await?;
    let stuck_after = Duration::from_secs(retention.stuck_job_seconds);
    Ok(AuditReport {
        rows_without_object: Findings::of(missing),
        wrong_sizes: Findings::of(resized),
        objects_without_row,
        unknown_originals,
        stuck_jobs: Findings::of(db::queue::stuck(&mut connection, stuck_after, STUCK_JOBS).await?),
        jobless_thumbnails: Findings::of(
            db::integrity::jobless_thumbnails(&mut connection, BATCH_ROWS).await?,
        ),
        temp_files: Findings::of(temp_files.iter().map(|file| file.display()).collect()),
        miscounted_users: Findings::of(
            db::integrity::miscounted_users(&mut connection, BATCH_ROWS).await?,
        ),
    })
}

/// An object that is not as its row says.
#[derive(Clone, Debug)]
pub(crate) struct Damaged {
    pub(crate) key: StorageKey,
    expected: u64,
    /// The object's size in bytes; `None` when it is not there.
    found: Option<u64>,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            None => self.key.fmt(f),
            Some(found) => write!(f, "{}: {found} bytes instead of {}", self.key, self.expected),
        }
    }
}

/// Every object that is missing or of another size than its row says.
pub(crate) async fn damaged_objects(context: &Context) -> Result<Vec<Damaged>, JobError> {
    let mut damaged = Vec::new();
    let mut after = Uuid::nil();
    loop {
        let rows = db::integrity::originals(&mut *context.pool.acquire().await?, after, BATCH_ROWS)
            .await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        damaged.extend(damaged_among(context, rows).await?);
    }
    after = Uuid::nil();
    loop {
        let rows =
            db::integrity::ready_thumbnails(&mut *context.pool.acquire().await?, after, BATCH_ROWS)
                .await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        damaged.extend(damaged_among(context, rows).await?);
    }
    Ok(damaged)
}

async fn damaged_among(
    context: &Context,
    rows: Vec<ExpectedObject>,
) -> Result<Vec<Damaged>, JobError> {
    let lookups = rows.into_iter().map(|ExpectedObject { key, bytes, .. }| async move {
        let found = context.storage.size(&key).await?;
        Ok::<_, StorageError>(Damaged { key, expected: bytes, found })
    });
    let looked_at: Vec<Damaged> = stream::iter(lookups).buffered(LOOKUPS).try_collect().await?;
    let mut damaged: Vec<_> =
        looked_at.into_iter().filter(|object| object.found != Some(object.expected)).collect();
    if damaged.is_empty() {
        return Ok(damaged);
    }
    // an image that was deleted, or a thumbnail that was made again, since the rows were read
    let keys = damaged.iter().map(|object| object.key.clone()).collect();
    let named = db::integrity::still_expected(&mut *context.pool.acquire().await?, keys).await?;
    damaged.retain(|object| named.contains(&object.key));
    Ok(damaged)
}

/// Objects without a row, and how many of them are originals.
async fn objects_without_row(context: &Context) -> Result<(Findings, u64), JobError> {
    let age = Duration::from_secs(context.retention.orphan_age_seconds);
    let before = context.clock.now() - age;
    let (mut findings, mut originals) = (Findings::default(), 0);
    let mut batches = context.storage.list().try_chunks(BATCH);
    while let Some(objects) = batches.try_next().await.map_err(|error| error.1)? {
        let mut keys = Vec::new();
        for object in objects.into_iter().filter(|object| object.last_modified <= before) {
            match StorageKey::parse(&object.path) {
                Some(key) => keys.push(key),
                None => findings.add(format_args!("{} (not a file of Pictier's)", object.path)),
            }
        }
        let mut connection = context.pool.acquire().await?;
        for unknown in installation::unknown_objects(&mut connection, keys).await? {
            originals += u64::from(matches!(unknown.owner(), ObjectKind::Original(_)));
            findings.add(unknown);
        }
    }
    Ok((findings, originals))
}
