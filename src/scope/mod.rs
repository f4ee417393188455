//! What a handler can require of a token: scopes, roles, and combinations of them.
//!
//! A requirement is a type, so that it can stand in the signature of a handler. There is one way
//! to write it and six places to use it:
//!
//! | place | form |
//! |---|---|
//! | axum argument | `user: RequireScope<scope!("calendar:read")>` |
//! | route | `.route_layer(JwtAuth::require::<scope!("calendar:read")>())` |
//! | tonic method | `request.require::<scope!("calendar:read")>()?` |
//! | any code | `claims.authorize::<scope!("calendar:read")>()?` |
//! | scopes of a configuration file | `claims.authorize_all(&scopes)?` with a [`ScopeSet`] |
//! | a rule of your own | `impl Requirement for OfficeHours { .. }` |
//!
//! # Example: named scopes, and a rule of your own
//!
//! ```
//! use tower_jwt_auth::scope::{AllOf, Grants, Requirement, ResourceOwner};
//! use tower_jwt_auth::{Claims, Rejection, scope, scopes};
//!
//! mod calendar {
//!     tower_jwt_auth::scopes! {
//!         /// May see events.
//!         pub Read = "calendar:read";
//!         /// May see and change events.
//!         pub Edit = "calendar:read" & "calendar:write";
//!     }
//! }
//!
//! /// At most three scopes: a token that can do more belongs to no third party.
//! struct Narrow;
//!
//! impl Requirement for Narrow {
//!     fn is_met(grants: Grants<'_>) -> bool {
//!         grants.scopes().len() <= 3
//!     }
//!
//!     fn describe() -> String {
//!         "at most three scopes".into()
//!     }
//! }
//!
//! fn check(claims: &Claims) -> Result<(), Rejection> {
//!     claims.authorize::<calendar::Read>()?;
//!     claims.authorize::<scope!("calendar:read" | "calendar:admin")>()?;
//!     claims.authorize::<AllOf<(calendar::Edit, ResourceOwner, Narrow)>>()
//! }
//! ```

pub(crate) mod macros;
pub(crate) mod set;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bytes::is_scope;
use crate::claims::names::NameSet;
use crate::claims::own;
use crate::claims::{Claims, Token};
use crate::error::rejection::Rejection;
#[doc(hidden)]
pub use crate::scope::macros::{Name, Text, part, role_length, scope_length};
pub use crate::scope::set::ScopeSet;
use crate::token::pointer::ClaimPointer;

/// Something that a token must grant.
///
/// Written with [`scope!`](crate::scope!), [`role!`](crate::role!), [`scopes!`](crate::scopes!) or
/// [`roles!`](crate::roles!), combined with [`AllOf`] and [`AnyOf`]. It is a trait to implement
/// too, for rules that look at what a token grants.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a requirement",
    label = "expected a requirement such as `scope!(\"calendar:read\")`",
    note = "write it inline, `scope!(\"calendar:read\")`, or name it once, `scopes! {{ pub Read = \"calendar:read\"; }}`, and use `Read`",
    note = "scopes that are known at run time only are checked in the handler: `claims.authorize_all(&scopes)?`",
    note = "own claims come second: `RequireScope<scope!(\"calendar:read\"), MyClaims>`"
)]
pub trait Requirement: 'static {
    /// Whether the token grants it.
    fn is_met(grants: Grants<'_>) -> bool;

    /// The requirement in words, for the operator.
    fn describe() -> String;

    /// The scopes that a client should ask for to meet it: the `scope` of the challenge, where a
    /// text that is no scope (RFC 6749, section 3.3) is left out. Default: none.
    #[must_use]
    fn scopes() -> Vec<&'static str> {
        Vec::new()
    }
}

/// What a verified token grants, for a [`Requirement`] to look at.
#[derive(Clone, Copy)]
pub struct Grants<'a>(&'a Token);

