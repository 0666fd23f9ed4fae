//! Changing one's password ends every session of the account; the handler opens a new one for whoever changed it.

use std::net::IpAddr;

use shared::{
    db,
    domain::{Password, User},
    postgres,
};

use super::log_in::check_credentials;
use crate::{AppState, auth, error::Problem};

/// Gives the user a new password, if `current` is the one that is in use.
pub(crate) async fn change_password(
    state: &AppState,
    from: IpAddr,
    user: &User,
    current: String,
    new: String,
) -> Result<(), Problem> {
    let new = Password::chosen(new).map_err(|invalid| Problem::field("new_password", invalid.rule))?;
    check_credentials(state, from, &user.username, current).await?;
    let is_default = new.is_default();
    let hash = auth::hash(new).await?;
    let mut tx = postgres::begin(&state.pool).await?;
    db::users::set_password(&mut tx, user.id, &hash, is_default).await?;
    db::sessions::delete_of_user(&mut tx, user.id).await?;
    tx.commit().await?;
    Ok(())
}
