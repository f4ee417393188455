//! [`Registered`]: the claims that are needed for the checks, read in one pass.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::json::{self, Raw};
use crate::token::confirmation::Confirmation;
use crate::token::found::{Found, Lenient, Mark};
use crate::token::malformed::malformed;
use crate::token::names::{Collector, GrantedNames};
use crate::token::span::{Span, Spans};

/// The claims that are needed for the checks. Reading them does not make them trusted.
///
/// The value owns the payload in one buffer, and each text is a span of the buffer.
#[derive(Clone)]
pub(crate) struct Registered {
    /// The payload, and after it the decoded text of its strings with escapes.
    buffer: String,
    payload: Span,
    /// The items of all lists: audiences, authentication methods, values that grant scopes and
    /// roles.
    lists: Spans,
    members: Vec<Member>,
    found: Found,
    /// The values with scopes, and the scopes after their first use.
    scopes: Grant,
    /// The same for roles.
    roles: Grant,
}

/// Names that claims grant. They are collected when they are first used, because many requests use
/// none, and then kept.
#[derive(Clone, Default)]
struct Grant {
    values: Span,
    names: OnceLock<Box<GrantedNames>>,
}

/// A member of the payload: the decoded name and the value as it was sent.
#[derive(Clone, Copy)]
struct Member {
    name: Span,
    value: Span,
}

