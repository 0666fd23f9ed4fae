//! What the administrators' pages read and change, on rows of every kind.

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::{
    db::{
        self,
        admin::{
            Count,
            history::{self, HistoryFilter},
            images::{self, ImageCursor, ImageFilter, ImageSort},
            links::{self, LinkCursor},
            plan_for_values, statistics, tiers,
            users::{self, UserChange, UserFilter, UserSort},
        },
    },
    domain::{
        Actor, AuditAction, AuditEntry, AuditKind, AuditObject, ImageId, Tier, TierId, TierSpec,
        User, UserId, Username,
    },
    postgres,
};
use sqlx::{PgConnection, PgPool};

use crate::harness::TestApp;

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.expect(statement);
}

async fn numbers(pool: &PgPool, query: &'static str) -> Vec<i64> {
    sqlx::query_scalar(query).fetch_all(pool).await.expect(query)
}

/// 30 accounts, of which each three use the same number of bytes, with an administrator and an
/// inactive one.
async fn insert_users(app: &TestApp) {
    let insert =
        "INSERT INTO users (username, password_hash, tier_id, is_admin, is_active, used_bytes, created_at)
        SELECT (ARRAY['Ann_', 'bob.', 'CYD+'])[1 + n % 3] || n, '', (ARRAY[1, 3])[1 + n / 20], n = 7, n <> 8,
               n / 3, now()
        FROM generate_series(0, 29) AS n";
    run(&app.pool, insert).await;
}

/// 12 images of account 1 and 8 of account 2; each four are of the same size.
async fn insert_images(app: &TestApp) {
    insert_users(app).await;
    let insert = "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
        SELECT 1 + n / 12, gen_random_uuid(), CASE n WHEN 3 THEN '100% Rome' WHEN 4 THEN 'ROME' ELSE 'IMG_' || n END,
               'png', 4, 3, 1 + n / 4, now()
        FROM generate_series(0, 19) AS n";
    run(&app.pool, insert).await;
    let insert = "INSERT INTO thumbnails (id, image_id, height, state, failure_reason)
        SELECT gen_random_uuid(), id, height, CASE WHEN fails THEN 'failed' ELSE 'absent' END,
               CASE WHEN fails THEN 'it ends early' END
        FROM (SELECT i.id, h AS height, i.id % 6 = 0 AND h = 200 AS fails
              FROM images i, unnest('{200,400}'::int[]) AS h) AS t";
    run(&app.pool, insert).await;
}

#[tokio::test]
async fn every_order_pages_through_all_accounts_once() {
    let app = TestApp::start().await;
    insert_users(&app).await;
    for (sort, expected) in [
        (UserSort::Newest, "SELECT id FROM users ORDER BY id DESC"),
        (UserSort::Oldest, "SELECT id FROM users ORDER BY id"),
        (UserSort::NameAscending, "SELECT id FROM users ORDER BY lower(username)"),
        (UserSort::NameDescending, "SELECT id FROM users ORDER BY lower(username) DESC"),
        (UserSort::MostUsed, "SELECT id FROM users ORDER BY used_bytes DESC, id DESC"),
        (UserSort::LeastUsed, "SELECT id FROM users ORDER BY used_bytes, id"),
    ] {
        let mut tx = postgres::begin(&app.pool).await.expect("a transaction");
        plan_for_values(&mut tx).await.expect("a setting");
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page =
                users::page(&mut tx, &UserFilter::default(), sort, after, 7).await.expect("a page");
            after = page.last().map(|user| user.id);
            seen.extend(page.iter().map(|user| user.id.0));
            if page.len() < 7 {
                break;
            }
        }
        assert_eq!(seen, numbers(&app.pool, expected).await, "{sort:?}");
    }
}

