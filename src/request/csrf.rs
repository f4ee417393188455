//! [`CsrfPolicy`]: the sites from which a browser may send a token.

use std::net::Ipv4Addr;
use std::sync::Arc;

use http::header::{
    CONNECTION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Uri};

use crate::bytes;
use crate::error::config::ConfigError;
use crate::request::head::Head;

/// The sites that may make requests whose token is in a cookie or in a WebSocket subprotocol.
///
/// # Rules
///
/// The rules apply only to a request whose token came in a cookie or in a WebSocket subprotocol. The
/// first rule that matches decides:
///
/// 1. A `GET`, `HEAD` or `OPTIONS` request is safe and passes, unless it upgrades the connection. A
///    WebSocket handshake is a `GET` that upgrades the connection, so it is checked like a `POST`.
///    Over HTTP/2 and HTTP/3, the handshake is a `CONNECT`, which is not safe either.
/// 2. A request with two `Origin` fields or two `Sec-Fetch-Site` fields is rejected. No browser
///    sends such a request.
/// 3. A request with a [trusted](Self::trusted_origin) `Origin` passes.
/// 4. A request with `Sec-Fetch-Site` passes if the value is `same-origin` or `none`, and is rejected
///    otherwise.
/// 5. A request with `Origin` passes if the origin is `https` with the host and port of the request,
///    and is rejected otherwise. An `http` origin passes only if the host is a loopback host, such
///    as `localhost`.
/// 6. A request with neither header passes. All current browsers send one of the two headers with
///    every unsafe request, and other clients do not run pages of an attacker.
///
/// Browsers do not send `Sec-Fetch-Site` to a host that is reached over plain http. An API on such a
/// host must trust its own origin explicitly.
///
/// A rejected request is answered with 403.
#[derive(Clone, Debug)]
#[must_use]
pub struct CsrfPolicy {
    origins: Arc<[String]>,
}

impl CsrfPolicy {
    /// Trusts only the API's own origin.
    pub fn same_origin() -> Self {
        Self {
            origins: Arc::new([]),
        }
    }

    /// Also trusts this origin, such as `https://app.example.com`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Origin`] if it is not of the form `scheme://host[:port]`.
    pub fn trusted_origin(self, origin: &str) -> Result<Self, ConfigError> {
        let unusable = || ConfigError::Origin {
            input: origin.to_owned(),
        };
        let uri: Uri = origin.parse().map_err(|_| unusable())?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !origin.ends_with('/');
        let (Some(scheme), Some(authority), true) = (uri.scheme_str(), uri.authority(), is_bare)
        else {
            return Err(unusable());
        };
        if authority.as_str().contains('@') {
            return Err(unusable());
        }
        // As a browser writes it (RFC 6454, section 6.2).
        let authority = authority.as_str().to_ascii_lowercase();
        let host = without_port(authority.as_bytes(), default_port(scheme.as_bytes()));
        let host = std::str::from_utf8(host).unwrap_or(&authority);
        let origin = format!("{}://{host}", scheme.to_ascii_lowercase());
        Ok(Self {
            origins: self.origins.iter().cloned().chain([origin]).collect(),
        })
    }

    pub(super) fn allows(&self, head: &Head<'_>) -> bool {
        let headers = head.headers;
        let is_safe = matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if is_safe && !upgrades(headers) {
            return true;
        }
        let (Ok(origin), Ok(site)) = (only(headers, &ORIGIN), only(headers, &SEC_FETCH_SITE))
        else {
            return false;
        };
        let is_named = |origin: &[u8]| self.origins.iter().any(|one| one.as_bytes() == origin);
        match (origin, site) {
            (Some(origin), _) if is_named(origin) => true,
            (_, Some(site)) => matches!(site, b"same-origin" | b"none"),
            (Some(origin), None) => {
                let host = match head.uri.authority() {
                    Some(authority) => Some(authority.as_str().as_bytes()),
                    None => only(headers, &HOST).unwrap_or_default(),
                };
                host.is_some_and(|host| is_own_origin(origin, host))
            }
            // Not from a browser: a browser would send one of the two.
            (None, None) => true,
        }
    }
}

/// Whether a request asks to upgrade its connection, whatever its method. It does so with the fields
/// of HTTP/1.1 (RFC 9110, section 7.8), or with those of a WebSocket handshake, because some proxies
/// forward only the latter. Over HTTP/2 the method is `CONNECT` (RFC 8441).
fn upgrades(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        || WEBSOCKET.iter().any(|name| headers.contains_key(name))
        || has_word(headers, &CONNECTION, b"upgrade")
        || has_word(headers, &SEC_FETCH_MODE, b"websocket")
}

/// Whether the list of this field contains a word.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &[u8]) -> bool {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|item| bytes::trimmed(item).eq_ignore_ascii_case(word))
}

/// The value of the only line of this field; an error if there are more lines.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, ()> {
    let mut lines = headers.get_all(name).into_iter();
    match (lines.next(), lines.next()) {
        (_, Some(_)) => Err(()),
        (line, None) => Ok(line.map(|line| bytes::trimmed(line.as_bytes()))),
    }
}

/// Whether an origin is that of the host to which the request was sent. A page that was loaded over
/// plain http may come from an attacker, so its origin counts as a different origin.
fn is_own_origin(origin: &[u8], host: &[u8]) -> bool {
    let Some((scheme, rest)) = bytes::split_once(origin, b':') else {
        return false;
    };
    let Some(of_origin) = rest.strip_prefix(b"//") else {
        return false;
    };
    match scheme {
        b"https" => {}
        b"http" if is_loopback(host) => {}
        _ => return false,
    }
    let port = default_port(scheme);
    !host.is_empty() && without_port(of_origin, port).eq_ignore_ascii_case(without_port(host, port))
}

fn default_port(scheme: &[u8]) -> &'static [u8] {
    match scheme {
        b"https" => b":443",
        b"http" => b":80",
        _ => b"",
    }
}

fn without_port<'h>(host: &'h [u8], port: &[u8]) -> &'h [u8] {
    host.strip_suffix(port).unwrap_or(host)
}

/// Whether a host, with or without a port, is this machine.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    if host == "[::1]" || host.starts_with("[::1]:") {
        return true;
    }
    let name = host.split(':').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse()
            .is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

/// The site from which a request comes, and its purpose, as a browser reports them (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// Fields of a handshake, which a page cannot set by itself (RFC 6455, section 11.3).
const WEBSOCKET: [HeaderName; 4] = [
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_EXTENSIONS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_told_from_others() {
        for host in [
            "localhost",
            "LocalHost:3000",
            "app.localhost:3000",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]",
            "[::1]:3000",
        ] {
            assert!(is_loopback(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "localhost.example",
            "127.0.0.1.example",
            "xlocalhost",
            "128.0.0.1",
            "[::11]",
            "[::1].example",
        ] {
            assert!(!is_loopback(host.as_bytes()), "{host}");
        }
    }
}
