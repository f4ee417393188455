//! The macros for requirements, and the types that hold their texts.
//!
//! Stable Rust has no const parameters of type `&str`. The macros therefore turn a text into its length
//! and eight integers of 16 bytes each. A text that is not a valid scope does not compile.

/// A text as a type.
#[doc(hidden)]
pub trait Name: 'static {
    const TEXT: &'static str;
}

/// A text of `LENGTH` bytes. Each of the other parameters contains 16 of the bytes.
#[doc(hidden)]
#[derive(Debug)]
pub struct Text<
    const LENGTH: usize,
    const A: u128,
    const B: u128,
    const C: u128,
    const D: u128,
    const E: u128,
    const F: u128,
    const G: u128,
    const H: u128,
>(());

impl<
    const LENGTH: usize,
    const A: u128,
    const B: u128,
    const C: u128,
    const D: u128,
    const E: u128,
    const F: u128,
    const G: u128,
    const H: u128,
> Name for Text<LENGTH, A, B, C, D, E, F, G, H>
{
    const TEXT: &'static str = {
        let bytes = &const { joined([A, B, C, D, E, F, G, H]) };
        match std::str::from_utf8(bytes.split_at(LENGTH).0) {
            Ok(text) => text,
            Err(_) => panic!("made by the macros from a text"),
        }
    };
}

/// The length of a scope. A text that is not a valid scope (RFC 6749, section 3.3) does not compile.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub const fn scope_length(text: &str) -> usize {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b' ' => {
                    panic!("a scope has no spaces: write \"a\" & \"b\" to require two scopes")
                }
                byte if crate::bytes::is_scope_character(byte) => {}
                _ => {
                    panic!(
                        "a scope is visible ASCII without quotes and backslashes (RFC 6749, section 3.3)"
                    )
                }
            }
            at += 1;
        }
    }
    role_length(text)
}

/// The length of a role. A text that is empty or too long does not compile.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub const fn role_length(text: &str) -> usize {
    if text.is_empty() {
        panic!("a scope or role is not empty: write one such as \"calendar:read\"");
    }
    if text.len() > NAME_MAX {
        panic!(
            "a scope or role in a macro has at most 128 bytes: implement `Requirement` for a longer one"
        );
    }
    text.len()
}

/// The 16 bytes of `text` from `16 * part` on, padded with zeros.
#[doc(hidden)]
#[must_use]
pub const fn part(text: &str, part: usize) -> u128 {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    {
        let bytes = text.as_bytes();
        let mut found = [0; 16];
        let mut at = 0;
        while at < 16 && part * 16 + at < bytes.len() {
            found[at] = bytes[part * 16 + at];
            at += 1;
        }
        u128::from_le_bytes(found)
    }
}

/// The bytes of a text, padded with zeros, from the results of [`part`].
const fn joined(parts: [u128; NAME_MAX / 16]) -> [u8; NAME_MAX] {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    {
        let mut bytes = [0; NAME_MAX];
        let mut at = 0;
        while at < NAME_MAX {
            bytes[at] = parts[at / 16].to_le_bytes()[at % 16];
            at += 1;
        }
        bytes
    }
}

/// The maximum number of bytes of a text.
const NAME_MAX: usize = 128;

