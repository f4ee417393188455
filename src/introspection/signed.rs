//! Signed answers (RFC 9701).

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, NumericDate};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::issuer::{Audience, Issuer};
use crate::keys::key_source::{KeyLookUp, Waited};
use crate::keys::store::KeyStore;
use crate::token::compact::Compact;
use crate::token::header::{TokenType, is_same_media_type};
use crate::token::introspected::Answer;
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
    let now = || NumericDate::now(clock);
    let mut verified = verified(body, keys, now());
    // A load that began before may be too early for the key, and then one more is allowed.
    let mut loads = 2_u8;
    let claims = loop {
        let lacking = match verified {
            Ok(claims) => break claims,
            Err(Flaw::Answer(reason)) => return Err(reason),
            Err(Flaw::Key(lacking)) => lacking,
        };
        let look_up = match &lacking.key_id {
            _ if loads == 0 => None,
            Wanted::FirstLoad => keys.first_load(None),
            Wanted::Id(id) => loading(keys.look_up(Some(id), None)),
            Wanted::Any => loading(keys.look_up(None, None)),
        };
        let Some(mut look_up) = look_up else {
            return Err(lacking.reason);
        };
        loads = if look_up.is_joined {
            loads.saturating_sub(1)
        } else {
            0
        };
        if look_up.wait().await == Waited::TooLong {
            return Err("the keys of the issuer are still being loaded".into());
        }
        verified = self::verified(body, keys, now());
    };
    inner(&claims, issuer, client_id, audience, now())
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

enum Flaw {
    /// The answer is not usable, whatever keys there are.
    Answer(String),
    /// A key that is not there yet may verify it.
    Key(Lacking),
}

struct Lacking {
    key_id: Wanted,
    reason: String,
}

/// The key that is looked for.
enum Wanted {
    Any,
    FirstLoad,
    Id(String),
}

fn loading(result: KeyLookUp) -> Option<crate::keys::key_source::LookUp> {
    match result {
        KeyLookUp::Loading(look_up) => Some(look_up),
        KeyLookUp::NotFound | KeyLookUp::Unknown => None,
    }
}

/// The claims of the answer, if its signature verifies with a key of the issuer.
fn verified(body: &[u8], keys: &KeyStore, now: NumericDate) -> Result<Registered, Flaw> {
    let mut signed = Compact::parse(body, &[]).map_err(|flaw| Flaw::Answer(name(&flaw)))?;
    let is_answer = match signed.typ() {
        TokenType::Other(typ) => is_same_media_type(typ, TYPE),
        TokenType::Absent | TokenType::AccessToken | TokenType::Jwt => false,
    };
    if !is_answer {
        return Err(Flaw::Answer(format!("its `typ` is not `{TYPE}`")));
    }
    let lacking = |key_id, reason: &str| {
        let reason = reason.to_owned();
        Flaw::Key(Lacking { key_id, reason })
    };
    let snapshot = keys.load();
    let Some(set) = &snapshot.set else {
        return Err(lacking(
            Wanted::FirstLoad,
            "there are no keys of the issuer",
        ));
    };
    let wanted = || {
        signed
            .key_id()
            .map_or(Wanted::Any, |id| Wanted::Id(id.to_owned()))
    };
    let candidates = set.candidates(signed.key_id(), now);
    if candidates.is_empty() {
        return Err(lacking(wanted(), "no key of the issuer has its key id"));
    }
    match signed.verify(&candidates, None) {
        Ok(_) => {}
        Err(unproven) if unproven.may_be_of_a_new_key => {
            return Err(lacking(Wanted::Any, &name(&unproven.rejection)));
        }
        Err(unproven) => return Err(Flaw::Answer(name(&unproven.rejection))),
    }
    signed
        .take_claims()
        .map_err(|flaw| Flaw::Answer(name(&flaw)))
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
    let kind: RejectionKind = flaw.kind();
    kind.row().reason.to_owned()
}

/// The type of a signed answer, in its header.
const TYPE: &str = "token-introspection+jwt";
/// The content type of a signed answer.
pub(super) const MEDIA_TYPE: &str = "application/token-introspection+jwt";
/// The maximum age of a signed answer.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The clocks of two machines differ.
const LEEWAY: Duration = Duration::from_secs(60);
