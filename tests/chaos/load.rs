//! Clients: uploads that are remembered once they are acknowledged, and requests of their
//! thumbnails.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use futures::future::join_all;
use http::{Method, StatusCode};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    album::{Album, HEIGHTS, PictureId, sha},
    client::Client,
    plan::Plan,
};

/// How long a client waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The addresses that clients choose from in turn, and what they saw.
pub(crate) struct Front {
    pub(crate) client: Client,
    origins: RwLock<Vec<String>>,
    next: AtomicUsize,
    pub(crate) operations: AtomicUsize,
    /// Requests that got no good answer, by what they got.
    failures: Mutex<BTreeMap<String, usize>>,
    pub(crate) uploads: Mutex<Vec<Upload>>,
    /// Thumbnails that were served wrong while the harm was going on.
    pub(crate) wrong: Mutex<Vec<String>>,
}

/// An upload that was acknowledged.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) pk: i64,
    pub(crate) picture: PictureId,
    pub(crate) original: String,
    /// Paths by height.
    pub(crate) thumbnails: BTreeMap<u32, String>,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The header Content-Length.
    pub(crate) length: Option<u64>,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
pub(crate) enum NoReply {
    /// No connection, no head, or not in time.
    Lost(String),
    /// The head of an answer with bytes came, and its body did not come whole.
    CutShort(String),
}

impl Front {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            origins: RwLock::default(),
            next: AtomicUsize::new(0),
            operations: AtomicUsize::new(0),
            failures: Mutex::default(),
            uploads: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    pub(crate) fn set_origins(&self, origins: Vec<String>) {
        *self.origins.write().expect("origins") = origins;
    }

    fn origin(&self) -> String {
        let origins = self.origins.read().expect("origins");
        origins[self.next.fetch_add(1, Ordering::Relaxed) % origins.len()].clone()
    }

