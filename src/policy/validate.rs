//! Validates the claims against the policy. The same checks run twice: on the untrusted claims, to
//! reject a token before its signature is checked, and then on the authentic claims.

use std::time::Duration;

use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::{Rejection, Seconds, one_of};
use crate::issuer::{Audience, Issuer, slash_hint};
use crate::policy::grants;
use crate::policy::rules::Rules;
use crate::policy::{Policy, RequiredClaim, Trust};
use crate::token::compact::{Attestation, Attested, Unverified};
use crate::token::header::TokenType;
use crate::token::registered::Registered;

/// The first trust in the issuer that the token names, and whether there are other trusts in it.
///
/// This is the only choice that depends on an unverified claim. The signature is then checked only with
/// the keys of these trusts.
pub(crate) fn trusts_of<'p>(
    policy: &'p Policy,
    token: &Unverified<'_>,
) -> Result<(&'p Trust, bool), Rejection> {
    let claims = token.untrusted();
    let issuer = claims.issuer().ok_or_else(|| missing("iss"))?;
    let mut trusts = policy.trusts_in(issuer);
    let first = trusts.next().ok_or_else(|| {
        let mut hints = policy
            .issuers()
            .map(|trusted| slash_hint(trusted.as_str(), issuer));
        let hint = hints.find(|hint| !hint.is_empty()).unwrap_or_default();
        let trusted = one_of(policy.issuers().map(Issuer::as_str));
        Rejection::mismatch(
            RejectionKind::IssuerMismatch,
            "issuer",
            trusted + &hint,
            issuer,
        )
    })?;
    Ok((first, trusts.next().is_some()))
}

/// Rejects a token that no signature could make valid.
pub(crate) fn reject_early(
    token: &Unverified<'_>,
    trust: &Trust,
    now: NumericDate,
) -> Result<(), Rejection> {
    check(Some(token.typ()), token.untrusted(), trust, now)
}

/// Claims that meet the policy. Only they can become [`Claims`](crate::Claims).
///
/// Only [`validate`] creates it.
pub(crate) struct Validated {
    claims: Registered,
    is_client: bool,
    attestation: Attestation,
    trust: usize,
}

impl Validated {
    pub(crate) fn into_parts(self) -> (Registered, bool, Attestation, usize) {
        (self.claims, self.is_client, self.attestation, self.trust)
    }
}

/// Checks the claims of an authentic token.
pub(crate) fn validate(
    token: Attested<'_>,
    trust: &Trust,
    now: NumericDate,
) -> Result<Validated, Rejection> {
    let issuer = token.claims().issuer().unwrap_or_default();
    if issuer != trust.issuer.as_str() {
        return Err(Rejection::mismatch(
            RejectionKind::IssuerMismatch,
            "issuer",
            &trust.issuer,
            issuer,
        ));
    }
    check(token.typ(), token.claims(), trust, now)?;
    let (mut claims, attestation) = token.into_parts()?;
    grants::scopes(&mut claims, &trust.rules)?;
    grants::roles(&mut claims, trust)?;
    Ok(Validated {
        is_client: is_client(&claims, &trust.rules)?,
        claims,
        attestation,
        trust: trust.index,
    })
}

/// Checks the answer for a JWT that has passed all checks of a JWT. The answer must meet the policy
/// too.
pub(crate) fn validate_answer_for(
    jwt: &Registered,
    answer: &Registered,
    trust: &Trust,
    now: NumericDate,
) -> Result<(), Rejection> {
    // Time has passed since the token was validated.
    check_times(jwt, &trust.rules, trust.rules.is_expiry_optional, now)?;
    let other_issuer = |issuer: &&str| *issuer != trust.issuer.as_str();
    if let Some(issuer) = answer.issuer().filter(other_issuer) {
        return Err(Rejection::mismatch(
            RejectionKind::IssuerMismatch,
            "issuer of the introspection answer",
            &trust.issuer,
            issuer,
        ));
    }
    if answer.has_audience() {
        check_audience(&trust.audience, answer)?;
    }
    check_times(answer, &trust.rules, true, now)?;
    let subject = answer.subject();
    let differs = if answer.confirmation().is_some() && !answer.is_bound_like(jwt) {
        "cnf"
    } else if subject.is_some() && subject != jwt.subject() {
        "sub"
    } else {
        return Ok(());
    };
    Err(Rejection::because(
        RejectionKind::InvalidClaim,
        format!("claim `{differs}` of the introspection answer differs from that of the token"),
    ))
}

