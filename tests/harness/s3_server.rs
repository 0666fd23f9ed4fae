//! A `SeaweedFS` that tests share, each with a bucket of its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use super::free_port;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/chaos-tools/bin/weed");
const PATIENCE: Duration = Duration::from_mins(1);
/// `SeaweedFS` listens for gRPC on its ports plus this number.
const GRPC_OFFSET: u16 = 10_000;

/// A server that ends when it is dropped.
pub(crate) struct S3Server {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl S3Server {
    /// Starts it; `None` where bin/chaos-tools could not install it.
    pub(crate) async fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let [master, volume, filer, s3] = [(); 4].map(|()| grpc_port());
        let mut command = Command::new(PROGRAM);
        command.args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            "-volume.max=100",
        ]);
        command.args(["-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.arg(format!("-dir={}", folder.path().display()));
        command.arg(format!("-master.port={master}")).arg(format!("-volume.port={volume}"));
        command.arg(format!("-filer.port={filer}")).arg(format!("-s3.port={s3}"));
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("SeaweedFS");
        let server = Self { address: ([127, 0, 0, 1], s3).into(), child, _folder: folder };
        server.wait_until_it_stores().await;
        Some(server)
    }

    async fn wait_until_it_stores(&self) {
        let deadline = Instant::now() + PATIENCE;
        create_bucket(self.address, "warm-up").await;
        // the first file of a bucket waits until volumes have been made for it
        let file = format!("http://{}/warm-up/file", self.address);
        while !is_success(reqwest::Client::new().put(&file).body("file")).await {
            assert!(Instant::now() < deadline, "SeaweedFS stores nothing");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates a bucket; the server lets everybody do everything.
pub(crate) async fn create_bucket(server: SocketAddr, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    let bucket = format!("http://{server}/{name}");
    while !is_success(reqwest::Client::new().put(&bucket)).await {
        assert!(Instant::now() < deadline, "SeaweedFS creates no bucket");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn is_success(request: reqwest::RequestBuilder) -> bool {
    request.send().await.is_ok_and(|answer| answer.status().is_success())
}

/// A free port with its free port for gRPC.
fn grpc_port() -> u16 {
    loop {
        let port = free_port();
        let grpc = port.checked_sub(GRPC_OFFSET).filter(|port| *port > 1024);
        if let Some(port) = grpc
            && [port, port + GRPC_OFFSET]
                .iter()
                .all(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        {
            return port;
        }
    }
}
