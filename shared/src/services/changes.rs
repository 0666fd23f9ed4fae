//! Following an account's changes.

use super::{ServiceError, Services};
use crate::{
    db,
    domain::{Change, Cursor, User},
};

/// What follows a place in an account's changes.
#[derive(Debug)]
pub struct Changes {
    /// In order, those of heights that the tier lacks left out.
    pub changes: Vec<Change>,
    /// The place to go on from.
    pub cursor: Cursor,
    /// Whether further changes are there already.
    pub has_more: bool,
}

/// The place after the last change until now.
pub async fn now(services: &Services, user: &User) -> Result<Cursor, ServiceError> {
    let last = db::changes::last(&mut *services.connection().await?, user.id).await?;
    Ok(last.unwrap_or(Cursor { epoch: 0, number: 0 }))
}

/// At most `limit` changes after a place.
///
/// # Errors
/// [`ServiceError::CursorExpired`] when changes after that place are no longer kept, or the place is
/// of a counter that was lost.
pub async fn after(
    services: &Services,
    user: &User,
    place: Cursor,
    limit: i64,
) -> Result<Changes, ServiceError> {
    let mut connection = services.connection().await?;
    let Some(last) = db::changes::last(&mut connection, user.id).await? else {
        // before the first change every place is the start
        let is_start = place == Cursor { epoch: 0, number: 0 };
        let nothing = Changes { changes: Vec::new(), cursor: place, has_more: false };
        return if is_start { Ok(nothing) } else { Err(ServiceError::CursorExpired) };
    };
    let is_start = place.epoch == 0 && place.number == 0;
    if place.number > last.number || !(is_start || place.epoch == last.epoch) {
        return Err(ServiceError::CursorExpired);
    }
    let place = Cursor { epoch: last.epoch, ..place };
    let mut changes = db::changes::after(&mut connection, user.id, place, limit).await?;
    let first = changes.first().map(|change| change.cursor.number);
    if place.number < last.number && first != Some(place.number + 1) {
        return Err(ServiceError::CursorExpired);
    }
    let cursor = changes.last().map_or(place, |change| change.cursor);
    changes.retain(|change| {
        change.height.is_none_or(|height| user.tier.allows_height(height).is_ok())
    });
    Ok(Changes { changes, cursor, has_more: cursor.number < last.number })
}
