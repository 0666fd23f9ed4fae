//! Following an account's changes: in order, nothing left out, nothing twice.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::postgres;

use crate::harness::{Client, ImageLinks, TestApp, pictures, send};

async fn cursor(client: &Client) -> String {
    let now = client.get("/api/changes").await.expect(StatusCode::OK).json();
    assert_eq!((&now["changes"], &now["has_more"]), (&json!([]), &json!(false)));
    now["cursor"].as_str().expect("a cursor").to_owned()
}

/// The changes after a cursor as `kind pk height`, and the cursor after them.
async fn after(client: &Client, cursor: &str) -> (Vec<String>, String) {
    let answer = client.get(&format!("/api/changes?after={cursor}")).await.expect(StatusCode::OK);
    let json = answer.json();
    let found = json["changes"].as_array().expect("changes").iter().map(told).collect();
    (found, json["cursor"].as_str().expect("a cursor").to_owned())
}

fn told(change: &Value) -> String {
    let kind = change["kind"].as_str().expect("a kind");
    match change["height"].as_i64() {
        Some(height) => format!("{kind} {} {height}", change["pk"]),
        None => format!("{kind} {}", change["pk"]),
    }
}

#[tokio::test]
async fn every_change_of_an_account_is_told_once_and_in_order() {
    let mut app = TestApp::start().await;
    let user = app.user("Premium").await;
    let other = app.user("Premium").await;
    let start = cursor(&user).await;
    let image = user.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    other.uploaded("b.jpg", pictures::jpeg(40, 30)).await;
    user.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let url = format!("/api/images/{}", image["pk"]);
    user.patch(&url, json!({"title": "renamed"})).await.expect(StatusCode::OK);
    // the same title again is no change
    user.patch(&url, json!({"title": "renamed"})).await.expect(StatusCode::OK);

    let (first, middle) = after(&user, &start).await;
    let pk = &image["pk"];
    let created = format!("image.created {pk}");
    let expected =
        [created.clone(), format!("thumbnail.ready {pk} 200"), format!("image.renamed {pk}")];
    assert_eq!(first, expected);
    user.delete(&url).await.expect(StatusCode::NO_CONTENT);
    let (second, end) = after(&user, &middle).await;
    assert_eq!(second, [format!("image.deleted {pk}")]);
    assert_eq!(after(&user, &end).await, (vec![], end.clone()));

    let paged = user.get(&format!("/api/changes?after={start}&limit=1")).await.json();
    assert_eq!(paged["has_more"], true);
    assert_eq!(told(&paged["changes"][0]), created);
    assert_eq!(paged["changes"][0]["cursor"], paged["cursor"]);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_failed_thumbnail_is_told_and_a_height_that_the_tier_lost_is_not() {
    let mut app = TestApp::start().await;
    let user = app.user("Premium").await;
    let image = user.uploaded("a.png", pictures::png_with_damaged_pixels()).await;
    let start = cursor(&user).await;
    for height in [200, 400] {
        user.get(image.thumbnail(height)).await.expect(StatusCode::ACCEPTED);
    }
    app.run_jobs().await;
    app.change_tier("Premium", |tier| tier.thumbnail_heights = "200".parse().expect("a height"))
        .await;
    let (found, end) = after(&user, &start).await;
    assert_eq!(found, [format!("thumbnail.failed {} 200", image["pk"])]);
    assert_eq!(after(&user, &end).await.0, Vec::<String>::new());
}

/// Numbers are taken in the order of commits: a slow transaction's change is not passed by.
#[tokio::test]
async fn a_change_that_commits_late_is_not_lost() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let slow = user.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    let quick = user.uploaded("b.jpg", pictures::jpeg(40, 30)).await;
    let start = cursor(&user).await;
    let mut tx = postgres::begin(&app.pool).await.expect("a transaction");
    let rename = sqlx::query("UPDATE images SET title = 'slow' WHERE id = $1");
    rename.bind(slow["pk"].as_i64()).execute(&mut *tx).await.expect("a new title");
    // its number is taken, as at the start of a commit
    sqlx::query("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *tx).await.expect("a number");
    let renaming = {
        let (user, url) = (user.clone(), format!("/api/images/{}", quick["pk"]));
        tokio::spawn(async move { user.patch(&url, json!({"title": "quick"})).await })
    };
    app.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query ILIKE 'commit%')",
    )
    .await;
    assert_eq!(after(&user, &start).await, (vec![], start.clone()));
    tx.commit().await.expect("a commit");
    renaming.await.expect("a request").expect(StatusCode::OK);
    let expected = [&slow, &quick].map(|image| format!("image.renamed {}", image["pk"]));
    assert_eq!(after(&user, &start).await.0, expected);
}