impl Registered {
    /// Reads a payload. A payload that is rejected here is invalid whatever its signature.
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
            if let Err(flaw) = found.member(&name, value, &mut texts) {
                invalid.get_or_insert(flaw);
            }
        })
        .map_err(|error| malformed("claims", error))?;
        if let Some(flaw) = invalid {
            return Err(flaw.rejection());
        }
        let (lists, unescaped) = texts.into_parts();
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

    /// Sets the issuer, if the claims name none.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub(crate) fn issued_by(&mut self, issuer: &str) -> Result<(), Rejection> {
        if self.found.issuer.is_none() {
            self.found.issuer = Some(self.add(issuer)?);
        }
        Ok(())
    }

    /// Sets the id of the token.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub(crate) fn identify(&mut self, id: &str) -> Result<(), Rejection> {
        self.found.id = Some(self.add(id)?);
        Ok(())
    }

    /// Adds a text that is not part of the payload.
    fn add(&mut self, text: &str) -> Result<Span, Rejection> {
        let start = self.buffer.len();
        self.buffer.push_str(text);
        let span = Span::new(start..self.buffer.len());
        if span.text(&self.buffer) == text {
            return Ok(span);
        }
        Err(Rejection::because(
            RejectionKind::InvalidClaim,
            "claims are too large",
        ))
    }

    /// Frees spare capacity.
    pub(crate) fn shrink(&mut self) {
        self.buffer.shrink_to_fit();
        self.members.shrink_to_fit();
        self.lists.shrink_to_fit();
    }

    /// The maximum size on the heap in bytes, including scopes and roles that are not collected
    /// yet.
    pub(crate) fn weight(&self) -> usize {
        let members = self.members.capacity().saturating_mul(size_of::<Member>());
        self.buffer
            .capacity()
            .saturating_add(self.lists.heap_bytes())
            .saturating_add(members)
            .saturating_add(self.names_weight(&self.scopes))
            .saturating_add(self.names_weight(&self.roles))
    }

    /// The maximum size in bytes of the names of a grant.
    fn names_weight(&self, grant: &Grant) -> usize {
        let values = self.list(grant.values).iter();
        GrantedNames::weight(values.map(|value| value.text(&self.buffer)), &self.buffer)
    }

    /// The JSON text of all claims, as it was sent.
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

    /// `aud`. Empty if it is absent.
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

    /// `sid`.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.text(self.found.session_id.present())
    }

    /// `client_id`.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.text(self.found.client_id)
    }

    /// All names of the client: `client_id`, then `azp`, `cid` and `appid`.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &str> {
        let parties = self.found.parties.iter().filter(|party| !party.is_empty());
        self.found
            .client_id
            .iter()
            .chain(parties)
            .map(|span| span.text(&self.buffer))
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
        self.found.scope.present()
    }

    /// The value of `scp`.
    pub(crate) fn scp(&self) -> Option<Span> {
        self.found.scp.present()
    }

    /// The values of the claims that usually contain roles, in the order of the token.
    pub(crate) fn usual_roles(&self) -> impl Iterator<Item = Span> + use<> {
        self.found
            .roles
            .into_iter()
            .take(self.found.role_claims.into())
    }

    /// `realm_access`: the roles of a realm in Keycloak.
    pub(crate) fn realm_access(&self) -> Option<Span> {
        self.found.realm_access.present()
    }

    /// `resource_access`: the roles per client in Keycloak.
    pub(crate) fn resource_access(&self) -> Option<Span> {
        self.found.resource_access.present()
    }

    /// `cnf`: what the token is bound to.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        self.found.confirmation
    }

    /// The thumbprint of the client certificate that the token is bound to, if it is bound to nothing else.
    pub(crate) fn bound_certificate(&self) -> Option<[u8; 32]> {
        self.confirmation()?.certificate_alone(&self.buffer)
    }

    /// Whether both are bound to the same things, or to nothing.
    pub(crate) fn is_bound_like(&self, other: &Self) -> bool {
        match (self.confirmation(), other.confirmation()) {
            (None, None) => true,
            (Some(own), Some(others)) => {
                Confirmation::is_same((own, &self.buffer), (others, &other.buffer))
            }
            _ => false,
        }
    }

    /// Whether `idtyp` or `gty` shows that the client acts for itself.
    pub(crate) fn says_client(&self) -> bool {
        self.found.says_client
    }

    /// A claim that restricts nothing and has the wrong type.
    pub(crate) fn odd_claim(&self) -> Option<&'static str> {
        self.found.odd_claim.map(Lenient::name)
    }

    /// The reason, if a claim marks another kind of JWT that is not an ID token either.
    pub(crate) fn foreign_mark(&self) -> Option<&'static str> {
        self.found.foreign_mark.map(Mark::reason)
    }

    /// The reason, if a claim marks an ID token.
    pub(crate) fn id_token_mark(&self) -> Option<&'static str> {
        let found = &self.found;
        // Some issuers also copy the `nonce` of the login into access tokens. Such an access token
        // has a scope or a client.
        let is_access_token = found.says_access_token
            || !found.scope.is_empty()
            || !found.scp.is_empty()
            || found.client_id.is_some();
        let nonce = (found.has_nonce && !is_access_token).then_some(Mark::Nonce);
        found.id_token_mark.or(nonce).map(Mark::reason)
    }

    /// The value of any claim.
    pub(crate) fn claim(&self, name: &str) -> Option<Span> {
        self.members
            .iter()
            .find(|member| member.name.text(&self.buffer) == name)
            .map(|member| member.value)
    }

    /// The name of the claim that has this value.
    pub(crate) fn name_of(&self, value: Span) -> &str {
        self.members
            .iter()
            .find(|member| member.value == value)
            .map(|member| member.name.text(&self.buffer))
            .unwrap_or_default()
    }

    /// The value at this path of member names.
    pub(crate) fn at(&self, names: &[String]) -> Option<Span> {
        let (first, rest) = names.split_first()?;
        let claim = self.claim(first)?.value(self.payload());
        rest.iter()
            .try_fold(claim, |value, name| value.member(name))
            .map(Span::of)
    }

    /// All claims, in the order of the token.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = (&str, Raw<'_>)> {
        self.members.iter().map(|member| {
            let name = member.name.text(&self.buffer);
            (name, member.value.value(&self.buffer))
        })
    }

    /// Sets the values that grant scopes.
    pub(crate) fn grant_scopes(&mut self, values: impl IntoIterator<Item = Span>) {
        self.scopes.values = self.keep(values);
    }

    /// Sets the values that grant roles.
    pub(crate) fn grant_roles(&mut self, values: impl IntoIterator<Item = Span>) {
        self.roles.values = self.keep(values);
    }

    /// The scopes, and the buffer that they refer to.
    pub(crate) fn scopes(&self) -> (&[Span], &str) {
        self.granted(&self.scopes, Collector::add_words_or_items)
    }

    /// The roles, and the buffer that they refer to.
    pub(crate) fn roles(&self) -> (&[Span], &str) {
        self.granted(&self.roles, Collector::add_roles)
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
            Box::new(names.into_names())
        });
        names.spans(&self.buffer)
    }

    fn list(&self, list: Span) -> &[Span] {
        self.lists.as_slice().get(list.range()).unwrap_or_default()
    }

    fn text(&self, span: Option<Span>) -> Option<&str> {
        span.map(|span| span.text(&self.buffer))
    }
}

/// Initial capacity for members.
const MEMBERS: usize = 16;
