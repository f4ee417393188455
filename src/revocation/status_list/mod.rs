//! [`StatusLists`]: revocation by the status lists of an issuer.

mod kept;
pub(crate) mod list;
mod packed;
mod prefixes;
pub(crate) mod reference;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::claims::Claims;
use crate::clock::{Clock, SystemClock};
use crate::error::config::ConfigError;
use crate::fetch::Fetch;
use crate::fetch::documents::Documents;
use crate::fetch::freshness::Lifetimes;
use crate::fetch::plain_http::PlainHttp;
use crate::issuer::Issuer;
use crate::keys::store::KeyStore;
use crate::revocation::status_list::kept::Kept;
pub use crate::revocation::status_list::prefixes::UrlPrefixes;
use crate::revocation::status_list::reference::Reference;
use crate::revocation::status_list::source::{Found, Settings, Source};
use crate::revocation::{Revocation, RevocationCheck, RevocationError, RevocationStatus};
use crate::telemetry;

/// Revocation check with status lists ([Token Status List], an Internet-Draft). A token names its place in
/// a list (`status.status_list`), and the issuer publishes the list as a signed token.
///
/// One list contains the statuses of many tokens, so one fetch serves all of them until the lifetime of the
/// list ends. A list is fetched when a token that is valid in every other respect names it, and again at
/// 80 % of its lifetime. A request waits only for a list that is not present, up to 5 seconds. A cached
/// token is looked up again when a list was fetched or has ended.
///
/// | status list | token |
/// |---|---|
/// | the token names none (`status.status_list` is absent) | active |
/// | status 0 | active |
/// | status 1 | [revoked](RevocationStatus::Revoked) |
/// | status 2 | [suspended](RevocationStatus::Suspended) |
/// | another status | revoked; see [`other_statuses`](Self::other_statuses) |
/// | the reference is malformed, or the index is beyond the list | revoked, with an event |
/// | the issuer was not added, or the URL begins with none of its prefixes | the same |
/// | the list cannot be fetched, is not valid, or has expired | 503; see [`insecure_accept_unavailable`](Self::insecure_accept_unavailable) |
///
/// A list must have `typ` `statuslist+jwt`, a signature by one of the keys, `sub` equal to its URL, and
/// `iat`. `iss` must be that of the tokens if it is present. Redirects are not followed. A list with an
/// earlier `iat` than the list in use is not used until that list has ended.
///
/// Use it inside a tokio runtime with timers. Clones share the lists.
///
/// # Example: an issuer with lists
///
/// ```
/// # fn example(client: impl tower_jwt_auth::fetch::Fetch) -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::revocation::StatusLists;
/// use tower_jwt_auth::{Audience, Issuer, JwtAuth, KeyStore};
///
/// let issuer = Issuer::new("https://login.example.com")?;
/// let keys = KeyStore::pending(); // usually remote keys
/// let lists = StatusLists::new(client).issuer(
///     issuer.clone(),
///     keys.clone(),
///     "https://login.example.com/statuslists/",
/// )?;
/// let auth = JwtAuth::new(issuer, Audience::new("calendar-api")?, keys).revocation(lists);
/// # drop(auth);
/// # Ok(())
/// # }
/// ```
///
/// [Token Status List]: https://datatracker.ietf.org/doc/draft-ietf-oauth-status-list/
#[derive(Clone)]
pub struct StatusLists(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    settings: Arc<Settings>,
    sources: Vec<Arc<Source>>,
    others: Arc<dyn Fn(u8) -> RevocationStatus + Send + Sync>,
    accepts_unavailable: bool,
}

impl StatusLists {
    /// Creates a check without issuers that fetches lists with this client.
    #[must_use]
    pub fn new(fetch: impl Fetch) -> Self {
        let settings = Settings {
            documents: Documents {
                fetch: Arc::new(fetch),
                timeout: Duration::from_secs(5),
                max_body: 4 * MIB,
            },
            lifetimes: Lifetimes {
                usual: Duration::from_secs(300),
                within: (Duration::from_secs(30), Duration::from_secs(3_600)),
            },
            max_list: 16 * MIB,
            max_lists: 1_000,
            max_bytes: 64 * MIB,
            clock: Arc::new(SystemClock),
        };
        Self(Arc::new(Inner {
            settings: Arc::new(settings),
            sources: Vec::new(),
            others: Arc::new(|_| RevocationStatus::Revoked),
            accepts_unavailable: false,
        }))
    }

