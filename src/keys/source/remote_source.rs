//! Loads the key set of an issuer, with the settings of [`RemoteKeys`](crate::keys::RemoteKeys).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64_simd::URL_SAFE_NO_PAD;
use http::StatusCode;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::error::config::ConfigError;
use crate::error::shown_url::ShownUrl;
use crate::fetch::documents::{DocumentError, Documents};
use crate::fetch::freshness::{Lifetimes, Validators, checked};
use crate::fetch::metadata::Discovery;
use crate::fetch::plain_http::PlainHttp;
use crate::keys::set::KeySet;
use crate::keys::source::load::{Load, LoadError, Loaded};
use crate::keys::source::snapshot::{KeySnapshot, KeySnapshotStore};

/// The key set of an issuer, and how it is fetched.
pub(super) struct RemoteSource {
    pub(super) origin: Origin,
    pub(super) documents: Documents,
    pub(super) plain_http: PlainHttp,
    pub(super) lifetimes: Lifetimes,
    pub(super) max_keys: usize,
    /// The values of `use` that are accepted in addition to `sig`.
    pub(super) uses: Vec<String>,
    /// The validators of the last key set, for conditional requests.
    pub(super) validators: Option<Validators>,
    /// The last set whose skipped keys were reported.
    pub(super) reported: Option<KeySet>,
    pub(super) snapshot_store: Option<Arc<dyn KeySnapshotStore>>,
    /// The text of the last key set, for the snapshot store.
    pub(super) newest: Option<String>,
    /// The last save. If the disk hangs, the save does not return, and another save would block
    /// another thread of the runtime.
    pub(super) saving: Option<JoinHandle<()>>,
    pub(super) keep_stale: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

/// How the key set is found.
pub(super) enum Origin {
    KeySet(String),
    Metadata {
        /// The issuer, or the URL that was given for its metadata.
        name: String,
        discovery: Discovery,
    },
}

impl Origin {
    fn name(&self) -> &str {
        match self {
            Self::KeySet(uri) => uri,
            Self::Metadata { name, .. } => name,
        }
    }
}

/// The source as events, errors and the status show it.
impl fmt::Display for RemoteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownUrl(self.origin.name()).fmt(f)
    }
}

impl Load for RemoteSource {
    fn forget(&mut self) {
        self.validators = None;
    }

    async fn load(&mut self) -> Result<Loaded, LoadError> {
        let loaded = self.load_set().await;
        if let (Err(_), Origin::Metadata { discovery, .. }) = (&loaded, &mut self.origin) {
            discovery.forget();
        }
        loaded
    }

    fn save(&mut self) {
        let is_saving = |saving: &JoinHandle<()>| !saving.is_finished();
        if self.saving.as_ref().is_some_and(is_saving) {
            return;
        }
        if let (Some(snapshot), Some(jwks)) = (self.key_snapshot(), &self.newest) {
            self.saving = Some(snapshot.save(jwks.clone()));
        }
    }
}

impl RemoteSource {
    async fn load_set(&mut self) -> Result<Loaded, LoadError> {
        // They are restored only after a good response.
        let validators = self.validators.take();
        let uri = self.jwks_uri().await?;
        let validators = validators.filter(|validators| validators.uri == uri);
        let headers = validators
            .as_ref()
            .map_or(&[][..], |validators| &validators.headers);
        let response = self.documents.get(&uri, headers).await?;
        let lifetime = self.lifetimes.of(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED && validators.is_some() {
            self.validators = validators;
            return Ok(Loaded {
                set: None,
                lifetime,
            });
        }
        let body = checked(&uri, &response)?;
        let set = KeySet::from_published(body, self.max_keys, &self.uses);
        let set = set.map_err(|error| LoadError::new(format!("{}: {error}", ShownUrl(&uri))))?;
        self.report(&set);
        if self.snapshot_store.is_some() {
            self.newest = std::str::from_utf8(body).ok().map(str::to_owned);
        }
        self.validators = Validators::of(uri, response.headers());
        Ok(Loaded {
            set: Some(set),
            lifetime,
        })
    }

    async fn jwks_uri(&mut self) -> Result<String, DocumentError> {
        match &mut self.origin {
            Origin::KeySet(uri) => Ok(uri.clone()),
            Origin::Metadata { discovery, .. } => {
                discovery.url(&self.documents, self.plain_http).await
            }
        }
    }

    /// Reports the skipped keys, once for each set.
    fn report(&mut self, set: &KeySet) {
        let is_new = self.reported.as_ref().is_none_or(|old| !old.is_same(set));
        if is_new {
            set.report_skipped();
            self.reported = Some(set.clone());
        }
    }

    /// The maximum number of requests of one load.
    pub(super) fn requests(&self) -> u32 {
        let before = match &self.origin {
            Origin::KeySet(_) => 0,
            Origin::Metadata { discovery, .. } => discovery.requests(),
        };
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    pub(super) fn check_places(&self) -> Result<(), ConfigError> {
        let check = |place: &str| {
            let checked = self.plain_http.check(place);
            checked.map_err(|expected| unusable(place, format!("expected {expected}")))
        };
        match &self.origin {
            Origin::KeySet(uri) => check(uri),
            Origin::Metadata { discovery, .. } => discovery.places().try_for_each(check),
        }
    }

    pub(super) fn key_snapshot(&self) -> Option<KeySnapshot> {
        Some(KeySnapshot {
            store: Arc::clone(self.snapshot_store.as_ref()?),
            source: self.to_string(),
            identity: identity(self.origin.name()),
            clock: Arc::clone(&self.clock),
            keep_stale: self.keep_stale,
            timeout: self.documents.timeout,
            max_keys: self.max_keys,
            uses: self.uses.clone(),
        })
    }
}

/// Identifies a source in a key snapshot, which contains no secret: the URL, with a digest in place of
/// the parts that are not shown.
fn identity(url: &str) -> String {
    let shown = ShownUrl(url).to_string();
    if shown == url {
        return shown;
    }
    let digest = URL_SAFE_NO_PAD.encode_to_string(digest(&SHA256, url.as_bytes()));
    format!("{shown}#{digest}")
}

/// A startup error about this URL.
pub(super) fn unusable(source: &str, reason: String) -> ConfigError {
    ConfigError::KeySource {
        input: ShownUrl(source).to_string(),
        reason,
    }
}
