//! Logins: sessions with refresh tokens, and where they are kept.

mod memory;
pub(crate) mod store;

pub use memory::MemoryLogins;
pub use store::{LoginStore, LoginStoreError, LoginStoreFuture, StoredSession};
