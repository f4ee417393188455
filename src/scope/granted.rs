//! [`ScopeTypes`]: scopes that can be granted to a token.

/// Scopes that can be granted to a token: a type of [`scope!`](crate::scope!) or [`scopes!`](crate::scopes!) that
/// requires all of its scopes, or a tuple of such types.
///
/// A type with `"a" | "b"` describes what a handler accepts and not what a token has, so it does not
/// implement this trait. Neither does a role.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name scopes that a token can be granted",
    label = "expected all-of scopes, such as `scope!(\"calendar:read\")` or `(Read, Write)`",
    note = "a token has all of its scopes: write `\"a\" & \"b\"` or a tuple in place of `\"a\" | \"b\"`, and leave out what the person has not allowed",
    note = "roles are a claim of the application: `.claims(&MyClaims {{ roles }})`",
    note = "scopes that are known at run time only are a `ScopeSet`: `.scope_set(&scopes)`"
)]
pub trait ScopeTypes: 'static {
    /// Calls `visit` with each scope.
    #[doc(hidden)]
    fn each(visit: &mut dyn FnMut(&'static str));
}

macro_rules! tuples {
    ($first:ident $($rest:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<$first: ScopeTypes, $($rest: ScopeTypes),*> ScopeTypes for ($first, $($rest,)*) {
            fn each(visit: &mut dyn FnMut(&'static str)) {
                $first::each(visit);
                $($rest::each(visit);)*
            }
        }

        tuples!($($rest)*);
    };
    () => {};
}

tuples!(A B D E F G H I J K L M);
