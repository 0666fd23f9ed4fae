//! An installation for real processes: a database and a data folder.

use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use shared::postgres;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;

use super::{
    Client, ImageLinks, fresh_database, pictures,
    processes::{Pictier, Running},
};

pub(crate) struct Site {
    pub(crate) database: PgConnectOptions,
    /// Connections as commands have them, which do not count as those of an API or a worker.
    pub(crate) pool: PgPool,
    data: TempDir,
}

impl Site {
    /// A database with an up-to-date schema and nothing in it.
    pub(crate) async fn new() -> Self {
        let database = fresh_database().await;
        let pool = postgres::connect_unlimited(database.clone(), 5).await.expect("a pool");
        Self { database, pool, data: tempfile::tempdir().expect("a folder") }
    }

    /// With the tiers and the superuser.
    pub(crate) async fn migrated() -> Self {
        let site = Self::new().await;
        let (code, said) = site.run(&["migrate"]);
        assert_eq!(code, Some(0), "{said}");
        site
    }

    /// With three images, and a thumbnail of each except the last. No process runs.
    pub(crate) async fn used() -> Self {
        let site = Self::migrated().await;
        let mut everything = site.pictier(&[]).start();
        let admin = log_in(&mut everything).await;
        for (side, has_thumbnail) in [(300, true), (310, true), (320, false)] {
            let image = admin.uploaded("a.png", pictures::png(side, side)).await;
            if has_thumbnail {
                let url = image.thumbnail(200);
                admin.get_with(url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
            }
        }
        assert!(everything.stop().await.success());
        site
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Files below `media`, without the marker.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files(&self.data.path().join("media"))
    }

    pub(crate) fn pictier(&self, args: &[&str]) -> Pictier {
        Pictier::new(self.data.path()).on(&self.database).args(args)
    }

    /// Runs a command to its end; its exit code, and all that it said.
    pub(crate) fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        ended(self.pictier(args))
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.pool).await.expect(statement);
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.expect(query)
    }
}

/// Runs a process to its end; its exit code, and all that it said.
pub(crate) fn ended(process: Pictier) -> (Option<i32>, String) {
    let output = process.output();
    let said = [output.stdout, output.stderr];
    let said = said.map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (output.status.code(), said)
}

/// The superuser, logged in.
pub(crate) async fn log_in(server: &mut Running) -> Client {
    let admin = Client::new(&server.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    admin
}

/// The files below a folder in order, without a storage's marker.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("pictier.json") {
            found.push(path);
        }
    }
    found.sort();
    found
}
