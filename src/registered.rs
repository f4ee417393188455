//! The claims that the checks need, read from the payload in one pass.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::clock::NumericDate;
use crate::error::{Rejection, RejectionKind};
use crate::json::{self, JsonError, Raw};
use crate::text::{Collector, Names, Span, Spans};

/// The claims that the checks need, read in one pass and not yet believed.
///
/// They own the payload and stand in it: texts are spans of the one buffer.
#[derive(Clone)]
pub(crate) struct Registered {
    /// The payload, and behind it what its strings with escapes mean.
    buffer: String,
    payload: Span,
    /// Lists: audiences, authentication methods, values that grant scopes and roles.
    lists: Spans,
    members: Vec<Member>,
    found: Found,
    /// Where the values with scopes are in the lists, and the scopes, once somebody has asked.
    scopes: Grant,
    /// The same for roles.
    roles: Grant,
}

/// Names that claims grant. Many a request asks for none, and a token is asked more than once.
#[derive(Clone, Default)]
struct Grant {
    values: Span,
    names: OnceLock<Box<Names>>,
}

/// A member of the payload: its name without escapes, its value as it was sent.
#[derive(Clone, Copy)]
struct Member {
    name: Span,
    value: Span,
}

/// What one pass finds.
#[derive(Clone, Default)]
struct Found {
    issuer: Option<Span>,
    subject: Option<Span>,
    audience: Option<Span>,
    expires_at: Option<NumericDate>,
    not_before: Option<NumericDate>,
    issued_at: Option<NumericDate>,
    id: Option<Span>,
    client_id: Option<Span>,
    authorized_party: Option<Span>,
    auth_time: Option<NumericDate>,
    acr: Option<Span>,
    amr: Span,
    scope: Option<Span>,
    scp: Option<Span>,
    /// Values with roles, in the order of the token.
    roles: [Span; ROLE_CLAIMS],
    role_claims: u8,
    resource_access: Option<Span>,
    is_bound: bool,
    says_client: bool,
    foreign_mark: Option<&'static str>,
    has_nonce: bool,
    says_access_token: bool,
}

impl Registered {
    /// Reads a payload once. An error here needs no signature to be right.
    pub(crate) fn read(payload: String) -> Result<Self, Rejection> {
        let mut found = Found::default();
        let mut members = Vec::with_capacity(MEMBERS);
        let mut texts = Collector::new(&payload);
        let mut invalid = None;
        json::read_members(&payload, json::MAX_MEMBERS, |name, value| {
            members.push(Member {
                name: texts.string(name).unwrap_or_default(),
                value: Span::of(value),
            });
            let name = match name.plain_text() {
                Some(plain) => Cow::Borrowed(plain),
                None => name.string().unwrap_or_default(),
            };
            if let Err(name) = found.member(&name, value, &mut texts) {
                invalid.get_or_insert(name);
            }
        })
        .map_err(|error| malformed("claims", error))?;
        if let Some(name) = invalid {
            return Err(Rejection::because(
                RejectionKind::InvalidClaim,
                format!("claim `{name}` has the wrong JSON type"),
            ));
        }
        let (lists, unescaped) = texts.finish();
        let mut buffer = payload;
        let payload = Span::new(0..buffer.len());
        buffer.push_str(&unescaped);
        Ok(Self {
            buffer,
            payload,
            lists,
            members,
            found,
            scopes: Grant::default(),
            roles: Grant::default(),
        })
    }

    /// Gives back the memory that is left over.
    pub(crate) fn shrink(&mut self) {
        self.buffer.shrink_to_fit();
        self.members.shrink_to_fit();
        self.lists.shrink();
    }

    /// The bytes on the heap.
    pub(crate) fn weight(&self) -> usize {
        let members = self.members.capacity().saturating_mul(size_of::<Member>());
        self.buffer
            .capacity()
            .saturating_add(self.lists.weight())
            .saturating_add(members)
    }

    /// The text of all claims, as it was sent.
    pub(crate) fn payload(&self) -> &str {
        self.payload.text(&self.buffer)
    }

