//! The only builder of links, and the only reader of the file names in them.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Uri, header, request::Parts, uri::Scheme},
};
use imaging::Format;
use shared::{
    config::HttpConfig,
    domain::{Height, ImageId, LinkId, OriginalId, ThumbnailId, Title},
    public_url::PublicUrl,
};
use uuid::Uuid;

use crate::AppState;

/// How the origin of links is found.
#[derive(Clone, Debug)]
pub(crate) struct UrlScheme {
    /// Scheme and authority that are configured.
    origin: Option<Arc<str>>,
    is_https: bool,
    behind_proxy: bool,
}

impl UrlScheme {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let public_url = config.public_url.as_ref();
        Self {
            origin: public_url.map(|url| url.origin().into()),
            is_https: public_url.is_some_and(PublicUrl::is_https),
            behind_proxy: config.behind_proxy,
        }
    }

    pub(crate) fn is_behind_proxy(&self) -> bool {
        self.behind_proxy
    }

    /// Whether users reach the service by TLS for certain, so that cookies can be kept to it.
    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    fn links(&self, headers: &HeaderMap, uri: &Uri) -> Urls {
        if let Some(origin) = &self.origin {
            return Urls { origin: origin.clone() };
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let forwarded = |name: &str| if self.behind_proxy { header(name) } else { None };
        let scheme = match forwarded("x-forwarded-proto") {
            Some("https") => Scheme::HTTPS,
            _ => Scheme::HTTP,
        };
        let host = forwarded("x-forwarded-host")
            .or_else(|| header(header::HOST.as_str()))
            .or_else(|| uri.authority().map(http::uri::Authority::as_str))
            .filter(|host| host.parse::<http::uri::Authority>().is_ok())
            .unwrap_or("localhost");
        Urls { origin: format!("{scheme}://{host}").into() }
    }
}

/// Makes the absolute links of one response.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    origin: Arc<str>,
}

impl FromRequestParts<AppState> for Urls {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(state.urls.links(&parts.headers, &parts.uri))
    }
}

impl Urls {
    /// Links within a page: they reach the host that the page came from, which may be another than
    /// the one that is handed out.
    pub(crate) fn within_page() -> Self {
        Self { origin: "".into() }
    }

    pub(crate) fn image(&self, id: ImageId) -> String {
        format!("{}/api/images/{id}", self.origin)
    }

    /// The page of the list that follows this image.
    pub(crate) fn images_after(&self, id: ImageId, limit: i64) -> String {
        format!("{}/api/images?limit={limit}&cursor={id}", self.origin)
    }

    pub(crate) fn thumbnail_status(&self, id: ImageId, height: Height) -> String {
        format!("{}/api/images/{id}/thumbnails/{height}", self.origin)
    }

    pub(crate) fn expiring_links(&self, id: ImageId) -> String {
        format!("{}/api/images/{id}/expiring_links", self.origin)
    }

    pub(crate) fn original(&self, title: &Title, id: OriginalId, format: Format) -> String {
        format!("{}/user_content/original/{}", self.origin, file_name(title, id.0, format))
    }

    pub(crate) fn thumbnail(&self, title: &Title, id: ThumbnailId, format: Format) -> String {
        format!("{}/user_content/resized/{}", self.origin, file_name(title, id.0, format))
    }

    pub(crate) fn expiring(&self, id: LinkId) -> String {
        format!("{}/user_content/expiring/{id}/", self.origin)
    }
}

fn file_name(title: &Title, id: Uuid, format: Format) -> String {
    format!("{}-{id}.{}", title.slug(), format.extension())
}

pub(crate) mod page_paths {
    use shared::domain::{ImageId, UserId};

    pub(crate) const GALLERY: &str = "/";
    pub(crate) const ACCOUNT: &str = "/account";
    pub(crate) const TOKENS: &str = "/account/tokens";
    pub(crate) const ADMIN_USERS: &str = "/admin/users";
    pub(crate) const ADMIN_TIERS: &str = "/admin/tiers";
    pub(crate) const ADMIN_IMAGES: &str = "/admin/images";
    pub(crate) const ADMIN_LINKS: &str = "/admin/links";
    pub(crate) const ADMIN_JOBS: &str = "/admin/jobs";

    /// The login page, from which the user goes on to where they came for.
    pub(crate) fn log_in(return_to: Option<&str>) -> String {
        match return_to {
            None | Some(GALLERY) => "/login".to_owned(),
            Some(path) => format!("/login?{}", query(&[("next", path)])),
        }
    }

