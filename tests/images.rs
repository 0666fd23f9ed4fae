//! Uploading, listing, renaming and deleting images.

use std::collections::BTreeSet;

use reqwest::{
    Method, StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::harness::{ImageLinks, TestApp, pictures, send};

#[tokio::test]
async fn an_upload_answers_with_the_image_object_of_the_source_system_and_more() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let bytes = pictures::jpeg(640, 480);
    let size = bytes.len();
    let answer = client.upload("Holiday in Rome.jpg", bytes).await.expect(StatusCode::CREATED);
    let image = answer.json();
    let pk = image["pk"].as_i64().expect("a number");
    assert_eq!(answer.header("location"), format!("{}/api/images/{pk}", app.origin));

    assert_eq!(image["title"], "Holiday in Rome");
    assert_eq!(image["width"], 640);
    assert_eq!(image["height"], 480);
    assert_eq!(image["bytes"], size);
    assert_eq!(image["content_type"], "image/jpeg");
    assert_eq!(image["placeholder"], Value::Null);
    assert_eq!(
        image["expiring_link_generator"],
        format!("{}/api/images/{pk}/expiring_links", app.origin)
    );
    chrono::DateTime::parse_from_rfc3339(image["uploaded_at"].as_str().expect("text"))
        .expect("a time");

    let urls = image["file_urls"].as_object().expect("links");
    let names: BTreeSet<_> = urls.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["200 px high", "400 px high", "original"]));
    let original = urls["original"].as_str().expect("a link");
    assert!(
        original.starts_with(&format!("{}/user_content/original/holiday-in-", app.origin)),
        "{original}"
    );
    let small = urls["200 px high"].as_str().expect("a link");
    assert!(
        small.starts_with(&format!("{}/user_content/resized/holiday-in-", app.origin)),
        "{small}"
    );
    assert_eq!(small.rsplit_once('.').map(|(_, extension)| extension), Some("jpg"));

    let thumbnail = &image["thumbnails"][0];
    assert_eq!(thumbnail["height"], 200);
    assert_eq!(thumbnail["width"], 267);
    assert_eq!(thumbnail["state"], "absent");
    assert_eq!(thumbnail["url"], urls["200 px high"]);
    assert_eq!(client.get(&format!("/api/images/{pk}")).await.json(), image);
}

#[tokio::test]
async fn each_file_of_an_image_has_an_unguessable_name_of_its_own() {
    let app = TestApp::start().await;
    let image = app.user("Premium").await.uploaded("a.png", pictures::png(10, 10)).await;
    let uuid = |name: &str| {
        let url = image["file_urls"][name].as_str().expect("a link").to_owned();
        url[url.len() - "00000000-0000-0000-0000-000000000000.png".len()..].to_owned()
    };
    let names = [uuid("original"), uuid("200 px high"), uuid("400 px high")];
    assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{names:?}");
}

#[tokio::test]
async fn the_tier_decides_which_links_an_image_has() {
    let app = TestApp::start().await;
    for (tier, links) in [
        ("Basic", &["200 px high"][..]),
        ("Premium", &["200 px high", "400 px high", "original"]),
        ("Enterprise", &["200 px high", "400 px high", "original"]),
    ] {
        let image = app.user(tier).await.uploaded("a.png", pictures::png(10, 10)).await;
        let names = image["file_urls"].as_object().expect("links").keys().map(String::as_str);
        assert_eq!(names.collect::<BTreeSet<_>>(), links.iter().copied().collect(), "{tier}");
        let generator = image["expiring_link_generator"].as_str().expect("text");
        assert_eq!(!generator.is_empty(), tier == "Enterprise");
    }
}

#[tokio::test]
async fn the_type_of_a_file_is_told_by_its_content() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("really.jpg", pictures::png(10, 10)).await;
    assert_eq!(image["content_type"], "image/png");
    let lie = Part::bytes(pictures::jpeg(10, 10))
        .file_name("x.gif")
        .mime_str("image/gif")
        .expect("a type");
    let image =
        client.upload_form(Form::new().part("file", lie)).await.expect(StatusCode::CREATED).json();
    assert_eq!(image["content_type"], "image/jpeg");
}

