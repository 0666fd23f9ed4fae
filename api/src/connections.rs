//! Accepting connections: at most so many at a time, so that a process never runs out of files and
//! memory.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tower_http::add_extension::AddExtension;

/// What a connection above the limit is told, as HTTP/1.1.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
    Content-Length: 0\r\n\r\n";
/// The longest time to tell it.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// A client that takes none of an answer for so long loses its connection. Streams of events send
/// something each 15 s.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Accepts as many connections at a time as there are permits.
#[derive(Clone, Debug)]
pub(crate) struct LimitedAcceptor {
    connections: Arc<Semaphore>,
}

/// Held by the service of a connection, and so until the connection ends.
type Permit = Arc<OwnedSemaphorePermit>;

impl LimitedAcceptor {
    pub(crate) fn new(connections: usize) -> Self {
        Self { connections: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))) }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for LimitedAcceptor {
    type Stream = Pin<Box<TimeoutStream<TcpStream>>>;
    type Service = AddExtension<S, Permit>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let permit = self.connections.clone().try_acquire_owned();
        Box::pin(async move {
            let Ok(permit) = permit else {
                // best effort: the connection ends in any case
                let _ = timeout(REFUSAL_TIME, stream.write_all(REFUSAL)).await;
                let _ = timeout(REFUSAL_TIME, stream.shutdown()).await;
                return Err(io::Error::other("too many connections"));
            };
            // an answer leaves at once: waiting for more to send along costs clients 40 ms each
            // time
            stream.set_nodelay(true)?;
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(WRITE_TIME));
            Ok((Box::pin(stream), AddExtension::new(service, Arc::new(permit))))
        })
    }
}
