//! Accounts: the list, single ones, and many at once.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use shared::{
    db::{
        self,
        admin::{
            Count,
            users::{ListedUser, UserFigures, UserFilter, UserSort},
        },
    },
    domain::{AuditKind, Password, Tier, TierId, UserId, Username, ValidationError},
    services::{
        tokens,
        users::{self, Account},
    },
};

use super::{
    Administrator, Answer, PAGE_ROWS, Rows, begin_read,
    history::{self, Line},
    selected, tier_options,
};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, FormQuery, Path, UserPath},
    pages::{
        Layout, Visitor, format,
        forms::{self, Choice, Fields, FormErrors, checked},
        page,
    },
    urls::page_paths,
};

const SORTS: [(UserSort, &str); 6] = [
    (UserSort::Newest, "newest first"),
    (UserSort::Oldest, "oldest first"),
    (UserSort::NameAscending, "name, A to Z"),
    (UserSort::NameDescending, "name, Z to A"),
    (UserSort::MostUsed, "most space used"),
    (UserSort::LeastUsed, "least space used"),
];

#[derive(Template)]
#[template(path = "admin/users.html")]
struct UsersPage {
    layout: Layout,
    query: UsersQuery,
    tiers: Vec<Choice>,
    new_tiers: Vec<Choice>,
    active: Vec<Choice>,
    admin: Vec<Choice>,
    sorts: Vec<Choice>,
    users: Vec<ListedUser>,
    total: Count,
    /// The query string of this page, and of the next.
    back: String,
    next: Option<String>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct UsersQuery {
    search: Option<String>,
    tier: Option<TierId>,
    active: Option<Answer>,
    admin: Option<Answer>,
    sort: UserSort,
    cursor: Option<UserId>,
}

/// `GET /admin/users`
pub(crate) async fn list_users(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    FormQuery(query): FormQuery<UsersQuery>,
) -> Result<Response, Problem> {
    let filter = UserFilter {
        search: query.search.clone(),
        tier: query.tier,
        is_active: query.active.map(Answer::is_yes),
        is_admin: query.admin.map(Answer::is_yes),
    };
    let (sort, after) = (query.sort, query.cursor);
    let mut tx = begin_read(&state.services.pool).await?;
    let rows = db::admin::users::page(&mut tx, &filter, sort, after, PAGE_ROWS + 1).await?;
    let total = db::admin::users::count(&mut tx).await?;
    let tiers = db::tiers::all(&mut tx).await?;
    drop(tx);
    let rows = Rows::of(rows);
    let users = UsersPage {
        layout: visitor.layout().await?,
        tiers: Choice::optional("any", tier_options(&tiers), query.tier.as_ref()),
        new_tiers: Choice::list(tier_options(&tiers), ()),
        active: Answer::choices(query.active),
        admin: Answer::choices(query.admin),
        sorts: Choice::list(SORTS, query.sort),
        back: page_paths::query(&query),
        next: rows.next(|last| UsersQuery { cursor: Some(last.id), ..query.clone() }),
        query,
        users: rows.rows,
        total,
    };
    Ok(page(StatusCode::OK, &users))
}

#[derive(Deserialize)]
pub(crate) struct BulkForm {
    #[serde(default)]
    ids: Vec<UserId>,
    tier: TierId,
    /// The query string of the page that they were selected on.
    #[serde(default)]
    back: String,
}

/// `POST /admin/users/tier`
pub(crate) async fn set_tier(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(form): Form<BulkForm>,
) -> Result<Response, Problem> {
    let ids = selected(form.ids, "user")?;
    let moved = users::set_tier(&state.services, visitor.actor(), &ids, form.tier).await?;
    let notice = format!("Moved {} to another tier.", format::plural(moved, "user"));
    visitor.go(&page_paths::back_to(page_paths::ADMIN_USERS, &form.back), &notice).await
}

/// An account as it was typed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UserForm {
    username: String,
    tier: String,
    is_admin: Option<String>,
    is_active: Option<String>,
    /// Of a new account only.
    password: String,
}

impl UserForm {
    fn of(user: &ListedUser) -> Self {
        Self {
            username: user.username.to_string(),
            tier: user.tier_id.to_string(),
            is_admin: checked(user.is_admin),
            is_active: checked(user.is_active),
            password: String::new(),
        }
    }

    /// A new account: active, of the tier that new users get.
    fn new(tiers: &[Tier]) -> Self {
        let default = tiers.iter().find(|tier| tier.spec.is_default);
        Self {
            tier: default.map(|tier| tier.id.to_string()).unwrap_or_default(),
            is_active: checked(true),
            ..Self::default()
        }
    }

    fn account(&self, fields: &mut Fields) -> Option<Account> {
        let username =
            fields.parse("username", Username::try_from(self.username.trim().to_owned()));
        let tier = self
            .tier
            .parse()
            .map(TierId)
            .map_err(|_| ValidationError::new("tier", "Choose a tier."));
        let tier = fields.parse("tier", tier);
        Some(Account {
            username: username?,
            tier: tier?,
            is_admin: self.is_admin.is_some(),
            is_active: self.is_active.is_some(),
        })
    }
}

#[derive(Template)]
#[template(path = "admin/user.html")]
struct UserPage {
    layout: Layout,
    form: UserForm,
    errors: FormErrors,
    tiers: Vec<Choice>,
    existing: Option<Existing>,
}