#[tokio::test]
async fn a_title_field_wins_over_the_file_name() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    for title in ["Łódź o świcie", "日本語のタイトル", "🏖️", "\"quotes\" & <b>tags</b>"]
    {
        let file = Part::bytes(pictures::png(10, 10)).file_name("a.png");
        let form = Form::new().text("title", title).part("file", file);
        let image = client.upload_form(form).await.expect(StatusCode::CREATED).json();
        assert_eq!(image["title"], title);
        let url = image.thumbnail(200);
        assert!(url.is_ascii(), "{url}");
        client.get(url).await.expect(StatusCode::ACCEPTED);
    }
    let mut app = app;
    app.run_jobs().await;
}

#[tokio::test]
async fn the_list_is_newest_first_and_goes_on_where_the_link_header_says() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let mut uploaded = Vec::new();
    for n in 0..7 {
        uploaded
            .push(client.uploaded(&format!("{n}.png"), pictures::png(10, 10)).await["pk"].clone());
    }
    uploaded.reverse();
    let mut listed = Vec::new();
    let mut next = Some("/api/images?limit=3".to_owned());
    let mut pages = 0;
    while let Some(url) = next {
        let page = client.get(&url).await.expect(StatusCode::OK);
        listed.extend(
            page.json().as_array().expect("an array").iter().map(|image| image["pk"].clone()),
        );
        next = page.headers.get("link").map(|link| {
            let link = link.to_str().expect("text");
            link.strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .expect("a next link")
                .to_owned()
        });
        pages += 1;
    }
    assert_eq!(listed, uploaded);
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_page_has_1_to_200_images() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    for query in ["limit=0", "limit=201", "limit=x", "limit=-1", "cursor=x", "page=2"] {
        client.get(&format!("/api/images?{query}")).await.expect_problem(422, "invalid-field");
    }
    assert_eq!(client.get("/api/images?limit=200").await.expect(StatusCode::OK).json(), json!([]));
}

#[tokio::test]
async fn paths_work_with_and_without_a_trailing_slash() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let pk = client.uploaded("a.png", pictures::png(10, 10)).await["pk"].clone();
    for path in ["/api/images".to_owned(), format!("/api/images/{pk}"), "/api/session".to_owned()] {
        let without = client.get(&path).await.expect(StatusCode::OK);
        let with = client.get(&format!("{path}/")).await.expect(StatusCode::OK);
        assert_eq!(with.body, without.body, "{path}");
    }
    client.get("/api/images/?limit=1").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn another_users_image_does_not_exist() {
    let app = TestApp::start().await;
    let (owner, other) = (app.user("Enterprise").await, app.user("Enterprise").await);
    let pk = owner.uploaded("a.png", pictures::png(10, 10)).await["pk"].clone();
    let path = format!("/api/images/{pk}");
    other.get(&path).await.expect_problem(404, "not-found");
    other.patch(&path, json!({"title": "mine"})).await.expect_problem(404, "not-found");
    other.delete(&path).await.expect_problem(404, "not-found");
    other.get(&format!("{path}/events")).await.expect_problem(404, "not-found");
    other.get(&format!("{path}/thumbnails/200")).await.expect_problem(404, "not-found");
    other
        .post(&format!("{path}/thumbnails/200/retry"), json!({}))
        .await
        .expect_problem(404, "not-found");
    other.get(&format!("{path}/expiring_links")).await.expect_problem(404, "not-found");
    other
        .post(&format!("{path}/expiring_links"), json!({"valid_for": 300}))
        .await
        .expect_problem(404, "not-found");
    assert_eq!(other.get("/api/images").await.json(), json!([]));
    owner.get(&path).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_renamed_image_keeps_its_old_links() {
    let app = TestApp::start().await;
    let client = app.user("Premium").await;
    let before = client.uploaded("before.png", pictures::png(10, 10)).await;
    let path = format!("/api/images/{}", before["pk"]);
    let after =
        client.patch(&path, json!({"title": "  after  "})).await.expect(StatusCode::OK).json();
    assert_eq!(after["title"], "after");
    let (old, new) = (&before["file_urls"]["original"], &after["file_urls"]["original"]);
    assert_ne!(old, new);
    for url in [old, new] {
        app.anonymous().get(url.as_str().expect("a link")).await.expect(StatusCode::OK);
    }
    assert_eq!(client.get(&path).await.json(), after);
}

#[tokio::test]
async fn deleting_an_image_deletes_its_rows_at_once_and_its_files_by_a_job() {
    let mut app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(300, 300)).await;
    let path = format!("/api/images/{}", image["pk"]);
    let thumbnail = image.thumbnail(200);
    app.start_worker().await;
    client.get_with(thumbnail, &[("prefer", "wait=20")]).await.expect(StatusCode::OK);
    let link =
        client.post(&format!("{path}/expiring_links"), json!({"valid_for": 300})).await.json();
    app.stop_worker().await;
    assert_eq!(app.objects().await.len(), 2);

    client.delete(&path).await.expect(StatusCode::NO_CONTENT);
    client.get(&path).await.expect_problem(404, "not-found");
    for url in [thumbnail, image.original(), link["link"].as_str().expect("a link")] {
        app.anonymous().get(url).await.expect_problem(404, "not-found");
    }
    for table in ["images", "thumbnails", "expiring_links"] {
        assert_eq!(app.rows(table).await, 0, "{table}");
    }
    assert_eq!(client.get("/api/session").await.json()["used_bytes"], 0);
    app.run_jobs().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
    client.delete(&path).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn listing_shows_the_heights_that_the_tier_has_gained_and_hides_those_it_lost() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    client.uploaded("a.png", pictures::png(10, 10)).await;
    app.change_tier("Basic", |tier| {
        tier.thumbnail_heights = vec![100, 300].try_into().expect("heights");
    })
    .await;
    let list = client.get("/api/images").await.expect(StatusCode::OK).json();
    let links = list[0]["file_urls"].as_object().expect("links");
    assert_eq!(links.keys().collect::<Vec<_>>(), ["100 px high", "300 px high"]);
    assert_eq!(list[0]["thumbnails"][0]["height"], 100);
    assert_eq!(app.rows("thumbnails").await, 3, "nothing is deleted");
}

