//! What can go wrong while an application runs: [`Rejection`], and the one table that says what a
//! client sees of it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;

/// A request, or a token, that was refused: what the client is told, and what the operator is.
///
/// The client gets a status, a registered code and a fixed sentence ([`client_text`]). The
/// operator gets the whole reason, through [`Display`](fmt::Display). A copy is in the extensions of
/// the response, for layers outside.
///
/// Neither contains the token or its signature. The reason quotes technical values as they were
/// sent: `alg`, `kid` and `typ` of the header, `iss`, `aud` and the times of the claims, and names of
/// members. A text among them is quoted, its control characters are escaped, and it is cut after 80
/// characters. The values of other claims never appear.
///
/// [`client_text`]: Self::client_text
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    detail: Reason,
}

/// What was wrong, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The algorithm of the token is unknown, not allowed, or not the algorithm of the key.
    AlgorithmNotAllowed,
    /// `aud` does not name this API.
    AudienceMismatch,
    /// The signature is not that of the key.
    BadSignature,
    /// The token is bound to a key or certificate (`cnf`) and the binding was not proved.
    BindingMismatch,
    /// A cookie or a WebSocket subprotocol carried the token, and another site made the request.
    CrossSiteRequest,
    /// The same name occurs twice in the header or in the claims.
    DuplicateMember,
    /// The token is encrypted.
    EncryptedToken,
    /// `exp` has passed.
    Expired,
    /// The token does not have a role, or another right that is no scope.
    InsufficientRole,
    /// The token does not have a scope.
    InsufficientScope,
    /// A claim has the wrong type or an unacceptable value.
    InvalidClaim,
    /// `iss` is not an issuer that is trusted here.
    IssuerMismatch,
    /// The keys have not come yet, are given up after a long outage, or the issuer cannot be asked
    /// for the key of the token: our fault, not the client's.
    KeySourceUnavailable,
    /// The request has two tokens, or its credential has characters that none may have or is too
    /// long.
    MalformedRequest,
    /// The token is no JWT, such as an opaque token.
    MalformedToken,
    /// A claim that is required is absent.
    MissingClaim,
    /// The request has no credential that is understood here.
    MissingCredentials,
    /// A handler asked for claims and no layer verified any: our user's mistake.
    MissingLayer,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// The revocation check could not be made: our fault, not the client's.
    RevocationUnavailable,
    /// The token was revoked, or its subject is no longer known.
    Revoked,
    /// No key has the id that the token names, or the application removed or retired its key.
    UnknownKey,
    /// The header lists a critical extension (`crit`).
    UnsupportedCritical,
    /// A JWT of another kind: an ID token, a logout token, a proof.
    WrongType,
}

/// What the client and the wire get to see of one kind.
pub(crate) struct Row {
    pub(crate) status: StatusCode,
    /// The code in the challenge (RFC 6750, section 3.1).
    pub(crate) code: Option<&'static str>,
    pub(crate) grpc: GrpcCode,
    pub(crate) text: &'static str,
}

/// The few gRPC status codes that a rejection can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrpcCode {
    PermissionDenied,
    Internal,
    Unavailable,
    Unauthenticated,
}

impl GrpcCode {
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::PermissionDenied => 7,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }
}

