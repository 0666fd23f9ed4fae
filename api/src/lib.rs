//! The HTTP API. `routes.rs` is the table of every URL; a request goes from there to a handler, which parses it
//! and calls a use case; the use case reads and writes through `shared`; the answer's links are made by `urls.rs`.

mod auth;
mod client;
mod connections;
mod error;
mod extract;
mod file_response;
mod finished;
mod handlers;
mod hosts;
mod openapi;
mod pages;
mod problem_responses;
mod representations;
mod routes;
mod time_limits;
mod upload_form;
mod urls;
mod use_cases;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::extract::FromRef;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use shared::{
    clock::Clock,
    config::{HttpConfig, LimitsConfig},
    storage::Storage,
};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

pub use error::Code;
pub use openapi::document as openapi_document;

use crate::{
    auth::{PasswordHasher, SessionWatch},
    connections::LimitedAcceptor,
    finished::FinishedThumbnails,
    hosts::HostNames,
    time_limits::DatabaseProbe,
    urls::UrlScheme,
};

/// A client that sends the head of a request more slowly, or nothing for so long, loses its connection.
const HEADER_TIME: Duration = Duration::from_secs(20);
/// The longest head of a request, and what is read ahead of a body, in bytes.
const HEADER_MAX_BYTES: usize = 64 << 10;
/// Requests that are under way at a stop get this long to end.
const DRAIN_TIME: Duration = Duration::from_secs(25);

/// What the API needs to run.
#[derive(Clone, Debug)]
pub struct Api {
    /// The database.
    pub pool: PgPool,
    /// Where files are.
    pub storage: Storage,
    /// The time.
    pub clock: Clock,
    /// How the API is reached.
    pub http: HttpConfig,
    /// Limits.
    pub limits: LimitsConfig,
}

/// What every handler can reach.
#[derive(Clone)]
struct AppState {
    pool: PgPool,
    database: DatabaseProbe,
    storage: Storage,
    clock: Clock,
    limits: Arc<LimitsConfig>,
    urls: UrlScheme,
    finished: FinishedThumbnails,
    passwords: PasswordHasher,
    sessions: SessionWatch,
    /// One permit for each request that waits for a thumbnail.
    waiting: Arc<Semaphore>,
    stop: CancellationToken,
}

impl FromRef<AppState> for PgPool {
    fn from_ref(state: &AppState) -> Self {
        state.pool.clone()
    }
}

impl Api {
    /// Answers requests on `listener` until `stop`; then those under way get 25 s to end.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        tokio::spawn(self.clock.clone().follow(self.pool.clone(), stop.clone()));
        let finished = FinishedThumbnails::listen(self.pool.clone(), stop.clone());
        let state = AppState {
            passwords: PasswordHasher::new(),
            sessions: SessionWatch::start(self.pool.clone(), self.clock.clone(), stop.clone()),
            waiting: Arc::new(Semaphore::new(self.limits.waiting_requests.min(Semaphore::MAX_PERMITS))),
            urls: UrlScheme::new(&self.http),
            database: DatabaseProbe::new(self.pool.clone()),
            pool: self.pool,
            storage: self.storage,
            clock: self.clock,
            limits: Arc::new(self.limits),
            finished,
            stop: stop.clone(),
        };
        let connections = LimitedAcceptor::new(self.http.http_connections);
        let service = routes::service(state, HostNames::new(&self.http))
            .into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        tokio::spawn(stop_gracefully(handle.clone(), stop));
        // telling HTTP/1 from HTTP/2 would wait for the first bytes without a limit; browsers use HTTP/2 with TLS only,
        // which a proxy does
        let mut server =
            axum_server::from_tcp(listener.into_std()?)?.acceptor(connections).handle(handle).http1_only();
        let mut http1 = server.http_builder().http1();
        http1.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_MAX_BYTES);
        server.serve(service).await
    }
}

async fn stop_gracefully(handle: Handle<SocketAddr>, stop: CancellationToken) {
    stop.cancelled().await;
    handle.graceful_shutdown(Some(DRAIN_TIME));
}
