//! A token, from its text to the claims that the checks need: the compact form, the header and the
//! signature.

pub(crate) mod compact;
pub(crate) mod confirmation;
#[cfg(feature = "status-list")]
pub(crate) mod document;
mod found;
pub(crate) mod header;
#[cfg_attr(
    not(feature = "introspection"),
    expect(dead_code, reason = "a token is never opaque without the feature")
)]
pub(crate) mod introspected;
pub(crate) mod known_headers;
pub(crate) mod limits;
pub(crate) mod malformed;
pub(crate) mod names;
pub(crate) mod pointer;
pub(crate) mod registered;
pub(crate) mod shape;
pub(crate) mod span;

pub use limits::MaxTokenSize;
pub use pointer::ClaimPointer;
