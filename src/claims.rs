//! What a verified token says: [`Claims`], and the registered claims behind it.

use std::any::{Any, TypeId};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock::NumericDate;
use crate::error::{Rejection, RejectionKind};
use crate::memo::Memo;
use crate::name_set::NameSet;
use crate::own;
use crate::registered::Registered;

/// The claims of a verified token.
///
/// Only the verifier makes one, so having it is the proof that signature, issuer, audience and
/// time were checked. It derefs to your own claims type `C`; the registered claims have methods.
/// A clone is one reference count.
///
/// `C` can be any type that deserializes from the claims, also `serde_json::Map<String, Value>`
/// for all of them as they are. Claims that `C` does not name are ignored.
///
/// # Example: own claims in a handler
///
/// ```
/// use serde::Deserialize;
/// use tower_jwt_auth::Claims;
///
/// #[derive(Deserialize)]
/// struct User {
///     locale: Option<String>,
/// }
///
/// async fn greet(user: Claims<User>) -> String {
///     match user.locale.as_deref() {
///         Some("de") => format!("Guten Tag, {}", user.subject().unwrap_or("Gast")),
///         _ => format!("Hello, {}", user.subject().unwrap_or("guest")),
///     }
/// }
/// ```
///
/// There is no way to make one from a payload that nobody checked:
///
/// ```compile_fail,E0451
/// use tower_jwt_auth::{Claims, NoClaims};
///
/// fn forge(own: NoClaims) -> Claims {
///     Claims { inner: own.into() }
/// }
/// ```
pub struct Claims<C = NoClaims> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    token: Token,
    own: C,
    /// The same token's claims in other types. Used where `C` is `NoClaims`.
    others: Memo,
}

/// The claims type of those who need none of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NoClaims {}

/// The subject together with its issuer: what identifies somebody across issuers.
///
/// `sub` alone does not: two issuers may give the same one to different people
/// ([RFC 7519, section 4.1.2](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.2)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId {
    issuer: Box<str>,
    subject: Box<str>,
}

impl SubjectId {
    /// This subject of this issuer, for a caller that has no token of theirs: to
    /// [revoke](crate::revocation::Denylist::revoke_subject) all of them.
    #[must_use]
    pub fn new(issuer: &str, subject: &str) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
        }
    }

    /// The issuer that knows the subject.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject, as its issuer calls it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// Everything that is kept of a verified token. Its text is not.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) registered: Arc<Registered>,
    pub(crate) is_client: bool,
}

impl Claims {
    /// The one constructor, for `validate.rs`.
    pub(crate) fn from_token(token: Token) -> Self {
        Self {
            inner: Arc::new(Inner {
                token,
                own: NoClaims {},
                others: Memo::default(),
            }),
        }
    }
}

impl Claims {
    /// The bytes that these claims take up, without own claims.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Inner<NoClaims>>().saturating_add(self.registered().weight())
    }
}

