//! Tiers: the list, and single ones.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use shared::{
    db::{self, admin::tiers::ListedTier},
    domain::{AuditKind, ByteCount, HeightSet, Tier, TierId, TierName, TierSpec, UserId, Username},
    services::tiers,
};

use super::{
    Administrator, begin_read,
    history::{self, Line},
};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, FormQuery, Path, TierPath},
    pages::{
        Layout, Visitor, format,
        forms::{Fields, FormErrors, checked},
        page,
    },
    urls::page_paths,
};

/// Users that the page of a tier in use names.
const NAMED_USERS: i64 = 20;

#[derive(Template)]
#[template(path = "admin/tiers.html")]
struct TiersPage {
    layout: Layout,
    tiers: Vec<ListedTier>,
}

/// `GET /admin/tiers`
pub(crate) async fn list_tiers(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
) -> Result<Response, Problem> {
    let tiers = db::admin::tiers::all(&mut *state.services.connection().await?).await?;
    Ok(page(StatusCode::OK, &TiersPage { layout: visitor.layout().await?, tiers }))
}

/// A tier as it was typed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TierForm {
    name: String,
    thumbnail_heights: String,
    original_access: Option<String>,
    expiring_links: Option<String>,
    max_upload_bytes: String,
    storage_quota_bytes: String,
    default: Option<String>,
}

impl TierForm {
    fn of(spec: &TierSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            thumbnail_heights: spec.thumbnail_heights.to_string(),
            original_access: checked(spec.original_access),
            expiring_links: checked(spec.expiring_links),
            max_upload_bytes: spec.max_upload_bytes.to_string(),
            storage_quota_bytes: spec.storage_quota_bytes.to_string(),
            default: checked(spec.is_default),
        }
    }

    /// A copy: another name, and not the default.
    fn copy_of(spec: &TierSpec) -> Self {
        Self { name: format!("Copy of {}", spec.name), default: None, ..Self::of(spec) }
    }

    fn spec(&self) -> Result<TierSpec, Problem> {
        let mut fields = Fields::default();
        let name = fields.parse("name", TierName::try_from(self.name.clone()));
        let heights =
            fields.parse("thumbnail_heights", self.thumbnail_heights.parse::<HeightSet>());
        let max_upload =
            fields.parse("max_upload_bytes", self.max_upload_bytes.parse::<ByteCount>());
        let quota =
            fields.parse("storage_quota_bytes", self.storage_quota_bytes.parse::<ByteCount>());
        let spec = name.zip(heights).zip(max_upload.zip(quota)).map(
            |((name, heights), (max_upload, quota))| TierSpec {
                name,
                is_default: self.default.is_some(),
                thumbnail_heights: heights,
                original_access: self.original_access.is_some(),
                expiring_links: self.expiring_links.is_some(),
                max_upload_bytes: max_upload,
                storage_quota_bytes: quota,
            },
        );
        fields.finish(spec)
    }
}

#[derive(Template)]
#[template(path = "admin/tier.html")]
struct TierPage {
    layout: Layout,
    form: TierForm,
    errors: FormErrors,
    /// The tier that is changed, and what was done to it.
    existing: Option<(Tier, Vec<Line>)>,
}

#[derive(Deserialize)]
pub(crate) struct CopyQuery {
    copy: Option<TierId>,
}

/// `GET /admin/tiers/new`
pub(crate) async fn show_new_tier(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    FormQuery(query): FormQuery<CopyQuery>,
) -> Result<Response, Problem> {
    let form = match query.copy {
        None => TierForm::default(),
        Some(id) => TierForm::copy_of(&find(&state, id).await?.spec),
    };
    show_new(&visitor, form, FormErrors::default()).await
}

async fn show_new(
    visitor: &Visitor,
    form: TierForm,
    errors: FormErrors,
) -> Result<Response, Problem> {
    let status = errors.status();
    Ok(page(status, &TierPage { layout: visitor.layout().await?, form, errors, existing: None }))
}

