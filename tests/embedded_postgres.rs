//! The private Postgres, in the hands of real processes.

mod failures;
mod kills;
mod restarts;
mod strangers;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

use crate::harness::{
    Client, pictures,
    processes::{Pictier, Running, for_other_user},
};

/// How long something may take that takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Debian's user `nobody`.
const NOBODY: u32 = 65_534;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn postmaster(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postgres/cluster/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The server's program, of the newest version that is where Debian has it.
fn postgres_program() -> PathBuf {
    let versions = names(Path::new("/usr/lib/postgresql"));
    Path::new("/usr/lib/postgresql").join(versions.last().expect("a version")).join("bin/postgres")
}

async fn upload_as_admin(origin: &str) -> Client {
    let admin = Client::new(origin);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    admin.uploaded("a.png", pictures::png(10, 10)).await;
    admin
}

#[tokio::test]
async fn the_first_start_creates_everything_and_the_second_finds_it() {
    let data = folder();
    let mut first = Pictier::new(data.path()).start();
    let origin = first.origin().await;
    assert!(
        first.said().iter().any(|line| line.starts_with("creating the database in ")),
        "{:#?}",
        first.said()
    );
    assert!(first.wait_for("log in as:").await.contains("admin / admin"));
    upload_as_admin(&origin).await;
    let server = postmaster(data.path()).expect("a server");
    assert!(first.stop().await.success());
    assert!(test_kill_process(server).is_err(), "the server ended with the process");

    let mut second = Pictier::new(data.path()).start();
    let origin = second.origin().await;
    assert!(!second.said().iter().any(|line| line.contains("creating")), "{:#?}", second.said());
    let admin = Client::new(&origin);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    assert_eq!(admin.get("/api/images").await.json().as_array().map(Vec::len), Some(1));
    assert!(second.stop().await.success());
}

#[tokio::test]
async fn what_was_committed_survives_kill_9_and_the_server_goes_with_its_owner() {
    let data = folder();
    let mut first = Pictier::new(data.path()).start();
    let origin = first.origin().await;
    upload_as_admin(&origin).await;
    let server = postmaster(data.path()).expect("a server");
    first.kill();
    // at once: the start below ends what is left of the server, or waits for its end
    let mut second = Pictier::new(data.path()).start();
    let origin = second.origin().await;
    assert_ne!(postmaster(data.path()), Some(server));
    expect_end_of(server).await;
    let admin = Client::new(&origin);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    assert_eq!(admin.get("/api/images").await.json().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_server_of_a_killed_process_ends_by_itself() {
    let data = folder();
    let mut process = Pictier::new(data.path()).start();
    process.origin().await;
    let server = postmaster(data.path()).expect("a server");
    process.kill();
    expect_end_of(server).await;
}

async fn expect_end_of(server: Pid) {
    for _ in 0..1000 {
        if test_kill_process(server).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the server outlived its owner by ten seconds");
}

#[tokio::test]
async fn a_second_process_is_the_guest_of_the_first() {
    let data = folder();
    let mut owner = Pictier::new(data.path()).start();
    let origin = owner.origin().await;
    upload_as_admin(&origin).await;
    let server = postmaster(data.path()).expect("a server");
    let audit = Pictier::new(data.path()).args(&["audit"]).output();
    assert!(audit.status.success(), "{audit:?}");
    let mut guest = Pictier::new(data.path()).args(&["api"]).start();
    let guest_origin = guest.origin().await;
    let admin = Client::new(&guest_origin);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    assert_eq!(admin.get("/api/images").await.json().as_array().map(Vec::len), Some(1));
    assert!(guest.stop().await.success());
    assert_eq!(postmaster(data.path()), Some(server), "the guest leaves the server running");
    Client::new(&origin).get("/readyz").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn two_processes_that_start_at_once_share_one_server() {
    let data = folder();
    let mut one = Pictier::new(data.path()).start();
    let mut two = Pictier::new(data.path()).start();
    let origins = [one.origin().await, two.origin().await];
    for origin in &origins {
        Client::new(origin).log_in("admin", "admin").await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_start_that_was_killed_while_it_created_the_database_is_begun_anew() {
    let data = folder();
    // what such a start leaves: a folder beside the cluster's place
    let half = data.path().join("postgres/cluster.new");
    fs::create_dir_all(half.join("base")).expect("a half-made cluster");
    fs::write(half.join("PG_VERSION"), "15").expect("a file");
    let mut process = Pictier::new(data.path()).start();
    process.origin().await;
    assert!(!half.exists());
}

#[tokio::test]
async fn an_ordinary_user_needs_no_root() {
    if !geteuid().is_root() {
        // then every other test here is this one
        return;
    }
    let (folder, program, data) = for_other_user(NOBODY);
    let mut process = Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()).start();
    let origin = process.origin().await;
    upload_as_admin(&origin).await;
    assert!(process.stop().await.success());
}

#[tokio::test]
async fn a_very_long_path_is_no_obstacle() {
    let data = folder();
    let long = data.path().join("x".repeat(120));
    let mut process = Pictier::new(&long).start();
    process.origin().await;
    assert!(process.stop().await.success());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let data = folder();
    let file = data.path().join("file");
    fs::write(&file, "x").expect("a file");
    let output = Pictier::new(&file).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("--data-dir") && said.contains("file"), "{said}");
}

#[test]
fn without_a_server_the_program_says_how_to_get_one() {
    let (data, empty) = (folder(), folder());
    let output = Pictier::new(data.path()).env("PG_BIN_DIR", empty.path()).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("apt-get install postgresql") && said.contains("DATABASE_URL"), "{said}");
}
