//! The claims that the checks need, read from the payload in one pass.

use crate::clock::NumericDate;
use crate::error::{Rejection, RejectionKind};
use crate::json::{self, JsonError, Raw};

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

#[cfg(test)]
mod tests {
    use super::*;

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
