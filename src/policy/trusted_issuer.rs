//! [`TrustedIssuer`]: an issuer with its own audience, keys and rules.

use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::policy::rules::{Rules, rule_setters};

/// An issuer whose tokens are accepted, with its own audience, keys and rules.
///
/// Pass it to [`JwtAuth::trust`](crate::JwtAuth::trust).
///
/// A key of one issuer never verifies a token of another issuer, even if both use the same key id.
/// A rule that is not set here is taken from the layer. The order of the calls does not matter.
///
/// # Example: a strict partner beside your own login
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
    pub(crate) rules: Rules,
}

impl TrustedIssuer {
    /// Trusts this issuer: its tokens are accepted if they are for this audience and signed with one
    /// of these keys.
    pub fn new(issuer: Issuer, audience: Audience, keys: impl Into<KeyStore>) -> Self {
        Self {
            issuer,
            audience,
            keys: keys.into(),
            rules: Rules::default(),
        }
    }

    rule_setters!(rules_mut);

    fn rules_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }
}