    /// A path that a request names, if it is one of ours: a login never leads to another site.
    pub(crate) fn within(path: &str) -> &str {
        let is_local = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
        if is_local && path.bytes().all(|byte| byte.is_ascii_graphic()) { path } else { GALLERY }
    }

    pub(crate) fn gallery_after(image: ImageId) -> String {
        format!("/?cursor={image}")
    }

    pub(crate) fn image(image: ImageId) -> String {
        format!("/images/{image}")
    }

    /// The part of an image's page that has its expiring links.
    pub(crate) fn links(image: ImageId) -> String {
        format!("/images/{image}#links")
    }

    pub(crate) fn admin_user(user: UserId) -> String {
        format!("{ADMIN_USERS}/{user}")
    }

    /// A table as it was shown: its path with the query string that a form remembered.
    pub(crate) fn back_to(table: &str, query: &str) -> String {
        let path = format!("{table}?{query}");
        if within(&path) == path { path } else { table.to_owned() }
    }

    pub(crate) fn query(parameters: &impl serde::Serialize) -> String {
        serde_html_form::to_string(parameters).unwrap_or_default()
    }
}

pub(crate) fn header_value(url: &str) -> HeaderValue {
    HeaderValue::from_str(url).expect("links are made of ASCII")
}

/// The id and extension in a file's name. What stands before them may be anything: a link outlives
/// the title that it was made with.
pub(crate) fn parse_file_name(name: &str) -> Option<(Uuid, Format)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let start = stem.len().checked_sub(UUID_CHARS)?;
    let (slug, id) = (stem.get(..start)?, stem.get(start..)?);
    if !(slug.is_empty() || slug.ends_with('-')) {
        return None;
    }
    let format =
        [Format::Jpeg, Format::Png].into_iter().find(|format| format.extension() == extension)?;
    Some((Uuid::try_parse(id).ok()?, format))
}

const UUID_CHARS: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(public_url: Option<&str>, behind_proxy: bool) -> HttpConfig {
        HttpConfig {
            bind: ([127, 0, 0, 1], 0).into(),
            public_url: public_url.map(|url| url.parse().expect("a public URL")),
            behind_proxy,
            ..shared::config::defaults()
        }
    }

    fn origin(config: &HttpConfig, headers: &[(&'static str, &str)]) -> String {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), value.parse().expect("a header"))
            })
            .collect();
        UrlScheme::new(config).links(&headers, &Uri::from_static("/")).origin.to_string()
    }

    #[test]
    fn links_repeat_the_host_of_the_request() {
        assert_eq!(
            origin(&config(None, false), &[("host", "pics.example:8000")]),
            "http://pics.example:8000"
        );
    }

    #[test]
    fn a_configured_url_wins_over_the_request() {
        let config = config(Some("https://pics.example/"), false);
        assert_eq!(origin(&config, &[("host", "evil.example")]), "https://pics.example");
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let headers =
            [("host", "inner"), ("x-forwarded-host", "outer"), ("x-forwarded-proto", "https")];
        assert_eq!(origin(&config(None, false), &headers), "http://inner");
        assert_eq!(origin(&config(None, true), &headers), "https://outer");
    }

    #[test]
    fn a_file_name_reads_back_whatever_its_slug() {
        let id = Uuid::new_v4();
        for title in ["Holiday", "!!!", "日本語", "a-b-c"] {
            let title = Title::try_from(title.to_owned()).expect("a title");
            assert_eq!(
                parse_file_name(&file_name(&title, id, Format::Png)),
                Some((id, Format::Png))
            );
        }
    }

    #[test]
    fn a_login_leads_nowhere_else() {
        assert_eq!(page_paths::within("/images/1?a=b"), "/images/1?a=b");
        for elsewhere in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a b", "images"]
        {
            assert_eq!(page_paths::within(elsewhere), "/", "{elsewhere}");
        }
        assert_eq!(page_paths::log_in(Some("/images/1?a=b")), "/login?next=%2Fimages%2F1%3Fa%3Db");
    }

    #[test]
    fn what_is_no_file_name_is_not_read() {
        let id = Uuid::new_v4();
        for name in
            ["", "x", "é.png", &format!("{id}"), &format!("x{id}.png"), &format!("{id}.exe")]
        {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
