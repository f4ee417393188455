//! The response to a rejection: status, challenge and body.

#[cfg(any(feature = "issue", feature = "logout"))]
mod body;
pub(crate) mod challenge;
pub(crate) mod exchange;
pub(crate) mod missing_layer;
pub(crate) mod presentation;
mod problem;
pub(crate) mod provisional;
mod request_head;
pub(crate) mod respond;

#[cfg(any(feature = "issue", feature = "logout"))]
pub use body::FullBody;
pub use challenge::Challenge;
pub use problem::ProblemDetails;
pub use request_head::RequestHead;
pub use respond::{EXPOSED_HEADERS, EmptyBody, RespondTo, WithRequest};
