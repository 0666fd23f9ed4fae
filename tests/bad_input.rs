//! Bad input gets a problem with a stable code, and nothing of it is left behind.

use reqwest::{
    Method, StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::harness::{Client, ImageLinks, TestApp, pictures, send};

fn file(name: &str, bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name(name.to_owned())
}

/// The upload is refused with this problem and leaves nothing.
async fn expect_refused(bytes: Vec<u8>, status: u16, code: &str) {
    let app = TestApp::start().await;
    app.user("Enterprise").await.upload("a.png", bytes).await.expect_problem(status, code);
    app.expect_nothing_left().await;
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    for bytes in [
        &b"hello"[..],
        b"GIF89a\x01\x00\x01\x00",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
    ] {
        expect_refused(bytes.to_vec(), 415, "not-an-image").await;
    }
}

#[tokio::test]
async fn an_empty_file_is_refused() {
    expect_refused(Vec::new(), 422, "empty-file").await;
}

#[tokio::test]
async fn a_truncated_image_is_refused() {
    for whole in [pictures::jpeg(200, 200), pictures::png(200, 200)] {
        expect_refused(whole[..whole.len() / 2].to_vec(), 422, "truncated-image").await;
        expect_refused(whole[..40.min(whole.len())].to_vec(), 422, "truncated-image").await;
    }
}

#[tokio::test]
async fn a_header_that_claims_too_much_is_refused_before_a_pixel_is_decoded() {
    expect_refused(pictures::bomb(60_000, 60_000), 422, "side-too-long").await;
    expect_refused(pictures::bomb(16_384, 16_384), 422, "too-many-pixels").await;
    expect_refused(pictures::bomb(20_000, 1), 422, "side-too-long").await;
    expect_refused(pictures::bomb(0, 10), 422, "corrupt-image").await;
}

#[tokio::test]
async fn a_picture_of_one_pixel_is_taken() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    app.start_worker().await;
    for bytes in [pictures::png(1, 1), pictures::jpeg(1, 1)] {
        let image = client.uploaded("dot", bytes).await;
        let url = image.thumbnail(200);
        let answer = client.get_with(url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
        assert_eq!(pictures::size(&answer.body), (1, 1));
    }
    app.stop_worker().await;
}

#[tokio::test]
async fn a_file_that_is_a_byte_too_large_is_refused() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let mut bytes = pictures::png(10, 10);
    bytes.resize(20 << 20, 0);
    client.uploaded("fits.png", bytes.clone()).await;
    bytes.push(0);
    client.upload("too_large.png", bytes).await.expect_problem(413, "too-large");
    assert_eq!(app.objects().await.len(), 1);
    assert!(app.temp_files().await.is_empty());
}

#[tokio::test]
async fn an_announced_length_that_is_too_large_is_refused_before_the_body_is_read() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let cookie = app
        .anonymous()
        .log_in("ada", crate::harness::PASSWORD)
        .await
        .header("set-cookie")
        .to_owned();
    let cookie = cookie.split(';').next().expect("a cookie");
    let address = app.origin.strip_prefix("http://").expect("an address");
    let mut connection = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /api/images HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nContent-Length: 100000000\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.expect("a sent head");
    let mut answer = vec![0; 4096];
    let read = connection.read(&mut answer).await.expect("an answer although no body was sent");
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("too-large"), "{answer}");
    app.expect_nothing_left().await;
}

#[tokio::test]
async fn a_form_has_exactly_one_file() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    client.upload_form(Form::new().text("title", "x")).await.expect_problem(422, "missing-file");
    let two = Form::new()
        .part("file", file("1.png", pictures::png(9, 9)))
        .part("file", file("2.png", pictures::png(9, 9)));
    client.upload_form(two).await.expect_problem(422, "several-files");
    app.expect_nothing_left().await;
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    client
        .post("/api/images", json!({"file": "x"}))
        .await
        .expect_problem(415, "unsupported-media-type");
    let cut = client
        .request(Method::POST, "/api/images")
        .header("content-type", "multipart/form-data; boundary=b");
    let cut = cut.body(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\nabc",
    );
    send(cut).await.expect_problem(400, "malformed-multipart");
    app.expect_nothing_left().await;
}

#[tokio::test]
async fn a_file_name_becomes_a_harmless_title() {
    let app = TestApp::start().await;
    let client = app.user("Premium").await;
    for (name, title) in [
        ("../../etc/passwd.png", "passwd".to_owned()),
        ("say \"cheese\".png", "say \"cheese\"".to_owned()),
        ("🏖️ beach.png", "🏖️ beach".to_owned()),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>".to_owned()),
        (&format!("{}.png", "x".repeat(300)), "x".repeat(255)),
    ] {
        let image = client.uploaded(name, pictures::png(10, 10)).await;
        let kept = image["title"].as_str().expect("a title");
        assert!(!kept.contains(['\r', '\n', '/']), "{kept:?}");
        assert_eq!(kept, title);
        let url = image.original();
        client.get(url).await.expect(StatusCode::OK);
    }
    assert_eq!(app.objects().await.len(), 5);
}

