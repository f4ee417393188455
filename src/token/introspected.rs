//! [`Answer`]: the answer of an issuer about a token (RFC 7662, section 2.2).

use std::fmt;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::json::{self, JsonError};
use crate::token::registered::Registered;
use crate::token::span;

/// The answer of an issuer about one token.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The token is active. Its claims still have to be validated.
    Active(ActiveAnswer),
    /// The token is expired, revoked, unknown, or not for this API. The rest of the answer is not
    /// read.
    Inactive,
    /// The token is active, but its claims cannot be accepted under any policy. This is a flaw of the
    /// token and not an outage.
    Invalid(Rejection),
}

/// The claims of a token, from an answer with `"active": true`.
///
/// Only [`Answer::read`] creates one.
pub(crate) struct ActiveAnswer {
    claims: Box<Registered>,
}

impl ActiveAnswer {
    pub(crate) fn claims(&self) -> &Registered {
        &self.claims
    }

    pub(crate) fn into_claims(self) -> Registered {
        *self.claims
    }
}

/// Prints nothing about the token.
impl fmt::Debug for ActiveAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveAnswer").finish_non_exhaustive()
    }
}

impl Answer {
    /// Reads the JSON text of an answer.
    ///
    /// # Errors
    ///
    /// Why this is not a valid answer. The reason quotes nothing, because a server may include the
    /// token in its answer.
    pub(crate) fn read(text: String) -> Result<Self, String> {
        let mut active = None;
        json::read_object(&text, json::MAX_MEMBERS, |name, value| {
            if name == "active" {
                active = Some(value.text());
            }
        })
        .map_err(flaw)?;
        match active {
            Some("true") => {}
            Some("false") => return Ok(Self::Inactive),
            Some(_) => return Err("member `active` is not true or false".into()),
            None => return Err("member `active` is missing".into()),
        }
        if !span::has_room_for(&text) {
            return Err("too long".into());
        }
        let read = Registered::read(text).and_then(|claims| {
            check_token_type(&claims)?;
            Ok(ActiveAnswer {
                claims: Box::new(claims),
            })
        });
        Ok(read.map_or_else(Self::Invalid, Self::Active))
    }
}

/// The type determines how the token is used (RFC 6749, section 5.1; RFC 9449, section 6.2). It
/// must not contradict the binding.
fn check_token_type(claims: &Registered) -> Result<(), Rejection> {
    let invalid = |reason| Err(Rejection::because(RejectionKind::InvalidClaim, reason));
    let value = claims.claim("token_type");
    let value = value.map(|place| place.value(claims.payload()));
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(());
    };
    let Some(token_type) = value.string() else {
        return invalid("claim `token_type` has the wrong JSON type");
    };
    let is = |name: &str| token_type.eq_ignore_ascii_case(name);
    if is("refresh_token") || is("refresh") {
        return Err(Rejection::because(
            RejectionKind::WrongType,
            "claim `token_type` says that this is a refresh token",
        ));
    }
    let binding = claims.confirmation();
    let is_bound = binding.is_some_and(|binding| binding.names_a_proof_key());
    match (is("DPoP"), is_bound) {
        (true, false) => invalid("claim `token_type` is `DPoP`, and `cnf` has no `jkt`"),
        (false, true) => invalid("`cnf` has a `jkt`, and claim `token_type` is not `DPoP`"),
        _ => Ok(()),
    }
}

fn flaw(error: JsonError) -> String {
    match error {
        JsonError::Duplicate(_) => "a member occurs twice in one object".into(),
        JsonError::Reserved => "a member has a reserved name".into(),
        JsonError::Syntax(at) => format!("not one JSON object, at byte {at}"),
        JsonError::TooLarge(what) => format!("{what} exceeds the limit"),
    }
}
