//! What a verified token says: [`Claims`], and the registered claims behind it.

use std::any::{Any, TypeId};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock::NumericDate;
use crate::error::{Rejection, RejectionKind};
use crate::json::{self, JsonError, Raw};

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
/// fn forge() -> Claims {
///     Claims { inner: todo!() }
/// }
/// ```
pub struct Claims<C = NoClaims> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    token: Arc<Token>,
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
pub(crate) struct Token {
    pub(crate) registered: Registered,
    pub(crate) scopes: Vec<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) is_client: bool,
    pub(crate) payload: Box<str>,
}

impl Claims {
    /// The one constructor, for `validate.rs`.
    pub(crate) fn from_token(token: Token) -> Self {
        Self {
            inner: Arc::new(Inner {
                token: Arc::new(token),
                own: NoClaims {},
                others: Memo::default(),
            }),
        }
    }
}

impl<C> Claims<C> {
    /// The issuer: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.registered().issuer
    }

    /// The subject: `sub`. Unique within its issuer only; see [`subject_id`](Self::subject_id).
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.registered().subject.as_deref()
    }

    /// The subject together with its issuer, fit for the key of a map or a table.
    #[must_use]
    pub fn subject_id(&self) -> Option<SubjectId> {
        self.subject().map(|subject| SubjectId {
            issuer: self.issuer().into(),
            subject: subject.into(),
        })
    }

    /// The audiences: `aud`, one of which is this API.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.registered().audience.iter().map(String::as_str)
    }

    /// The client that got the token: `client_id`, or what providers send in its place (`azp`,
    /// `cid`, `appid`).
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.registered()
            .client_id
            .as_deref()
            .or(self.registered().authorized_party.as_deref())
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
        NameSet(&self.inner.token.scopes)
    }

    /// The roles, groups, entitlements and permissions that were granted.
    #[must_use]
    pub fn roles(&self) -> NameSet<'_> {
        NameSet(&self.inner.token.roles)
    }

    /// When the token expires: `exp`. `None` only where the configuration lets such tokens in.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.registered()
            .expires_at
            .map(NumericDate::to_system_time)
    }

    /// Since when the token is valid: `nbf`.
    #[must_use]
    pub fn not_before(&self) -> Option<SystemTime> {
        self.registered()
            .not_before
            .map(NumericDate::to_system_time)
    }

    /// When the token was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.registered().issued_at.map(NumericDate::to_system_time)
    }

    /// The id of the token: `jti`. Unique within its issuer only.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.registered().id.as_deref()
    }

    /// When the person signed in: `auth_time`.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.registered().auth_time.map(NumericDate::to_system_time)
    }

    /// How the person signed in, as a class: `acr`.
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.registered().acr.as_deref()
    }

    /// By which means the person signed in: `amr`, such as `pwd` and `otp` (RFC 8176).
    #[must_use]
    pub fn authentication_methods(&self) -> NameSet<'_> {
        NameSet(&self.registered().amr)
    }

    fn registered(&self) -> &Registered {
        &self.inner.token.registered
    }

    pub(crate) fn token(&self) -> &Token {
        &self.inner.token
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    /// Puts the claims where handlers look for them: in the layer's own type, and in the general
    /// one, from which every other type is had.
    pub(crate) fn insert_into(self, extensions: &mut http::Extensions) {
        if TypeId::of::<C>() != TypeId::of::<NoClaims>() {
            extensions.insert(self.general());
        }
        extensions.insert(self);
    }

    /// The same token without own claims.
    fn general(&self) -> Claims {
        let token = Arc::clone(&self.inner.token);
        Claims {
            inner: Arc::new(Inner {
                token,
                own: NoClaims {},
                others: Memo::default(),
            }),
        }
    }

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
        let token = Arc::clone(&self.inner.token);
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

impl Token {
    fn own_claims<C: DeserializeOwned + 'static>(&self) -> Result<C, Rejection> {
        let mut none = Some(NoClaims {});
        let slot: &mut dyn Any = &mut none;
        if let Some(none) = slot.downcast_mut::<Option<C>>().and_then(Option::take) {
            return Ok(none);
        }
        serde_json::from_str(&self.payload).map_err(|error| {
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

/// A set of names that a token grants: scopes, roles, authentication methods.
///
/// Names compare exactly: `calendar:readonly` and `Calendar:Read` are not `calendar:read`.
#[derive(Clone, Copy)]
pub struct NameSet<'a>(&'a [String]);

impl<'a> NameSet<'a> {
    pub(crate) fn new(names: &'a [String]) -> Self {
        Self(names)
    }

    /// Whether the name is in the set.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        self.0.iter().any(|candidate| candidate == name)
    }

    /// The names, in the order of the token.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for NameSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0).finish()
    }
}

/// The names separated by spaces, the form of the `scope` parameter.
impl fmt::Display for NameSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// The claims that the checks need, read in one pass and not yet believed.
#[derive(Default)]
pub(crate) struct Registered {
    pub(crate) issuer: String,
    pub(crate) has_issuer: bool,
    pub(crate) subject: Option<String>,
    pub(crate) audience: Vec<String>,
    pub(crate) has_audience: bool,
    pub(crate) expires_at: Option<NumericDate>,
    pub(crate) not_before: Option<NumericDate>,
    pub(crate) issued_at: Option<NumericDate>,
    pub(crate) id: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) authorized_party: Option<String>,
    pub(crate) auth_time: Option<NumericDate>,
    pub(crate) acr: Option<String>,
    pub(crate) amr: Vec<String>,
    pub(crate) scope: Granted,
    pub(crate) scp: Granted,
    pub(crate) roles: Vec<String>,
    /// Roles per client, the form of Keycloak's `resource_access`.
    pub(crate) client_roles: Vec<(String, Vec<String>)>,
    /// `cnf` is there: the token is bound to a key.
    pub(crate) is_bound: bool,
    /// `idtyp` or `gty` say that the client acts for itself.
    pub(crate) says_client: bool,
    /// A claim that only a JWT of another kind has.
    pub(crate) foreign_mark: Option<&'static str>,
    /// `nonce`, which ID tokens have.
    pub(crate) has_nonce: bool,
    /// Keycloak's payload `typ` says that this is an access token.
    pub(crate) says_access_token: bool,
}

