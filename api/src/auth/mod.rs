//! Who sent a request: a session's cookie for browsers, a token for programs.

mod credential_watch;
mod cross_site;
mod session_store;

use std::marker::PhantomData;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    db,
    domain::{CredentialVersion, Login, Scope, TokenSecret, User, UserId},
    services::tokens,
};
use time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer, cookie::SameSite};

pub(crate) use credential_watch::{Credential, CredentialWatch};
pub(crate) use cross_site::refuse_cross_site;
use session_store::PgSessionStore;

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

/// What a handler asks of a token. A session may do everything that its account may.
pub(crate) trait Access: Send {
    /// None: any token will do.
    const SCOPE: Option<Scope>;
}

macro_rules! access {
    ($($(#[$doc:meta])* $name:ident = $scope:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl Access for $name {
            const SCOPE: Option<Scope> = $scope;
        }
    )*};
}

access! {
    AnyScope = None;
    ImagesRead = Some(Scope::ImagesRead);
    ImagesWrite = Some(Scope::ImagesWrite);
    LinksWrite = Some(Scope::LinksWrite);
}

/// The account that sent the request, by session or by a token with the scope of `A`, with the tier
/// as it is now.
pub(crate) struct CurrentUser<A>(pub(crate) User, pub(crate) PhantomData<A>);

impl<A: Access> FromRequestParts<AppState> for CurrentUser<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Caller { user, .. } = Caller::<A>::from_request_parts(parts, state).await?;
        Ok(Self(user, PhantomData))
    }
}

/// As [`CurrentUser`], with what proved it.
pub(crate) struct Caller<A> {
    pub(crate) user: User,
    pub(crate) login: Login,
    pub(crate) credential: Credential,
    access: PhantomData<A>,
}

impl<A: Access> FromRequestParts<AppState> for Caller<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Some(token) = bearer(&parts.headers) else {
            let SessionUser(user) = SessionUser::from_request_parts(parts, state).await?;
            let session = parts.extensions.get::<Session>().ok_or_else(not_logged_in)?;
            let login = login_of(session).await?.ok_or_else(not_logged_in)?;
            let id = session.id().ok_or_else(not_logged_in)?;
            let credential = Credential::Session(id.to_string());
            return Ok(Self { user, login, credential, access: PhantomData });
        };
        let invalid = || Problem::new(ProblemCode::InvalidToken, INVALID_TOKEN);
        let secret = TokenSecret::parse(token).ok_or_else(invalid)?;
        let found = tokens::authenticate(&state.services, &secret).await?;
        let (bearer, user) = found.ok_or_else(invalid)?;
        note_user(parts, &user);
        if let Some(scope) = A::SCOPE.filter(|scope| !bearer.scopes.contains(*scope)) {
            return Err(Problem::insufficient_scope(scope));
        }
        let credential = Credential::Token(bearer.token);
        Ok(Self { user, login: bearer.login, credential, access: PhantomData })
    }
}

const INVALID_TOKEN: &str =
    "The token is mistyped, expired or revoked, or its account is not active.";

/// The user of a session, with the tier as it is now; what a token cannot do.
pub(crate) struct SessionUser(pub(crate) User);

impl FromRequestParts<AppState> for SessionUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if bearer(&parts.headers).is_some() {
            let detail = "A token cannot do this. Log in with POST /api/session.";
            return Err(Problem::new(ProblemCode::SessionRequired, detail));
        }
        let session = parts.extensions.get::<Session>().ok_or_else(not_logged_in)?;
        let user = current_user(state, session).await?;
        note_user(parts, &user);
        renew(session, state.services.clock.now()).await?;
        Ok(Self(user))
    }
}

fn note_user(parts: &Parts, user: &User) {
    if let Some(facts) = parts.extensions.get::<RequestFacts>() {
        facts.set_user(user.id);
    }
}

/// The token of a request (RFC 6750 section 2.1). Other schemes are those of proxies in front.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The user of a session, with the tier as it is now.
pub(crate) async fn current_user(state: &AppState, session: &Session) -> Result<User, Problem> {
    let login = login_of(session).await?.ok_or_else(not_logged_in)?;
    let user = db::users::active(&mut *state.services.connection().await?, login).await?;
    user.ok_or_else(not_logged_in)
}

/// The login that the session was opened with.
async fn login_of(session: &Session) -> Result<Option<Login>, Problem> {
    let Some(user) = session.get::<UserId>(USER).await? else {
        return Ok(None);
    };
    // a session from before credentials were counted
    let credentials = session.get(CREDENTIALS).await?.unwrap_or(CredentialVersion(0));
    Ok(Some(Login { user, credentials }))
}

/// The problem of a request without a session.
pub(crate) fn not_logged_in() -> Problem {
    Problem::new(ProblemCode::NotLoggedIn, "Log in with POST /api/session, or send a token.")
}

async fn renew(session: &Session, now: DateTime<Utc>) -> Result<(), Problem> {
    let renewed_at = session.get::<DateTime<Utc>>(RENEWED_AT).await?;
    if renewed_at.is_none_or(|at| now - at >= TimeDelta::days(RENEWAL_DAYS)) {
        session.insert(RENEWED_AT, now).await?;
    }
    Ok(())
}
