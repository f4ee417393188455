//! The marks that follow from the events of a security event token (RFC 8417), and what they are about
//! (RFC 9493).

use std::borrow::Cow;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::json::Raw;
use crate::token::registered::Registered;

/// Who or what an event is about: a subject, a session, or a session of a subject.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'t> {
    /// `iss` and `sub`.
    pub(crate) subject: Option<(Cow<'t, str>, Cow<'t, str>)>,
    /// The id of a session, of the same issuer if there is a subject.
    pub(crate) session: Option<Cow<'t, str>>,
    /// Whether the event ends sessions, and not all that the subject has.
    pub(crate) is_of_session: bool,
}

/// What is revoked by the events of a token. Events with another name are ignored.
pub(crate) fn targets(claims: &Registered) -> Result<Vec<Target<'_>>, Rejection> {
    let payload = claims.payload();
    let claim = |name| claims.claim(name).map(|value| value.value(payload));
    let events = claim("events").and_then(Raw::members);
    let events = events.filter(|events| !events.is_empty());
    let events = events.ok_or_else(|| invalid("claim `events` is no object with an event"))?;
    let mut targets = Vec::new();
    for (name, event) in events {
        if !event.is_object() {
            return Err(invalid("claim `events` has an event that is no object"));
        }
        let is_of_session = SESSION_EVENTS.contains(&&*name);
        if !is_of_session && !ACCOUNT_EVENTS.contains(&&*name) {
            continue;
        }
        let about = event.member("subject").or_else(|| claim("sub_id"));
        let about = about.ok_or_else(|| invalid("an event has no subject"))?;
        let target = Target {
            is_of_session,
            ..target(about)?
        };
        if target.subject.is_none() && !is_of_session {
            return Err(invalid("an event of an account names a session alone"));
        }
        targets.push(target);
    }
    Ok(targets)
}

/// Reads a subject identifier: `iss_sub`, `opaque` for a session, or `complex` of these.
fn target(about: Raw<'_>) -> Result<Target<'_>, Rejection> {
    match &*format(about)? {
        "complex" => {
            let part = |name| about.member(name).filter(|part| !part.is_null());
            let target = Target {
                subject: part("user").map(subject).transpose()?,
                session: part("session").map(session).transpose()?,
                is_of_session: true,
            };
            if target.subject.is_none() && target.session.is_none() {
                return Err(invalid("a subject names no user and no session"));
            }
            Ok(target)
        }
        "opaque" => Ok(Target {
            subject: None,
            session: Some(session(about)?),
            is_of_session: true,
        }),
        _ => Ok(Target {
            subject: Some(subject(about)?),
            session: None,
            is_of_session: true,
        }),
    }
}

fn subject(about: Raw<'_>) -> Result<(Cow<'_, str>, Cow<'_, str>), Rejection> {
    // The hyphen is of a draft, which large issuers still send.
    if !matches!(&*format(about)?, "iss_sub" | "iss-sub") {
        return Err(invalid("a subject has a format that is not supported"));
    }
    let issuer = member(about, "iss")?;
    Ok((issuer, member(about, "sub")?))
}

fn session(about: Raw<'_>) -> Result<Cow<'_, str>, Rejection> {
    if format(about)? != "opaque" {
        return Err(invalid("a session has a format that is not supported"));
    }
    member(about, "id")
}

/// `format`, or its name in the same draft.
fn format(about: Raw<'_>) -> Result<Cow<'_, str>, Rejection> {
    let format = about
        .member("format")
        .or_else(|| about.member("subject_type"));
    let format = format.and_then(Raw::string);
    format.ok_or_else(|| invalid("a subject has no format"))
}

fn member<'t>(about: Raw<'t>, name: &'static str) -> Result<Cow<'t, str>, Rejection> {
    let value = about.member(name).and_then(Raw::string);
    let value = value.filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        let reason = format!("a subject has no `{name}`, or it is not a string");
        Rejection::because(RejectionKind::InvalidClaim, reason)
    })
}

fn invalid(reason: &'static str) -> Rejection {
    Rejection::because(RejectionKind::InvalidClaim, reason)
}

/// Events that end sessions. Their subject may be a session.
const SESSION_EVENTS: &[&str] = &[
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
];
/// Events after which the tokens that a subject has must no longer be accepted.
const ACCOUNT_EVENTS: &[&str] = &[
    "https://schemas.openid.net/secevent/caep/event-type/credential-change",
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-purged",
    "https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked",
];
