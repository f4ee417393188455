//! Requirements: the scopes and roles that a handler requires of a token.
//!
//! A requirement is a type, so it can be part of the signature of a handler. It is written in the same
//! way in each of these places:
//!
//! | place | form |
//! |---|---|
//! | argument of an axum handler | `user: RequireScope<scope!("calendar:read")>` |
//! | route | `.route_layer(JwtAuth::require::<scope!("calendar:read")>())` |
//! | tonic method | `request.require::<scope!("calendar:read")>()?` |
//! | other code | `claims.authorize::<scope!("calendar:read")>()?` |
//!
//! Scopes from a configuration file are a [`ScopeSet`], which `claims.authorize_all(&scopes)?` checks.
//! For your own rule, implement [`Requirement`].
//!
//! # Example: named scopes and your own rule
//!
//! ```
//! use tower_jwt_auth::scope::{AllOf, Grants, Requirement, ResourceOwner, Shortfall};
//! use tower_jwt_auth::{Claims, Rejection, scope, scopes};
//!
//! mod calendar {
//!     tower_jwt_auth::scopes! {
//!         /// May read events.
//!         pub Read = "calendar:read";
//!         /// May read and change events.
//!         pub Edit = "calendar:read" & "calendar:write";
//!     }
//! }
//!
//! /// A token for a third party has at most three scopes.
//! struct Narrow;
//!
//! impl Requirement for Narrow {
//!     fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
//!         Shortfall::right_unless(grants.scopes().len() <= 3, Self::describe())
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

mod granted;
pub(crate) mod grants;
pub(crate) mod macros;
pub(crate) mod set;
pub(crate) mod shortfall;
mod values;

use std::fmt;
use std::marker::PhantomData;

use crate::claims::Claims;
use crate::error::rejection::Rejection;
pub use crate::scope::granted::ScopeTypes;
pub use crate::scope::grants::Grants;
#[doc(hidden)]
pub use crate::scope::macros::{Name, Text, part, role_length, scope_length};
pub use crate::scope::set::ScopeSet;
pub use crate::scope::shortfall::Shortfall;
#[doc(hidden)]
pub use crate::scope::values::{AllOf, AnyOf, LiteralScope, LiteralScope as LiteralRole};

/// A requirement that a token must meet.
///
/// Write one with [`scope!`](crate::scope!), [`role!`](crate::role!), [`scopes!`](crate::scopes!) or
/// [`roles!`](crate::roles!), and combine several with [`AllOf`] and [`AnyOf`]. Implement this trait
/// for your own rule.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a requirement",
    label = "expected a requirement such as `scope!(\"calendar:read\")`",
    note = "write it inline, `scope!(\"calendar:read\")`, or name it once, `scopes! {{ pub Read = \"calendar:read\"; }}`, and use `Read`",
    note = "scopes that are known at run time only are checked in the handler: `claims.authorize_all(&scopes)?`",
    note = "own claims come second: `RequireScope<scope!(\"calendar:read\"), MyClaims>`"
)]
pub trait Requirement: 'static {
    /// Decides whether the token meets the requirement.
    ///
    /// # Errors
    ///
    /// [`Shortfall`], which names what is missing.
    fn check(grants: Grants<'_>) -> Result<(), Shortfall>;

    /// Describes the requirement in words, for documentation and `Debug`.
    fn describe() -> String;

    /// The scopes that a token needs to meet the requirement. If a scope is missing, the challenge names
    /// all of these scopes. Default: none.
    #[must_use]
    fn scopes() -> Vec<&'static str> {
        Vec::new()
    }
}

impl<C> Claims<C> {
    /// Decides whether the token meets the requirement `R`.
    ///
    /// # Errors
    ///
    /// [`InsufficientScope`] or [`InsufficientRole`] (403). If a scope is missing, the challenge names
    /// all scopes that `R` needs. [`BindingMismatch`] (401) if the token has to be [bound](BoundToken). The
    /// sentence for the operator names everything that is missing.
    ///
    /// [`BindingMismatch`]: crate::RejectionKind::BindingMismatch
    /// [`InsufficientScope`]: crate::RejectionKind::InsufficientScope
    /// [`InsufficientRole`]: crate::RejectionKind::InsufficientRole
    pub fn authorize<R: Requirement>(&self) -> Result<(), Rejection> {
        let grants = Grants::of(self.token());
        R::check(grants).map_err(|shortfall| shortfall.into_rejection(R::scopes(), grants.scopes()))
    }
}

