//! [`Basis`]: the basis of a verdict.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::NumericDate;
use crate::epoch::ActiveAt;
use crate::token::compact::Attestation;

/// The basis of the verdict on a token. It is stored with the claims, so that a cached token can be
/// checked again when one of these things has changed.
pub(crate) struct Basis {
    /// The position in the policy of the trust under which the token was accepted.
    trust: usize,
    attestation: Attestation,
    active_at: ActiveAt,
    /// The time until which the answer of an introspection is used, as the bits of an `f64`. Infinite
    /// if no answer was needed.
    fresh_until: AtomicU64,
}

impl Basis {
    pub(super) fn new(trust: usize, attestation: Attestation) -> Self {
        Self {
            trust,
            attestation,
            active_at: ActiveAt::never(),
            fresh_until: AtomicU64::new(f64::INFINITY.to_bits()),
        }
    }

    pub(crate) fn trust(&self) -> usize {
        self.trust
    }

    pub(crate) fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// Whether the token was ever found not to be revoked.
    pub(crate) fn was_active(&self) -> bool {
        self.active_at.is_known()
    }

    /// Whether the token was found not to be revoked at this epoch.
    pub(crate) fn is_active_at(&self, epoch: u64) -> bool {
        self.active_at.is(epoch)
    }

    /// Records that the token was found not to be revoked at this epoch.
    pub(crate) fn confirm(&self, epoch: u64) {
        self.active_at.note(epoch);
    }

    /// Whether no answer of an introspection is needed now.
    pub(crate) fn is_fresh(&self, now: NumericDate) -> bool {
        now < self.fresh_until()
    }

    /// Whether the issuer has withdrawn the token since it was found active.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.fresh_until() == WITHDRAWN
    }

    /// Records the time until which the answer of an introspection is used.
    pub(crate) fn answered(&self, fresh_until: NumericDate) {
        let bits = fresh_until.0.to_bits();
        self.fresh_until.store(bits, Ordering::Relaxed);
    }

    /// Records that, according to the issuer, the token is no longer active. This is final.
    pub(crate) fn withdraw(&self) {
        self.answered(WITHDRAWN);
    }

    fn fresh_until(&self) -> NumericDate {
        NumericDate(f64::from_bits(self.fresh_until.load(Ordering::Relaxed)))
    }
}

impl Clone for Basis {
    fn clone(&self) -> Self {
        Self {
            trust: self.trust,
            attestation: self.attestation.clone(),
            active_at: self.active_at.clone(),
            fresh_until: AtomicU64::new(self.fresh_until.load(Ordering::Relaxed)),
        }
    }
}

/// The end of an answer that is no longer used, not even as a stale answer.
const WITHDRAWN: NumericDate = NumericDate(f64::NEG_INFINITY);
