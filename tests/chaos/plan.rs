//! What all harms of a run share.

use std::path::PathBuf;

use fastrand::Rng;
use tokio::sync::OnceCell;

use crate::{album::Album, cluster::Clusters, s3_server::S3Server};

/// Harms that mostly wait and run at a time in the short form.
const WAITING_AT_ONCE: usize = 5;

/// The size of the run, its seed, and what is costly to make twice.
pub(crate) struct Plan {
    is_long: bool,
    seed: u64,
    pub(crate) clusters: Clusters,
    pub(crate) album: Album,
    s3: OnceCell<Option<S3Server>>,
}

impl Plan {
    pub(crate) fn new(is_long: bool, seed: u64) -> Self {
        Self {
            is_long,
            seed,
            clusters: Clusters::create(),
            album: Album::make(),
            s3: OnceCell::new(),
        }
    }

    /// The value for this size of run.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.is_long { long } else { short }
    }

    /// Random choices of a harm, the same for the same seed.
    pub(crate) fn random(&self, harm: &str) -> Rng {
        let name = harm
            .bytes()
            .fold(self.seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Rng::with_seed(name)
    }

    pub(crate) fn waiting_at_once(&self) -> usize {
        self.pick(WAITING_AT_ONCE, 1)
    }

    /// An S3 server that the harms of the run share; `None` where its program is not installed.
    pub(crate) async fn s3(&self) -> Option<&S3Server> {
        self.s3.get_or_init(S3Server::start).await.as_ref()
    }
}

/// A program or library that bin/chaos-tools installs, if it is there.
pub(crate) fn tool(candidates: &[&str]) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    candidates.iter().map(|candidate| root.join(candidate)).find(|path| path.exists())
}
