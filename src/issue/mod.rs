//! Access tokens and logins of your own: signing keys that rotate by themselves, short-lived access tokens, and
//! refresh tokens.

mod logins;
mod token;

pub use logins::{LoginStore, LoginStoreError, LoginStoreFuture, MemoryLogins, StoredSession};
pub use token::{IssueError, TokenBinding};
