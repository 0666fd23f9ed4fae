//! Many requests at the same time, and nothing else.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all, stream};
use http::StatusCode;
use tokio::time::Instant;

use super::{patience, probes, recover};
use crate::{
    album::{Album, HEIGHTS, sha},
    plan::Plan,
    report::Outcome,
    site::Site,
};

/// Images that are asked for at a time where nobody waits.
const AT_A_TIME: usize = 16;
/// How long a request waits for its thumbnail.
const WAIT: Duration = Duration::from_secs(30);

/// Both heights of each image are asked for at the same moment.
pub(super) async fn together(plan: Arc<Plan>, harm: &'static str, workers: usize) -> Outcome {
    let site = Site::start(&plan, harm, 1, workers).await;
    let mut outcome = Outcome::default();
    let pictures = (0..plan.pick(150, 1500)).map(Album::small).collect();
    let uploads = site.front.upload_all(&plan, pictures).await;
    let (paced, burst) = uploads.split_at(uploads.len() / 2);
    // the workers are idle when both requests come, so that both jobs may start at the same moment
    let asks = paced.iter().map(|upload| site.front.ask_and_wait(&plan, upload, Some(WAIT)));
    stream::iter(asks).buffer_unordered(workers).collect::<Vec<()>>().await;
    // the workers have more to do than they can
    let asks = burst.iter().map(|upload| site.front.ask(&plan, upload));
    stream::iter(asks).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
    let late = probes(&site, 5).await;
    recover(&site, &late, Instant::now(), &mut outcome).await;
    let settled = site.wait_for_count(
        "SELECT count(*) FROM thumbnails WHERE state = 'pending'",
        0,
        patience(&plan),
    );
    settled.await;
    note_doubles(&site, &mut outcome).await;
    site.finish(outcome, patience(&plan)).await
}

/// How often a thumbnail was made more than once, and how many rows and objects do not agree on a
/// size.
async fn note_doubles(site: &Site, outcome: &mut Outcome) {
    let said = site.said();
    let made: Vec<&str> = said
        .iter()
        .filter(|line| line.contains("made a thumbnail"))
        .filter_map(|line| line.split("thumbnail=").nth(1)?.split_whitespace().next())
        .collect();
    let distinct = made.iter().collect::<BTreeSet<_>>().len();
    let note = format!(
        "made twice: {} (completions − distinct: {}); sizes that differ: {}",
        made.len() - distinct,
        site.count("SELECT count(*) - count(DISTINCT thumbnail) FROM completions").await,
        site.sizes_that_differ().await,
    );
    outcome.notes.push(note);
}

/// Many first requests of one thumbnail, by two API processes.
pub(super) async fn stampede(plan: Arc<Plan>) -> Outcome {
    let site = Site::start(&plan, "stampede", 2, 2).await;
    let mut outcome = Outcome::default();
    let uploads = site.front.upload_all(&plan, vec![Album::large(0), Album::small(0)]).await;
    for upload in &uploads {
        let path = &upload.thumbnails[&HEIGHTS[1]];
        let started = Instant::now();
        let requests = (0..plan.pick(200, 1000)).map(|_| site.front.fetch(path, Some(WAIT)));
        let replies = join_all(requests).await;
        outcome.recovery.push(started.elapsed());
        let mut bodies = BTreeSet::new();
        for reply in replies {
            match reply {
                Ok(reply) if reply.status == StatusCode::OK => {
                    bodies.insert(sha(&reply.body));
                }
                Ok(reply) => {
                    outcome.findings.find_broken(format!("a request got {}", reply.status));
                }
                Err(_) => outcome.findings.find_broken("a request got no answer".to_owned()),
            }
        }
        if bodies.len() != 1 {
            outcome
                .findings
                .find_wrong(format!("the requests got {} different files", bodies.len()));
        }
    }
    let completed = site.count("SELECT count(*) FROM completions").await;
    if completed != i64::try_from(uploads.len()).unwrap_or_default() {
        outcome
            .findings
            .find_broken(format!("{} thumbnails were completed {completed} times", uploads.len()));
    }
    site.finish(outcome, patience(&plan)).await
}
