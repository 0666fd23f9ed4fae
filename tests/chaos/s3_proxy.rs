//! An HTTP proxy in front of the object store, which fails as it is told.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use fastrand::Rng;
use futures::{Stream, stream};
use http::{Method, Request, Response, StatusCode, header::CONTENT_LENGTH};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the store does to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It works.
    None,
    /// It is not there: every connection is closed at once.
    Away,
    /// So many of 100 requests fail: with 500, with 503, or with a closed connection.
    Errors(u8),
    /// So many of 100 bodies end early, of uploads as of downloads.
    CutBodies(u8),
    /// Writes answer 507.
    Full,
    /// Writes answer 403.
    ReadOnly,
}

type Body = BoxBody<Bytes, io::Error>;

struct State {
    server: SocketAddr,
    fault: Mutex<Fault>,
    random: Mutex<Rng>,
    failed: AtomicUsize,
    http: reqwest::Client,
}

/// A proxy that ends when it is dropped.
pub(crate) struct S3Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl S3Proxy {
    pub(crate) async fn start(server: SocketAddr, random: Rng) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            server,
            fault: Mutex::new(Fault::None),
            random: Mutex::new(random),
            failed: AtomicUsize::new(0),
            http: reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?,
        });
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Ok(Self { address, state, accepting })
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.state.fault.lock().expect("a fault") = fault;
    }

    /// Requests that were made to fail.
    pub(crate) fn failed(&self) -> usize {
        self.state.failed.load(Ordering::Relaxed)
    }
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((connection, _)) = listener.accept().await {
        if state.is(Fault::Away) {
            state.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        tokio::spawn(serve(connection, state.clone()));
    }
}

async fn serve(connection: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { state.answer(request).await }
    });
    // an error closes the connection, which is what it is there for
    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

/// What is done to one request.
#[derive(Clone, Copy)]
enum Fate {
    Forward,
    Answer(StatusCode),
    Reset,
    CutUpload,
    CutDownload,
}

impl State {
    fn is(&self, fault: Fault) -> bool {
        *self.fault.lock().expect("a fault") == fault
    }

    fn fate(&self, method: &Method) -> Fate {
        let fault = *self.fault.lock().expect("a fault");
        let mut random = self.random.lock().expect("random numbers");
        let is_write = [Method::PUT, Method::POST, Method::DELETE].contains(method);
        let fate =
            match fault {
                Fault::Away => Fate::Reset,
                Fault::Errors(percent) if random.u8(..100) < percent => match random.u8(..3) {
                    0 => Fate::Answer(StatusCode::INTERNAL_SERVER_ERROR),
                    1 => Fate::Answer(StatusCode::SERVICE_UNAVAILABLE),
                    _ => Fate::Reset,
                },
                Fault::CutBodies(percent) if random.u8(..100) < percent => {
                    if method == Method::GET { Fate::CutDownload } else { Fate::CutUpload }
                }
                // a full store still deletes
                Fault::Full if is_write && method != Method::DELETE => {
                    Fate::Answer(StatusCode::INSUFFICIENT_STORAGE)
                }
                Fault::ReadOnly if is_write => Fate::Answer(StatusCode::FORBIDDEN),
                _ => Fate::Forward,
            };
        if !matches!(fate, Fate::Forward) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        fate
    }

    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let fate = self.fate(request.method());
        match fate {
            Fate::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            Fate::Answer(status) => {
                // a client that still sends would see a reset instead
                let _ = request.into_body().collect().await;
                let mut response =
                    Response::new(whole(Bytes::from_static(b"<Error><Code>Chaos</Code></Error>")));
                *response.status_mut() = status;
                Ok(response)
            }
            Fate::Forward | Fate::CutUpload | Fate::CutDownload => {
                self.forward(request, fate).await
            }
        }
    }

    async fn forward(&self, request: Request<Incoming>, fate: Fate) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let url = format!("http://{}{}", self.server, head.uri);
        let mut upstream = self.http.request(head.method.clone(), url).headers(head.headers);
        if matches!(fate, Fate::CutUpload) && !body.is_empty() {
            upstream = upstream
                .header(CONTENT_LENGTH, body.len())
                .body(reqwest::Body::wrap_stream(half(&body)));
            let _ = upstream.send().await;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        upstream = upstream.body(body);
        let answer = upstream.send().await.map_err(io::Error::other)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        if head.method == Method::HEAD {
            return response.body(whole(Bytes::new())).map_err(io::Error::other);
        }
        let body = answer.bytes().await.map_err(io::Error::other)?;
        let body = if matches!(fate, Fate::CutDownload) {
            let frames = futures::StreamExt::map(half(&body), |piece| piece.map(Frame::data));
            StreamBody::new(frames).boxed()
        } else {
            whole(body)
        };
        response.body(body).map_err(io::Error::other)
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
}

/// The first half, and then an error.
fn half(bytes: &Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + use<> {
    let first = bytes.slice(..bytes.len() / 2);
    stream::iter([Ok(first), Err(io::ErrorKind::ConnectionReset.into())])
}
