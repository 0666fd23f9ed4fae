//! What has to be true once a harm is over, whichever it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    album::sha,
    load::{NoReply, Reply, Upload, is_original},
    objects::Objects,
    report::{Findings, Outcome, tally},
    site::Site,
};

/// Files that are fetched at a time.
const FETCHES: usize = 8;
/// A body that is cut short so often is wrong for good.
const CUT_SHORT_MAX: usize = 3;
const WAIT: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Jobs that have nothing more to do may end a little later than the thumbnails.
const JOBS_PATIENCE: Duration = Duration::from_secs(15);
/// Jobs that have not ended.
pub(crate) const OPEN_JOBS: &str =
    "SELECT count(*) FROM apalis.jobs WHERE status IN ('Pending', 'Queued', 'Running')
    OR (status = 'Failed' AND attempts < max_attempts)";

/// How a file was served in the end.
enum Fetched {
    Whole(Reply),
    /// Never whole.
    CutShort(String),
    /// A refusal that trying again does not change.
    Refused(String),
    /// Nothing in time; the last answer.
    Late(String),
}

impl Site {
    pub(crate) async fn check(&self, outcome: &mut Outcome, limit: Duration) {
        let deadline = Instant::now() + limit;
        let findings = &mut outcome.findings;
        for case in self.front.wrong.lock().expect("wrong thumbnails").drain(..) {
            findings.find_wrong(case);
        }
        let uploads = self.front.uploads.lock().expect("uploads").clone();
        self.check_originals(&uploads, deadline, findings).await;
        let rows = self.rows().await;
        self.check_thumbnails(&uploads, &rows, deadline, findings).await;
        if !self.wait_for_count(OPEN_JOBS, 0, JOBS_PATIENCE).await {
            outcome.notes.push(format!("{} jobs are still open", self.count(OPEN_JOBS).await));
        }
        self.check_completions(findings).await;
        self.check_audit(findings).await;
        outcome.operations += self.front.operations.load(std::sync::atomic::Ordering::Relaxed);
        self.note_figures(outcome).await;
    }

    async fn check_originals(
        &self,
        uploads: &[Upload],
        deadline: Instant,
        findings: &mut Findings,
    ) {
        let checks = uploads.iter().map(|upload| async move {
            match self.fetch_until(&upload.original, None, deadline).await {
                Fetched::Whole(reply) if is_original(&self.plan, upload, &reply.body) => None,
                Fetched::Whole(reply) => Some(format!(
                    "image {} is served as {} other bytes",
                    upload.pk,
                    reply.body.len()
                )),
                Fetched::CutShort(why) | Fetched::Refused(why) | Fetched::Late(why) => {
                    Some(format!("image {}: {why}", upload.pk))
                }
            }
        });
        let lost: Vec<_> = stream::iter(checks)
            .buffer_unordered(FETCHES)
            .filter_map(std::future::ready)
            .collect()
            .await;
        for case in lost {
            findings.lose(case);
        }
    }

    /// Every thumbnail's row, whatever columns this version has.
    async fn rows(&self) -> BTreeMap<(i64, u32), Value> {
        let rows: Vec<Value> = sqlx::query_scalar("SELECT to_jsonb(thumbnails) FROM thumbnails")
            .fetch_all(&self.pool)
            .await
            .expect("the thumbnails");
        let key = |row: &Value| {
            Some((row["image_id"].as_i64()?, u32::try_from(row["height"].as_i64()?).ok()?))
        };
        rows.into_iter().filter_map(|row| Some((key(&row)?, row))).collect()
    }

    async fn check_thumbnails(
        &self,
        uploads: &[Upload],
        rows_before: &BTreeMap<(i64, u32), Value>,
        deadline: Instant,
        findings: &mut Findings,
    ) {
        let wanted = uploads.iter().flat_map(|upload| {
            upload.thumbnails.iter().map(move |(height, path)| (upload, *height, path))
        });
        let requests = wanted.map(|(upload, height, path)| async move {
            (upload, height, path, self.fetch_until(path, Some(WAIT), deadline).await)
        });
        let fetched: Vec<_> = stream::iter(requests).buffer_unordered(FETCHES).collect().await;
        let (rows, objects) = (self.rows().await, self.objects().await);
        for (upload, height, path, fetched) in fetched {
            let case = format!("image {} at {height} px", upload.pk);
            let row = rows.get(&(upload.pk, height));
            let before =
                rows_before.get(&(upload.pk, height)).map_or(&Value::Null, |row| &row["state"]);
            match fetched {
                Fetched::Whole(reply) => {
                    let fault = self.fault(upload, height, &reply, row, &objects);
                    let fault = match fault {
                        None => self.fault_of_second(path, &reply).await,
                        fault => fault,
                    };
                    if let Some(fault) = fault {
                        findings.find_wrong(format!("{case}: {fault}"));
                    }
                }
                Fetched::CutShort(why) => {
                    findings.find_wrong(format!("{case}: {why}; {}", facts(row)));
                }
                Fetched::Refused(why) | Fetched::Late(why) => {
                    findings.find_stuck(format!(
                        "{case}, {before} when the harm ended: {why}; {}",
                        facts(row)
                    ));
                }
            }
        }
    }

