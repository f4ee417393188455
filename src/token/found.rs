//! The claims that this crate interprets, and the types that they may have.

use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::json::Raw;
use crate::token::confirmation::Confirmation;
use crate::token::names::Collector;
use crate::token::span::Span;

/// The claims that one pass over the payload has found.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub(super) issuer: Option<Span>,
    pub(super) subject: Option<Span>,
    pub(super) audience: Option<Span>,
    pub(super) expires_at: Option<NumericDate>,
    pub(super) not_before: Option<NumericDate>,
    pub(super) issued_at: Option<NumericDate>,
    pub(super) id: Option<Span>,
    /// Empty if absent.
    pub(super) session_id: Span,
    pub(super) client_id: Option<Span>,
    /// `azp`, `cid` and `appid`, which providers send instead of `client_id`. Empty if absent.
    pub(super) parties: [Span; PARTIES],
    pub(super) auth_time: Option<NumericDate>,
    pub(super) acr: Option<Span>,
    pub(super) amr: Span,
    // The places of whole values. Empty if absent, because no JSON value has an empty text.
    pub(super) scope: Span,
    pub(super) scp: Span,
    /// The values with roles, in the order of the token.
    pub(super) roles: [Span; ROLE_CLAIMS],
    pub(super) role_claims: u8,
    pub(super) realm_access: Span,
    pub(super) resource_access: Span,
    pub(super) confirmation: Option<Confirmation>,
    pub(super) says_client: bool,
    /// A claim that restricts nothing and has the wrong type.
    pub(super) odd_claim: Option<Lenient>,
    pub(super) foreign_mark: Option<Mark>,
    pub(super) id_token_mark: Option<Mark>,
    pub(super) has_nonce: bool,
    pub(super) says_access_token: bool,
}

/// A claim that restricts nothing.
#[derive(Clone, Copy)]
pub(super) enum Lenient {
    Acr,
    Amr,
    AuthTime,
    Id,
}

/// A claim that only another kind of JWT has. One byte, because each cached token keeps it.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    AccessTokenHash,
    CodeHash,
    DpopProof,
    Events,
    Introspection,
    KeycloakId,
    KeycloakOther,
    Nonce,
    StatusList,
    UseId,
    UseOther,
}

impl Lenient {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Acr => "acr",
            Self::Amr => "amr",
            Self::AuthTime => "auth_time",
            Self::Id => "jti",
        }
    }
}

impl Mark {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::AccessTokenHash => "claim `at_hash` marks an ID token",
            Self::CodeHash => "claim `c_hash` marks an ID token",
            Self::DpopProof => "claims `htm` and `htu` mark a DPoP proof",
            Self::Events => "claim `events` marks a security event",
            Self::Introspection => "claim `token_introspection` marks an introspection answer",
            Self::KeycloakId => "claim `typ` is `ID`",
            Self::KeycloakOther => "claim `typ` names another kind of token",
            Self::Nonce => "claim `nonce` marks an ID token",
            Self::StatusList => "claim `status_list` marks a status list",
            Self::UseId => "claim `token_use` is `id`",
            Self::UseOther => "claim `token_use` is not `access`",
        }
    }
}

