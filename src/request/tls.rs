//! [`TlsSource`]: how to determine whether a request came over TLS.

use http::{HeaderName, HeaderValue};

use crate::bytes;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::request::certificate::ClientCertificate;
use crate::request::fields::{parts, value_of};
use crate::request::head::Head;
use crate::request::peer::TrustedProxies;

/// Mark in the extensions of a request that came over a TLS connection to this process.
///
/// The code that accepts connections adds it, for [`TlsSource::connection`]. A
/// [`ClientCertificate`] in the extensions has the same meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsConnection(());

impl TlsConnection {
    /// Creates the mark.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

/// How to determine whether a request came over TLS, for
/// [`JwtAuth::require_tls`](crate::JwtAuth::require_tls).
///
/// The scheme in the URI of a request is ignored, because the client chooses it.
///
/// # Example: behind a proxy that ends TLS
///
/// ```
/// use tower_jwt_auth::request::{TlsSource, TrustedProxies};
/// use tower_jwt_auth::{ConfigError, JwtAuth};
///
/// fn with_tls_alone(auth: JwtAuth) -> Result<JwtAuth, ConfigError> {
///     let proxy = TrustedProxies::networks(["10.0.0.0/24"])?;
///     Ok(auth.require_tls(TlsSource::x_forwarded_proto(proxy)))
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsSource(Place);

#[derive(Clone, Debug)]
enum Place {
    Connection,
    Forwarded(TrustedProxies),
    XForwardedProto(TrustedProxies),
}

impl TlsSource {
    /// TLS ends in this process. The extensions of a request contain a [`TlsConnection`] or a
    /// [`ClientCertificate`].
    pub fn connection() -> Self {
        Self(Place::Connection)
    }

    /// TLS ends at a proxy, which sends the scheme in `Forwarded` ([RFC
    /// 7239](https://www.rfc-editor.org/rfc/rfc7239)).
    ///
    /// Each element of the field must have `proto=https`, because the token crossed each of these
    /// connections. The field is read only if the peer is trusted. Without the field, a request counts
    /// as plaintext.
    pub fn forwarded(trusted: TrustedProxies) -> Self {
        Self(Place::Forwarded(trusted))
    }

    /// TLS ends at a proxy, which sends the scheme in `X-Forwarded-Proto`.
    ///
    /// The value must be `https`, or `wss` for a WebSocket. Each value of a list must be one of these,
    /// because the token crossed each of these connections. The field is read only if the peer is
    /// trusted. Without the field, a request counts as plaintext.
    pub fn x_forwarded_proto(trusted: TrustedProxies) -> Self {
        Self(Place::XForwardedProto(trusted))
    }

    /// Rejects a request that came over a connection without TLS.
    pub(super) fn check(&self, head: &Head<'_>) -> Result<(), Rejection> {
        let (name, trusted, is_tls): (_, _, fn(&HeaderValue) -> bool) = match &self.0 {
            Place::Connection if is_tls_connection(head) => return Ok(()),
            Place::Connection => {
                return Err(plaintext(
                    "the extensions have no `TlsConnection`".to_owned(),
                ));
            }
            Place::Forwarded(trusted) => (FORWARDED, trusted, is_forwarded_over_tls),
            Place::XForwardedProto(trusted) => (X_FORWARDED_PROTO, trusted, is_list_of_tls),
        };
        let lines = head.headers.get_all(&name);
        let said = match (trusted.check(head.extensions), lines.iter().next()) {
            (_, None) => "is absent",
            (Err(flaw), Some(_)) => flaw,
            (Ok(()), Some(_)) if lines.iter().all(is_tls) => return Ok(()),
            (Ok(()), Some(_)) => "does not say `https` alone",
        };
        Err(plaintext(format!("field `{name}` {said}")))
    }
}

fn is_tls_connection(head: &Head<'_>) -> bool {
    head.extensions.get::<TlsConnection>().is_some()
        || head.extensions.get::<ClientCertificate>().is_some()
}

fn is_forwarded_over_tls(line: &HeaderValue) -> bool {
    parts(line.as_bytes(), b',')
        .all(|element| matches!(value_of(element, "proto"), Ok(Some(scheme)) if is_tls(scheme)))
}

fn is_list_of_tls(line: &HeaderValue) -> bool {
    let mut schemes = line.as_bytes().split(|byte| *byte == b',');
    schemes.all(|scheme| is_tls(bytes::trimmed(scheme)))
}

fn is_tls(scheme: &[u8]) -> bool {
    [&b"https"[..], b"wss"]
        .iter()
        .any(|tls| scheme.eq_ignore_ascii_case(tls))
}

fn plaintext(how: String) -> Rejection {
    Rejection::because(
        RejectionKind::InsecureConnection,
        format!("request did not come over TLS: {how}"),
    )
}

const FORWARDED: HeaderName = http::header::FORWARDED;
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
