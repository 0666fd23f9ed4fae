//! Digests of bodies (RFC 9530): an upload that was damaged on its way is refused, and a client can
//! compare what it downloads.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use shared::domain::FileDigest;

use crate::error::{Problem, ProblemCode};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const SHA_256: &str = "sha-256";

/// The digest that a request says its body has; the body is hashed as it is read.
pub(crate) struct AnnouncedDigest {
    announced: [u8; 32],
    hashed: Arc<Mutex<Hashed>>,
}

struct Hashed {
    body: BodyDataStream,
    hasher: Sha256,
}

impl AnnouncedDigest {
    /// Takes the digest of a request, if it has one by SHA-256. Those by other algorithms may be
    /// ignored (section 2).
    pub(crate) fn take(request: Request) -> Result<(Option<Self>, Request), Problem> {
        let values = request.headers().get_all(CONTENT_DIGEST).iter();
        let members =
            values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let announced = members
            .filter_map(|member| member.trim().split_once('='))
            .find(|(algorithm, _)| algorithm.trim() == SHA_256);
        let Some((_, value)) = announced else {
            return Ok((None, request));
        };
        let announced = parse(value).ok_or_else(malformed)?;
        let (parts, body) = request.into_parts();
        let hashed = Hashed { body: body.into_data_stream(), hasher: Sha256::new() };
        let hashed = Arc::new(Mutex::new(hashed));
        let body = Body::from_stream(read(hashed.clone()));
        Ok((Some(Self { announced, hashed }), Request::from_parts(parts, body)))
    }

    /// Refuses a body that has another digest. What a form's parser has left is read here.
    pub(crate) async fn check(self) -> Result<(), Problem> {
        let mut rest = std::pin::pin!(read(self.hashed.clone()));
        while let Some(piece) = rest.next().await {
            piece.map_err(|_| {
                Problem::new(ProblemCode::MalformedRequest, "The body did not arrive as a whole.")
            })?;
        }
        let hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        let digest: [u8; 32] = hashed.hasher.clone().finalize().into();
        if digest == self.announced {
            return Ok(());
        }
        let detail = "The body does not have the digest that Content-Digest names. Send it again.";
        Err(Problem::new(ProblemCode::DigestMismatch, detail))
    }
}

fn read(
    hashed: Arc<Mutex<Hashed>>,
) -> impl futures::Stream<Item = Result<axum::body::Bytes, axum::Error>> + Send + 'static {
    stream::poll_fn(move |context| {
        let mut hashed = hashed.lock().unwrap_or_else(PoisonError::into_inner);
        let polled = hashed.body.try_poll_next_unpin(context);
        if let std::task::Poll::Ready(Some(Ok(piece))) = &polled {
            hashed.hasher.update(piece);
        }
        polled
    })
}

/// A byte sequence of structured fields (RFC 8941 section 3.3.5): base64 between colons.
fn parse(value: &str) -> Option<[u8; 32]> {
    let encoded = value.trim().strip_prefix(':')?.strip_suffix(':')?;
    BASE64_STANDARD.decode(encoded).ok()?.try_into().ok()
}

fn malformed() -> Problem {
    let detail = "Content-Digest has the form sha-256=:BASE64:, with the SHA-256 of the body.";
    Problem::new(ProblemCode::MalformedRequest, detail)
}

/// Tells the digest of the whole file, also in the answer to a range request.
pub(crate) fn add_repr_digest(headers: &mut HeaderMap, digest: FileDigest) {
    let value = format!("{SHA_256}=:{}:", BASE64_STANDARD.encode(digest.0));
    headers.insert(REPR_DIGEST, HeaderValue::from_str(&value).expect("base64 is ASCII"));
}
