//! [`Decision`]: the result of the checks that do not wait, and the waits that remain.

use crate::binding;
use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::introspection::flight::Question;
use crate::keys::key_source::{Deadline, LookUp};
use crate::policy::Trust;
use crate::request::{Kept, Presented};
use crate::verdicts::Known;
use crate::verifier::core::Core;
use crate::verifier::revoked::{PendingRevocation, Standing, standing_of};

/// The result of the checks that do not wait.
pub(super) enum Decision {
    Accepted(Claims),
    /// The token is being introspected.
    Asking(Asking),
    /// All other checks have passed, and a revocation check is still running.
    Revocation(PendingRevocation),
    /// The issuer may have published the key in the meantime, so the keys are loaded.
    Loading(LookUp),
}

impl Decision {
    /// Waits for an introspection or a revocation check, but not for keys. The wait for an introspection
    /// ends at the deadline, if the request already has one.
    pub(super) async fn wait(
        self,
        core: &Core,
        kept: &Kept,
        deadline: Option<Deadline>,
    ) -> Result<Claims, Rejection> {
        let decided = match self {
            Self::Asking(asking) => asking.answered(core, kept, deadline).await?,
            decided => decided,
        };
        match decided {
            Self::Accepted(claims) => Ok(claims),
            Self::Revocation(pending) => pending.wait(core).await,
            Self::Asking(_) | Self::Loading(_) => {
                Err(Rejection::of(RejectionKind::IntrospectionUnavailable))
            }
        }
    }
}

impl From<Standing> for Decision {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Active(claims) => Self::Accepted(claims),
            Standing::Pending(pending) => Self::Revocation(pending),
        }
    }
}

/// The checks of each request, also with a cached token: the binding and the revocation.
pub(super) fn last_checks(
    claims: Claims,
    trust: &Trust,
    presented: &Presented<'_>,
    core: &Core,
) -> Result<Decision, Rejection> {
    if claims.is_bound() {
        binding::check(claims.registered(), presented)?;
    }
    standing_of(claims, trust, core).map(Decision::from)
}

/// An introspection at an issuer, for which a request waits.
pub(super) struct Asking {
    pub(super) question: Question<Verdict>,
    /// The position of the trust.
    pub(super) trust: usize,
    /// An earlier answer, which may be used if there is no new one.
    pub(super) stale: Option<Stale>,
}

/// The claims of an earlier answer, which count during an outage until this time.
#[derive(Clone)]
pub(super) struct Stale {
    claims: Claims,
    until: NumericDate,
}

impl Stale {
    /// The claims, if they count now.
    pub(super) fn usable(self, now: NumericDate) -> Option<Claims> {
        let counts = now < self.until && !self.claims.basis().is_withdrawn();
        counts.then_some(self.claims)
    }

    /// A later answer rejects the token.
    pub(super) fn withdraw(&self) {
        self.claims.basis().withdraw();
    }
}

impl From<Known<'_>> for Stale {
    fn from(known: Known<'_>) -> Self {
        Self {
            claims: known.claims,
            until: known.until,
        }
    }
}

/// The verdict on an answer.
pub(super) type Verdict = Result<Claims, Rejection>;

impl Asking {
    /// Waits for the answer, and runs the checks of each request. The wait ends at the deadline, if the
    /// request already has one.
    pub(super) async fn answered(
        self,
        core: &Core,
        kept: &Kept,
        deadline: Option<Deadline>,
    ) -> Result<Decision, Rejection> {
        let trust = core.policy.trust(self.trust);
        let trust = trust.ok_or(Rejection::of(RejectionKind::IntrospectionUnavailable))?;
        let verdict = self.question.verdict(deadline).await;
        let verdict = verdict.unwrap_or_else(|reason| Err(unavailable(trust, &reason)));
        let claims = match verdict {
            Err(rejection) if is_outage(&rejection) => {
                // Time has passed since the earlier answer was found.
                let now = NumericDate::now(&core.settings.clock);
                let usable = self.stale.and_then(|stale| stale.usable(now));
                usable.ok_or(rejection)?
            }
            verdict => verdict?,
        };
        last_checks(claims, trust, &kept.presented(), core)
    }
}

/// Whether the issuer could not be asked.
pub(super) fn is_outage(rejection: &Rejection) -> bool {
    rejection.kind() == RejectionKind::IntrospectionUnavailable
}

pub(super) fn unavailable(trust: &Trust, reason: &str) -> Rejection {
    Rejection::because(
        RejectionKind::IntrospectionUnavailable,
        format!(
            "issuer {} cannot be asked about the token: {reason}",
            trust.issuer
        ),
    )
}
