//! The claims of a verified token: [`Claims`].

mod basis;
mod mismatch;
pub(crate) mod names;
pub(crate) mod own;
mod subject_id;
mod token;
mod type_map;
mod weight;

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cache::Growth;
pub(crate) use crate::claims::basis::Basis;
pub use crate::claims::names::{NameSet, Names};
pub use crate::claims::subject_id::SubjectId;
pub(crate) use crate::claims::token::Token;
use crate::claims::type_map::Entry;
use crate::clock::{Clock, NumericDate};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::policy::validate::Validated;
use crate::token::registered::Registered;

/// The claims of a verified token.
///
/// Only the verifier can create this type, so a value proves that signature, issuer, audience and
/// time were checked. It derefs to your own claims type `C`, and has methods for the registered
/// claims. Cloning increments one reference count.
///
/// `C` can be any type that deserializes from the claims. `serde_json::Map<String, Value>` contains
/// all claims unchanged. Claims that `C` does not name are ignored.
///
/// # Example: your own claims in a handler
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
/// # Your claims type must own its data
///
/// One token serves several handlers, so `C` cannot borrow from it. Use `String` for a field and not
/// `&str`. For a type that borrows, such as `User<'a>`, the compiler reports:
///
/// - at a handler: "lifetime may not live long enough",
/// - elsewhere: "implementation of `Deserialize` is not general enough".
///
/// # Example: no claims without a verifier
///
/// Claims cannot be created from a payload that was not verified:
///
/// ```compile_fail,E0451
/// use tower_jwt_auth::{Claims, NoClaims};
///
/// fn forge(own: NoClaims) -> Claims {
///     Claims { token: own.into(), own: std::marker::PhantomData }
/// }
/// ```
pub struct Claims<C = NoClaims> {
    token: Arc<Token>,
    /// The token has own claims of this type, or `C` is `NoClaims`.
    own: PhantomData<C>,
}

/// The claims type for programs that have no claims of their own. This is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NoClaims {}

impl Claims {
    /// The only constructor. Only the policy creates its first argument.
    pub(crate) fn new(validated: Validated, clock: &Arc<dyn Clock>) -> Self {
        Self::of_token(Arc::new(Token::new(validated, clock)))
    }

    /// The basis of the verdict on the token.
    pub(crate) fn basis(&self) -> &Basis {
        self.token.basis()
    }

    /// The same token with own claims of another type.
    pub(crate) fn into_type<C>(self) -> Result<Claims<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let copy = read_own_claims::<C>(&self.token)?;
        Ok(Claims::of_token(copy.unwrap_or(self.token)))
    }

    /// Reads own claims of a type in advance if they fit the type.
    pub(crate) fn read_ahead<C>(&self)
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        // An error is reported when the claims are requested.
        let _ = read_own_claims::<C>(&self.token);
    }

    /// The size of own claims in bytes, which may grow.
    pub(crate) fn growth(&self) -> &Growth {
        self.token.growth()
    }

    /// Frees the spare memory that remains after reading the token, if the token is not shared yet.
    pub(crate) fn shrink(&mut self) {
        if let Some(token) = Arc::get_mut(&mut self.token) {
            token.shrink();
        }
    }

    /// The maximum size of these claims in bytes, without own claims.
    pub(crate) fn weight(&self) -> usize {
        // Two counts stand before the token.
        let token = size_of::<[usize; 2]>().saturating_add(size_of::<Token>());
        token.saturating_add(self.registered().weight())
    }
}

impl<C> Claims<C> {
    /// Whether the token is bound to something that must be proved.
    pub(crate) fn is_bound(&self) -> bool {
        self.token.is_bound()
    }

