//! Access tokens and logins of your own: signing keys that rotate by themselves, short-lived access tokens, and
//! refresh tokens.

mod browser;
mod keys;
mod logins;
mod published;
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
