//! An installation of the first edition goes on in place: its database is migrated, its files keep
//! their names.

use std::fs;

use apalis_postgres::PostgresStorage;
use reqwest::StatusCode;
use shared::postgres;
use sqlx::{PgPool, migrate::Migrator, postgres::PgConnectOptions};

use crate::harness::{Client, fresh_database, pictures, processes::Pictier};

/// The last migration of the first edition.
const FIRST_EDITION: i64 = 3;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.expect(statement);
}

/// A database with the first edition's schema.
async fn first_edition() -> (PgConnectOptions, PgPool) {
    let database = fresh_database().await;
    let pool = postgres::connect(database.clone(), 2).await.expect("a pool");
    run(&pool, "DROP SCHEMA apalis CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    PostgresStorage::setup(&pool).await.expect("the queue's schema");
    let migrations = MIGRATIONS.iter().filter(|migration| migration.version <= FIRST_EDITION);
    let first = Migrator { migrations: migrations.cloned().collect(), ..Migrator::DEFAULT };
    first.run(&pool).await.expect("the first edition's schema");
    (database, pool)
}

const DATA: &str = "
    INSERT INTO tiers (name, is_default, thumbnail_heights, original_access, expiring_links, max_upload_bytes,
                       storage_quota_bytes, created_at)
    VALUES ('Basic', true, '{200,400}', true, true, 1000000, 100000000, now());
    INSERT INTO users (username, password_hash, tier_id, created_at, used_bytes)
    VALUES ('ada', 'x', 1, now(), $original);
    INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
    VALUES (1, '11111111-1111-4111-8111-111111111111', 'a', 'png', 600, 600, $original,
            now() - interval '9 days');
    INSERT INTO apalis.jobs (id, job_type, job, metadata, max_attempts)
    VALUES ('01ARZ3NDEKTSV4RRFFQ69G5FAV', 'thumbnails',
            '{\"thumbnail\": \"33333333-3333-4333-8333-333333333333\"}', '', 5);
    INSERT INTO thumbnails (id, image_id, height, state, job_id, width_px, height_px, bytes, finished_at)
    VALUES ('22222222-2222-4222-8222-222222222222', 1, 200, 'ready', NULL, 200, 200, $thumbnail, now()),
           ('33333333-3333-4333-8333-333333333333', 1, 400, 'pending', '01ARZ3NDEKTSV4RRFFQ69G5FAV', NULL, NULL, NULL,
            NULL);
";

#[tokio::test]
async fn everything_of_the_first_edition_is_served_and_what_waited_is_made() {
    let (database, pool) = first_edition().await;
    let data = tempfile::tempdir().expect("a folder");
    let (original, thumbnail) = (pictures::png(600, 600), pictures::png(200, 200));
    for (key, bytes) in [
        ("originals/11/11111111-1111-4111-8111-111111111111.png", &original),
        ("thumbnails/22/22222222-2222-4222-8222-222222222222.png", &thumbnail),
    ] {
        let file = data.path().join("media").join(key);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, bytes).expect("a file");
    }
    let size = |bytes: &[u8]| bytes.len().to_string();
    let filled =
        DATA.replace("$original", &size(&original)).replace("$thumbnail", &size(&thumbnail));
    sqlx::raw_sql(sqlx::AssertSqlSafe(filled))
        .execute(&pool)
        .await
        .expect("the first edition's data");

    let migrate = Pictier::new(data.path()).on(&database).args(&["migrate"]).output();
    assert!(migrate.status.success(), "{migrate:?}");
    let mut everything = Pictier::new(data.path()).on(&database).start();
    let nobody = Client::new(&everything.origin().await);
    let get = async |path: &str| {
        nobody.get_with(path, &[("prefer", "wait=30")]).await.expect(StatusCode::OK).body
    };
    assert_eq!(
        get("/user_content/original/a-11111111-1111-4111-8111-111111111111.png").await,
        original
    );
    assert_eq!(
        get("/user_content/resized/a-22222222-2222-4222-8222-222222222222.png").await,
        thumbnail
    );
    let made = get("/user_content/resized/a-33333333-3333-4333-8333-333333333333.png").await;
    assert_eq!(pictures::size(&made), (400, 400));
    assert!(everything.stop().await.success());
    let audit = Pictier::new(data.path()).on(&database).args(&["audit"]).output();
    assert!(audit.status.success(), "{audit:?}");
}
