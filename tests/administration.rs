//! The administrators' pages, as a browser without scripts sends and gets them.

use reqwest::StatusCode;
use serde_json::json;
use shared::{db, domain::TierId};

use crate::harness::{Client, ImageLinks, TestApp, pictures};

const PAGES: [&str; 9] = [
    "/admin",
    "/admin/users",
    "/admin/users/new",
    "/admin/tiers",
    "/admin/tiers/new",
    "/admin/images",
    "/admin/links",
    "/admin/jobs",
    "/admin/history",
];

pub(crate) async fn tier_id(app: &TestApp, name: &str) -> TierId {
    let mut connection = app.pool.acquire().await.expect("a connection");
    db::tiers::by_name(&mut connection, name).await.expect("a query").expect("the tier").id
}

/// What the history says last.
pub(crate) async fn last_actions(app: &TestApp, count: i64) -> Vec<String> {
    let actions = "SELECT actor_name || ' ' || action || ' ' || object_type || ' ' || object_label
        FROM admin_actions ORDER BY id DESC LIMIT $1";
    sqlx::query_scalar(actions).bind(count).fetch_all(&app.pool).await.expect("a history")
}

pub(crate) fn tier_form<'a>(name: &'a str, heights: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("name", name),
        ("thumbnail_heights", heights),
        ("max_upload_bytes", "20 MiB"),
        ("storage_quota_bytes", "1 GiB"),
    ]
}

#[tokio::test]
async fn only_administrators_see_the_panel() {
    let app = TestApp::start().await;
    let (admin, ada, nobody) = (app.admin().await, app.user("Enterprise").await, app.anonymous());
    for path in PAGES {
        admin.page(path).await.expect(StatusCode::OK);
        ada.page(path).await.expect(StatusCode::FORBIDDEN);
        nobody.page(path).await.expect(StatusCode::SEE_OTHER);
    }
    for path in [
        "/admin/users/tier",
        "/admin/users/1/password",
        "/admin/jobs/retry",
        "/admin/images/delete",
    ] {
        ada.send_form(path, &[("ids", "1"), ("tier", "1")]).await.expect(StatusCode::FORBIDDEN);
    }
    assert!(admin.page("/").await.html().contains("/admin"));
    assert!(!ada.page("/").await.html().contains("/admin"));
}

