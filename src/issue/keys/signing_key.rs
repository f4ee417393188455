//! [`SigningKey`]: one key that signs, and [`Sign`] for keys that are kept elsewhere.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64_simd::URL_SAFE_NO_PAD;

use crate::error::config::KeyError;
use crate::issue::keys::schedule;
use crate::keys::algorithm::Algorithm;
use crate::keys::key::{Key, KeyId};
use crate::keys::private_key::PrivateKey;
use crate::keys::source::wait::{Ticker, within};

/// Signs with a key that is kept outside this process, in an HSM or in a cloud key management
/// service.
///
/// For ECDSA, the signature is the concatenation of the two numbers (64, 96 or 132 bytes, [RFC 7518, section
/// 3.4]). Most services return DER, which must be converted. Each signature is verified with the public key
/// before it is used.
///
/// # Example: a signer that calls a service
///
/// ```
/// use tower_jwt_auth::issue::{Sign, SignError, Signing};
///
/// #[derive(Clone)]
/// struct Kms { /* client, name of the key */ }
///
/// impl Kms {
///     async fn sign(&self, message: Vec<u8>) -> Result<Vec<u8>, std::io::Error> {
///         # let _ = message; Err(std::io::Error::other("no network here"))
///     }
/// }
///
/// impl Sign for Kms {
///     fn sign(&self, message: &[u8]) -> Signing {
///         let (kms, message) = (self.clone(), message.to_vec());
///         Signing::Pending(Box::pin(async move { kms.sign(message).await.map_err(SignError::new) }))
///     }
/// }
/// ```
///
/// [RFC 7518, section 3.4]: https://www.rfc-editor.org/rfc/rfc7518#section-3.4
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not sign",
    note = "implement `Sign` for it; a private key in PEM is `SigningKeys::from_pem`"
)]
pub trait Sign: Send + Sync + 'static {
    /// Signs a message with the algorithm of the key.
    fn sign(&self, message: &[u8]) -> Signing;
}

/// A signature, or a future that returns it.
#[non_exhaustive]
pub enum Signing {
    /// The token waits for this future for 5 seconds. After that the future is dropped, and the token is not
    /// issued: [`IssueError::Sign`](crate::issue::IssueError::Sign).
    Pending(SigningFuture),
    /// The signature is available at once.
    Ready(Result<Vec<u8>, SignError>),
}

/// A future that returns a signature.
pub type SigningFuture = Pin<Box<dyn Future<Output = Result<Vec<u8>, SignError>> + Send>>;

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending(_) => f.debug_tuple("Pending").finish_non_exhaustive(),
            Self::Ready(result) => {
                let outcome = result.as_ref().map(Vec::len);
                f.debug_tuple("Ready").field(&outcome).finish()
            }
        }
    }
}

/// Why a signature could not be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError(Arc<str>);

impl SignError {
    /// Creates an error with this reason, which only the operator sees.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string().into())
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token could not be signed: {}", self.0)
    }
}

impl std::error::Error for SignError {}

/// A key that signs access tokens, parsed once.
pub(crate) struct SigningKey {
    public: Key,
    algorithm: Algorithm,
    header: String,
    jwk: Option<String>,
    signer: Signer,
}

/// A key with its instants.
pub(super) type Slot = schedule::Slot<Arc<SigningKey>>;

enum Signer {
    Elsewhere(Box<dyn Sign>, Arc<Ticker>),
    Own(PrivateKey),
    Secret(Box<hmac::Key>),
}

impl SigningKey {
    pub(super) fn own(private: PrivateKey) -> Result<Self, KeyError> {
        let public = private.public(private.id())?;
        Ok(Self::new(public, private.algorithm(), Signer::Own(private)))
    }

    /// A secret that was checked when `key` was made of it.
    pub(super) fn secret(key: Key, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let parameters = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => {
                return Err(KeyError::Algorithm {
                    algorithm: algorithm.as_str().into(),
                    key: "a secret, which fits HS256, HS384 and HS512",
                });
            }
        };
        let signer = Signer::Secret(Box::new(hmac::Key::new(parameters, secret)));
        Ok(Self::new(key, algorithm, signer))
    }

    pub(super) fn elsewhere(public: Key, algorithm: Algorithm, signer: impl Sign) -> Self {
        Self::new(
            public,
            algorithm,
            Signer::Elsewhere(Box::new(signer), Arc::default()),
        )
    }

    fn new(public: Key, algorithm: Algorithm, signer: Signer) -> Self {
        let id = serde_json::Value::from(public.id().as_str());
        let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":{id}}}"#);
        Self {
            header: URL_SAFE_NO_PAD.encode_to_string(header),
            jwk: public.public_jwk(algorithm),
            public,
            algorithm,
            signer,
        }
    }

    pub(crate) fn id(&self) -> &KeyId {
        self.public.id()
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn public(&self) -> &Key {
        &self.public
    }

    /// The private key, if it is here and may be stored.
    pub(super) fn private(&self) -> Option<&PrivateKey> {
        match &self.signer {
            Signer::Own(private) => Some(private),
            _ => None,
        }
    }

    /// The header of access tokens, in base64url.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// The public key as a JSON Web Key. `None` for a secret.
    pub(super) fn jwk(&self) -> Option<&str> {
        self.jwk.as_deref()
    }

    /// Signs the header and the payload of a token.
    pub(crate) fn sign(&self, message: &[u8]) -> Signing {
        match &self.signer {
            Signer::Own(private) => {
                let signature = private.sign(message);
                Signing::Ready(signature.ok_or_else(|| SignError::new("the backend failed")))
            }
            Signer::Secret(key) => Signing::Ready(Ok(hmac::sign(key, message).as_ref().to_vec())),
            Signer::Elsewhere(signer, ticker) => {
                let (public, algorithm) = (self.public.clone(), self.algorithm);
                match signer.sign(message) {
                    Signing::Ready(signed) => Signing::Ready(
                        signed
                            .and_then(|signature| verified(&public, algorithm, message, signature)),
                    ),
                    Signing::Pending(pending) => {
                        let (message, ticker) = (message.to_vec(), Arc::clone(ticker));
                        Signing::Pending(Box::pin(async move {
                            let signature = within(TIMEOUT, pending, &ticker).await;
                            let late = || SignError::new(format_args!("no answer in {TIMEOUT:?}"));
                            let signature = signature.ok_or_else(late)??;
                            verified(&public, algorithm, &message, signature)
                        }))
                    }
                }
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

/// The signature of a signer elsewhere, if it is right.
fn verified(
    public: &Key,
    algorithm: Algorithm,
    message: &[u8],
    signature: Vec<u8>,
) -> Result<Vec<u8>, SignError> {
    let verifying = public.verifying(algorithm, None);
    if verifying.is_some_and(|key| key.verifies(message, &signature)) {
        return Ok(signature);
    }
    let length = signature.len();
    Err(SignError::new(match algorithm.signature_length() {
        Some(expected) if expected != length => {
            format!("the signer returned {length} bytes, expected {expected} for {algorithm}")
        }
        _ => format!(
            "the signature does not verify with key {:?}",
            public.id().as_str()
        ),
    }))
}

/// The timeout of a signature that is made elsewhere.
const TIMEOUT: Duration = Duration::from_secs(5);
