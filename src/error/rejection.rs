//! [`Rejection`]: why a request was rejected.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::error::kinds::RejectionKind;

/// Why a request or a token was rejected.
///
/// The client gets a status, a registered error code and a fixed sentence ([`client_text`]). The operator
/// gets the whole reason, through [`Display`](fmt::Display). The extensions of the response contain a copy
/// of the rejection, for outer layers.
///
/// A rejection never contains the token or its signature. The reason quotes some values of the token:
/// `alg`, `kid` and `typ` of the header, `iss`, `aud` and the times of the claims, and names of members.
/// These values are put in quotes, their control characters are escaped, and they are truncated to 80
/// characters. Values of other claims never appear.
///
/// [`client_text`]: Self::client_text
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    /// Whether the rejection must be reported when the response is created.
    is_unreported: bool,
    detail: Reason,
}

/// The reason for the operator.
#[derive(Clone)]
enum Reason {
    /// The sentence of the kind.
    Kind,
    Fixed(&'static str),
    Detailed(Arc<Detail>),
}

/// A reason with values of this request.
enum Detail {
    Written(String),
    /// The reason of a 503.
    Unavailable {
        reason: String,
        is_outage: bool,
        retry_after: Duration,
    },
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
    /// A rejection with the sentence of its kind as the reason.
    pub(crate) const fn of(kind: RejectionKind) -> Self {
        Self::new(kind, Reason::Kind)
    }

    const fn new(kind: RejectionKind, detail: Reason) -> Self {
        Self {
            kind,
            is_unreported: false,
            detail,
        }
    }

    fn with(kind: RejectionKind, detail: Detail) -> Self {
        Self::new(kind, Reason::Detailed(Arc::new(detail)))
    }

    pub(crate) fn because(kind: RejectionKind, reason: impl Into<Cow<'static, str>>) -> Self {
        match reason.into() {
            Cow::Borrowed(reason) => Self::new(kind, Reason::Fixed(reason)),
            Cow::Owned(reason) => Self::with(kind, Detail::Written(reason)),
        }
    }

    /// A 503 without an outage: a limit was reached, or the caller cannot wait.
    pub(crate) fn without_outage(kind: RejectionKind, reason: String) -> Self {
        Self::unavailable_for(kind, reason, false, RETRY_AFTER)
    }

    /// A 503 after which the client may retry, when this time has passed.
    pub(crate) fn unavailable_for(
        kind: RejectionKind,
        reason: String,
        is_outage: bool,
        retry_after: Duration,
    ) -> Self {
        Self::with(
            kind,
            Detail::Unavailable {
                reason,
                is_outage,
                retry_after,
            },
        )
    }

    /// Marks a rejection that the application creates. It is reported when the response is created.
    pub(crate) fn unreported(mut self) -> Self {
        self.is_unreported = true;
        self
    }

    /// Whether the rejection must be reported. Clears the mark.
    pub(crate) fn take_unreported(&mut self) -> bool {
        std::mem::take(&mut self.is_unreported)
    }

    /// Whether this is a 503 without an outage.
    pub(crate) fn is_without_outage(&self) -> bool {
        match &self.detail {
            Reason::Detailed(detail) => matches!(
                **detail,
                Detail::Unavailable {
                    is_outage: false,
                    ..
                }
            ),
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

    /// The kind of the rejection.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The HTTP status for the client: 400, 401, 403, 500 or 503.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.row().status
    }

    /// The sentence for the client. It is fixed for each kind, and discloses nothing about keys or
    /// issuers.
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        self.kind.row().text
    }

    /// The OAuth error code for the client, if the kind has one: `invalid_request`,
    /// `invalid_token` or `insufficient_scope` ([RFC 6750, section 3.1]).
    ///
    /// [RFC 6750, section 3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
    #[must_use]
    pub fn oauth_error(&self) -> Option<&'static str> {
        self.kind.row().oauth_error
    }

    /// The time after which the client may retry, if the status is 503. It is sent in `Retry-After`,
    /// in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.status() != StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        if let Reason::Detailed(detail) = &self.detail
            && let Detail::Unavailable { retry_after, .. } = **detail
        {
            return Some(retry_after);
        }
        Some(RETRY_AFTER)
    }

    /// The scopes that the request needs, for the challenge.
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

/// The reason, for the operator.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = match &self.detail {
            Reason::Detailed(detail) => &**detail,
            Reason::Fixed(reason) => return f.write_str(reason),
            Reason::Kind => {
                return f.write_str(self.kind.row().reason);
            }
        };
        match detail {
            Detail::Written(reason) | Detail::Unavailable { reason, .. } => f.write_str(reason),
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

/// Untrusted text for a log line: quoted, with escaped control characters, truncated to 80 characters.
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
/// The time to retry after a 503, unless a better time is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The expected values, for a reason: the first ones, and the number of the others. A reason stays
/// short even if many values are configured.
pub(crate) fn one_of<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut values = values.map(Excerpt);
    let shown = values.by_ref().take(SHOWN).map(|value| value.to_string());
    let shown = shown.collect::<Vec<_>>().join(" or ");
    match values.count() {
        0 => shown,
        more => format!("{shown} or one of {more} more"),
    }
}

/// The maximum number of values that [`one_of`] shows.
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
