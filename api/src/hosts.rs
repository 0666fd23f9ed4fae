//! The host names that a request may be for. A site whose name was pointed at this machine (DNS
//! rebinding) would otherwise have its scripts read what a browser on this network may.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use shared::config::HttpConfig;

use crate::{
    error::{Problem, ProblemCode},
    handlers::health,
};

/// Which host names are this service's. Loopback names always are.
#[derive(Clone, Debug)]
pub(crate) struct HostNames {
    public: Option<Arc<str>>,
    behind_proxy: bool,
}

impl HostNames {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let public = config.public_url.as_ref().map(|url| url.host().into());
        Self { public, behind_proxy: config.behind_proxy }
    }

    fn allow(&self, host: &str) -> bool {
        if is_loopback(host) {
            return true;
        }
        match &self.public {
            Some(public) => host.eq_ignore_ascii_case(public),
            // without a name of its own it is reached by its address, which no other site can take
            None => self.behind_proxy || address(host).is_some(),
        }
    }

    /// The hosts that a request names, without their ports. More than one, or one that is no host,
    /// is as good as another site's.
    fn asked(&self, headers: &HeaderMap, uri: &Uri) -> Vec<String> {
        let all = |name: &str| {
            let values = headers.get_all(name).iter();
            values.map(|value| value.to_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let forwarded = if self.behind_proxy { all("x-forwarded-host") } else { Vec::new() };
        let named = match uri.authority() {
            _ if !forwarded.is_empty() => forwarded,
            Some(authority) => vec![authority.to_string()],
            None => all(header::HOST.as_str()),
        };
        named.into_iter().map(|authority| host_of(&authority)).collect()
    }
}

/// The host of an authority that has no user, and a port that is a number; else nothing.
fn host_of(authority: &str) -> String {
    let parsed = authority.parse::<Authority>().ok().filter(|parsed| {
        let port = parsed.as_str().strip_prefix(parsed.host()).unwrap_or(":");
        port.is_empty() || parsed.port_u16().is_some()
    });
    parsed.map(|parsed| parsed.host().trim_end_matches('.').to_owned()).unwrap_or_default()
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// RFC 6761 section 6.3 keeps `localhost` and the names below it for this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || address(host).is_some_and(|ip| ip.is_loopback())
}

pub(crate) async fn check(
    State(names): State<HostNames>,
    request: Request,
    next: Next,
) -> Response {
    let asked = names.asked(request.headers(), request.uri());
    // orchestrators name the machine in whatever way they reach it
    if health::CHECKS.contains(&request.uri().path()) || asked.iter().all(|host| names.allow(host))
    {
        return next.run(request).await;
    }
    let detail = match &names.public {
        Some(public) => {
            format!("This service is reached as {public}, not as {}.", asked.join(", "))
        }
        None => {
            format!("This service has no name. Set PUBLIC_URL to reach it as {}.", asked.join(", "))
        }
    };
    Problem::new(ProblemCode::UnknownHost, detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(public: Option<&str>, behind_proxy: bool) -> HostNames {
        HostNames { public: public.map(Into::into), behind_proxy }
    }

    #[test]
    fn loopback_names_and_the_public_one_are_allowed() {
        let allowed = |host: &str| names(Some("img.example.com"), false).allow(host);
        for host in
            ["img.example.com", "IMG.example.com", "localhost", "a.localhost", "127.0.0.1", "[::1]"]
        {
            assert!(allowed(host), "{host}");
        }
        for host in
            ["evil.example.com", "img.example.com.evil.org", "10.0.0.7", "localhost.evil.org", ""]
        {
            assert!(!allowed(host), "{host}");
        }
    }

    #[test]
    fn without_a_public_name_addresses_are_allowed() {
        let allowed = |host: &str| names(None, false).allow(host);
        assert!(allowed("192.168.0.9") && allowed("[fd00::1]"));
        assert!(!allowed("evil.example.com"));
        assert!(names(None, true).allow("img.example.com"), "the proxy knows the names");
    }

    #[test]
    fn behind_a_proxy_the_forwarded_host_counts() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "pictier:8000".parse().expect("a header"));
        headers.insert("x-forwarded-host", "img.example.com".parse().expect("a header"));
        let asked =
            |behind_proxy| names(None, behind_proxy).asked(&headers, &Uri::from_static("/"));
        assert_eq!(asked(true), ["img.example.com"]);
        assert_eq!(asked(false), ["pictier"]);
    }

    #[test]
    fn what_is_not_one_host_is_not_ours() {
        for authority in ["evil.example@localhost", "localhost:abc", "local host", ""] {
            assert_eq!(host_of(authority), "", "{authority}");
        }
        assert_eq!(host_of("pics.example.:80"), "pics.example");
        assert_eq!(host_of("[::1]:80"), "[::1]");
        let mut headers = HeaderMap::new();
        headers.append("host", "localhost".parse().expect("a header"));
        headers.append("host", "evil.example".parse().expect("a header"));
        let names = names(None, false);
        assert!(
            !names.asked(&headers, &Uri::from_static("/")).iter().all(|host| names.allow(host))
        );
    }
}
