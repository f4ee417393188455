//! The order of the checks.

use std::sync::Arc;

use crate::attest::{self, KeyLoads, Proven, Step, attest};
use crate::binding;
use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::keys::key_source::LookUp;
use crate::policy::{Trust, validate};
use crate::request::{Kept, Presented};
use crate::token::compact::Unverified;
use crate::token::known_headers::KnownHeader;
use crate::token::shape;
use crate::verifier::core::Core;
use crate::verifier::decision::{Decision, last_checks};
use crate::verifier::opaque;

/// Decides on what was presented. The checks run from the cheapest to the most expensive.
pub(super) fn decide(
    core: &Arc<Core>,
    presented: &Presented<'_>,
    key_loads: KeyLoads,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    let now = NumericDate::now(&core.settings.clock);
    let takes_opaque_tokens = core.policy.takes_opaque_tokens();
    if takes_opaque_tokens && !shape::may_be_jwt(presented.token()) {
        return opaque::decide(core, presented, now, read_own);
    }
    let known = core.verdicts.find(presented.token(), &core.policy, now);
    if let Some(known) = known.filter(|known| known.claims.basis().is_fresh(now)) {
        if takes_opaque_tokens {
            opaque::count_hit_of_jwt(known.trust);
        }
        return last_checks(known.claims, known.trust, presented, core);
    }

    let headers = core.known_headers.load();
    if takes_opaque_tokens && !shape::is_jwt(presented.token(), &headers) {
        return opaque::decide(core, presented, now, read_own);
    }
    // A flaw of the credentials is a fault of the request. It is reported before a flaw of the token.
    let unverified = Unverified::parse(presented.token(), &headers)
        .map_err(|flaw| presented.credentials().flaw().unwrap_or(flaw))?;
    let (trust, is_one_of_several) = validate::trusts_of(&core.policy, &unverified)?;
    if is_one_of_several {
        return decide_among(core, presented, &headers, trust, now, key_loads, read_own);
    }
    decide_under(trust, unverified, core, presented, now, key_loads, read_own)
        .map_err(|failed| failed.rejection)
}

/// Decides on a token whose issuer is trusted several times, each time with a different audience,
/// keys and rules. One trust that accepts the token is enough. If none does, the rejection comes
/// from the trust under which the token passed the most checks. A trust that has to ask the issuer comes first
/// and decides alone.
fn decide_among(
    core: &Arc<Core>,
    presented: &Presented<'_>,
    headers: &[KnownHeader],
    first: &Trust,
    now: NumericDate,
    key_loads: KeyLoads,
    read_own: fn(&Claims),
) -> Result<Decision, Rejection> {
    let may_load = !matches!(key_loads, KeyLoads::NotAllowed);
    let trusts = || core.policy.trusts_in(first.issuer.as_str());
    // A trust that asks the issuer comes first, so the order of the settings has no effect.
    let keyed =
        |asks| trusts().filter(move |trust| trust.has_keys && trust.introspects_jwts() == asks);
    let decide = |trust: &Trust, key_loads| {
        let unverified = Unverified::parse(presented.token(), headers)?;
        decide_under(trust, unverified, core, presented, now, key_loads, read_own)
    };
    let mut farthest: Option<Failed> = None;
    // The first pass loads nothing, because the present keys may verify the token.
    for key_loads in [KeyLoads::NotAllowed, key_loads] {
        let mut loads = Vec::new();
        farthest = None;
        for trust in keyed(true).chain(keyed(false)) {
            match decide(trust, key_loads) {
                Ok(Decision::Loading(load)) => loads.push(load),
                Ok(decided) => return Ok(decided),
                Err(failed) => farthest = Some(failed.unless_farther(farthest)?),
            }
        }
        if let Some(load) = LookUp::of_all(loads) {
            return Ok(Decision::Loading(load));
        }
        let stage = farthest.as_ref().map(|failed| failed.stage);
        let may_lack_a_key = stage >= Some(Stage::Algorithm) && stage < Some(Stage::Attested);
        if !may_load || !may_lack_a_key {
            break;
        }
    }
    // Without keys, the token must be introspected, so these trusts come last.
    for trust in trusts().filter(|trust| !trust.has_keys) {
        match decide(trust, key_loads) {
            Ok(decided) => return Ok(decided),
            Err(failed) => farthest = Some(failed.unless_farther(farthest)?),
        }
    }
    let Some(Failed { stage, rejection }) = farthest else {
        return Err(Rejection::of(RejectionKind::IssuerMismatch));
    };
    if stage == Stage::Audience {
        let unverified = Unverified::parse(presented.token(), headers)?;
        let audiences = trusts().flat_map(|trust| trust.audience.ids());
        return Err(validate::audience_mismatch(
            audiences,
            unverified.untrusted(),
        ));
    }
    Err(rejection)
}

