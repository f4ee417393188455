//! Claims of the application: their form, their names, and that there is no secret in them.

use serde::Serialize;

use crate::issue::token::error::IssueError;
use crate::issue::token::secrets;
use crate::json::{self, JsonError, MAX_MEMBERS, Raw};
use crate::token::limits::MaxTokenSize;
use crate::token::names::GrantShape;

/// Claims of the application as the text of one JSON object.
#[derive(Clone)]
pub(crate) struct OwnClaims(String);

impl OwnClaims {
    /// Writes the claims as JSON and checks them. `allowed` has the JSON pointers of claims that may look like secrets.
    pub(crate) fn of(claims: &impl Serialize, allowed: &[String]) -> Result<Self, IssueError> {
        let text = serde_json::to_string(claims).map_err(|_| IssueError::OwnClaims {
            // The error of `serde_json` may quote a value.
            reason: "they cannot be written as JSON".to_owned(),
        })?;
        // The search is bounded by this, too.
        let maximum = MaxTokenSize::default().bytes();
        if text.len() > maximum {
            let bytes = text.len();
            return Err(IssueError::TooLarge { bytes, maximum });
        }
        check(&text, allowed)?;
        Ok(Self(text))
    }

    /// The members of the object, without its braces.
    pub(crate) fn members(&self) -> &str {
        let inner = self
            .0
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        inner.unwrap_or_default()
    }
}

/// Checks a text of claims: one object without duplicate names, within the limits of a payload, with names that are
/// those of the application, and without secrets.
fn check(text: &str, allowed: &[String]) -> Result<(), IssueError> {
    let mut result = Ok(());
    let read = json::read_object(text, MEMBERS, |name, value| {
        if result.is_ok() {
            result = of_the_application(&name)
                .and_then(|()| roles(&name, value))
                .and_then(|()| secrets::check(&name, value, allowed));
        }
    });
    // Of a text that was rejected, nothing is used.
    read.map_err(|error| IssueError::OwnClaims {
        reason: match error {
            JsonError::Duplicate(name) => format!("the name {:?} occurs twice", shortened(&name)),
            JsonError::Reserved => "a name has a private meaning for `serde_json`".to_owned(),
            JsonError::Syntax(_) => "expected a struct or a map, which is a JSON object".to_owned(),
            JsonError::TooLarge(what) => format!("too large for a token: {what}"),
        },
    })?;
    result
}

fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}

/// Rejects the names that say what a token is, for whom, or what it grants.
fn of_the_application(name: &str) -> Result<(), IssueError> {
    let found = RESERVED.iter().find(|(names, _)| names.contains(&name));
    found.map_or(Ok(()), |(_, instead)| {
        Err(IssueError::ReservedClaim {
            name: name.to_owned(),
            instead,
        })
    })
}

/// Rejects roles that the layer could not read: it would reject the token.
fn roles(name: &str, value: Raw<'_>) -> Result<(), IssueError> {
    let is_read = ROLES.contains(&name) && !value.is_null();
    if is_read && !GrantShape::is_of_roles(value) {
        return Err(IssueError::OwnClaims {
            reason: format!(
                "claim `{name}` is not a string, or an array of strings or of objects with a `value`"
            ),
        });
    }
    Ok(())
}

/// The claims of which the layer reads roles.
const ROLES: [&str; 4] = ["cognito:groups", "entitlements", "permissions", "roles"];
/// The maximum number of own members. The rest of those of a payload is for the issuer.
const MEMBERS: usize = MAX_MEMBERS - 24;

/// The names that are not those of the application, and what to use in their place.
///
/// `roles`, `groups` and `entitlements` are the application's (RFC 9068, section 2.2.3.1), and so are the claims about
/// a person, such as `email`.
const RESERVED: &[(&[&str], &str)] = &[
    (
        &["iss", "aud", "exp", "nbf", "iat", "jti"],
        "the issuer writes it",
    ),
    (
        &["sub", "client_id", "azp", "cid", "appid", "idtyp", "gty"],
        "subject and client are the arguments of `for_subject` and `for_client`",
    ),
    (
        &["scope", "scp"],
        "grant scopes with `scopes` or `scope_set`",
    ),
    (&["sid"], "use `session_id`"),
    (&["auth_time"], "use `authenticated_at`"),
    (&["acr"], "use `authentication_context`"),
    (&["amr"], "use `authentication_methods`"),
    (&["cnf"], "use `bound_to`"),
    (
        &["act", "may_act"],
        "it says that somebody acts for another (RFC 8693), and these tokens do not",
    ),
    (
        &["status"],
        "it refers to a status list, so choose another name",
    ),
    (
        &[
            "at_hash",
            "c_hash",
            "events",
            "htm",
            "htu",
            "nonce",
            "s_hash",
            "status_list",
            "token_introspection",
            "token_use",
            "typ",
        ],
        "it marks another kind of token, so choose another name",
    ),
];
