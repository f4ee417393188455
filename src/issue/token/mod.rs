//! Access tokens in the shape of RFC 9068, and what must not be in them.

mod binding;
mod error;
mod ids;
mod issued;
mod issuer;
mod own_claims;
mod request;
mod resources;
mod secrets;
mod settings;

pub use self::binding::TokenBinding;
pub use self::error::IssueError;
pub use self::issued::IssuedToken;
pub use self::issuer::TokenIssuer;
pub use self::request::TokenRequest;
pub(super) use self::request::not_empty;
