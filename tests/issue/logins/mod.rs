//! Sessions, their refresh tokens and their stores.

mod stores;