/// Checks the claims of a JWT of type `typ`, or of an answer if there is no type.
fn check(
    typ: Option<&TokenType>,
    claims: &Registered,
    trust: &Trust,
    now: NumericDate,
) -> Result<(), Rejection> {
    match typ {
        Some(typ) => check_type(typ, &trust.rules).and_then(|is_access_token| {
            if is_access_token {
                Ok(())
            } else {
                check_marks(claims, &trust.rules)
            }
        })?,
        None => check_marks(claims, &trust.rules)?,
    }
    let is_answer = typ.is_none();
    let may_lack_audience = is_answer && trust.allows_missing_audience();
    if claims.has_audience() || !may_lack_audience {
        check_audience(&trust.audience, claims)?;
    }
    // RFC 7662, section 2.2: `exp` is optional in an answer. The answer itself expires soon.
    let may_lack_expiry = is_answer || trust.rules.is_expiry_optional;
    check_times(claims, &trust.rules, may_lack_expiry, now)?;
    check_required(claims, &trust.rules)?;
    check_bound(claims, &trust.rules)
}

/// Whether the token is bound, if it must be. The binding itself is checked for each request.
fn check_bound(claims: &Registered, rules: &Rules) -> Result<(), Rejection> {
    if rules.requires_binding && claims.confirmation().is_none() {
        return Err(Rejection::because(
            RejectionKind::BindingMismatch,
            "token is not bound (it has no `cnf`), and `JwtAuth::require_bound_tokens` is set",
        ));
    }
    Ok(())
}

/// The checks of a JWT that is not an access token, except those of its type, which the caller
/// makes.
#[cfg(feature = "logout")]
pub(crate) fn check_statement(
    claims: &Registered,
    trust: &Trust,
    now: NumericDate,
) -> Result<(), Rejection> {
    check_audience(&trust.audience, claims)?;
    check_times(claims, &trust.rules, trust.rules.is_expiry_optional, now)?;
    check_required(claims, &trust.rules)
}

/// RFC 8725, sections 3.11 and 3.12; RFC 9068, section 4. Returns whether the type is used for access
/// tokens only.
fn check_type(typ: &TokenType, rules: &Rules) -> Result<bool, Rejection> {
    let wrong = |presented: &str| {
        let expected = if rules.is_access_token_profile {
            "at+jwt".to_owned()
        } else {
            let more: String = rules.types().map(|typ| format!(", {typ}")).collect();
            format!("at+jwt, JWT{more} or absent (see `JwtAuth::accept_type`)")
        };
        Err(Rejection::mismatch(
            RejectionKind::WrongType,
            "`typ`",
            expected,
            presented,
        ))
    };
    match typ {
        TokenType::AccessToken => Ok(true),
        TokenType::Absent if rules.is_access_token_profile => wrong(""),
        TokenType::Jwt if rules.is_access_token_profile => wrong("JWT"),
        TokenType::Other(other) if !rules.accepts_type(other) => wrong(other),
        TokenType::Absent | TokenType::Jwt | TokenType::Other(_) => Ok(false),
    }
}

/// Rejects the claims of another kind of token.
fn check_marks(claims: &Registered, rules: &Rules) -> Result<(), Rejection> {
    // Without `at+jwt`, only their claims distinguish other kinds of tokens from access tokens.
    let id_token = || claims.id_token_mark().filter(|_| !rules.accepts_id_tokens);
    let mark = claims.foreign_mark().or_else(id_token);
    mark.map_or(Ok(()), |mark| {
        Err(Rejection::because(RejectionKind::WrongType, mark))
    })
}

/// RFC 7519, section 4.1.3.
fn check_audience(audience: &Audience, claims: &Registered) -> Result<(), Rejection> {
    if audience.is_any()
        || audience
            .ids()
            .any(|id| claims.audience().any(|presented| presented == id))
    {
        return Ok(());
    }
    if !claims.has_audience() {
        return Err(missing("aud"));
    }
    Err(audience_mismatch(audience.ids(), claims))
}

/// Rejects a token whose audience is not one of `expected`.
pub(crate) fn audience_mismatch<'a>(
    expected: impl Iterator<Item = &'a str>,
    claims: &Registered,
) -> Rejection {
    let presented = claims.audience().collect::<Vec<_>>().join(" ");
    Rejection::mismatch(
        RejectionKind::AudienceMismatch,
        "audience",
        one_of(expected),
        &presented,
    )
}

/// The period in which [`check_times`] accepts these claims: from the first time, and until before the
/// second. It may accept them somewhat longer.
pub(crate) fn window(claims: &Registered, rules: &Rules) -> (NumericDate, NumericDate) {
    let leeway = rules.leeway();
    let (mut from, mut until) = (NumericDate(f64::NEG_INFINITY), NumericDate(f64::INFINITY));
    let mut not_before = |at: NumericDate| from.0 = from.0.max(at.0);
    for at in claims.not_before().into_iter().chain(claims.issued_at()) {
        not_before(at.minus(leeway));
    }
    if let Some(at) = claims.expires_at() {
        until = at.plus(leeway);
        if let (Some(lifetime), None) = (rules.max_lifetime, claims.issued_at()) {
            not_before(at.minus(lifetime).minus(leeway));
        }
    }
    if let (Some(at), Some(age)) = (claims.issued_at(), rules.max_age) {
        until.0 = until.0.min(at.plus(age).plus(leeway).0);
    }
    (from, until)
}

