//! Restoring a backup: into what, of what, and what is different afterwards.

use std::{fs, path::Path};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, ImageLinks, Site, files, log_in, pictures};

/// A backup of an installation.
struct Backup {
    dir: TempDir,
}

impl Backup {
    fn of(site: &Site) -> Self {
        let backup = Self { dir: tempfile::tempdir().expect("a folder") };
        let (code, said) = site.run(&["backup", backup.dir()]);
        assert_eq!(code, Some(0), "{said}");
        backup
    }

    fn dir(&self) -> &str {
        self.dir.path().to_str().expect("text")
    }

    /// A file of the only backup.
    fn file(&self, name: &str) -> std::path::PathBuf {
        let entries = fs::read_dir(self.dir.path()).expect("a folder").flatten();
        let mut named = entries.map(|entry| entry.path()).filter(|path| !path.ends_with("objects"));
        named.next().expect("a backup").join(name)
    }

    fn change_manifest(&self, change: impl FnOnce(&mut Value)) {
        let path = self.file("manifest.json");
        let mut manifest = serde_json::from_slice(&fs::read(&path).expect("a manifest"));
        change(manifest.as_mut().expect("JSON"));
        fs::write(path, manifest.expect("JSON").to_string()).expect("a changed manifest");
    }
}

/// The restore is refused with this text, and nothing was changed.
#[track_caller]
fn expect_refusal(site: &Site, args: &[&str], text: &str) {
    let before = files(site.data());
    let (code, said) = site.run(&[&["restore"], args].concat());
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("pictier: ") && last.contains(text), "{text}: {said}");
    assert_eq!(files(site.data()), before);
}

async fn without_schema() -> Site {
    let site = Site::new().await;
    site.execute("DROP SCHEMA apalis CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    site
}

async fn delete_image(site: &Site, id: i64) {
    sqlx::query("DELETE FROM images WHERE id = $1")
        .bind(id)
        .execute(&site.pool)
        .await
        .expect("an image");
    site.execute("UPDATE users SET used_bytes = (SELECT sum(bytes) FROM images)").await;
}

async fn installation(site: &Site) -> String {
    let id = "SELECT id::text FROM installation";
    sqlx::query_scalar(id).fetch_one(&site.pool).await.expect("an installation")
}

#[tokio::test]
async fn a_restored_installation_is_a_new_one_with_the_same_data() {
    let site = Site::used().await;
    site.execute("UPDATE thumbnails SET state = 'pending', job_id = 'lost' WHERE state = 'absent'")
        .await;
    delete_image(&site, 3).await;
    site.execute("SELECT setval('images_id_seq', 77)").await;
    let backup = Backup::of(&site);
    for restored in [without_schema().await, Site::migrated().await] {
        let (code, said) = restored.run(&["restore", backup.dir()]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("files copied                             4"), "{said}");
        assert_ne!(installation(&restored).await, installation(&site).await);
        let marker = fs::read_to_string(restored.data().join("media/pictier.json"));
        assert!(marker.expect("a marker").contains(&installation(&restored).await));
        assert_eq!(restored.count("SELECT count(*) FROM sessions").await, 0);
        let pending = "SELECT count(*) FROM thumbnails WHERE state = 'pending'";
        assert_eq!(restored.count(pending).await, 0);
        for check in ["verify", "audit", "cleanup"] {
            let (code, said) = restored.run(&[check]);
            assert_eq!(code, Some(0), "{said}");
        }

        let mut everything = restored.pictier(&[]).start();
        let admin = log_in(&mut everything).await;
        let images = admin.get("/api/images").await.expect(StatusCode::OK).json();
        assert_eq!(images.as_array().expect("images").len(), 2);
        let pending = images[0]["file_urls"]["400 px high"].as_str().expect("a link");
        admin.get_with(pending, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
        let next = admin.uploaded("b.png", pictures::png(10, 10)).await;
        assert_eq!(next["pk"], 78, "no id is given twice");
        assert!(everything.stop().await.success());
    }
}

#[tokio::test]
async fn an_installation_that_is_not_empty_is_not_overwritten() {
    let backup = Backup::of(&Site::used().await);
    expect_refusal(
        &Site::used().await,
        &[backup.dir()],
        "The database is not empty: it has 3 images",
    );
    let site = Site::migrated().await;
    site.pictier(&["create-admin", "ada"]).output_with_input("a long password");
    expect_refusal(&site, &[backup.dir()], "2 accounts");

    let site = Site::migrated().await;
    let folder = site.data().join("media/originals/ab");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("x.png"), "x").expect("a file");
    expect_refusal(&site, &[backup.dir()], "media is not empty");
    fs::remove_dir_all(folder).expect("no folder");
    let marker = json!({"installation": uuid::Uuid::new_v4(), "generation": uuid::Uuid::new_v4()});
    fs::write(site.data().join("media/pictier.json"), marker.to_string()).expect("a marker");
    expect_refusal(&site, &[backup.dir()], "media is not empty");

    let site = Site::migrated().await;
    let mut api = site.pictier(&["api"]).start();
    api.origin().await;
    expect_refusal(&site, &[backup.dir()], "Stop all processes of Pictier");
    assert!(api.stop().await.success());
    let mut worker = site.pictier(&["worker"]).start();
    worker.wait_for("working").await;
    let listens = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pictier')";
    crate::harness::wait_until(&site.pool, listens).await;
    expect_refusal(&site, &[backup.dir()], "Stop all processes of Pictier");
    assert!(worker.stop().await.success());
    let (code, said) = site.run(&["restore", backup.dir()]);
    assert_eq!(code, Some(0), "an installation that was only started is empty: {said}");
}

#[tokio::test]
async fn a_damaged_dump_is_refused_before_anything_is_changed() {
    let used = Site::used().await;
    let site = without_schema().await;
    let no_schema = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'apalis')";
    for name in ["images", "admin_actions", "objects", "manifest.json"] {
        let backup = Backup::of(&used);
        let path = backup.file(name);
        let bytes = fs::read(&path).expect("a file");
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("a cut file");
        expect_refusal(&site, &[backup.dir()], "is damaged");
        let middle = bytes.len() / 2;
        let changed = [&bytes[..middle], &[bytes[middle] ^ 0x80], &bytes[middle + 1..]].concat();
        fs::write(&path, changed).expect("a changed file");
        expect_refusal(&site, &[backup.dir()], "is damaged");
        fs::remove_file(&path).expect("no file");
        expect_refusal(
            &site,
            &[backup.dir()],
            if name == "manifest.json" { "whole" } else { name },
        );
        assert_eq!(site.count(no_schema).await, 0);
    }
    let backup = Backup::of(&used);
    backup.change_manifest(|manifest| manifest["tables"][0][0] = json!("pg_class"));
    expect_refusal(&site, &[backup.dir()], "unknown table");
    expect_refusal(&site, &[backup.dir(), "--backup", "2020"], "2020");
    let (code, _) = site.run(&["restore"]);
    assert_eq!(code, Some(2), "a wrong command line");
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_the_others_are_restored() {
    let backup = Backup::of(&Site::used().await);
    let objects = files(&backup.dir.path().join("objects"));
    let mut bytes = fs::read(&objects[0]).expect("a file");
    bytes[20] ^= 1;
    fs::write(&objects[0], bytes).expect("a changed file");
    fs::remove_file(&objects[1]).expect("no file");
    let site = Site::new().await;
    let (code, said) = site.run(&["restore", backup.dir()]);
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "files copied                             3",
        "files missing                            1",
        "files damaged                            1",
        "rows without file                        2",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains(objects[0].file_name().expect("a name").to_str().expect("text")));
    assert_eq!(site.files().len(), 3);
}