#[tokio::test]
async fn accounts_are_found_by_each_filter_and_all_together() {
    let app = TestApp::start().await;
    insert_users(&app).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    let every = UserFilter::default();
    let search = |text: &str| UserFilter { search: Some(text.to_owned()), ..UserFilter::default() };
    for (filter, expected) in [
        (search("aNN"), "SELECT id FROM users WHERE username LIKE 'Ann%' ORDER BY id"),
        // a sign of patterns stands for itself
        (
            search("n_1"),
            "SELECT id FROM users WHERE username LIKE 'Ann~_1%' ESCAPE '~' ORDER BY id",
        ),
        (search("%"), "SELECT id FROM users WHERE false"),
        (
            UserFilter { tier: Some(TierId(3)), ..every.clone() },
            "SELECT id FROM users WHERE tier_id = 3 ORDER BY id",
        ),
        (
            UserFilter { is_active: Some(false), ..every.clone() },
            "SELECT id FROM users WHERE NOT is_active",
        ),
        (
            UserFilter { is_admin: Some(true), ..every.clone() },
            "SELECT id FROM users WHERE is_admin",
        ),
        (
            UserFilter {
                tier: Some(TierId(1)),
                is_active: Some(true),
                is_admin: Some(false),
                ..search("cyd")
            },
            "SELECT id FROM users WHERE tier_id = 1 AND is_active AND NOT is_admin AND username LIKE 'CYD%' ORDER BY id",
        ),
    ] {
        let page = users::page(&mut connection, &filter, UserSort::Oldest, None, 50)
            .await
            .expect("a page");
        let found: Vec<_> = page.iter().map(|user| user.id.0).collect();
        assert_eq!(found, numbers(&app.pool, expected).await, "{filter:?}");
    }
}

#[tokio::test]
async fn accounts_and_tiers_change_as_far_as_the_rules_of_the_database_let_them() {
    let app = TestApp::start().await;
    insert_users(&app).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    let connection = &mut *connection;
    assert_eq!(users::count_active_admins(connection).await.expect("a count"), 1);
    let locked = users::lock(connection, &[UserId(9), UserId(3), UserId(99)]).await.expect("rows");
    assert_eq!(locked.iter().map(|user| user.id.0).collect::<Vec<_>>(), [3, 9]);
    let (name, taken) = ("eve".parse().expect("a name"), "BOB.1".parse().expect("a name"));
    let mut change =
        UserChange { username: &name, tier: TierId(3), is_admin: true, is_active: false };
    users::update(connection, UserId(3), &change).await.expect("an update");
    let user = users::find(connection, UserId(3)).await.expect("a query").expect("an account");
    assert_eq!((user.username.as_str(), user.tier_name.as_str()), ("eve", "Enterprise"));
    assert!(user.is_admin && !user.is_active);
    change.username = &taken;
    let refused =
        users::update(connection, UserId(3), &change).await.expect_err("a name that is taken");
    assert_eq!(db::broken_constraint(&refused), Some(db::users::USERNAME_KEY));

    users::set_tier(connection, &[UserId(4), UserId(5)], TierId(3)).await.expect("an update");
    let listed = tiers::all(connection).await.expect("tiers");
    assert_eq!(listed.iter().map(|listed| listed.users).collect::<Vec<_>>(), [17, 0, 13]);
    let in_use = tiers::delete(connection, TierId(3)).await.expect_err("a tier in use");
    assert_eq!(db::broken_constraint(&in_use), Some(tiers::IN_USE));
    assert_eq!(
        tiers::users_of(connection, TierId(3), 2).await.expect("accounts")[0].1.as_str(),
        "eve"
    );
    tiers::delete(connection, TierId(2)).await.expect("a deleted tier");
    assert!(tiers::find(connection, TierId(2)).await.expect("a query").is_none());
}

async fn image_numbers(
    connection: &mut PgConnection,
    filter: &ImageFilter,
    now: DateTime<Utc>,
) -> Vec<i64> {
    let page =
        images::page(connection, filter, ImageSort::Oldest, None, 50, now).await.expect("a page");
    page.iter().map(|listed| listed.image.id.0).collect()
}