/// `POST /admin/tiers/new`
pub(crate) async fn create_tier(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(form): Form<TierForm>,
) -> Result<Response, Problem> {
    let creating = async {
        Ok::<_, Problem>(tiers::create(&state.services, visitor.actor(), &form.spec()?).await?)
    };
    match creating.await {
        Ok(_) => visitor.go(page_paths::ADMIN_TIERS, "Tier created.").await,
        Err(problem) => show_new(&visitor, form, FormErrors::of(problem)?).await,
    }
}

/// `GET /admin/tiers/{id}`
pub(crate) async fn show_tier(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(TierPath { id }): Path<TierPath>,
) -> Result<Response, Problem> {
    show(&state, &visitor, id, None).await
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    id: TierId,
    refused: Option<(TierForm, FormErrors)>,
) -> Result<Response, Problem> {
    let tier = find(state, id).await?;
    let mut tx = begin_read(&state.services.pool).await?;
    let lines = history::of_object(&mut tx, AuditKind::Tier, id).await?;
    drop(tx);
    let (form, errors) =
        refused.unwrap_or_else(|| (TierForm::of(&tier.spec), FormErrors::default()));
    let status = errors.status();
    let existing = Some((tier, lines));
    Ok(page(status, &TierPage { layout: visitor.layout().await?, form, errors, existing }))
}

async fn find(state: &AppState, id: TierId) -> Result<Tier, Problem> {
    let found = db::admin::tiers::find(&mut *state.services.connection().await?, id).await?;
    found.ok_or_else(|| Problem::not_found("tier"))
}

/// `POST /admin/tiers/{id}`
pub(crate) async fn change_tier(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(TierPath { id }): Path<TierPath>,
    Form(form): Form<TierForm>,
) -> Result<Response, Problem> {
    let changing = async {
        Ok::<_, Problem>(tiers::change(&state.services, visitor.actor(), id, &form.spec()?).await?)
    };
    match changing.await {
        Ok(()) => {
            let notice = "Saved. The change applies to its users' next requests.";
            visitor.go(page_paths::ADMIN_TIERS, notice).await
        }
        Err(problem) => show(&state, &visitor, id, Some((form, FormErrors::of(problem)?))).await,
    }
}

#[derive(Template)]
#[template(path = "admin/tier_delete.html")]
struct DeletePage {
    layout: Layout,
    tier: Tier,
    /// Some of those who have it.
    users: Vec<(UserId, Username)>,
    has_more_users: bool,
    errors: FormErrors,
}

/// `GET /admin/tiers/{id}/delete`
pub(crate) async fn confirm_deletion(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(TierPath { id }): Path<TierPath>,
) -> Result<Response, Problem> {
    show_deletion(&state, &visitor, id, FormErrors::default()).await
}

async fn show_deletion(
    state: &AppState,
    visitor: &Visitor,
    id: TierId,
    errors: FormErrors,
) -> Result<Response, Problem> {
    let tier = find(state, id).await?;
    let mut connection = state.services.connection().await?;
    let mut users = db::admin::tiers::users_of(&mut connection, id, NAMED_USERS + 1).await?;
    drop(connection);
    let named = usize::try_from(NAMED_USERS).unwrap_or(usize::MAX);
    let has_more_users = users.len() > named;
    users.truncate(named);
    let status = errors.status();
    let layout = visitor.layout().await?;
    Ok(page(status, &DeletePage { layout, tier, users, has_more_users, errors }))
}

/// `POST /admin/tiers/{id}/delete`
pub(crate) async fn delete_tier(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(TierPath { id }): Path<TierPath>,
) -> Result<Response, Problem> {
    match tiers::delete(&state.services, visitor.actor(), id).await {
        Ok(()) => visitor.go(page_paths::ADMIN_TIERS, "Tier deleted.").await,
        Err(error) => show_deletion(&state, &visitor, id, FormErrors::of(error)?).await,
    }
}