impl<'a> Grants<'a> {
    /// The scopes.
    #[must_use]
    pub fn scopes(self) -> NameSet<'a> {
        self.0.scopes()
    }

    /// The roles; see [`Claims::roles`].
    #[must_use]
    pub fn roles(self) -> NameSet<'a> {
        self.0.roles()
    }

    /// The client that got the token; see [`Claims::client_id`].
    #[must_use]
    pub fn client_id(self) -> Option<&'a str> {
        self.0.client_id()
    }

    /// Whether the client acts for itself; see [`Claims::is_client`].
    #[must_use]
    pub fn is_client(self) -> bool {
        self.0.is_client()
    }

    /// The issuer: a subject, a client or another claim means something only beside it, where
    /// several issuers are trusted.
    #[must_use]
    pub fn issuer(self) -> &'a str {
        self.0.registered().issuer().unwrap_or_default()
    }

    /// The subject; see [`Claims::subject`].
    #[must_use]
    pub fn subject(self) -> Option<&'a str> {
        self.0.registered().subject()
    }

    /// The audiences.
    pub fn audience(self) -> impl Iterator<Item = &'a str> {
        self.0.registered().audience()
    }

    /// Any claim, found by a JSON pointer such as `/repository_owner`
    /// ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901), through objects).
    ///
    /// `None` if the token has no such claim, if it does not fit the type, or if the text is no
    /// pointer. The claim is read again each time.
    ///
    /// # Example: pipelines of one organisation alone
    ///
    /// ```
    /// use tower_jwt_auth::scope::{Grants, Requirement};
    ///
    /// struct OurPipelines;
    ///
    /// impl Requirement for OurPipelines {
    ///     fn is_met(grants: Grants<'_>) -> bool {
    ///         grants.issuer() == "https://token.actions.githubusercontent.com"
    ///             && grants.claim::<String>("/repository_owner").as_deref() == Some("acme")
    ///     }
    ///
    ///     fn describe() -> String {
    ///         "a pipeline of acme".into()
    ///     }
    /// }
    /// # #[cfg(feature = "test-util")] {
    /// # let issuer = tower_jwt_auth::test::TestIssuer::new().named("https://token.actions.githubusercontent.com");
    /// # let verifier = issuer.auth().verifier();
    /// # for (owner, may) in [("acme", true), ("mallory", false)] {
    /// #     let claims = verifier.verify_now(&issuer.token().claim("repository_owner", owner).mint()).unwrap();
    /// #     assert_eq!(claims.authorize::<OurPipelines>().is_ok(), may);
    /// # }
    /// # }
    /// ```
    #[must_use]
    pub fn claim<D: DeserializeOwned>(self, pointer: &str) -> Option<D> {
        let pointer = ClaimPointer::new(pointer).ok()?;
        let registered = self.0.registered();
        let value = registered.at(pointer.names())?;
        own::value(value.value(registered.payload()))
    }
}

/// Prints the issuer and the client, and nothing about the person.
impl fmt::Debug for Grants<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("issuer", &self.issuer())
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}

impl<C> Claims<C> {
    /// Decides whether the token grants what `R` requires.
    ///
    /// # Errors
    ///
    /// [`InsufficientScope`] or [`InsufficientRole`] (403); the rejection names the scopes that
    /// would have been enough.
    ///
    /// [`InsufficientScope`]: crate::RejectionKind::InsufficientScope
    /// [`InsufficientRole`]: crate::RejectionKind::InsufficientRole
    pub fn authorize<R: Requirement>(&self) -> Result<(), Rejection> {
        let grants = Grants(self.token());
        if R::is_met(grants) {
            return Ok(());
        }
        let scopes = R::scopes().into_iter().filter(|scope| is_scope(scope));
        let mut scopes: Vec<_> = scopes.map(Cow::Borrowed).collect();
        if scopes.iter().all(|scope| grants.scopes().contains(scope)) {
            // A client that asked for these scopes again would be back with the same token.
            scopes.clear();
        }
        Err(Rejection::rights(scopes, R::describe()))
    }
}

/// Every one of the requirements in a tuple, which can be nested.
pub struct AllOf<T>(PhantomData<fn() -> T>);

/// At least one of the requirements in a tuple, which can be nested. The challenge asks for the
/// scopes of the first.
pub struct AnyOf<T>(PhantomData<fn() -> T>);

/// The token acts for a resource owner, and is not a client's own
/// ([RFC 9068, section 5](https://www.rfc-editor.org/rfc/rfc9068#section-5)).
pub struct ResourceOwner(PhantomData<()>);

#[diagnostic::do_not_recommend]
impl Requirement for ResourceOwner {
    fn is_met(grants: Grants<'_>) -> bool {
        !grants.is_client()
    }

    fn describe() -> String {
        "a resource owner, not a client acting for itself".into()
    }
}

/// One scope, written [`scope!("calendar:read")`](crate::scope!).
pub struct Scope<N>(PhantomData<fn() -> N>);

/// One role, written [`role!("admin")`](crate::role!).
pub struct Role<N>(PhantomData<fn() -> N>);