#[tokio::test]
async fn what_a_url_asks_of_a_table_has_to_make_sense() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for path in [
        "/admin/users?sort=x",
        "/admin/users?active=perhaps",
        "/admin/users?cursor=x",
        "/admin/images?cursor=1",
        "/admin/images?id=x",
        "/admin/images?failed=x",
        "/admin/images?sort=x",
        "/admin/links?cursor=1-x",
        "/admin/jobs?state=x",
        "/admin/history?cursor=x",
        "/admin/images/delete",
    ] {
        admin.page(path).await.expect(StatusCode::UNPROCESSABLE_ENTITY);
    }
    for path in ["/admin/users/99", "/admin/tiers/99", "/admin/users/x", "/admin/images/99/preview"]
    {
        admin.page(path).await.expect(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_tier_is_created_copied_and_acts_at_once() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    let mut fields = tier_form("Studio", "300, 150");
    fields.push(("expiring_links", "on"));
    admin.send_form("/admin/tiers/new", &fields).await.expect_redirect("/admin/tiers");
    admin.page("/admin/tiers").await.expect_page(StatusCode::OK, &["Studio", "150, 300 px"]);
    let studio = tier_id(&app, "Studio").await;
    let copy = format!("/admin/tiers/new?copy={studio}");
    let copied = [
        r#"value="Copy of Studio""#,
        r#"value="150, 300""#,
        r#"name="expiring_links" checked"#,
        "20 MiB",
    ];
    admin.page(&copy).await.expect_page(StatusCode::OK, &copied);

    let basic = format!("/admin/tiers/{}", tier_id(&app, "Basic").await);
    let image = ada.uploaded("a.png", pictures::png(10, 10)).await;
    let mut fields = tier_form("Basic", "200, 640");
    fields.extend([("default", "on"), ("original_access", "on")]);
    admin.send_form(&basic, &fields).await.expect_redirect("/admin/tiers");
    let seen = ada.get(&format!("/api/images/{}", image["pk"])).await.json();
    let links: Vec<_> = seen["file_urls"].as_object().expect("links").keys().cloned().collect();
    assert_eq!(links.len(), 3, "{links:?}");
    let history = ["thumbnail_heights: 200 → 200, 640", "original_access: no → yes"];
    admin.page(&basic).await.expect_page(StatusCode::OK, &history);
}

#[tokio::test]
async fn what_is_wrong_with_a_tier_stands_beside_the_fields_and_what_was_typed_stays() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let fields = [
        ("name", " "),
        ("thumbnail_heights", "200, 4001"),
        ("max_upload_bytes", "much"),
        ("storage_quota_bytes", "0"),
        ("original_access", "on"),
    ];
    let refused = admin.send_form("/admin/tiers/new", &fields).await;
    let html = refused.expect_page(
        StatusCode::UNPROCESSABLE_ENTITY,
        &[
            r#"value="200, 4001""#,
            r#"value="much""#,
            r#"name="original_access" checked"#,
            "1 to 4000 px, not 4001",
        ],
    );
    for field in ["name", "thumbnail_heights", "max_upload_bytes", "storage_quota_bytes"] {
        assert!(html.contains(&format!(r#"id="{field}-complaint""#)), "{field}");
    }
    let taken = admin.send_form("/admin/tiers/new", &tier_form("Basic", "")).await;
    taken.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &[r#"id="name-complaint""#, "already"]);
    let basic = format!("/admin/tiers/{}", tier_id(&app, "Basic").await);
    let lost = admin.send_form(&basic, &tier_form("Basic", "200")).await;
    lost.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &[r#"id="default-complaint""#]);
}

#[tokio::test]
async fn a_tier_in_use_is_not_deleted_and_names_who_has_it() {
    let app = TestApp::start().await;
    app.create_user("ada", "Premium").await;
    let admin = app.admin().await;
    let path = async |name: &str| format!("/admin/tiers/{}/delete", tier_id(&app, name).await);
    let premium = path("Premium").await;
    admin.page(&premium).await.expect_page(StatusCode::OK, &["ada", "cannot be deleted"]);
    admin
        .send_form(&premium, &[])
        .await
        .expect_page(StatusCode::CONFLICT, &["Users have this tier", "ada"]);
    let basic = path("Basic").await;
    admin
        .send_form(&basic, &[])
        .await
        .expect_page(StatusCode::CONFLICT, &["New users get this tier"]);
    admin
        .send_form("/admin/tiers/new", &tier_form("Spare", ""))
        .await
        .expect_redirect("/admin/tiers");
    let spare = path("Spare").await;
    admin.send_form(&spare, &[]).await.expect_redirect("/admin/tiers");
    assert_eq!(app.rows("tiers").await, 3);
    assert_eq!(last_actions(&app, 1).await, ["root delete tier Spare"]);
}

async fn uploaded(client: &Client, name: &str) -> String {
    client.uploaded(name, pictures::png(300, 200)).await["pk"].to_string()
}

#[tokio::test]
async fn images_are_found_previewed_and_deleted_together() {
    let mut app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    let (admin, ada, bob) =
        (app.admin().await, app.logged_in("ada").await, app.user("Basic").await);
    let (rome, oslo) =
        (uploaded(&ada, "Rome 100%.png").await, uploaded(&ada, "Oslo, łódź.png").await);
    let other = uploaded(&bob, "Other.png").await;
    let found = async |query: &str| {
        let html =
            admin.page(&format!("/admin/images?{query}")).await.expect(StatusCode::OK).html();
        let rows = html.split(r#"name="ids" value=""#).skip(1);
        rows.map(|row| row.split('"').next().expect("a number").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("").await, [other.clone(), oslo.clone(), rome.clone()]);
    assert_eq!(found("owner=ADA&sort=oldest").await, [rome.clone(), oslo.clone()]);
    assert_eq!(found("owner=nobody").await, Vec::<String>::new());
    assert_eq!(found("title=rome+100%25").await, [rome.as_str()]);
    assert_eq!(found("title=%C5%81%C3%B3d").await, [oslo.as_str()], "łódź like Łód");
    assert_eq!(found(&format!("id={oslo}")).await, [oslo.as_str()]);
    assert_eq!(found("failed=yes").await, Vec::<String>::new());

    admin.page(&format!("/admin/images/{rome}/preview")).await.expect(StatusCode::NOT_FOUND);
    let image = ada.get(&format!("/api/images/{rome}")).await.json();
    ada.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let preview = admin.get(&format!("/admin/images/{rome}/preview")).await.expect(StatusCode::OK);
    assert_eq!(pictures::size(&preview.body), (300, 200));
    let links = format!("/api/images/{rome}/expiring_links");
    ada.post(&links, json!({"valid_for": 300})).await.expect(StatusCode::CREATED);

    let asked = admin.page(&format!("/admin/images/delete?ids={rome}&ids={other}")).await;
    asked.expect_page(
        StatusCode::OK,
        &["Delete 2 images?", "Rome 100%", "Other", "1 live expiring link", "of ada"],
    );
    let fields = [("ids", rome.as_str()), ("ids", other.as_str()), ("ids", "999")];
    admin.send_form("/admin/images/delete", &fields).await.expect_redirect("/admin/images");
    admin.page("/admin/images").await.expect_page(StatusCode::OK, &["Deleted 2 images."]);
    app.run_jobs().await;
    assert_eq!((app.rows("images").await, app.objects().await.len()), (1, 1));
    assert_eq!(bob.get("/api/session").await.json()["used_bytes"], 0);
    assert_eq!(
        last_actions(&app, 2).await,
        ["root delete image Other", "root delete image Rome 100%"]
    );
}

#[tokio::test]
async fn links_of_everybody_are_listed_and_revoked() {
    let app = TestApp::start().await;
    app.create_user("ada", "Enterprise").await;
    let (admin, ada) = (app.admin().await, app.logged_in("ada").await);
    let pk = uploaded(&ada, "Rome.png").await;
    let links = format!("/api/images/{pk}/expiring_links");
    let made = ada.post(&links, json!({"valid_for": 300})).await.expect(StatusCode::CREATED).json();
    ada.post(&links, json!({"valid_for": 600, "height": 200})).await.expect(StatusCode::CREATED);
    let listed = admin.page("/admin/links?owner=ada").await;
    listed.expect_page(StatusCode::OK, &["Rome", "Original", "200 px", "4 min 59 s", "9 min 59 s"]);
    assert!(admin.page("/admin/links?owner=root").await.html().contains("No live links."));
    let revoke = format!("/admin/links/{}/revoke", made["id"].as_str().expect("an id"));
    admin.send_form(&revoke, &[]).await.expect_redirect("/admin/links");
    admin.send_form(&revoke, &[]).await.expect(StatusCode::NOT_FOUND);
    app.anonymous()
        .get(made["link"].as_str().expect("a link"))
        .await
        .expect_problem(404, "not-found");
    assert_eq!(last_actions(&app, 1).await, ["root revoke link Rome"]);
}

#[tokio::test]
async fn jobs_are_listed_retried_and_discarded() {
    let mut app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("Basic").await);
    let image = ada.uploaded("a.png", pictures::png(10, 10)).await;
    ada.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    let id: String =
        sqlx::query_scalar("SELECT id FROM apalis.jobs").fetch_one(&app.pool).await.expect("a job");
    let waiting = admin.page("/admin/jobs").await;
    waiting.expect_page(
        StatusCode::OK,
        &["Waiting (1)", &id, &format!("image {}", image["pk"]), "0 of 5"],
    );
    admin.page("/admin/jobs?queue=clean-up").await.expect_page(StatusCode::OK, &["No jobs."]);

    let die = "UPDATE apalis.jobs SET status = 'Killed', attempts = 5, done_at = now()";
    sqlx::query(die).execute(&app.pool).await.expect("a dead job");
    let dead = admin.page("/admin/jobs?state=dead&queue=thumbnails").await;
    dead.expect_page(StatusCode::OK, &["Dead (1)", "5 of 5"]);
    let back = "state=dead&queue=thumbnails";
    let refused = admin.send_form("/admin/jobs/retry", &[("back", back)]).await;
    refused.expect_page(StatusCode::UNPROCESSABLE_ENTITY, &["Select at least one job."]);
    let all = [("all", "yes"), ("back", back)];
    admin
        .send_form("/admin/jobs/retry", &all)
        .await
        .expect_redirect(&format!("/admin/jobs?{back}"));
    admin
        .page("/admin/jobs")
        .await
        .expect_page(StatusCode::OK, &["1 job will be retried now.", "Waiting (1)"]);
    app.run_jobs().await;
    let state = ada.get(&format!("/api/images/{}/thumbnails/200", image["pk"])).await.json();
    assert_eq!(state["state"], "ready");

    let other = ada.uploaded("b.png", pictures::png(10, 10)).await;
    ada.get(other.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    let id: String = sqlx::query_scalar("SELECT id FROM apalis.jobs WHERE status = 'Pending'")
        .fetch_one(&app.pool)
        .await
        .expect("a job");
    admin.send_form("/admin/jobs/discard", &[("ids", &id)]).await.expect_redirect("/admin/jobs?");
    let state = ada.get(&format!("/api/images/{}/thumbnails/200", other["pk"])).await.json();
    assert_eq!(state["state"], "absent");
    assert_eq!(
        last_actions(&app, 2).await,
        ["root discard job thumbnails", "root retry job thumbnails"]
    );
}

#[tokio::test]
async fn the_overview_counts_what_there_is_and_warns_of_default_passwords() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("Premium").await);
    uploaded(&ada, "a.png").await;
    let warn = "UPDATE users SET password_is_default = true WHERE is_admin";
    let html = admin.page("/admin").await.html();
    assert!(!html.contains("Everybody knows"));
    for count in [
        "Users</a> <strong>2<",
        "Images</a> <strong>1<",
        "Sessions <strong>2<",
        "Not requested yet <strong>2<",
        "Ready <strong>0<",
    ] {
        assert!(html.contains(count), "no {count} in {html}");
    }
    sqlx::query(warn).execute(&app.pool).await.expect("a default password");
    admin
        .page("/admin")
        .await
        .expect_page(StatusCode::OK, &["root can log in with the default password"]);
}

#[tokio::test]
async fn the_history_is_kept_for_each_thing() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for name in ["One", "Two"] {
        admin
            .send_form("/admin/tiers/new", &tier_form(name, "100"))
            .await
            .expect_redirect("/admin/tiers");
    }
    admin
        .page("/admin/history")
        .await
        .expect_page(StatusCode::OK, &["One", "Two", "thumbnail_heights: 100"]);
    let of_one = format!("/admin/history?kind=tier&id={}", tier_id(&app, "One").await);
    let html = admin.page(&of_one).await.expect_page(StatusCode::OK, &["One"]);
    assert!(!html.contains("Two"));
    let users = admin.page("/admin/history?kind=user").await.html();
    assert!(users.contains("Nothing yet."));
}

#[tokio::test]
async fn both_tiers_have_an_entry_when_the_default_moves() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let mut form = tier_form("New", "");
    form.push(("default", "on"));
    admin.send_form("/admin/tiers/new", &form).await.expect_redirect("/admin/tiers");
    assert_eq!(last_actions(&app, 2).await, ["root create tier New", "root update tier Basic"]);
    let basic = format!("/admin/tiers/{}", tier_id(&app, "Basic").await);
    admin.page(&basic).await.expect_page(StatusCode::OK, &["default: yes → no"]);
}