impl UserPage {
    fn is_closed(&self) -> bool {
        self.existing.as_ref().is_some_and(|existing| existing.user.closed_at.is_some())
    }
}

struct Existing {
    user: ListedUser,
    figures: UserFigures,
    lines: Vec<Line>,
    password_errors: FormErrors,
}

/// `GET /admin/users/new`
pub(crate) async fn show_new_user(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
) -> Result<Response, Problem> {
    let tiers = db::tiers::all(&mut *state.services.connection().await?).await?;
    show_new(&visitor, &tiers, UserForm::new(&tiers), FormErrors::default()).await
}

async fn show_new(
    visitor: &Visitor,
    tiers: &[Tier],
    form: UserForm,
    errors: FormErrors,
) -> Result<Response, Problem> {
    let status = errors.status();
    let tiers = Choice::list(tier_options(tiers), &form.tier);
    Ok(page(
        status,
        &UserPage { layout: visitor.layout().await?, form, errors, tiers, existing: None },
    ))
}

/// `POST /admin/users/new`
pub(crate) async fn create_user(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(form): Form<UserForm>,
) -> Result<Response, Problem> {
    let creating = async {
        let mut fields = Fields::default();
        let account = form.account(&mut fields);
        let password = fields.parse("password", Password::chosen(form.password.clone()));
        let (account, password) = fields.finish(account.zip(password))?;
        Ok::<_, Problem>(users::create(&state.services, visitor.actor(), &account, password).await?)
    };
    match creating.await {
        Ok(id) => visitor.go(&page_paths::admin_user(id), "User created.").await,
        Err(problem) => {
            let tiers = db::tiers::all(&mut *state.services.connection().await?).await?;
            show_new(&visitor, &tiers, form, FormErrors::of(problem)?).await
        }
    }
}

/// `GET /admin/users/{id}`
pub(crate) async fn show_user(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(UserPath { id }): Path<UserPath>,
) -> Result<Response, Problem> {
    show(&state, &visitor, id, None, FormErrors::default()).await
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    id: UserId,
    refused: Option<(UserForm, FormErrors)>,
    password_errors: FormErrors,
) -> Result<Response, Problem> {
    let mut tx = begin_read(&state.services.pool).await?;
    let found = db::admin::users::find(&mut tx, id).await?;
    let user = found.ok_or_else(|| Problem::not_found("user"))?;
    let tiers = db::tiers::all(&mut tx).await?;
    let figures = db::admin::users::figures(&mut tx, id, state.services.clock.now()).await?;
    let lines = history::of_object(&mut tx, AuditKind::User, id).await?;
    drop(tx);
    let (form, errors) = refused.unwrap_or_else(|| (UserForm::of(&user), FormErrors::default()));
    let status = if password_errors.status() == StatusCode::OK {
        errors.status()
    } else {
        password_errors.status()
    };
    let user_page = UserPage {
        layout: visitor.layout().await?,
        tiers: Choice::list(tier_options(&tiers), &form.tier),
        form,
        errors,
        existing: Some(Existing { user, figures, lines, password_errors }),
    };
    Ok(page(status, &user_page))
}

/// `POST /admin/users/{id}`
pub(crate) async fn change_user(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(UserPath { id }): Path<UserPath>,
    Form(form): Form<UserForm>,
) -> Result<Response, Problem> {
    let changing = async {
        let mut fields = Fields::default();
        let account = form.account(&mut fields);
        let account = fields.finish(account)?;
        Ok::<_, Problem>(users::change(&state.services, visitor.actor(), id, &account).await?)
    };
    match changing.await {
        Ok(()) => visitor.go(&page_paths::admin_user(id), "Saved.").await,
        Err(problem) => {
            let errors = FormErrors::of(problem)?;
            show(&state, &visitor, id, Some((form, errors)), FormErrors::default()).await
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct PasswordForm {
    #[serde(default)]
    password: String,
}

/// `POST /admin/users/{id}/password`
pub(crate) async fn set_password(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(UserPath { id }): Path<UserPath>,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Problem> {
    let setting = async {
        let password = Password::chosen(form.password)?;
        users::set_password(&state.services, visitor.actor(), id, password).await
    };
    match setting.await {
        Ok(()) => {
            let notice = "Password set. The user's sessions have ended.";
            visitor.go(&page_paths::admin_user(id), notice).await
        }
        Err(problem) => show(&state, &visitor, id, None, FormErrors::of(problem)?).await,
    }
}

/// `POST /admin/users/{id}/sign-out`
pub(crate) async fn end_sessions(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(UserPath { id }): Path<UserPath>,
) -> Result<Response, Problem> {
    let ended = users::end_sessions(&state.services, visitor.actor(), id).await?;
    let notice = format!("Ended {}.", format::plural(ended, "session"));
    visitor.go(&page_paths::admin_user(id), &notice).await
}

/// `POST /admin/users/{id}/revoke-tokens`
pub(crate) async fn revoke_tokens(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(UserPath { id }): Path<UserPath>,
) -> Result<Response, Problem> {
    let revoked = tokens::revoke_all(&state.services, visitor.actor(), id).await?;
    let notice = format!("Revoked {}.", format::plural(revoked, "token"));
    visitor.go(&page_paths::admin_user(id), &notice).await
}
