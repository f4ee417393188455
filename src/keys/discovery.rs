//! Metadata of an issuer (RFC 8414, OpenID Connect Discovery): where its keys are.

use http::Uri;

use crate::json;

/// The places of an issuer's metadata, in the order in which they are asked: the form of RFC 8414,
/// section 3.1, then that of OpenID Connect Discovery, section 4.
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

/// The `jwks_uri` in the metadata of exactly this issuer.
pub(crate) fn jwks_uri(metadata: &[u8], issuer: &str) -> Result<String, String> {
    let text = std::str::from_utf8(metadata).map_err(|_| "metadata is not UTF-8".to_owned())?;
    let (mut named, mut uri) = (None, None);
    json::read_object(text, json::MAX_MEMBERS, |name, value| match &*name {
        "issuer" => named = value.string(),
        "jwks_uri" => uri = value.string(),
        _ => {}
    })
    .map_err(|_| "metadata is not one JSON object".to_owned())?;
    match named {
        Some(named) if named == issuer => {}
        Some(named) => {
            let named = crate::error::Excerpt(&named);
            return Err(format!(
                "metadata is of issuer {named}, expected {issuer:?}"
            ));
        }
        None => return Err("metadata has no `issuer`".into()),
    }
    let uri = uri.ok_or("metadata has no `jwks_uri`")?;
    usable_uri(&uri)?;
    Ok(uri.into_owned())
}

/// Whether keys may be fetched from there: by https, or by http from this machine alone.
pub(crate) fn usable_uri(uri: &str) -> Result<(), String> {
    let refused = |expected: &str| {
        Err(format!(
            "{} is not usable: expected {expected}",
            crate::error::Excerpt(uri)
        ))
    };
    let Ok(parsed) = uri.parse::<Uri>() else {
        return refused("a URL");
    };
    let Some(host) = parsed.host() else {
        return refused("an absolute URL");
    };
    if parsed
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return refused("a URL without credentials");
    }
    match parsed.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(host) => Ok(()),
        _ => refused("https, or http to a loopback address"),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC8414-3-1, RFC8414-5-1
    #[test]
    fn metadata_stand_in_two_places() {
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
        let read = |text: &str| jwks_uri(text.as_bytes(), "https://h/t1");
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
        let local = r#"{"issuer":"https://h/t1","jwks_uri":"http://127.0.0.1:8080/keys"}"#;
        assert!(read(local).is_ok());
    }

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for good in [
            "https://h/k",
            "http://localhost/k",
            "http://127.9.9.9/k",
            "http://[::1]:1/k",
        ] {
            assert!(usable_uri(good).is_ok(), "{good}");
        }
        for bad in [
            "http://h/k",
            "http://localhost.evil/k",
            "http://10.0.0.1/k",
            "ftp://h/k",
            "file:///etc/passwd",
            "/k",
            "",
        ] {
            assert!(usable_uri(bad).is_err(), "{bad}");
        }
    }
}
