//! The claims that grant scopes and roles. They are read strictly: a value with an unexpected shape
//! causes a rejection of the token, and is not treated as an empty list.

use std::borrow::Cow;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::issuer::Audience;
use crate::json::Raw;
use crate::policy::Trust;
use crate::policy::rules::Rules;
use crate::token::names::GrantShape;
use crate::token::pointer::ClaimPointer;
use crate::token::registered::Registered;
use crate::token::span::{Span, Spans};

/// Finds the claims with scopes: `scope` (RFC 8693, section 4.2), `scp`, or those of the rules.
pub(crate) fn scopes(claims: &mut Registered, rules: &Rules) -> Result<(), Rejection> {
    const NAMES: &str = "a string or an array of strings";
    if !rules.scopes_from.is_empty() {
        let mut values = Spans::default();
        for pointer in rules.scopes_from.iter() {
            let Some(value) = named(claims, pointer)? else {
                continue;
            };
            if GrantShape::of(value) == GrantShape::Invalid {
                return Err(wrong(&pointer.names().join("/"), NAMES));
            }
            values.push(Span::of(value));
        }
        claims.grant_scopes(values.as_slice().iter().copied());
        return Ok(());
    }
    let is_profile = rules.is_access_token_profile;
    let (name, value) = match (claims.scope(), claims.scp()) {
        (Some(scope), _) => ("scope", scope),
        (None, Some(scp)) if !is_profile => ("scp", scp),
        (None, _) => return Ok(()),
    };
    match GrantShape::of(value.value(claims.payload())) {
        GrantShape::List if is_profile => Err(wrong(name, "a string")),
        GrantShape::Invalid => Err(wrong(name, NAMES)),
        GrantShape::List | GrantShape::Text => {
            claims.grant_scopes([value]);
            Ok(())
        }
    }
}

/// Finds the claims with roles: `roles` (RFC 9068, section 2.2.3.1), the claims that large providers
/// use, or those of the rules.
pub(crate) fn roles(claims: &mut Registered, trust: &Trust) -> Result<(), Rejection> {
    let pointers = &trust.rules.roles_from;
    let mut values = Roles::default();
    if pointers.is_empty() {
        usual_roles(claims, &trust.audience, &mut values)?;
    }
    for pointer in pointers.iter() {
        if let Some(value) = named(claims, pointer)? {
            values.add(value, || pointer.names().join("/").into())?;
        }
    }
    claims.grant_roles(values.0.as_slice().iter().copied());
    Ok(())
}

/// Reads the claims that are read by default; see [`Claims::roles`](crate::Claims::roles).
fn usual_roles(
    claims: &Registered,
    audience: &Audience,
    values: &mut Roles,
) -> Result<(), Rejection> {
    for value in claims.usual_roles() {
        let name = || claims.name_of(value).to_owned().into();
        values.add(value.value(claims.payload()), name)?;
    }
    if let Some(realm) = claims.realm_access() {
        values.add_member(realm.value(claims.payload()), "realm_access")?;
    }
    if let Some(clients) = claims.resource_access() {
        // The roles of another client are ignored here, whatever their shape.
        let mut verdict = Ok(());
        let is_object = clients
            .value(claims.payload())
            .each_member(|client, access| {
                if verdict.is_ok() && audience.ids().any(|id| id == client) {
                    verdict = values.add_member(access, "resource_access");
                }
            });
        is_object.ok_or_else(|| wrong("resource_access", OBJECT))?;
        verdict?;
    }
    Ok(())
}

/// The values with roles.
#[derive(Default)]
struct Roles(Spans);

impl Roles {
    fn add<'n>(
        &mut self,
        value: Raw<'_>,
        name: impl FnOnce() -> Cow<'n, str>,
    ) -> Result<(), Rejection> {
        if value.is_null() {
            return Ok(());
        }
        if !GrantShape::is_of_roles(value) {
            return Err(wrong(
                &name(),
                "a string, or an array of strings or of objects with a `value`",
            ));
        }
        self.0.push(Span::of(value));
        Ok(())
    }

    /// Adds the member `roles` of an object, as Keycloak sends it.
    fn add_member(&mut self, access: Raw<'_>, claim: &'static str) -> Result<(), Rejection> {
        if access.is_null() {
            return Ok(());
        }
        if !access.is_object() {
            return Err(wrong(claim, OBJECT));
        }
        access
            .member("roles")
            .map_or(Ok(()), |roles| self.add(roles, || claim.into()))
    }
}