#[tokio::test]
async fn images_deleted_while_their_thumbnails_are_made_leave_nothing() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let picture = pictures::jpeg(600, 400);
    let mut images = Vec::new();
    for n in 0..20 {
        images.push(client.uploaded(&format!("{n}.jpg"), picture.clone()).await);
    }
    app.start_worker().await;
    let asked_and_deleted = images.iter().map(|image| async {
        for name in ["200 px high", "400 px high"] {
            client
                .get(image["file_urls"][name].as_str().expect("a link"))
                .await
                .expect(StatusCode::ACCEPTED);
        }
        client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    });
    futures::future::join_all(asked_and_deleted).await;
    app.stop_worker().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
    assert_eq!(app.rows("thumbnails").await, 0);
}

#[tokio::test]
async fn an_image_or_a_list_that_the_client_has_is_not_sent_again() {
    let mut app = TestApp::start().await;
    let user = app.user("Basic").await;
    let image = user.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    let url = format!("/api/images/{}", image["pk"]);
    for url in [url.as_str(), "/api/images"] {
        let first = user.get(url).await.expect(StatusCode::OK);
        assert_eq!(first.header("content-type"), "application/json");
        let known = [("if-none-match", first.header("etag"))];
        let second = user.get_with(url, &known).await.expect(StatusCode::NOT_MODIFIED);
        assert_eq!(second.header("etag"), first.header("etag"));
        assert!(second.body.is_empty());
    }
    let before = user.get("/api/images").await.header("etag").to_owned();
    user.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    user.get_with("/api/images", &[("if-none-match", &before)]).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn an_image_that_was_changed_meanwhile_is_neither_renamed_nor_deleted() {
    let mut app = TestApp::start().await;
    let user = app.user("Basic").await;
    let image = user.uploaded("a.jpg", pictures::jpeg(40, 30)).await;
    let url = format!("/api/images/{}", image["pk"]);
    let change = async |method: Method, tag: &str| {
        let request = user.request(method.clone(), &url).header("if-match", tag);
        let renames = method == Method::PATCH;
        send(if renames { request.json(&json!({"title": tag})) } else { request }).await
    };
    let old = user.get(&url).await.header("etag").to_owned();
    change(Method::PATCH, &old).await.expect(StatusCode::OK);
    for method in [Method::PATCH, Method::DELETE] {
        // the last one is not a tag without quotes, and no reason to go ahead
        for tag in [old.as_str(), "\"other\"", "abc"] {
            change(method.clone(), tag).await.expect_problem(412, "precondition-failed");
        }
    }
    assert_eq!(user.get(&url).await.json()["title"], old);
    change(Method::PATCH, "*").await.expect(StatusCode::OK);
    let now = user.get(&url).await.header("etag").to_owned();
    change(Method::DELETE, &format!("\"other\", {now}")).await.expect(StatusCode::NO_CONTENT);
    change(Method::DELETE, &now).await.expect_problem(404, "not-found");
    app.run_jobs().await;
}