#[tokio::test]
async fn an_older_dump_is_loaded_into_its_schema_which_is_migrated_then() {
    let backup = Backup::of(&Site::used().await);
    // the tables of a dump are the same in both versions
    backup.change_manifest(|manifest| manifest["schema"] = json!(14));
    expect_refusal(&Site::migrated().await, &[backup.dir()], "never migrated");
    let site = without_schema().await;
    let (code, said) = site.run(&["restore", backup.dir()]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        site.count("SELECT count(*) FROM idempotency_keys").await,
        0,
        "the newer schema's table"
    );
    // transactions in the order of their numbers
    let after = "SELECT count(*) FROM _sqlx_migrations older, images, _sqlx_migrations newer
        WHERE older.version = 14 AND newer.version = 15
          AND older.xmin::text::int8 < images.xmin::text::int8 AND images.xmin::text::int8 < newer.xmin::text::int8";
    assert_eq!(site.count(after).await, 3, "the images were loaded in between");

    backup.change_manifest(|manifest| manifest["schema"] = json!(16));
    expect_refusal(&without_schema().await, &[backup.dir()], "knows schemas up to 15");
}

#[tokio::test]
async fn the_backup_that_is_named_is_restored_and_otherwise_the_newest() {
    let site = Site::used().await;
    let backup = Backup::of(&site);
    let older = backup.file("").file_name().expect("a name").to_str().expect("text").to_owned();
    delete_image(&site, 1).await;
    let (code, said) = site.run(&["backup", backup.dir()]);
    assert_eq!(code, Some(0), "{said}");
    for (args, images) in [(&[][..], 2), (&["--backup", &older], 3)] {
        let site = Site::new().await;
        let (code, said) = site.run(&[&["restore", backup.dir()], args].concat());
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(site.count("SELECT count(*) FROM images").await, images);
    }
}

/// A table that a migration adds belongs to one of the two lists.
#[tokio::test]
async fn every_table_is_dumped_or_left_out_on_purpose() {
    use shared::db::backups::{DUMPED, NOT_DUMPED};

    let site = Site::new().await;
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let mut tables: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(&site.pool).await.expect("tables");
    tables.retain(|table| table != "_sqlx_migrations");
    let mut listed = [DUMPED.as_slice(), &NOT_DUMPED].concat();
    tables.sort();
    listed.sort_unstable();
    assert_eq!(tables, listed);
}

#[tokio::test]
async fn the_private_database_is_backed_up_and_restored_too() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let [data, dir, restored] = folders.each_ref().map(TempDir::path);
    let run = |data: &Path, args: &[&str]| {
        crate::harness::ended(crate::harness::processes::Pictier::new(data).args(args))
    };
    let mut everything = crate::harness::processes::Pictier::new(data).start();
    let admin: Client = log_in(&mut everything).await;
    let image = admin.uploaded("a.png", pictures::png(300, 300)).await;
    // while everything runs
    let (code, said) = run(data, &["backup", dir.to_str().expect("text")]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(restored, &["restore", dir.to_str().expect("text")]);
    assert_eq!(code, Some(0), "{said}");
    let mut other = crate::harness::processes::Pictier::new(restored).start();
    let elsewhere = log_in(&mut other).await;
    let path = reqwest::Url::parse(image.original()).expect("a URL").path().to_owned();
    let [ours, theirs] = [admin.get(&path).await, elsewhere.get(&path).await];
    assert_eq!(ours.expect(StatusCode::OK).body, theirs.expect(StatusCode::OK).body);
}
