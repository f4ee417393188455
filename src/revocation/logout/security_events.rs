//! [`SecurityEvents`]: security event tokens of an issuer.

use std::sync::Arc;

use http::header::CONTENT_LANGUAGE;
use http::{HeaderValue, Response, StatusCode};

use crate::claims::SubjectId;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::issuer::Issuer;
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::response::FullBody;
use crate::revocation::logout::receiver::{
    Accepted, Failure, Notice, Receiver, Settings, empty, respond,
};
use crate::revocation::logout::service::service;
use crate::revocation::logout::statement::StatementKind;
use crate::revocation::logout::subjects;
use crate::revocation::{RevocationMark, RevocationWriter};
use crate::token::registered::Registered;

/// Tower service that receives security event tokens ([RFC 8417]) that an issuer pushes ([RFC 8935]),
/// as in the Shared Signals Framework. The sessions and accounts that the issuer reports are revoked.
///
/// The issuer of the [`TrustedIssuer`] is the transmitter (`iss`), and its audience is the one that the
/// transmitter uses for this receiver (`aud`). Of its rules, `algorithms`, `leeway`, `max_age`,
/// `max_lifetime` and `require_key_id` apply. A token must have `typ` `secevent+jwt`, `iss`, `aud`, `iat`,
/// `jti` and `events`. `exp` is not required, because RFC 8417 advises against it.
///
/// | event | marks |
/// |---|---|
/// | `session-revoked` (CAEP), `sessions-revoked` (RISC) | the session, the subject, or both |
/// | `credential-change` (CAEP) | the subject |
/// | `account-disabled`, `account-purged` (RISC) | the subject |
/// | `tokens-revoked` (OAuth) | the subject |
/// | any other | none; it is acknowledged and ignored |
///
/// A mark for a subject applies to the tokens that were issued until the `iat` of the event, and every mark
/// is kept for [`max_token_lifetime`](Self::max_token_lifetime) from that time. So it does not matter whether
/// an event comes twice, late or in another order. No `jti` is remembered: if a token without `exp` is sent
/// again, it stores the same marks with the same end. `account-enabled` needs no mark. A token that was
/// issued before the account was disabled stays revoked, and a later token is accepted.
///
/// The subject of an event is its member `subject`, or the claim `sub_id` ([RFC 9493]). The formats
/// `iss_sub`, `opaque` (the id of a session, as in `sid`) and `complex` with `user` and `session` are
/// read. An `iss_sub` must name the issuer of the event; see [`subjects_of`](Self::subjects_of).
///
/// | response | meaning |
/// |---|---|
/// | 202 | all marks are stored and have taken effect |
/// | 400 | the token is not valid; the JSON body has `err` and `description` |
/// | 405, 415 | not a POST request, or not `application/secevent+jwt` |
/// | 503 | a mark could not be stored, or the keys of the issuer could not be loaded |
///
/// Every response has `Cache-Control: no-store`. The timeouts are those of
/// [`BackChannelLogout`](crate::revocation::BackChannelLogout).
///
/// # Example: sessions and accounts of an issuer
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::Router;
/// use tower_jwt_auth::revocation::{Denylist, SecurityEvents};
/// use tower_jwt_auth::{Audience, ConfigError, Issuer, KeyStore, TrustedIssuer};
///
/// fn receiver(keys: KeyStore, denylist: Denylist) -> Result<Router, ConfigError> {
///     let transmitter = TrustedIssuer::new(
///         Issuer::new("https://login.example.com")?,
///         Audience::new("https://api.example.com/events")?,
///         keys,
///     );
///     let events = SecurityEvents::new(transmitter, denylist);
///     Ok(Router::new().route_service("/security-events", events))
/// }
/// # }
/// ```
///
/// [RFC 8417]: https://www.rfc-editor.org/rfc/rfc8417
/// [RFC 8935]: https://www.rfc-editor.org/rfc/rfc8935
/// [RFC 9493]: https://www.rfc-editor.org/rfc/rfc9493
#[derive(Clone)]
pub struct SecurityEvents(Arc<Inner>);

struct Inner {
    receiver: Receiver,
    /// The issuers, in addition to that of the event, whose subjects an event may name.
    subject_issuers: Vec<Issuer>,
}

impl SecurityEvents {
    /// Creates a service for the events of this issuer. The writer stores the marks, for example in
    /// the [`Denylist`](crate::revocation::Denylist) that the layer checks.
    #[must_use]
    pub fn new(issuer: TrustedIssuer, writer: impl RevocationWriter) -> Self {
        let kind = StatementKind {
            typ: "secevent+jwt",
            accepts_untyped: false,
            needs_expiry: false,
        };
        let settings = Settings::new(issuer, writer, kind);
        Self(Arc::new(Inner {
            receiver: Receiver::new(settings),
            subject_issuers: Vec::new(),
        }))
    }

