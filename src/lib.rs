//! Tower layer that verifies JWT and OAuth 2.0 access tokens, hands typed claims to handlers, and
//! lets a handler's own signature say which scope it needs. Keys rotate while requests run.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, http::StatusCode, routing::get};
//! use serde::Deserialize;
//! use tower_jwt_auth::{
//!     Audience, Claims, ConfigError, Issuer, JwtAuth, KeyStore, RequireScope, scope,
//! };
//!
//! #[derive(Deserialize)]
//! struct User {
//!     locale: Option<String>,
//! }
//!
//! async fn list(user: RequireScope<scope!("calendar:read"), User>) -> String {
//!     format!("events of {:?}, in {:?}", user.subject(), user.locale)
//! }
//!
//! async fn create(_: RequireScope<scope!("calendar:write")>, user: Claims<User>) -> StatusCode {
//!     println!("{:?} creates an event", user.subject());
//!     StatusCode::CREATED
//! }
//!
//! fn app(jwks: &[u8]) -> Result<Router, ConfigError> {
//!     let keys = KeyStore::from_jwks(jwks)?; // keep a clone, and rotate through it
//!     let auth = JwtAuth::new(
//!         Issuer::new("https://login.example.com")?,
//!         Audience::new("calendar-api")?,
//!         keys,
//!     );
//!     Ok(Router::new().route("/events", get(list).post(create)).layer(auth))
//! }
//! # assert!(app(b"not a key set").is_err());
//! # }
//! ```
//!
//! # Where to go from here
//!
//! | you want to | look at |
//! |---|---|
//! | protect an axum, tonic or hyper service | [`guide::start`] |
//! | know what can go wrong, and what prevents it | [`guide::mistakes`] |
//! | load keys and rotate them | [`KeyStore`], [`guide::keys`] |
//! | trust an authorization server by its URL | [`KeyStore::discover`], [`remote`] |
//! | require scopes and roles | [`mod@scope`], [`scope!`], [`RequireScope`] |
//! | read claims, the registered ones and your own | [`Claims`] |
//! | change a setting, or know why it is so | [`JwtAuth`], [`config`], [`guide::defaults`] |
//! | end a token before it expires | [`revocation`] |
//! | verify a token that comes without a request | [`Verifier`] |
//! | answer refusals with a body | [`response`] |
//! | test your routes | [`mod@test`] |
//!
//! # The way of a request
//!
//! Credentials are read from the headers; a token that was accepted a moment ago, under a key that
//! still counts, goes on to the revocation check. Another one is taken apart; what no signature
//! could save is refused; one snapshot of the issuer's keys is taken; the signature is verified;
//! the claims are validated; the revocation check is asked; the claims go into the extensions of
//! the request; the handler's requirement is compared with what they grant. Every refusal on the
//! way is a [`Rejection`] and leaves through one table.
//!
//! # Features
//!
//! | feature | default | gives |
//! |---|---|---|
//! | `axum` | yes | [`Claims`], [`RequireScope`], [`RequireRole`] as arguments of handlers |
//! | `grpc` | | [`grpc::RequestExt`] for tonic |
//! | `metrics` | | counters and a histogram through the `metrics` facade |
//! | `pem` | yes | keys from PEM and DER |
//! | `remote` | | [`remote::RemoteKeys`]: keys that are fetched, and again when that is due |
//! | `reqwest` | | [`KeyStore::discover`]: a client for them, with rustls |
//! | `test-util` | | [`mod@test`]: an issuer and a clock for tests |
//! | `tracing` | yes | events for verdicts and for changes of keys |
//! | `watch` | | [`key::KeyFile`]: keys in a file that is read again when it changes |
//!
//! Features only add; none changes what code without it does.
//!
#![doc = include_str!("telemetry.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bearer;
mod bytes;
mod cache;
mod challenge;
mod claims;
#[cfg(feature = "reqwest")]
mod client;
mod clock;
mod config_error;
mod error;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "remote")]
mod fetch;
mod future;
#[cfg(any(test, feature = "_fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod grants;
#[cfg(feature = "grpc")]
pub mod grpc;
mod guard;
pub mod guide;
mod headers;
mod json;
mod jws;
mod keys;
mod layer;
mod macros;
mod memo;
mod name_set;
mod own;
mod policy;
#[cfg(test)]
mod properties;
mod recall;
mod registered;
mod respond;
pub mod revocation;
pub mod scope;
mod scope_set;
mod service;
mod striped;
mod sync;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod test;
mod text;
mod token_size;
mod validate;
#[cfg(test)]
mod vectors;
mod verifier;
mod weight;

/// The code of the README, compiled where everything that it uses is there.
#[cfg(all(doctest, feature = "axum", feature = "grpc", feature = "test-util"))]
#[doc = include_str!("../README.md")]
struct Readme;

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
    pub use crate::bearer::{CsrfPolicy, TokenCookie, TokenSource, TokenSubprotocol};
    pub use crate::clock::{Clock, SystemClock};
    pub use crate::policy::{ClaimPointer, IssuerRules, Leeway, RequiredClaim};
    pub use crate::recall::TokenCache;
    pub use crate::token_size::MaxTokenSize;
}

/// Parts of keys and key sets.
pub mod key {
    pub use crate::config_error::KeyError;
    #[cfg(feature = "watch")]
    pub use crate::keys::file::KeyFile;
    pub use crate::keys::key::KeyId;
    pub use crate::keys::local::KeyFormat;
    pub use crate::keys::set::SkippedKey;
    pub use crate::keys::status::{
        ChangeCause, DeadKey, Failing, Freshness, KeyChange, KeyStatus, RetiringKey,
    };
}

/// What [`JwtAuth`] makes of a service. Named in types, seldom in code.
pub mod middleware {
    pub use crate::future::ResponseFuture;
    pub use crate::guard::{RequireFuture, RequireLayer, RequireService};
    pub use crate::service::JwtAuthService;
}

/// Keys that are fetched from an issuer, and again whenever that is due.
#[cfg(feature = "remote")]
pub mod remote {
    pub use crate::fetch::{Fetch, FetchError, Fetching};
    pub use crate::keys::boot::{BootFile, BootStore};
    pub use crate::keys::remote::RemoteKeys;
}

/// What rejections look like on the wire.
pub mod response {
    pub use crate::challenge::Challenge;
    pub use crate::respond::{EXPOSED_HEADERS, EmptyBody, ProblemDetails, RespondTo};
}

/// Parts of [`Claims`].
pub mod token {
    pub use crate::claims::SubjectId;
    pub use crate::name_set::NameSet;
}
