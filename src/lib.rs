//! Tower layer that verifies JWT and OAuth 2.0 access tokens. Handlers receive typed claims and
//! declare the scope they need in their signature. Keys rotate without a restart.
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
//!     let language = user.locale.as_deref().unwrap_or("en");
//!     format!("events of {} in {language}\n", user.subject().unwrap_or("nobody"))
//! }
//!
//! async fn create(_: RequireScope<scope!("calendar:write")>, user: Claims<User>) -> StatusCode {
//!     println!("{} creates an event", user.subject().unwrap_or("nobody"));
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
//! | know why a token was rejected | [`guide::rejections`] |
//! | know where to put the layer, and how unknown paths are answered | [`guide::placement`] |
//! | use it with tenants, a user table, WebSockets, metrics, OpenAPI | [`guide::recipes`] |
//! | avoid the common mistakes with tokens | [`guide::mistakes`] |
//! | build your own login | [`guide::login`] |
//! | load and rotate keys | [`KeyStore`], [`guide::keys`] |
//! | trust an authorization server by its URL | [`KeyStore::discover`], [`keys`] |
//! | require scopes and roles | [`mod@scope`], [`scope!`], [`RequireScope`] |
//! | read registered claims and your own claims | [`Claims`] |
//! | change a setting, or know the reason for a default | [`JwtAuth`], [`policy`], [`guide::defaults`] |
//! | accept tokens that are not JWTs | [`guide::opaque`] |
//! | accept tokens bound to a client certificate | [`JwtAuth::client_certificates`], [`guide::recipes`] |
//! | revoke a token before it expires | [`revocation`], [`guide::revocation`] |
//! | receive the logouts, security events or status lists of an issuer | [`guide::revocation`] |
//! | verify a token that is not part of an HTTP request | [`Verifier`] |
//! | answer rejections with a body | [`response`] |
//! | test your routes | [`mod@test`] |
//!
//! # How a request is processed
//!
//! 1. If TLS is [required](JwtAuth::require_tls), a request without TLS is rejected. Then the layer
//!    reads the token and notes where it came from.
//! 2. A token that is in the cache, and whose key is still in use, continues with step 7. If an
//!    issuer has [introspection](guide::opaque), a token that is not a JWT is opaque. An
//!    introspection request to that issuer replaces steps 3 to 5.
//! 3. The token is parsed. A token that no signature can make valid is rejected, for example
//!    because it is malformed, expired, or for another audience. A token that is bound (`cnf`) to
//!    something that the request does not prove is rejected too.
//! 4. The layer takes one snapshot of the issuer's keys. If the key is missing, the request can
//!    wait up to 5 seconds while the keys are loaded again.
//! 5. The signature is verified.
//! 6. The claims are validated.
//! 7. The binding of the token is compared with what the request proves, and the revocation checks run.
//! 8. The claims are inserted into the request extensions.
//! 9. The handler's requirement is compared with the scopes and roles that the token grants.
//!
//! Every failure is a [`Rejection`], and one table maps it to a response.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | yes | [`Claims`], [`RequireScope`], [`RequireRole`] as handler arguments |
//! | `grpc` | | [`grpc::RequestExt`] for tonic |
//! | `introspection` | | [`mod@introspection`]: opaque tokens, verified by asking their issuer |
//! | `issue` | | [`mod@issue`]: your own access tokens and logins |
//! | `logout` | | [`revocation::BackChannelLogout`], [`revocation::SecurityEvents`]: notices from an issuer |
//! | `metrics` | | counters and a histogram through the `metrics` facade |
//! | `pem` | yes | keys from PEM and DER |
//! | `redis` | | `revocation::RedisDenylist`, and with `issue` also `issue::RedisLogins` and `issue::RedisSigningKeys`: marks, sessions and signing keys shared by all instances on Redis or Valkey |
//! | `remote` | | [`keys::RemoteKeys`]: keys fetched from a URL and refreshed |
//! | `reqwest` | | [`KeyStore::discover`]: an HTTP client for remote keys, with rustls |
//! | `status-list` | | [`revocation::StatusLists`]: status lists that an issuer publishes |
//! | `test-util` | | [`mod@test`]: an issuer and a clock for tests |
//! | `tracing` | yes | events for verdicts and for changes of keys |
//! | `watch` | | [`keys::KeyFile`]: keys from a file that is reloaded when it changes |
//!
//! Features are additive. No feature changes the behaviour of code that does not use it.
//!
#![doc = include_str!("events.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod attest;
mod binding;
mod bytes;
pub mod cache;
#[cfg(any(test, feature = "_fuzz"))]
#[doc(hidden)]
pub mod checks;
pub mod claims;
pub mod clock;
mod epoch;
pub mod error;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "remote")]
pub mod fetch;
pub mod future;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod guide;
mod inline_list;
#[cfg(feature = "introspection")]
pub mod introspection;
#[cfg(not(feature = "introspection"))]
#[expect(dead_code, reason = "a token is never opaque without the feature")]
#[path = "introspection/absent.rs"]
mod introspection;
#[cfg(feature = "issue")]
pub mod issue;
mod issuer;
mod json;
pub mod keys;
mod layer;
pub mod policy;
#[cfg(feature = "redis")]
mod redis_node;
mod reject;
mod reports;
pub mod request;
pub mod require;
pub mod response;
pub mod revocation;
pub mod scope;
pub mod service;
mod striped;
mod sync;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod test;
mod text_form;
pub mod token;
mod unix_seconds;
#[cfg(any(feature = "_refresh", feature = "issue"))]
mod unwind;
mod verdicts;
mod verifier;

/// The code of the README, compiled if all the features that it uses are on.
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "grpc",
    feature = "issue",
    feature = "reqwest",
    feature = "test-util"
))]
#[doc = include_str!("../README.md")]
struct Readme;

pub use crate::claims::{Claims, NoClaims};
pub use crate::error::config::ConfigError;
pub use crate::error::kinds::RejectionKind;
pub use crate::error::rejection::Rejection;
#[cfg(feature = "axum")]
pub use crate::extract::{RequireRole, RequireScope};
pub use crate::issuer::{Audience, Issuer};
pub use crate::keys::algorithm::Algorithm;
pub use crate::keys::key::Key;
pub use crate::keys::set::KeySet;
pub use crate::keys::store::KeyStore;
pub use crate::layer::JwtAuth;
pub use crate::policy::trusted_issuer::TrustedIssuer;
pub use crate::verifier::Verifier;