    /// What is wrong with a thumbnail that was served whole.
    fn fault(
        &self,
        upload: &Upload,
        height: u32,
        reply: &Reply,
        row: Option<&Value>,
        objects: &Objects,
    ) -> Option<String> {
        if let Some(fault) = self.plan.album.fault(upload.picture, height, &reply.body) {
            return Some(fault);
        }
        let Some(row) = row else { return Some("its row is gone".to_owned()) };
        let served = reply.body.len() as u64;
        let key = key_of(row, self.plan.album.picture(upload.picture).extension);
        let sizes = [
            ("Content-Length", reply.length),
            ("its row", row["bytes"].as_u64()),
            ("its object", objects.get(&key).copied()),
        ];
        let differs = sizes.iter().find(|(_, size)| *size != Some(served));
        differs.map(|(whose, size)| {
            format!("{whose} says {size:?} bytes and {served} were served ({key})")
        })
    }

    async fn fault_of_second(&self, path: &str, first: &Reply) -> Option<String> {
        match self.front.fetch(path, None).await {
            Ok(second)
                if second.status == StatusCode::OK && sha(&second.body) == sha(&first.body) =>
            {
                None
            }
            Ok(second) => Some(format!("a second request got {} and other bytes", second.status)),
            Err(NoReply::Lost(why) | NoReply::CutShort(why)) => {
                Some(format!("a second request got nothing: {why}"))
            }
        }
    }

