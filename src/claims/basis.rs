//! [`Basis`]: the basis of a verdict.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::token::compact::Attestation;

/// The basis of the verdict on a token. It is stored with the claims, so that a cached token can be
/// checked again when one of these things has changed.
pub(crate) struct Basis {
    /// The position in the policy of the trust under which the token was accepted.
    trust: usize,
    attestation: Attestation,
    /// The epoch at which the token was last found not to be revoked; 0 if there was none.
    epoch: AtomicU64,
}

impl Basis {
    pub(super) fn new(trust: usize, attestation: Attestation) -> Self {
        Self {
            trust,
            attestation,
            epoch: AtomicU64::new(NO_EPOCH),
        }
    }

    pub(crate) fn trust(&self) -> usize {
        self.trust
    }

    pub(crate) fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// Whether the token was found not to be revoked at this epoch.
    pub(crate) fn is_active_at(&self, epoch: u64) -> bool {
        epoch != NO_EPOCH && self.epoch.load(Ordering::Relaxed) == epoch
    }

    /// Notes that the token was found not to be revoked at this epoch.
    pub(crate) fn confirm(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }
}

impl Clone for Basis {
    fn clone(&self) -> Self {
        Self {
            trust: self.trust,
            attestation: self.attestation.clone(),
            epoch: AtomicU64::new(self.epoch.load(Ordering::Relaxed)),
        }
    }
}

/// The epoch of no check.
const NO_EPOCH: u64 = 0;
