//! A store that is away, unreliable, full or read-only.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{light, patience, probes, recover};
use crate::{
    load::Load,
    plan::Plan,
    report::Outcome,
    s3_proxy::{Fault, S3Proxy},
    site::{Setup, Site, Store},
};

/// The size of the disk that gets full.
const DISK_BYTES: usize = 32 << 20;
/// What is left of it, for some uploads to be under way.
const LEFT_BYTES: usize = 64 << 10;

/// An S3 store fails for a while under load.
pub(super) async fn s3(plan: Arc<Plan>, harm: &'static str, fault: Fault) -> Outcome {
    let Some(server) = plan.s3().await.map(|server| server.address) else {
        return Outcome::left_out("SeaweedFS is not there: run bin/chaos-tools");
    };
    let mut random = plan.random(harm);
    let proxy = S3Proxy::start(server, random.fork()).await.expect("a proxy");
    let store = Store::S3 { server, proxy: proxy.address, bucket: format!("pictier-{harm}") };
    let setup = Setup { store, ..Setup::usual(&plan) };
    let site = Site::start_with(&plan, harm, setup, 1, 2).await;
    let mut outcome = Outcome::default();
    let late = probes(&site, plan.pick(5, 20)).await;
    let caught = probes(&site, plan.pick(5, 50)).await;
    let load = Load::start(&site.front, &plan, light(), &mut random);
    sleep(Duration::from_millis(500)).await;
    proxy.set(fault);
    // of images from before: while nothing can be uploaded, thumbnails are still asked for
    for upload in &caught {
        site.front.ask(&plan, upload).await;
    }
    let seconds = if fault == Fault::Away { plan.pick(15, 150) } else { plan.pick(8, 60) };
    sleep(Duration::from_secs(seconds)).await;
    proxy.set(Fault::None);
    let back = Instant::now();
    outcome.notes.push(format!("{} requests to the store failed", proxy.failed()));
    recover(&site, &late, back, &mut outcome).await;
    load.stop().await;
    site.finish(outcome, patience(&plan)).await
}

/// The disk of the data folder is full for a while under load.
pub(super) async fn disk_full(plan: Arc<Plan>) -> Outcome {
    let Some(disk) = SmallDisk::mount() else {
        return Outcome::left_out("no disk can be mounted here");
    };
    let setup = Setup { data: Some(disk.path().to_owned()), ..Setup::usual(&plan) };
    let site = Site::start_with(&plan, "disk-full", setup, 1, 2).await;
    let mut outcome = Outcome::default();
    let mut random = plan.random("disk-full");
    let late = probes(&site, plan.pick(5, 20)).await;
    let caught = probes(&site, plan.pick(5, 50)).await;
    let load = Load::start(&site.front, &plan, light(), &mut random);
    sleep(Duration::from_millis(500)).await;
    disk.fill();
    for upload in &caught {
        site.front.ask(&plan, upload).await;
    }
    sleep(plan.pick(Duration::from_secs(8), Duration::from_secs(30))).await;
    load.stop().await;
    disk.clear();
    let back = Instant::now();
    recover(&site, &late, back, &mut outcome).await;
    let outcome = site.finish(outcome, patience(&plan)).await;
    drop(disk);
    outcome
}

/// A disk of memory that is unmounted when it is dropped.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={DISK_BYTES}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Leaves a little room.
    fn fill(&self) {
        let free = rustix::fs::statvfs(self.path())
            .map(|disk| disk.f_bavail * disk.f_frsize)
            .unwrap_or_default();
        let free = usize::try_from(free).unwrap_or(DISK_BYTES);
        let filled = fs::write(self.ballast(), vec![1; free.saturating_sub(LEFT_BYTES)]);
        // an upload that came first took what was to be left
        let is_full = filled.err().is_none_or(|error| error.kind() == io::ErrorKind::StorageFull);
        assert!(is_full, "the disk cannot be filled");
    }

    fn clear(&self) {
        fs::remove_file(self.ballast()).expect("a disk with room");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: a process may still end
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}