    /// `iss`.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.text(self.found.issuer)
    }

    /// `sub`.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.text(self.found.subject)
    }

    /// `aud`; nothing where it is absent.
    pub(crate) fn audience(&self) -> impl Iterator<Item = &str> {
        let audience = self.found.audience.unwrap_or_default();
        self.list(audience)
            .iter()
            .map(|name| name.text(&self.buffer))
    }

    pub(crate) fn has_audience(&self) -> bool {
        self.found.audience.is_some()
    }

    /// `exp`.
    pub(crate) fn expires_at(&self) -> Option<NumericDate> {
        self.found.expires_at
    }

    /// `nbf`.
    pub(crate) fn not_before(&self) -> Option<NumericDate> {
        self.found.not_before
    }

    /// `iat`.
    pub(crate) fn issued_at(&self) -> Option<NumericDate> {
        self.found.issued_at
    }

    /// `jti`.
    pub(crate) fn id(&self) -> Option<&str> {
        self.text(self.found.id)
    }

    /// `client_id`.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.text(self.found.client_id)
    }

    /// What providers send in place of `client_id`.
    pub(crate) fn authorized_party(&self) -> Option<&str> {
        self.text(self.found.authorized_party)
    }

    /// `auth_time`.
    pub(crate) fn auth_time(&self) -> Option<NumericDate> {
        self.found.auth_time
    }

    /// `acr`.
    pub(crate) fn acr(&self) -> Option<&str> {
        self.text(self.found.acr)
    }

    /// `amr`.
    pub(crate) fn amr(&self) -> (&[Span], &str) {
        (self.list(self.found.amr), &self.buffer)
    }

    /// The value of `scope`.
    pub(crate) fn scope(&self) -> Option<Span> {
        self.found.scope
    }

    /// The value of `scp`.
    pub(crate) fn scp(&self) -> Option<Span> {
        self.found.scp
    }

    /// The values of the claims that roles are usually in.
    pub(crate) fn usual_roles(&self) -> impl Iterator<Item = Span> + use<> {
        self.found
            .roles
            .into_iter()
            .take(self.found.role_claims.into())
    }

    /// Roles per client, the form of Keycloak.
    pub(crate) fn resource_access(&self) -> Option<Span> {
        self.found.resource_access
    }

    /// `cnf` is there: the token is bound to a key.
    pub(crate) fn is_bound(&self) -> bool {
        self.found.is_bound
    }

    /// `idtyp` or `gty` say that the client acts for itself.
    pub(crate) fn says_client(&self) -> bool {
        self.found.says_client
    }

    /// A claim that only a JWT of another kind has.
    pub(crate) fn foreign_mark(&self) -> Option<&'static str> {
        self.found.foreign_mark
    }

    /// `nonce`, which ID tokens have.
    pub(crate) fn has_nonce(&self) -> bool {
        self.found.has_nonce
    }

    /// Keycloak's payload `typ` says that this is an access token.
    pub(crate) fn says_access_token(&self) -> bool {
        self.found.says_access_token
    }

    /// The value of any claim.
    pub(crate) fn claim(&self, name: &str) -> Option<Span> {
        self.members
            .iter()
            .find(|member| member.name.text(&self.buffer) == name)
            .map(|member| member.value)
    }

    /// All claims, in the order of the token.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = (&str, Raw<'_>)> {
        self.members.iter().map(|member| {
            let name = member.name.text(&self.buffer);
            (name, member.value.value(&self.buffer))
        })
    }

    /// Says which values grant scopes.
    pub(crate) fn grant_scopes(&mut self, values: impl IntoIterator<Item = Span>) {
        self.scopes.values = self.keep(values);
    }

    /// Says which values grant roles.
    pub(crate) fn grant_roles(&mut self, values: impl IntoIterator<Item = Span>) {
        self.roles.values = self.keep(values);
    }

    /// The scopes, and the buffer that they are in.
    pub(crate) fn scopes(&self) -> (&[Span], &str) {
        self.granted(&self.scopes, Collector::words_or_items)
    }

    /// The roles, and the buffer that they are in.
    pub(crate) fn roles(&self) -> (&[Span], &str) {
        self.granted(&self.roles, Collector::roles)
    }

    fn keep(&mut self, values: impl IntoIterator<Item = Span>) -> Span {
        let first = self.lists.len();
        values.into_iter().for_each(|value| self.lists.push(value));
        Span::new(first..self.lists.len())
    }

    fn granted<'c>(
        &'c self,
        grant: &'c Grant,
        add: impl Fn(&mut Collector<'c>, Raw<'c>),
    ) -> (&'c [Span], &'c str) {
        let names = grant.names.get_or_init(|| {
            let mut names = Collector::new(&self.buffer);
            let values = self.list(grant.values).iter();
            values.for_each(|value| add(&mut names, value.value(&self.buffer)));
            Box::new(names.names())
        });
        names.spans(&self.buffer)
    }

    fn list(&self, list: Span) -> &[Span] {
        self.lists.all().get(list.range()).unwrap_or_default()
    }

    fn text(&self, span: Option<Span>) -> Option<&str> {
        span.map(|span| span.text(&self.buffer))
    }
}

