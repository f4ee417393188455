//! The decision on a token that is introspected: an opaque token, or a JWT that must be active at its
//! issuer.

use std::sync::Arc;

use crate::cache::Digest;
use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::introspection::query::{NotAsked, Query};
use crate::introspection::{Answer, AskFailure, Introspection};
use crate::policy::{Trust, validate};
use crate::request::Presented;
use crate::token::compact::Attested;
use crate::token::introspected::ActiveAnswer;
use crate::token::malformed::flaw_of_word;
use crate::verdicts::Known;
use crate::verifier::core::Core;
use crate::verifier::decision::{
    Asking, Decision, Stale, Verdict, is_outage, last_checks, unavailable,
};

/// Decides on an opaque token.
pub(super) fn decide(
    core: &Arc<Core>,
    presented: &Presented<'_>,
    now: NumericDate,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    let digest = digest_of(presented)?;
    let stale = match known_answer(core, &digest, now) {
        Ok((claims, trust)) => return last_checks(claims, trust, presented, core),
        Err(stale) => stale,
    };
    let flaw = presented.credentials().flaw_of_opaque();
    if let Some(flaw) = flaw.or_else(|| flaw_of_word(presented.token())) {
        return Err(flaw);
    }
    let trust = core.policy.issuer_of_opaque(presented.token())?;
    ask_for_claims(core, trust, digest, presented, stale, now, read_own)
}

/// Decides on a JWT of an issuer without keys, in the same way as on an opaque token, if its JWTs are
/// introspected.
pub(super) fn decide_without_keys(
    core: &Arc<Core>,
    trust: &Trust,
    presented: &Presented<'_>,
    now: NumericDate,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    if !trust.introspects_jwts() {
        return Err(Rejection::because(
            RejectionKind::UnknownKey,
            format!(
                "token is a JWT, and issuer {} is trusted without keys: see `Introspection::introspect_jwts`",
                trust.issuer
            ),
        ));
    }
    let digest = digest_of(presented)?;
    let stale = match known_answer(core, &digest, now) {
        Ok((claims, trust)) => return last_checks(claims, trust, presented, core),
        Err(stale) => stale,
    };
    if let Some(reason) = core.policy.contradiction_of_jwts(trust) {
        let kind = RejectionKind::IntrospectionUnavailable;
        return Err(Rejection::without_outage(kind, reason));
    }
    ask_for_claims(core, trust, digest, presented, stale, now, read_own)
}

/// The claims of a token whose answer still counts. Otherwise an older answer, if there is one.
fn known_answer<'c>(
    core: &'c Core,
    digest: &Digest,
    now: NumericDate,
) -> Result<(Claims, &'c Trust), Option<Stale>> {
    match core.verdicts.find_answer(digest, &core.policy, now) {
        Some(Known { claims, trust, .. }) if claims.basis().is_fresh(now) => {
            count_hit(trust);
            Ok((claims, trust))
        }
        known => Err(known.map(Stale::from)),
    }
}

fn count_hit(trust: &Trust) {
    let introspection = trust.introspection.iter();
    introspection.for_each(Introspection::count_hit);
}

/// Decides on a JWT that has passed all checks of a JWT, and must be active at its issuer too.
pub(super) fn decide_jwt(
    core: &Arc<Core>,
    trust: &Trust,
    presented: &Presented<'_>,
    mut claims: Claims,
    generation: u64,
    now: NumericDate,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    let known = core.verdicts.find(presented.token(), &core.policy, now);
    let stale = known.map(Stale::from);
    let (old, asked_at) = (stale.clone(), now);
    let judge = move |core: &Core, trust: &Trust, token: &str, answer: ActiveAnswer| {
        let now = NumericDate::now(&core.settings.clock);
        let answer = answer.claims();
        validate::validate_answer_for(claims.registered(), answer, trust, now)?;
        let end = end_of_answer(trust, answer.expires_at(), asked_at, now);
        claims.basis().answered(end.0);
        core.verdicts.remember(
            token.as_bytes(),
            &mut claims,
            read_own,
            trust,
            generation,
            now..end.1,
        );
        Ok(claims)
    };
    let digest = digest_of(presented)?;
    ask(
        core,
        trust,
        digest,
        presented,
        stale,
        now,
        move |core, trust, token, answer| {
            let verdict = judged(core, trust, digest, token, answer, judge);
            if is_rejected(&verdict) {
                let now = NumericDate::now(&core.settings.clock);
                let current = core.verdicts.find(token.as_bytes(), &core.policy, now);
                withdraw(old, current);
            }
            verdict
        },
    )
}

