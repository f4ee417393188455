//! [`CertificateSource`]: where the certificate of a client comes from.

mod forms;
#[cfg(any(test, feature = "_fuzz"))]
mod fuzz;

use std::fmt;
use std::sync::OnceLock;

use base64_simd::URL_SAFE_NO_PAD;
use http::{Extensions, HeaderMap, HeaderName};

use crate::request::certificate::forms::{Form, thumbprint_of};
use crate::request::head::Head;
use crate::request::peer::{PeerAddress, TrustedProxies};

#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use self::fuzz::client_certificate as fuzz_client_certificate;

/// The certificate that a client presented in its TLS handshake.
///
/// This type holds the SHA-256 thumbprint of the certificate, which a bound token has in
/// `cnf.x5t#S256` ([RFC 8705, section 3.1](https://www.rfc-editor.org/rfc/rfc8705#section-3.1)). The
/// TLS library has verified that the client has the private key. It need not verify who issued the
/// certificate, because a token is bound to exactly one certificate.
///
/// The code that accepts connections creates this value once for each connection, and puts it into the
/// extensions of each request of the connection. For an example, see [the
/// guide](crate::guide::recipes#tokens-that-are-bound-to-a-certificate). A request without this value has no
/// certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate {
    thumbprint: [u8; 32],
}

impl ClientCertificate {
    /// Creates the value from the DER bytes of the certificate, which is the first one in the chain
    /// that the client sent.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Self {
        Self {
            thumbprint: thumbprint_of(der),
        }
    }

    /// The thumbprint in base64url, as in `cnf.x5t#S256`.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode_to_string(self.thumbprint)
    }

    pub(crate) fn has(&self, thumbprint: &[u8; 32]) -> bool {
        self.thumbprint == *thumbprint
    }
}

/// Does not print the thumbprint, which identifies the client.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

/// Where the certificate of a client comes from, for
/// [`JwtAuth::client_certificates`](crate::JwtAuth::client_certificates).
///
/// TLS ends in this process ([`connection`](Self::connection)), or at a proxy that forwards the
/// certificate in a header field. The field is read only if the peer of the connection is a [trusted
/// proxy](TrustedProxies). The proxy must verify that the client has the private key, and must replace
/// or remove a field that the client sent.
///
/// A source is read only for a token that is bound to a certificate. Other tokens have no additional
/// cost.
///
/// | proxy | setting there | source |
/// |---|---|---|
/// | a proxy that implements RFC 9440 | `Client-Cert` | [`rfc9440`](Self::rfc9440) |
/// | Envoy, Istio | `forward_client_cert_details: SANITIZE_SET` | [`xfcc`](Self::xfcc) |
/// | nginx | `proxy_set_header X-Client-Cert $ssl_client_escaped_cert;` | [`escaped_pem`](Self::escaped_pem) |
/// | AWS load balancer, verify mode | `X-Amzn-Mtls-Clientcert-Leaf` | [`escaped_pem`](Self::escaped_pem) |
/// | HAProxy | `http-request set-header X-Client-Cert %[ssl_c_der,base64]` | [`base64_der`](Self::base64_der) |
///
/// # Example: behind nginx
///
/// ```
/// use http::HeaderName;
/// use tower_jwt_auth::request::{CertificateSource, TrustedProxies};
/// use tower_jwt_auth::{ConfigError, JwtAuth};
///
/// fn behind_nginx(auth: JwtAuth) -> Result<JwtAuth, ConfigError> {
///     let nginx = TrustedProxies::networks(["10.0.0.7"])?;
///     let field = HeaderName::from_static("x-client-cert");
///     Ok(auth.client_certificates(CertificateSource::escaped_pem(field, nginx)))
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CertificateSource(Place);

#[derive(Clone, Debug)]
enum Place {
    Connection,
    Field {
        name: HeaderName,
        form: Form,
        trusted: TrustedProxies,
    },
}

impl CertificateSource {
    /// TLS ends in this process. The extensions of a request contain a [`ClientCertificate`].
    pub fn connection() -> Self {
        Self(Place::Connection)
    }

