//! Whether rows and files agree and no job is stuck.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use shared::{db, storage::StorageKey};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Context, queue::JobError};

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
    /// How many.
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

impl Findings {
    fn add(&mut self, example: impl fmt::Display) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example.to_string());
        }
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
    /// Rows that tell of a file that is not there.
    pub rows_without_object: Findings,
    /// Files of a certain age that belong to no row.
    pub objects_without_row: Findings,
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
    fn lines(&self) -> [(&'static str, &Findings); 6] {
        [
            ("rows without object", &self.rows_without_object),
            ("objects without row", &self.objects_without_row),
            ("stuck jobs", &self.stuck_jobs),
            ("pending thumbnails without job", &self.jobless_thumbnails),
            ("temporary files left", &self.temp_files),
            ("accounts with a wrong byte count", &self.miscounted_users),
        ]
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.lines().iter().all(|(_, findings)| findings.count == 0)
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, findings) in self.lines() {
            writeln!(f, "{what:<34}{:>8}", findings.count)?;
            for example in &findings.examples {
                writeln!(f, "    {example}")?;
            }
        }
        Ok(())
    }
}

/// Looks at every row and every object; changes nothing.
pub async fn audit(context: &Context) -> Result<AuditReport, JobError> {
    let now = context.clock.now();
    let retention = context.retention;
    let temp_files_before = now - Duration::from_secs(retention.temp_file_age_seconds);
    let temp_files = context.storage.abandoned_temp_files(temp_files_before).await?;
    let mut connection = context.pool.acquire().await?;
    let stuck_after = Duration::from_secs(retention.stuck_job_seconds);
    Ok(AuditReport {
        rows_without_object: rows_without_object(context, &mut connection, now).await?,
        objects_without_row: objects_without_row(context, &mut connection, now).await?,
        stuck_jobs: Findings::of(db::queue::stuck(&mut connection, stuck_after, STUCK_JOBS).await?),
        jobless_thumbnails: Findings::of(
            db::integrity::jobless_thumbnails(&mut connection, BATCH_ROWS).await?,
        ),
        temp_files: Findings::of(temp_files.iter().map(|file| file.display()).collect()),
        miscounted_users: Findings::of(db::integrity::miscounted_users(&mut connection, BATCH_ROWS).await?),
    })
}

/// Rows are written after their objects, so those that were there when the audit began need theirs.
async fn rows_without_object(
    context: &Context,
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Findings, JobError> {
    let mut findings = Findings::default();
    let mut after = Uuid::nil();
    loop {
        let rows = db::integrity::originals(connection, after, now, BATCH_ROWS).await?;
        let Some((last, _)) = rows.last() else { break };
        after = *last;
        find_missing(context, rows, &mut findings).await?;
    }
    after = Uuid::nil();
    loop {
        let rows = db::integrity::ready_thumbnails(connection, after, now, BATCH_ROWS).await?;
        let Some((last, _)) = rows.last() else { break };
        after = *last;
        find_missing(context, rows, &mut findings).await?;
    }
    Ok(findings)
}

async fn find_missing(
    context: &Context,
    rows: Vec<(Uuid, StorageKey)>,
    findings: &mut Findings,
) -> Result<(), JobError> {
    let lookups =
        rows.into_iter().map(|(_, key)| async move { Ok((context.storage.exists(&key).await?, key)) });
    let mut lookups = stream::iter(lookups).buffered(LOOKUPS);
    while let Some((is_there, key)) =
        lookups.try_next().await.map_err(|error: shared::storage::StorageError| error)?
    {
        if !is_there {
            findings.add(key);
        }
    }
    Ok(())
}

async fn objects_without_row(
    context: &Context,
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Findings, JobError> {
    let before = now - Duration::from_secs(context.retention.orphan_age_seconds);
    let mut findings = Findings::default();
    let mut batches = context.storage.list().try_chunks(BATCH);
    while let Some(objects) = batches.try_next().await.map_err(|error| error.1)? {
        let mut keys = Vec::new();
        for object in objects.into_iter().filter(|object| object.last_modified <= before) {
            match StorageKey::parse(&object.path) {
                Some(key) => keys.push(key),
                None => findings.add(format_args!("{} (no file of ours)", object.path)),
            }
        }
        for orphan in db::integrity::without_row(connection, keys).await? {
            findings.add(orphan);
        }
    }
    Ok(findings)
}