#[tokio::test]
async fn a_file_name_with_a_line_break_breaks_the_form() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let answer = client.upload("a\r\nSet-Cookie: x.png", pictures::png(10, 10)).await;
    answer.expect_problem(400, "malformed-multipart");
    app.expect_nothing_left().await;
}

#[tokio::test]
async fn a_title_that_breaks_a_rule_is_refused() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    for title in ["x".repeat(256), "a\r\nb".to_owned(), "  ".to_owned(), "x".repeat(100_000)] {
        let form =
            Form::new().text("title", title).part("file", file("a.png", pictures::png(10, 10)));
        let problem = client.upload_form(form).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], "title");
    }
    app.expect_nothing_left().await;
    let pk = client.uploaded("a.png", pictures::png(10, 10)).await["pk"].clone();
    let path = format!("/api/images/{pk}");
    client
        .patch(&path, json!({"title": "x".repeat(256)}))
        .await
        .expect_problem(422, "invalid-field");
    client.patch(&path, json!({"title": 7})).await.expect_problem(422, "invalid-field");
    client.patch(&path, json!({"name": "x"})).await.expect_problem(422, "invalid-field");
    assert_eq!(client.get(&path).await.json()["title"], "a");
}

#[tokio::test]
async fn a_link_lives_for_a_whole_number_of_300_to_30000_seconds() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let pk = client.uploaded("a.png", pictures::png(10, 10)).await["pk"].clone();
    let path = format!("/api/images/{pk}/expiring_links");
    for valid_for in [
        "299",
        "30001",
        "300.5",
        "true",
        "\"soon\"",
        "null",
        "-300",
        "99999999999999999999",
        "[300]",
    ] {
        let request =
            client.request(Method::POST, &path).header("content-type", "application/json");
        let answer = send(request.body(format!("{{\"valid_for\": {valid_for}}}"))).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["field"], "valid_for", "{valid_for}: {problem}");
        assert_eq!(problem["valid_for"], json!([problem["errors"][0]["detail"]]), "{problem}");
    }
    for body in [
        json!({}),
        json!({"valid_for": 300, "heigth": 200}),
        json!([]),
        json!({"valid_for": 300, "height": 0}),
    ] {
        client.post(&path, body).await.expect_problem(422, "invalid-field");
    }
    assert_eq!(app.rows("expiring_links").await, 0);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let pk = client.uploaded("a.png", pictures::png(10, 10)).await["pk"].clone();
    let path = format!("/api/images/{pk}/expiring_links");
    let post = |client: &Client, content_type: &'static str, body: Vec<u8>| {
        send(client.request(Method::POST, &path).header("content-type", content_type).body(body))
    };
    for body in ["{valid_for: 300}", "", "{", "\u{feff}{}", "{\"valid_for\": 300} trailing"] {
        post(&client, "application/json", body.into()).await.expect_problem(400, "malformed-json");
    }
    post(&client, "application/json", vec![0xFF, 0xFE]).await.expect_problem(400, "malformed-json");
    post(&client, "text/plain", b"{\"valid_for\": 300}".to_vec())
        .await
        .expect_problem(415, "unsupported-media-type");
    let long = format!("{{\"valid_for\": 300, \"x\": \"{}\"}}", "x".repeat(70_000));
    post(&client, "application/json", long.into()).await.expect_problem(413, "too-large");
    assert_eq!(app.rows("expiring_links").await, 0);
}

#[tokio::test]
async fn an_id_that_is_none_is_not_found() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    for id in ["-1", "0", "9223372036854775808", "x", "1.5", "%00", "1%20", "%FF"] {
        client.get(&format!("/api/images/{id}")).await.expect_problem(404, "not-found");
        client.delete(&format!("/api/images/{id}")).await.expect_problem(404, "not-found");
        let links = format!("/api/images/{id}/expiring_links");
        client.post(&links, json!({"valid_for": 300})).await.expect_problem(404, "not-found");
    }
    let pk = client.uploaded("a.png", pictures::png(10, 10)).await["pk"].clone();
    for height in ["-1", "0", "4001", "x", "99999999999999999999"] {
        client
            .get(&format!("/api/images/{pk}/thumbnails/{height}"))
            .await
            .expect_problem(404, "not-found");
    }
    for id in ["1", "x", "00000000-0000-4000-8000-000000000000"] {
        client
            .delete(&format!("/api/images/{pk}/expiring_links/{id}"))
            .await
            .expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_login_that_is_none_is_refused() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    for body in
        [json!({}), json!({"username": "x"}), json!({"username": 1, "password": "x"}), Value::Null]
    {
        nobody.post("/api/session", body).await.expect_problem(422, "invalid-field");
    }
    nobody.log_in(&"x".repeat(10_000), "x").await.expect_problem(401, "wrong-credentials");
    nobody.log_in("admin", &"x".repeat(10_000)).await.expect_problem(401, "wrong-credentials");
    nobody.log_in("' OR 1=1 --", "x").await.expect_problem(401, "wrong-credentials");
    nobody.log_in("admin\0", "x").await.expect_problem(401, "wrong-credentials");
}