/// A claim that grants names.
#[derive(Default)]
pub(crate) enum Granted {
    #[default]
    Absent,
    /// Neither a string nor an array of strings.
    Invalid,
    List(Vec<String>),
    Text(Vec<String>),
}

impl Granted {
    pub(crate) fn read(value: Raw<'_>) -> Self {
        if let Some(text) = value.string() {
            return Self::Text(names(text.split(' ')));
        }
        let items = value.items().and_then(|items| {
            items
                .into_iter()
                .map(Raw::string)
                .collect::<Option<Vec<_>>>()
        });
        items.map_or(Self::Invalid, |items| {
            Self::List(names(items.iter().map(AsRef::as_ref)))
        })
    }
}

impl Registered {
    /// Reads a payload once. An error here needs no signature to be right.
    pub(crate) fn read(payload: &str) -> Result<Self, Rejection> {
        let mut claims = Self::default();
        let mut invalid = None;
        json::read_object(payload, json::MAX_MEMBERS, |name, value| {
            if let Err(name) = claims.member(&name, value) {
                invalid.get_or_insert(name);
            }
        })
        .map_err(|error| malformed("claims", error))?;
        match invalid {
            Some(name) => Err(Rejection::because(
                RejectionKind::InvalidClaim,
                format!("claim `{name}` has the wrong JSON type"),
            )),
            None => Ok(claims),
        }
    }

