//! What a verified token says: [`Claims`], and the registered claims behind it.

mod basis;
pub(crate) mod names;
pub(crate) mod own;
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
pub use crate::claims::names::NameSet;
use crate::claims::type_map::{Entry, TypeMap};
use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::policy::validate::Validated;
use crate::token::registered::Registered;

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
///     Claims { token: own.into(), own: std::marker::PhantomData }
/// }
/// ```
pub struct Claims<C = NoClaims> {
    token: Arc<Token>,
    /// That the token has them, or that `C` is `NoClaims`.
    own: PhantomData<C>,
}

/// The claims type of those who need none of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NoClaims {}

/// The subject together with its issuer: what identifies somebody across issuers.
///
/// `sub` alone does not: two issuers may give the same one to different people
/// ([RFC 7519, section 4.1.2](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.2)).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// Prints the issuer, and nothing about the person.
impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectId")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Everything that is kept of a verified token, once for all [`Claims`] of it. Its text is not.
///
/// In this order because a request with a token that was seen before needs nothing of it but the
/// count of references and the own claims: the two are in one line of the processor's cache.
#[repr(C)]
pub(crate) struct Token {
    /// Own claims, in each type that was asked for.
    own: TypeMap,
    registered: Registered,
    is_client: bool,
    basis: Basis,
    /// The bytes of own claims.
    growth: Growth,
}

impl Claims {
    /// The one constructor. What it takes only the policy can make.
    pub(crate) fn new(validated: Validated) -> Self {
        let (registered, is_client, attestation, trust) = validated.into_parts();
        Self::of_token(Arc::new(Token {
            own: TypeMap::default(),
            registered,
            is_client,
            basis: Basis::new(trust, attestation),
            growth: Growth::new(),
        }))
    }

    /// What the verdict on the token rests on.
    pub(crate) fn basis(&self) -> &Basis {
        &self.token.basis
    }

    /// The same token with own claims of another type.
    pub(crate) fn into_type<C>(self) -> Result<Claims<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let copy = self.token.read_own_claims::<C>()?;
        Ok(Claims::of_token(copy.unwrap_or(self.token)))
    }

    /// Reads own claims of a type before anybody asks for them, if they fit it.
    pub(crate) fn read_ahead<C>(&self)
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        // What is wrong is said to who asks for them.
        let _ = self.token.read_own_claims::<C>();
    }

    /// The bytes of own claims, which may become more.
    pub(crate) fn growth(&self) -> &Growth {
        &self.token.growth
    }

    /// Gives back the memory that reading the token has left over, if nobody else has it yet.
    pub(crate) fn shrink(&mut self) {
        if let Some(token) = Arc::get_mut(&mut self.token) {
            token.registered.shrink();
        }
    }

    /// The bytes that these claims take up at most, without own claims.
    pub(crate) fn weight(&self) -> usize {
        // Two counts stand before the token.
        let token = size_of::<[usize; 2]>().saturating_add(size_of::<Token>());
        token.saturating_add(self.registered().weight())
    }
}

