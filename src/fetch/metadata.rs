//! The metadata of an issuer (RFC 8414, OpenID Connect Discovery), which names its endpoints.

use std::time::Duration;

use http::Uri;
use tokio::time::Instant;

use crate::error::rejection::Excerpt;
use crate::error::shown_url::ShownUrl;
use crate::fetch::documents::{DocumentError, Documents};
use crate::fetch::freshness::{Lifetimes, checked};
use crate::fetch::plain_http::PlainHttp;
use crate::issuer::{Issuer, slash_hint};
use crate::json::{self, Raw};

/// The URLs of an issuer's metadata, in the order in which they are tried: that of RFC 8414, section 3.1,
/// then that of OpenID Connect Discovery, section 4.
pub(crate) fn metadata_uris(issuer: &str) -> Option<[String; 2]> {
    let uri: Uri = issuer.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let path = uri.path().trim_end_matches('/');
    if uri.query().is_some() {
        return None;
    }
    let bare = issuer.strip_suffix('/').unwrap_or(issuer);
    Some([
        format!("{scheme}://{authority}/.well-known/oauth-authorization-server{path}"),
        format!("{bare}/.well-known/openid-configuration"),
    ])
}

/// The URL to read from the metadata.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The name of its member.
    pub(crate) member: &'static str,
    /// Whether the URL for callers with a client certificate is preferred (`mtls_endpoint_aliases`,
    /// RFC 8705, section 5).
    pub(crate) by_certificate: bool,
}

impl Wanted {
    pub(crate) const KEY_SET: Self = Self {
        member: "jwks_uri",
        by_certificate: false,
    };
}

/// Reads the wanted URL from the metadata of exactly this issuer.
pub(crate) fn wanted_url(
    metadata: &[u8],
    issuer: &str,
    wanted: Wanted,
    plain_http: PlainHttp,
) -> Result<String, String> {
    let text = std::str::from_utf8(metadata).map_err(|_| "metadata is not UTF-8".to_owned())?;
    let (mut named, mut uri, mut alias, mut is_key_set) = (None, None, None, false);
    json::read_object(text, json::MAX_MEMBERS, |name, value| match &*name {
        "issuer" => named = value.string(),
        "mtls_endpoint_aliases" if wanted.by_certificate => {
            alias = value.member(wanted.member).and_then(Raw::string);
        }
        "keys" => is_key_set = true,
        name if name == wanted.member => uri = value.string(),
        _ => {}
    })
    .map_err(|_| "metadata is not one JSON object".to_owned())?;
    match named {
        Some(named) if named == issuer => {}
        Some(named) => {
            let (shown, hint) = (Excerpt(&named), slash_hint(issuer, &named));
            return Err(format!(
                "metadata is of issuer {shown}, expected {issuer:?}{hint}"
            ));
        }
        None if is_key_set => {
            return Err(
                "this is a key set, and not metadata: load it with `KeyStore::remote`".into(),
            );
        }
        None => return Err("metadata has no `issuer`".into()),
    }
    let member = wanted.member;
    let uri = alias.or(uri);
    let uri = uri.ok_or_else(|| format!("metadata has no `{member}`"))?;
    match plain_http.check(&uri) {
        Ok(()) => Ok(uri.into_owned()),
        Err(expected) => {
            let shown = ShownUrl(&uri).to_string();
            let shown = Excerpt(&shown);
            Err(format!("`{member}` is {shown}, expected {expected}"))
        }
    }
}

/// Finds a URL in the metadata of an issuer, and remembers it.
pub(crate) struct Discovery {
    issuer: Issuer,
    wanted: Wanted,
    /// In the order in which they are tried. The place that answered last is first.
    places: Vec<String>,
    known: Option<Known>,
    /// Whether all requests of a search, and one after it, share the time of one request.
    shares_time: bool,
}

/// The content of the metadata, and the end of its lifetime.
struct Known {
    url: String,
    until: Instant,
}

impl Discovery {
    pub(crate) fn new(issuer: Issuer, places: Vec<String>, wanted: Wanted) -> Self {
        Self {
            issuer,
            wanted,
            places,
            known: None,
            shares_time: false,
        }
    }