/// A scope from a literal, in one step: what users write inline stays a simple type to Clippy.
#[doc(hidden)]
pub type LiteralScope<
    const LENGTH: usize,
    const A: u128,
    const B: u128,
    const C: u128,
    const D: u128,
    const E: u128,
    const F: u128,
    const G: u128,
    const H: u128,
> = Scope<Text<LENGTH, A, B, C, D, E, F, G, H>>;

/// The same for a role.
#[doc(hidden)]
pub type LiteralRole<
    const LENGTH: usize,
    const A: u128,
    const B: u128,
    const C: u128,
    const D: u128,
    const E: u128,
    const F: u128,
    const G: u128,
    const H: u128,
> = Role<Text<LENGTH, A, B, C, D, E, F, G, H>>;

#[diagnostic::do_not_recommend]
impl<N: Name> Requirement for Scope<N> {
    fn is_met(grants: Grants<'_>) -> bool {
        grants.scopes().contains(N::TEXT)
    }

    fn describe() -> String {
        format!("scope {}", N::TEXT)
    }

    fn scopes() -> Vec<&'static str> {
        vec![N::TEXT]
    }
}

#[diagnostic::do_not_recommend]
impl<N: Name> Requirement for Role<N> {
    fn is_met(grants: Grants<'_>) -> bool {
        grants.roles().contains(N::TEXT)
    }

    fn describe() -> String {
        format!("role {}", N::TEXT)
    }
}

macro_rules! tuples {
    ($first:ident $($rest:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<$first: Requirement, $($rest: Requirement),*> Requirement for AllOf<($first, $($rest,)*)> {
            fn is_met(grants: Grants<'_>) -> bool {
                $first::is_met(grants) $(&& $rest::is_met(grants))*
            }

            fn describe() -> String {
                format!("({})", [$first::describe(), $($rest::describe()),*].join(" and "))
            }

            fn scopes() -> Vec<&'static str> {
                union([$first::scopes(), $($rest::scopes()),*])
            }
        }

        #[diagnostic::do_not_recommend]
        impl<$first: Requirement, $($rest: Requirement),*> Requirement for AnyOf<($first, $($rest,)*)> {
            fn is_met(grants: Grants<'_>) -> bool {
                $first::is_met(grants) $(|| $rest::is_met(grants))*
            }

            fn describe() -> String {
                format!("({})", [$first::describe(), $($rest::describe()),*].join(" or "))
            }

            fn scopes() -> Vec<&'static str> {
                $first::scopes()
            }
        }

        tuples!($($rest)*);
    };
    () => {};
}

fn union<const N: usize>(sets: [Vec<&'static str>; N]) -> Vec<&'static str> {
    let mut union = Vec::new();
    for scope in sets.into_iter().flatten() {
        if !union.contains(&scope) {
            union.push(scope);
        }
    }
    union
}

tuples!(A B D E F G H I J K L M);

macro_rules! printed {
    ($($name:ident<$parameter:ident>)*) => {$(
        impl<$parameter> fmt::Debug for $name<$parameter> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

printed!(AllOf<T> AnyOf<T> Scope<N> Role<N>);

impl fmt::Debug for ResourceOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResourceOwner")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_as_types() {
        type Short = crate::scope!("a");
        type Sixteen = crate::scope!("0123456789abcdef");
        type Long =
            crate::scope!("https://www.example.com/auth/calendar.events.readonly#and-more-of-it");
        assert_eq!(Short::scopes(), ["a"]);
        assert_eq!(Sixteen::scopes(), ["0123456789abcdef"]);
        assert_eq!(
            Long::scopes(),
            ["https://www.example.com/auth/calendar.events.readonly#and-more-of-it"]
        );
        assert_eq!(<crate::role!("Gruppe Ä")>::describe(), "role Gruppe Ä");
    }

    #[test]
    fn combinations_name_their_scopes() {
        assert_eq!(<crate::scope!("a" & "b" & "a")>::scopes(), ["a", "b"]);
        assert_eq!(<crate::scope!("a" | "b")>::scopes(), ["a"]);
        assert_eq!(<crate::scope!(("a" & "b") | "c")>::scopes(), ["a", "b"]);
        assert_eq!(
            <crate::scope!(("a" & "b") | "c")>::describe(),
            "((scope a and scope b) or scope c)"
        );
        assert_eq!(<crate::role!("a")>::scopes(), [""; 0]);
    }
}