    /// The issuer: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.registered().issuer().unwrap_or_default()
    }

    /// The subject: `sub`. `None` if it is absent or empty. It is unique only within its issuer; see
    /// [`subject_id`](Self::subject_id).
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.registered().subject()
    }

    /// The subject together with its issuer, for use as the key of a map or a table. `None` if the
    /// token has no subject.
    #[must_use]
    pub fn subject_id(&self) -> Option<SubjectId> {
        self.subject()
            .map(|subject| SubjectId::new(self.issuer(), subject))
    }

    /// The audiences: `aud`. One of them is this API.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.registered().audience()
    }

    /// The client to which the token was issued: `client_id`. Some providers send another claim
    /// instead, so this is the first of `client_id`, `azp`, `cid` and `appid` that is present and not
    /// empty.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.token.client_id()
    }

    /// Whether the client acts for itself and not for a person. This is true if `sub` is one of the
    /// ids of the client (`client_id`, `azp`, `cid`, `appid`), if the token has no `sub`, or if
    /// `idtyp` or `gty` marks it as a token of a client. A [configured
    /// claim](crate::JwtAuth::client_when) can also mark it.
    ///
    /// A client that can choose its own id must not be mistaken for a user with the same name ([RFC
    /// 9068, section 5](https://www.rfc-editor.org/rfc/rfc9068#section-5)).
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.token.is_client()
    }

    /// The granted scopes. Empty if the token names none.
    #[must_use]
    pub fn scopes(&self) -> NameSet<'_> {
        self.token.scopes()
    }

    /// Whether this scope was granted. Names are compared exactly.
    ///
    /// This does not reject anything. To reject a request without the scope, use a
    /// [requirement](mod@crate::scope), which sends the right challenge.
    ///
    /// ```
    /// use tower_jwt_auth::Claims;
    ///
    /// fn shows_private_events(claims: &Claims) -> bool {
    ///     claims.has_scope("calendar:private")
    /// }
    /// ```
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().contains(scope)
    }

    /// The granted roles, entitlements and permissions. Groups are included only if
    /// [`roles_from`](crate::JwtAuth::roles_from) names their claim.
    ///
    /// To check for one role, write `claims.roles().contains("admin")`. To reject a request without
    /// it, use [`role!`](crate::role!).
    #[must_use]
    #[doc(alias = "has_role")]
    pub fn roles(&self) -> NameSet<'_> {
        self.token.roles()
    }

    /// When the token expires: `exp`. `None` only if the configuration
    /// [accepts such tokens](crate::JwtAuth::insecure_allow_missing_expiry).
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.registered()
            .expires_at()
            .map(NumericDate::to_system_time)
    }

    /// When the token becomes valid: `nbf`.
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

    /// The id of the token: `jti`. `None` if it is absent, empty or not a string. It is unique only
    /// within its issuer.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.registered().id()
    }

    /// The id of the login session that the token belongs to: `sid`. `None` if it is absent, empty or
    /// not a string. It is unique only within its issuer.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.registered().session_id()
    }

    /// When the person signed in: `auth_time`. `None` if it is absent or not a number.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.registered()
            .auth_time()
            .map(NumericDate::to_system_time)
    }

    /// The authentication context class, which describes how the person signed in: `acr`. `None` if
    /// it is absent or not a string.
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.registered().acr()
    }

    /// The authentication methods with which the person signed in: `amr`, such as `pwd` and `otp`
    /// (RFC 8176). Empty if it is absent or not an array of strings.
    #[must_use]
    pub fn authentication_methods(&self) -> NameSet<'_> {
        NameSet::of(self.registered().amr())
    }

    pub(crate) fn registered(&self) -> &Registered {
        self.token.registered()
    }

    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    fn of_token(token: Arc<Token>) -> Self {
        Self {
            token,
            own: PhantomData,
        }
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    /// Returns the same token, with your own claims as another type.
    ///
    /// The claims are deserialized once for each token and type. Later calls cost one look-up.
    ///
    /// # Errors
    ///
    /// [`RejectionKind::InvalidClaim`] (401) if the claims do not fit the type.
    pub fn deserialize<D>(&self) -> Result<Claims<D>, Rejection>
    where
        D: DeserializeOwned + Send + Sync + 'static,
    {
        Claims::<NoClaims>::of_token(Arc::clone(&self.token))
            .into_type()
            .map_err(Rejection::unreported)
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    /// Puts the claims into the extensions, where handlers look for them: as this type, and as
    /// `Claims<NoClaims>`, from which every other type can be read.
    pub(crate) fn insert_into(self, extensions: &mut http::Extensions) {
        if TypeId::of::<C>() != TypeId::of::<NoClaims>() {
            extensions.insert(Claims::<NoClaims>::of_token(Arc::clone(&self.token)));
        }
        extensions.insert(self);
    }

    /// Removes the claims of this token from the extensions, in every requested type.
    pub(crate) fn withdraw_from(&self, extensions: &mut http::Extensions) {
        extensions.remove::<Claims>();
        self.token.own().withdraw_from(extensions);
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        Self::of_token(Arc::clone(&self.token))
    }
}

impl<C: 'static> Deref for Claims<C> {
    type Target = C;

    fn deref(&self) -> &C {
        #[expect(
            clippy::expect_used,
            reason = "claims of a type are made only for a token that has them, and it keeps them"
        )]
        known_claims(&self.token).expect("the token has own claims of this type")
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

/// Own claims of a token.
struct Own<C>(C);

impl<C: Send + Sync + 'static> Entry for Own<C> {
    fn withdraw_from(&self, extensions: &mut http::Extensions) {
        extensions.remove::<Claims<C>>();
    }
}

/// Reads own claims of a type, unless they were read before. The token keeps them. If the token is in
/// a cache that has no room for them, a copy of the token keeps them and is returned.
fn read_own_claims<C>(token: &Token) -> Result<Option<Arc<Token>>, Rejection>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    if known_claims::<C>(token).is_some() {
        return Ok(None);
    }
    let (own, bytes) = own::deserialize::<C>(token.registered()).map_err(|error| {
        let reason = mismatch::reason(&error, token.registered());
        let name = std::any::type_name::<C>();
        Rejection::because(
            RejectionKind::InvalidClaim,
            format!("claims do not fit {name}: {reason}"),
        )
    })?;
    if token.growth().try_add(bytes) {
        token.own().put(Own(own));
        return Ok(None);
    }
    let copy = token.without_own();
    copy.own().put(Own(own));
    Ok(Some(Arc::new(copy)))
}

/// Own claims of a type that were read before. `NoClaims` needs no reading.
fn known_claims<C: 'static>(token: &Token) -> Option<&C> {
    let none: &dyn Any = &NoClaims {};
    none.downcast_ref()
        .or_else(|| token.own().get().map(|Own(own)| own))
}