#[tokio::test]
async fn every_order_pages_through_all_images_once() {
    let app = TestApp::start().await;
    insert_images(&app).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    for (sort, failed, expected) in [
        (ImageSort::Newest, false, "SELECT id FROM images ORDER BY id DESC"),
        (ImageSort::Oldest, false, "SELECT id FROM images ORDER BY id"),
        (ImageSort::Largest, false, "SELECT id FROM images ORDER BY bytes DESC, id DESC"),
        (ImageSort::Newest, true, "SELECT id FROM images WHERE id % 6 = 0 ORDER BY id DESC"),
        (ImageSort::Oldest, true, "SELECT id FROM images WHERE id % 6 = 0 ORDER BY id"),
        (
            ImageSort::Largest,
            true,
            "SELECT id FROM images WHERE id % 6 = 0 ORDER BY bytes DESC, id DESC",
        ),
    ] {
        let filter = ImageFilter { failed_only: failed, ..ImageFilter::default() };
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page =
                images::page(&mut connection, &filter, sort, after, 2, app.clock.now()).await;
            let page = page.expect("a page");
            after =
                page.last().map(|last| ImageCursor { bytes: last.image.bytes, id: last.image.id });
            seen.extend(page.iter().map(|listed| listed.image.id.0));
            if page.len() < 2 {
                break;
            }
        }
        assert_eq!(seen, numbers(&app.pool, expected).await, "{sort:?}");
    }
}

#[tokio::test]
async fn images_are_found_by_each_filter_with_their_owners_and_counts() {
    let app = TestApp::start().await;
    insert_images(&app).await;
    let now = app.clock.now();
    let mut connection = app.pool.acquire().await.expect("a connection");
    let title = |text: &str| ImageFilter { title: Some(text.to_owned()), ..ImageFilter::default() };
    for (filter, expected) in [
        (ImageFilter { owner: Some(UserId(2)), ..ImageFilter::default() }, (13..=20).collect()),
        (ImageFilter { id: Some(ImageId(9)), ..ImageFilter::default() }, vec![9]),
        (title("rome"), vec![4, 5]),
        (title("ro"), vec![4, 5]),
        (title("me"), vec![]),
        (title("100%"), vec![4]),
        (title("img_1_"), vec![]),
        (ImageFilter { owner: Some(UserId(2)), ..title("img_1") }, (13..=20).collect()),
    ] {
        assert_eq!(image_numbers(&mut connection, &filter, now).await, expected, "{filter:?}");
    }
    let insert = "INSERT INTO expiring_links (id, image_id, valid_for, created_at, expires_at)
        SELECT gen_random_uuid(), 6, 300, at, at + interval '300 seconds'
        FROM unnest(ARRAY[now(), now() - interval '1 hour']) AS at";
    run(&app.pool, insert).await;
    let made =
        "UPDATE thumbnails SET state = 'ready', width_px = 4, height_px = 3, bytes = 1, finished_at = now()
        WHERE image_id = 6 AND height = 400";
    run(&app.pool, made).await;
    let found =
        images::find(&mut connection, &[ImageId(6), ImageId(99)], now).await.expect("images");
    let image = found.first().expect("the image");
    assert_eq!(image.owner.as_str(), "Ann_0");
    assert_eq!((image.thumbnails, image.failed_thumbnails, image.live_links), (1, 1, 1));
    let locked = images::lock(&mut connection, &[ImageId(2), ImageId(1)]).await.expect("images");
    assert_eq!(locked.iter().map(|image| image.id.0).collect::<Vec<_>>(), [1, 2]);
    let owner = images::owner_by_name(&mut connection, "ANN_0").await.expect("a query");
    assert_eq!(owner, Some(UserId(1)));
    let figures = users::figures(&mut connection, UserId(2), now).await.expect("figures");
    assert_eq!((figures.images, figures.live_sessions), (8, 0));
}

#[tokio::test]
async fn live_links_are_listed_from_the_one_that_ends_first_and_revoked() {
    let app = TestApp::start().await;
    insert_images(&app).await;
    let insert = "INSERT INTO expiring_links (id, image_id, height, valid_for, created_at, expires_at)
        SELECT gen_random_uuid(), 11 + n, 200, 900, at, at + interval '900 seconds'
        FROM (SELECT n, now() - n / 2 * interval '301 seconds' AS at FROM generate_series(0, 7) AS n) AS t";
    run(&app.pool, insert).await;
    let now = app.clock.now();
    let mut connection = app.pool.acquire().await.expect("a connection");
    let (mut seen, mut after) = (Vec::new(), None);
    while let [link] = &links::page(&mut connection, None, after, 1, now).await.expect("a page")[..]
    {
        after = Some(LinkCursor { expires_at: link.link.expires_at, id: link.link.id });
        seen.push(link.clone());
    }
    assert_eq!(seen.len(), 6, "the last two have expired");
    assert!(seen.is_sorted_by_key(|link| (link.link.expires_at, link.link.id)));
    let of_second =
        links::page(&mut connection, Some(UserId(2)), None, 50, now).await.expect("a page");
    assert_eq!(of_second.len(), 4);
    assert!(
        of_second.iter().all(|link| link.owner.as_str() == "bob.1" && link.owner_id == UserId(2))
    );

    let revoked =
        links::delete(&mut connection, seen[0].link.id).await.expect("a query").expect("a link");
    assert_eq!(revoked.title, seen[0].title);
    assert!(links::delete(&mut connection, seen[0].link.id).await.expect("a query").is_none());
    assert_eq!(
        links::count(&mut connection).await.expect("a count"),
        Count { rows: 7, is_estimate: false }
    );
}