/// What is wrong with a claim that is needed for the checks.
pub(super) enum Flaw {
    Type(&'static str),
    Time(&'static str),
}

impl Found {
    /// Reads one member of the payload.
    pub(super) fn member(
        &mut self,
        name: &str,
        value: Raw<'_>,
        texts: &mut Collector<'_>,
    ) -> Result<(), Flaw> {
        // Many libraries write `null` for a claim that is not set. Only a binding is never treated
        // as absent.
        if value.is_null() && name != "cnf" {
            return Ok(());
        }
        let mut text = |name| texts.string(value).ok_or(Flaw::Type(name));
        let date = |name| match value.number().map(NumericDate) {
            Some(date) if date.is_in_calendar() => Ok(date),
            Some(_) => Err(Flaw::Time(name)),
            None => Err(Flaw::Type(name)),
        };
        match name {
            "iss" => self.issuer = Some(text("iss")?),
            "sub" => self.subject = text("sub")?.present(),
            "aud" => {
                texts.add_one_or_more(value).ok_or(Flaw::Type("aud"))?;
                self.audience = Some(texts.end_list());
            }
            "exp" => self.expires_at = Some(date("exp")?),
            "nbf" => self.not_before = Some(date("nbf")?),
            "iat" => self.issued_at = Some(date("iat")?),
            "jti" => {
                self.id = self
                    .lenient(Lenient::Id, texts.string(value))
                    .and_then(Span::present)
            }
            "sid" => self.session_id = texts.string(value).unwrap_or_default(),
            "client_id" => self.client_id = text("client_id")?.present(),
            "azp" => self.party(0, texts.string(value)),
            "cid" => self.party(1, texts.string(value)),
            "appid" => self.party(2, texts.string(value)),
            "auth_time" => self.auth_time = self.lenient(Lenient::AuthTime, date("auth_time").ok()),
            "acr" => self.acr = self.lenient(Lenient::Acr, texts.string(value)),
            "amr" => {
                let is_list = texts.add_strings(value);
                let list = texts.end_list();
                if self.lenient(Lenient::Amr, is_list).is_some() {
                    self.amr = list;
                }
            }
            "scope" => self.scope = Span::of(value),
            "scp" => self.scp = Span::of(value),
            "roles" | "entitlements" | "permissions" | "cognito:groups" => {
                self.role_claim(value);
            }
            "realm_access" => self.realm_access = Span::of(value),
            "resource_access" => self.resource_access = Span::of(value),
            "cnf" => self.confirmation = Some(Confirmation::read(value, texts)),
            "idtyp" => self.says_client |= value.string().is_some_and(|kind| kind == "app"),
            "gty" => {
                self.says_client |= value
                    .string()
                    .is_some_and(|grant| grant == "client-credentials")
            }
            "at_hash" => self.id_token_mark = Some(Mark::AccessTokenHash),
            "c_hash" => self.id_token_mark = Some(Mark::CodeHash),
            "events" => self.foreign_mark = Some(Mark::Events),
            "status_list" => self.foreign_mark = Some(Mark::StatusList),
            "token_introspection" => self.foreign_mark = Some(Mark::Introspection),
            "htm" | "htu" => self.foreign_mark = Some(Mark::DpopProof),
            "nonce" => self.has_nonce = true,
            "token_use" => match value.string().as_deref() {
                // Ory Hydra uses the longer name in its answers for opaque tokens.
                None | Some("access" | "access_token") => {}
                Some("id") => self.id_token_mark = Some(Mark::UseId),
                Some(_) => self.foreign_mark = Some(Mark::UseOther),
            },
            "typ" => match value.string().as_deref() {
                Some("Bearer") => self.says_access_token = true,
                Some("ID") => self.id_token_mark = Some(Mark::KeycloakId),
                Some("Refresh" | "Offline" | "Logout") => {
                    self.foreign_mark = Some(Mark::KeycloakOther);
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// The value of a claim that restricts nothing. A wrong type counts as absent and is noted.
    fn lenient<T>(&mut self, claim: Lenient, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.odd_claim = Some(claim);
        }
        value
    }

    /// A name of the client. A wrong type counts as absent.
    fn party(&mut self, at: usize, name: Option<Span>) {
        if let (Some(party), Some(name)) = (self.parties.get_mut(at), name) {
            *party = name;
        }
    }

    fn role_claim(&mut self, value: Raw<'_>) {
        if let Some(free) = self.roles.get_mut(usize::from(self.role_claims)) {
            *free = Span::of(value);
            self.role_claims = self.role_claims.saturating_add(1);
        }
    }
}

impl Flaw {
    pub(super) fn rejection(self) -> Rejection {
        let reason = match self {
            Self::Type(name) => format!("claim `{name}` has the wrong JSON type"),
            Self::Time(name) => {
                format!("claim `{name}` is beyond the year 9999, expected seconds since 1970")
            }
        };
        Rejection::because(RejectionKind::InvalidClaim, reason)
    }
}

/// Number of top-level claims whose values are roles.
const ROLE_CLAIMS: usize = 4;
/// Number of claims that providers send instead of `client_id`.
const PARTIES: usize = 3;