/// Requires all requirements in a tuple. Tuples can be nested. One [`Shortfall`] names everything that is
/// missing.
pub struct AllOf<T> {
    requirements: PhantomData<fn() -> T>,
}

/// Requires at least one of the requirements in a tuple. Tuples can be nested. The challenge names the
/// scopes of the first requirement.
pub struct AnyOf<T> {
    requirements: PhantomData<fn() -> T>,
}

/// Requires a token that was issued to a resource owner, and not to a client for itself
/// ([RFC 9068, section 5](https://www.rfc-editor.org/rfc/rfc9068#section-5)).
pub struct ResourceOwner(PhantomData<()>);

#[diagnostic::do_not_recommend]
impl Requirement for ResourceOwner {
    fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
        Shortfall::right_unless(!grants.is_client(), Self::describe())
    }

    fn describe() -> String {
        "a resource owner, not a client acting for itself".into()
    }
}

/// Requires a token that is bound to something that its caller has proved, such as a [client
/// certificate](crate::JwtAuth::client_certificates). A bearer token is rejected with 401 and
/// `invalid_token`, because a thief could use it.
///
/// To require this of each token of a layer or an issuer, use
/// [`require_bound_tokens`](crate::JwtAuth::require_bound_tokens).
///
/// # Example: only bound tokens can transfer money
///
/// ```
/// use axum::{Router, routing::post};
/// use tower_jwt_auth::JwtAuth;
/// use tower_jwt_auth::scope::BoundToken;
///
/// let payments: Router = Router::new()
///     .route("/payments", post(async || "paid"))
///     .route_layer(JwtAuth::require::<BoundToken>());
/// ```
pub struct BoundToken(PhantomData<()>);

#[diagnostic::do_not_recommend]
impl Requirement for BoundToken {
    fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
        if grants.is_bound() {
            return Ok(());
        }
        Err(Shortfall::unbound(Self::describe()))
    }

    fn describe() -> String {
        "a bound token (`cnf`)".into()
    }
}

/// Requires one scope. Written as [`scope!("calendar:read")`](crate::scope!).
pub struct Scope<N>(PhantomData<fn() -> N>);

/// Requires one role. Written as [`role!("admin")`](crate::role!).
pub struct Role<N>(PhantomData<fn() -> N>);

/// A scope from a literal, as one alias, so that Clippy sees a simple type where users write the
/// macro inline.
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
    fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
        if grants.scopes().contains(N::TEXT) {
            return Ok(());
        }
        Err(Shortfall::scopes([N::TEXT]))
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
    fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
        if grants.roles().contains(N::TEXT) {
            return Ok(());
        }
        Err(Shortfall::right(Self::describe()))
    }

    fn describe() -> String {
        format!("role {}", N::TEXT)
    }
}

#[diagnostic::do_not_recommend]
impl<N: Name> ScopeTypes for Scope<N> {
    fn each(visit: &mut dyn FnMut(&'static str)) {
        visit(N::TEXT);
    }
}

#[diagnostic::do_not_recommend]
impl<T: ScopeTypes> ScopeTypes for AllOf<T> {
    fn each(visit: &mut dyn FnMut(&'static str)) {
        T::each(visit);
    }
}

macro_rules! tuples {
    ($first:ident $($rest:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<$first: Requirement, $($rest: Requirement),*> Requirement for AllOf<($first, $($rest,)*)> {
            fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
                let checked = $first::check(grants);
                $(let checked = both(checked, $rest::check(grants));)*
                checked
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
            fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
                let Err(shortfall) = $first::check(grants) else {
                    return Ok(());
                };
                $(let shortfall = match $rest::check(grants) {
                    Ok(()) => return Ok(()),
                    Err(other) => shortfall.or(other),
                };)*
                Err(shortfall)
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

/// Joins the results of two requirements, both of which must be met.
fn both(first: Result<(), Shortfall>, second: Result<(), Shortfall>) -> Result<(), Shortfall> {
    match (first, second) {
        (Err(first), Err(second)) => Err(first.and(second)),
        (first, Ok(())) => first,
        (Ok(()), second) => second,
    }
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

impl fmt::Debug for BoundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundToken")
    }
}

impl fmt::Debug for ResourceOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResourceOwner")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_after_it_was_a_type() {
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