impl<C> Claims<C> {
    /// The issuer: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.registered().issuer().unwrap_or_default()
    }

    /// The subject: `sub`; `None` if it is absent or empty. Unique within its issuer only; see
    /// [`subject_id`](Self::subject_id).
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

    /// The client that got the token: `client_id`, or what providers send in its place, the first
    /// of `azp`, `cid` and `appid` that is there and not empty.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.token.client_id()
    }

    /// Whether the client acts for itself and not for a person: the `sub` is one of the names of the
    /// client (`client_id`, `azp`, `cid`, `appid`), the token has no `sub`, or `idtyp` or `gty` say
    /// so. A [configured claim](crate::JwtAuth::client_when) can say it too.
    ///
    /// A client that can choose its own id must not be taken for a user of the same name
    /// ([RFC 9068, section 5](https://www.rfc-editor.org/rfc/rfc9068#section-5)).
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.token.is_client
    }

    /// The scopes that were granted; empty where the token names none.
    #[must_use]
    pub fn scopes(&self) -> NameSet<'_> {
        self.token.scopes()
    }

    /// Whether this scope was granted, compared exactly. A
    /// [requirement](mod@crate::scope) rejects a request without it with the right challenge; this is
    /// for code that only wants to know.
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

    /// The roles, entitlements and permissions that were granted; groups only if
    /// [`roles_from`](crate::JwtAuth::roles_from) names them.
    #[must_use]
    pub fn roles(&self) -> NameSet<'_> {
        self.token.roles()
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

    /// The id of the token: `jti`; `None` if it is absent, empty or no text. Unique within its
    /// issuer only.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.registered().id()
    }

    /// The id of the login that the token belongs to: `sid`; `None` if it is absent, empty or no text.
    /// Unique within its issuer only.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.registered().session_id()
    }

    /// When the person signed in: `auth_time`; `None` if it is absent or no number.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.registered()
            .auth_time()
            .map(NumericDate::to_system_time)
    }

    /// How the person signed in, as a class: `acr`; `None` if it is absent or no text.
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.registered().acr()
    }

    /// By which means the person signed in: `amr`, such as `pwd` and `otp` (RFC 8176). Empty if it
    /// is absent or anything but an array of texts.
    #[must_use]
    pub fn authentication_methods(&self) -> NameSet<'_> {
        NameSet::of(self.registered().amr())
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.token.registered
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
    /// The same token with own claims of another type.
    ///
    /// They are read once for the token: asking again costs a look-up.
    ///
    /// # Errors
    ///
    /// [`RejectionKind::InvalidClaim`] (401) if the claims do not fit the type.
    pub fn deserialize<D>(&self) -> Result<Claims<D>, Rejection>
    where
        D: DeserializeOwned + Send + Sync + 'static,
    {
        Claims::<NoClaims>::of_token(Arc::clone(&self.token)).into_type()
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    /// Puts the claims where handlers look for them: in this type, and in the general one, from
    /// which every other type is had.
    pub(crate) fn insert_into(self, extensions: &mut http::Extensions) {
        if TypeId::of::<C>() != TypeId::of::<NoClaims>() {
            extensions.insert(Claims::<NoClaims>::of_token(Arc::clone(&self.token)));
        }
        extensions.insert(self);
    }

    /// Takes the claims of this token out again, in every type that it was asked for.
    pub(crate) fn withdraw_from(&self, extensions: &mut http::Extensions) {
        extensions.remove::<Claims>();
        self.token.own.withdraw_from(extensions);
    }
}

/// Own claims of a token.
struct Own<C>(C);

impl<C: Send + Sync + 'static> Entry for Own<C> {
    fn withdraw_from(&self, extensions: &mut http::Extensions) {
        extensions.remove::<Claims<C>>();
    }
}

impl Token {
    pub(crate) fn is_client(&self) -> bool {
        self.is_client
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.registered
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

    /// Reads own claims of a type if nobody has asked for them before. The token keeps them, unless
    /// a cache holds it and has no room for them: then a copy does, which is given.
    fn read_own_claims<C>(&self) -> Result<Option<Arc<Self>>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        if self.known_claims::<C>().is_some() {
            return Ok(None);
        }
        let (own, bytes) = own::deserialize::<C>(&self.registered).map_err(|error| {
            let reason = own::reason(&error, &self.registered);
            let name = std::any::type_name::<C>();
            Rejection::because(
                RejectionKind::InvalidClaim,
                format!("claims do not fit {name}: {reason}"),
            )
        })?;
        if self.growth.try_add(bytes) {
            self.own.put(Own(own));
            return Ok(None);
        }
        let copy = Self {
            own: TypeMap::default(),
            registered: self.registered.clone(),
            is_client: self.is_client,
            basis: self.basis.clone(),
            growth: Growth::new(),
        };
        copy.own.put(Own(own));
        Ok(Some(Arc::new(copy)))
    }

    /// Own claims of a type that were read before. Of none there is nothing to read.
    fn known_claims<C: 'static>(&self) -> Option<&C> {
        let none: &dyn Any = &NoClaims {};
        none.downcast_ref()
            .or_else(|| self.own.get().map(|Own(own)| own))
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
        self.token
            .known_claims()
            .expect("the token has own claims of this type")
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
