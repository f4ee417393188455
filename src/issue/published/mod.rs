//! The published documents of an issuer: its key set and its metadata.

mod discovery;
mod document;
mod jwks;

pub use self::discovery::Discovery;
pub use self::jwks::Jwks;
