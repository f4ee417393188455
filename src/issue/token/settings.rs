//! [`Settings`]: the rules of an issuer, which each of its tokens reads.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::issue::keys::SigningKeys;
use crate::issue::token::resources::Resources;
use crate::issuer::{Audience, Issuer};

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) issuer: Issuer,
    pub(super) audience: Audience,
    pub(super) keys: SigningKeys,
    pub(super) lifetime: Duration,
    /// The JSON pointers of claims that may look like secrets.
    pub(super) allowed: Vec<String>,
    pub(super) resources: Resources,
    pub(super) clock: Arc<dyn Clock>,
}
