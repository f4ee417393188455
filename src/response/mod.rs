//! What rejections look like on the wire.

pub(crate) mod challenge;
pub(crate) mod respond;

pub use challenge::Challenge;
pub use respond::{EXPOSED_HEADERS, EmptyBody, ProblemDetails, RespondTo};
