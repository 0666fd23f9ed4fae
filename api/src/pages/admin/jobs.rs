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

use super::{Administrator, PAGE_ROWS, Rows, begin_read, selected};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, FormQuery, deserialize_given_fields},
    pages::{
        Layout, format,
        forms::{self, Choice},
        page,
    },
    urls::page_paths,
};

/// The most frequent reasons for failed thumbnails that the page shows.
const SHOWN_REASONS: i64 = 20;

const STATES: [(JobState, &str); 4] = [
    (JobState::Waiting, "Waiting"),
    (JobState::Running, "Running"),
    (JobState::Failed, "Failed, will be tried again"),
    (JobState::Dead, "Dead"),
];

#[derive(Template)]
#[template(path = "admin/jobs.html")]
struct JobsPage {
    layout: Layout,
    query: JobsQuery,
    state: JobState,
    /// The states, each with how many jobs are in it.
    states: Vec<(Choice, u64)>,
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

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct JobsQuery {
    state: Option<JobState>,
    queue: Option<String>,
    /// The id of the last job of the page before.
    cursor: Option<String>,
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
    FormQuery(query): FormQuery<JobsQuery>,
) -> Result<Response, Problem> {
    let listed = query.state.unwrap_or_default();
    let (queue, before) = (query.queue.as_deref(), query.cursor.as_deref());
    let mut tx = begin_read(&state.services.pool).await?;
    let queues = db::admin::jobs::figures(&mut tx, &QUEUES).await?;
    let jobs = db::admin::jobs::page(&mut tx, listed, queue, before, PAGE_ROWS + 1).await?;
    let reasons = db::thumbnails::failure_reasons(&mut tx, SHOWN_REASONS).await?;
    drop(tx);
    let rows = Rows::of(jobs);
    let counts = STATES.map(|(state, _)| in_state(&queues, state));
    let jobs_page = JobsPage {
        layout: visitor.layout().await?,
        state: listed,
        states: Choice::list(STATES, listed).into_iter().zip(counts).collect(),
        queue_choices: Choice::optional(
            "all",
            QUEUES.map(|queue| (queue, queue)),
            query.queue.as_ref(),
        ),
        queues,
        reasons,
        now: state.services.clock.now(),
        back: page_paths::query(&query),
        next: rows.next(|last| JobsQuery { cursor: Some(last.id.clone()), ..query.clone() }),
        query,
        jobs: rows.rows,
    };
    Ok(page(StatusCode::OK, &jobs_page))
}

/// Which jobs, and where the administrator was.
#[derive(Default, Deserialize)]
#[serde(default)]
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
        let query: JobsQuery = deserialize_given_fields(&self.back)?;
        Ok(Selection::All { state: query.state.unwrap_or_default(), queue: query.queue })
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
    let ids = selected(form.ids.clone(), "job")?;
    let discarded = jobs::discard(&state.services, visitor.actor(), &ids).await?;
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
