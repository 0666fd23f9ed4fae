//! What remains to be done once an account is closed: a job deletes what it has, a batch at a time,
//! and then the account. Every step may be repeated, and none touches an open account.

use sqlx::PgConnection;

use super::{accounts, images, uploads};
use crate::{
    db,
    domain::{ImageId, UserId},
};

/// The first number of no entry of the audit log.
const BEFORE_ALL_ENTRIES: i64 = 0;

/// Deletes at most `limit` images of a closed account, from the one after `after` on, with their
/// thumbnails and links: the rows now, the objects by jobs. Returns the last one; `None` if there
/// was none.
pub async fn delete_images(
    connection: &mut PgConnection,
    user: UserId,
    after: Option<ImageId>,
    limit: i64,
) -> sqlx::Result<Option<ImageId>> {
    let images = db::images::lock_of_closed(connection, user, after, limit).await?;
    if !images.is_empty() {
        images::delete_locked(connection, &images).await?;
    }
    Ok(images.last().map(|image| image.id))
}

/// Removes the account's name from at most `limit` entries of the audit log, from the one after
/// `after` on. Returns the last of them; `None` if there was none.
pub async fn remove_name(
    connection: &mut PgConnection,
    user: UserId,
    after: Option<i64>,
    limit: i64,
) -> sqlx::Result<Option<i64>> {
    let after = after.unwrap_or(BEFORE_ALL_ENTRIES);
    db::audit_log::remove_name(connection, user, after, limit).await
}

/// How far a deletion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of the account is left.
    Gone,
    /// It has images again, of uploads that were under way when it was closed.
    HasImages,
}

/// Deletes a closed account without images, and what is left of it elsewhere.
pub async fn finish(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Progress> {
    // from here on nothing is committed that refers to the account
    let Some(name) = db::users::lock_closed(connection, user).await? else {
        return Ok(Progress::Gone);
    };
    if !db::images::page(connection, user, None, 1).await?.is_empty() {
        return Ok(Progress::HasImages);
    }
    // entries of requests that were under way meanwhile
    db::audit_log::remove_name(connection, user, BEFORE_ALL_ENTRIES, i64::MAX).await?;
    db::queue::delete_shares(connection, user).await?;
    accounts::forget_logins(connection, &name).await?;
    uploads::forget_count(connection, user).await?;
    db::users::delete_closed(connection, user).await?;
    Ok(Progress::Gone)
}
