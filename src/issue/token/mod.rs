//! Access tokens in the shape of RFC 9068, and what must not be in them.

mod binding;
mod error;
#[allow(dead_code, reason = "for the issuer of tokens, which comes next")]
mod own_claims;
#[allow(dead_code, reason = "for the issuer of tokens, which comes next")]
mod secrets;

pub use self::binding::TokenBinding;
pub use self::error::IssueError;
