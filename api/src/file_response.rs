//! Answers with a file's bytes: conditional requests and ranges (RFC 9110), and headers that keep a
//! browser from taking an image for anything else.

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use axum_extra::headers::{ETag, HeaderMapExt, IfNoneMatch, IfRange};
use http_range_header::parse_range_header;
use imaging::Format;
use shared::{
    domain::{Attempt, FileDigest, Image, ThumbnailId},
    storage::{Storage, StorageError, StorageKey},
};

use crate::{
    content_digest::add_repr_digest,
    error::{Problem, ProblemCode},
};

#[derive(Debug)]
pub(crate) struct FileResponse {
    pub(crate) key: StorageKey,
    /// Names the content: objects never change under their keys.
    pub(crate) etag: String,
    /// The size in bytes that the row says, where an object of another size can be made again.
    pub(crate) expected_bytes: Option<u64>,
    pub(crate) content_type: &'static str,
    /// The file's SHA-256, where one is told.
    pub(crate) digest: Option<FileDigest>,
    pub(crate) cache: Cache,
    /// A name for saving it, where the URL has none.
    pub(crate) file_name: Option<String>,
}

/// How long others may keep a copy without asking again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cache {
    /// What a tier gives may be taken away: a minute, then ask.
    TierGated,
    /// What an expiring link gives: this many seconds, never more than it has left.
    Expiring {
        /// Seconds that the link has left.
        remaining: i64,
    },
}

const TIER_GATED_SECONDS: i64 = 60;

impl Cache {
    fn header(self) -> HeaderValue {
        let seconds = match self {
            Self::TierGated => TIER_GATED_SECONDS,
            Self::Expiring { remaining } => remaining.clamp(0, TIER_GATED_SECONDS),
        };
        HeaderValue::from_str(&format!("private, max-age={seconds}")).expect("digits are a header")
    }
}

impl FileResponse {
    pub(crate) fn original(
        image: &Image,
        digest: Option<FileDigest>,
        cache: Cache,
        file_name: Option<String>,
    ) -> Self {
        Self {
            key: StorageKey::original(image.original, image.format),
            etag: format!("\"{}\"", image.original),
            expected_bytes: None,
            content_type: image.format.media_type(),
            digest,
            cache,
            file_name,
        }
    }

    /// What an attempt at a thumbnail made, of so many bytes.
    pub(crate) fn thumbnail(
        id: ThumbnailId,
        attempt: Attempt,
        format: Format,
        bytes: u64,
        cache: Cache,
        file_name: Option<String>,
    ) -> Self {
        Self {
            key: StorageKey::thumbnail(id, attempt, format),
            etag: format!("\"{id}-{attempt}\""),
            expected_bytes: Some(bytes),
            content_type: format.media_type(),
            digest: None,
            cache,
            file_name,
        }
    }

    /// The answer to a request with these headers; `None` when the object is not there, or of
    /// another size than expected.
    ///
    /// Sizes are the object's own, never a row's: a wrong `Content-Length` would put a connection
    /// out of step.
    pub(crate) async fn respond(
        self,
        storage: &Storage,
        request: &HeaderMap,
    ) -> Result<Option<Response>, StorageError> {
        let etag: ETag =
            self.etag.parse().expect("a UUID and a number in quotes are an entity tag");
        let mut headers = self.headers(&etag);
        if request
            .typed_get::<IfNoneMatch>()
            .is_some_and(|condition| !condition.precondition_passes(&etag))
        {
            headers.remove(header::CONTENT_TYPE);
            return Ok(Some((StatusCode::NOT_MODIFIED, headers).into_response()));
        }
        let mut range = None;
        if request.contains_key(header::RANGE) {
            let Some(bytes) = storage.size(&self.key).await? else {
                return Ok(None);
            };
            range = match requested_range(request, &etag, bytes) {
                Requested::Whole => None,
                Requested::Part(range) => Some(range),
                Requested::Nothing => return Ok(Some(not_satisfiable(bytes))),
            };
        }
        let Some(object) = storage.get(&self.key, range.clone()).await? else {
            return Ok(None);
        };
        if self.expected_bytes.is_some_and(|expected| expected != object.size()) {
            return Ok(None);
        }
        let status = match &range {
            None => StatusCode::OK,
            Some(range) => {
                let content_range =
                    format!("bytes {}-{}/{}", range.start, range.end - 1, object.size());
                headers.insert(header::CONTENT_RANGE, ascii(&content_range));
                StatusCode::PARTIAL_CONTENT
            }
        };
        let length = range.map_or(object.size(), |range| range.end - range.start);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        let body = if object.is_small() {
            Body::from(object.bytes().await?)
        } else {
            Body::from_stream(object.into_stream())
        };
        Ok(Some((status, headers, body).into_response()))
    }

