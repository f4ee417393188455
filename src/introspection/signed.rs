//! Signed answers (RFC 9701).

use std::sync::Arc;
use std::time::Duration;

use crate::attest::{self, IssuerKeys, KeyLoads, Step, attest};
use crate::clock::{Clock, NumericDate};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::token::compact::Unverified;
use crate::token::header::{TokenType, is_same_media_type};
use crate::token::introspected::Answer;
use crate::token::known_headers::KnownHeaders;
use crate::token::registered::Registered;

/// Reads a signed answer.
///
/// The claims of the token are those in `token_introspection`. The claims around it are about the answer,
/// and none of them gets into the claims of the token.
///
/// # Errors
///
/// Why this is no answer. The reason quotes nothing that the server has written.
pub(super) async fn answer(
    body: &[u8],
    keys: &KeyStore,
    issuer: &Issuer,
    client_id: Option<&str>,
    audience: &Audience,
    clock: &Arc<dyn Clock>,
) -> Result<Answer, String> {
    let body = body.trim_ascii();
    let headers = KnownHeaders::default();
    let keys = IssuerKeys {
        issuer,
        keys,
        algorithms: None,
        requires_key_id: false,
    };
    let decide = |key_loads| {
        let known = headers.load();
        let signed = Unverified::parse(body, &known)?;
        check_type(signed.typ())?;
        let now = NumericDate::now(clock);
        Ok(match attest(signed, &keys, now, key_loads, &headers)? {
            Step::Done(proven) => Step::Done(proven.attested.into_parts()?.0),
            Step::Loading(load) => Step::Loading(load),
        })
    };
    let claims = match decide(KeyLoads::Allowed(None)) {
        Ok(Step::Done(claims)) => Ok(claims),
        Ok(Step::Loading(load)) => attest::after(load, decide).await,
        Err(flaw) => Err(flaw),
    };
    let claims = claims.map_err(|flaw| name(&flaw))?;
    inner(
        &claims,
        issuer,
        client_id,
        audience,
        NumericDate::now(clock),
    )
}

/// The answer in these claims, if they come from this issuer, are for this service, and are new.
pub(crate) fn inner(
    claims: &Registered,
    issuer: &Issuer,
    client_id: Option<&str>,
    audience: &Audience,
    now: NumericDate,
) -> Result<Answer, String> {
    check(claims, issuer, client_id, audience, now)?;
    let inner = claims.claim("token_introspection");
    let inner = inner.map(|place| place.value(claims.payload()));
    let inner = inner.filter(|value| value.is_object());
    let inner = inner.ok_or("member `token_introspection` is not an object")?;
    Answer::read(inner.text().to_owned())
}

fn check_type(typ: &TokenType) -> Result<(), Rejection> {
    match typ {
        TokenType::Other(typ) if is_same_media_type(typ, TYPE) => Ok(()),
        _ => Err(Rejection::of(RejectionKind::WrongType)),
    }
}

/// Whether the answer comes from this issuer, is for this service, and is new.
fn check(
    claims: &Registered,
    issuer: &Issuer,
    client_id: Option<&str>,
    audience: &Audience,
    now: NumericDate,
) -> Result<(), String> {
    if claims.issuer() != Some(issuer.as_str()) {
        return Err("its `iss` is not the issuer".into());
    }
    let is_us = |id: &str| client_id == Some(id) || audience.ids().any(|ours| ours == id);
    let is_any = client_id.is_none() && audience.is_any();
    if !is_any && !claims.audience().any(is_us) {
        return Err("its `aud` is neither the client id nor the audience of this service".into());
    }
    let Some(issued_at) = claims.issued_at() else {
        return Err("its `iat` is missing".into());
    };
    let age = now.0 - issued_at.0;
    if age > MAX_AGE.as_secs_f64() {
        return Err(format!(
            "it was issued {age:.0} s ago, more than {} s",
            MAX_AGE.as_secs()
        ));
    }
    if -age > LEEWAY.as_secs_f64() {
        return Err(format!("it was issued {:.0} s in the future", -age));
    }
    Ok(())
}

/// A sentence without anything that the server has written.
fn name(flaw: &Rejection) -> String {
    match flaw.kind() {
        RejectionKind::WrongType => format!("its `typ` is not `{TYPE}`"),
        kind => kind.row().reason.to_owned(),
    }
}

/// The type of a signed answer, in its header.
const TYPE: &str = "token-introspection+jwt";
/// The content type of a signed answer.
pub(super) const MEDIA_TYPE: &str = "application/token-introspection+jwt";
/// The maximum age of a signed answer.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The clocks of two machines differ.
const LEEWAY: Duration = Duration::from_secs(60);
