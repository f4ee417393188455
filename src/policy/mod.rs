//! What a verifier insists on: issuers, audiences, and the rules for each issuer.

mod grants;
mod rules;
pub(crate) mod validate;

use std::fmt;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::error::rejection::Rejection;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::reports::Reports;
use crate::revocation::Revocation;
use crate::token::known_headers::Headers;
use crate::token::limits::MaxTokenSize;
use crate::verdicts::Memory;
pub use rules::{IssuerRules, Leeway, RequiredClaim};

/// One issuer with everything that is its own: nothing here is ever used for another, and nothing of
/// another trust in the same issuer either.
#[derive(Clone)]
pub(crate) struct Trust {
    /// Its position in the policy.
    pub(crate) index: usize,
    pub(crate) issuer: Issuer,
    pub(crate) audience: Audience,
    pub(crate) keys: KeyStore,
    pub(crate) rules: IssuerRules,
    /// What this issuer's rules change of those for all.
    adjust: Option<Arc<dyn Fn(IssuerRules) -> IssuerRules + Send + Sync>>,
}

/// The whole policy of a verifier.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) trusts: Vec<Trust>,
    rules: IssuerRules,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) revocation: Option<Arc<dyn Revocation>>,
    pub(crate) headers: Headers,
    pub(crate) memory: Memory,
    pub(crate) max_token_size: MaxTokenSize,
    pub(crate) reports: Arc<Reports>,
}

impl Policy {
    pub(crate) fn new() -> Self {
        Self {
            trusts: Vec::new(),
            rules: IssuerRules::default(),
            clock: Arc::new(SystemClock),
            revocation: None,
            headers: Headers::default(),
            memory: Memory::default(),
            max_token_size: MaxTokenSize::default(),
            reports: Arc::default(),
        }
    }

    /// Tells the operator of a rejection.
    pub(crate) fn report(&self, rejection: &Rejection) {
        self.reports.rejected(rejection, &*self.clock);
    }

    /// Adds a trust in an issuer, beside those that there are.
    pub(crate) fn trust(
        &mut self,
        issuer: Issuer,
        audience: Audience,
        keys: KeyStore,
        adjust: Option<Arc<dyn Fn(IssuerRules) -> IssuerRules + Send + Sync>>,
    ) {
        self.trusts.push(Trust {
            index: self.trusts.len(),
            issuer,
            audience,
            keys,
            rules: self.rules.clone(),
            adjust,
        });
        self.rules(|rules| rules);
    }

    /// Changes the rules for all issuers; what one of them has of its own stays.
    pub(crate) fn rules(&mut self, change: impl FnOnce(IssuerRules) -> IssuerRules) {
        self.rules = change(std::mem::take(&mut self.rules));
        for trust in &mut self.trusts {
            let rules = self.rules.clone();
            trust.rules = trust
                .adjust
                .as_ref()
                .map_or(rules.clone(), |adjust| adjust(rules));
        }
    }

    pub(crate) fn trusts_in<'p>(&'p self, issuer: &str) -> impl Iterator<Item = &'p Trust> {
        self.trusts
            .iter()
            .filter(move |trust| trust.issuer.as_str() == issuer)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self
            .trusts
            .iter()
            .map(|trust| (&trust.issuer, &trust.audience))
            .collect();
        f.debug_struct("Policy")
            .field("trusts", &issuers)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