impl Found {
    fn member(
        &mut self,
        name: &str,
        value: Raw<'_>,
        texts: &mut Collector<'_>,
    ) -> Result<(), &'static str> {
        let mut text = |name| texts.string(value).ok_or(name);
        let date = |name| value.number().map(NumericDate).ok_or(name);
        match name {
            "iss" => self.issuer = Some(text("iss")?),
            "sub" => self.subject = Some(text("sub")?),
            "aud" => {
                texts.one_or_more(value).ok_or("aud")?;
                self.audience = Some(texts.list());
            }
            "exp" => self.expires_at = Some(date("exp")?),
            "nbf" => self.not_before = Some(date("nbf")?),
            "iat" => self.issued_at = Some(date("iat")?),
            "jti" => self.id = Some(text("jti")?),
            "client_id" => self.client_id = Some(text("client_id")?),
            "azp" | "cid" | "appid" => self.authorized_party = texts.string(value),
            "auth_time" => self.auth_time = Some(date("auth_time")?),
            "acr" => self.acr = Some(text("acr")?),
            "amr" => {
                texts.strings(value).ok_or("amr")?;
                self.amr = texts.list();
            }
            "scope" => self.scope = Some(Span::of(value)),
            "scp" => self.scp = Some(Span::of(value)),
            "roles" | "groups" | "entitlements" | "permissions" | "cognito:groups" => {
                self.role_claim(value);
            }
            "realm_access" => {
                if let Some(roles) = value.member("roles") {
                    self.role_claim(roles);
                }
            }
            "resource_access" => self.resource_access = Some(Span::of(value)),
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

    fn role_claim(&mut self, value: Raw<'_>) {
        if let Some(free) = self.roles.get_mut(usize::from(self.role_claims)) {
            *free = Span::of(value);
            self.role_claims = self.role_claims.saturating_add(1);
        }
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

/// Claims with roles that one payload can have, `realm_access` among them.
const ROLE_CLAIMS: usize = 6;
/// Members for which there is room at once.
const MEMBERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_come_in_several_shapes() {
        for (text, expected) in [
            (r#"{"roles":["a","b","a",""]}"#, vec!["a", "b"]),
            (
                r#"{"roles":[{"value":"a","display":"A"},{"value":"b"}]}"#,
                vec!["a", "b"],
            ),
            (r#"{"groups":"a"}"#, vec!["a"]),
            (
                r#"{"realm_access":{"roles":["a"]},"cognito:groups":["b"]}"#,
                vec!["a", "b"],
            ),
            (
                r#"{"roles":"1","groups":"2","entitlements":"3","permissions":"4","cognito:groups":"5","realm_access":{"roles":"\u0036"}}"#,
                vec!["1", "2", "3", "4", "5", "6"],
            ),
            (r#"{"roles":5,"groups":{},"permissions":[1,null]}"#, vec![]),
        ] {
            let claims = Registered::read(text.to_owned());
            let mut claims = claims.unwrap_or_else(|error| panic!("{text}: {error}"));
            claims.grant_roles(claims.usual_roles());
            let (roles, buffer) = claims.roles();
            let roles: Vec<_> = roles.iter().map(|name| name.text(buffer)).collect();
            assert_eq!(roles, expected, "{text}");
        }
    }
}