/// Creates a requirement of scopes. The result is a type.
///
/// | form | meaning |
/// |---|---|
/// | `scope!("a")` | the scope `a` |
/// | `scope!("a" & "b")` | both scopes |
/// | `scope!("a" \| "b")` | at least one of the scopes; the challenge names the first |
/// | `scope!(("a" & "b") \| "c")` | `&` and `\|` together need parentheses |
///
/// A string that is not a valid scope ([RFC 6749, section 3.3]) does not compile:
///
/// ```compile_fail
/// type Two = tower_jwt_auth::scope!("calendar:read calendar:write");
/// fn use_it(claims: tower_jwt_auth::Claims) {
///     let _ = claims.authorize::<Two>();
/// }
/// ```
///
/// ```compile_fail
/// type Quoted = tower_jwt_auth::scope!("calendar:\"read\"");
/// fn use_it(claims: tower_jwt_auth::Claims) {
///     let _ = claims.authorize::<Quoted>();
/// }
/// ```
///
/// ```
/// type Two = tower_jwt_auth::scope!("calendar:read" & "calendar:write");
/// fn use_it(claims: tower_jwt_auth::Claims) {
///     let _ = claims.authorize::<Two>();
/// }
/// ```
///
/// # Compiler errors
///
/// | error | code | write instead |
/// |---|---|---|
/// | "constant provided when a type was expected" | `RequireScope<"calendar:read">` | `RequireScope<scope!("calendar:read")>` |
/// | "`scope!(..)` and `role!(..)` are types, not values" | `JwtAuth::require(scope!("calendar:read"))` | `JwtAuth::require::<scope!("calendar:read")>()` |
/// | "this function takes 0 arguments but 1 argument was supplied" | `JwtAuth::require(Read)` | `JwtAuth::require::<Read>()` |
/// | "this method takes 0 arguments but 1 argument was supplied" | `claims.authorize(Read)` | `claims.authorize::<Read>()` |
///
/// [RFC 6749, section 3.3]: https://www.rfc-editor.org/rfc/rfc6749#section-3.3
#[macro_export]
macro_rules! scope {
    ($($requirement:tt)*) => {
        $crate::__requirement!(LiteralScope scope_length $($requirement)*)
    };
}

/// Creates a requirement of roles. The result is a type. The syntax is that of
/// [`scope!`](crate::scope!).
///
/// A role can be any string. For the claims that contain roles, see
/// [`Claims::roles`](crate::Claims::roles).
///
/// ```
/// type Editor = tower_jwt_auth::role!("admin" | "editor");
/// ```
#[macro_export]
macro_rules! role {
    ($($requirement:tt)*) => {
        $crate::__requirement!(LiteralRole role_length $($requirement)*)
    };
}

/// Defines named requirements of scopes. Each line defines one type. The syntax after `=` is that of
/// [`scope!`](crate::scope!).
///
/// ```
/// tower_jwt_auth::scopes! {
///     /// May read events.
///     pub Read = "calendar:read";
///     pub(crate) Edit = "calendar:read" & "calendar:write";
/// }
/// ```
#[macro_export]
macro_rules! scopes {
    ($($lines:tt)*) => {
        $crate::__requirements!(scope $($lines)*);
    };
}

