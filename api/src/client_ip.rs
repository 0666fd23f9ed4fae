//! Who sends a request, as far as the connection and a trusted proxy tell.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Once,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};

use shared::services::accounts::ClientAddress;

use crate::AppState;

/// The headers in which a reverse proxy names the client (RFC 7239, and what was usual before it).
const FORWARDING_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];
static WARN_OF_PROXY: Once = Once::new();
static WARN_OF_HEADER: Once = Once::new();

/// The address that a request comes from.
pub(crate) struct Client(pub(crate) ClientAddress);

impl FromRequestParts<AppState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let connected = connected.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        if state.urls.is_behind_proxy() {
            let forwarded = forwarded_for(&parts.headers);
            let is_of_proxy = forwarded.is_none() && is_forwarded(&parts.headers);
            if is_of_proxy {
                WARN_OF_HEADER.call_once(|| {
                    tracing::warn!(
                        "The reverse proxy sends no X-Forwarded-For with a client's address at its end."
                    );
                });
            }
            return Ok(Self(ClientAddress { ip: forwarded.unwrap_or(connected), is_of_proxy }));
        }
        let is_of_proxy = is_private(connected) && is_forwarded(&parts.headers);
        if is_of_proxy {
            WARN_OF_PROXY.call_once(|| {
                tracing::warn!(
                    "A reverse proxy at {connected} forwards requests, but BEHIND_PROXY is not set: all clients \
                     seem to have its address, and failed logins are counted by account only. Set BEHIND_PROXY=true."
                );
            });
        }
        Ok(Self(ClientAddress { ip: connected, is_of_proxy }))
    }
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDING_HEADERS.iter().any(|name| headers.contains_key(*name))
}

/// Whether an address is one of this machine's or network's own, as a reverse proxy's is (RFC 1918,
/// RFC 4193). A client of the Internet cannot escape the limit of its address by a header.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unique_local() || v6 == Ipv6Addr::LOCALHOST || v6.is_unicast_link_local()
        }
    }
}

/// The last address is the one that our proxy saw; those before it are the client's own words.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let last = last.to_str().ok()?.rsplit(',').next()?.trim();
    // some gateways add the client's port
    last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_without_configuration_has_a_private_address() {
        for address in
            ["127.0.0.1", "10.1.2.3", "172.18.0.1", "::1", "fd00::1", "::ffff:192.168.0.1"]
        {
            assert!(is_private(address.parse().expect("an address")), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_private(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn of_several_forwarded_addresses_the_proxys_counts() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "6.6.6.6, 10.0.0.7".parse().expect("a header"));
        assert_eq!(forwarded_for(&headers), Some(IpAddr::from([10, 0, 0, 7])));
        headers.insert("x-forwarded-for", "6.6.6.6, 10.0.0.7:4711".parse().expect("a header"));
        assert_eq!(forwarded_for(&headers), Some(IpAddr::from([10, 0, 0, 7])));
        headers.insert("x-forwarded-for", "[2001:db8::1]:4711".parse().expect("a header"));
        assert_eq!(forwarded_for(&headers), "2001:db8::1".parse().ok());
        headers.insert("x-forwarded-for", "unknown".parse().expect("a header"));
        assert_eq!(forwarded_for(&headers), None);
    }
}
