//! A way to the database that can go silent: what is sent over it arrives no more, and nobody
//! closes it. It also counts the queries.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// The type of the message that starts a query of the extended protocol.
const BIND: u8 = b'B';
/// Length of a message, which is part of it.
const LENGTH_BYTES: usize = 4;

/// Listens on a port of its own until the test ends.
pub(crate) struct Proxy {
    port: u16,
    silenced: watch::Sender<()>,
    queries: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(database: &PgConnectOptions) -> Self {
        let socket = database.get_socket().expect("a socket");
        let socket = socket.join(format!(".s.PGSQL.{}", database.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (silenced, queries) = (watch::Sender::new(()), Arc::new(AtomicUsize::new(0)));
        let (silence, counter) = (silenced.clone(), queries.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, socket.clone(), silence.subscribe(), counter.clone()));
            }
        });
        Self { port, silenced, queries }
    }

    /// The same database over the proxy.
    pub(crate) fn options(&self, database: &PgConnectOptions) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database(database.get_database().expect("a name"))
            .ssl_mode(PgSslMode::Disable)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Forwards nothing more over the connections that are there; new ones work.
    pub(crate) fn silence(&self) {
        self.silenced.send_replace(());
    }

    /// Queries that were sent until now.
    pub(crate) fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }
}

async fn forward(
    mut client: TcpStream,
    socket: PathBuf,
    mut silence: watch::Receiver<()>,
    queries: Arc<AtomicUsize>,
) {
    let mut server = UnixStream::connect(socket).await.expect("the server");
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let there = async {
        // the first message has no type
        let length = from_client.read_u32().await?;
        to_server.write_u32(length).await?;
        copy_body(&mut from_client, &mut to_server, length).await?;
        loop {
            let kind = from_client.read_u8().await?;
            let length = from_client.read_u32().await?;
            queries.fetch_add(usize::from(kind == BIND), Ordering::Relaxed);
            to_server.write_u8(kind).await?;
            to_server.write_u32(length).await?;
            copy_body(&mut from_client, &mut to_server, length).await?;
        }
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        ended = there => { let _: io::Result<()> = ended; }
        _ = back => {}
        // holds both ends open
        Ok(()) = silence.changed() => std::future::pending().await,
    }
}

async fn copy_body(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    length: u32,
) -> io::Result<()> {
    let mut body = vec![0; usize::try_from(length).expect("a length") - LENGTH_BYTES];
    from.read_exact(&mut body).await?;
    to.write_all(&body).await?;
    to.flush().await
}
