//! Changing one's password ends every session of the account; the handler opens a new one for the user.

use shared::{
    db,
    domain::{Login, Password, User},
    postgres,
};

use super::log_in::{check_credentials, wrong};
use crate::{AppState, client::ClientAddress, error::Problem};

/// Gives the user a new password, if `current` is the one that is in use; the login with the new one.
pub(crate) async fn change_password(
    state: &AppState,
    from: ClientAddress,
    user: &User,
    current: String,
    new: String,
) -> Result<Login, Problem> {
    let new = Password::chosen(new).map_err(|invalid| Problem::field("new_password", invalid.rule))?;
    let login = check_credentials(state, from, &user.username, current).await?;
    let is_default = new.is_default();
    let hash = state.passwords.hash(new).await?;
    let mut tx = postgres::begin(&state.pool).await?;
    // somebody else may have given the account another password meanwhile
    let replaced = db::users::replace_password(&mut tx, login, &hash, is_default).await?;
    let login = replaced.ok_or_else(wrong)?;
    db::sessions::delete_of_user(&mut tx, login.user).await?;
    tx.commit().await?;
    Ok(login)
}
