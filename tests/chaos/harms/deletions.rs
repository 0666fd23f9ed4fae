//! Images that are deleted while their thumbnails are made.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::{patience, probes, recover};
use crate::{
    album::Album, load::Upload, plan::Plan, report::Outcome, site::Site, verify::OPEN_JOBS,
};

/// Images that are asked for and deleted at a time.
const AT_A_TIME: usize = 6;
/// The longest pause between the request of a thumbnail and the deletion of its image.
const PAUSE_MAX_MS: u64 = 120;

/// Every second image is deleted soon after its thumbnails were asked for.
pub(super) async fn delete(plan: Arc<Plan>) -> Outcome {
    let site = Site::start(&plan, "deletions", 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("deletions");
    let count: usize = plan.pick(60, 500);
    let pictures = (0..2 * count).map(Album::small).collect();
    let uploads = site.front.upload_all(&plan, pictures).await;
    let late = probes(&site, 5).await;
    let names = names(&site, &uploads[..count]).await;
    let steps = uploads.iter().enumerate().map(|(number, upload)| {
        let pause = Duration::from_millis(random.u64(..PAUSE_MAX_MS));
        let (site, plan) = (&site, &plan);
        async move {
            // in between those that stay
            site.front.ask(plan, upload).await;
            sleep(pause).await;
            number < count && delete_image(site, upload).await
        }
    });
    let mut steps: Vec<_> = steps.collect();
    random.shuffle(&mut steps);
    let deleted = stream::iter(steps)
        .buffer_unordered(AT_A_TIME)
        .filter(|deleted| std::future::ready(*deleted))
        .count();
    let deleted = deleted.await;
    if deleted != count {
        outcome.findings.find_broken(format!("{deleted} of {count} images could be deleted"));
    }
    let since = Instant::now();
    recover(&site, &late, since, &mut outcome).await;
    if !site.wait_for_count(OPEN_JOBS, 0, patience(&plan)).await {
        outcome.findings.find_broken("the deletion jobs do not end".to_owned());
    }
    for key in site.objects().await.keys() {
        if names.iter().any(|name| key.contains(name.as_str())) {
            outcome.findings.find_broken(format!("{key} is left of a deleted image"));
        }
    }
    outcome
        .notes
        .push(format!("{deleted} images deleted, {} objects of theirs looked for", names.len()));
    site.finish(outcome, patience(&plan)).await
}

/// Ids of originals and thumbnails, which are in their objects' keys.
async fn names(site: &Site, uploads: &[Upload]) -> BTreeSet<String> {
    let images: Vec<i64> = uploads.iter().map(|upload| upload.pk).collect();
    let names = "SELECT original_id::text FROM images WHERE id = ANY ($1)
        UNION ALL SELECT id::text FROM thumbnails WHERE image_id = ANY ($1)";
    let names: Vec<String> =
        sqlx::query_scalar(names).bind(images).fetch_all(&site.pool).await.expect("names");
    names.into_iter().collect()
}

async fn delete_image(site: &Site, upload: &Upload) -> bool {
    let request = site.front.request(Method::DELETE, &format!("/api/images/{}", upload.pk));
    let reply = site.front.send(request, Duration::from_secs(10)).await;
    let is_deleted = reply.is_ok_and(|reply| reply.status == StatusCode::NO_CONTENT);
    if is_deleted {
        site.front.uploads.lock().expect("uploads").retain(|kept| kept.pk != upload.pk);
    }
    is_deleted
}
