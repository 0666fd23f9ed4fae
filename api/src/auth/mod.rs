//! Who is logged in: sessions in the database, passwords checked off the runtime.

mod session_store;
mod session_watch;

use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    db,
    domain::{CredentialVersion, Login, User, UserId},
};
use time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer, cookie::SameSite};

use session_store::PgSessionStore;
pub(crate) use session_watch::SessionWatch;

use crate::{
    AppState,
    error::{Problem, ProblemCode},
    request_log::RequestFacts,
};

pub(crate) const COOKIE: &str = "pictier_session";
/// How long a session lives after it was last renewed.
const SESSION_DAYS: i64 = 14;
/// A session is renewed at most this often, so that reading does not write on every request.
const RENEWAL_DAYS: i64 = 1;

const USER: &str = "user";
/// The version of the account's credentials; [`db::sessions::ended`] reads it as well.
const CREDENTIALS: &str = "credentials";
const RENEWED_AT: &str = "renewed_at";

pub(crate) fn session_layer(state: &AppState) -> SessionManagerLayer<PgSessionStore> {
    let store = PgSessionStore::new(
        state.services.pool.clone(),
        state.services.clock.clone(),
        TimeDelta::days(SESSION_DAYS),
    );
    SessionManagerLayer::new(store)
        .with_name(COOKIE)
        .with_secure(state.urls.is_https())
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_expiry(Expiry::OnInactivity(Duration::days(SESSION_DAYS)))
}

/// Makes the session this user's, under a new id: one that was planted before the login is worth
/// nothing.
pub(crate) async fn log_in(
    session: &Session,
    login: Login,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    session.clear().await;
    session.cycle_id().await?;
    session.insert(USER, login.user).await?;
    session.insert(CREDENTIALS, login.credentials).await?;
    session.insert(RENEWED_AT, now).await?;
    Ok(())
}

/// The user who is logged in, with the tier as it is now; without a login the request ends with
/// 401.
pub(crate) struct CurrentUser(pub(crate) User);

impl FromRequestParts<AppState> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let session = parts.extensions.get::<Session>().ok_or_else(not_logged_in)?;
        let user = current_user(state, session).await?;
        if let Some(facts) = parts.extensions.get::<RequestFacts>() {
            facts.set_user(user.id);
        }
        renew(session, state.services.clock.now()).await?;
        Ok(Self(user))
    }
}

/// The user of a session, with the tier as it is now.
pub(crate) async fn current_user(state: &AppState, session: &Session) -> Result<User, Problem> {
    let login = login_of(session).await?.ok_or_else(not_logged_in)?;
    let user = db::users::active(&mut *state.services.connection().await?, login).await?;
    user.ok_or_else(not_logged_in)
}

/// The login that the session was opened with.
pub(crate) async fn login_of(session: &Session) -> Result<Option<Login>, Problem> {
    let Some(user) = session.get::<UserId>(USER).await? else {
        return Ok(None);
    };
    // a session from before credentials were counted
    let credentials = session.get(CREDENTIALS).await?.unwrap_or(CredentialVersion(0));
    Ok(Some(Login { user, credentials }))
}

/// The problem of a request without a session.
pub(crate) fn not_logged_in() -> Problem {
    Problem::new(ProblemCode::NotLoggedIn, "Log in with POST /api/session first.")
}

async fn renew(session: &Session, now: DateTime<Utc>) -> Result<(), Problem> {
    let renewed_at = session.get::<DateTime<Utc>>(RENEWED_AT).await?;
    if renewed_at.is_none_or(|at| now - at >= TimeDelta::days(RENEWAL_DAYS)) {
        session.insert(RENEWED_AT, now).await?;
    }
    Ok(())
}
