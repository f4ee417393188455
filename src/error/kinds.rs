//! [`RejectionKind`], and the table of status, codes and sentences of each kind.

use http::StatusCode;

/// The properties of one kind, for the client, the wire and the operator.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) status: StatusCode,
    /// The code in the challenge (RFC 6750, section 3.1).
    pub(crate) oauth_error: Option<&'static str>,
    pub(crate) grpc: GrpcCode,
    /// The sentence for the client.
    pub(crate) text: &'static str,
    /// The sentence for the operator, if nothing more is known.
    pub(crate) reason: &'static str,
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

/// Generates the enum and the properties of each kind from one row for each kind: the name of the
/// variant, the name in logs, the HTTP status, the code in the challenge and the gRPC status; the
/// sentence for the client; the sentence for the operator.
macro_rules! table {
    ($($(#[$meta:meta])* $kind:ident $name:literal $status:ident $code:ident $grpc:ident $text:literal $reason:literal;)*) => {
        /// The kind of a [`Rejection`](crate::Rejection).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RejectionKind {
            $($(#[$meta])* $kind,)*
        }

        impl RejectionKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            pub(crate) const fn row(self) -> &'static Row {
                match self {
                    $(Self::$kind => &Row {
                        name: $name,
                        status: StatusCode::$status,
                        oauth_error: $code,
                        grpc: GrpcCode::$grpc,
                        text: $text,
                        reason: $reason,
                    },)*
                }
            }
        }
    };
}

table! {
    /// The algorithm of the token is unknown, not allowed, or not the algorithm of the key.
    AlgorithmNotAllowed "algorithm_not_allowed" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "algorithm is not allowed";
    /// `aud` does not name this API.
    AudienceMismatch "audience_mismatch" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "token is for another audience";
    /// The signature is not that of the key.
    BadSignature "bad_signature" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "signature does not verify";
    /// The token is bound to a key or certificate (`cnf`) and the binding was not proved, or the token must
    /// be bound and is not.
    BindingMismatch "binding_mismatch" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "binding of the token was not proved";
    /// A cookie or a WebSocket subprotocol carried the token, and another site made the request.
    CrossSiteRequest "cross_site_request" FORBIDDEN None PermissionDenied
        "The request comes from another site"
        "request comes from another site";
    /// The same name occurs twice in an object of the header or of the claims.
    DuplicateMember "duplicate_member" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "a member occurs twice in one object";
    /// The token is encrypted.
    EncryptedToken "encrypted_token" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "token is encrypted (five parts), expected a signed one";
    /// `exp` has passed.
    Expired "expired" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token expired"
        "token expired";
    /// According to the issuer, the token is not active: it has expired, was revoked, or is
    /// unknown.
    Inactive "inactive" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is not active"
        "issuer says that the token is not active";
    /// The request did not come over TLS.
    InsecureConnection "insecure_connection" FORBIDDEN None PermissionDenied
        "TLS is required"
        "request did not come over TLS";
    /// The token lacks a role, or another right that is not a scope.
    InsufficientRole "insufficient_role" FORBIDDEN INSUFFICIENT_SCOPE PermissionDenied
        "The access token lacks a required right"
        "token lacks a required right";
    /// The token lacks a scope.
    InsufficientScope "insufficient_scope" FORBIDDEN INSUFFICIENT_SCOPE PermissionDenied
        "The access token lacks a required scope"
        "token lacks a required scope";
    /// The token could not be introspected, or the issuer returned no usable answer. This is an outage
    /// and not an error of the client.
    IntrospectionUnavailable "introspection_unavailable" SERVICE_UNAVAILABLE None Unavailable
        "Authentication is temporarily unavailable"
        "introspection is not available";
    /// A claim has the wrong type or an unacceptable value.
    InvalidClaim "invalid_claim" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "a claim has an unacceptable value";
    /// `iss` is not an issuer that is trusted here.
    IssuerMismatch "issuer_mismatch" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "issuer is not trusted";
    /// There are no keys, because they were not loaded yet or were given up after a long outage, or the
    /// key of the token could not be looked up. This is an outage and not an error of the client.
    KeySourceUnavailable "key_source_unavailable" SERVICE_UNAVAILABLE None Unavailable
        "Authentication is temporarily unavailable"
        "keys are not available";
    /// The request has two tokens, or its token contains characters that are not allowed or is too
    /// long.
    MalformedRequest "malformed_request" BAD_REQUEST INVALID_REQUEST Unauthenticated
        "The request is malformed"
        "request is malformed";
    /// The token is not a JWT. It may be an opaque token.
    MalformedToken "malformed_token" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "token is no JWT";
    /// A required claim is absent.
    MissingClaim "missing_claim" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "a required claim is missing";
    /// The request has no token.
    MissingCredentials "missing_credentials" UNAUTHORIZED None Unauthenticated
        "Authentication is required"
        "request has no bearer token";
    /// A handler requests claims, but no layer verified a token. This is an error in the program.
    MissingLayer "missing_layer" INTERNAL_SERVER_ERROR None Internal
        "Internal error"
        "handler needs claims and no layer verified any: add `.layer(JwtAuth::new(issuer, audience, keys))` outside of this route";
    /// `nbf` or `iat` is in the future.
    NotYetValid "not_yet_valid" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is not valid yet"
        "token is not valid yet";
    /// The revocation check failed. This is an outage and not an error of the client.
    RevocationUnavailable "revocation_unavailable" SERVICE_UNAVAILABLE None Unavailable
        "Authentication is temporarily unavailable"
        "revocation check is not available";
    /// The token was revoked, or its subject is no longer known.
    Revoked "revoked" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token was revoked"
        "token was revoked, or its subject is gone";
    /// The token, its session or its subject is suspended.
    Suspended "suspended" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is suspended"
        "token is suspended";
    /// No key has the id that the token names, or the application removed or retired its key.
    UnknownKey "unknown_key" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "no key has the id of the token";
    /// The header lists a critical extension (`crit`).
    UnsupportedCritical "unsupported_critical" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "header lists critical extensions (`crit`), none is supported";
    /// A JWT of another kind: an ID token, a logout token, a proof.
    WrongType "wrong_type" UNAUTHORIZED INVALID_TOKEN Unauthenticated
        "The access token is invalid"
        "token is a JWT of another kind";
}

impl RejectionKind {
    /// A stable name for logs and metrics, such as `expired`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }
}

const INVALID_REQUEST: Option<&str> = Some("invalid_request");
const INVALID_TOKEN: Option<&str> = Some("invalid_token");
const INSUFFICIENT_SCOPE: Option<&str> = Some("insufficient_scope");
