//! How long a request may wait for its result.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// The longest wait that a client may ask for (RFC 7240 section 4.3).
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long a browser's image waits by itself.
const IMAGE_WAIT: Duration = Duration::from_secs(10);

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// How long a request may wait for its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    /// As long as the client asked for.
    Preferred(Duration),
    /// A browser shows the answer as an image: it cannot ask again by itself.
    ForImage,
}

impl Wait {
    /// The wait that a request asks for.
    pub(super) fn preferred(request: &HeaderMap) -> Self {
        let preferred = request.get_all(PREFER).iter().find_map(preferred_wait);
        preferred
            .map_or(Self::No, |seconds| Self::Preferred(Duration::from_secs(seconds).min(MAX_WAIT)))
    }

    /// The wait of a request for a thumbnail's file.
    pub(super) fn of(request: &HeaderMap) -> Self {
        let preferred = Self::preferred(request);
        if preferred != Self::No {
            return preferred;
        }
        let text = |name: HeaderName| {
            request.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        if text(SEC_FETCH_DEST) == "image" || text(header::ACCEPT).starts_with("image/") {
            return Self::ForImage;
        }
        Self::No
    }

    /// How long that is; none if the request does not wait.
    pub(super) fn patience(self) -> Option<Duration> {
        match self {
            Self::No => None,
            Self::Preferred(patience) => Some(patience),
            Self::ForImage => Some(IMAGE_WAIT),
        }
    }

    /// Tells a client that asked for a wait how long it was.
    pub(super) fn record(self, response: &mut HeaderMap) {
        if let Self::Preferred(patience) = self {
            let applied = HeaderValue::from_str(&format!("wait={}", patience.as_secs()))
                .expect("digits are a header");
            response.insert(PREFERENCE_APPLIED, applied);
        }
    }
}

/// The `wait` among the preferences of a `Prefer` header (RFC 7240 section 4.3), in seconds.
fn preferred_wait(prefer: &HeaderValue) -> Option<u64> {
    let preferences = prefer.to_str().ok()?.split([',', ';']);
    preferences.filter_map(|preference| preference.split_once('=')).find_map(|(name, value)| {
        let seconds = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("wait") { seconds.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[(&'static str, &'static str)]) -> Wait {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Wait::of(&headers.collect())
    }

    #[test]
    fn a_preferred_wait_is_at_most_30_seconds() {
        assert_eq!(wait(&[("prefer", "wait=5")]), Wait::Preferred(Duration::from_secs(5)));
        assert_eq!(wait(&[("prefer", "respond-async, Wait=\"100\"")]), Wait::Preferred(MAX_WAIT));
        assert_eq!(wait(&[("prefer", "wait=soon")]), Wait::No);
    }

    #[test]
    fn an_image_of_a_page_waits_by_itself() {
        assert_eq!(wait(&[("sec-fetch-dest", "image")]), Wait::ForImage);
        assert_eq!(wait(&[("accept", "image/avif,image/webp,*/*")]), Wait::ForImage);
        assert_eq!(wait(&[("accept", "text/html,image/webp")]), Wait::No);
        assert_eq!(wait(&[]), Wait::No);
    }
}
