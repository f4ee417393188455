//! Token text in, [`Claims`] out. No HTTP, no Tower.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::claims::{Claims, NoClaims};
use crate::clock::NumericDate;
use crate::error::rejection::{Rejection, RejectionKind};
use crate::issuer::{Audience, Issuer};
use crate::keys::set::KeySet;
use crate::keys::store::{Deadline, KeyStore, LookUp, Prospect};
use crate::policy::validate;
use crate::policy::{Policy, Trust};
use crate::request::Credentials;
use crate::revocation::{Answer, CheckFailed, RevocationCheck, Standing};
use crate::telemetry;
use crate::token::compact::Unverified;
use crate::token::known_headers::Known;

/// Verifies tokens that come without an HTTP request: in a WebSocket message, a queue, a job.
///
/// A cheap clone. [`JwtAuth::verifier`](crate::JwtAuth::verifier) gives one with all settings of a
/// layer; [`new`](Self::new) one with the defaults.
///
/// # Example: a token from a message
///
/// ```
/// # #[cfg(feature = "test-util")] {
/// use tower_jwt_auth::{RejectionKind, Verifier, test::TestIssuer};
///
/// let issuer = TestIssuer::new();
/// let verifier: Verifier = issuer.auth().verifier();
///
/// let claims = verifier.verify_now(&issuer.token().subject("alice").mint())?;
/// assert_eq!(claims.subject(), Some("alice"));
///
/// let refused = verifier.verify_now(&issuer.token().expired().mint()).unwrap_err();
/// assert_eq!(refused.kind(), RejectionKind::Expired);
/// # }
/// # Ok::<(), tower_jwt_auth::Rejection>(())
/// ```
pub struct Verifier<C = NoClaims> {
    policy: Arc<Policy>,
    claims: PhantomData<fn() -> C>,
}

/// What became of a token: decided, or not yet.
pub(crate) enum Verdict<C> {
    Accepted(Claims<C>),
    /// What has to be waited for, and the kind of the refusal where nobody can wait.
    Waiting(Wait<C>, RejectionKind),
}

/// The rest of a verification that has to wait for something outside of this process.
pub(crate) type Wait<C> = Pin<Box<dyn Future<Output = Result<Claims<C>, Rejection>> + Send>>;

impl Verifier {
    /// A verifier with the default settings.
    #[must_use]
    pub fn new(issuer: Issuer, audience: Audience, keys: impl Into<KeyStore>) -> Self {
        let mut policy = Policy::new();
        policy.trust(issuer, audience, keys.into(), None);
        Self::of(Arc::new(policy))
    }
}

impl<C> Verifier<C> {
    pub(crate) fn of(policy: Arc<Policy>) -> Self {
        policy.memory.prepare();
        Self {
            policy,
            claims: PhantomData,
        }
    }