#[tokio::test]
async fn a_request_waits_for_the_next_change() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let start = cursor(&user).await;
    let url = format!("/api/changes?after={start}");
    let waiting = {
        let (user, url) = (user.clone(), url.clone());
        tokio::spawn(async move { user.get_with(&url, &[("prefer", "wait=30")]).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let image = user.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    let answer = answer.expect("an answer in time").expect("a request").expect(StatusCode::OK);
    assert_eq!(answer.header("preference-applied"), "wait=30");
    assert_eq!(told(&answer.json()["changes"][0]), format!("image.created {}", image["pk"]));
    // nothing more: the wait ends with nothing
    let end = answer.json()["cursor"].as_str().expect("a cursor").to_owned();
    let nothing =
        user.get_with(&format!("/api/changes?after={end}"), &[("prefer", "wait=1")]).await;
    assert_eq!(nothing.json()["changes"], json!([]));
}

async fn read(stream: &mut reqwest::Response, until: &str) -> String {
    let mut text = String::new();
    while !text.contains(until) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await;
        let chunk = chunk.expect("an event in time").expect("a stream").expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text
}

#[tokio::test]
async fn a_stream_goes_on_where_the_last_one_ended() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let open = async |last: Option<&str>| {
        let request =
            user.request(Method::GET, "/api/changes").header("accept", "text/event-stream");
        let request = last.iter().fold(request, |request, id| request.header("last-event-id", *id));
        let stream = request.send().await.expect("an answer");
        assert_eq!(stream.status(), StatusCode::OK);
        stream
    };
    let mut stream = open(None).await;
    let start = read(&mut stream, "\n\n").await;
    assert!(start.contains("event: start"), "{start}");
    user.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    let first = read(&mut stream, "image.created").await;
    let id = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("id: "));
        line.expect("an id").to_owned()
    };
    drop(stream);
    user.uploaded("b.jpg", pictures::jpeg(40, 30)).await;
    let mut stream = open(Some(&id(&first))).await;
    let rest = read(&mut stream, "\"pk\":2").await;
    assert!(!rest.contains("\"pk\":1"), "{rest}");
    // who never saw a change goes on from the start that was named
    let mut stream = open(Some(&id(&start))).await;
    read(&mut stream, "\"pk\":1").await;
}

#[tokio::test]
async fn a_cursor_is_refused_when_what_follows_it_is_no_longer_kept() {
    let app = TestApp::start().await;
    let user = app.user("Basic").await;
    let start = cursor(&user).await;
    user.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    user.uploaded("b.jpg", pictures::jpeg(40, 30)).await;
    let (_, end) = after(&user, &start).await;
    let age = |days: i32, number: i64| {
        sqlx::query("UPDATE changes SET at = now() - make_interval(days => $1) WHERE number = $2")
            .bind(days)
            .bind(number)
            .execute(&app.pool)
    };
    age(6, 1).await.expect("an older change");
    assert_eq!(worker::clean_up(&app.job_context()).await.expect("a cleanup").changes, 0);
    age(8, 1).await.expect("an older change");
    assert_eq!(worker::clean_up(&app.job_context()).await.expect("a cleanup").changes, 1);

    let expired = user.get(&format!("/api/changes?after={start}")).await;
    expired.expect_problem(410, "cursor-expired");
    let resumed = [("accept", "text/event-stream"), ("last-event-id", start.as_str())];
    let streamed = user.get_with("/api/changes", &resumed);
    streamed.await.expect_problem(410, "cursor-expired");
    // who has seen everything has missed nothing
    age(8, 2).await.expect("an older change");
    assert_eq!(worker::clean_up(&app.job_context()).await.expect("a cleanup").changes, 1);
    assert_eq!(after(&user, &end).await, (vec![], end.clone()));
    // a counter that was lost with its database is not taken for another
    let (epoch, number) = end.split_once('-').expect("a cursor");
    let of_other = format!("{:08x}-{number}", i32::from_str_radix(epoch, 16).expect("digits") ^ 1);
    for wrong in [of_other, format!("{epoch}-99")] {
        user.get(&format!("/api/changes?after={wrong}"))
            .await
            .expect_problem(410, "cursor-expired");
    }
    for malformed in ["17", "x-1", "%20"] {
        let answer = user.get(&format!("/api/changes?after={malformed}")).await;
        answer.expect_problem(422, "invalid-field");
    }
}