    /// Asks for a file until there is an answer that counts.
    async fn fetch_until(&self, path: &str, wait: Option<Duration>, deadline: Instant) -> Fetched {
        let mut cut_short = 0;
        loop {
            let last = match self.front.fetch(path, wait).await {
                Ok(reply) if reply.status == StatusCode::OK => return Fetched::Whole(reply),
                Ok(reply) => {
                    let text = format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
                    let may_change = reply.status.is_server_error()
                        || [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS]
                            .contains(&reply.status);
                    if !may_change {
                        return Fetched::Refused(text);
                    }
                    text
                }
                Err(NoReply::CutShort(why)) => {
                    cut_short += 1;
                    if cut_short >= CUT_SHORT_MAX {
                        return Fetched::CutShort(why);
                    }
                    why
                }
                Err(NoReply::Lost(why)) => why,
            };
            if Instant::now() > deadline {
                return Fetched::Late(last);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn check_completions(&self, findings: &mut Findings) {
        let doubled =
            "SELECT thumbnail::text || ' attempt ' || attempt || ' completed ' || count(*) || ' times'
            FROM completions GROUP BY thumbnail, attempt HAVING count(*) > 1";
        let doubled: Vec<String> =
            sqlx::query_scalar(doubled).fetch_all(&self.pool).await.expect("completions");
        for case in doubled {
            findings.double(case);
        }
        let mut valid: BTreeMap<String, usize> = BTreeMap::new();
        let current: BTreeMap<String, i64> = self
            .rows()
            .await
            .values()
            .map(|row| (id_of(row), row["attempt"].as_i64().unwrap_or(0)))
            .collect();
        for key in self.objects().await.keys() {
            if let Some((id, attempt)) = parse_thumbnail(key)
                && current.get(&id) == Some(&attempt)
            {
                *valid.entry(id).or_default() += 1;
            }
        }
        for (id, count) in valid.into_iter().filter(|(_, count)| *count > 1) {
            findings.double(format!("{id} has {count} valid objects"));
        }
    }

    async fn check_audit(&self, findings: &mut Findings) {
        let audit = self.run(&["audit", "--stuck-job-seconds", "5"]).await;
        let text = String::from_utf8_lossy(&audit.stdout).into_owned();
        // examples are indented below the line that counts them
        let counts = text.lines().filter(|line| !line.starts_with(' '));
        let found: usize =
            counts.filter_map(|line| line.split_whitespace().last()?.parse::<usize>().ok()).sum();
        if !audit.status.success() {
            findings.audit += found.max(1);
            findings.evidence.push(format!(
                "audit: {}{}",
                text,
                String::from_utf8_lossy(&audit.stderr)
            ));
        }
    }

    async fn note_figures(&self, outcome: &mut Outcome) {
        let uploads = self.front.uploads.lock().expect("uploads").len();
        let completed = self.count("SELECT count(*) FROM completions").await;
        let distinct = self.count("SELECT count(DISTINCT thumbnail) FROM completions").await;
        let failures = self.front.failures();
        outcome.notes.push(format!(
            "{uploads} acknowledged uploads, {distinct} thumbnails made, {} made again after a loss, {} left objects",
            completed - distinct,
            self.leftovers().await,
        ));
        if !failures.is_empty() {
            let seen: Vec<_> =
                failures.iter().map(|(what, count)| format!("{count} × {what}")).collect();
            outcome.notes.push(format!("clients saw {}", seen.join(", ")));
        }
        let said = self.said();
        let levels = said
            .iter()
            .filter_map(|line| ["ERROR", "WARN"].into_iter().find(|level| line.contains(level)));
        let levels = tally(levels);
        if !levels.is_empty() {
            outcome.notes.push(format!("logged {levels}"));
        }
    }

    /// Rows of ready thumbnails whose size is not their object's.
    pub(crate) async fn sizes_that_differ(&self) -> usize {
        let (rows, objects) = (self.rows().await, self.objects().await);
        let sizes: BTreeMap<&str, u64> =
            objects.iter().filter_map(|(key, size)| Some((stem(key)?, *size))).collect();
        let ready = rows.values().filter(|row| row["state"] == "ready");
        ready
            .filter(|row| sizes.get(name_of(row).as_str()).copied() != row["bytes"].as_u64())
            .count()
    }

    /// Objects that no row names: leftovers of killed attempts, which the cleanup deletes when they
    /// are old.
    async fn leftovers(&self) -> usize {
        let images: Vec<Value> = sqlx::query_scalar("SELECT to_jsonb(images) FROM images")
            .fetch_all(&self.pool)
            .await
            .expect("images");
        let mut named: BTreeSet<String> = images
            .iter()
            .filter_map(|row| row["original_id"].as_str().map(str::to_owned))
            .collect();
        let ready = self.rows().await;
        named.extend(ready.values().filter(|row| row["state"] == "ready").map(name_of));
        let objects = self.objects().await;
        let is_left =
            |key: &&String| key.contains('/') && stem(key).is_none_or(|name| !named.contains(name));
        objects.keys().filter(is_left).count()
    }
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap_or_default().to_owned()
}

/// The name of the object that a thumbnail's row stands for: attempts have a suffix, the first
/// edition had none.
fn name_of(row: &Value) -> String {
    match row["attempt"].as_i64() {
        None | Some(0) => id_of(row),
        Some(attempt) => format!("{}-{attempt}", id_of(row)),
    }
}

fn key_of(row: &Value, extension: &str) -> String {
    let name = name_of(row);
    format!("thumbnails/{}/{name}.{extension}", &name[..2])
}

/// The name of an object without its folders and its extension.
fn stem(key: &str) -> Option<&str> {
    key.rsplit('/').next()?.split('.').next()
}

/// The id and the attempt in a thumbnail's key.
fn parse_thumbnail(key: &str) -> Option<(String, i64)> {
    /// Characters of a UUID.
    const ID: usize = 36;
    let name = stem(key.strip_prefix("thumbnails/")?)?;
    let attempt = name.get(ID..)?;
    Some((
        name[..ID].to_owned(),
        attempt.strip_prefix('-').map_or(Some(0), |attempt| attempt.parse().ok())?,
    ))
}

fn facts(row: Option<&Value>) -> String {
    let Some(row) = row else { return "it has no row".to_owned() };
    let facts = ["id", "state", "attempt", "bytes", "failure_reason", "job_id"];
    let facts = facts
        .iter()
        .filter(|fact| !row[**fact].is_null())
        .map(|fact| format!("{fact} {}", row[*fact]));
    facts.collect::<Vec<_>>().join(", ")
}
