//! The service at a glance.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use shared::{
    db::{
        self,
        admin::{history::HistoryFilter, jobs::QueueFigures, statistics::Statistics},
    },
    jobs::QUEUES,
};

use super::{Administrator, begin_read, history::Line};
use crate::{
    AppState,
    error::Problem,
    pages::{Layout, format, page},
};

/// Actions of the history that are shown.
const RECENT: i64 = 10;

#[derive(Template)]
#[template(path = "admin/dashboard.html")]
struct DashboardPage {
    layout: Layout,
    statistics: Statistics,
    queues: Vec<QueueFigures>,
    /// Administrators whose password everybody knows.
    with_default_password: Vec<String>,
    lines: Vec<Line>,
}

/// `GET /admin`
pub(crate) async fn show_dashboard(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
) -> Result<Response, Problem> {
    let mut tx = begin_read(&state.services.pool).await?;
    let statistics = db::admin::statistics::read(&mut tx, state.services.clock.now()).await?;
    let queues = db::admin::jobs::figures(&mut tx, &QUEUES).await?;
    let with_default_password = db::users::admins_with_default_password(&mut tx).await?;
    let recent = db::admin::history::page(&mut tx, &HistoryFilter::default(), None, RECENT).await?;
    let lines = recent.into_iter().map(Line::new).collect();
    drop(tx);
    let layout = visitor.layout().await?;
    Ok(page(
        StatusCode::OK,
        &DashboardPage { layout, statistics, queues, with_default_password, lines },
    ))
}
