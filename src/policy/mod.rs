//! The rules that a token must meet: trusted issuers, their audiences, and the rules for each issuer.

mod grants;
pub(crate) mod rules;
pub(crate) mod trusted_issuer;
pub(crate) mod validate;

use std::collections::HashSet;
use std::fmt;

use crate::attest::IssuerKeys;
use crate::bytes;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::{Excerpt, Rejection};
use crate::introspection::Introspection;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::policy::rules::Rules;
pub use rules::{Leeway, RequiredClaim};
use trusted_issuer::TrustedIssuer;

/// One trusted issuer with its own audience, keys and rules. They are never used for another issuer, or
/// for another trust in the same issuer.
pub(crate) struct Trust {
    /// Its position in the policy.
    pub(crate) index: usize,
    /// Whether this is the first trust in its issuer.
    is_first_of_issuer: bool,
    pub(crate) issuer: Issuer,
    pub(crate) audience: Audience,
    pub(crate) keys: KeyStore,
    /// Whether JWTs are verified with the keys.
    pub(crate) has_keys: bool,
    pub(crate) introspection: Option<Introspection>,
    pub(crate) rules: Rules,
}

impl Trust {
    /// The keys that verify statements of the issuer.
    pub(crate) fn issuer_keys(&self) -> IssuerKeys<'_> {
        IssuerKeys {
            issuer: &self.issuer,
            keys: &self.keys,
            algorithms: self.rules.algorithms.as_deref(),
            requires_key_id: self.rules.requires_key_id,
        }
    }

    /// Whether the JWTs of the issuer are introspected too.
    pub(crate) fn introspects_jwts(&self) -> bool {
        let mut introspection = self.introspection.iter();
        introspection.any(Introspection::introspects_jwts)
    }

    /// Whether an answer of the issuer may lack `aud`.
    fn allows_missing_audience(&self) -> bool {
        let mut introspection = self.introspection.iter();
        introspection.any(Introspection::allows_missing_audience)
    }
}

/// The trusted issuers, each with its rules.
pub(crate) struct Policy {
    trusts: Vec<Trust>,
    /// Whether opaque tokens are introspected at any issuer.
    takes_opaque_tokens: bool,
    /// The rules of an issuer that exclude each other.
    contradiction_of_rules: Option<String>,
}

impl Policy {
    /// Creates a policy of these issuers. `rules` apply to all of them.
    pub(crate) fn new(issuers: &[TrustedIssuer], rules: &Rules) -> Self {
        let mut known = HashSet::new();
        let trusts = issuers.iter().enumerate().map(|(index, trusted)| Trust {
            index,
            is_first_of_issuer: known.insert(trusted.issuer.as_str()),
            issuer: trusted.issuer.clone(),
            audience: trusted.audience.clone(),
            keys: trusted.keys.clone(),
            has_keys: trusted.has_keys,
            introspection: trusted.introspection.clone(),
            rules: trusted.rules.clone().within(rules),
        });
        let trusts: Vec<_> = trusts.collect();
        let contradiction_of_rules = issuers.iter().find_map(|trusted| {
            let reason = trusted.rules.contradiction_within(rules)?;
            Some(format!("issuer {}: {reason}", trusted.issuer))
        });
        Self {
            contradiction_of_rules,
            takes_opaque_tokens: trusts.iter().any(|trust| trust.introspection.is_some()),
            trusts,
        }
    }

    /// Whether opaque tokens are introspected at any issuer. If not, no token counts as opaque.
    pub(crate) fn takes_opaque_tokens(&self) -> bool {
        self.takes_opaque_tokens
    }