/// RFC 7519, sections 4.1.4 to 4.1.6.
fn check_times(
    claims: &Registered,
    rules: &Rules,
    may_lack_expiry: bool,
    now: NumericDate,
) -> Result<(), Rejection> {
    let leeway = rules.leeway();
    let outside = |kind, what, at: NumericDate| {
        Err(Rejection::times(
            kind,
            what,
            at.0,
            now.0,
            leeway.as_secs_f64(),
        ))
    };
    match claims.expires_at() {
        Some(at) if now >= at.plus(leeway) => {
            return outside(RejectionKind::Expired, "expiry (`exp`)", at);
        }
        None if !may_lack_expiry => return Err(missing("exp")),
        _ => {}
    }
    if let Some(at) = claims.not_before().filter(|at| now.plus(leeway) < *at) {
        return outside(RejectionKind::NotYetValid, "start (`nbf`)", at);
    }
    if let Some(at) = claims.issued_at().filter(|at| now.plus(leeway) < *at) {
        return outside(RejectionKind::NotYetValid, "issue (`iat`)", at);
    }
    if let Some(age) = rules.max_age {
        let at = claims.issued_at().ok_or_else(|| missing("iat"))?;
        if now.minus(leeway) > at.plus(age) {
            return outside(
                RejectionKind::Expired,
                "end of the maximum age (`iat`)",
                at.plus(age),
            );
        }
    }
    if let (Some(lifetime), Some(end)) = (rules.max_lifetime, claims.expires_at()) {
        // Both times come from the issuer's clock, so no leeway is needed. A token without `iat`
        // counts as issued now, by the local clock.
        let (start, tolerance) = match claims.issued_at() {
            Some(start) => (start, Duration::ZERO),
            None => (now, leeway),
        };
        if end > start.plus(lifetime).plus(tolerance) {
            let (lives, longest) = (Seconds(end.0 - start.0), Seconds(lifetime.as_secs_f64()));
            return Err(Rejection::because(
                RejectionKind::InvalidClaim,
                format!("token has a lifetime of {lives} s, maximum {longest} s"),
            ));
        }
    }
    Ok(())
}

fn check_required(claims: &Registered, rules: &Rules) -> Result<(), Rejection> {
    for claim in rules.required() {
        let (name, is_there) = match claim {
            RequiredClaim::ClientId => ("client_id", claims.client_id().is_some()),
            RequiredClaim::Id => ("jti", claims.id().is_some()),
            RequiredClaim::IssuedAt => ("iat", claims.issued_at().is_some()),
            RequiredClaim::NotBefore => ("nbf", claims.not_before().is_some()),
            RequiredClaim::Subject => ("sub", claims.subject().is_some()),
        };
        if !is_there {
            return Err(unusable(name, claims));
        }
    }
    if rules.is_access_token_profile
        && let Some(name) = claims.odd_claim()
    {
        return Err(wrong_type(name));
    }
    Ok(())
}

/// The rejection for a required claim that is absent, empty, or of the wrong type.
fn unusable(name: &str, claims: &Registered) -> Rejection {
    let value = claims
        .claim(name)
        .map(|value| value.value(claims.payload()));
    match value {
        None => missing(name),
        Some(value) if value.is_null() => missing(name),
        Some(value) if value.is_string() => Rejection::because(
            RejectionKind::MissingClaim,
            format!("claim `{name}` is empty"),
        ),
        Some(_) => wrong_type(name),
    }
}

/// Whether the subject is the client itself (RFC 9068, section 5). Auth0 appends `@clients` to the id of
/// the client. Several claims can name the client, and all of them are compared.
fn is_client(claims: &Registered, rules: &Rules) -> Result<bool, Rejection> {
    let own_subject = claims.subject().is_none_or(|subject| {
        let subject = subject.strip_suffix("@clients").unwrap_or(subject);
        claims.clients().any(|client| client == subject)
    });
    let mut is_marked = false;
    if let Some((pointer, text)) = &rules.client_mark
        && let Some(claim) = grants::named(claims, pointer)?
    {
        let found = claim.string();
        let found = found.ok_or_else(|| grants::wrong(&pointer.names().join("/"), "a string"))?;
        is_marked = found == **text;
    }
    Ok(own_subject || claims.says_client() || is_marked)
}

fn wrong_type(claim: &str) -> Rejection {
    Rejection::because(
        RejectionKind::InvalidClaim,
        format!("claim `{claim}` has the wrong JSON type"),
    )
}

fn missing(claim: &str) -> Rejection {
    Rejection::because(
        RejectionKind::MissingClaim,
        format!("claim `{claim}` is missing"),
    )
}
