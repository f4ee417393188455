//! Sessions, their refresh tokens and their stores.

mod ending;
#[cfg(feature = "tracing")]
mod events;
mod hostile;
#[cfg(feature = "redis")]
mod killed;
#[cfg(feature = "redis")]
mod redis_outage;
#[cfg(feature = "redis")]
mod redis_store;
mod refresh;
mod rotation;
mod stores;
mod unanswered;
mod world;
