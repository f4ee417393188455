//! The rules for the tokens of one issuer, their setters, and the types of their values.

use std::sync::Arc;
use std::time::Duration;

use crate::error::config::ConfigError;
use crate::error::rejection::Excerpt;
use crate::keys::algorithm::Algorithm;
use crate::token::header::is_same_media_type;
use crate::token::pointer::ClaimPointer;

/// Maximum difference between the clocks of the issuer and this machine. Default: 60 seconds.
/// Maximum: 300 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leeway(Duration);

impl Leeway {
    /// No leeway.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Creates a leeway of this duration.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Leeway`] above 300 seconds. A larger leeway would not correct clocks but
    /// extend the lifetime of every token.
    pub fn new(leeway: Duration) -> Result<Self, ConfigError> {
        if leeway > Duration::from_secs(300) {
            return Err(ConfigError::Leeway { input: leeway });
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

/// A claim that can be required in addition to `iss`, `aud` and `exp`.
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

/// Rules for the tokens of one issuer, or of all issuers. A rule that is `None` or empty is not set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) algorithms: Option<Arc<[Algorithm]>>,
    pub(crate) leeway: Option<Leeway>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) is_access_token_profile: bool,
    pub(crate) required: Option<Arc<[RequiredClaim]>>,
    /// Claims of the access token profile that a token may leave out.
    pub(crate) optional: Option<Arc<[RequiredClaim]>>,
    pub(crate) types: Arc<[Box<str>]>,
    pub(crate) is_expiry_optional: bool,
    pub(crate) accepts_id_tokens: bool,
    pub(crate) requires_binding: bool,
    pub(crate) requires_key_id: bool,
    pub(crate) scopes_from: Arc<[ClaimPointer]>,
    pub(crate) roles_from: Arc<[ClaimPointer]>,
    pub(crate) client_mark: Option<(ClaimPointer, Arc<str>)>,
}

impl Rules {
    /// The rules of one issuer, completed from the rules for `all` issuers.
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
            requires_binding: self.requires_binding || all.requires_binding,
            requires_key_id: self.requires_key_id || all.requires_key_id,
            scopes_from: set(self.scopes_from, &all.scopes_from),
            roles_from: set(self.roles_from, &all.roles_from),
            client_mark: self.client_mark.or(all.client_mark),
        }
    }

    /// The reason, if some of these rules of one issuer exclude each other, or some of the rules for `all` issuers.
    pub(super) fn contradiction_within(&self, all: &Self) -> Option<String> {
        if (self.algorithms.as_ref().or(all.algorithms.as_ref())).is_some_and(|all| all.is_empty())
        {
            return Some("no token is accepted, because `algorithms` names none".to_owned());
        }
        // An issuer may be stricter than the layer, and ignore the types of the layer.
        let (rules, has_profile) = match self.types.is_empty() {
            true => (all, all.is_access_token_profile),
            false => (
                self,
                self.is_access_token_profile || all.is_access_token_profile,
            ),
        };
        let mut types = rules.types();
        let typ = types.find(|typ| !is_same_media_type(ACCESS_TOKEN, typ))?;
        has_profile.then(|| {
            format!(
                "the type {} of `accept_type` is not accepted, because `access_token_profile` demands {ACCESS_TOKEN:?}",
                Excerpt(typ)
            )
        })
    }

    pub(crate) fn leeway(&self) -> Duration {
        self.leeway.unwrap_or_default().duration()
    }

    /// The additional accepted types.
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

    /// The claims that are required in addition to `iss`, `aud` and `exp`.
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

