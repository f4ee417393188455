//! Sessions, their refresh tokens and their stores.

#[cfg(feature = "redis")]
mod redis_store;
mod stores;
