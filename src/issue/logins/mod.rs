//! Logins: sessions with refresh tokens, and where they are kept.

mod memory;
#[cfg(feature = "redis")]
mod redis;
#[allow(dead_code, reason = "for the logins, which come next")]
mod refresh_error;
#[allow(dead_code, reason = "for the logins, which come next")]
mod refresh_keys;
#[allow(dead_code, reason = "for the logins, which come next")]
mod rules;
#[allow(dead_code, reason = "for the logins, which come next")]
mod session;
mod store;

pub use self::memory::MemoryLogins;
#[cfg(feature = "redis")]
pub use self::redis::RedisLogins;
pub use self::refresh_error::{LoginError, RefreshError};
pub use self::refresh_keys::RefreshKeys;
pub use self::session::Session;
pub use self::store::{LoginStore, LoginStoreError, LoginStoreFuture, StoredSession};
