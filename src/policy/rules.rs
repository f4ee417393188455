//! The rules for the tokens of one issuer, and the words that they are made of.

use std::sync::Arc;
use std::time::Duration;

use crate::error::config::ConfigError;
use crate::keys::algorithm::Algorithm;
use crate::token::header::is_same_media_type;
use crate::token::pointer::ClaimPointer;

/// How far clocks may be apart: 60 seconds unless said otherwise, and 300 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leeway(Duration);

impl Leeway {
    /// No leeway at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A leeway of so much.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Leeway`] above 300 seconds: that is no difference between clocks but a
    /// longer life for every token.
    pub fn new(leeway: Duration) -> Result<Self, ConfigError> {
        if leeway > Duration::from_secs(300) {
            return Err(ConfigError::Leeway(leeway));
        }
        Ok(Self(leeway))
    }

    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Leeway {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

/// A claim that can be required beyond `iss`, `aud` and `exp`, which always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequiredClaim {
    /// `client_id`.
    ClientId,
    /// `jti`.
    Id,
    /// `iat`.
    IssuedAt,
    /// `nbf`.
    NotBefore,
    /// `sub`.
    Subject,
}

/// Rules for the tokens of one issuer, or of all of them. What is `None` or empty here is not set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) algorithms: Option<Arc<[Algorithm]>>,
    pub(crate) leeway: Option<Leeway>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) is_access_token_profile: bool,
    pub(crate) required: Option<Arc<[RequiredClaim]>>,
    /// Claims of the profile that the issuer may leave out.
    pub(crate) optional: Option<Arc<[RequiredClaim]>>,
    pub(crate) types: Arc<[Box<str>]>,
    pub(crate) is_expiry_optional: bool,
    pub(crate) accepts_id_tokens: bool,
    pub(crate) requires_key_id: bool,
    pub(crate) scopes_from: Arc<[ClaimPointer]>,
    pub(crate) roles_from: Arc<[ClaimPointer]>,
    pub(crate) client_mark: Option<(ClaimPointer, Arc<str>)>,
}

impl Rules {
    /// The rules of one issuer: what it does not set is as it is for `all`.
    pub(crate) fn within(self, all: &Self) -> Self {
        fn set<T>(own: Arc<[T]>, all: &Arc<[T]>) -> Arc<[T]> {
            if own.is_empty() { Arc::clone(all) } else { own }
        }
        let all = all.clone();
        Self {
            algorithms: self.algorithms.or(all.algorithms),
            leeway: self.leeway.or(all.leeway),
            max_lifetime: self.max_lifetime.or(all.max_lifetime),
            max_age: self.max_age.or(all.max_age),
            is_access_token_profile: self.is_access_token_profile || all.is_access_token_profile,
            required: self.required.or(all.required),
            optional: self.optional.or(all.optional),
            types: set(self.types, &all.types),
            is_expiry_optional: self.is_expiry_optional || all.is_expiry_optional,
            accepts_id_tokens: self.accepts_id_tokens || all.accepts_id_tokens,
            requires_key_id: self.requires_key_id || all.requires_key_id,
            scopes_from: set(self.scopes_from, &all.scopes_from),
            roles_from: set(self.roles_from, &all.roles_from),
            client_mark: self.client_mark.or(all.client_mark),
        }
    }

    pub(crate) fn leeway(&self) -> Duration {
        self.leeway.unwrap_or_default().duration()
    }

    /// The further types that are accepted.
    pub(crate) fn types(&self) -> impl Iterator<Item = &str> {
        self.types.iter().map(AsRef::as_ref)
    }

    pub(crate) fn accepts_type(&self, typ: &str) -> bool {
        !self.is_access_token_profile
            && self
                .types
                .iter()
                .any(|accepted| is_same_media_type(accepted, typ))
    }

