//! The revocation checks of a token that has passed all other checks.

use std::future::poll_fn;
use std::task::Poll;

use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::policy::{Trust, validate};
use crate::revocation::{RevocationCheck, RevocationError, RevocationFuture, RevocationStatus};
use crate::verifier::core::{Core, NO_EPOCHS, add_epoch};

/// The result of the revocation checks that is known at once.
pub(super) enum Standing {
    Active(Claims),
    Pending(PendingRevocation),
}

/// A token that is accepted unless a pending check finds it revoked.
pub(super) struct PendingRevocation {
    claims: Claims,
    futures: Vec<RevocationFuture>,
    /// A check that failed. It matters only if no other check finds the token revoked.
    failed: Option<RevocationError>,
    epoch: Option<u64>,
    /// The time from which the token is no longer valid.
    end: NumericDate,
}

/// Runs the revocation checks, unless nothing has changed since they last found the token active.
///
/// With several checks, a check that revokes the token has priority over one that suspends it, then
/// over one that fails, then over one that finds it active.
pub(super) fn standing_of(
    claims: Claims,
    trust: &Trust,
    core: &Core,
) -> Result<Standing, Rejection> {
    let checks = &core.settings.revocations;
    if checks.is_empty() {
        return Ok(Standing::Active(claims));
    }
    let basis = claims.basis();
    // The epoch is useless for a new token, and may require a read of the clock.
    let known = basis.was_active().then(|| core.epoch()).flatten();
    if known.is_some_and(|epoch| basis.is_active_at(epoch)) {
        return Ok(Standing::Active(claims));
    }
    let mut epoch = Some(NO_EPOCHS);
    let (mut pending, mut failed, mut is_suspended) = (Vec::new(), None, false);
    for check in checks {
        // The epoch is the one before the check, because a mark that is set in the meantime belongs to a
        // later epoch.
        let (of_check, result) = check.epoch_and_check(&claims);
        epoch = epoch
            .zip(of_check)
            .map(|(sum, epoch)| add_epoch(sum, epoch));
        match result {
            RevocationCheck::Ready(Ok(status)) => is_suspended |= is_suspension(status)?,
            RevocationCheck::Ready(Err(error)) => failed = Some(error),
            RevocationCheck::Pending(future) => pending.push(future),
        }
    }
    // The token is rejected whatever the pending checks say, so they are not waited for.
    if is_suspended {
        return Err(Rejection::of(RejectionKind::Suspended));
    }
    let end = validate::window(claims.registered(), &trust.rules).1;
    let checks = PendingRevocation {
        claims,
        futures: pending,
        failed,
        epoch,
        end,
    };
    if checks.futures.is_empty() {
        return checks.concluded().map(Standing::Active);
    }
    Ok(Standing::Pending(checks))
}

impl PendingRevocation {
    /// Waits for all checks. The token may expire in the meantime.
    pub(super) async fn wait(mut self, core: &Core) -> Result<Claims, Rejection> {
        let mut pending = std::mem::take(&mut self.futures);
        // The checks run concurrently, so the wait is that of the slowest check and not the sum.
        poll_fn(|context| {
            let (mut revoked, mut is_suspended) = (Ok(()), false);
            pending.retain_mut(|check| match check.as_mut().poll(context) {
                Poll::Ready(Ok(status)) => {
                    match is_suspension(status) {
                        Ok(suspends) => is_suspended |= suspends,
                        Err(rejection) => revoked = Err(rejection),
                    }
                    false
                }
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    false
                }
                Poll::Pending => true,
            });
            if revoked.is_ok() && is_suspended {
                revoked = Err(Rejection::of(RejectionKind::Suspended));
            }
            if revoked.is_ok() && !pending.is_empty() {
                return Poll::Pending;
            }
            Poll::Ready(revoked)
        })
        .await?;
        let end = self.end;
        let claims = self.concluded()?;
        if NumericDate::now(&core.settings.clock) >= end {
            return Err(Rejection::because(
                RejectionKind::Expired,
                "token expired while the revocation check was waited for",
            ));
        }
        Ok(claims)
    }

    fn concluded(self) -> Result<Claims, Rejection> {
        if let Some(error) = self.failed {
            return Err(Rejection::because(
                RejectionKind::RevocationUnavailable,
                error.to_string(),
            ));
        }
        if let Some(epoch) = self.epoch {
            self.claims.basis().confirm(epoch);
        }
        Ok(self.claims)
    }
}

/// Whether the status suspends the token; an error if it revokes it.
fn is_suspension(status: RevocationStatus) -> Result<bool, Rejection> {
    match status {
        RevocationStatus::Active => Ok(false),
        RevocationStatus::Revoked => Err(Rejection::of(RejectionKind::Revoked)),
        RevocationStatus::Suspended => Ok(true),
    }
}
