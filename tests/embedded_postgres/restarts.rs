//! A server that ends while its owner serves is started again.

use super::*;

fn kill_9(server: Pid) {
    kill_process(server, Signal::KILL).expect("a killed server");
}

/// Waits for a server that is another one than this and takes connections.
async fn next_server(data: &Path, last: Pid) -> Pid {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status =
            fs::read_to_string(data.join("postgres/cluster/postmaster.pid")).unwrap_or_default();
        if let Some(server) = postmaster(data)
            && server != last
            && status.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        {
            return server;
        }
        assert!(Instant::now() < deadline, "the server was not started again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Uploads a picture and waits for its thumbnail, over failures of the database that are still
/// felt.
async fn expect_service(admin: &Client) {
    let deadline = Instant::now() + PATIENCE;
    let image = loop {
        let answer = admin.upload("b.png", pictures::png(30, 30)).await;
        if answer.status == StatusCode::CREATED {
            break answer.json();
        }
        assert!(Instant::now() < deadline, "no upload works: {}", answer.status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let urls = image["file_urls"].as_object().expect("links");
    let url = urls.values().next().and_then(|url| url.as_str()).expect("a link").to_owned();
    loop {
        let answer = admin.get(&url).await;
        if answer.status == StatusCode::OK {
            return;
        }
        assert!(Instant::now() < deadline, "no thumbnail is made: {}", answer.status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_killed_server_is_started_again_and_uploads_and_thumbnails_work() {
    let data = folder();
    let mut process = Pictier::new(data.path()).env("UPLOADS_PER_MINUTE", "1000").start();
    let admin = upload_as_admin(&process.origin().await).await;
    let socket = data.path().join("postgres/run/.s.PGSQL.5432");
    let mut server = postmaster(data.path()).expect("a server");
    for _ in 0..3 {
        // in the middle of the work
        let busy = admin.clone();
        let uploads = tokio::spawn(async move {
            for _ in 0..20 {
                busy.upload("c.png", pictures::png(20, 20)).await;
            }
        });
        kill_9(server);
        server = next_server(data.path(), server).await;
        uploads.await.expect("answers, whatever they are");
        expect_service(&admin).await;
        assert!(socket.exists());
    }
    let lines = process.said();
    let ends = lines.iter().filter(|line| line.contains("The embedded database ended")).count();
    assert_eq!(ends, 3, "{lines:#?}");
    assert!(process.stop().await.success());
    assert!(test_kill_process(server).is_err(), "the server ended with the process");
    assert!(!data.path().join("postgres/cluster/postmaster.pid").exists());
}

/// A backend that computes does not notice that its postmaster is gone, and holds the shared
/// memory.
#[tokio::test]
async fn children_that_outlive_a_killed_server_do_not_prevent_the_next() {
    let data = folder();
    let mut process = Pictier::new(data.path()).start();
    let admin = upload_as_admin(&process.origin().await).await;
    let server = postmaster(data.path()).expect("a server");
    let children = children(server);
    // a stopped process notices nothing at all
    for child in &children {
        kill_process(*child, Signal::STOP).expect("a stopped process");
    }
    kill_9(server);
    next_server(data.path(), server).await;
    expect_service(&admin).await;
    assert!(process.stop().await.success());
    for child in children {
        assert!(!works(child), "{child} is left");
    }
}

/// Whether it is there, and not only waited for by nobody.
fn works(process: Pid) -> bool {
    fs::read_link(format!("/proc/{process}/cwd")).is_ok()
}

fn children(parent: Pid) -> Vec<Pid> {
    let file = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(file).expect("a list");
    let pids: Vec<_> =
        text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
    assert!(!pids.is_empty());
    pids
}

#[tokio::test]
async fn the_next_start_deals_with_children_of_a_killed_server() {
    let data = folder();
    let mut process = Pictier::new(data.path()).start();
    upload_as_admin(&process.origin().await).await;
    let server = postmaster(data.path()).expect("a server");
    let children = children(server);
    for child in &children {
        kill_process(*child, Signal::STOP).expect("a stopped process");
    }
    // the owner cannot start it again
    process.signal(Signal::STOP);
    kill_9(server);
    process.kill();
    let mut next = Pictier::new(data.path()).start();
    next.origin().await;
    for child in children {
        assert!(!works(child), "{child} is left");
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_again_is_tried_until_it_can() {
    let data = folder();
    let mut process = Pictier::new(data.path()).start();
    let admin = upload_as_admin(&process.origin().await).await;
    let server = postmaster(data.path()).expect("a server");
    let settings = data.path().join("postgres/cluster/postgresql.conf");
    let good = fs::read_to_string(&settings).expect("settings");
    fs::write(&settings, format!("{good}\nnonsense = 1\n")).expect("settings");
    kill_9(server);
    process.wait_for("nonsense").await;
    fs::write(&settings, good).expect("settings");
    next_server(data.path(), server).await;
    expect_service(&admin).await;
    process.wait_for("The embedded database runs again").await;
}

#[tokio::test]
async fn a_stop_while_the_server_is_being_started_again_starts_nothing() {
    let data = folder();
    let mut process = Pictier::new(data.path()).start();
    process.origin().await;
    let server = postmaster(data.path()).expect("a server");
    let settings = data.path().join("postgres/cluster/postgresql.conf");
    fs::write(settings, "nonsense = 1\n").expect("settings");
    kill_9(server);
    process.wait_for("nonsense").await;
    process.stop().await;
    let lines = fs::read_to_string(data.path().join("postgres/log")).expect("a log");
    assert!(lines.contains("nonsense"), "{lines}");
    assert!(test_kill_process(server).is_err());
    assert!(
        !data.path().join("postgres/cluster/postmaster.pid").exists()
            || postmaster(data.path()) == Some(server)
    );
}
