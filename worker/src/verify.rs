//! Whether the stored files are the ones that were stored.

use std::{collections::HashMap, fmt};

use futures::{StreamExt, TryStreamExt, stream};
use shared::{
    db::{self, integrity::ExpectedObject},
    storage::StorageKey,
};
use uuid::Uuid;

use crate::{Context, audit::Findings, queue::JobError};

/// Rows read in one go.
const BATCH_ROWS: i64 = 1000;
/// How often a random row is looked for, times the rows that are wanted: some are found twice.
const TRIES: u32 = 20;
/// Files read at a time.
const READS: usize = 8;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files that were read whole.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files without a digest, whose digest was recorded.
    pub recorded: u64,
    /// Rows that name a file that is not there.
    pub missing: Findings,
    /// Files of another size than their rows say.
    pub wrong_sizes: Findings,
    /// Files of the right size whose bytes have changed.
    pub wrong_bytes: Findings,
}

impl VerifyReport {
    pub fn is_clean(&self) -> bool {
        [&self.missing, &self.wrong_sizes, &self.wrong_bytes].iter().all(|found| found.count == 0)
    }

    fn add(&mut self, verified: Verified) {
        let Verified { key, bytes, outcome } = verified;
        self.bytes += bytes;
        self.files += u64::from(outcome != Outcome::Missing);
        match outcome {
            Outcome::Same => {}
            Outcome::Recorded => self.recorded += 1,
            Outcome::Missing => self.missing.add(key),
            Outcome::WrongSize { expected } => {
                self.wrong_sizes.add(format_args!("{key}: {bytes} bytes instead of {expected}"));
            }
            Outcome::WrongBytes => self.wrong_bytes.add(key),
        }
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34}{:>8}", "files read", self.files)?;
        writeln!(f, "{:<34}{:>8}", "digests recorded", self.recorded)?;
        for (what, findings) in [
            ("rows without file", &self.missing),
            ("files of another size", &self.wrong_sizes),
            ("files with other bytes", &self.wrong_bytes),
        ] {
            findings.write(f, what)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Same,
    Recorded,
    Missing,
    WrongSize { expected: u64 },
    WrongBytes,
}

struct Verified {
    key: StorageKey,
    bytes: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy)]
enum Kind {
    Originals,
    Thumbnails,
}

/// Reads every file, or `sample` random ones of each kind, and compares it with its row. Calls
/// `progress` with the number of files read since the last call. Fails when the store is away.
pub async fn verify(
    context: &Context,
    sample: Option<u32>,
    progress: &(impl Fn(u64) + Sync),
) -> Result<VerifyReport, JobError> {
    context.storage.verify_now().await?;
    let mut report = VerifyReport::default();
    for kind in [Kind::Originals, Kind::Thumbnails] {
        if let Some(sample) = sample
            && u64::from(sample) < count(context, kind).await?
        {
            for row in random_rows(context, kind, sample).await? {
                verify_rows(context, vec![row], &mut report, progress).await?;
            }
            continue;
        }
        let mut after = Uuid::nil();
        loop {
            let rows = rows(context, kind, after, BATCH_ROWS).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            verify_rows(context, rows, &mut report, progress).await?;
        }
    }
    Ok(report)
}

async fn count(context: &Context, kind: Kind) -> sqlx::Result<u64> {
    let connection = &mut *context.pool.acquire().await?;
    match kind {
        Kind::Originals => db::integrity::count_originals(connection).await,
        Kind::Thumbnails => db::integrity::count_ready_thumbnails(connection).await,
    }
}

/// Different rows, at most `wanted`.
async fn random_rows(
    context: &Context,
    kind: Kind,
    wanted: u32,
) -> sqlx::Result<Vec<ExpectedObject>> {
    let mut chosen = HashMap::new();
    for _ in 0..wanted.saturating_mul(TRIES) {
        if chosen.len() as u64 == u64::from(wanted) {
            break;
        }
        // ids are random: the row behind a random one is a random row
        let found = rows(context, kind, Uuid::new_v4(), 1).await?;
        chosen.extend(found.into_iter().map(|row| (row.id, row)));
    }
    Ok(chosen.into_values().collect())
}

async fn rows(
    context: &Context,
    kind: Kind,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<ExpectedObject>> {
    let connection = &mut *context.pool.acquire().await?;
    match kind {
        Kind::Originals => db::integrity::originals(connection, after, limit).await,
        Kind::Thumbnails => db::integrity::ready_thumbnails(connection, after, limit).await,
    }
}

async fn verify_rows(
    context: &Context,
    rows: Vec<ExpectedObject>,
    report: &mut VerifyReport,
    progress: &(impl Fn(u64) + Sync),
) -> Result<(), JobError> {
    let reads = rows.into_iter().map(|row| verify_row(context, row));
    let mut reads = stream::iter(reads).buffered(READS);
    while let Some(verified) = reads.try_next().await? {
        progress(1);
        if let Some(verified) = verified {
            report.add(verified);
        }
    }
    Ok(())
}

/// None for a file that was deleted, or made again, since its row was read.
async fn verify_row(
    context: &Context,
    expected: ExpectedObject,
) -> Result<Option<Verified>, JobError> {
    let read = context.storage.digest(&expected.key).await?;
    let (bytes, outcome) = match (read, expected.digest) {
        (None, _) => (0, Outcome::Missing),
        (Some((bytes, _)), _) if bytes != expected.bytes => {
            (bytes, Outcome::WrongSize { expected: expected.bytes })
        }
        (Some((bytes, digest)), Some(wanted)) if digest != wanted => (bytes, Outcome::WrongBytes),
        (Some((bytes, _)), Some(_)) => (bytes, Outcome::Same),
        (Some((bytes, digest)), None) => {
            let connection = &mut *context.pool.acquire().await?;
            db::integrity::record_digest(connection, &expected, digest).await?;
            (bytes, Outcome::Recorded)
        }
    };
    if !matches!(outcome, Outcome::Same | Outcome::Recorded) {
        let connection = &mut *context.pool.acquire().await?;
        let keys = vec![expected.key.clone()];
        if db::integrity::still_expected(connection, keys).await?.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(Verified { key: expected.key, bytes, outcome }))
}
