//! [`PlainHttp`]: the URLs from which documents may be fetched.

use http::Uri;

/// The hosts to which requests may be sent over plain http.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    Anywhere,
    Loopback,
    /// The same, without a setter that allows other hosts.
    #[cfg_attr(
        not(feature = "status-list"),
        expect(dead_code, reason = "keys and introspection have such a setter")
    )]
    LoopbackAlone,
    Nowhere,
}

impl PlainHttp {
    /// Checks that requests may be sent to this URL. The error says what is expected.
    pub(crate) fn check(self, uri: &str) -> Result<(), &'static str> {
        let Ok(parsed) = uri.parse::<Uri>() else {
            return Err("a URL");
        };
        let Some(host) = parsed.host() else {
            return Err("an absolute URL");
        };
        if parsed
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err("a URL without credentials");
        }
        match (parsed.scheme_str(), self) {
            (Some("https"), _) | (Some("http"), Self::Anywhere) => Ok(()),
            (Some("http"), Self::Loopback | Self::LoopbackAlone) if is_loopback(host) => Ok(()),
            (Some("http"), Self::Loopback) => Err(
                "https, or http to a loopback address (`insecure_plain_http` allows other hosts)",
            ),
            (Some("http"), Self::LoopbackAlone) => Err("https, or http to a loopback address"),
            (Some("http"), Self::Nowhere) => Err("https, because the metadata came by https"),
            _ => Err("https, or http to a loopback address"),
        }
    }

    /// The rule for the URLs in a document from this place. A document that came over https never leads
    /// to plain http.
    pub(crate) fn behind(self, place: &str) -> Self {
        let uri = place.parse::<Uri>().ok();
        match uri.as_ref().and_then(Uri::scheme_str) {
            Some("http") => self,
            _ => Self::Nowhere,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for good in [
            "https://h/k",
            "http://localhost/k",
            "http://127.9.9.9/k",
            "http://[::1]:1/k",
            "http://LocalHost/k",
            "http://login.localhost:8080/k",
            "httpS://h/k",
        ] {
            assert!(PlainHttp::Loopback.check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://h/k",
            "http://localhost.evil/k",
            "http://evillocalhost/k",
            "http://10.0.0.1/k",
            "http://user@localhost/k",
            "ftp://h/k",
            "file:///etc/passwd",
            "/k",
            "",
        ] {
            assert!(PlainHttp::Loopback.check(bad).is_err(), "{bad}");
        }
        assert!(PlainHttp::Anywhere.check("http://keycloak:8080/k").is_ok());
        for bad in [
            "ftp://h/k",
            "file:///etc/passwd",
            "http://u:p@h/k",
            "/k",
            "",
        ] {
            assert!(PlainHttp::Anywhere.check(bad).is_err(), "{bad}");
        }
    }
}