#[tokio::test]
async fn history_is_read_from_its_end_whole_or_of_an_object_or_an_actor() {
    let app = TestApp::start().await;
    insert_users(&app).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    let username: Username = "ada".parse().expect("a username");
    let ada = User {
        id: UserId(7),
        username: username.clone(),
        tier: Tier { id: TierId(1), spec: TierSpec::built_in().remove(0) },
        is_admin: true,
        used_bytes: 0,
        password_is_default: false,
    };
    for (n, (actor, object)) in [
        (Actor::CommandLine, AuditObject::user(UserId(1), &username)),
        (Actor::Admin(&ada), AuditObject::job("01JZ", "thumbnails")),
        (Actor::Admin(&ada), AuditObject::user(UserId(2), &username)),
    ]
    .into_iter()
    .enumerate()
    {
        let entry =
            AuditEntry { actor, action: AuditAction::Update, object, changes: json!({ "n": n }) };
        db::audit_log::insert(&mut connection, &entry, app.clock.now()).await.expect("an entry");
    }
    let every = HistoryFilter::default();
    let of = |kind, id: Option<&str>| HistoryFilter { kind, id: id.map(str::to_owned) };
    for (filter, before, expected) in [
        (every.clone(), None, vec!["2", "01JZ", "1"]),
        (every.clone(), Some(3), vec!["01JZ", "1"]),
        (of(Some(AuditKind::Job), Some("01JZ")), None, vec!["01JZ"]),
        (of(Some(AuditKind::User), Some("01JZ")), None, vec![]),
        (of(Some(AuditKind::User), None), None, vec!["2", "1"]),
        (of(None, Some("1")), None, vec!["2", "01JZ", "1"]),
    ] {
        let page = history::page(&mut connection, &filter, before, 50).await.expect("a page");
        let found: Vec<_> = page.iter().map(|action| action.object_id.as_str()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let first = history::page(&mut connection, &every, Some(2), 1).await.expect("a page");
    assert_eq!((first[0].actor_id, first[0].actor_name.as_str()), (None, "command line"));
    assert_eq!(first[0].changes, json!({"n": 0}));
}

#[tokio::test]
async fn small_tables_are_counted_and_large_ones_estimated() {
    let app = TestApp::start().await;
    insert_images(&app).await;
    app.user("Basic").await;
    let now = app.clock.now();
    let mut connection = app.pool.acquire().await.expect("a connection");
    let small = statistics::read(&mut connection, now).await.expect("statistics");
    assert_eq!((small.users.rows, small.images.rows, small.active_sessions.rows), (31, 20, 1));
    assert_eq!(
        (small.thumbnails.absent, small.thumbnails.failed, small.thumbnails.is_estimate),
        (37, 3, false)
    );
    assert_eq!(small.original_bytes, 135);

    let insert = "INSERT INTO thumbnails (id, image_id, height)
        SELECT gen_random_uuid(), i.id, h FROM images i, generate_series(401, 1000) AS h";
    run(&app.pool, insert).await;
    run(&app.pool, "ANALYZE").await;
    let large = statistics::read(&mut connection, now).await.expect("statistics");
    assert!(large.thumbnails.is_estimate && !large.images.is_estimate);
    assert_eq!(large.thumbnails.failed, 3);
    assert!((11_900..=12_100).contains(&large.thumbnails.absent), "{large:?}");
}
