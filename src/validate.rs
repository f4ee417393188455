//! The claims against the policy: the same checks first without trust, to refuse a hopeless token
//! before its signature costs anything, then as decisions on the authentic payload.

use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::error::{Rejection, RejectionKind};
use crate::jws::{Authentic, TokenType, Unverified};
use crate::policy::{Audience, ClaimPointer, IssuerRules, Policy, RequiredClaim, Trust};
use crate::registered::Registered;
use crate::text::{Granted, Span};

/// The issuer that a token says it comes from, if it is a trusted one. The only thing that is
/// decided by an unchecked claim, and the signature is then checked with that issuer's keys alone.
pub(crate) fn trust_of<'p>(
    policy: &'p Policy,
    token: &Unverified<'_>,
) -> Result<&'p Trust, Rejection> {
    let claims = token.untrusted();
    let issuer = claims.issuer().ok_or_else(|| missing("iss"))?;
    policy.trust_in(issuer).ok_or_else(|| {
        let expected: Vec<_> = policy
            .trusts
            .iter()
            .map(|trust| trust.issuer.as_str())
            .collect();
        Rejection::mismatch(
            RejectionKind::IssuerMismatch,
            "issuer",
            format!("{expected:?}"),
            issuer,
        )
    })
}

/// Refuses what no signature could save.
pub(crate) fn refuse_hopeless(
    token: &Unverified<'_>,
    trust: &Trust,
    now: NumericDate,
) -> Result<(), Rejection> {
    check(token.typ(), token.untrusted(), trust, now)
}

/// Judges an authentic token; the only way to [`Claims`].
pub(crate) fn validate(
    token: Authentic<'_>,
    trust: &Trust,
    now: NumericDate,
) -> Result<Claims, Rejection> {
    let Authentic {
        header,
        claims: mut registered,
    } = token;
    let issuer = registered.issuer().unwrap_or_default();
    if issuer != trust.issuer.as_str() {
        return Err(Rejection::mismatch(
            RejectionKind::IssuerMismatch,
            "issuer",
            &trust.issuer,
            issuer,
        ));
    }
    check(header.typ(), &registered, trust, now)?;
    scopes(&mut registered, &trust.rules)?;
    roles(&mut registered, trust);
    let is_client = is_client(&registered, &trust.rules);
    Ok(Claims::from_registered(registered, is_client))
}

fn check(
    typ: &TokenType,
    claims: &Registered,
    trust: &Trust,
    now: NumericDate,
) -> Result<(), Rejection> {
    check_type(typ, claims, &trust.rules)?;
    check_audience(&trust.audience, claims)?;
    check_times(claims, &trust.rules, now)?;
    check_required(claims, &trust.rules)?;
    if claims.is_bound() {
        return Err(Rejection::because(
            RejectionKind::BindingMismatch,
            "token is bound to a key or certificate (`cnf`), and the binding is not checked here",
        ));
    }
    Ok(())
}

/// RFC 8725, sections 3.11 and 3.12; RFC 9068, section 4.
fn check_type(typ: &TokenType, claims: &Registered, rules: &IssuerRules) -> Result<(), Rejection> {
    let wrong = |presented: &str| {
        let expected = if rules.is_access_token_profile {
            "at+jwt"
        } else {
            "at+jwt, JWT or absent"
        };
        Err(Rejection::mismatch(
            RejectionKind::WrongType,
            "`typ`",
            expected,
            presented,
        ))
    };
    match typ {
        TokenType::Other(other) => return wrong(other),
        TokenType::Absent if rules.is_access_token_profile => return wrong(""),
        TokenType::Jwt if rules.is_access_token_profile => return wrong("JWT"),
        TokenType::AccessToken => return Ok(()),
        TokenType::Absent | TokenType::Jwt => {}
    }
    if rules.accepts_id_tokens {
        return Ok(());
    }
    // Without the type of its own, an access token is told from its relatives by their marks.
    let mark = claims.foreign_mark().or_else(|| {
        (claims.has_nonce() && !claims.says_access_token())
            .then_some("claim `nonce` marks an ID token")
    });
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
    let expected: Vec<_> = audience.ids().collect();
    let presented = claims.audience().collect::<Vec<_>>().join(" ");
    Err(Rejection::mismatch(
        RejectionKind::AudienceMismatch,
        "audience",
        format!("{expected:?}"),
        &presented,
    ))
}

