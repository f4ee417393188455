//! The state that all clones of a verifier share.

use std::fmt;
use std::sync::Arc;

use crate::cache::TokenCache;
use crate::claims::Claims;
use crate::clock::{Clock, SystemClock};
use crate::error::rejection::Rejection;
use crate::introspection::flight::Questions;
use crate::policy::Policy;
use crate::policy::rules::Rules;
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::reports::Reports;
use crate::revocation::Revocation;
use crate::telemetry;
use crate::token::known_headers::KnownHeaders;
use crate::token::limits::MaxTokenSize;
use crate::verdicts::Verdicts;

/// The settings of a verifier.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) issuers: Vec<TrustedIssuer>,
    /// The rules for all issuers.
    pub(crate) rules: Rules,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) revocations: Vec<Arc<dyn Revocation>>,
    pub(crate) cache: TokenCache,
    pub(crate) max_token_size: MaxTokenSize,
}

/// The settings of a verifier and its state.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(super) policy: Policy,
    pub(super) known_headers: KnownHeaders,
    pub(super) verdicts: Verdicts,
    /// The introspections of tokens at their issuers.
    pub(super) questions: Questions<Result<Claims, Rejection>>,
    pub(super) reports: Reports,
}

impl Settings {
    pub(crate) fn new(issuer: TrustedIssuer) -> Self {
        Self {
            issuers: vec![issuer],
            rules: Rules::default(),
            clock: Arc::new(SystemClock),
            revocations: Vec::new(),
            cache: TokenCache::default(),
            max_token_size: MaxTokenSize::default(),
        }
    }
}

impl Core {
    /// Creates everything in advance, so that no request has to wait for it.
    pub(crate) fn new(settings: Settings) -> Self {
        let policy = Policy::new(&settings.issuers, &settings.rules);
        if let Some(reason) = policy.contradiction() {
            telemetry::settings_rejected(&reason);
        }
        Self {
            questions: Questions::new(policy.takes_opaque_tokens()),
            policy,
            known_headers: KnownHeaders::default(),
            verdicts: Verdicts::new(settings.cache),
            reports: Reports::default(),
            settings,
        }
    }

    /// Reports a rejection to the operator.
    pub(crate) fn report(&self, rejection: &Rejection) {
        self.reports.rejected(rejection, &*self.settings.clock);
    }

    /// One number for the state of all revocation checks; `None` if one of them has none.
    pub(super) fn epoch(&self) -> Option<u64> {
        let checks = self.settings.revocations.iter();
        let mut epochs = checks.map(|check| check.epoch());
        epochs.try_fold(NO_EPOCHS, |sum, epoch| Some(add_epoch(sum, epoch?)))
    }
}

/// The sum of the epochs of several checks. An epoch never decreases, so the sum is a new number whenever
/// one of them changes.
pub(super) fn add_epoch(sum: u64, epoch: u64) -> u64 {
    sum.wrapping_add(epoch)
}

/// The sum of no epochs. 0 stands for a token that was not checked.
pub(super) const NO_EPOCHS: u64 = 1;

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("issuers", &self.issuers)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