    /// Also accepts events about subjects of this issuer. Default: only events about subjects of the
    /// transmitter are accepted. Use this for a transmitter that is not the issuer of the access tokens. A
    /// session that an event names without a subject is marked for the transmitter and for each of these
    /// issuers.
    ///
    /// With this setting, each trusted transmitter can revoke the tokens of this issuer.
    #[must_use]
    pub fn subjects_of(self, issuer: Issuer) -> Self {
        let mut inner = self.0.with(self.0.receiver.settings.clone());
        inner.subject_issuers.push(issuer);
        Self(Arc::new(inner))
    }
}

service!(SecurityEvents);

impl Notice for Inner {
    const NAME: &str = "security_event";
    const MEDIA_TYPE: &str = "application/secevent+jwt";

    fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    async fn accept(&self, token: &[u8]) -> Result<Accepted, Failure> {
        let statement = self.receiver.verify(token).await?;
        let marks = self.marks(statement.claims())?;
        let accepted = Accepted {
            issuer: statement.claims().issuer().unwrap_or_default().into(),
            marks: marks.len(),
        };
        self.receiver.store(marks).await?;
        Ok(accepted)
    }

    fn response(result: Result<Accepted, Failure>) -> Response<FullBody> {
        match result {
            Ok(_) => empty(StatusCode::ACCEPTED),
            Err(failure) => {
                let mut response = failure.response(error);
                if response.status() == StatusCode::BAD_REQUEST {
                    let english = HeaderValue::from_static("en");
                    response.headers_mut().insert(CONTENT_LANGUAGE, english);
                }
                response
            }
        }
    }
}

impl Inner {
    fn with(&self, settings: Settings) -> Self {
        Self {
            receiver: Receiver::new(settings),
            subject_issuers: self.subject_issuers.clone(),
        }
    }

    /// The marks of all events. An error means that nothing is marked.
    fn marks(&self, claims: &Registered) -> Result<Vec<RevocationMark>, Rejection> {
        let transmitter = claims.issuer().unwrap_or_default();
        // Nothing depends on when an event comes, so it may come late or again.
        let until = self.receiver.issued_at(claims);
        let expiry = self.receiver.end_of_marks(until);
        let mut marks = Vec::new();
        for target in subjects::targets(claims)? {
            let named = target.subject.as_ref().map(|(issuer, _)| &**issuer);
            let issuer = named.unwrap_or(transmitter);
            let mut others = self.subject_issuers.iter().map(Issuer::as_str);
            if issuer != transmitter && !others.any(|other| other == issuer) {
                return Err(Rejection::because(
                    RejectionKind::InvalidClaim,
                    "an event names a subject of another issuer; see `SecurityEvents::subjects_of`",
                ));
            }
            // A disabled account has no other sessions that go on.
            let is_alone = self.receiver.settings.marks_session_alone
                && target.session.is_some()
                && target.is_of_session;
            if let Some(session) = &target.session {
                marks.push(RevocationMark::session(issuer, session, expiry));
                // The id alone does not say whose session it is.
                let others = self.subject_issuers.iter().filter(|_| named.is_none());
                marks.extend(
                    others.map(|other| RevocationMark::session(other.as_str(), session, expiry)),
                );
            }
            if let Some((_, subject)) = target.subject.as_ref().filter(|_| !is_alone) {
                let subject = SubjectId::new(issuer, subject);
                marks.push(RevocationMark::subject(subject, until, expiry));
            }
        }
        Ok(marks)
    }
}

/// The body of 400 (RFC 8935, section 2.4). The description is fixed for each code.
fn error(kind: RejectionKind) -> String {
    let (code, description) = match kind {
        RejectionKind::AudienceMismatch => {
            ("invalid_audience", "The audience is not this receiver")
        }
        RejectionKind::BadSignature => ("authentication_failed", "The signature is invalid"),
        RejectionKind::IssuerMismatch => ("invalid_issuer", "The issuer is not trusted here"),
        RejectionKind::AlgorithmNotAllowed | RejectionKind::UnknownKey => {
            ("invalid_key", "The key or its algorithm is not accepted")
        }
        _ => ("invalid_request", "The security event token is invalid"),
    };
    format!(r#"{{"err":"{code}","description":"{description}"}}"#)
}