    /// Gives each request of a search half of the remaining time, so that a place that does not answer
    /// leaves time for the next place, and for the request that needs the URL.
    #[cfg(feature = "introspection")]
    pub(crate) fn sharing_time(mut self) -> Self {
        self.shares_time = true;
        self
    }

    /// The maximum number of requests of [`url`](Self::url).
    pub(crate) fn requests(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(String::as_str)
    }

    /// The wanted URL: the remembered URL, or the URL in the first metadata that can be fetched.
    pub(crate) async fn url(
        &mut self,
        documents: &Documents,
        plain_http: PlainHttp,
    ) -> Result<String, DocumentError> {
        if let Some(known) = self.known.as_ref().filter(|it| Instant::now() < it.until) {
            return Ok(known.url.clone());
        }
        self.known = None;
        let mut reasons = Vec::new();
        let mut retry_after = None;
        let mut documents = documents.clone();
        for (position, place) in self.places.iter().enumerate() {
            if self.shares_time {
                documents.timeout /= 2;
            }
            match self.read(&documents, place, plain_http).await {
                Ok(known) => {
                    let url = known.url.clone();
                    self.known = Some(known);
                    self.places.swap(0, position);
                    return Ok(url);
                }
                Err(error) => {
                    reasons.push(error.reason);
                    retry_after = error.retry_after.or(retry_after);
                }
            }
        }
        Err(DocumentError {
            reason: reasons.join("; "),
            retry_after,
        })
    }

    /// Forgets the URL. Called after a failure, because the endpoint may have moved.
    pub(crate) fn forget(&mut self) {
        self.known = None;
    }

    async fn read(
        &self,
        documents: &Documents,
        place: &str,
        plain_http: PlainHttp,
    ) -> Result<Known, DocumentError> {
        let response = documents.get(place, &[]).await?;
        let body = checked(place, &response)?;
        let plain_http = plain_http.behind(place);
        let url = wanted_url(body, self.issuer.as_str(), self.wanted, plain_http);
        let shown = ShownUrl(place);
        let url = url.map_err(|reason| DocumentError::new(format!("{shown}: {reason}")))?;
        let lifetime = METADATA.of(response.headers());
        Ok(Known {
            url,
            until: Instant::now() + lifetime,
        })
    }
}