    /// A request of a path at the next address.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, &format!("{}{path}", self.origin()))
    }

    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        patience: Duration,
    ) -> Result<Reply, NoReply> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let answer = match request.timeout(patience).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let why =
                    if error.is_timeout() { "no answer in time" } else { "connection failed" };
                self.note_failure(why);
                return Err(NoReply::Lost(why.to_owned()));
            }
        };
        let (status, length) = (answer.status(), answer.content_length());
        if !status.is_success() {
            self.note_failure(&format!("status {}", status.as_u16()));
        }
        match answer.bytes().await {
            Ok(body) => Ok(Reply { status, length, body }),
            Err(error) if error.is_timeout() => {
                self.note_failure("no answer in time");
                Err(NoReply::Lost("no answer in time".to_owned()))
            }
            Err(error) => {
                self.note_failure("body cut short");
                Err(NoReply::CutShort(format!(
                    "a body of {length:?} bytes was not sent whole: {error:?}"
                )))
            }
        }
    }

    fn note_failure(&self, what: &str) {
        *self.failures.lock().expect("failures").entry(what.to_owned()).or_default() += 1;
    }

    /// What clients saw instead of good answers.
    pub(crate) fn failures(&self) -> BTreeMap<String, usize> {
        self.failures.lock().expect("failures").clone()
    }

    /// Asks for a file, which may wait for it to be made.
    pub(crate) async fn fetch(&self, path: &str, wait: Option<Duration>) -> Result<Reply, NoReply> {
        let mut request = self.request(Method::GET, path);
        if let Some(wait) = wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        self.send(request, wait.unwrap_or_default() + PATIENCE).await
    }

    /// Uploads a picture; the image if that was acknowledged.
    pub(crate) async fn upload(&self, plan: &Plan, picture: PictureId) -> Option<Upload> {
        let file = plan.album.picture(picture);
        let name = format!("picture-{picture}.{}", file.extension);
        let part = Part::bytes(file.bytes.clone()).file_name(name);
        let request =
            self.request(Method::POST, "/api/images").multipart(Form::new().part("file", part));
        let reply = self.send(request, PATIENCE * 2).await.ok()?;
        if reply.status != StatusCode::CREATED {
            return None;
        }
        let upload = parse_upload(&serde_json::from_slice(&reply.body).ok()?, picture)?;
        self.uploads.lock().expect("uploads").push(upload.clone());
        Some(upload)
    }

    /// Uploads so many pictures, each until it is acknowledged, a few at a time.
    pub(crate) async fn upload_all(&self, plan: &Plan, pictures: Vec<PictureId>) -> Vec<Upload> {
        use futures::StreamExt;
        let uploads = pictures.into_iter().map(|picture| async move {
            loop {
                if let Some(upload) = self.upload(plan, picture).await {
                    return upload;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        });
        futures::stream::iter(uploads).buffer_unordered(4).collect().await
    }

    /// Asks for both heights at the same time, without waiting for the bytes.
    pub(crate) async fn ask(&self, plan: &Plan, upload: &Upload) {
        self.ask_and_wait(plan, upload, None).await;
    }

    /// Asks for both heights at the same time, and waits for the bytes for as long as that.
    pub(crate) async fn ask_and_wait(&self, plan: &Plan, upload: &Upload, wait: Option<Duration>) {
        let requests = HEIGHTS.map(|height| async move {
            let reply = self.fetch(&upload.thumbnails[&height], wait).await;
            if let Ok(reply) = reply
                && reply.status == StatusCode::OK
            {
                self.hold_against_reference(plan, upload, height, &reply.body);
            }
        });
        join_all(requests).await;
    }

    fn hold_against_reference(&self, plan: &Plan, upload: &Upload, height: u32, body: &[u8]) {
        if let Some(fault) = plan.album.fault(upload.picture, height, body) {
            let case = format!("image {} at {height} px during the harm: {fault}", upload.pk);
            self.wrong.lock().expect("wrong thumbnails").push(case);
        }
    }

    /// From `since` until the bytes of each of these thumbnails, for which nobody asked before;
    /// `None` for one that did not come within `limit`.
    pub(crate) async fn recover(
        &self,
        plan: &Plan,
        uploads: &[Upload],
        since: Instant,
        limit: Duration,
    ) -> Vec<Option<Duration>> {
        let requests = uploads.iter().map(|upload| async move {
            while since.elapsed() < limit {
                let reply =
                    self.fetch(&upload.thumbnails[&HEIGHTS[0]], Some(Duration::from_secs(5))).await;
                if let Ok(reply) = reply
                    && reply.status == StatusCode::OK
                {
                    let took = since.elapsed();
                    self.hold_against_reference(plan, upload, HEIGHTS[0], &reply.body);
                    return Some(took);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            None
        });
        join_all(requests).await
    }
}

fn parse_upload(image: &Value, picture: PictureId) -> Option<Upload> {
    let urls = &image["file_urls"];
    let path = |name: &str| path_of(urls[name].as_str()?);
    let thumbnails: Option<_> =
        HEIGHTS.iter().map(|height| Some((*height, path(&format!("{height} px high"))?))).collect();
    Some(Upload {
        pk: image["pk"].as_i64()?,
        picture,
        original: path("original")?,
        thumbnails: thumbnails?,
    })
}

/// The path of an absolute URL.
fn path_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    Some(rest[rest.find('/')?..].to_owned())
}

/// Clients that upload and ask until they are stopped.
pub(crate) struct Load {
    stop: CancellationToken,
    clients: Vec<JoinHandle<()>>,
}

/// How much load.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) clients: usize,
    /// The mean pause of each client.
    pub(crate) pause: Duration,
    /// Whether the pictures keep a worker busy.
    pub(crate) is_large: bool,
}

impl Load {
    pub(crate) fn start(
        front: &Arc<Front>,
        plan: &Arc<Plan>,
        rate: Rate,
        random: &mut Rng,
    ) -> Self {
        let stop = CancellationToken::new();
        let clients = (0..rate.clients).map(|_| {
            let (front, plan, stop, random) =
                (front.clone(), plan.clone(), stop.clone(), random.fork());
            tokio::spawn(work(front, plan, stop, rate, random))
        });
        Self { clients: clients.collect(), stop }
    }

    /// Lets every client get its answer.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for client in self.clients {
            client.await.expect("a client that stops");
        }
    }
}

async fn work(
    front: Arc<Front>,
    plan: Arc<Plan>,
    stop: CancellationToken,
    rate: Rate,
    mut random: Rng,
) {
    let mean = u64::try_from(rate.pause.as_millis()).unwrap_or(u64::MAX);
    while !stop.is_cancelled() {
        let number = random.usize(..);
        let picture = if rate.is_large { Album::large(number) } else { Album::small(number) };
        if let Some(upload) = front.upload(&plan, picture).await {
            front.ask(&plan, &upload).await;
        }
        let pause = Duration::from_millis(random.u64(..=2 * mean));
        tokio::select! { () = stop.cancelled() => {} () = tokio::time::sleep(pause) => {} }
    }
}

/// Whether the bytes are the ones that were uploaded.
pub(crate) fn is_original(plan: &Plan, upload: &Upload, body: &[u8]) -> bool {
    sha(body) == plan.album.picture(upload.picture).sha
}