impl RejectionKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::AlgorithmNotAllowed,
        Self::AudienceMismatch,
        Self::BadSignature,
        Self::BindingMismatch,
        Self::CrossSiteRequest,
        Self::DuplicateMember,
        Self::EncryptedToken,
        Self::Expired,
        Self::InsufficientRole,
        Self::InsufficientScope,
        Self::InvalidClaim,
        Self::IssuerMismatch,
        Self::KeySourceUnavailable,
        Self::MalformedRequest,
        Self::MalformedToken,
        Self::MissingClaim,
        Self::MissingCredentials,
        Self::MissingLayer,
        Self::NotYetValid,
        Self::RevocationUnavailable,
        Self::Revoked,
        Self::UnknownKey,
        Self::UnsupportedCritical,
        Self::WrongType,
    ];

    /// The table: every kind, its status, its code, its gRPC status and its sentence.
    pub(crate) fn row(self) -> Row {
        use GrpcCode::{Internal, PermissionDenied, Unauthenticated, Unavailable};
        const BAD: (u16, Option<&str>) = (400, Some("invalid_request"));
        const TOKEN: (u16, Option<&str>) = (401, Some("invalid_token"));
        const SCOPE: (u16, Option<&str>) = (403, Some("insufficient_scope"));
        let ((status, code), grpc, text) = match self {
            Self::MissingCredentials => {
                ((401, None), Unauthenticated, "Authentication is required")
            }

            Self::MalformedRequest => (BAD, Unauthenticated, "The request is malformed"),

            Self::AlgorithmNotAllowed
            | Self::AudienceMismatch
            | Self::BadSignature
            | Self::BindingMismatch
            | Self::DuplicateMember
            | Self::EncryptedToken
            | Self::InvalidClaim
            | Self::IssuerMismatch
            | Self::MalformedToken
            | Self::MissingClaim
            | Self::UnknownKey
            | Self::UnsupportedCritical
            | Self::WrongType => (TOKEN, Unauthenticated, "The access token is invalid"),
            Self::Expired => (TOKEN, Unauthenticated, "The access token expired"),
            Self::NotYetValid => (TOKEN, Unauthenticated, "The access token is not valid yet"),
            Self::Revoked => (TOKEN, Unauthenticated, "The access token was revoked"),

            Self::InsufficientScope => (
                SCOPE,
                PermissionDenied,
                "The access token lacks a required scope",
            ),
            Self::InsufficientRole => (
                SCOPE,
                PermissionDenied,
                "The access token lacks a required right",
            ),
            Self::CrossSiteRequest => (
                (403, None),
                PermissionDenied,
                "The request comes from another site",
            ),

            Self::KeySourceUnavailable | Self::RevocationUnavailable => (
                (503, None),
                Unavailable,
                "Authentication is temporarily unavailable",
            ),
            Self::MissingLayer => ((500, None), Internal, "Internal error"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Row {
            status,
            code,
            grpc,
            text,
        }
    }

    /// A stable name for logs and metrics, such as `expired`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::AudienceMismatch => "audience_mismatch",
            Self::BadSignature => "bad_signature",
            Self::BindingMismatch => "binding_mismatch",
            Self::CrossSiteRequest => "cross_site_request",
            Self::DuplicateMember => "duplicate_member",
            Self::EncryptedToken => "encrypted_token",
            Self::Expired => "expired",
            Self::InsufficientRole => "insufficient_role",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidClaim => "invalid_claim",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::KeySourceUnavailable => "key_source_unavailable",
            Self::MalformedRequest => "malformed_request",
            Self::MalformedToken => "malformed_token",
            Self::MissingClaim => "missing_claim",
            Self::MissingCredentials => "missing_credentials",
            Self::MissingLayer => "missing_layer",
            Self::NotYetValid => "not_yet_valid",
            Self::RevocationUnavailable => "revocation_unavailable",
            Self::Revoked => "revoked",
            Self::UnknownKey => "unknown_key",
            Self::UnsupportedCritical => "unsupported_critical",
            Self::WrongType => "wrong_type",
        }
    }
}

/// The operator's half of a rejection.
#[derive(Clone)]
enum Reason {
    /// The kind says everything.
    Kind,
    Fixed(&'static str),
    Detailed(Arc<Detail>),
}

/// A reason with something of this request in it.
enum Detail {
    Written(String),
    /// Nothing is out of order on our side.
    WithoutOutage(String),
    /// Expected and presented value of a check.
    Mismatch {
        what: &'static str,
        expected: String,
        presented: String,
    },
    Times {
        what: &'static str,
        at: f64,
        now: f64,
        leeway: f64,
    },
    Rights {
        scopes: Vec<Cow<'static, str>>,
        needed: String,
    },
}

impl Rejection {
    /// A rejection whose kind says everything.
    pub(crate) const fn of(kind: RejectionKind) -> Self {
        let detail = Reason::Kind;
        Self { kind, detail }
    }

    fn with(kind: RejectionKind, detail: Detail) -> Self {
        let detail = Reason::Detailed(Arc::new(detail));
        Self { kind, detail }
    }

    pub(crate) fn because(kind: RejectionKind, reason: impl Into<Cow<'static, str>>) -> Self {
        match reason.into() {
            Cow::Borrowed(reason) => {
                let detail = Reason::Fixed(reason);
                Self { kind, detail }
            }
            Cow::Owned(reason) => Self::with(kind, Detail::Written(reason)),
        }
    }

    /// A 503 although everything works on our side: a client, or a caller who cannot wait, asked for
    /// more than there may be.
    pub(crate) fn without_outage(kind: RejectionKind, reason: String) -> Self {
        Self::with(kind, Detail::WithoutOutage(reason))
    }

    /// Whether everything works on our side, whatever the kind says.
    pub(crate) fn is_without_outage(&self) -> bool {
        match &self.detail {
            Reason::Detailed(detail) => matches!(**detail, Detail::WithoutOutage(_)),
            Reason::Fixed(_) | Reason::Kind => false,
        }
    }

