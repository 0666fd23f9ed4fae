//! The pages of users, as a browser without scripts sends and gets them. What a browser makes of
//! them is tested in `browser.rs`.

use reqwest::{
    Method, StatusCode,
    multipart::{Form, Part},
};
use serde_json::json;
use shared::db;

use crate::harness::{ImageLinks, PASSWORD, TestApp, pictures, send};

fn file(name: &str, bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name(name.to_owned())
}

#[tokio::test]
async fn whoever_is_not_logged_in_is_sent_to_log_in_and_then_where_they_came_for() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let ada = app.anonymous();
    ada.page("/").await.expect_redirect("/login");
    ada.page("/images/7?a=b").await.expect_redirect("/login?next=%2Fimages%2F7%3Fa%3Db");
    ada.page("/login?next=/account")
        .await
        .expect_page(StatusCode::OK, &[r#"name="next" value="/account""#]);

    let typed = [("username", "ada"), ("password", "wrong"), ("next", "/account")];
    let again = ada.send_form("/login", &typed).await;
    again.expect_page(
        StatusCode::UNAUTHORIZED,
        &[r#"value="ada""#, r#"value="/account""#, "No active account"],
    );
    let typed = [("username", "ada"), ("password", PASSWORD), ("next", "/account")];
    ada.send_form("/login", &typed).await.expect_redirect("/account");
    ada.page("/account").await.expect_page(StatusCode::OK, &["ada", "Basic", "200 px high"]);
    ada.page("/login?next=/account").await.expect_redirect("/account");

    ada.send_form("/logout", &[]).await.expect_redirect("/login");
    ada.page("/account").await.expect_redirect("/login?next=%2Faccount");
    assert_eq!(app.rows("sessions").await, 0);
}

#[tokio::test]
async fn a_login_never_leads_to_another_site() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    for elsewhere in ["https://evil.example/", "//evil.example/", r"/\evil.example", "/a\r\nb"] {
        let typed = [("username", "ada"), ("password", PASSWORD), ("next", elsewhere)];
        app.anonymous().send_form("/login", &typed).await.expect_redirect("/");
    }
}

#[tokio::test]
async fn tries_to_log_in_by_the_page_count_as_those_by_the_api() {
    let app = TestApp::start_with(|config| config.limits.login_max_failures = 1).await;
    app.create_user("ada", "Basic").await;
    let ada = app.anonymous();
    ada.log_in("ada", "wrong").await.expect_problem(401, "wrong-credentials");
    let typed = [("username", "ada"), ("password", PASSWORD)];
    let refused = ada.send_form("/login", &typed).await;
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
    refused.expect_page(StatusCode::TOO_MANY_REQUESTS, &["Too many logins failed"]);
}

#[tokio::test]
async fn another_site_sends_no_form() {
    let app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let request = ada.request(Method::POST, "/logout").header("sec-fetch-site", "cross-site");
    send(request.header("accept", "text/html").form(&[("a", "b")]))
        .await
        .expect(StatusCode::FORBIDDEN);
    ada.get("/api/session").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere_and_are_kept_by_nobody() {
    let app = TestApp::start().await;
    let ada = app.user("Basic").await;
    for path in ["/login", "/", "/account", "/nowhere", "/images/99"] {
        let page = ada.page(path).await;
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{path}: {policy}"
        );
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        let html = page.html();
        assert!(
            !html.contains("<script>") && !html.contains(" style=") && !html.contains(" onclick="),
            "{html}"
        );
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_version() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    let html = nobody.page("/login").await.html();
    let style = html
        .split('"')
        .find(|part| part.ends_with("/style.css"))
        .expect("a style sheet")
        .to_owned();
    let answer = nobody.get(&style).await.expect(StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
    let other = nobody.get("/assets/another-version/app.js").await.expect(StatusCode::OK);
    assert_eq!(other.header("cache-control"), "no-cache");
    nobody.get("/assets/x/Cargo.toml").await.expect_problem(404, "not-found");
    nobody.get("/favicon.ico").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_problem_is_a_page_for_people_and_json_for_programs() {
    let app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let page = ada.page("/images/99").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let id = page.header("x-request-id").to_owned();
    page.expect_page(StatusCode::NOT_FOUND, &["There is no such image.", &id]);
    ada.get("/images/99/tile").await.expect_problem(404, "not-found");
    ada.page("/api/images/99").await.expect_problem(404, "not-found");
    let expired =
        app.anonymous().page(&format!("/user_content/expiring/{}/", uuid::Uuid::new_v4())).await;
    expired.expect_page(StatusCode::NOT_FOUND, &["style.css", "There is no such file."]);
}

#[tokio::test]
async fn a_form_uploads_several_files_and_says_of_each_what_is_wrong() {
    let app = TestApp::start().await;
    let ada = app.user("Premium").await;
    let form = Form::new().part("file", file("one.png", pictures::png(30, 20)));
    let form = form.part("file", file("two.jpg", pictures::jpeg(30, 20)));
    ada.send_files("/images", form).await.expect_redirect("/");
    let gallery = ada.page("/").await;
    gallery
        .expect_page(StatusCode::OK, &["Uploaded 2 images.", "one", "two", "400 px", "Original"]);
    let again = ada.page("/").await.html();
    assert!(!again.contains("Uploaded 2 images."), "a message is shown once");

    let form = Form::new().part("file", file("three.png", pictures::png(30, 20)));
    let form = form.part("file", file("<b>notes</b>.png", b"no picture".to_vec()));
    let mixed = ada.send_files("/images", form).await;
    let html = mixed.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &["three", "&#60;b&#62;notes"]);
    assert!(!html.contains("<b>notes"), "a name is text");
    assert_eq!(app.rows("images").await, 3);
    ada.page("/images").await.expect_redirect("/");
}

#[tokio::test]
async fn a_form_without_a_file_keeps_nothing_and_says_so() {
    let app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let form = Form::new().part("file", file("", Vec::new()));
    let refused = ada.send_files("/images", form).await;
    refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &["Choose at least one file."]);
    app.expect_nothing_left().await;
}

#[tokio::test]
async fn the_gallery_has_each_image_once_on_pages_that_follow_each_other() {
    let app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let id = ada.uploaded("a.png", pictures::png(10, 10)).await["pk"].as_i64().expect("a number");
    let more = "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
        SELECT owner_id, gen_random_uuid(), 'copy', format, width, height, bytes, uploaded_at
        FROM images, generate_series(1, 60) WHERE id = $1";
    sqlx::query(more).bind(id).execute(&app.pool).await.expect("more images");
    let (mut seen, mut path) = (Vec::new(), "/".to_owned());
    loop {
        let html = ada.page(&path).await.expect(StatusCode::OK).html();
        let tiles = html.split(r#"data-image=""#).skip(1);
        seen.extend(tiles.map(|tile| tile.split('"').next().expect("a number").to_owned()));
        let Some(next) = html.split(r#"<a href=""#).find(|link| link.contains("data-more")) else {
            break;
        };
        path = next.split('"').next().expect("a path").to_owned();
    }
    let mut distinct = seen.clone();
    distinct.dedup();
    assert_eq!((seen.len(), distinct.len()), (61, 61));
    ada.page("/?cursor=x").await.expect(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_placeholder_stands_in_the_page_once_a_worker_has_seen_the_image() {
    let mut app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let image = ada.uploaded("a.png", pictures::png(300, 200)).await;
    let awaited = ada.page("/").await.expect_page(StatusCode::OK, &["data-awaited", "<noscript>"]);
    assert!(!awaited.contains("data:image/png;base64,"));
    let url = image.thumbnail(200).to_owned();
    ada.get(&url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let ready = ada
        .page("/")
        .await
        .expect_page(StatusCode::OK, &["data:image/png;base64,", r#"class="thumbnail""#]);
    assert!(!ready.contains("data-awaited"));
}

#[tokio::test]
async fn an_image_is_renamed_and_a_title_that_breaks_the_rules_stays_typed() {
    let app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let pk = ada.uploaded("a.png", pictures::png(10, 10)).await["pk"].to_string();
    let title = format!("/images/{pk}/title");
    ada.send_form(&title, &[("title", "Holiday in Rome")])
        .await
        .expect_redirect(&format!("/images/{pk}"));
    let page = ada.page(&format!("/images/{pk}")).await;
    page.expect_page(StatusCode::OK, &["Renamed.", "<h1 class=\"wrap\">Holiday in Rome</h1>"]);
    let long = "x".repeat(256);
    let refused = ada.send_form(&title, &[("title", &long)]).await;
    refused.expect_page(
        StatusCode::UNPROCESSABLE_ENTITY,
        &[&long, "a title has 1 to 255 characters", "Holiday"],
    );
    app.user("Basic")
        .await
        .send_form(&title, &[("title", "x")])
        .await
        .expect(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn deleting_asks_first_and_names_what_goes() {
    let mut app = TestApp::start().await;
    let ada = app.user("Enterprise").await;
    let image = ada.uploaded("Rome.png", pictures::png(300, 200)).await;
    let url = image.thumbnail(200);
    ada.get(url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let links = image["expiring_link_generator"].as_str().expect("a link");
    ada.post(links, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);
    let path = format!("/images/{}/delete", image["pk"]);
    let asked = ada.page(&path).await;
    asked.expect_page(
        StatusCode::OK,
        &["Rome", "300 × 200 px", "1 thumbnail", "1 live expiring link"],
    );
    assert_eq!(app.rows("images").await, 1);
    app.user("Basic").await.send_form(&path, &[]).await.expect(StatusCode::NOT_FOUND);
    ada.send_form(&path, &[]).await.expect_redirect("/");
    app.run_jobs().await;
    assert_eq!((app.rows("images").await, app.objects().await.len()), (0, 0));
}

#[tokio::test]
async fn expiring_links_are_made_by_presets_and_by_seconds_and_revoked() {
    let app = TestApp::start().await;
    let ada = app.user("Enterprise").await;
    let pk = ada.uploaded("a.png", pictures::png(10, 10)).await["pk"].to_string();
    let (image, links) = (format!("/images/{pk}"), format!("/images/{pk}/links"));
    let preset = [("target", "original"), ("valid_for", "nonsense"), ("preset", "28800")];
    ada.send_form(&links, &preset).await.expect_redirect(&format!("{image}#links"));
    ada.page(&image).await.expect_page(StatusCode::OK, &["It expires in 8 hours.", "7 h 59 min"]);
    let typed = [("target", "200"), ("valid_for", "300")];
    ada.send_form(&links, &typed).await.expect_redirect(&format!("{image}#links"));
    let html = ada.page(&image).await.expect_page(StatusCode::OK, &["4 min 59 s"]);
    assert_eq!(app.rows("expiring_links").await, 2);

    let revoke = html.split('"').find(|part| part.ends_with("/revoke")).expect("a form").to_owned();
    ada.send_form(&revoke, &[]).await.expect_redirect(&format!("{image}#links"));
    assert_eq!(app.rows("expiring_links").await, 1);
    for (target, valid_for, complaint) in [
        ("original", "299", "300 to 30000"),
        ("200", "soon", "not a whole number"),
        ("300", "300", "300 px high"),
    ] {
        let refused = ada.send_form(&links, &[("target", target), ("valid_for", valid_for)]).await;
        let typed = format!(r#"value="{valid_for}""#);
        refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &[complaint, &typed]);
    }
    let premium = app.user("Premium").await;
    let pk = premium.uploaded("a.png", pictures::png(10, 10)).await["pk"].to_string();
    let denied = premium.send_form(&format!("/images/{pk}/links"), &[("target", "original")]).await;
    denied.expect(StatusCode::FORBIDDEN);
}

const WHY_DAMAGED: &str = "No thumbnail: The picture&#39;s compressed data are damaged.";

#[tokio::test]
async fn a_failed_thumbnail_says_why_and_is_tried_again() {
    let mut app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let image = ada.uploaded("a.png", pictures::png_with_damaged_pixels()).await;
    let url = image.thumbnail(200);
    ada.get(url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let retry = format!("/images/{}/thumbnails/200/retry", image["pk"]);
    ada.page("/").await.expect_page(StatusCode::OK, &[WHY_DAMAGED, &retry, "Try again"]);
    ada.send_form(&retry, &[]).await.expect_redirect(&format!("/images/{}", image["pk"]));
    ada.page("/").await.expect_page(StatusCode::OK, &["data-awaited"]);
    app.run_jobs().await;
    ada.page("/").await.expect_page(StatusCode::OK, &[WHY_DAMAGED]);
}

#[tokio::test]
async fn changing_the_password_ends_the_other_sessions_and_a_wrong_one_is_told_beside_its_field() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let (here, there) = (app.logged_in("ada").await, app.logged_in("ada").await);
    let form = |current: &'static str, new: &'static str, again: &'static str| {
        [("current_password", current), ("new_password", new), ("repeated_password", again)]
    };
    for (fields, complaint) in [
        (
            form("wrong", "another password", "another password"),
            "This is not your current password.",
        ),
        (form(PASSWORD, "short", "short"), "at least 8 characters"),
        (form(PASSWORD, "another password", "yet another one"), "The two new passwords differ."),
    ] {
        let refused = here.send_form("/account/password", &fields).await;
        refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &[complaint]);
    }
    there.page("/account").await.expect(StatusCode::OK);
    let fields = form(PASSWORD, "another password", "another password");
    here.send_form("/account/password", &fields).await.expect_redirect("/account");
    here.page("/account").await.expect_page(StatusCode::OK, &["Password changed."]);
    there.page("/account").await.expect(StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_default_password_is_warned_of_on_every_page_until_it_is_changed() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let ada = app.logged_in("ada").await;
    let warning = "still has the default password";
    assert!(!ada.page("/").await.html().contains(warning));
    let mut connection = app.pool.acquire().await.expect("a connection");
    let credentials =
        db::users::credentials(&mut connection, &"ada".parse().expect("a name")).await;
    let hash = credentials.expect("a query").expect("an account").password_hash;
    db::users::set_password(&mut connection, id, &hash, true).await.expect("a default password");
    let ada = app.logged_in("ada").await;
    for path in ["/", "/account"] {
        ada.page(path).await.expect_page(StatusCode::OK, &[warning]);
    }
}

#[tokio::test]
async fn one_account_sees_nothing_of_another() {
    let app = TestApp::start().await;
    let ada = app.user("Enterprise").await;
    let pk = ada.uploaded("secret.png", pictures::png(10, 10)).await["pk"].to_string();
    let eve = app.user("Enterprise").await;
    assert!(!eve.page("/").await.html().contains("secret"));
    for path in ["", "/tile", "/delete"] {
        eve.page(&format!("/images/{pk}{path}")).await.expect(StatusCode::NOT_FOUND);
    }
    for path in ["title", "delete", "links", "thumbnails/200/retry"] {
        let fields = [("title", "x"), ("target", "original"), ("valid_for", "300")];
        eve.send_form(&format!("/images/{pk}/{path}"), &fields).await.expect(StatusCode::NOT_FOUND);
    }
}
