//! [`Session`], and the data of its row.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::issue::logins::rules::Progress;
use crate::issue::logins::store::{LoginStoreError, StoredSession};
use crate::issue::token::TokenBinding;
use crate::scope::ScopeSet;

/// A login on one device, which lasts until it expires or is ended.
///
/// `Debug` prints the id only.
#[derive(Clone)]
pub struct Session {
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) expires_at: u64,
    pub(super) data: Data,
}

/// What the row has, beside the id and the subject. Times are in milliseconds since 1970.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Data {
    /// The version of this format.
    pub(super) format: u8,
    /// Several issuers may share a store. A session counts for its own alone.
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) began_at: u64,
    pub(super) authenticated_at: u64,
    pub(super) advanced_at: u64,
    pub(super) generation: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<ScopeSet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) claims: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) binding: Option<TokenBinding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<Ended>,
}

/// That the session was ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// When.
    pub(super) at: u64,
    /// Whether the access tokens of the session are revoked too.
    pub(super) is_marked: bool,
}

impl Session {
    /// The id: the `sid` of the access tokens.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The subject that is logged in.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The client to which the session belongs.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.data.client_id
    }

    /// The scopes of the session. A refresh may request fewer.
    #[must_use]
    pub fn scopes(&self) -> Option<&ScopeSet> {
        self.data.scopes.as_ref()
    }

    /// The device name that the application set.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.data.device.as_deref()
    }

    /// When the session began.
    #[must_use]
    pub fn began_at(&self) -> SystemTime {
        time(self.data.began_at)
    }

    /// When the session was last used: its start or its last refresh. Refreshes within the grace period
    /// do not count.
    #[must_use]
    pub fn refreshed_at(&self) -> SystemTime {
        time(self.data.advanced_at)
    }

    /// When the subject last authenticated: the `auth_time` of the access tokens.
    #[must_use]
    pub fn authenticated_at(&self) -> SystemTime {
        time(self.data.authenticated_at)
    }

    /// How the subject authenticated: the `acr` of the access tokens.
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.data.acr.as_deref()
    }

    /// When the session ends if it is not refreshed first.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        time(self.expires_at)
    }
}

/// Prints the id.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A session and the version of its row.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) version: u64,
    pub(super) data: Data,
}

/// The lifetimes of sessions in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Lifetimes {
    pub(super) idle: u64,
    pub(super) absolute: u64,
}

impl Row {
    pub(super) fn read(stored: StoredSession) -> Result<Self, LoginStoreError> {
        let unusable = |_| LoginStoreError::new("the data of a session cannot be read");
        let data: Data = serde_json::from_str(&stored.data).map_err(unusable)?;
        if data.format != FORMAT {
            return Err(LoginStoreError::new(
                "a session was written by a newer version",
            ));
        }
        Ok(Self {
            id: stored.id,
            subject: stored.subject,
            version: stored.version,
            data,
        })
    }

    pub(super) fn store(&self, lifetimes: Lifetimes) -> Result<StoredSession, LoginStoreError> {
        let unusable = |_| LoginStoreError::new("the data of a session cannot be written");
        let end = lifetimes.end(&self.data).saturating_add(KEPT) / 1_000;
        Ok(StoredSession {
            id: self.id.clone(),
            subject: self.subject.clone(),
            version: self.version,
            expires_at: end,
            data: serde_json::to_string(&self.data).map_err(unusable)?,
        })
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            generation: self.data.generation,
            advanced_at: self.data.advanced_at,
        }
    }

    pub(super) fn session(&self, lifetimes: Lifetimes) -> Session {
        Session {
            id: self.id.clone(),
            subject: self.subject.clone(),
            expires_at: lifetimes.end(&self.data),
            data: self.data.clone(),
        }
    }
}

impl Lifetimes {
    pub(super) fn is_expired(self, data: &Data, now: u64) -> bool {
        now >= data.began_at.saturating_add(self.absolute)
    }

    pub(super) fn is_idle(self, data: &Data, now: u64) -> bool {
        now >= data.advanced_at.saturating_add(self.idle)
    }

    /// When the session ends by itself.
    pub(super) fn end(self, data: &Data) -> u64 {
        self.end_after(data, data.advanced_at)
    }

    /// When the session ends by itself if it advances at this time.
    pub(super) fn end_after(self, data: &Data, advanced_at: u64) -> u64 {
        let idle = advanced_at.saturating_add(self.idle);
        idle.min(data.began_at.saturating_add(self.absolute))
    }
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn time(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// The version of the data that this code writes.
pub(super) const FORMAT: u8 = 1;
/// A row is kept for a day after the end of its session, so that a late token is told why, and a clock
/// that is ahead removes no session. In milliseconds.
const KEPT: u64 = 86_400_000;
