//! The compiler message where `scope!` or `role!` is used as a value.
//!
//! Each type that the macros use has a function of the same name. The compiler finds the function
//! where a value is expected, and rejects it with a message.

/// Not implemented for any type, so that no use of the functions below compiles.
#[diagnostic::on_unimplemented(
    message = "`scope!(..)` and `role!(..)` are types, not values",
    label = "write it between angle brackets",
    note = "`JwtAuth::require::<scope!(\"calendar:read\")>()`, `claims.authorize::<scope!(\"calendar:read\")>()?` or `RequireScope<scope!(\"calendar:read\")>`",
    note = "for a decision in the code, take the text itself: `claims.has_scope(\"calendar:read\")`"
)]
#[expect(unnameable_types, reason = "it has no implementations")]
pub trait Value {}

#[doc(hidden)]
#[expect(non_snake_case, reason = "it has the name of the type")]
pub fn LiteralScope<
    const LENGTH: usize,
    const A: u128,
    const B: u128,
    const C: u128,
    const D: u128,
    const E: u128,
    const F: u128,
    const G: u128,
    const H: u128,
>()
where
    for<'never> (): Value,
{
}

#[doc(hidden)]
#[expect(non_snake_case, reason = "it has the name of the type")]
pub fn AllOf<T>()
where
    for<'never> (): Value,
{
}

#[doc(hidden)]
#[expect(non_snake_case, reason = "it has the name of the type")]
pub fn AnyOf<T>()
where
    for<'never> (): Value,
{
}
