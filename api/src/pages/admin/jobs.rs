//! The queue: what waits, runs, failed, or was given up.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    db::{
        self,
        admin::jobs::{JobState, ListedJob, QueueFigures},
        thumbnails::FailureReason,
    },
    jobs::QUEUES,
    services::{
        jobs::{self, Selection},
        thumbnails,
    },
};

use super::{Administrator, PAGE_ROWS, Rows, begin_read, one_of, selected};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, Query},
    pages::{Layout, format, forms::Choice, page},
    urls::page_paths,
};

/// The most frequent reasons for failed thumbnails that the page shows.
const SHOWN_REASONS: i64 = 20;

const STATES: [(&str, &str, JobState); 4] = [
    ("waiting", "Waiting", JobState::Waiting),
    ("running", "Running", JobState::Running),
    ("failed", "Failed, will be tried again", JobState::Failed),
    ("dead", "Dead", JobState::Dead),
];

#[derive(Template)]
#[template(path = "admin/jobs.html")]
struct JobsPage {
    layout: Layout,
    query: JobsQuery,
    state: JobState,
    states: Vec<Tab>,
    queue_choices: Vec<Choice>,
    queues: Vec<QueueFigures>,
    jobs: Vec<ListedJob>,
    /// Why thumbnails failed, whatever part of the list is shown.
    reasons: Vec<FailureReason>,
    /// The time by which the queue counts.
    now: DateTime<Utc>,
    back: String,
    next: Option<String>,
}

/// A state, and how many jobs are in it.
struct Tab {
    name: &'static str,
    label: &'static str,
    jobs: u64,
    is_current: bool,
}

/// Which part of the list.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct JobsQuery {
    state: String,
    queue: String,
    cursor: String,
}

impl JobsQuery {
    fn state(&self) -> Result<JobState, Problem> {
        if self.state.is_empty() {
            return Ok(JobState::Waiting);
        }
        one_of(&STATES, "state", "state", &self.state)
    }

    fn queue(&self) -> Option<&str> {
        Some(self.queue.as_str()).filter(|queue| !queue.is_empty())
    }
}

/// How many jobs of these queues are in a state.
fn in_state(queues: &[QueueFigures], state: JobState) -> u64 {
    let of_queue = |queue: &QueueFigures| match state {
        JobState::Waiting => queue.waiting,
        JobState::Running => queue.running,
        JobState::Failed => queue.failed,
        JobState::Dead => queue.dead,
    };
    queues.iter().map(of_queue).sum()
}

/// `GET /admin/jobs`
pub(crate) async fn list_jobs(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Query(query): Query<JobsQuery>,
) -> Result<Response, Problem> {
    let listed = query.state()?;
    let before = Some(query.cursor.as_str()).filter(|cursor| !cursor.is_empty());
    let mut tx = begin_read(&state.services.pool).await?;
    let queues = db::admin::jobs::figures(&mut tx, &QUEUES).await?;
    let jobs = db::admin::jobs::page(&mut tx, listed, query.queue(), before, PAGE_ROWS + 1).await?;
    let reasons = db::thumbnails::failure_reasons(&mut tx, SHOWN_REASONS).await?;
    drop(tx);
    let rows = Rows::of(jobs);
    let next =
        rows.continues_after().map(|last| JobsQuery { cursor: last.id.clone(), ..query.clone() });
    let tabs = STATES.map(|(name, label, of)| Tab {
        name,
        label,
        jobs: in_state(&queues, of),
        is_current: of == listed,
    });
    let queue_names = QUEUES.map(|queue| (queue, queue));
    let jobs_page = JobsPage {
        layout: visitor.layout().await?,
        state: listed,
        states: tabs.into(),
        queue_choices: Choice::list([("", "all")].into_iter().chain(queue_names), &query.queue),
        queues,
        reasons,
        jobs: rows.rows,
        now: state.services.clock.now(),
        back: page_paths::query(&query),
        query,
        next: next.map(|next| page_paths::query(&next)),
    };
    Ok(page(StatusCode::OK, &jobs_page))
}

/// Which jobs, and where the administrator was.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct JobsForm {
    ids: Vec<String>,
    /// All of the state and queue that the page showed.
    all: Option<String>,
    back: String,
}

impl JobsForm {
    fn selection(&self) -> Result<Selection, Problem> {
        if self.all.is_none() {
            return Ok(Selection::Ids(selected(self.ids.clone(), "job")?));
        }
        let query: JobsQuery = serde_html_form::from_str(&self.back)
            .map_err(|error| Problem::field("back", error.to_string()))?;
        Ok(Selection::All { state: query.state()?, queue: query.queue().map(str::to_owned) })
    }

    fn back(&self) -> String {
        page_paths::back_to(page_paths::ADMIN_JOBS, &self.back)
    }
}

/// `POST /admin/jobs/retry`
pub(crate) async fn retry_jobs(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(form): Form<JobsForm>,
) -> Result<Response, Problem> {
    let retried = jobs::retry(&state.services, visitor.actor(), &form.selection()?).await?;
    let notice = format!("{} will be retried now.", format::plural(retried, "job"));
    visitor.go(&form.back(), &notice).await
}

/// `POST /admin/jobs/discard`
pub(crate) async fn discard_jobs(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(form): Form<JobsForm>,
) -> Result<Response, Problem> {
    let discarded =
        jobs::discard(&state.services, visitor.actor(), &selected(form.ids.clone(), "job")?)
            .await?;
    let notice = format!("Discarded {}.", format::plural(discarded, "job"));
    visitor.go(&form.back(), &notice).await
}

/// Thumbnails that failed for one reason.
#[derive(Deserialize)]
pub(crate) struct ReasonForm {
    reason: String,
}

/// `POST /admin/thumbnails/retry`: at most a thousand at a time.
pub(crate) async fn retry_thumbnails(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(form): Form<ReasonForm>,
) -> Result<Response, Problem> {
    let retried = thumbnails::retry_failed(&state.services, visitor.actor(), &form.reason).await?;
    let notice = format!("{} will be retried now.", format::plural(retried, "thumbnail"));
    visitor.go(page_paths::ADMIN_JOBS, &notice).await
}
