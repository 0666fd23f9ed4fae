//! Starts that fail say why, and folders that were moved do not fail.

use std::{io::Write, process::Command};

use super::*;

async fn stopped_database(data: &Path) {
    let mut process = Pictier::new(data).start();
    upload_as_admin(&process.origin().await).await;
    assert!(process.stop().await.success());
}

fn failure(pictier: Pictier) -> String {
    let output = pictier.output();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn append(file: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(file).expect("a file");
    file.write_all(text.as_bytes()).expect("a longer file");
}

#[tokio::test]
async fn a_start_that_fails_shows_the_last_words_of_the_server_and_where_its_log_is() {
    let data = folder();
    stopped_database(data.path()).await;
    let settings = data.path().join("postgres/cluster/postgresql.conf");
    append(&settings, "\nfirst_nonsense = 1\n");
    let said = failure(Pictier::new(data.path()));
    assert!(said.contains("first_nonsense") && said.contains("FATAL"), "{said}");
    let log = data.path().join("postgres/log").canonicalize().expect("a log");
    assert!(said.contains(&log.display().to_string()), "{said}");
    let text = fs::read_to_string(&settings)
        .expect("settings")
        .replace("first_nonsense", "second_nonsense");
    fs::write(&settings, text).expect("settings");
    let said = failure(Pictier::new(data.path()));
    assert!(said.contains("second_nonsense") && !said.contains("first_nonsense"), "{said}");
}

#[tokio::test]
async fn the_words_of_a_server_that_fails_are_bounded() {
    let data = folder();
    stopped_database(data.path()).await;
    append(&data.path().join("postgres/cluster/postgresql.conf"), &"\nnonsense 1".repeat(300));
    let said = failure(Pictier::new(data.path()));
    assert!(said.contains("FATAL") && said.lines().count() < 30, "{said}");
}

#[tokio::test]
async fn a_folder_that_was_moved_while_stopped_is_found_whole() {
    let data = folder();
    let (old, new) = (data.path().join("old"), data.path().join("elsewhere/new"));
    stopped_database(&old).await;
    fs::create_dir(data.path().join("elsewhere")).expect("a folder");
    fs::rename(&old, &new).expect("a moved folder");
    let mut process = Pictier::new(&new).start();
    let admin = Client::new(&process.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    assert_eq!(admin.get("/api/images").await.json().as_array().map(Vec::len), Some(1));
    assert!(!old.exists());
}

/// As archives and volumes that keep no modes leave it.
#[tokio::test]
async fn a_copy_that_lost_its_modes_starts() {
    let (data, copy) = (folder(), folder());
    stopped_database(data.path()).await;
    let copied =
        Command::new("cp").arg("-r").arg(data.path().join("postgres")).arg(copy.path()).status();
    assert!(copied.expect("a copy").success());
    let modes =
        Command::new("chmod").args(["-R", "a+rX"]).arg(copy.path().join("postgres")).status();
    assert!(modes.expect("other modes").success());
    let mut process = Pictier::new(copy.path()).start();
    process.origin().await;
    assert!(process.stop().await.success());
}

/// A disk of so many KiB that goes with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kilobytes: u32) -> Option<Self> {
        let folder = folder();
        let size = format!("size={kilobytes}k");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.path().join("filler")).expect("a file");
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn on_a_full_disk_the_server_has_its_say() {
    // only root mounts disks, and not in every container
    let Some(disk) = SmallDisk::mount(300_000) else {
        return;
    };
    let data = disk.0.path().join("data");
    stopped_database(&data).await;
    disk.fill();
    let said = failure(Pictier::new(&data));
    assert!(said.contains("No space left on device") && said.contains("FATAL"), "{said}");
    fs::remove_file(disk.0.path().join("filler")).expect("room");
    let mut process = Pictier::new(&data).start();
    process.origin().await;
    assert!(process.stop().await.success());
}

#[test]
fn a_disk_that_is_full_at_the_first_start_is_left_as_it_was() {
    let Some(disk) = SmallDisk::mount(20_000) else {
        return;
    };
    let said = failure(Pictier::new(&disk.0.path().join("data")));
    assert!(said.contains("No space left on device"), "{said}");
    let names = names(&disk.0.path().join("data/postgres"));
    assert!(!names.iter().any(|name| name.starts_with("cluster")), "{names:?}");
}

#[test]
fn the_data_of_another_version_are_untouched_and_the_ways_on_are_named() {
    let data = folder();
    let cluster = data.path().join("postgres/cluster");
    fs::create_dir_all(&cluster).expect("a cluster");
    fs::write(cluster.join("PG_VERSION"), "9\n").expect("a version");
    fs::write(cluster.join("postmaster.pid"), "1\n").expect("a lock file");
    let before = fs::metadata(&cluster).expect("metadata").modified().expect("a time");
    let said = failure(Pictier::new(data.path()));
    for text in ["PostgreSQL 9", "pg_upgrade", "pg_dumpall", "--pg-bin-dir", "was not changed"] {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
    assert_eq!(fs::metadata(&cluster).expect("metadata").modified().expect("a time"), before);
    assert_eq!(names(&cluster), ["PG_VERSION", "postmaster.pid"]);
}

#[test]
fn a_folder_of_something_else_in_the_place_of_the_data_is_left_alone() {
    let data = folder();
    let cluster = data.path().join("postgres/cluster");
    fs::create_dir_all(&cluster).expect("a folder");
    fs::write(cluster.join("diary"), "dear diary").expect("a file");
    let said = failure(Pictier::new(data.path()));
    assert!(said.contains("cluster") && said.contains("PG_VERSION"), "{said}");
    assert_eq!(names(&cluster), ["diary"]);
}

#[tokio::test]
async fn data_that_another_user_created_are_taken_over_by_root_and_refused_to_others() {
    if !geteuid().is_root() {
        return;
    }
    let (folder, program, data) = for_other_user(NOBODY);
    let mut theirs = Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()).start();
    upload_as_admin(&theirs.origin().await).await;
    assert!(theirs.stop().await.success());
    let mut roots = Pictier::from(&program, &data).in_folder(folder.path()).start();
    let admin = Client::new(&roots.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    roots.kill();
    // what is left of that server belongs to another user than the process that ends it
    let mut roots = Pictier::from(&program, &data).in_folder(folder.path()).start();
    roots.origin().await;
    assert!(roots.stop().await.success());

    let other = NOBODY - 1;
    let said = failure(Pictier::from(&program, &data).user(other).in_folder(folder.path()));
    assert!(said.contains("data/postgres") && said.contains("--data-dir"), "{said}");
}

#[tokio::test]
async fn data_that_root_created_are_refused_to_others_with_their_path() {
    if !geteuid().is_root() {
        return;
    }
    let (folder, program, data) = for_other_user(NOBODY);
    let mut process = Pictier::from(&program, &data).in_folder(folder.path()).start();
    process.origin().await;
    assert!(process.stop().await.success());
    // the outer folder is given away, the data in it are not
    std::os::unix::fs::chown(data.join("postgres"), Some(NOBODY), Some(NOBODY))
        .expect("another owner");
    for file in ["lock", "log", "run"] {
        let _ =
            std::os::unix::fs::chown(data.join("postgres").join(file), Some(NOBODY), Some(NOBODY));
    }
    let said = failure(Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()));
    assert!(said.contains("data/postgres/cluster") && said.contains("ermission denied"), "{said}");
}
