//! Tower layer that verifies JWT and OAuth 2.0 access tokens. Handlers get typed claims, and say in
//! their own signature which scope they need. Keys rotate while requests run.
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
//! | know where to put the layer, and what an unknown path gets | [`guide::placement`] |
//! | serve tenants, users, WebSockets, metrics, OpenAPI | [`guide::recipes`] |
//! | know what can go wrong, and what prevents it | [`guide::mistakes`] |
//! | build a login of your own | [`guide::login`] |
//! | load and rotate keys | [`KeyStore`], [`guide::keys`] |
//! | trust an authorization server by its URL | [`KeyStore::discover`], [`keys`] |
//! | require scopes and roles | [`mod@scope`], [`scope!`], [`RequireScope`] |
//! | read registered claims and your own claims | [`Claims`] |
//! | change a setting, or know the reason for a default | [`JwtAuth`], [`policy`], [`guide::defaults`] |
//! | accept tokens that are no JWTs | [`guide::opaque`] |
//! | accept tokens that are bound to a client certificate | [`JwtAuth::client_certificates`], [`guide::recipes`] |
//! | revoke a token before it expires | [`revocation`], [`guide::revocation`] |
//! | take logouts and security events of an issuer, or its status lists | [`guide::revocation`] |
//! | verify a token that comes without a request | [`Verifier`] |
//! | answer rejections with a body | [`response`] |
//! | test your routes | [`mod@test`] |
//!
//! # The way of a request
//!
//! 1. The layer reads what the request presents: the token, and how it came. If TLS is
//!    [required](JwtAuth::require_tls), a request without TLS ends here.
//! 2. A token that is in the cache, and whose key is still in use, continues with step 7. If an issuer
//!    [introspects](guide::opaque), a token that is no JWT is opaque: that issuer is asked about it, and its
//!    answer takes the place of steps 3 to 5.
//! 3. The token is parsed. A token that no signature could make valid is rejected: it is malformed,
//!    for example, or expired, or for another audience. So is a token that is bound (`cnf`) to
//!    something that the request does not prove.
//! 4. The layer takes one snapshot of the issuer's keys. If the key is missing, the request can
//!    wait up to 5 seconds until the keys are loaded again.
//! 5. The signature is verified.
//! 6. The claims are validated.
//! 7. The binding of the token is compared with what the request presents, and the revocation checks run.
//! 8. The claims are put into the extensions of the request.
//! 9. The requirement of the handler is compared with the scopes and roles that the token grants.
//!
//! Every failure on the way is a [`Rejection`], and one table maps it to a response.
//!
//! # Features
//!
//! | feature | default | gives |
//! |---|---|---|
//! | `axum` | yes | [`Claims`], [`RequireScope`], [`RequireRole`] as arguments of handlers |
//! | `grpc` | | [`grpc::RequestExt`] for tonic |
//! | `introspection` | | [`mod@introspection`]: opaque tokens, whose issuer is asked about each of them |
//! | `issue` | | [`mod@issue`]: access tokens and logins of your own |
//! | `logout` | | [`revocation::BackChannelLogout`], [`revocation::SecurityEvents`]: what an issuer reports |
//! | `metrics` | | counters and a histogram through the `metrics` facade |
//! | `pem` | yes | keys from PEM and DER |
//! | `redis` | | `revocation::RedisDenylist`: revocation marks that all instances share, on Redis or Valkey |
//! | `remote` | | [`keys::RemoteKeys`]: keys that are fetched from a URL and refreshed |
//! | `reqwest` | | [`KeyStore::discover`]: an HTTP client for remote keys, with rustls |
//! | `status-list` | | [`revocation::StatusLists`]: status lists that an issuer publishes |
//! | `test-util` | | [`mod@test`]: an issuer and a clock for tests |
//! | `tracing` | yes | events for verdicts and for changes of keys |
//! | `watch` | | [`keys::KeyFile`]: keys in a file that is read again when it changes |
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