/// Counts a JWT whose answer was known.
pub(super) fn count_hit_of_jwt(trust: &Trust) {
    if trust.introspects_jwts() {
        count_hit(trust);
    }
}

/// Introspects a token whose claims are those of the answer.
fn ask_for_claims(
    core: &Arc<Core>,
    trust: &Trust,
    digest: Digest,
    presented: &Presented<'_>,
    stale: Option<Stale>,
    now: NumericDate,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    let asked_at = now;
    let judge = move |core: &Core, trust: &Trust, token: &str, answer: ActiveAnswer| {
        let now = NumericDate::now(&core.settings.clock);
        let attested = Attested::of_answer(answer, trust.issuer.as_str(), token.as_bytes())?;
        let validated = validate::validate(attested, trust, now)?;
        let mut claims = Claims::new(validated, &core.settings.clock);
        let end = end_of_answer(trust, claims.registered().expires_at(), asked_at, now);
        claims.basis().answered(end.0);
        core.verdicts
            .remember_answer(&digest, &mut claims, read_own, trust, now..end.1);
        Ok(claims)
    };
    let old = stale.clone();
    ask(
        core,
        trust,
        digest,
        presented,
        stale,
        now,
        move |core, trust, token, answer| {
            let verdict = judged(core, trust, digest, token, answer, judge);
            if is_rejected(&verdict) {
                let now = NumericDate::now(&core.settings.clock);
                withdraw(old, core.verdicts.find_answer(&digest, &core.policy, now));
                core.verdicts.forget_answer(&digest);
            }
            verdict
        },
    )
}

/// Introspects the token, unless it is known to be inactive. `conclude` turns the answer into a
/// verdict.
fn ask(
    core: &Arc<Core>,
    trust: &Trust,
    digest: Digest,
    presented: &Presented<'_>,
    stale: Option<Stale>,
    now: NumericDate,
    conclude: impl FnOnce(&Core, &Trust, &str, Result<Answer, AskFailure>) -> Verdict + Send + 'static,
) -> Result<Decision, Rejection> {
    let Some(introspection) = &trust.introspection else {
        return Err(Rejection::of(RejectionKind::IntrospectionUnavailable));
    };
    if let Some(rejection) = core.questions.rejection(digest, trust.index, now) {
        introspection.count_hit();
        return Err(rejection);
    }
    let token = String::from_utf8_lossy(presented.token()).into_owned();
    let query = Query {
        digest,
        token: token.clone(),
        trust: trust.index,
        issuer: trust.issuer.clone(),
        audience: trust.audience.clone(),
        clock: Arc::clone(&core.settings.clock),
    };
    let (kept, index) = (Arc::clone(core), trust.index);
    let asked = core.questions.ask(introspection, query, move |answer| {
        match kept.policy.trust(index) {
            Some(trust) => conclude(&kept, trust, &token, answer),
            None => Err(Rejection::of(RejectionKind::IntrospectionUnavailable)),
        }
    });
    match asked {
        Ok(question) => Ok(Decision::Asking(Asking {
            question,
            trust: trust.index,
            stale,
        })),
        Err(not_asked) => {
            let claims = stale.and_then(|stale| stale.usable(now));
            let claims = claims.ok_or_else(|| rejection_of(not_asked, trust))?;
            last_checks(claims, trust, presented, core)
        }
    }
}

