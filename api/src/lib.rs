//! The HTTP API. `routes.rs` is the table of every URL; a request goes from there to a handler,
//! which parses it and calls a procedure of `shared::services`, or reads a page of rows through
//! `shared::db`; `urls.rs` makes the links of the response.

mod auth;
mod change_signals;
mod client_ip;
mod connections;
mod content_digest;
mod cors;
mod error;
mod extract;
mod file_response;
mod handlers;
mod hosts;
mod json;
mod openapi;
mod pages;
mod problem_responses;
mod request_log;
mod routes;
mod thumbnail_events;
mod time_limits;
mod upload_form;
mod urls;
mod waiting_places;

use std::{io, net::SocketAddr, time::Duration};

use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use shared::{
    config::HttpConfig,
    postgres::notifications::{EchoTest, Notifications},
    services::Services,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use error::ProblemCode;
pub use routes::openapi_document;

use crate::{
    auth::CredentialWatch, change_signals::ChangeSignals, connections::LimitedAcceptor, cors::Cors,
    hosts::HostNames, thumbnail_events::ThumbnailEvents, time_limits::DatabaseProbe,
    urls::UrlScheme, waiting_places::WaitingPlaces,
};

/// A client that sends the head of a request more slowly, or nothing for so long, loses its
/// connection.
const HEADER_TIME: Duration = Duration::from_secs(20);
/// The longest head of a request, and what is read ahead of a body, in bytes.
const HEADER_MAX_BYTES: usize = 64 << 10;
/// Requests that are under way at a stop get this long to end.
const DRAIN_TIME: Duration = Duration::from_secs(25);

/// The channels of notifications that the API listens to.
const CHANNELS: [&str; 2] = [thumbnail_events::CHANNEL, change_signals::CHANNEL];

#[derive(Clone, Debug)]
pub struct Api {
    pub services: Services,
    pub http: HttpConfig,
}

/// What every handler can reach.
#[derive(Clone)]
struct AppState {
    services: Services,
    database: DatabaseProbe,
    urls: UrlScheme,
    thumbnail_events: ThumbnailEvents,
    change_signals: ChangeSignals,
    credentials: CredentialWatch,
    waiting: WaitingPlaces,
    stop: CancellationToken,
}

impl Api {
    /// Answers requests on `listener` until `stop`; then those under way get 25 s to end.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let Services { pool, clock, limits, .. } = self.services.clone();
        tokio::spawn(clock.clone().follow(pool.clone(), stop.clone()));
        let notifications =
            Notifications::listen(&pool, &CHANNELS, EchoTest::default(), stop.clone());
        let state = AppState {
            credentials: CredentialWatch::start(pool.clone(), clock, stop.clone()),
            waiting: WaitingPlaces::new(&limits),
            urls: UrlScheme::new(&self.http),
            database: DatabaseProbe::new(pool.clone()),
            thumbnail_events: ThumbnailEvents::listen(pool, &notifications, stop.clone()),
            change_signals: ChangeSignals::listen(&notifications, stop.clone()),
            services: self.services,
            stop: stop.clone(),
        };
        let connections = LimitedAcceptor::new(self.http.http_connections);
        let service = routes::service(state, HostNames::new(&self.http), Cors::new(&self.http))
            .into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        tokio::spawn(stop_gracefully(handle.clone(), stop));
        // telling HTTP/1 from HTTP/2 would wait for the first bytes without a limit; browsers use
        // HTTP/2 with TLS only, which a proxy does
        let mut server = axum_server::from_tcp(listener.into_std()?)?
            .acceptor(connections)
            .handle(handle)
            .http1_only();
        let mut http1 = server.http_builder().http1();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(HEADER_MAX_BYTES);
        server.serve(service).await
    }
}

async fn stop_gracefully(handle: Handle<SocketAddr>, stop: CancellationToken) {
    stop.cancelled().await;
    handle.graceful_shutdown(Some(DRAIN_TIME));
}
