//! Tiers: a change is effective on the next request.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use shared::db;

use crate::harness::{TestApp, pictures};

#[tokio::test]
async fn moving_a_user_to_another_tier_acts_on_the_next_request() {
    let app = TestApp::start().await;
    let id = app.create_user("ada", "Basic").await;
    let ada = app.logged_in("ada").await;
    ada.uploaded("a.png", pictures::png(10, 10)).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    let enterprise = db::tiers::by_name(&mut connection, "Enterprise")
        .await
        .expect("a query")
        .expect("the tier");
    db::users::set_tier(&mut connection, id, enterprise.id).await.expect("another tier");

    let list = ada.get("/api/images").await.expect(StatusCode::OK).json();
    let links = list[0]["file_urls"].as_object().expect("links");
    let names: BTreeSet<_> = links.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["200 px high", "400 px high", "original"]));
    assert_ne!(list[0]["expiring_link_generator"], "");
    app.anonymous().get(links["original"].as_str().expect("a link")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_tiers_largest_upload_holds_below_the_servers() {
    let app = TestApp::start().await;
    app.change_tier("Basic", |tier| {
        tier.max_upload_bytes = 500.try_into().expect("bytes");
    })
    .await;
    let client = app.user("Basic").await;
    client.upload("a.png", pictures::png(100, 100)).await.expect_problem(413, "too-large");
    app.expect_nothing_left().await;
}

#[tokio::test]
async fn the_database_itself_keeps_the_rules() {
    let app = TestApp::start().await;
    app.create_user("ada", "Basic").await;
    for (statement, constraint) in [
        ("UPDATE tiers SET thumbnail_heights = '{0}'", "tiers_heights_valid"),
        ("UPDATE tiers SET thumbnail_heights = '{4001}'", "tiers_heights_valid"),
        ("UPDATE tiers SET thumbnail_heights = '{400,200}'", "tiers_heights_valid"),
        ("UPDATE tiers SET thumbnail_heights = '{200,200}'", "tiers_heights_valid"),
        ("UPDATE tiers SET thumbnail_heights = '{NULL}'", "tiers_heights_valid"),
        (
            "UPDATE tiers SET thumbnail_heights = array(SELECT generate_series(1, 17))",
            "tiers_heights_valid",
        ),
        ("UPDATE tiers SET name = 'Basic'", "tiers_name_key"),
        ("UPDATE tiers SET is_default = true", "tiers_default_key"),
        ("DELETE FROM tiers WHERE name = 'Basic'", "users_tier_id_fkey"),
        ("UPDATE users SET used_bytes = -1", "users_used_bytes_positive"),
        ("UPDATE users SET closed_at = now()", "users_closed_is_inactive"),
    ] {
        let error = sqlx::query(statement).execute(&app.pool).await.expect_err(statement);
        assert_eq!(db::broken_constraint(&error), Some(constraint), "{statement}");
    }
}

#[tokio::test]
async fn a_link_that_lives_too_short_or_too_long_is_refused_by_the_database_too() {
    let app = TestApp::start().await;
    app.user("Basic").await.uploaded("a.png", pictures::png(10, 10)).await;
    for seconds in [299, 30_001] {
        let insert = sqlx::query(
            "INSERT INTO expiring_links (id, image_id, valid_for, created_at, expires_at)
             SELECT gen_random_uuid(), id, $1, now(), now() + make_interval(secs => $1) FROM images",
        );
        let error = insert.bind(seconds).execute(&app.pool).await.expect_err("a broken rule");
        assert_eq!(db::broken_constraint(&error), Some("expiring_links_valid_for_range"));
    }
}