/// The verdict on an answer. A rejection is remembered for a moment.
fn judged(
    core: &Core,
    trust: &Trust,
    digest: Digest,
    token: &str,
    answer: Result<Answer, AskFailure>,
    judge: impl FnOnce(&Core, &Trust, &str, ActiveAnswer) -> Verdict,
) -> Verdict {
    let verdict = match answer {
        Ok(Answer::Active(answer)) => judge(core, trust, token, answer),
        Ok(Answer::Inactive) => Err(Rejection::of(RejectionKind::Inactive)),
        Ok(Answer::Invalid(rejection)) => Err(rejection),
        Err(failure) => Err(failed(trust, &failure)),
    };
    if let (Err(rejection), Some(introspection)) = (&verdict, &trust.introspection)
        && may_be_remembered(rejection)
    {
        let now = NumericDate::now(&core.settings.clock);
        core.questions
            .reject(digest, trust.index, rejection, now, introspection);
    }
    verdict
}

/// Whether the rejection holds for the next moment too.
fn may_be_remembered(rejection: &Rejection) -> bool {
    !is_outage(rejection) && rejection.kind() != RejectionKind::NotYetValid
}

/// Whether the answer, or a check of it, rejects the token.
fn is_rejected(verdict: &Verdict) -> bool {
    let rejection = verdict.as_ref().err();
    rejection.is_some_and(|rejection| !is_outage(rejection))
}

/// If a later answer rejects the token, earlier answers no longer count, not even during an outage. These are
/// the answer that was known when the introspection started, and an answer that an earlier introspection has
/// stored since.
fn withdraw(old: Option<Stale>, current: Option<Known<'_>>) {
    let current = current.map(Stale::from);
    old.iter().chain(&current).for_each(Stale::withdraw);
}

/// The time until which an answer counts, and the time until which it counts during an outage. Neither is
/// after `exp`.
///
/// Both count from the start of the introspection, because the issuer may have revoked the token right
/// after it wrote the answer. The clock may be set back in the meantime.
fn end_of_answer(
    trust: &Trust,
    expires_at: Option<NumericDate>,
    asked_at: NumericDate,
    now: NumericDate,
) -> (NumericDate, NumericDate) {
    let begin = if now < asked_at { now } else { asked_at };
    let ends = trust.introspection.as_ref();
    let (fresh, stale) = ends.map_or((begin, begin), |ends| ends.ends_of_answer(begin));
    let limit = |end: NumericDate| match expires_at {
        Some(expiry) if expiry < end => expiry,
        _ => end,
    };
    (limit(fresh), limit(stale))
}

fn digest_of(presented: &Presented<'_>) -> Result<Digest, Rejection> {
    let digest = Digest::of(presented.token());
    digest.ok_or_else(|| {
        Rejection::because(
            RejectionKind::IntrospectionUnavailable,
            "the system gives no random bytes",
        )
    })
}

fn failed(trust: &Trust, failure: &AskFailure) -> Rejection {
    let rejection = unavailable(trust, &failure.reason);
    match failure.retry_after {
        Some(pause) => Rejection::unavailable_for(
            RejectionKind::IntrospectionUnavailable,
            rejection.to_string(),
            true,
            pause,
        ),
        None => rejection,
    }
}

fn rejection_of(not_asked: NotAsked, trust: &Trust) -> Rejection {
    let kind = RejectionKind::IntrospectionUnavailable;
    let issuer = &trust.issuer;
    match not_asked {
        NotAsked::Busy => Rejection::without_outage(
            kind,
            format!("issuer {issuer} is asked about too many tokens at a time"),
        ),
        NotAsked::Open(pause) => Rejection::unavailable_for(
            kind,
            format!("issuer {issuer} is not asked for a while, after several failures"),
            true,
            pause,
        ),
        NotAsked::Unable(reason) => unavailable(trust, reason),
    }
}
