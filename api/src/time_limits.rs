//! How long a request may take. Whatever takes longer than usual asks whether the database answers,
//! and ends when it does not: nobody waits for a database that is gone, and what is slow but alive
//! goes on.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use shared::postgres;
use sqlx::PgPool;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::error::Problem;

/// A request asks this often whether the database answers.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// The database counts as away when it does not answer within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// The longest time from a request to the head of its answer, without the time in which its body
/// arrives, which has limits of its own. The longest wait for a thumbnail and the longest statement
/// together fit into it.
const REQUEST_LIMIT: Duration = Duration::from_mins(1);

/// The rest of a shorter body is read and dropped, so that its connection can be used again, in
/// bytes.
const LONG_BODY_BYTES: u64 = 64 << 10;

/// Finds out whether the database answers, for all requests of the process that want to know. Cheap
/// to clone.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseProbe {
    pool: PgPool,
    last: Arc<Mutex<Option<Answer>>>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    is_there: bool,
    known_at: Instant,
}

impl DatabaseProbe {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, last: Arc::default() }
    }

    /// Whether the database answers now. Requests that ask at the same time share one look.
    pub(crate) async fn answers(&self) -> bool {
        let asked_at = Instant::now();
        let looking = async {
            let mut last = self.last.lock().await;
            if let Some(answer) = *last
                && answer.known_at > asked_at
            {
                return answer.is_there;
            }
            let is_there = postgres::answers(&self.pool, ANSWER_LIMIT).await;
            *last = Some(Answer { is_there, known_at: Instant::now() });
            is_there
        };
        timeout(ANSWER_LIMIT, looking).await.unwrap_or(false)
    }
}

/// The layer that limits each request.
pub(crate) async fn limit(
    State(database): State<DatabaseProbe>,
    request: Request,
    next: Next,
) -> Response {
    let (request, arrival) = watch_body(request);
    let response = limited(&database, &arrival, next.run(request)).await;
    if response.status().is_success()
        || !arrival.is_long
        || arrival.has_ended.load(Ordering::Relaxed)
    {
        return response;
    }
    // what is left of the body is not read, so the connection cannot be used again
    ([(header::CONNECTION, "close")], response).into_response()
}

async fn limited(
    database: &DatabaseProbe,
    arrival: &Arrival,
    response: impl Future<Output = Response>,
) -> Response {
    let mut response = pin!(response);
    let mut spent = Duration::ZERO;
    loop {
        if let Ok(response) = timeout(ASK_INTERVAL, &mut response).await {
            return response;
        }
        if arrival.is_under_way.load(Ordering::Relaxed) {
            continue;
        }
        spent += ASK_INTERVAL;
        if spent >= REQUEST_LIMIT {
            let detail = format!(
                "The request took longer than {} seconds. Try again soon.",
                spent.as_secs()
            );
            return Problem::unavailable(detail).into_response();
        }
        tokio::select! {
            response = &mut response => return response,
            is_there = database.answers() => if !is_there {
                return Problem::unavailable("The database does not answer. Try again soon.").into_response();
            },
        }
    }
}

/// How far the body of a request has arrived.
#[derive(Debug, Default)]
struct Arrival {
    /// Whether it is longer than what a connection drops unread.
    is_long: bool,
    /// Whether a handler reads it and its end has not arrived.
    is_under_way: AtomicBool,
    has_ended: AtomicBool,
}

fn watch_body(request: Request) -> (Request, Arc<Arrival>) {
    if request.body().is_end_stream() {
        return (request, Arc::default());
    }
    let is_long = request.body().size_hint().upper().is_none_or(|bytes| bytes > LONG_BODY_BYTES);
    let arrival = Arc::new(Arrival { is_long, ..Arrival::default() });
    let watch = Watch(arrival.clone());
    let watched = request.map(|body| {
        let mut pieces = body.into_data_stream();
        Body::from_stream(stream::poll_fn(move |cx| {
            let piece = pieces.poll_next_unpin(cx);
            let has_ended = matches!(piece, Poll::Ready(None));
            watch.0.is_under_way.store(!has_ended, Ordering::Relaxed);
            watch.0.has_ended.store(has_ended, Ordering::Relaxed);
            piece
        }))
    });
    (watched, arrival)
}

/// A body that is dropped is not read any longer.
struct Watch(Arc<Arrival>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.is_under_way.store(false, Ordering::Relaxed);
    }
}