    pub(crate) fn mismatch(
        kind: RejectionKind,
        what: &'static str,
        expected: impl fmt::Display,
        presented: &str,
    ) -> Self {
        let presented = Excerpt(presented).to_string();
        Self::with(
            kind,
            Detail::Mismatch {
                what,
                expected: expected.to_string(),
                presented,
            },
        )
    }

    pub(crate) fn times(
        kind: RejectionKind,
        what: &'static str,
        at: f64,
        now: f64,
        leeway: f64,
    ) -> Self {
        Self::with(
            kind,
            Detail::Times {
                what,
                at,
                now,
                leeway,
            },
        )
    }

    pub(crate) fn rights(scopes: Vec<Cow<'static, str>>, needed: String) -> Self {
        let kind = if scopes.is_empty() {
            RejectionKind::InsufficientRole
        } else {
            RejectionKind::InsufficientScope
        };
        Self::with(kind, Detail::Rights { scopes, needed })
    }

    /// What was wrong, in one word.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The HTTP status that a client gets: 400, 401, 403, 500 or 503.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.row().status
    }

    /// The sentence for the client: fixed for each kind, it says nothing about keys or issuers.
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        self.kind.row().text
    }

    /// The OAuth error code for the client, if the kind has one: `invalid_request`,
    /// `invalid_token` or `insufficient_scope` ([RFC 6750, section 3.1]).
    ///
    /// [RFC 6750, section 3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.kind.row().code
    }

    /// The scopes that the request would have needed, for the challenge.
    #[must_use]
    pub fn required_scopes(&self) -> &[Cow<'static, str>] {
        if let Reason::Detailed(detail) = &self.detail
            && let Detail::Rights { scopes, .. } = &**detail
        {
            return scopes;
        }
        &[]
    }
}

/// The operator's sentence.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = match &self.detail {
            Reason::Detailed(detail) => &**detail,
            Reason::Fixed(reason) => return f.write_str(reason),
            Reason::Kind => {
                return f.write_str(match self.kind {
                    RejectionKind::BadSignature => "signature does not verify",
                    RejectionKind::Revoked => "token was revoked, or its subject is gone",
                    RejectionKind::EncryptedToken => "token is encrypted (five parts), expected a signed one",
                    RejectionKind::MissingCredentials => "request has no bearer token",
                    RejectionKind::MissingLayer => {
                        "handler needs claims and no layer verified any: add `.layer(JwtAuth::new(issuer, audience, keys))` outside of this route"
                    }
                    RejectionKind::UnsupportedCritical => "header lists critical extensions (`crit`), none is supported",
                    other => other.row().text,
                });
            }
        };
        match detail {
            Detail::Written(reason) | Detail::WithoutOutage(reason) => f.write_str(reason),
            Detail::Mismatch {
                what,
                expected,
                presented,
            } => write!(f, "{what} is {presented}, expected {expected}"),
            Detail::Times {
                what,
                at,
                now,
                leeway,
            } => {
                let [gap, at, now, leeway] = [now - at, *at, *now, *leeway].map(Seconds);
                if gap.0 >= 0.0 {
                    write!(f, "{what} was {gap} s ago")?;
                } else {
                    write!(f, "{what} is {} s from now", Seconds(-gap.0))?;
                }
                write!(f, " (at {at}, now {now}, leeway {leeway} s)")
            }
            Detail::Rights { needed, .. } => {
                write!(f, "token does not have what is required: {needed}")
            }
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("kind", &self.kind)
            .field("reason", &format_args!("{self}"))
            .finish()
    }
}

impl Error for Rejection {}

/// Untrusted text for a log line: quoted, controls escaped, cut after 80 characters.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        let shown: String = chars.by_ref().take(EXCERPT).collect();
        let more = if chars.next().is_some() { "…" } else { "" };
        write!(f, "{shown:?}{more}")
    }
}

const EXCERPT: usize = 80;

/// What was expected, for a reason: the first few of the values, and how many more there are. A
/// reason stays short however much is configured.
pub(crate) fn one_of<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut values = values.map(Excerpt);
    let shown = values.by_ref().take(SHOWN).map(|value| value.to_string());
    let shown = shown.collect::<Vec<_>>().join(" or ");
    match values.count() {
        0 => shown,
        more => format!("{shown} or one of {more} more"),
    }
}

/// Values that [`one_of`] shows.
const SHOWN: usize = 4;

/// A time or a duration in seconds, with at most three decimals.
pub(crate) struct Seconds(pub(crate) f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.abs() >= 1e15 {
            return write!(f, "{:e}", self.0);
        }
        let text = format!("{:.3}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