    /// The trust in the issuer that issued this opaque token, by the prefix of the token. A token is sent to
    /// one issuer only.
    pub(crate) fn issuer_of_opaque(&self, token: &[u8]) -> Result<&Trust, Rejection> {
        let mut trusts = self.introspecting().filter(|(_, introspection)| {
            token.starts_with(introspection.token_prefix().as_bytes())
        });
        let Some((trust, _)) = trusts.next() else {
            return Err(Rejection::because(
                RejectionKind::MalformedToken,
                "token is opaque, and has the prefix of no introspecting issuer",
            ));
        };
        if trusts.next().is_some() {
            return Err(Rejection::without_outage(
                RejectionKind::IntrospectionUnavailable,
                "token is opaque, and several introspecting issuers claim its prefix".into(),
            ));
        }
        Ok(trust)
    }

    /// The reason, if two trusts may claim the same opaque token, or the same JWT without keys, or if the rules of
    /// an issuer exclude each other.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let of_jwts = || {
            self.trusts
                .iter()
                .find_map(|it| self.contradiction_of_jwts(it))
        };
        let of_rules = || self.contradiction_of_rules.clone();
        self.contradiction_of_opaque()
            .or_else(of_jwts)
            .or_else(of_rules)
    }

    /// The reason, if the issuer is trusted without keys several times, and would be asked about its JWTs
    /// each time. A JWT does not show which of these trusts it belongs to.
    pub(crate) fn contradiction_of_jwts(&self, trust: &Trust) -> Option<String> {
        let asks = |trust: &&Trust| !trust.has_keys && trust.introspects_jwts();
        let all = self.trusts_in(trust.issuer.as_str()).filter(asks);
        (asks(&trust) && all.count() > 1).then(|| {
            format!(
                "issuer {} is trusted without keys and with `introspect_jwts` several times: trust it once, \
                 with all audiences",
                trust.issuer
            )
        })
    }

    fn contradiction_of_opaque(&self) -> Option<String> {
        let is_usable = |prefix: &str| bytes::all(prefix.as_bytes(), bytes::is_token68_character);
        let mut unusable = self.introspecting();
        if let Some((trust, one)) = unusable.find(|(_, one)| !is_usable(one.token_prefix())) {
            return Some(format!(
                "no opaque token of issuer {} begins with its prefix {}, which has other characters than a token",
                trust.issuer,
                Excerpt(one.token_prefix())
            ));
        }
        self.introspecting().enumerate().find_map(|(at, one)| {
            let (trust, prefix) = (one.0, one.1.token_prefix());
            let mut others = self.introspecting().skip(at.saturating_add(1));
            let (other, other_prefix) = others.find_map(|(other, introspection)| {
                let other_prefix = introspection.token_prefix();
                let overlap = prefix.starts_with(other_prefix) || other_prefix.starts_with(prefix);
                overlap.then_some((other, other_prefix))
            })?;
            let why = match (prefix, other_prefix) {
                ("", "") => "neither has a prefix: add `Introspection::prefix`".to_owned(),
                _ => format!(
                    "one of the prefixes {} and {} begins with the other",
                    Excerpt(prefix),
                    Excerpt(other_prefix)
                ),
            };
            Some(format!(
                "issuers {} and {} may claim the same opaque token, because {why}",
                trust.issuer, other.issuer
            ))
        })
    }

    fn introspecting(&self) -> impl Iterator<Item = (&Trust, &Introspection)> {
        let trusts = self.trusts.iter();
        trusts.filter_map(|trust| Some((trust, trust.introspection.as_ref()?)))
    }

    /// The trusted issuers. An issuer that is trusted several times is listed once.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        let firsts = self.trusts.iter().filter(|trust| trust.is_first_of_issuer);
        firsts.map(|trust| &trust.issuer)
    }

    /// The trust at this position.
    pub(crate) fn trust(&self, index: usize) -> Option<&Trust> {
        self.trusts.get(index)
    }

    pub(crate) fn trusts_in<'p>(&'p self, issuer: &str) -> impl Iterator<Item = &'p Trust> {
        self.trusts
            .iter()
            .filter(move |trust| trust.issuer.as_str() == issuer)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for trust in &self.trusts {
            list.entry(&(&trust.issuer, &trust.audience, &trust.rules));
        }
        list.finish()
    }
}
