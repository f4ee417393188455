//! [`ClientKey`]: the private key of this service.

use std::fmt;
use std::time::UNIX_EPOCH;

use aws_lc_rs::rand::fill;
use base64_simd::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::clock::NumericDate;
use crate::error::config::ConfigError;
use crate::issuer::Issuer;
use crate::keys::KeyId;
use crate::keys::algorithm::Algorithm;
use crate::keys::private_key::PrivateKey;

/// The private key of this service, for
/// [`ClientAuth::private_key_jwt`](crate::introspection::ClientAuth::private_key_jwt).
///
/// `Debug` prints the algorithm, but never the key.
#[derive(Clone)]
pub struct ClientKey {
    private: PrivateKey,
    id: Option<KeyId>,
    is_typed: bool,
}

impl ClientKey {
    /// Reads a private key in PEM: `PRIVATE KEY` (PKCS #8), `EC PRIVATE KEY` (SEC 1) or
    /// `RSA PRIVATE KEY` (PKCS #1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the text is not exactly one such key, if it does not fit the algorithm,
    /// or if the algorithm is symmetric.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Ok(PrivateKey::from_pem(algorithm, pem)?.into())
    }

    /// Reads a private key in DER: PKCS #8, SEC 1 or PKCS #1.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if this is not a private key for the algorithm, or if the algorithm is
    /// symmetric.
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, ConfigError> {
        Ok(PrivateKey::from_der(algorithm, der)?.into())
    }

    /// Reads a private JSON Web Key ([RFC 7517]). Its `kid` is used, if there is one.
    ///
    /// A key without `alg` signs with the usual algorithm of its type: `RS256` for RSA, the algorithm of
    /// the curve for EC, `EdDSA` for OKP.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if this is not a private key, or if it is symmetric.
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, ConfigError> {
        Ok(PrivateKey::from_jwk(jwk)?.into())
    }

    /// Sets the `kid` of the assertions. The server uses it to find the public key.
    #[must_use]
    pub fn with_key_id(mut self, id: impl Into<KeyId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Leaves out the type `client-authentication+jwt` of the assertions. Use this for servers that
    /// reject it.
    #[must_use]
    pub fn untyped(mut self) -> Self {
        self.is_typed = false;
        self
    }

    /// A statement of this client for one request (RFC 7523, section 3).
    pub(super) fn assertion(
        &self,
        client_id: &str,
        issuer: &Issuer,
        now: NumericDate,
    ) -> Result<Zeroizing<String>, &'static str> {
        let mut random = [0_u8; 16];
        fill(&mut random).map_err(|_| "the system has no random bytes")?;
        let header = Header {
            alg: self.private.algorithm().as_str(),
            typ: self.is_typed.then_some("client-authentication+jwt"),
            kid: self.id.as_ref().map(KeyId::as_str),
        };
        // Whole seconds, because some servers read nothing else.
        let now = now.to_system_time().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: issuer.as_str(),
            jti: URL_SAFE_NO_PAD.encode_to_string(random),
            iat: now,
            exp: now.saturating_add(LIFETIME),
        };
        let mut text = format!("{}.{}", encoded(&header)?, encoded(&claims)?);
        let signature = self
            .private
            .sign(text.as_bytes())
            .ok_or("the key does not sign")?;
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode_to_string(signature));
        Ok(Zeroizing::new(text))
    }
}

impl From<PrivateKey> for ClientKey {
    fn from(private: PrivateKey) -> Self {
        Self {
            id: private.id().cloned(),
            private,
            is_typed: true,
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey")
            .field("algorithm", &self.private.algorithm())
            .finish_non_exhaustive()
    }
}

/// The header of a statement.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

/// The claims of a statement.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

fn encoded(part: &impl Serialize) -> Result<String, &'static str> {
    let json = serde_json::to_vec(part).map_err(|_| "the statement is no JSON")?;
    Ok(URL_SAFE_NO_PAD.encode_to_string(json))
}

/// The lifetime of a statement in seconds.
const LIFETIME: u64 = 60;
