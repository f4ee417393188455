//! Issue your own access tokens and logins: signing keys that rotate automatically, short-lived access
//! tokens, and refresh tokens.
//!
//! | you want | use |
//! |---|---|
//! | a login with a maximum lifetime | [`Logins`], and for a browser [`LoginCookies`]; [`guide::login`](crate::guide::login) has a complete program |
//! | a token for a person or a service | [`TokenIssuer`] |
//! | keys that several instances share | [`SigningKeys::shared`], with [`SigningKeyFile`], `RedisSigningKeys` or a [`SigningKeyStore`] |
//! | a key in an HSM or a key management service | [`Sign`] |
//! | other services that verify the tokens | [`Jwks`], [`Discovery`] |
//! | sessions in your own database | [`LoginStore`], and `check_store` of the test kit |
//!
//! This module is for the logins of an application itself. It does not handle passwords or pages, and it
//! is not an authorization server for third parties.
//!
//! # Example: a token, and the layer that accepts it
//!
//! ```
//! use tower_jwt_auth::issue::{SigningKeys, TokenIssuer};
//! use tower_jwt_auth::{Algorithm, Audience, Issuer, RejectionKind, scope};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let keys = SigningKeys::generate(Algorithm::ES256)?;
//! let issuer = Issuer::new("https://login.example.com")?;
//! let tokens = TokenIssuer::new(issuer, Audience::new("calendar-api")?, keys.clone());
//! let token = tokens.for_client("nightly-report").scopes::<scope!("calendar:read")>().issue().await?;
//!
//! let auth = tokens.auth(); // `Router::new().route(..).layer(auth)`
//! let verifier = auth.verifier();
//! let claims = verifier.verify(token.as_str()).await?;
//! assert!(claims.is_client());
//! assert!(claims.authorize::<scope!("calendar:write")>().is_err());
//!
//! // Its key has leaked.
//! let leaked = keys.status().signing.expect("a key signs");
//! keys.revoke_key(leaked.as_str()).await?;
//! let rejection = verifier.verify(token.as_str()).await.unwrap_err();
//! assert_eq!(rejection.kind(), RejectionKind::UnknownKey);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```

mod browser;
mod keys;
mod logins;
mod published;
mod response;
mod token;

pub use self::browser::LoginCookies;
#[cfg(feature = "redis")]
pub use self::keys::RedisSigningKeys;
pub use self::keys::{
    Sign, SignError, Signing, SigningFuture, SigningKeyError, SigningKeyFailure, SigningKeyFile,
    SigningKeySettings, SigningKeyStatus, SigningKeyStore, SigningKeyStoreError,
    SigningKeyStoreFuture, SigningKeyTimes, SigningKeys, StoredKeys,
};
#[cfg(feature = "redis")]
pub use self::logins::RedisLogins;
pub use self::logins::{
    Login, LoginClaimsError, LoginError, LoginStore, LoginStoreError, LoginStoreFuture,
    LoginTokens, Logins, MemoryLogins, RefreshError, RefreshKeys, RefreshRequest, Session,
    StoredSession,
};
pub use self::published::{Discovery, Jwks};
pub use self::token::{IssueError, IssuedToken, TokenBinding, TokenIssuer, TokenRequest};
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use self::{keys::fuzz_stored_keys, logins::fuzz_refresh_token};
