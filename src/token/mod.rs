//! A token, from its text to its claims: the compact form, the header, the claims that the checks
//! need, and [`Claims`](crate::Claims), which handlers get.

pub(crate) mod claims;
pub(crate) mod compact;
mod found;
pub(crate) mod header;
pub(crate) mod known_headers;
pub(crate) mod limits;
mod malformed;
mod memo;
pub(crate) mod names;
pub(crate) mod own_claims;
pub(crate) mod pointer;
pub(crate) mod registered;
pub(crate) mod text;
mod weight;

pub use claims::SubjectId;
pub use limits::MaxTokenSize;
pub use names::NameSet;
pub use pointer::ClaimPointer;