    /// A proxy forwards the certificate in `Client-Cert`
    /// ([RFC 9440, section 2.2](https://www.rfc-editor.org/rfc/rfc9440#section-2.2)).
    ///
    /// `Client-Cert-Chain` is not read.
    pub fn rfc9440(trusted: TrustedProxies) -> Self {
        Self::field(
            HeaderName::from_static("client-cert"),
            Form::Rfc9440,
            trusted,
        )
    }

    /// Envoy, or a proxy based on it, forwards the `Hash` of the certificate in `X-Forwarded-Client-Cert`.
    ///
    /// A field with several elements is rejected, because the client may have sent the first elements.
    /// Configure the proxy to replace the field (`SANITIZE_SET`) and not to extend it.
    pub fn xfcc(trusted: TrustedProxies) -> Self {
        let name = HeaderName::from_static("x-forwarded-client-cert");
        Self::field(name, Form::Xfcc, trusted)
    }

    /// A proxy forwards the certificate in this field, as percent-encoded PEM text.
    ///
    /// The text must contain one certificate and not a chain.
    pub fn escaped_pem(name: HeaderName, trusted: TrustedProxies) -> Self {
        Self::field(name, Form::EscapedPem, trusted)
    }

    /// A proxy forwards the certificate in this field, as the base64 text of its DER bytes.
    pub fn base64_der(name: HeaderName, trusted: TrustedProxies) -> Self {
        Self::field(name, Form::Base64Der, trusted)
    }

    fn field(name: HeaderName, form: Form, trusted: TrustedProxies) -> Self {
        Self(Place::Field {
            name,
            form,
            trusted,
        })
    }

    /// The header field that is read, if any.
    pub(crate) fn field_name(&self) -> Option<&HeaderName> {
        match &self.0 {
            Place::Connection => None,
            Place::Field { name, .. } => Some(name),
        }
    }

    /// The certificate of the client, or the reason why it cannot be read.
    fn read(&self, head: &Head<'_>) -> Result<ClientCertificate, &'static str> {
        match &self.0 {
            Place::Connection => {
                let certificate = head.extensions.get::<ClientCertificate>();
                certificate.copied().ok_or("have no `ClientCertificate`")
            }
            Place::Field {
                name,
                form,
                trusted,
            } => {
                let mut lines = head.headers.get_all(name).into_iter();
                let line = lines.next().ok_or("is absent")?;
                trusted.check(head.extensions)?;
                if lines.next().is_some() {
                    return Err("occurs twice");
                }
                let thumbprint = form.thumbprint(line.as_bytes())?;
                Ok(ClientCertificate { thumbprint })
            }
        }
    }

    /// Copies what [`read`](Self::read) needs.
    fn keep(&self, head: &Head<'_>, headers: &mut HeaderMap, extensions: &mut Extensions) {
        if let Some(name) = self.field_name() {
            for line in head.headers.get_all(name) {
                headers.append(name.clone(), line.clone());
            }
        }
        if let Some(peer) = head.extensions.get::<PeerAddress>() {
            extensions.insert(*peer);
        }
        if let Some(certificate) = head.extensions.get::<ClientCertificate>() {
            extensions.insert(*certificate);
        }
    }
}

/// Names the place.
impl fmt::Display for CertificateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field_name() {
            Some(name) => write!(f, "field `{name}`"),
            None => f.write_str("the extensions"),
        }
    }
}

/// The certificate of one request. It is read when it is first needed.
#[derive(Clone, Default)]
pub(super) struct Reading(OnceLock<Result<ClientCertificate, &'static str>>);

impl Reading {
    pub(super) fn of(
        &self,
        source: &CertificateSource,
        head: &Head<'_>,
    ) -> Result<ClientCertificate, &'static str> {
        *self.0.get_or_init(|| source.read(head))
    }

    /// Copies what is needed to read it later.
    pub(super) fn keep(
        &self,
        source: &CertificateSource,
        head: &Head<'_>,
        headers: &mut HeaderMap,
        extensions: &mut Extensions,
    ) {
        if self.0.get().is_none() {
            source.keep(head, headers, extensions);
        }
    }
}