    /// Adds an issuer of tokens, with the keys of its lists and the prefix of their URLs, or an array of
    /// prefixes. A list is fetched only if its URL begins with one of the prefixes and does not leave the
    /// folder of the prefix.
    ///
    /// # Errors
    ///
    /// [`ConfigError::StatusList`] if there is no prefix, or if one is not an `https` URL (or `http` to a
    /// loopback address) that has a path.
    pub fn issuer(
        self,
        issuer: Issuer,
        keys: impl Into<KeyStore>,
        prefixes: impl UrlPrefixes,
    ) -> Result<Self, ConfigError> {
        let prefixes = prefixes.into_prefixes();
        let unusable = |input: &str, reason: &str| ConfigError::StatusList {
            input: input.to_owned(),
            reason: reason.to_owned(),
        };
        if prefixes.is_empty() {
            return Err(unusable(issuer.as_str(), "expected a prefix of the URLs"));
        }
        for prefix in &prefixes {
            let checked = PlainHttp::LoopbackAlone.check(prefix);
            checked.map_err(|expected| unusable(prefix, &format!("expected {expected}")))?;
            // Without a path, the prefix would fit the host `status.example.evil.com` too.
            let (_, host_and_path) = prefix.split_once("://").unwrap_or_default();
            if !host_and_path.contains('/') {
                return Err(unusable(prefix, "expected a URL with a path, such as `/`"));
            }
        }
        let source = Arc::new(Source::new(issuer, keys.into(), prefixes));
        Ok(self.change(|inner| inner.sources.push(source)))
    }

