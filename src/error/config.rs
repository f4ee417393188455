//! [`ConfigError`]: what can go wrong while an application starts or changes its keys.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::error::rejection::Excerpt;

/// A part of the configuration that cannot be used, found before the first request.
///
/// Every variant carries the offending input, unless it is secret, and says what was expected.
///
/// `Debug` prints the same sentence as `Display`, because that is what a `main` prints that returns
/// the error.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// An audience that is empty.
    Audience,
    /// A challenge parameter that would not survive in a `WWW-Authenticate` field.
    Challenge {
        /// The name or value in question.
        input: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A JSON pointer that is not one (RFC 6901).
    ClaimPointer(String),
    /// A token cookie whose name does not have the `__Host-` or `__Secure-` prefix, or is not the
    /// name of a cookie.
    CookieName(String),
    /// An issuer that is empty or has characters that no URL and no name has.
    Issuer(String),
    /// Key material that cannot be used.
    Key(KeyError),
    /// A key set without a single usable key; says why its first keys were skipped.
    KeySet(String),
    /// A place that keys cannot be loaded from: an issuer, a URL, a file or a variable, and why.
    KeySource(String),
    /// A leeway of more than 300 seconds.
    Leeway(std::time::Duration),
    /// A maximum token size of 0 bytes, or of more than 64 KiB.
    MaxTokenSize(usize),
    /// A trusted origin that is not of the form `scheme://host[:port]`.
    Origin(String),
    /// A text that is no scope (RFC 6749, section 3.3).
    Scope(String),
    /// A prefix of token subprotocols that is empty, or no part of a subprotocol.
    Subprotocol(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audience => f.write_str("audience is empty: expected the identifier that tokens for this API carry in `aud`"),
            Self::Challenge { input, expected } => write!(f, "challenge parameter {input:?} is not usable: expected {expected}"),
            Self::ClaimPointer(input) => {
                write!(f, "claim pointer {input:?} is not usable: expected a JSON pointer such as \"/realm_access/roles\"")
            }
            Self::CookieName(input) => {
                write!(f, "cookie name {input:?} is not usable: expected a token with the prefix `__Host-` or `__Secure-`")
            }
            Self::Issuer(input) => {
                write!(f, "issuer {input:?} is not usable: expected the exact text that tokens carry in `iss`, without spaces or controls")
            }
            Self::Key(error) => write!(f, "key is not usable: {error}"),
            Self::KeySet(reason) => write!(f, "key set is not usable: {reason}"),
            Self::KeySource(reason) => write!(f, "keys cannot be loaded: {reason}"),
            Self::Leeway(input) => write!(f, "leeway of {} s is not usable: expected at most 300 s", input.as_secs_f64()),
            Self::Scope(input) => write!(f, "scope {input:?} is not usable: expected one name of visible ASCII, such as \"calendar:read\""),
            Self::MaxTokenSize(input) => write!(f, "maximum token size of {input} bytes is not usable: expected 1 to 65536"),
            Self::Origin(input) => write!(f, "origin {input:?} is not usable: expected the form \"https://app.example.com\""),
            Self::Subprotocol(input) => write!(f, "subprotocol prefix {input:?} is not usable: expected letters, digits and dots such as \"bearer.\""),
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
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// Why one key cannot be used for verification.
///
/// A loader of key sets skips such a key and reports the reason; a loader of one key fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The key and the algorithm do not belong together.
    Algorithm {
        /// What was asked for.
        algorithm: Cow<'static, str>,
        /// What kind of key it is.
        key: &'static str,
    },
    /// A key for encryption. A set may have such keys beside those for signatures: no defect.
    Encryption,
    /// A usable key beyond the maximum number of keys of a set, which is this.
    Excess(usize),
    /// A form of key material that is not read here.
    Format(&'static str),
    /// A member of a JWK that is missing.
    MissingMember(&'static str),
    /// A member of a JWK with an unusable value.
    Member {
        /// The name of the member.
        name: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A private key where a public one belongs.
    Private,
    /// A key whose size is outside of the limits.
    Size {
        /// Bits of the key.
        bits: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// A symmetric key in a set that is meant to be public.
    Symmetric,
    /// A key type or curve that no supported algorithm uses.
    Unsupported(String),
    /// A key meant for something else than verifying signatures.
    Usage(&'static str),
    /// A key with a known weakness.
    Weak(&'static str),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm { algorithm, key } => {
                write!(f, "algorithm {} does not fit {key}", Excerpt(algorithm))
            }
            Self::Encryption => f.write_str("it is for encryption, not for signatures"),
            Self::Excess(maximum) => {
                write!(f, "it is beyond the maximum of {maximum} keys of a set")
            }
            Self::Format(expected) => write!(f, "not {expected}"),
            Self::MissingMember(name) => write!(f, "member `{name}` is missing"),
            Self::Member { name, expected } => write!(f, "member `{name}` is not {expected}"),
            Self::Private => {
                f.write_str("it is a private key, and only the public half belongs here")
            }
            Self::Size { bits, expected } => write!(f, "it has {bits} bits, expected {expected}"),
            Self::Symmetric => f.write_str("it is a symmetric key in a public key set"),
            Self::Unsupported(what) => write!(f, "{} is not supported", Excerpt(what)),
            Self::Usage(what) => write!(f, "it is not for verifying signatures: {what}"),
            Self::Weak(what) => write!(f, "it is weak: {what}"),
        }
    }
}

impl Error for KeyError {}
