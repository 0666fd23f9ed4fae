//! First starts that are killed, and starts at the same instant.

use super::*;

/// Kills, spread over all that a first start does.
const KILLS: u32 = 30;
/// Kills in a row on one folder, before the start that has to work.
const KILLS_IN_A_ROW: u32 = 3;

/// Starts, and kills after `delay` from the moment at which the database begins to be created, or
/// is found.
async fn killed_start(data: &Path, delay: Duration) {
    let mut process = Pictier::new(data).start();
    if !data.join("postgres/cluster").exists() {
        process.wait_for("creating the database in ").await;
    }
    tokio::time::sleep(delay).await;
    process.kill();
}

async fn expect_a_whole_database(data: &Path) {
    let mut process = Pictier::new(data).start();
    upload_as_admin(&process.origin().await).await;
    assert!(process.stop().await.success());
    let left: Vec<_> = names(&data.join("postgres"))
        .into_iter()
        .filter(|name| name.starts_with("cluster") && name != "cluster")
        .collect();
    assert_eq!(left, [""; 0], "what killed starts left is removed");
}

#[tokio::test]
async fn a_first_start_can_be_killed_at_any_moment() {
    let data = folder();
    let mut process = Pictier::new(data.path()).start();
    process.wait_for("creating the database in ").await;
    let started = Instant::now();
    process.origin().await;
    let whole = started.elapsed();
    drop(process);
    for row in 0..KILLS / KILLS_IN_A_ROW {
        let data = folder();
        for kill in 0..KILLS_IN_A_ROW {
            // in another order than by time, so that early and late ones follow each other
            let part = (row + kill * 7) * 7 % KILLS;
            killed_start(data.path(), whole * part / KILLS).await;
        }
        expect_a_whole_database(data.path()).await;
    }
}

#[tokio::test]
async fn a_start_can_be_killed_at_any_moment_of_its_first_migration() {
    for part in 0..10 {
        let data = folder();
        let mut process = Pictier::new(data.path()).start();
        while !data.path().join("postgres/run/.s.PGSQL.5432").exists() {
            process.wait_for("creating the database in ").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(part * 40)).await;
        process.kill();
        expect_a_whole_database(data.path()).await;
    }
}

/// It creates a database, and removes its files when it notices its end.
#[tokio::test]
async fn an_orphaned_initdb_is_ended_and_its_folder_removed() {
    let data = folder();
    let process = Pictier::new(data.path()).start();
    let deadline = Instant::now() + PATIENCE;
    let initdb = loop {
        if let Some(initdb) = initdb_in(data.path()) {
            break initdb;
        }
        assert!(Instant::now() < deadline, "no initdb");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    // it ends with its owner only once it goes on
    kill_process(initdb, Signal::STOP).expect("a stopped process");
    process.kill();
    expect_a_whole_database(data.path()).await;
    assert!(fs::read_link(format!("/proc/{initdb}/cwd")).is_err(), "the orphan is left");
}

/// The process that creates a database in this folder.
fn initdb_in(data: &Path) -> Option<Pid> {
    let root = data.join("postgres").canonicalize().ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids =
        processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("initdb\0") && line.contains(&root.display().to_string())
    })
}

#[tokio::test]
async fn two_processes_that_start_at_the_same_instant_share_one_server_ten_times_over() {
    for round in 0..10 {
        let data = folder();
        let mut pair = [Pictier::new(data.path()).start(), Pictier::new(data.path()).start()];
        for process in &mut pair {
            let origin = process.origin().await;
            Client::new(&origin).log_in("admin", "admin").await.expect(StatusCode::OK);
        }
        let created = pair
            .iter()
            .flat_map(Running::said)
            .filter(|line| line.contains("creating the database"));
        assert_eq!(created.count(), 1, "round {round}");
        // the process that owns the server goes last, as its guests need it
        let [one, two] = pair;
        let (owner, guest) = if one.said().iter().any(|line| line.contains("creating")) {
            (one, two)
        } else {
            (two, one)
        };
        assert!(guest.stop().await.success());
        assert!(owner.stop().await.success());
    }
}

#[tokio::test]
async fn a_process_that_waits_for_a_killed_one_starts_the_server_itself() {
    let data = folder();
    let mut first = Pictier::new(data.path()).start();
    first.wait_for("creating the database in ").await;
    let mut second = Pictier::new(data.path()).start();
    second.wait_for("waiting for the database").await;
    first.kill();
    upload_as_admin(&second.origin().await).await;
}