    /// Sets the lifetime of a list without `ttl` whose response has no `max-age` and no `Expires`.
    /// Default: 5 minutes, limited by [`lifetime_within`](Self::lifetime_within).
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        self.set(|settings| settings.lifetimes.usual = lifetime)
    }

    /// Sets the minimum and the maximum lifetime of a list, whatever its `ttl`. Default: 30 seconds and 1
    /// hour. Both are at least 1 second.
    ///
    /// A revoked token is accepted until the lifetime of the list ends. The `exp` of the list can end
    /// its use earlier.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Settings`] if the maximum is less than the minimum.
    pub fn lifetime_within(
        self,
        shortest: Duration,
        longest: Duration,
    ) -> Result<Self, ConfigError> {
        let [shortest, longest] = [shortest, longest].map(|it| it.max(Duration::from_secs(1)));
        if longest < shortest {
            return Err(contradiction(format!(
                "`lifetime_within` has a minimum of {shortest:?}, which is more than its maximum of {longest:?}"
            )));
        }
        Ok(self.set(|settings| settings.lifetimes.within = (shortest, longest)))
    }

    /// Sets the maximum size in bytes of the response with a list. Default: 4 MiB.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        self.set(|settings| settings.documents.max_body = bytes)
    }

    /// Sets the maximum size in bytes of an inflated list, and of all lists of an issuer. Default: 16 MiB
    /// and 64 MiB. If there is no room for a list, the least recently used list is dropped. It is fetched
    /// again when a token names it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Settings`] if one list may have more bytes than all lists.
    pub fn max_bytes(self, of_one: usize, of_all: usize) -> Result<Self, ConfigError> {
        if of_all < of_one {
            return Err(contradiction(format!(
                "`max_bytes` allows {of_one} bytes for one list, and {of_all} bytes for all lists"
            )));
        }
        Ok(self.set(|settings| (settings.max_list, settings.max_bytes) = (of_one, of_all)))
    }

    /// Sets the maximum number of lists of an issuer. Default: 1 000. Minimum: 1.
    #[must_use]
    pub fn max_lists(self, lists: usize) -> Self {
        self.set(|settings| settings.max_lists = lists)
    }

    /// Sets the meaning of statuses from 3, which an application may define. Default:
    /// [`RevocationStatus::Revoked`] for all of them.
    ///
    /// A status must always have the same meaning, because a cached token is looked up again only when a
    /// list has changed.
    #[must_use]
    pub fn other_statuses(
        self,
        meaning: impl Fn(u8) -> RevocationStatus + Send + Sync + 'static,
    ) -> Self {
        self.change(|inner| inner.others = Arc::new(meaning))
    }

    /// Sets the clock that `iat` and `exp` of lists are compared with. Default: the clock of the
    /// operating system.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|settings| settings.clock = Arc::new(clock))
    }

    /// Accepts a token whose list cannot be loaded. Default: the answer is 503.
    ///
    /// # Security
    ///
    /// A revoked token is accepted while the list cannot be fetched, and an attacker who can prevent the
    /// fetch can use it. Replace the check with short token lifetimes.
    ///
    /// With this setting, each request looks up its token again, so that a revoked token is rejected as
    /// soon as the list is present.
    #[must_use]
    pub fn insecure_accept_unavailable(self) -> Self {
        self.change(|inner| inner.accepts_unavailable = true)
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        self.change(|inner| {
            let mut settings = Settings::clone(&inner.settings);
            change(&mut settings);
            inner.settings = Arc::new(settings);
        })
    }

    fn change(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner::clone(&self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

impl Inner {
    fn status_in(&self, source: &Source, kept: &Kept, index: u64) -> RevocationStatus {
        match kept.list.get(index) {
            Some(0) => RevocationStatus::Active,
            Some(1) => RevocationStatus::Revoked,
            Some(2) => RevocationStatus::Suspended,
            Some(other) => (self.others)(other),
            None => unusable(source.issuer.as_str(), "the index is beyond the list"),
        }
    }

    fn unavailable(&self, reason: &str) -> Result<RevocationStatus, RevocationError> {
        if self.accepts_unavailable {
            return Ok(RevocationStatus::Active);
        }
        Err(RevocationError::new(reason))
    }

    async fn wait(
        &self,
        source: &Source,
        mut landed: watch::Receiver<Option<Result<Arc<Kept>, Arc<str>>>>,
        index: u64,
    ) -> Result<RevocationStatus, RevocationError> {
        let landed = landed.wait_for(Option::is_some).await;
        let landed = landed.ok().and_then(|landed| landed.clone());
        match landed {
            Some(Ok(kept)) => Ok(self.status_in(source, &kept, index)),
            Some(Err(reason)) => self.unavailable(&reason),
            None => self.unavailable("the load of a status list has ended"),
        }
    }
}

impl Revocation for StatusLists {
    fn check(&self, token: &Claims) -> RevocationCheck {
        let inner = &self.0;
        let revoked = |reason| RevocationCheck::Ready(Ok(unusable(token.issuer(), reason)));
        let reference = match Reference::of(token.registered()) {
            Ok(Some(reference)) => reference,
            Ok(None) => return RevocationCheck::Ready(Ok(RevocationStatus::Active)),
            Err(_) => return revoked("the reference is malformed"),
        };
        let of_issuer = |source: &&Arc<Source>| source.issuer.as_str() == token.issuer();
        let mut sources = inner.sources.iter().filter(of_issuer);
        let Some(source) = sources.find(|source| source.has(&reference.uri)) else {
            return revoked("the list is behind no prefix of the issuer");
        };
        match source.find(&reference.uri, &inner.settings) {
            Found::Kept(kept) => {
                let status = inner.status_in(source, &kept, reference.index);
                RevocationCheck::Ready(Ok(status))
            }
            Found::Failed(reason) => RevocationCheck::Ready(inner.unavailable(&reason)),
            Found::Loading(landed) => {
                let (inner, source) = (Arc::clone(inner), Arc::clone(source));
                let index = reference.index;
                let waiting = async move { inner.wait(&source, landed, index).await };
                RevocationCheck::Pending(Box::pin(waiting))
            }
        }
    }

    fn epoch(&self) -> Option<u64> {
        // What is accepted because a list is not there must be looked up again.
        if self.0.accepts_unavailable {
            return None;
        }
        let clock = &self.0.settings.clock;
        let mut sources = self.0.sources.iter();
        sources.try_fold(0_u64, |sum, source| {
            Some(sum.wrapping_add(source.lists.epoch(clock)?))
        })
    }
}

fn contradiction(what: String) -> ConfigError {
    ConfigError::Settings {
        reason: format!("status lists: {what}"),
    }
}

/// A token whose place in a list cannot be found out is rejected. Only the event has the reason.
fn unusable(issuer: &str, reason: &'static str) -> RevocationStatus {
    telemetry::status_list_unusable_reference(issuer, reason);
    RevocationStatus::Revoked
}

impl fmt::Debug for StatusLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers = self.0.sources.iter().map(|source| &source.issuer);
        f.debug_struct("StatusLists")
            .field("issuers", &issuers.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

const MIB: usize = 1_024 * 1_024;
