//! [`Token`]: what is kept of a verified token.

use std::sync::Arc;
use std::time::SystemTime;

use crate::cache::Growth;
use crate::claims::basis::Basis;
use crate::claims::names::NameSet;
use crate::claims::type_map::TypeMap;
use crate::clock::Clock;
use crate::policy::validate::Validated;
use crate::token::registered::Registered;

/// Everything that is kept of a verified token, shared by all [`Claims`](crate::Claims) of the token.
/// The text of the token is not kept.
///
/// The order of the fields matters: a request with a cached token needs only the reference count and
/// the own claims, and these two share one line of the processor's cache.
#[repr(C)]
pub(crate) struct Token {
    /// Own claims, in each requested type.
    own: TypeMap,
    registered: Registered,
    is_client: bool,
    /// Whether the token has `cnf`. It is stored here because each request reads the basis anyway.
    is_bound: bool,
    basis: Basis,
    /// The bytes of own claims.
    growth: Growth,
    /// The clock of the verifier, for requirements that check times.
    clock: Arc<dyn Clock>,
}

impl Token {
    pub(super) fn new(validated: Validated, clock: &Arc<dyn Clock>) -> Self {
        let (registered, is_client, attestation, trust) = validated.into_parts();
        Self {
            own: TypeMap::default(),
            is_bound: registered.confirmation().is_some(),
            registered,
            is_client,
            basis: Basis::new(trust, attestation),
            growth: Growth::new(),
            clock: Arc::clone(clock),
        }
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.is_bound
    }

    pub(super) fn basis(&self) -> &Basis {
        &self.basis
    }

    pub(super) fn growth(&self) -> &Growth {
        &self.growth
    }

    /// Frees spare memory.
    pub(super) fn shrink(&mut self) {
        self.registered.shrink();
    }

    pub(crate) fn is_client(&self) -> bool {
        self.is_client
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.registered
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.registered.clients().next()
    }

    pub(crate) fn scopes(&self) -> NameSet<'_> {
        NameSet::of(self.registered.scopes())
    }

    pub(crate) fn roles(&self) -> NameSet<'_> {
        NameSet::of(self.registered.roles())
    }

    /// Own claims, in each type in which they were read.
    pub(super) fn own(&self) -> &TypeMap {
        &self.own
    }

    /// The same token without own claims, and not in a cache.
    pub(super) fn without_own(&self) -> Self {
        Self {
            own: TypeMap::default(),
            registered: self.registered.clone(),
            is_client: self.is_client,
            is_bound: self.is_bound,
            basis: self.basis.clone(),
            growth: Growth::new(),
            clock: Arc::clone(&self.clock),
        }
    }
}