    /// The claims that are required beyond `iss`, `aud` and `exp`.
    pub(crate) fn required(&self) -> impl Iterator<Item = RequiredClaim> {
        let profile: &[_] = if self.is_access_token_profile {
            &PROFILE
        } else {
            &[]
        };
        let optional = self.optional.as_deref().unwrap_or_default();
        let profile = profile.iter().filter(|claim| !optional.contains(claim));
        let required = self.required.as_deref().unwrap_or_default();
        required.iter().chain(profile).copied()
    }
}

/// The setters of rules, which [`JwtAuth`](crate::JwtAuth) has for all issuers, and
/// [`TrustedIssuer`](crate::TrustedIssuer) for one. `$rules` names a method that gives the [`Rules`].
macro_rules! rule_setters {
    ($rules:ident) => {
        /// The algorithms that are accepted; default: those of the keys.
        ///
        /// An algorithm that no key fits stays refused. A key without an algorithm of its own (a JWK
        /// without `alg`) serves each of these that its type allows, instead of the usual one alone.
        pub fn algorithms(
            mut self,
            algorithms: impl IntoIterator<Item = crate::Algorithm>,
        ) -> Self {
            let rules = self.$rules();
            rules.algorithms = Some(algorithms.into_iter().collect());
            self
        }

        /// How far clocks may be apart; default: 60 s.
        pub fn leeway(mut self, leeway: crate::policy::Leeway) -> Self {
            let rules = self.$rules();
            rules.leeway = Some(leeway);
            self
        }

        /// Maximum lifetime of a token, from `iat` to `exp`. Default: none.
        ///
        /// Both are times of the issuer, so the [leeway](Self::leeway) does not count. A token without
        /// `iat` is taken as issued now; the leeway then counts, because that compares two clocks.
        pub fn max_lifetime(mut self, lifetime: std::time::Duration) -> Self {
            let rules = self.$rules();
            rules.max_lifetime = Some(lifetime);
            self
        }

        /// The longest time since `iat`, which is then required; default: any.
        pub fn max_age(mut self, age: std::time::Duration) -> Self {
            let rules = self.$rules();
            rules.max_age = Some(age);
            self
        }

        /// Requires the profile for access tokens of [RFC 9068]: `typ` is `at+jwt`; `sub`, `client_id`,
        /// `iat` and `jti` are present; `scope` is a string; `auth_time`, `acr` and `amr` have the types
        /// of section 2.2.1 where they are present. Default: off.
        ///
        /// [`optional_claims`](Self::optional_claims) is for an issuer that leaves out one of the
        /// claims.
        ///
        /// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
        pub fn access_token_profile(mut self) -> Self {
            let rules = self.$rules();
            rules.is_access_token_profile = true;
            self
        }

        /// The claims that are required beyond `iss`, `aud` and `exp`, and beyond those of
        /// [`access_token_profile`](Self::access_token_profile); replaces those named before. An empty
        /// `sub`, `client_id` or `jti` is absent. Default: none.
        pub fn required_claims(
            mut self,
            claims: impl IntoIterator<Item = crate::policy::RequiredClaim>,
        ) -> Self {
            let rules = self.$rules();
            rules.required = Some(claims.into_iter().collect());
            self
        }

        /// The claims of [`access_token_profile`](Self::access_token_profile) that this issuer may leave
        /// out; replaces those named before. One that [`required_claims`](Self::required_claims) names
        /// stays required. Default: none.
        pub fn optional_claims(
            mut self,
            claims: impl IntoIterator<Item = crate::policy::RequiredClaim>,
        ) -> Self {
            let rules = self.$rules();
            rules.optional = Some(claims.into_iter().collect());
            self
        }

        /// Accepts this further value of the header parameter `typ`, such as `JOSE`; called again, it
        /// adds one. Default: absent, `JWT` and `at+jwt` are accepted, every other value is rejected.
        ///
        /// It is for one issuer that is known to send it, so set it with
        /// a [`TrustedIssuer`](crate::TrustedIssuer) where other issuers are trusted too. Case does not
        /// count, and neither does the prefix `application/`
        /// ([RFC 7515, section 4.1.9](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9)). Such a
        /// token is still rejected if its claims mark it as a token of another kind, and under
        /// [`access_token_profile`](Self::access_token_profile) no other type is accepted.
        pub fn accept_type(mut self, typ: &str) -> Self {
            let rules = self.$rules();
            rules.types = rules
                .types
                .iter()
                .cloned()
                .chain([Box::from(typ)])
                .collect();
            self
        }

        /// Refuses tokens that name no key. Default: such a token is tried with the keys that its
        /// algorithm fits, 8 at most.
        pub fn require_key_id(mut self) -> Self {
            let rules = self.$rules();
            rules.requires_key_id = true;
            self
        }

        /// Reads scopes from this claim, a string of words or an array; default: `scope`, else `scp`.
        /// Called again, it adds a claim. A claim that is read and has another shape rejects the token.
        pub fn scopes_from(mut self, claim: crate::token::ClaimPointer) -> Self {
            let rules = self.$rules();
            rules.scopes_from = rules.scopes_from.iter().cloned().chain([claim]).collect();
            self
        }

        /// Reads roles from this claim, a string or an array; default: `roles`, `entitlements`,
        /// `permissions`, `cognito:groups`, Keycloak's `realm_access.roles` and
        /// `resource_access.<audience>.roles`. Called again, it adds a claim.
        ///
        /// `groups` is read only if it is named here, because some products let their users make groups:
        /// then whoever makes a group called `admin` would be one.
        ///
        /// A claim that is read has to be a string, or an array of strings or of objects with a `value`
        /// (SCIM). Another shape rejects the token, and `null` is absent. If an issuer sends something
        /// else under one of the default names, name the claim that has the roles.
        pub fn roles_from(mut self, claim: crate::token::ClaimPointer) -> Self {
            let rules = self.$rules();
            rules.roles_from = rules.roles_from.iter().cloned().chain([claim]).collect();
            self
        }

        /// Says that a token whose claim has this text is a client's own, and nobody's in person; see
        /// [`Claims::is_client`](crate::Claims::is_client). A claim that is there and is no string rejects
        /// the token.
        pub fn client_when(mut self, claim: crate::token::ClaimPointer, text: &str) -> Self {
            let rules = self.$rules();
            rules.client_mark = Some((claim, text.into()));
            self
        }

        /// Lets tokens in that have no `exp`.
        ///
        /// # Security
        ///
        /// Such a token opens the API forever, to whoever finds it. What must replace the check:
        /// [`max_age`](Self::max_age), or a revocation check.
        pub fn insecure_allow_missing_expiry(mut self) -> Self {
            let rules = self.$rules();
            rules.is_expiry_optional = true;
            self
        }

        /// Accepts tokens with the marks of an ID token: `nonce`, `at_hash`, `c_hash`, Cognito's
        /// `token_use`, Keycloak's `typ`. The marks of every other kind are rejected all the same: logout
        /// tokens, refresh tokens, DPoP proofs, status lists, introspection answers.
        ///
        /// # Security
        ///
        /// An ID token tells a client who signed in; it is no permission to call an API, and every
        /// client of the issuer has some. What must replace the check: an audience that only this
        /// API's own client has.
        pub fn insecure_accept_id_tokens(mut self) -> Self {
            let rules = self.$rules();
            rules.accepts_id_tokens = true;
            self
        }
    };
}

pub(crate) use rule_setters;

/// The claims that RFC 9068, section 2.2, requires beyond `iss`, `aud` and `exp`.
const PROFILE: [RequiredClaim; 4] = [
    RequiredClaim::Subject,
    RequiredClaim::ClientId,
    RequiredClaim::IssuedAt,
    RequiredClaim::Id,
];
