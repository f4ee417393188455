//! Tower layer that verifies JWT and OAuth 2.0 access tokens.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bearer;
mod challenge;
mod claims;
mod clock;
mod config_error;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod future;
#[cfg(feature = "grpc")]
pub mod grpc;
mod guard;
pub mod guide;
mod json;
mod jws;
mod keys;
mod layer;
mod macros;
mod memo;
mod policy;
mod registered;
mod respond;
pub mod revocation;
pub mod scope;
mod service;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod test;
mod validate;
#[cfg(test)]
mod vectors;
mod verifier;

pub use crate::claims::{Claims, NoClaims};
pub use crate::config_error::ConfigError;
pub use crate::error::{Rejection, RejectionKind};
#[cfg(feature = "axum")]
pub use crate::extract::{RequireRole, RequireScope};
pub use crate::keys::algorithm::Algorithm;
pub use crate::keys::key::Key;
pub use crate::keys::set::KeySet;
pub use crate::keys::store::KeyStore;
pub use crate::layer::JwtAuth;
pub use crate::policy::{Audience, Issuer};
pub use crate::verifier::Verifier;

/// Settings of a layer beyond issuer, audience and keys.
pub mod config {
    pub use crate::bearer::{CsrfPolicy, TokenCookie, TokenSource};
    pub use crate::clock::{Clock, SystemClock};
    pub use crate::policy::{ClaimPointer, IssuerRules, Leeway, RequiredClaim};
}

/// Parts of keys and key sets.
pub mod key {
    pub use crate::config_error::KeyError;
    pub use crate::keys::key::KeyId;
    pub use crate::keys::set::SkippedKey;
}

/// What [`JwtAuth`] makes of a service. Named in types, seldom in code.
pub mod middleware {
    pub use crate::future::ResponseFuture;
    pub use crate::guard::{RequireFuture, RequireLayer, RequireService};
    pub use crate::service::JwtAuthService;
}

/// What rejections look like on the wire.
pub mod response {
    pub use crate::challenge::Challenge;
    pub use crate::respond::{EmptyBody, ProblemDetails, RespondTo};
}

/// Parts of [`Claims`].
pub mod token {
    pub use crate::claims::{NameSet, SubjectId};
}
