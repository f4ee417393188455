//! [`TrustedIssuer`]: an issuer with its own audience, keys and rules.

use crate::introspection::Introspection;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::policy::rules::{Rules, rule_setters};

/// An issuer whose tokens are accepted, with its own audience, keys and rules.
///
/// Pass it to [`JwtAuth::trust`](crate::JwtAuth::trust).
///
/// A key of one issuer never verifies a token of another issuer, even if both use the same key id.
/// A rule that is not set on this type is taken from the layer. The order of the calls does not
/// matter.
///
/// # Example: a partner with strict rules, in addition to your own login
///
/// ```
/// use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer, JwtAuth, KeyStore, TrustedIssuer};
///
/// fn auth(own: KeyStore, partner: KeyStore) -> Result<JwtAuth, ConfigError> {
///     let audience = Audience::new("calendar-api")?;
///     let partner = TrustedIssuer::new(
///         Issuer::new("https://login.partner.example")?,
///         audience.clone(),
///         partner,
///     );
///     Ok(JwtAuth::new(Issuer::new("https://api.example.com")?, audience, own)
///         .trust(partner.access_token_profile().algorithms([Algorithm::ES256])))
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TrustedIssuer {
    pub(crate) issuer: Issuer,
    pub(crate) audience: Audience,
    pub(crate) keys: KeyStore,
    /// Whether JWTs are verified with the keys.
    pub(crate) has_keys: bool,
    pub(crate) introspection: Option<Introspection>,
    pub(crate) rules: Rules,
}

impl TrustedIssuer {
    /// Trusts this issuer. Its tokens are accepted if they are for this audience and signed with one
    /// of these keys.
    pub fn new(issuer: Issuer, audience: Audience, keys: impl Into<KeyStore>) -> Self {
        Self {
            issuer,
            audience,
            keys: keys.into(),
            has_keys: true,
            introspection: None,
            rules: Rules::default(),
        }
    }

    /// Trusts this issuer without keys. Each of its tokens is introspected at the issuer, and the
    /// answer is cached.
    ///
    /// JWTs are rejected unless [`introspect_jwts`](Introspection::introspect_jwts) is set.
    #[cfg(feature = "introspection")]
    pub fn introspected(issuer: Issuer, audience: Audience, introspection: Introspection) -> Self {
        Self {
            has_keys: false,
            introspection: Some(introspection),
            ..Self::new(issuer, audience, KeyStore::pending())
        }
    }

    /// Also accepts opaque tokens of this issuer. Each of them is introspected at the issuer, and the
    /// answer is cached. For the settings, see [`Introspection`]; for the reasons, see [the
    /// guide](crate::guide::opaque).
    ///
    /// A token with the shape of a JWT is verified with the keys and is never sent to the issuer, even if it
    /// is not valid. With [`introspect_jwts`](Introspection::introspect_jwts), valid JWTs are introspected
    /// too.
    #[cfg(feature = "introspection")]
    pub fn introspection(mut self, introspection: Introspection) -> Self {
        self.introspection = Some(introspection);
        self
    }

    rule_setters!(rules_mut);

    fn rules_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }
}