    fn headers(&self, etag: &ETag) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.typed_insert(etag.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, self.cache.header());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(digest) = self.digest {
            add_repr_digest(&mut headers, digest);
        }
        if let Some(name) = &self.file_name {
            headers.insert(
                header::CONTENT_DISPOSITION,
                ascii(&format!("inline; filename=\"{name}\"")),
            );
        }
        headers
    }
}

fn not_satisfiable(bytes: u64) -> Response {
    let detail = format!("the file has {bytes} bytes");
    let mut response = Problem::new(ProblemCode::RangeNotSatisfiable, detail).into_response();
    response.headers_mut().insert(header::CONTENT_RANGE, ascii(&format!("bytes */{bytes}")));
    response
}

fn ascii(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("slugs and numbers are ASCII")
}

enum Requested {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// Several ranges at once, and ranges in other units, get the whole file, as RFC 9110 section 14.2
/// allows.
fn requested_range(request: &HeaderMap, etag: &ETag, bytes: u64) -> Requested {
    let Some(range) = request.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Requested::Whole;
    };
    if request
        .typed_get::<IfRange>()
        .is_some_and(|condition| condition.is_modified(Some(etag), None))
    {
        return Requested::Whole;
    }
    let Ok(parsed) = parse_range_header(range) else {
        return Requested::Whole;
    };
    match parsed.validate(bytes).as_deref() {
        Ok([one]) => Requested::Part(*one.start()..one.end() + 1),
        Ok(_) => Requested::Whole,
        Err(_) => Requested::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(range: &str, if_range: Option<&str>) -> Requested {
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, range.parse().expect("a header"));
        if let Some(tag) = if_range {
            request.insert(header::IF_RANGE, tag.parse().expect("a header"));
        }
        requested_range(&request, &"\"a\"".parse().expect("a tag"), 100)
    }

    #[test]
    fn a_range_is_cut_to_the_file() {
        for (header, expected) in [
            ("bytes=0-9", 0..10),
            ("bytes=90-", 90..100),
            ("bytes=-10", 90..100),
            ("bytes=50-1000", 50..100),
        ] {
            assert!(
                matches!(requested(header, None), Requested::Part(range) if range == expected),
                "{header}"
            );
        }
    }

    #[test]
    fn a_range_beyond_the_file_is_not_satisfiable() {
        assert!(matches!(requested("bytes=100-", None), Requested::Nothing));
    }

    #[test]
    fn what_is_no_single_range_of_bytes_gets_the_whole_file() {
        for header in ["bytes=0-1,5-6", "lines=1-2", "bytes=x"] {
            assert!(matches!(requested(header, None), Requested::Whole), "{header}");
        }
    }

    #[test]
    fn a_range_of_another_version_gets_the_whole_file() {
        assert!(matches!(requested("bytes=0-9", Some("\"b\"")), Requested::Whole));
        assert!(matches!(requested("bytes=0-9", Some("\"a\"")), Requested::Part(_)));
    }

    #[test]
    fn an_expiring_file_is_not_kept_longer_than_its_link() {
        let header = |remaining| Cache::Expiring { remaining }.header();
        assert_eq!(header(12), "private, max-age=12");
        assert_eq!(header(30_000), "private, max-age=60");
    }
}