/// From when on and until before when [`check_times`] lets these claims through, at least.
pub(crate) fn window(claims: &Registered, rules: &IssuerRules) -> (NumericDate, NumericDate) {
    let leeway = rules.leeway.duration();
    let (mut from, mut until) = (NumericDate(f64::NEG_INFINITY), NumericDate(f64::INFINITY));
    let mut not_before = |at: NumericDate| from.0 = from.0.max(at.0);
    for at in claims.not_before().into_iter().chain(claims.issued_at()) {
        not_before(at.minus(leeway));
    }
    if let Some(at) = claims.expires_at() {
        until = at.plus(leeway);
        if let Some(lifetime) = rules.max_lifetime {
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
    rules: &IssuerRules,
    now: NumericDate,
) -> Result<(), Rejection> {
    let leeway = rules.leeway.duration();
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
        None if !rules.is_expiry_optional => return Err(missing("exp")),
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
                "end of the greatest age (`iat`)",
                at.plus(age),
            );
        }
    }
    if let (Some(lifetime), Some(end)) = (rules.max_lifetime, claims.expires_at()) {
        // A token without `iat`, or with one in the future, begins now at the latest.
        let start = claims.issued_at().filter(|at| *at < now).unwrap_or(now);
        if end > start.plus(lifetime).plus(leeway) {
            let (lives, longest) = (end.0 - start.0, lifetime.as_secs_f64());
            return Err(Rejection::because(
                RejectionKind::InvalidClaim,
                format!("token lives {lives} s, at most {longest} s are accepted"),
            ));
        }
    }
    Ok(())
}

fn check_required(claims: &Registered, rules: &IssuerRules) -> Result<(), Rejection> {
    for claim in rules.required.iter() {
        let (name, is_there) = match claim {
            RequiredClaim::ClientId => ("client_id", claims.client_id().is_some()),
            RequiredClaim::Id => ("jti", claims.id().is_some()),
            RequiredClaim::IssuedAt => ("iat", claims.issued_at().is_some()),
            RequiredClaim::NotBefore => ("nbf", claims.not_before().is_some()),
            RequiredClaim::Subject => ("sub", claims.subject().is_some()),
        };
        if !is_there {
            return Err(missing(name));
        }
    }
    Ok(())
}

/// Which claims grant scopes: RFC 8693, section 4.2, and what providers make of it.
fn scopes(claims: &mut Registered, rules: &IssuerRules) -> Result<(), Rejection> {
    let wrong = |claim: &str, expected: &str| {
        Err(Rejection::because(
            RejectionKind::InvalidClaim,
            format!("claim `{claim}` is not {expected}"),
        ))
    };
    const NAMES: &str = "a string or an array of strings";
    if !rules.scopes_from.is_empty() {
        let mut values = Vec::new();
        for pointer in rules.scopes_from.iter() {
            let Some(value) = find(claims, pointer) else {
                continue;
            };
            if Granted::of(value.value(claims.payload())) == Granted::Invalid {
                return wrong(&pointer.names().join("/"), NAMES);
            }
            values.push(value);
        }
        claims.grant_scopes(values);
        return Ok(());
    }
    let is_profile = rules.is_access_token_profile;
    let (name, value) = match (claims.scope(), claims.scp()) {
        (Some(scope), _) => ("scope", scope),
        (None, Some(scp)) if !is_profile => ("scp", scp),
        (None, _) => return Ok(()),
    };
    match Granted::of(value.value(claims.payload())) {
        Granted::List if is_profile => wrong(name, "a string"),
        Granted::Invalid => wrong(name, NAMES),
        Granted::List | Granted::Text => {
            claims.grant_scopes([value]);
            Ok(())
        }
    }
}

/// Which claims grant roles.
fn roles(claims: &mut Registered, trust: &Trust) {
    let pointers = &trust.rules.roles_from;
    if !pointers.is_empty() {
        let found = pointers.iter().filter_map(|pointer| find(claims, pointer));
        let values: Vec<_> = found.collect();
        return claims.grant_roles(values);
    }
    let mut of_clients = Vec::new();
    if let Some(clients) = claims.resource_access() {
        let clients = clients.value(claims.payload());
        clients.each_member(|client, access| {
            if trust.audience.ids().any(|id| id == client) {
                of_clients.extend(access.member("roles").map(Span::of));
            }
        });
    }
    claims.grant_roles(claims.usual_roles().chain(of_clients));
}

/// RFC 9068, section 5: who has its own id as subject is no person. Auth0 appends `@clients`.
fn is_client(claims: &Registered, rules: &IssuerRules) -> bool {
    let client = claims.client_id().or(claims.authorized_party());
    let own_subject = match (claims.subject(), client) {
        (Some(subject), Some(client)) => {
            subject.strip_suffix("@clients").unwrap_or(subject) == client
        }
        (subject, _) => subject.is_none(),
    };
    let marked = rules.client_mark.as_ref().is_some_and(|(claim, text)| {
        find(claims, claim)
            .and_then(|claim| claim.value(claims.payload()).string())
            .is_some_and(|found| found == **text)
    });
    own_subject || claims.says_client() || marked
}

/// Where in the payload the value stands that a pointer leads to.
fn find(claims: &Registered, pointer: &ClaimPointer) -> Option<Span> {
    let (first, rest) = pointer.names().split_first()?;
    let claim = claims.claim(first)?.value(claims.payload());
    rest.iter()
        .try_fold(claim, |value, name| value.member(name))
        .map(Span::of)
}

fn missing(claim: &str) -> Rejection {
    Rejection::because(
        RejectionKind::MissingClaim,
        format!("claim `{claim}` is missing"),
    )
}
