//! The address that users type, which every absolute link starts with.

use std::{fmt, str::FromStr};

use http::{Uri, uri::Scheme};

const EXAMPLE: &str = "https://pictures.example.com";

/// A checked `PUBLIC_URL`: scheme, host, and an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    host: String,
    is_https: bool,
}

/// Why a text is not a public URL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublicUrlError {
    #[error("This is not a URL. Give the scheme and the host, as in {EXAMPLE}.")]
    Malformed,
    /// No scheme, or another than those that the service speaks.
    #[error("The URL has to start with http:// or https://, as in {EXAMPLE}.")]
    Scheme,
    /// A user name or a password, which would be in every link.
    #[error(
        "The URL has a user name or a password. Give the scheme and the host only, as in {EXAMPLE}."
    )]
    Credentials,
    #[error("The URL has no host. Give the scheme and the host, as in {EXAMPLE}.")]
    Host,
    /// A port that cannot be connected to.
    #[error(
        "The URL's port is not a number from 1 to 65535. Correct it, or leave it out with its colon."
    )]
    Port,
    /// Anything after the host: pages and links start at the root of their host.
    #[error(
        "The URL has a path, a query or a fragment, but the service works only at the root of its host. Give the \
         scheme and the host only, as in {EXAMPLE}."
    )]
    Path,
}

impl PublicUrl {
    /// Scheme and authority, without a slash at the end.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// As a browser spells it in `Origin` (RFC 6454 section 6.1): in lower case, without a default
    /// port.
    pub fn browser_origin(&self) -> String {
        let origin = self.origin.to_ascii_lowercase();
        let default_port = if self.is_https { ":443" } else { ":80" };
        origin.strip_suffix(default_port).map(str::to_owned).unwrap_or(origin)
    }

    /// The host's name or address, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether users reach the service by TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // the parser would drop a fragment without a word
        if text.contains('#') {
            return Err(PublicUrlError::Path);
        }
        let uri: Uri = text.parse().map_err(|_| PublicUrlError::Malformed)?;
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let scheme = scheme.ok_or(PublicUrlError::Scheme)?;
        let authority = uri.authority().ok_or(PublicUrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(PublicUrlError::Credentials);
        }
        if authority.host().is_empty() {
            return Err(PublicUrlError::Host);
        }
        let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        if !after_host.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(PublicUrlError::Port);
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(PublicUrlError::Path);
        }
        let host = authority.host().to_owned();
        Ok(Self {
            origin: format!("{scheme}://{authority}"),
            host,
            is_https: *scheme == Scheme::HTTPS,
        })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin)
    }
}

/// URLs of other sites, separated by commas; an empty text has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(pub Vec<PublicUrl>);

impl FromStr for Origins {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let given = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        given.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, PublicUrlError> {
        text.parse::<PublicUrl>().map(|url| url.to_string())
    }

    #[test]
    fn takes_a_scheme_and_a_host_with_or_without_a_port() {
        for (text, origin) in [
            ("https://pictures.example", "https://pictures.example"),
            ("https://pictures.example/", "https://pictures.example"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
            ("HTTPS://pictures.example", "https://pictures.example"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(origin), "{text}");
        }
    }

    #[test]
    fn an_origin_is_spelled_as_browsers_do() {
        for (text, origin) in [
            ("https://App.Example:443/", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://app.example:80", "https://app.example:80"),
            ("http://[::1]:8000", "http://[::1]:8000"),
        ] {
            let url: PublicUrl = text.parse().expect("a URL");
            assert_eq!(url.browser_origin(), origin);
        }
    }

    #[test]
    fn origins_are_separated_by_commas() {
        let count = |text: &str| text.parse::<Origins>().map(|origins| origins.0.len());
        assert_eq!(count(""), Ok(0));
        assert_eq!(count("https://a.example, http://localhost:3000,"), Ok(2));
        assert_eq!(count("https://a.example,*"), Err(PublicUrlError::Scheme));
    }

    #[test]
    fn knows_whether_users_come_by_tls() {
        assert!("HTTPS://pictures.example".parse::<PublicUrl>().expect("a URL").is_https());
        assert!(!"http://https.example".parse::<PublicUrl>().expect("a URL").is_https());
    }

    #[test]
    fn says_what_is_wrong_with_the_others() {
        for (text, error) in [
            ("", PublicUrlError::Malformed),
            ("not a url", PublicUrlError::Malformed),
            ("https://", PublicUrlError::Malformed),
            ("pictures.example", PublicUrlError::Scheme),
            ("/pictures", PublicUrlError::Scheme),
            ("ftp://pictures.example", PublicUrlError::Scheme),
            ("https://ada:secret@pictures.example", PublicUrlError::Credentials),
            ("https://:8000", PublicUrlError::Host),
            ("https://pictures.example:", PublicUrlError::Port),
            ("https://pictures.example:0", PublicUrlError::Port),
            ("https://pictures.example:70000", PublicUrlError::Port),
            ("https://pictures.example/gallery", PublicUrlError::Path),
            ("https://pictures.example//", PublicUrlError::Path),
            ("https://pictures.example?page=1", PublicUrlError::Path),
            ("https://pictures.example/#top", PublicUrlError::Path),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
    }
}
