//! [`ConfigError`]: errors while an application starts or changes its keys.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::error::rejection::Excerpt;

/// Error in the configuration, found before the first request.
///
/// Every variant contains the unusable input, unless it is secret or long. The message says what was
/// expected.
///
/// `Debug` prints the same sentence as `Display`, because a `main` that returns this error prints
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// An audience without an identifier, or with an empty one.
    Audience {
        /// The identifiers.
        input: Vec<String>,
    },
    /// A challenge parameter that is not allowed in a `WWW-Authenticate` field.
    Challenge {
        /// The name or the value.
        input: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A claim pointer that is not a JSON pointer (RFC 6901).
    ClaimPointer {
        /// The pointer.
        input: String,
    },
    /// Credentials of this service that no authorization server can accept.
    ClientAuth {
        /// The client id. Empty for a bearer token.
        input: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A cookie name without the prefix `__Host-` or `__Secure-`, or with characters that are not
    /// allowed in cookie names.
    CookieName {
        /// The name.
        input: String,
    },
    /// An introspection endpoint that cannot be used.
    Introspection {
        /// The URL, or the issuer.
        input: String,
        /// Why the endpoint cannot be used.
        reason: String,
    },
    /// An issuer that is empty, or has white space or control characters.
    Issuer {
        /// The issuer.
        input: String,
    },
    /// A key that is not usable.
    Key {
        /// Why the key is not usable.
        reason: KeyError,
    },
    /// A key set that cannot be read, or has no usable key.
    KeySet {
        /// Why, with the reasons for the first keys.
        reason: String,
    },
    /// A source from which keys cannot be loaded.
    KeySource {
        /// The source: an issuer, a URL, a file or an environment variable.
        input: String,
        /// Why the keys cannot be loaded.
        reason: String,
    },
    /// A session lifetime or a grace period that is too short or too long.
    SessionLifetime {
        /// Which one.
        what: &'static str,
        /// The duration.
        input: Duration,
        /// The minimum.
        shortest: Duration,
        /// The maximum.
        longest: Duration,
    },
    /// A store of sessions that cannot be used.
    SessionStore {
        /// The namespace.
        input: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// Settings that contradict each other.
    Settings {
        /// Which ones, and why.
        reason: String,
    },
    /// A leeway of more than 300 seconds.
    Leeway {
        /// The leeway.
        input: Duration,
    },
    /// A maximum token size of 0 bytes, or of more than 64 KiB.
    MaxTokenSize {
        /// The size in bytes.
        input: usize,
    },
    /// A network of proxies that is not of the form `address` or `address/prefix`.
    Network {
        /// The network.
        input: String,
    },
    /// A trusted origin that is not of the form `scheme://host[:port]`.
    Origin {
        /// The origin.
        input: String,
    },
    /// Text that is not a scope (RFC 6749, section 3.3).
    Scope {
        /// The text.
        input: String,
    },
    /// A shared denylist that cannot be used.
    SharedDenylist {
        /// The namespace, or the namespace and the address.
        input: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// Signing keys that cannot be used or created.
    SigningKeys {
        /// Why, with the limit if there is one.
        reason: String,
    },
    /// A status list that cannot be used.
    StatusList {
        /// The prefix of the URLs, or the issuer.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A prefix of token subprotocols that is empty, or has characters that are not allowed in
    /// subprotocols.
    Subprotocol {
        /// The prefix.
        input: String,
    },
    /// A thumbprint that is not the base64url text of 32 bytes (RFC 7638, RFC 8705).
    Thumbprint {
        /// The thumbprint.
        input: String,
    },
    /// A lifetime of issued tokens that is too short or too long.
    TokenLifetime {
        /// The lifetime.
        input: Duration,
        /// The maximum.
        maximum: Duration,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audience { input } => {
                write!(
                    f,
                    "audience {input:?} is not usable: expected identifiers that tokens for this API have in `aud`, none of them empty"
                )
            }
            Self::Challenge { input, expected } => write!(
                f,
                "challenge parameter {input:?} is not usable: expected {expected}"
            ),
            Self::ClaimPointer { input } => {
                write!(
                    f,
                    "claim pointer {input:?} is not usable: expected a JSON pointer such as \"/realm_access/roles\""
                )
            }
            Self::ClientAuth { input, expected } => write!(
                f,
                "credentials of client {input:?} are not usable: expected {expected}"
            ),
            Self::CookieName { input } => {
                write!(
                    f,
                    "cookie name {input:?} is not usable: expected the prefix `__Host-` or `__Secure-`, and no spaces or separators"
                )
            }
            Self::Introspection { input, reason } => {
                write!(f, "tokens cannot be introspected: {input}: {reason}")
            }
            Self::Issuer { input } => {
                write!(
                    f,
                    "issuer {input:?} is not usable: expected the exact text that tokens have in `iss`, without white space or control characters"
                )
            }
            Self::Key { reason } => write!(f, "key is not usable: {reason}"),
            Self::KeySet { reason } => write!(f, "key set is not usable: {reason}"),
            Self::KeySource { input, reason } => {
                write!(f, "keys cannot be loaded: {input}: {reason}")
            }
            Self::SessionLifetime {
                what,
                input,
                shortest,
                longest,
            } => write!(
                f,
                "{what} of {} s is not usable: expected {} s to {} s",
                input.as_secs_f64(),
                shortest.as_secs(),
                longest.as_secs()
            ),
            Self::SessionStore { input, reason } => {
                write!(f, "store of sessions {input:?} cannot be used: {reason}")
            }
            Self::Settings { reason } => write!(f, "settings contradict each other: {reason}"),
            Self::Leeway { input } => write!(
                f,
                "leeway of {} s is not usable: expected at most 300 s",
                input.as_secs_f64()
            ),
            Self::Scope { input } => write!(
                f,
                "scope {input:?} is not usable: expected one name of visible ASCII, such as \"calendar:read\""
            ),
            Self::MaxTokenSize { input } => write!(
                f,
                "maximum token size of {input} bytes is not usable: expected 1 to 65536"
            ),
            Self::Network { input } => write!(
                f,
                "network {input:?} is not usable: expected an address, or the first address of a network and the length of its prefix, such as \"10.0.0.0/8\""
            ),
            Self::Origin { input } => write!(
                f,
                "origin {input:?} is not usable: expected the form \"https://app.example.com\""
            ),
            Self::SharedDenylist { input, reason } => {
                write!(f, "shared denylist {input:?} cannot be used: {reason}")
            }
            Self::SigningKeys { reason } => write!(f, "signing keys are not usable: {reason}"),
            Self::StatusList { input, reason } => {
                write!(f, "status lists are not usable: {input}: {reason}")
            }
            Self::Subprotocol { input } => write!(
                f,
                "subprotocol prefix {input:?} is not usable: expected letters, digits and dots such as \"bearer.\""
            ),
            Self::Thumbprint { input } => write!(
                f,
                "thumbprint {} is not usable: expected a SHA-256 digest in base64url, 43 characters",
                Excerpt(input)
            ),
            Self::TokenLifetime { input, maximum } => write!(
                f,
                "token lifetime of {input:?} is not usable: expected 1 s to {} s; for a longer login use refresh tokens",
                maximum.as_secs()
            ),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for ConfigError {}

impl From<KeyError> for ConfigError {
    fn from(reason: KeyError) -> Self {
        Self::Key { reason }
    }
}

/// Why a key is not usable for verification.
///
/// A key set skips such a key and keeps the reason ([`KeySet::skipped`](crate::KeySet::skipped)). A
/// constructor of a single key returns the reason as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The algorithm cannot be used with this kind of key.
    Algorithm {
        /// The algorithm.
        algorithm: Cow<'static, str>,
        /// The kind of key, and which algorithms fit it.
        key: &'static str,
    },
    /// The key is for encryption. A set may have such keys, so this is not a defect.
    Encryption,
    /// The set has more keys than the maximum.
    Excess {
        /// The maximum number of keys of a set.
        maximum: usize,
    },
    /// The text is not in the expected format.
    Format {
        /// What was expected.
        expected: &'static str,
    },
    /// A member of a JWK is missing.
    MissingMember {
        /// The name of the member.
        name: &'static str,
    },
    /// A member of a JWK has a value that is not usable.
    Member {
        /// The name of the member.
        name: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The key is for another use (`use`). A set may have such keys, so this is not a defect.
    OtherUse {
        /// The use.
        input: String,
    },
    /// The key is private. Only the public key is needed to verify tokens.
    Private,
    /// The size of the key is outside the limits.
    Size {
        /// The size in bits.
        bits: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// The key is symmetric, in a set that is meant to be public.
    Symmetric,
    /// No supported algorithm uses this key type or curve, or the algorithm itself is not supported.
    Unsupported {
        /// The kind of thing: `algorithm`, `curve`, `key type` or `PEM block`.
        kind: &'static str,
        /// Its name.
        input: String,
    },
    /// The key is not meant for verifying signatures.
    Usage {
        /// Why.
        reason: &'static str,
    },
    /// The key has a known weakness.
    Weak {
        /// The weakness.
        reason: &'static str,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm { algorithm, key } => {
                write!(f, "algorithm {} does not fit {key}", Excerpt(algorithm))
            }
            Self::Encryption => f.write_str("it is for encryption, not for signatures"),
            Self::Excess { maximum } => {
                write!(f, "the set has more than the maximum of {maximum} keys")
            }
            Self::Format { expected } => write!(f, "not {expected}"),
            Self::MissingMember { name } => write!(f, "member `{name}` is missing"),
            Self::Member { name, expected } => write!(f, "member `{name}` is not {expected}"),
            Self::OtherUse { input } => {
                write!(
                    f,
                    "it is for another use: {}, expected `sig`",
                    Excerpt(input)
                )
            }
            Self::Private => f.write_str("it is a private key, expected the public key"),
            Self::Size { bits, expected } => write!(f, "it has {bits} bits, expected {expected}"),
            Self::Symmetric => f.write_str("it is a symmetric key in a public key set"),
            Self::Unsupported { kind, input } => {
                write!(f, "{kind} {} is not supported", Excerpt(input))
            }
            Self::Usage { reason } => write!(f, "it is not for verifying signatures: {reason}"),
            Self::Weak { reason } => write!(f, "it is weak: {reason}"),
        }
    }
}

impl Error for KeyError {}