/// Why a token is not accepted under one trust, and how many checks it passed.
struct Failed {
    stage: Stage,
    rejection: Rejection,
}

/// The stage at which a token failed, from the least informative failure to the most informative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Audience,
    Claims,
    Algorithm,
    Key,
    Signature,
    /// Keys or the issuer were not available. This is not the fault of the token, whatever the other keys
    /// say.
    Unavailable,
    /// The signature was valid.
    Attested,
    /// All checks before it have passed, so the issuer is asked about the token.
    Asked,
}

impl Failed {
    fn asked(rejection: Rejection) -> Self {
        let stage = Stage::Asked;
        Self { stage, rejection }
    }

    /// This failure, or the known one if the token came farther there. A trust that asks decides alone, as it does
    /// when its answer is waited for: neither its rejection nor an outage leads to a trust that does not ask.
    fn unless_farther(self, known: Option<Self>) -> Result<Self, Rejection> {
        if self.stage == Stage::Asked {
            return Err(self.rejection);
        }
        Ok(known
            .filter(|known| self.stage < known.stage)
            .unwrap_or(self))
    }
}

impl From<Rejection> for Failed {
    fn from(rejection: Rejection) -> Self {
        let stage = match rejection.kind() {
            RejectionKind::AudienceMismatch => Stage::Audience,
            RejectionKind::AlgorithmNotAllowed => Stage::Algorithm,
            RejectionKind::UnknownKey => Stage::Key,
            RejectionKind::BadSignature => Stage::Signature,
            RejectionKind::IntrospectionUnavailable | RejectionKind::KeySourceUnavailable => {
                Stage::Unavailable
            }
            _ => Stage::Claims,
        };
        Self { stage, rejection }
    }
}

/// Decides on a token under one trust in its issuer.
fn decide_under(
    trust: &Trust,
    unverified: Unverified<'_>,
    core: &Arc<Core>,
    presented: &Presented<'_>,
    now: NumericDate,
    key_loads: KeyLoads,
    read_own: fn(&Claims),
) -> Result<Decision, Failed> {
    if !trust.has_keys {
        let decided = opaque::decide_without_keys(core, trust, presented, now, read_own);
        return decided.map_err(|rejection| match trust.introspects_jwts() {
            true => Failed::asked(rejection),
            false => rejection.into(),
        });
    }
    validate::reject_early(&unverified, trust, now)?;
    binding::check(unverified.untrusted(), presented)?;

    let step = attest(
        unverified,
        &trust.issuer_keys(),
        now,
        key_loads,
        &core.known_headers,
    )?;
    let Proven {
        attested,
        generation,
    } = match step {
        Step::Done(proven) => proven,
        Step::Loading(load) => return Ok(Decision::Loading(load)),
    };

    let of_attested = |rejection| Failed {
        stage: Stage::Attested,
        rejection,
    };
    let validated = validate::validate(attested, trust, now).map_err(of_attested)?;
    let mut claims = Claims::new(validated, &core.settings.clock);
    if trust.introspects_jwts() {
        let asked = opaque::decide_jwt(core, trust, presented, claims, generation, now, read_own);
        return asked.map_err(Failed::asked);
    }
    core.verdicts.remember(
        presented.token(),
        &mut claims,
        read_own,
        trust,
        generation,
        now..NumericDate(f64::INFINITY),
    );
    last_checks(claims, trust, presented, core).map_err(of_attested)
}

/// Decides after a look-up of keys has ended, whether or not it brought the key.
pub(super) async fn decide_after(
    look_up: LookUp,
    core: &Arc<Core>,
    kept: &Kept,
    read_own: fn(&Claims),
) -> Result<Claims, Rejection> {
    let presented = kept.presented();
    let deadline = look_up.deadline;
    let decided = attest::after(look_up, |key_loads| {
        Ok(match decide(core, &presented, key_loads, read_own)? {
            Decision::Loading(next) => Step::Loading(next),
            decided => Step::Done(decided),
        })
    });
    decided.await?.wait(core, kept, Some(deadline)).await
}