/// The lifetimes of metadata. They are longer than those of keys, because metadata rarely changes.
const METADATA: Lifetimes = Lifetimes {
    usual: Duration::from_secs(3_600),
    within: (Duration::from_secs(3_600), Duration::from_secs(24 * 3_600)),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the URL of the key set in metadata of the issuer `https://h/t1`.
    fn read(text: &str) -> Result<String, String> {
        let issuer = "https://h/t1";
        wanted_url(text.as_bytes(), issuer, Wanted::KEY_SET, PlainHttp::Nowhere)
    }

    /// RFC8414-3-1, RFC8414-5-1
    #[test]
    fn metadata_are_at_one_of_two_urls() {
        for (issuer, expected) in [
            (
                "https://h",
                [
                    "https://h/.well-known/oauth-authorization-server",
                    "https://h/.well-known/openid-configuration",
                ],
            ),
            (
                "https://h/",
                [
                    "https://h/.well-known/oauth-authorization-server",
                    "https://h/.well-known/openid-configuration",
                ],
            ),
            (
                "https://h/t1",
                [
                    "https://h/.well-known/oauth-authorization-server/t1",
                    "https://h/t1/.well-known/openid-configuration",
                ],
            ),
            (
                "https://h:8443/t1/",
                [
                    "https://h:8443/.well-known/oauth-authorization-server/t1",
                    "https://h:8443/t1/.well-known/openid-configuration",
                ],
            ),
        ] {
            assert_eq!(metadata_uris(issuer).unwrap(), expected, "{issuer}");
        }
        for issuer in ["", "login", "/t1", "https://h/?tenant=1"] {
            assert!(metadata_uris(issuer).is_none(), "{issuer}");
        }
    }

    /// RFC8414-3.3-1, RFC8414-2-1, RFC8414-2.1-1
    #[test]
    fn metadata_must_be_of_the_issuer_and_name_a_usable_place() {
        let good = r#"{"issuer":"https://h/t1","jwks_uri":"https://keys/1","signed_metadata":"x"}"#;
        assert_eq!(read(good).unwrap(), "https://keys/1");
        for bad in [
            r#"{"issuer":"https://h/t1/","jwks_uri":"https://keys/1"}"#,
            r#"{"issuer":"https://H/t1","jwks_uri":"https://keys/1"}"#,
            r#"{"issuer":"https://h/t1","jwks_uri":"http://keys/1"}"#,
            r#"{"issuer":"https://h/t1","jwks_uri":"https://user:pass@keys/1"}"#,
            r#"{"issuer":"https://h/t1","issuer":"https://h/t1","jwks_uri":"https://keys/1"}"#,
            r#"{"issuer":"https://h/t1"}"#,
            r#"{"jwks_uri":"https://keys/1"}"#,
            r#"["https://keys/1"]"#,
            "<html>",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_the_metadata_of_the_issuer_says_what_to_write() {
        let read = |text| read(text).unwrap_err();
        let slash = read(r#"{"issuer":"https://h/t1/","jwks_uri":"https://keys/1"}"#);
        assert!(
            slash.contains(r#"write `Issuer::new("https://h/t1/")`"#),
            "{slash}"
        );
        let other = read(r#"{"issuer":"https://h/t2","jwks_uri":"https://keys/1"}"#);
        assert!(!other.contains("write"), "{other}");
        let key_set = read(r#"{"keys":[]}"#);
        assert!(key_set.contains("`KeyStore::remote`"), "{key_set}");
    }

    /// RFC 8705, section 5.
    #[test]
    fn an_alias_for_certificates_is_preferred_if_one_is_used() {
        let read = |text: &str, by_certificate| {
            let wanted = Wanted {
                member: "introspection_endpoint",
                by_certificate,
            };
            wanted_url(text.as_bytes(), "i", wanted, PlainHttp::Nowhere)
        };
        let both = r#"{"issuer":"i","introspection_endpoint":"https://h/i","mtls_endpoint_aliases":
            {"introspection_endpoint":"https://m/i","token_endpoint":"https://m/t"}}"#;
        assert_eq!(read(both, false).unwrap(), "https://h/i");
        assert_eq!(read(both, true).unwrap(), "https://m/i");
        let one = r#"{"issuer":"i","introspection_endpoint":"https://h/i",
            "mtls_endpoint_aliases":{"token_endpoint":"https://m/t"}}"#;
        assert_eq!(read(one, true).unwrap(), "https://h/i");
        let plain = r#"{"issuer":"i","introspection_endpoint":"https://h/i",
            "mtls_endpoint_aliases":{"introspection_endpoint":"http://m/i"}}"#;
        assert!(read(plain, true).is_err());
        let none = read(r#"{"issuer":"i","jwks_uri":"https://h/k"}"#, false);
        assert_eq!(
            none.unwrap_err(),
            "metadata has no `introspection_endpoint`"
        );
    }

    /// RFC8414-2-1
    #[test]
    fn a_document_that_came_by_https_leads_to_https_alone() {
        use PlainHttp::{Anywhere, Loopback};
        for (place, setting, expected) in [
            ("https://h/m", Loopback, [true, false, false]),
            ("https://h/m", Anywhere, [true, false, false]),
            ("https://127.0.0.1/m", Loopback, [true, false, false]),
            ("http://127.0.0.1/m", Loopback, [true, true, false]),
            ("http://keycloak:8080/m", Anywhere, [true, true, true]),
        ] {
            let found = ["https://keys", "http://127.0.0.1:2375/", "http://keys"].map(|uri| {
                let text = format!(r#"{{"issuer":"i","jwks_uri":"{uri}"}}"#);
                wanted_url(text.as_bytes(), "i", Wanted::KEY_SET, setting.behind(place)).is_ok()
            });
            assert_eq!(found, expected, "{place} {setting:?}");
        }
    }
}
