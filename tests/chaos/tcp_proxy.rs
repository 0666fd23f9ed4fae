//! One address for a service that moves: connections go to whichever address is the target when
//! they are made.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

struct Target {
    address: SocketAddr,
    /// Ends the connections to this target.
    cut: CancellationToken,
}

/// A proxy that ends when it is dropped.
pub(crate) struct TcpProxy {
    pub(crate) address: SocketAddr,
    target: Arc<Mutex<Target>>,
    accepting: JoinHandle<()>,
}

impl TcpProxy {
    pub(crate) async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let target =
            Arc::new(Mutex::new(Target { address: target, cut: CancellationToken::new() }));
        let accepting = tokio::spawn(accept(listener, target.clone()));
        Ok(Self { address, target, accepting })
    }

    /// Cuts all connections; new ones go to another address.
    pub(crate) fn switch_to(&self, address: SocketAddr) {
        let mut target = self.target.lock().expect("a target");
        target.cut.cancel();
        *target = Target { address, cut: CancellationToken::new() };
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.target.lock().expect("a target").cut.cancel();
    }
}

async fn accept(listener: TcpListener, target: Arc<Mutex<Target>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (address, cut) = {
            let target = target.lock().expect("a target");
            (target.address, target.cut.clone())
        };
        tokio::spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                // how a connection ends is for its two ends to say
                _ = forward(client, address) => {}
            }
        });
    }
}

async fn forward(mut client: TcpStream, address: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