/// The setters of rules: on [`JwtAuth`](crate::JwtAuth) for all issuers, on
/// [`TrustedIssuer`](crate::TrustedIssuer) for one. `$rules` names a method that returns the
/// [`Rules`].
macro_rules! rule_setters {
    ($rules:ident) => {
        /// Sets the accepted signature algorithms. Default: the algorithms of the keys.
        ///
        /// An algorithm is accepted only if a key fits it. A key without an algorithm (a JWK without
        /// `alg`) verifies only the usual algorithm of its type by default. With this setting, it
        /// verifies every listed algorithm that its type allows.
        pub fn algorithms(
            mut self,
            algorithms: impl IntoIterator<Item = crate::Algorithm>,
        ) -> Self {
            let rules = self.$rules();
            rules.algorithms = Some(algorithms.into_iter().collect());
            self
        }

        /// Sets the maximum difference between the clocks of the issuer and this machine. Default:
        /// 60 seconds.
        pub fn leeway(mut self, leeway: crate::policy::rules::Leeway) -> Self {
            let rules = self.$rules();
            rules.leeway = Some(leeway);
            self
        }

        /// Sets the maximum lifetime of a token, from `iat` to `exp`. Default: no limit.
        ///
        /// Both times come from the issuer, so no [leeway](Self::leeway) is added. A token without
        /// `iat` is treated as issued now. In that case the leeway is added, because two clocks are
        /// compared.
        pub fn max_lifetime(mut self, lifetime: std::time::Duration) -> Self {
            let rules = self.$rules();
            rules.max_lifetime = Some(lifetime);
            self
        }

        /// Sets the maximum age of a token, counted from `iat`. With this setting, a token without
        /// `iat` is rejected. Default: no limit.
        pub fn max_age(mut self, age: std::time::Duration) -> Self {
            let rules = self.$rules();
            rules.max_age = Some(age);
            self
        }

        /// Requires the access token profile of [RFC 9068]: `typ` is `at+jwt`; `sub`, `client_id`,
        /// `iat` and `jti` are present; `scope` is a string; `auth_time`, `acr` and `amr`, if present,
        /// have the types of section 2.2.1. Default: off.
        ///
        /// If an issuer leaves out one of these claims, name it with
        /// [`optional_claims`](Self::optional_claims).
        ///
        /// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
        pub fn access_token_profile(mut self) -> Self {
            let rules = self.$rules();
            rules.is_access_token_profile = true;
            self
        }

        /// Sets the claims that are required in addition to `iss`, `aud`, `exp` and the claims of
        /// [`access_token_profile`](Self::access_token_profile). Default: none.
        ///
        /// Each call replaces the list. An empty `sub`, `client_id` or `jti` counts as absent.
        pub fn required_claims(
            mut self,
            claims: impl IntoIterator<Item = crate::policy::rules::RequiredClaim>,
        ) -> Self {
            let rules = self.$rules();
            rules.required = Some(claims.into_iter().collect());
            self
        }

        /// Sets the claims of [`access_token_profile`](Self::access_token_profile) that a token may
        /// leave out. Default: none.
        ///
        /// Each call replaces the list. A claim in [`required_claims`](Self::required_claims) stays
        /// required.
        pub fn optional_claims(
            mut self,
            claims: impl IntoIterator<Item = crate::policy::rules::RequiredClaim>,
        ) -> Self {
            let rules = self.$rules();
            rules.optional = Some(claims.into_iter().collect());
            self
        }

        /// Accepts another value of the header parameter `typ`, such as `JOSE`. Default: a token
        /// without `typ` and the types `JWT` and `at+jwt` are accepted; every other type is rejected.
        ///
        /// Each call adds a value. Use this for an issuer that is known to send this type. If several
        /// issuers are trusted, set it on that [`TrustedIssuer`](crate::TrustedIssuer). Case and the
        /// prefix `application/` are ignored ([RFC 7515, section
        /// 4.1.9](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9)). Such a token is still
        /// rejected if its claims mark it as another kind of token. With
        /// [`access_token_profile`](Self::access_token_profile), no additional type is accepted.
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

        /// Rejects tokens without a key id (`kid`). Default: up to 8 keys that fit the algorithm of
        /// such a token are tried.
        pub fn require_key_id(mut self) -> Self {
            let rules = self.$rules();
            rules.requires_key_id = true;
            self
        }

        /// Rejects tokens without `cnf` ([RFC 7800]), which are not bound to a key or certificate of
        /// the caller. Default: such a token is accepted as a bearer token.
        ///
        /// A thief cannot use a bound token ([RFC 9700, section
        /// 2.2.1](https://www.rfc-editor.org/rfc/rfc9700#section-2.2.1)). The binding of a bound token is
        /// always checked, with or without this setting. Without
        /// [`client_certificates`](crate::JwtAuth::client_certificates), this setting therefore rejects every
        /// token, and [`check_settings`](crate::JwtAuth::check_settings) returns an error. For single routes,
        /// use [`BoundToken`](crate::scope::BoundToken).
        ///
        /// [RFC 7800]: https://www.rfc-editor.org/rfc/rfc7800
        pub fn require_bound_tokens(mut self) -> Self {
            let rules = self.$rules();
            rules.requires_binding = true;
            self
        }

        /// Reads scopes from this claim. Default: `scope`, or `scp` if there is no `scope`.
        ///
        /// Each call adds a claim. The claim must be a string of names separated by spaces, or an
        /// array of strings. `null` counts as absent. A token with any other shape is rejected.
        ///
        /// Creating a [`ClaimPointer`](crate::token::ClaimPointer) can fail, so it is a separate step:
        /// `.scopes_from(ClaimPointer::new("/permissions")?)`, or `.scopes_from("/permissions".parse()?)`.
        pub fn scopes_from(mut self, claim: crate::token::ClaimPointer) -> Self {
            let rules = self.$rules();
            rules.scopes_from = rules.scopes_from.iter().cloned().chain([claim]).collect();
            self
        }

        /// Reads roles from this claim. Default: `roles`, `entitlements`, `permissions`,
        /// `cognito:groups`, Keycloak's `realm_access.roles` and `resource_access.<audience>.roles`.
        ///
        /// Each call adds a claim. `groups` is read only if this setter names it. Some products let
        /// their users create groups, and a user who creates a group called `admin` must not get that
        /// role.
        ///
        /// The claim must be a string, an array of strings, or an array of objects with a `value`
        /// (SCIM). `null` counts as absent. A token with any other shape is rejected. If an issuer
        /// sends another shape under one of the default names, use this setter to name the claim
        /// with the roles.
        ///
        /// Creating a [`ClaimPointer`](crate::token::ClaimPointer) can fail, so it is a separate
        /// step: `.roles_from(ClaimPointer::new("/groups")?)`, or
        /// `.roles_from("/groups".parse()?)`.
        pub fn roles_from(mut self, claim: crate::token::ClaimPointer) -> Self {
            let rules = self.$rules();
            rules.roles_from = rules.roles_from.iter().cloned().chain([claim]).collect();
            self
        }

        /// Treats a token as issued to the client itself and not to a user, if this claim has this
        /// value; see [`Claims::is_client`](crate::Claims::is_client). Default: none.
        ///
        /// `null` counts as absent. A token with any other value that is not a string is rejected.
        pub fn client_when(mut self, claim: crate::token::ClaimPointer, text: &str) -> Self {
            let rules = self.$rules();
            rules.client_mark = Some((claim, text.into()));
            self
        }

        /// Accepts tokens without `exp`. Default: such tokens are rejected.
        ///
        /// # Security
        ///
        /// A token without `exp` stays valid forever, even for an attacker who finds it. Replace the
        /// check with [`max_age`](Self::max_age) or a revocation check.
        pub fn insecure_allow_missing_expiry(mut self) -> Self {
            let rules = self.$rules();
            rules.is_expiry_optional = true;
            self
        }

        /// Accepts tokens with the marks of an ID token: `nonce`, `at_hash`, `c_hash`, Cognito's
        /// `token_use` or Keycloak's `typ`. Default: such tokens are rejected. Tokens with the marks
        /// of any other kind are always rejected: logout tokens, refresh tokens, DPoP proofs, status
        /// lists and introspection responses.
        ///
        /// # Security
        ///
        /// An ID token tells a client who signed in. It does not authorize anyone to call an API, and
        /// every client of the issuer can get one. Replace the check with an audience that only this
        /// API's own client has.
        pub fn insecure_accept_id_tokens(mut self) -> Self {
            let rules = self.$rules();
            rules.accepts_id_tokens = true;
            self
        }
    };
}

pub(crate) use rule_setters;

/// The type that RFC 9068, section 2.1, requires.
const ACCESS_TOKEN: &str = "at+jwt";
/// The claims that RFC 9068, section 2.2, requires in addition to `iss`, `aud` and `exp`.
const PROFILE: [RequiredClaim; 4] = [
    RequiredClaim::Subject,
    RequiredClaim::ClientId,
    RequiredClaim::IssuedAt,
    RequiredClaim::Id,
];