    /// The same verifier with own claims of this type.
    #[must_use]
    pub fn claims<D>(self) -> Verifier<D> {
        Verifier::of(self.policy)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier<C> {
    /// Verifies a token. Waits for keys that may have to be loaded for it, 5 seconds at most, and
    /// for a revocation check that has to ask somebody.
    ///
    /// Works under any executor, also while the tokio runtime of a store stands still.
    ///
    /// # Errors
    ///
    /// A [`Rejection`]; its kind says what was wrong.
    pub async fn verify(&self, token: &str) -> Result<Claims<C>, Rejection> {
        match self.start(Credentials::of_text(token))? {
            Verdict::Accepted(claims) => Ok(claims),
            Verdict::Waiting(wait, _) => wait.await,
        }
    }

    /// Verifies a token at once.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify); also [`RejectionKind::RevocationUnavailable`] if the
    /// revocation check could not answer at once, and [`RejectionKind::KeySourceUnavailable`] if
    /// a key is being looked up.
    pub fn verify_now(&self, token: &str) -> Result<Claims<C>, Rejection> {
        match self.start(Credentials::of_text(token))? {
            Verdict::Accepted(claims) => Ok(claims),
            Verdict::Waiting(_, kind) => Err(Rejection::without_outage(
                kind,
                "a revocation check or a key has to be waited for: use `verify` instead of `verify_now`"
                    .into(),
            ))
            .inspect_err(|rejection| self.policy.report(rejection)),
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Verifies a token as far as that is possible without waiting.
    pub(crate) fn start(&self, token: Credentials<'_>) -> Result<Verdict<C>, Rejection> {
        let timer = telemetry::Timer::start();
        let read_own = Claims::read_ahead::<C>;
        let decision = token
            .fit(self.policy.max_token_size)
            .and_then(|()| decide(&self.policy, &token, Chance::Another(None), read_own));
        timer.stop();
        match decision {
            Ok(Decision::Accepted(claims)) => {
                conclude(Ok(claims), &self.policy).map(Verdict::Accepted)
            }
            Ok(Decision::Asked(asked)) => {
                let policy = Arc::clone(&self.policy);
                let wait = async move { conclude(asked.answered(&policy).await, &policy) };
                Ok(Verdict::Waiting(
                    Box::pin(wait),
                    RejectionKind::RevocationUnavailable,
                ))
            }
            Ok(Decision::Loading(look_up)) => {
                let (policy, token) = (Arc::clone(&self.policy), token.into_owned());
                let wait = async move {
                    conclude(
                        decide_after(look_up, &policy, &token, read_own).await,
                        &policy,
                    )
                };
                Ok(Verdict::Waiting(
                    Box::pin(wait),
                    RejectionKind::KeySourceUnavailable,
                ))
            }
            Err(rejection) => conclude(Err(rejection), &self.policy).map(Verdict::Accepted),
        }
    }
}

/// Decides with the keys that a look-up has brought, or has not.
async fn decide_after(
    mut look_up: LookUp,
    policy: &Policy,
    token: &Credentials<'_>,
    read_own: fn(&Claims),
) -> Result<Claims, Rejection> {
    // A load that had begun before may have missed the key: then one of its own may follow, for
    // what is left of the patience.
    let mut chance = if look_up.is_joined {
        Chance::Another(Some(look_up.deadline))
    } else {
        Chance::Last
    };
    loop {
        let has_ended = look_up.end.await;
        if !has_ended {
            // Of several loads one may have brought the key all the same.
            chance = Chance::Last;
        }
        match decide(policy, token, chance, read_own) {
            Ok(Decision::Accepted(claims)) => return Ok(claims),
            Ok(Decision::Asked(asked)) => return asked.answered(policy).await,
            Ok(Decision::Loading(next)) => look_up = next,
            Err(rejection) if has_ended => return Err(rejection),
            Err(_) => {
                return Err(Rejection::because(
                    RejectionKind::KeySourceUnavailable,
                    "the keys are still being loaded",
                ));
            }
        }
        chance = Chance::Last;
    }
}

/// Whether a key that is not there may still be looked up, and until when that is waited for.
#[derive(Clone, Copy)]
enum Chance {
    Another(Option<Deadline>),
    Last,
}

/// What the checks that need no waiting have come to.
enum Decision {
    Accepted(Claims),
    /// Everything is right, and the revocation check has been asked.
    Asked(Asked),
    /// The key may be one that the issuer has published since.
    Loading(LookUp),
}

/// A token that is right if it is not revoked.
struct Asked {
    claims: Claims,
    answer: Answer,
    /// When it is right no more.
    end: NumericDate,
}

impl Asked {
    /// The verdict, when the answer has come. That may have taken longer than the token lives.
    async fn answered(self, policy: &Policy) -> Result<Claims, Rejection> {
        standing(self.answer.await)?;
        if NumericDate::now(&policy.clock) >= self.end {
            return Err(Rejection::because(
                RejectionKind::Expired,
                "token expired while the revocation check was waited for",
            ));
        }
        Ok(self.claims)
    }
}

/// The last step of every verification: own claims, and the report.
fn conclude<C>(verdict: Result<Claims, Rejection>, policy: &Policy) -> Result<Claims<C>, Rejection>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    verdict
        .and_then(Claims::into_type)
        .inspect(|claims| policy.reports.accepted(claims, &*policy.clock))
        .inspect_err(|rejection| policy.report(rejection))
}

/// The order of the checks, from the cheapest to the dearest.
fn decide(
    policy: &Policy,
    token: &Credentials<'_>,
    chance: Chance,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    let now = NumericDate::now(&policy.clock);
    if let Some((claims, trust)) = policy.memory.recall(token.octets(), policy, now) {
        return revoked_or(claims, trust, policy);
    }

    let headers = policy.headers.load();
    // What is not even a credential is a fault of the request, and told before those of a token.
    let unverified =
        Unverified::parse(token.octets(), &headers).map_err(|flaw| token.flaw().unwrap_or(flaw))?;
    let (trust, is_one_of_several) = validate::trusts_of(policy, &unverified)?;
    if is_one_of_several {
        return decide_among(policy, token, &headers, trust, now, chance, read_own);
    }
    decide_under(trust, unverified, policy, token, now, chance, read_own)
        .map_err(|failed| failed.rejection)
}

/// Decides on a token whose issuer is trusted several times, each time with an audience, keys and
/// rules of its own. One trust that accepts it is enough. Else the failure that is told is that of
/// the trust under which the token came farthest.
fn decide_among(
    policy: &Policy,
    token: &Credentials<'_>,
    headers: &[Known],
    first: &Trust,
    now: NumericDate,
    chance: Chance,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    let mut told = Rejection::of(RejectionKind::IssuerMismatch);
    let may_load = !matches!(chance, Chance::Last);
    // Nothing is loaded for a token that the keys at hand verify.
    for chance in [Chance::Last, chance] {
        let (mut farthest, mut loads) = (None, Vec::new());
        for trust in policy.trusts_in(first.issuer.as_str()) {
            let unverified = Unverified::parse(token.octets(), headers)?;
            match decide_under(trust, unverified, policy, token, now, chance, read_own) {
                Ok(Decision::Loading(load)) => loads.push(load),
                Ok(decided) => return Ok(decided),
                Err(failed) if farthest <= Some(failed.stage) => {
                    farthest = Some(failed.stage);
                    told = failed.rejection;
                }
                Err(_) => {}
            }
        }
        if let Some(load) = LookUp::of_all(loads) {
            return Ok(Decision::Loading(load));
        }
        let may_lack_a_key = farthest >= Some(Stage::Algorithm) && farthest < Some(Stage::Attested);
        if !may_load || !may_lack_a_key {
            break;
        }
    }
    Err(told)
}

/// Why a token is not accepted under one trust, and how far it came.
struct Failed {
    stage: Stage,
    rejection: Rejection,
}

/// How far a token came, from the least telling failure to the most telling one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Audience,
    Claims,
    Algorithm,
    Key,
    Signature,
    /// Keys could not be had: whatever other keys say, it is no fault of the token.
    Unavailable,
    /// The signature was right.
    Attested,
}

impl From<Rejection> for Failed {
    fn from(rejection: Rejection) -> Self {
        let stage = match rejection.kind() {
            RejectionKind::AudienceMismatch => Stage::Audience,
            RejectionKind::AlgorithmNotAllowed => Stage::Algorithm,
            RejectionKind::UnknownKey => Stage::Key,
            RejectionKind::BadSignature => Stage::Signature,
            RejectionKind::KeySourceUnavailable => Stage::Unavailable,
            RejectionKind::Revoked | RejectionKind::RevocationUnavailable => Stage::Attested,
            _ => Stage::Claims,
        };
        Self { stage, rejection }
    }
}

/// Decides on a token under one trust in its issuer.
fn decide_under(
    trust: &Trust,
    unverified: Unverified<'_>,
    policy: &Policy,
    token: &Credentials<'_>,
    now: NumericDate,
    chance: Chance,
    read_own: fn(&Claims),
) -> Result<Decision, Failed> {
    validate::refuse_hopeless(&unverified, trust, now)?;

    let snapshot = trust.keys.load();
    let allowed = trust.rules.algorithms.as_deref();
    let dead = |id: Option<&str>| snapshot.dead_keys(id, now);
    let Some(keys) = &snapshot.set else {
        let flaw = unverified.flaw_of_dead(&dead(unverified.key_id()), allowed);
        return Ok(flaw.map_or_else(|| first_load_of(trust, chance), Err)?);
    };
    if trust.rules.requires_key_id && unverified.key_id().is_none() {
        return Err(
            Rejection::because(RejectionKind::UnknownKey, "token names no key (`kid`)").into(),
        );
    }
    let candidates = keys.candidates(unverified.key_id(), now);
    if candidates.is_empty() {
        let id = unverified.key_id();
        let dead = dead(id);
        // Its id is free for another key, which may be there by now.
        let flaw = || match dead.first().filter(|_| id.is_some()) {
            Some(dead) => Rejection::because(RejectionKind::UnknownKey, dead.to_string()),
            None => unknown_key(id, keys, &trust.issuer),
        };
        if let Some(flaw) = unverified.flaw_of_dead(&dead, allowed) {
            return Err(flaw.into());
        }
        // The secret that was removed is no longer here to be compared.
        if unverified.is_symmetric() && dead.iter().any(|dead| dead.key.is_none()) {
            return Err(flaw().into());
        }
        return Ok(look_up_or(flaw, id, trust, chance)?);
    }
    let verified = unverified.verify(&candidates, dead, allowed, &policy.headers);
    let (authentic, signer) = match verified {
        Ok(proven) => proven,
        Err(unproven) if unproven.may_be_of_a_new_key => {
            return Ok(look_up_or(|| unproven.rejection, None, trust, chance)?);
        }
        Err(unproven) => return Err(unproven.rejection.into()),
    };

    let mut claims = validate::validate(authentic, trust, now).map_err(|rejection| Failed {
        stage: Stage::Attested,
        rejection,
    })?;
    let memory = &policy.memory;
    let generation = snapshot.generation;
    memory.remember(token, &mut claims, read_own, signer, trust, generation, now);
    Ok(revoked_or(claims, trust, policy)?)
}

fn revoked_or(claims: Claims, trust: &Trust, policy: &Policy) -> Result<Decision, Rejection> {
    let Some(revocation) = &policy.revocation else {
        return Ok(Decision::Accepted(claims));
    };
    match revocation.check(claims.clone()) {
        RevocationCheck::Now(answer) => standing(answer).map(|()| Decision::Accepted(claims)),
        RevocationCheck::Later(answer) => Ok(Decision::Asked(Asked {
            end: validate::window(claims.registered(), &trust.rules).1,
            claims,
            answer,
        })),
    }
}

fn standing(answer: Result<Standing, CheckFailed>) -> Result<(), Rejection> {
    match answer {
        Ok(Standing::Good) => Ok(()),
        Ok(Standing::Revoked) => Err(Rejection::of(RejectionKind::Revoked)),
        Err(failed) => Err(Rejection::because(
            RejectionKind::RevocationUnavailable,
            failed.to_string(),
        )),
    }
}

/// The load that brings the first keys, where it is not known to fail.
fn first_load_of(trust: &Trust, chance: Chance) -> Result<Decision, Rejection> {
    let load = match chance {
        Chance::Another(deadline) => trust.keys.first_load(deadline),
        Chance::Last => None,
    };
    load.map(Decision::Loading).ok_or_else(|| {
        Rejection::because(
            RejectionKind::KeySourceUnavailable,
            format!("keys of issuer {} have not come yet", trust.issuer),
        )
    })
}

/// What becomes of a token whose key is not there: a load that may bring the key with this id, or
/// without one another key for the token; else the flaw, if it is one of the token. Where nobody can
/// ask the issuer for a key, that there is none is no fault of the token.
fn look_up_or(
    flaw: impl FnOnce() -> Rejection,
    id: Option<&str>,
    trust: &Trust,
    chance: Chance,
) -> Result<Decision, Rejection> {
    let prospect = match chance {
        Chance::Another(deadline) => trust.keys.look_up(id, deadline),
        Chance::Last => Prospect::Answered,
    };
    let because = |reason| {
        format!(
            "keys of issuer {} {reason}, and none is that of the token",
            trust.issuer
        )
    };
    match prospect {
        Prospect::Load(look_up) => Ok(Decision::Loading(look_up)),
        _ if trust.keys.is_behind() => Err(Rejection::because(
            RejectionKind::KeySourceUnavailable,
            because("cannot be refreshed"),
        )),
        // A bad signature is the usual thing to be said of a token under a key that is known.
        Prospect::Unasked if id.is_some() => Err(Rejection::without_outage(
            RejectionKind::KeySourceUnavailable,
            because("may not be loaded again yet"),
        )),
        Prospect::Answered | Prospect::Unasked => Err(flaw()),
    }
}

fn unknown_key(id: Option<&str>, keys: &KeySet, issuer: &Issuer) -> Rejection {
    let unknown = |reason| Rejection::because(RejectionKind::UnknownKey, reason);
    let Some(id) = id else {
        return unknown(format!(
            "token names no key, and the key set of {issuer} has none"
        ));
    };
    if let Some(skipped) = keys.skipped_key(id) {
        return unknown(format!(
            "the key set of {issuer} has it, and it cannot be used: {skipped}"
        ));
    }
    let hint = if keys.has_unnamed_keys() {
        "; some key was given none: see `Key::with_key_id`"
    } else {
        ""
    };
    Rejection::mismatch(
        RejectionKind::UnknownKey,
        "key id",
        format_args!("the id of a key of {issuer}{hint}"),
        id,
    )
}

impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.policy))
    }
}

impl<C> fmt::Debug for Verifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("policy", &self.policy)
            .finish()
    }
}
