//! Machines whose clocks are wrong.

use std::{path::Path, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{patience, probes};
use crate::{
    load::Upload,
    objects::Objects,
    plan::{Plan, tool},
    report::Outcome,
    site::Site,
};

/// A thumbnail takes this long at most, whatever the clocks say.
const NORMAL_TIME: Duration = Duration::from_secs(8);
/// Requests of a link, so that both APIs are asked.
const REQUESTS: usize = 4;
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// One API and one worker of two each are two hours ahead, and in another installation behind.
pub(super) async fn skew(plan: Arc<Plan>) -> Outcome {
    let Some(library) = tool(&LIBRARIES) else {
        return Outcome::left_out("faketime is not there: run bin/chaos-tools");
    };
    let mut outcome = Outcome::default();
    for skew in ["+2h", "-2h"] {
        outcome = skew_by(&plan, skew, &library, outcome).await;
    }
    outcome
}

async fn skew_by(plan: &Arc<Plan>, skew: &str, library: &Path, mut outcome: Outcome) -> Outcome {
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", skew.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let harm = if skew.starts_with('+') { "clocks-ahead" } else { "clocks-behind" };
    let mut site = Site::start(plan, harm, 1, 1).await;
    site.start_api(&environment).await;
    site.start_worker(&environment);
    let asked = probes(&site, plan.pick(10, 50)).await;
    let answered = site.front.recover(plan, &asked, Instant::now(), NORMAL_TIME).await;
    let late = answered.iter().filter(|answer| answer.is_none()).count();
    if late > 0 {
        let limit = NORMAL_TIME.as_secs();
        outcome
            .findings
            .find_broken(format!("{skew}: {late} thumbnails took longer than {limit} s"));
    }
    outcome.recovery.extend(answered.into_iter().flatten());
    let linked = probes(&site, 4).await;
    let links = create_links(&site, &linked, skew, &mut outcome).await;
    expect_live(&site, &links, skew, "at first", &mut outcome).await;
    let before = site.objects().await;
    let cleanup = site.run_with(&["cleanup"], &environment).await;
    if !cleanup.status.success() {
        let why = String::from_utf8_lossy(&cleanup.stderr).into_owned();
        outcome.findings.find_broken(format!("{skew}: the cleanup failed: {why}"));
    }
    expect_live(&site, &links, skew, "after a cleanup by the wrong clock", &mut outcome).await;
    let after = site.objects().await;
    let gone: Objects = before.into_iter().filter(|(key, _)| !after.contains_key(key)).collect();
    for key in gone.keys() {
        outcome.findings.find_broken(format!("{skew}: the cleanup deleted {key}"));
    }
    site.finish(outcome, patience(plan)).await
}

/// A link to the original of each image, by whichever API is asked.
async fn create_links(
    site: &Site,
    uploads: &[Upload],
    skew: &str,
    outcome: &mut Outcome,
) -> Vec<String> {
    let mut links = Vec::new();
    for upload in uploads {
        let path = format!("/api/images/{}/expiring_links", upload.pk);
        let request = site.front.request(Method::POST, &path).json(&json!({"valid_for": 300}));
        let reply = site.front.send(request, NORMAL_TIME).await;
        let created = reply.ok().filter(|reply| reply.status == StatusCode::CREATED);
        let link = created.and_then(|reply| serde_json::from_slice::<Value>(&reply.body).ok());
        let text =
            link.as_ref().and_then(|link| link["link"].as_str().or_else(|| link["url"].as_str()));
        match text.and_then(|url| Some(url[url.find("/user_content")?..].to_owned())) {
            Some(path) => links.push(path),
            None => outcome.findings.find_broken(format!("{skew}: no link was created: {link:?}")),
        }
    }
    links
}

async fn expect_live(site: &Site, links: &[String], skew: &str, when: &str, outcome: &mut Outcome) {
    for link in links {
        for _ in 0..REQUESTS {
            let reply = site.front.fetch(link, None).await;
            match reply {
                Ok(reply) if reply.status == StatusCode::OK => {}
                Ok(reply) => {
                    outcome.findings.find_broken(format!(
                        "{skew}: a live link answers {} {when}",
                        reply.status
                    ));
                }
                Err(_) => outcome
                    .findings
                    .find_broken(format!("{skew}: a live link does not answer {when}")),
            }
        }
    }
}
