//! Services through which an issuer reports logouts and security events.

pub(crate) mod back_channel;
pub(crate) mod form;
mod receiver;
mod replays;
mod security_events;
mod service;
mod statement;
pub(crate) mod subjects;

pub use back_channel::BackChannelLogout;
pub use security_events::SecurityEvents;