    fn member(&mut self, name: &str, value: Raw<'_>) -> Result<(), &'static str> {
        match name {
            "iss" => {
                self.issuer = text("iss", value)?;
                self.has_issuer = true;
            }
            "sub" => self.subject = Some(text("sub", value)?),
            "aud" => {
                self.audience = one_or_more("aud", value)?;
                self.has_audience = true;
            }
            "exp" => self.expires_at = Some(date("exp", value)?),
            "nbf" => self.not_before = Some(date("nbf", value)?),
            "iat" => self.issued_at = Some(date("iat", value)?),
            "jti" => self.id = Some(text("jti", value)?),
            "client_id" => self.client_id = Some(text("client_id", value)?),
            "azp" | "cid" | "appid" => self.authorized_party = value.string().map(String::from),
            "auth_time" => self.auth_time = Some(date("auth_time", value)?),
            "acr" => self.acr = Some(text("acr", value)?),
            "amr" => self.amr = strings(value).ok_or("amr")?,
            "scope" => self.scope = Granted::read(value),
            "scp" => self.scp = Granted::read(value),
            "roles" | "groups" | "entitlements" | "permissions" | "cognito:groups" => {
                read_roles(value, &mut self.roles)
            }
            "realm_access" => {
                if let Some(roles) = value.member("roles") {
                    read_roles(roles, &mut self.roles);
                }
            }
            "resource_access" => {
                for (client, access) in value.members().unwrap_or_default() {
                    let mut roles = Vec::new();
                    if let Some(named) = access.member("roles") {
                        read_roles(named, &mut roles);
                    }
                    self.client_roles.push((client.into_owned(), roles));
                }
            }
            "cnf" => self.is_bound = true,
            "idtyp" => self.says_client |= value.string().is_some_and(|kind| kind == "app"),
            "gty" => {
                self.says_client |= value
                    .string()
                    .is_some_and(|grant| grant == "client-credentials")
            }
            "at_hash" => self.foreign_mark = Some("claim `at_hash` marks an ID token"),
            "c_hash" => self.foreign_mark = Some("claim `c_hash` marks an ID token"),
            "events" => self.foreign_mark = Some("claim `events` marks a security event"),
            "status_list" => self.foreign_mark = Some("claim `status_list` marks a status list"),
            "token_introspection" => {
                self.foreign_mark =
                    Some("claim `token_introspection` marks an introspection answer")
            }
            "htm" | "htu" => self.foreign_mark = Some("claims `htm` and `htu` mark a DPoP proof"),
            "nonce" => self.has_nonce = true,
            "token_use" if value.string().is_some_and(|kind| kind != "access") => {
                self.foreign_mark = Some("claim `token_use` is not `access`");
            }
            "typ" => match value.string().as_deref() {
                Some("Bearer") => self.says_access_token = true,
                Some("ID" | "Refresh" | "Offline" | "Logout") => {
                    self.foreign_mark = Some("claim `typ` names another kind of token");
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

/// A header or a payload that the strict reader did not accept.
pub(crate) fn malformed(part: &str, error: JsonError) -> Rejection {
    match error {
        JsonError::Duplicate(name) => {
            let name = crate::error::Excerpt(&name).to_string();
            Rejection::because(
                RejectionKind::DuplicateMember,
                format!("{part}: member {name} stands twice in one object"),
            )
        }
        JsonError::Reserved => Rejection::because(
            RejectionKind::MalformedToken,
            format!("{part}: a member has a reserved name"),
        ),
        JsonError::Syntax(at) => Rejection::because(
            RejectionKind::MalformedToken,
            format!("{part}: not one JSON object, at octet {at}"),
        ),
        JsonError::TooLarge(what) => Rejection::because(
            RejectionKind::MalformedToken,
            format!("{part}: {what} is beyond the limit"),
        ),
    }
}

fn text(name: &'static str, value: Raw<'_>) -> Result<String, &'static str> {
    value.string().map(String::from).ok_or(name)
}

fn date(name: &'static str, value: Raw<'_>) -> Result<NumericDate, &'static str> {
    value.number().map(NumericDate).ok_or(name)
}

fn strings(value: Raw<'_>) -> Option<Vec<String>> {
    value
        .items()?
        .into_iter()
        .map(|item| item.string().map(String::from))
        .collect()
}

pub(crate) fn one_or_more(name: &'static str, value: Raw<'_>) -> Result<Vec<String>, &'static str> {
    match value.string() {
        Some(one) => Ok(vec![one.into_owned()]),
        None => strings(value).ok_or(name),
    }
}

/// Adds the roles of a claim: a string, an array of strings, or SCIM's array of objects with a
/// `value`. Any other shape grants nothing.
pub(crate) fn read_roles(value: Raw<'_>, roles: &mut Vec<String>) {
    let one = |item: Raw<'_>| {
        item.string()
            .or_else(|| item.member("value").and_then(Raw::string))
            .map(String::from)
    };
    let found = match value.items() {
        Some(items) => items.into_iter().filter_map(one).collect(),
        None => Vec::from_iter(value.string().map(String::from)),
    };
    for role in found {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
}

/// The names without empty ones and without repetition.
pub(crate) fn names<'a>(given: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in given.filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// A message of the deserializer without the values that it quotes: they are claims.
fn without_quoted(message: &str) -> String {
    message
        .split('"')
        .enumerate()
        .map(|(at, part)| if at % 2 == 0 { part } else { "\"…\"" })
        .collect()
}

/// Values by type: written once, then read without a lock. It grows with the number of types that
/// a program asks for, not with the number of requests.
#[derive(Default)]
struct Memo(OnceLock<Box<Entry>>);

struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    next: Memo,
}

impl Memo {
    fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut memo = self;
        while let Some(entry) = memo.0.get() {
            if let Ok(value) = Arc::clone(&entry.value).downcast() {
                return Some(value);
            }
            memo = &entry.next;
        }
        None
    }

    fn put(&self, value: Arc<dyn Any + Send + Sync>) {
        let mut entry = Box::new(Entry {
            value,
            next: Self::default(),
        });
        let mut memo = self;
        while let Err(refused) = memo.0.set(entry) {
            let Some(taken) = memo.0.get() else { return };
            entry = refused;
            memo = &taken.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memo_keeps_one_value_per_type() {
        let memo = Memo::default();
        assert!(memo.get::<u8>().is_none());
        memo.put(Arc::new(1_u8));
        memo.put(Arc::new("two"));
        assert_eq!(memo.get::<u8>().as_deref(), Some(&1));
        assert_eq!(memo.get::<&str>().as_deref(), Some(&"two"));
        assert!(memo.get::<u16>().is_none());
    }

    #[test]
    fn deserializer_messages_lose_the_values_that_they_quote() {
        assert_eq!(
            without_quoted(r#"invalid type: string "private", expected u8"#),
            r#"invalid type: string "…", expected u8"#
        );
    }

    #[test]
    fn roles_come_in_several_shapes() {
        for (text, expected) in [
            (r#"{"roles":["a","b","a"]}"#, vec!["a", "b"]),
            (
                r#"{"roles":[{"value":"a","display":"A"},{"value":"b"}]}"#,
                vec!["a", "b"],
            ),
            (r#"{"groups":"a"}"#, vec!["a"]),
            (
                r#"{"realm_access":{"roles":["a"]},"cognito:groups":["b"]}"#,
                vec!["a", "b"],
            ),
            (r#"{"roles":5,"groups":{},"permissions":[1,null]}"#, vec![]),
        ] {
            let claims = Registered::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(claims.roles, expected, "{text}");
        }
    }
}