/// Defines named requirements of roles. Each line defines one type. The syntax after `=` is that of
/// [`role!`](crate::role!).
///
/// ```
/// tower_jwt_auth::roles! {
///     pub Admin = "admin";
///     pub Editor = "admin" | "editor";
/// }
/// ```
#[macro_export]
macro_rules! roles {
    ($($lines:tt)*) => {
        $crate::__requirements!(role $($lines)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __requirement {
    ($kind:ident $length:ident $text:literal) => {
        $crate::scope::$kind::<
            { $crate::scope::$length($text) },
            { $crate::scope::part($text, 0) },
            { $crate::scope::part($text, 1) },
            { $crate::scope::part($text, 2) },
            { $crate::scope::part($text, 3) },
            { $crate::scope::part($text, 4) },
            { $crate::scope::part($text, 5) },
            { $crate::scope::part($text, 6) },
            { $crate::scope::part($text, 7) },
        >
    };
    ($kind:ident $length:ident ($($group:tt)+)) => {
        $crate::__requirement!($kind $length $($group)+)
    };
    ($kind:ident $length:ident $first:tt $(& $rest:tt)+) => {
        $crate::scope::AllOf::<(
            $crate::__requirement!($kind $length $first),
            $($crate::__requirement!($kind $length $rest),)+
        )>
    };
    ($kind:ident $length:ident $first:tt $(| $rest:tt)+) => {
        $crate::scope::AnyOf::<(
            $crate::__requirement!($kind $length $first),
            $($crate::__requirement!($kind $length $rest),)+
        )>
    };
    ($kind:ident $length:ident) => {
        $crate::__requirement!(@reject "name what is required, such as \"calendar:read\"")
    };
    ($kind:ident $length:ident $first:literal $(, $rest:literal)+ $(,)?) => {
        $crate::__requirement!(@reject "write \"a\" & \"b\" to require all of them, \"a\" | \"b\" to require one")
    };
    ($kind:ident $length:ident $name:ident $($more:tt)*) => {
        $crate::__requirement!(@reject "a scope or role is a string literal here: write \"calendar:read\", with quotes; named ones come from `scopes!` or `roles!` and need no macro where they are used: write `Read`, or `AllOf<(Read, Write)>`")
    };
    ($kind:ident $length:ident $($other:tt)*) => {
        $crate::__requirement!(@reject "write \"a\", \"a\" & \"b\" or \"a\" | \"b\"; where both signs meet, put a group in parentheses: (\"a\" & \"b\") | \"c\"")
    };
    // The result is still a requirement, so the compiler prints no further error.
    (@reject $sentence:literal) => {
        $crate::scope::LiteralScope::<{ ::core::compile_error!($sentence) }, 0, 0, 0, 0, 0, 0, 0, 0>
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __requirements {
    ($macro:ident) => {};
    ($macro:ident $(#[$meta:meta])* $visibility:vis $name:ident = $text:tt; $($more:tt)*) => {
        $crate::__requirements!(@define $macro [$(#[$meta])*] [$visibility] $name [$text]);
        $crate::__requirements!($macro $($more)*);
    };
    ($macro:ident $(#[$meta:meta])* $visibility:vis $name:ident = $text:tt $(& $rest:tt)+; $($more:tt)*) => {
        $crate::__requirements!(@define $macro [$(#[$meta])*] [$visibility] $name [$text $(& $rest)+]);
        $crate::__requirements!($macro $($more)*);
    };
    ($macro:ident $(#[$meta:meta])* $visibility:vis $name:ident = $text:tt $(| $rest:tt)+; $($more:tt)*) => {
        $crate::__requirements!(@define $macro [$(#[$meta])*] [$visibility] $name [$text $(| $rest)+]);
        $crate::__requirements!($macro $($more)*);
    };
    (@define $macro:ident [$($meta:tt)*] [$visibility:vis] $name:ident [$($requirement:tt)+]) => {
        $($meta)*
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name;

        const _: () = {
            // Expanded once, so that the compiler reports an error in it once.
            type __Required = $crate::$macro!($($requirement)+);

            impl $crate::scope::Requirement for $name {
                fn check(
                    grants: $crate::scope::Grants<'_>,
                ) -> ::core::result::Result<(), $crate::scope::Shortfall> {
                    <__Required as $crate::scope::Requirement>::check(grants)
                }

                fn describe() -> ::std::string::String {
                    <__Required as $crate::scope::Requirement>::describe()
                }

                fn scopes() -> ::std::vec::Vec<&'static str> {
                    <__Required as $crate::scope::Requirement>::scopes()
                }
            }

            $crate::__requirements!(@granted $macro $name);
        };
    };
    // Holds only for a type that requires all of its scopes. `for` makes the compiler check this where the
    // type is used.
    (@granted scope $name:ident) => {
        impl $crate::scope::ScopeTypes for $name
        where
            for<'never> __Required: $crate::scope::ScopeTypes,
        {
            fn each(visit: &mut dyn ::core::ops::FnMut(&'static str)) {
                <__Required as $crate::scope::ScopeTypes>::each(visit);
            }
        }
    };
    (@granted role $name:ident) => {};
    ($macro:ident $($other:tt)+) => {
        ::core::compile_error!("each line is `pub Name = \"text\";`, with a semicolon at its end; in place of the text \"a\" & \"b\" or \"a\" | \"b\", and where both signs meet a group in parentheses: (\"a\" & \"b\") | \"c\"");
    };
}
