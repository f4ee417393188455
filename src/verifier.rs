//! Token text in, [`Claims`] out. No HTTP, no Tower.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::bearer::Credentials;
use crate::claims::{Claims, NoClaims};
use crate::clock::NumericDate;
use crate::error::{Rejection, RejectionKind};
use crate::jws::Unverified;
use crate::keys::set::KeySet;
use crate::keys::store::{KeyStore, LookUp};
use crate::policy::{Audience, Issuer, Policy, Trust};
use crate::revocation::{Answer, CheckFailed, RevocationCheck, Standing};
use crate::telemetry;
use crate::validate;

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
    /// Verifies a token. Waits only for a revocation check that has to ask somebody.
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
            Verdict::Waiting(_, kind) => Err(Rejection::because(
                kind,
                "a revocation check or a key has to be waited for: use `verify` instead of `verify_now`",
            ))
            .inspect_err(telemetry::rejected),
        }
    }

    /// Verifies a token as far as that is possible without waiting.
    pub(crate) fn start(&self, token: Credentials<'_>) -> Result<Verdict<C>, Rejection> {
        let timer = telemetry::Timer::start();
        let decision = decide(&self.policy, &token, Chance::Another);
        timer.stop();
        match decision {
            Ok(Decision::Accepted(claims)) => conclude(Ok(claims)).map(Verdict::Accepted),
            Ok(Decision::Asked(claims, answer)) => Ok(Verdict::Waiting(
                Box::pin(async move { conclude(standing(answer.await).map(|()| claims)) }),
                RejectionKind::RevocationUnavailable,
            )),
            Ok(Decision::KeyUnknown(look_up)) => {
                let (policy, token) = (Arc::clone(&self.policy), token.into_owned());
                let wait = async move { conclude(decide_after(look_up, &policy, &token).await) };
                Ok(Verdict::Waiting(
                    Box::pin(wait),
                    RejectionKind::KeySourceUnavailable,
                ))
            }
            Err(rejection) => conclude(Err(rejection)).map(Verdict::Accepted),
        }
    }
}

/// Decides with the keys that a look-up has brought, or has not.
async fn decide_after(
    look_up: LookUp,
    policy: &Policy,
    token: &Credentials<'_>,
) -> Result<Claims, Rejection> {
    // A load that had begun before may have missed the key: then one of its own may follow.
    let chance = if look_up.is_joined {
        Chance::Another
    } else {
        Chance::Last
    };
    end_of(look_up).await?;
    let decision = match decide(policy, token, chance)? {
        Decision::KeyUnknown(look_up) => {
            end_of(look_up).await?;
            decide(policy, token, Chance::Last)?
        }
        decided => decided,
    };
    match decision {
        Decision::Accepted(claims) => Ok(claims),
        Decision::Asked(claims, answer) => standing(answer.await).map(|()| claims),
        Decision::KeyUnknown(_) => Err(Rejection::of(RejectionKind::UnknownKey)),
    }
}

async fn end_of(look_up: LookUp) -> Result<(), Rejection> {
    look_up.end.await.then_some(()).ok_or_else(|| {
        Rejection::because(
            RejectionKind::KeySourceUnavailable,
            "the keys are still being loaded",
        )
    })
}

/// Whether a key that is not there may still be looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chance {
    Another,
    Last,
}

/// What the checks that need no waiting have come to.
enum Decision {
    Accepted(Claims),
    /// Everything is right, and the revocation check has been asked.
    Asked(Claims, Answer),
    /// The key may be one that the issuer has published since.
    KeyUnknown(LookUp),
}

/// The last step of every verification: own claims, and the report.
fn conclude<C>(verdict: Result<Claims, Rejection>) -> Result<Claims<C>, Rejection>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    verdict
        .and_then(Claims::into_type)
        .inspect(telemetry::accepted)
        .inspect_err(telemetry::rejected)
}

/// The order of the checks, from the cheapest to the dearest.
fn decide(policy: &Policy, token: &Credentials<'_>, chance: Chance) -> Result<Decision, Rejection> {
    let now = NumericDate::now(&policy.clock);
    if let Some(claims) = policy.memory.recall(token.octets(), policy, now) {
        return revoked_or(claims, policy);
    }

    let headers = policy.headers.load();
    // What is not even a credential is a fault of the request, and told before those of a token.
    let unverified =
        Unverified::parse(token.octets(), &headers).map_err(|flaw| token.flaw().unwrap_or(flaw))?;
    let trust = validate::trust_of(policy, &unverified)?;
    validate::refuse_hopeless(&unverified, trust, now)?;

    let snapshot = trust.keys.load();
    let keys = snapshot.set.as_ref().ok_or_else(|| {
        Rejection::because(
            RejectionKind::KeySourceUnavailable,
            format!("keys of issuer {} have not come yet", trust.issuer),
        )
    })?;
    if trust.rules.requires_key_id && unverified.key_id().is_none() {
        return Err(Rejection::because(
            RejectionKind::UnknownKey,
            "token names no key (`kid`)",
        ));
    }
    let candidates = keys.candidates(unverified.key_id(), now);
    if candidates.is_empty() {
        let id = unverified.key_id();
        if let Some(dead) = id.and_then(|id| snapshot.dead_key(id, now)) {
            return Err(Rejection::because(
                RejectionKind::UnknownKey,
                dead.to_string(),
            ));
        }
        let look_up = unverified.key_id().filter(|_| chance == Chance::Another);
        if let Some(look_up) = look_up.and_then(|id| trust.keys.look_up(id)) {
            return Ok(Decision::KeyUnknown(look_up));
        }
        return Err(unknown_key(unverified.key_id(), trust, keys));
    }
    let allowed = trust.rules.algorithms.as_deref();
    let (authentic, signer) = unverified.verify(&candidates, allowed, &policy.headers)?;

    let mut claims = validate::validate(authentic, trust, now)?;
    let memory = &policy.memory;
    memory.remember(token, &mut claims, signer, policy, snapshot.generation, now);
    revoked_or(claims, policy)
}

fn revoked_or(claims: Claims, policy: &Policy) -> Result<Decision, Rejection> {
    let Some(revocation) = &policy.revocation else {
        return Ok(Decision::Accepted(claims));
    };
    match revocation.check(claims.clone()) {
        RevocationCheck::Now(answer) => standing(answer).map(|()| Decision::Accepted(claims)),
        RevocationCheck::Later(answer) => Ok(Decision::Asked(claims, answer)),
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

fn unknown_key(id: Option<&str>, trust: &Trust, keys: &KeySet) -> Rejection {
    if trust.keys.is_behind() {
        // The issuer may have a new key, and cannot be asked. That is no fault of the token.
        return Rejection::because(
            RejectionKind::KeySourceUnavailable,
            format!(
                "keys of issuer {} cannot be refreshed, and have no such key",
                trust.issuer
            ),
        );
    }
    let Some(id) = id else {
        return Rejection::because(
            RejectionKind::UnknownKey,
            "token names no key, and the key set has none",
        );
    };
    if let Some(skipped) = keys.skipped_key(id) {
        return Rejection::because(
            RejectionKind::UnknownKey,
            format!("the key set has it, and it cannot be used: {skipped}"),
        );
    }
    let expected = if keys.has_unnamed_keys() {
        "the id of a key; some key was given none: see `Key::with_key_id`"
    } else {
        "the id of a key"
    };
    Rejection::mismatch(RejectionKind::UnknownKey, "key id", expected, id)
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