impl<C> Claims<C> {
    /// The issuer: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.registered().issuer().unwrap_or_default()
    }

    /// The subject: `sub`. Unique within its issuer only; see [`subject_id`](Self::subject_id).
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.registered().subject()
    }

    /// The subject together with its issuer, fit for the key of a map or a table.
    #[must_use]
    pub fn subject_id(&self) -> Option<SubjectId> {
        self.subject()
            .map(|subject| SubjectId::new(self.issuer(), subject))
    }

    /// The audiences: `aud`, one of which is this API.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.registered().audience()
    }

    /// The client that got the token: `client_id`, or what providers send in its place (`azp`,
    /// `cid`, `appid`).
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.inner.token.client_id()
    }

    /// Whether the client acts for itself and not for a person: its `sub` is its own id, or
    /// `idtyp` or `gty` say so. A configured claim can say it too.
    ///
    /// A client that can choose its own id must not be taken for a user of the same name
    /// ([RFC 9068, section 5](https://www.rfc-editor.org/rfc/rfc9068#section-5)).
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.inner.token.is_client
    }

    /// The scopes that were granted; empty where the token names none.
    #[must_use]
    pub fn scopes(&self) -> NameSet<'_> {
        self.inner.token.scopes()
    }

    /// The roles, groups, entitlements and permissions that were granted.
    #[must_use]
    pub fn roles(&self) -> NameSet<'_> {
        self.inner.token.roles()
    }

    /// When the token expires: `exp`. `None` only where the configuration lets such tokens in.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.registered()
            .expires_at()
            .map(NumericDate::to_system_time)
    }

    /// Since when the token is valid: `nbf`.
    #[must_use]
    pub fn not_before(&self) -> Option<SystemTime> {
        self.registered()
            .not_before()
            .map(NumericDate::to_system_time)
    }

    /// When the token was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.registered()
            .issued_at()
            .map(NumericDate::to_system_time)
    }

    /// The id of the token: `jti`. Unique within its issuer only.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.registered().id()
    }

    /// When the person signed in: `auth_time`.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.registered()
            .auth_time()
            .map(NumericDate::to_system_time)
    }

    /// How the person signed in, as a class: `acr`.
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.registered().acr()
    }

    /// By which means the person signed in: `amr`, such as `pwd` and `otp` (RFC 8176).
    #[must_use]
    pub fn authentication_methods(&self) -> NameSet<'_> {
        NameSet::of(self.registered().amr())
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.inner.token.registered
    }

    pub(crate) fn token(&self) -> &Token {
        &self.inner.token
    }

    #[cfg(feature = "axum")]
    pub(crate) fn is_same_token<D>(&self, other: &Claims<D>) -> bool {
        Arc::ptr_eq(&self.inner.token.registered, &other.inner.token.registered)
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    /// The same token with own claims of another type.
    ///
    /// Remembered for the token where this is `Claims<NoClaims>`: asking again costs a look-up.
    ///
    /// # Errors
    ///
    /// [`RejectionKind::InvalidClaim`] (401) if the claims do not fit the type.
    pub fn of_type<D>(&self) -> Result<Claims<D>, Rejection>
    where
        D: DeserializeOwned + Send + Sync + 'static,
    {
        let this: &dyn Any = self;
        if let Some(same) = this.downcast_ref::<Claims<D>>() {
            return Ok(same.clone());
        }
        if let Some(inner) = self.inner.others.get::<Inner<D>>() {
            return Ok(Claims { inner });
        }
        let token = self.inner.token.clone();
        let own = token.own_claims()?;
        let inner = Arc::new(Inner {
            token,
            own,
            others: Memo::default(),
        });
        if TypeId::of::<C>() == TypeId::of::<NoClaims>() {
            self.inner.others.put(inner.clone());
        }
        Ok(Claims { inner })
    }
}

/// The claims of a verified token in the general type, and in the one that a verifier is for.
pub(crate) struct Verified<C> {
    general: Claims,
    own: Claims<C>,
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verified<C> {
    /// Fits own claims to the token.
    pub(crate) fn of(general: Claims) -> Result<Self, Rejection> {
        let own = general.of_type()?;
        Ok(Self { general, own })
    }
}

impl<C> Verified<C> {
    pub(crate) fn issuer(&self) -> &str {
        self.general.issuer()
    }

    /// The claims in the own type.
    pub(crate) fn own(self) -> Claims<C> {
        self.own
    }
}

impl<C: Send + Sync + 'static> Verified<C> {
    /// Puts the claims where handlers look for them: in the layer's own type, and in the general
    /// one, from which every other type is had.
    pub(crate) fn insert_into(self, extensions: &mut http::Extensions) {
        if TypeId::of::<C>() != TypeId::of::<NoClaims>() {
            extensions.insert(self.own);
        }
        extensions.insert(self.general);
    }
}

impl Token {
    pub(crate) fn client_id(&self) -> Option<&str> {
        let claims = &self.registered;
        claims.client_id().or(claims.authorized_party())
    }

    pub(crate) fn scopes(&self) -> NameSet<'_> {
        NameSet::of(self.registered.scopes())
    }

    pub(crate) fn roles(&self) -> NameSet<'_> {
        NameSet::of(self.registered.roles())
    }

    fn own_claims<C: DeserializeOwned + 'static>(&self) -> Result<C, Rejection> {
        let mut none = Some(NoClaims {});
        let slot: &mut dyn Any = &mut none;
        if let Some(none) = slot.downcast_mut::<Option<C>>().and_then(Option::take) {
            return Ok(none);
        }
        own::deserialize(&self.registered).map_err(|error| {
            let reason = without_quoted(&error.to_string());
            let name = std::any::type_name::<C>();
            Rejection::because(
                RejectionKind::InvalidClaim,
                format!("claims do not fit {name}: {reason}"),
            )
        })
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C> Deref for Claims<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner.own
    }
}

/// Prints the issuer and the client, and nothing about the person.
impl<C> fmt::Debug for Claims<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer())
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}

/// A message of the deserializer without the values that it quotes: they are claims.
fn without_quoted(message: &str) -> String {
    message
        .split('"')
        .enumerate()
        .map(|(at, part)| if at % 2 == 0 { part } else { "\"…\"" })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deserializer_messages_lose_the_values_that_they_quote() {
        assert_eq!(
            without_quoted(r#"invalid type: string "private", expected u8"#),
            r#"invalid type: string "…", expected u8"#
        );
    }
}