#[tokio::test]
async fn many_thumbnails_are_prepared_and_looked_at_with_one_request_each() {
    let mut app = TestApp::start().await;
    let user = app.user("Premium").await;
    let other = app.user("Premium").await;
    let theirs = other.uploaded("x.jpg", pictures::jpeg(40, 30)).await["pk"].clone();
    let mut pks = Vec::new();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        pks.push(user.uploaded(name, pictures::jpeg(400, 300)).await["pk"].clone());
    }
    let asked = json!({"pks": [pks[2], pks[0], pks[0], theirs], "heights": [200]});
    let prepared = user.post("/api/thumbnails/prepare", asked.clone()).await;
    let prepared = prepared.expect(StatusCode::ACCEPTED).json();
    assert_eq!(prepared["not_found"], json!([theirs]));
    let listed: Vec<_> = prepared["thumbnails"].as_array().expect("a list").iter().collect();
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["pk"], &listed[0]["state"]), (&pks[0], &json!("pending")));
    assert_eq!(listed[1]["pk"], pks[2]);
    // a second request enqueues nothing
    user.post("/api/thumbnails/prepare", asked).await.expect(StatusCode::ACCEPTED);
    assert_eq!(app.jobs_in("thumbnails").await, 2);

    let all = pks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let of_state = async |state: &str| {
        let url = format!("/api/thumbnails?pk={all},{theirs}{state}");
        user.get(&url).await.expect(StatusCode::OK).json().as_array().expect("a list").len()
    };
    assert_eq!(of_state("").await, 6);
    assert_eq!(of_state("&state=pending").await, 2);
    app.run_jobs().await;
    assert_eq!(of_state("&state=ready").await, 2);
    assert_eq!(of_state("&state=absent").await, 4);
}

#[tokio::test]
async fn a_preparation_has_limits() {
    let app = TestApp::start().await;
    let user = app.user("Premium").await;
    let prepare = async |body: Value| user.post("/api/thumbnails/prepare", body).await;
    let many: Vec<i64> = (1..=501).collect();
    for (body, field) in [
        (json!({"pks": [], "heights": [200]}), "pks"),
        (json!({"pks": [1], "heights": []}), "heights"),
        (json!({"pks": many, "heights": [200, 400]}), "pks"),
        (json!({"pks": ["x"], "heights": [200]}), "pks[0]"),
    ] {
        let problem = prepare(body).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let answer = prepare(json!({"pks": [1], "heights": [300]})).await;
    answer.expect_problem(403, "height-not-in-tier");
    let ids = (1..=1001).map(|pk| pk.to_string()).collect::<Vec<_>>().join(",");
    for query in
        [format!("pk={ids}"), "pk=1,x".to_owned(), "pk=".to_owned(), "state=ready".to_owned()]
    {
        let answer = user.get(&format!("/api/thumbnails?{query}")).await;
        answer.expect_problem(422, "invalid-field");
    }
    let answer = send(user.request(Method::GET, "/api/thumbnails?pk=1&state=odd")).await;
    answer.expect_problem(422, "invalid-field");
}
