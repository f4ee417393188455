//! [`Verifier`]: verifies what a caller presented, and returns [`Claims`]. Independent of Tower.

pub(crate) mod core;
mod decide;
mod decision;
mod opaque;
mod revoked;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::attest::KeyLoads;
use crate::claims::{Claims, NoClaims};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::request::Presented;
use crate::telemetry;
use crate::verifier::core::{Core, Settings};
use crate::verifier::decide::{decide, decide_after};
use crate::verifier::decision::Decision;

/// Verifier for tokens that do not come in an HTTP request, for example in a WebSocket message, a
/// queue or a job.
///
/// [`JwtAuth::verifier`](crate::JwtAuth::verifier) returns a verifier with all settings of a layer.
/// [`new`](Self::new) creates one with the default settings. Clones are cheap.
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
/// let rejection = verifier.verify_now(&issuer.token().expired().mint()).unwrap_err();
/// assert_eq!(rejection.kind(), RejectionKind::Expired);
/// # }
/// # Ok::<(), tower_jwt_auth::Rejection>(())
/// ```
pub struct Verifier<C = NoClaims> {
    core: Arc<Core>,
    claims: PhantomData<fn() -> C>,
}

/// The result of a verification, or the part of it that has to wait.
pub(crate) enum Verdict<C> {
    Accepted(Claims<C>),
    /// The future to wait for, and the kind of the rejection if the caller cannot wait.
    Waiting(Wait<C>, RejectionKind),
}

/// The rest of a verification that waits for keys or for a revocation check.
pub(crate) type Wait<C> = Pin<Box<dyn Future<Output = Result<Claims<C>, Rejection>> + Send>>;

impl Verifier {
    /// Creates a verifier with the default settings.
    #[must_use]
    pub fn new(issuer: Issuer, audience: Audience, keys: impl Into<KeyStore>) -> Self {
        let issuer = TrustedIssuer::new(issuer, audience, keys);
        Self::of(Arc::new(Core::new(Settings::new(issuer))))
    }
}

impl<C> Verifier<C> {
    pub(crate) fn of(core: Arc<Core>) -> Self {
        Self {
            core,
            claims: PhantomData,
        }
    }

    /// Returns the same verifier with your own claims as this type.
    #[must_use]
    pub fn claims<D>(self) -> Verifier<D> {
        Verifier::of(self.core)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier<C> {
    /// Verifies a token.
    ///
    /// Waits up to 5 seconds in total if keys must be loaded for the token, or if the token must be
    /// introspected. Also waits for a revocation check that does not answer at once; that wait has no
    /// timeout here.
    ///
    /// Works with any executor, even while the tokio runtime of a key store is not running.
    ///
    /// # Errors
    ///
    /// A [`Rejection`]. Its [kind](Rejection::kind) shows what was wrong.
    pub async fn verify(&self, token: &str) -> Result<Claims<C>, Rejection> {
        match self.start(Presented::of_text(token))? {
            Verdict::Accepted(claims) => Ok(claims),
            Verdict::Waiting(wait, _) => wait.await,
        }
    }

    /// Verifies a token without waiting.
    ///
    /// # Errors
    ///
    /// The same as [`verify`](Self::verify). Also [`RejectionKind::RevocationUnavailable`] if a
    /// revocation check does not answer at once, [`RejectionKind::KeySourceUnavailable`] if keys must
    /// be loaded first, and [`RejectionKind::IntrospectionUnavailable`] if the token must be
    /// introspected. The introspection is started nevertheless, so that its answer is available a
    /// moment later.
    pub fn verify_now(&self, token: &str) -> Result<Claims<C>, Rejection> {
        match self.start(Presented::of_text(token))? {
            Verdict::Accepted(claims) => Ok(claims),
            Verdict::Waiting(_, kind) => Err(Rejection::without_outage(
                kind,
                "a revocation check, a key or an introspection has to be waited for: use `verify` instead of `verify_now`"
                    .into(),
            ))
            .inspect_err(|rejection| self.core.report(rejection)),
        }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Verifies what was presented, as far as that is possible without waiting.
    pub(crate) fn start(&self, presented: Presented<'_>) -> Result<Verdict<C>, Rejection> {
        let timer = telemetry::Timer::start();
        let read_own = Claims::read_ahead::<C>;
        let decision = presented
            .credentials()
            .check_size(self.core.settings.max_token_size)
            .and_then(|()| decide(&self.core, &presented, KeyLoads::Allowed(None), read_own));
        timer.stop();
        match decision {
            Ok(Decision::Accepted(claims)) => {
                conclude(Ok(claims), &self.core).map(Verdict::Accepted)
            }
            Ok(Decision::Revocation(pending)) => {
                let core = Arc::clone(&self.core);
                let wait = async move { conclude(pending.wait(&core).await, &core) };
                Ok(Verdict::Waiting(
                    Box::pin(wait),
                    RejectionKind::RevocationUnavailable,
                ))
            }
            Ok(asking @ Decision::Asking(_)) => {
                let (core, kept) = (Arc::clone(&self.core), presented.keep());
                let wait = async move { conclude(asking.wait(&core, &kept, None).await, &core) };
                Ok(Verdict::Waiting(
                    Box::pin(wait),
                    RejectionKind::IntrospectionUnavailable,
                ))
            }
            Ok(Decision::Loading(look_up)) => {
                let (core, kept) = (Arc::clone(&self.core), presented.keep());
                let wait = async move {
                    conclude(decide_after(look_up, &core, &kept, read_own).await, &core)
                };
                Ok(Verdict::Waiting(
                    Box::pin(wait),
                    RejectionKind::KeySourceUnavailable,
                ))
            }
            Err(rejection) => conclude(Err(rejection), &self.core).map(Verdict::Accepted),
        }
    }
}

/// The last step of every verification: reads own claims and reports the result.
fn conclude<C>(verdict: Result<Claims, Rejection>, core: &Core) -> Result<Claims<C>, Rejection>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    verdict
        .and_then(Claims::into_type)
        .inspect(|claims| core.reports.accepted(claims, &*core.settings.clock))
        .inspect_err(|rejection| core.report(rejection))
}

impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.core))
    }
}

impl<C> fmt::Debug for Verifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("settings", &self.core.settings)
            .finish()
    }
}