/// The value that a pointer of the rules points to. `null` counts as absent at every level.
pub(crate) fn named<'c>(
    claims: &'c Registered,
    pointer: &ClaimPointer,
) -> Result<Option<Raw<'c>>, Rejection> {
    let mut names = pointer.names().iter();
    let first = names.next().and_then(|name| claims.claim(name));
    let mut found = first.map(|claim| claim.value(claims.payload()));
    for name in names {
        found = match found.filter(|value| !value.is_null()) {
            None => return Ok(None),
            Some(value) if value.is_object() => value.member(name),
            Some(_) => return Err(wrong(&pointer.names().join("/"), "a member of objects")),
        };
    }
    Ok(found.filter(|value| !value.is_null()))
}

pub(crate) fn wrong(claim: &str, expected: &str) -> Rejection {
    Rejection::because(
        RejectionKind::InvalidClaim,
        format!("claim `{claim}` is not {expected}"),
    )
}

const OBJECT: &str = "an object";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_roles_come_in_several_shapes() {
        for (text, expected) in [
            (r#"{"roles":["a","b","a",""]}"#, vec!["a", "b"]),
            (
                r#"{"roles":[{"value":"a","display":"A"},{"value":"b"}]}"#,
                vec!["a", "b"],
            ),
            (r#"{"entitlements":"a"}"#, vec!["a"]),
            (r#"{"entitlements":null,"permissions":[]}"#, vec![]),
            (r#"{"groups":["a"]}"#, vec![]),
            (
                r#"{"realm_access":{"roles":["a"]},"cognito:groups":["b"]}"#,
                vec!["b", "a"],
            ),
            (
                r#"{"roles":"1","entitlements":"2","permissions":"3","cognito:groups":"4","realm_access":{"roles":"\u0035"}}"#,
                vec!["1", "2", "3", "4", "5"],
            ),
        ] {
            let (claims, verdict) = read(text);
            verdict.unwrap_or_else(|error| panic!("{text}: {error}"));
            let (roles, buffer) = claims.roles();
            let roles: Vec<_> = roles.iter().map(|name| name.text(buffer)).collect();
            assert_eq!(roles, expected, "{text}");
        }
    }

    #[test]
    fn roles_of_another_shape_are_told_by_the_name_of_their_claim() {
        for (text, reason) in [
            (r#"{"roles":5}"#, "claim `roles` is not a string"),
            (r#"{"r\u006fles":{}}"#, "claim `roles` is not a string"),
            (
                r#"{"roles":["a"],"permissions":["a",1]}"#,
                "claim `permissions` is not a string",
            ),
            (
                r#"{"realm_access":{"roles":{}}}"#,
                "claim `realm_access` is not a string",
            ),
            (
                r#"{"realm_access":["a"]}"#,
                "claim `realm_access` is not an object",
            ),
            (
                r#"{"resource_access":"a"}"#,
                "claim `resource_access` is not an object",
            ),
            (
                r#"{"resource_access":{"api":[]}}"#,
                "claim `resource_access` is not an object",
            ),
        ] {
            let (_, verdict) = read(text);
            let rejection = verdict.expect_err(text);
            assert_eq!(rejection.kind(), RejectionKind::InvalidClaim, "{text}");
            assert!(rejection.to_string().contains(reason), "{rejection}");
        }
    }

    fn read(text: &str) -> (Registered, Result<(), Rejection>) {
        let claims = Registered::read(text.to_owned());
        let mut claims = claims.unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut values = Roles::default();
        let audience = Audience::new("api").expect("a good audience");
        let verdict = usual_roles(&claims, &audience, &mut values);
        claims.grant_roles(values.0.as_slice().iter().copied());
        (claims, verdict)
    }
}
