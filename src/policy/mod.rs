//! The rules that a token must meet: trusted issuers, their audiences, and the rules for each issuer.

mod grants;
pub(crate) mod rules;
pub(crate) mod trusted_issuer;
pub(crate) mod validate;

use std::collections::HashSet;
use std::fmt;

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
    /// Whether no trust before it is in the same issuer.
    is_first_of_issuer: bool,
    pub(crate) issuer: Issuer,
    pub(crate) audience: Audience,
    pub(crate) keys: KeyStore,
    pub(crate) rules: Rules,
}

/// The trusted issuers, each with its rules.
pub(crate) struct Policy {
    trusts: Vec<Trust>,
}

impl Policy {
    /// A policy of these issuers. `rules` apply to all of them.
    pub(crate) fn new(issuers: &[TrustedIssuer], rules: &Rules) -> Self {
        let mut known = HashSet::new();
        let trusts = issuers.iter().enumerate().map(|(index, trusted)| Trust {
            index,
            is_first_of_issuer: known.insert(trusted.issuer.as_str()),
            issuer: trusted.issuer.clone(),
            audience: trusted.audience.clone(),
            keys: trusted.keys.clone(),
            rules: trusted.rules.clone().within(rules),
        });
        Self {
            trusts: trusts.collect(),
        }
    }

    /// The trusted issuers. One that is trusted several times is listed once.
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
