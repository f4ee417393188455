//! [`KeySet`], an immutable set of keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::clock::NumericDate;
use crate::error::config::{ConfigError, KeyError};
use crate::keys::jwk;
use crate::keys::key::{Key, KeyId};
use crate::telemetry;

/// The keys of one issuer. A set has at least one usable key.
///
/// A set is immutable. A [`KeyStore`](crate::KeyStore) can replace one set with another while requests
/// run.
///
/// # Example: one unusable key does not make the set unusable
///
/// ```
/// use tower_jwt_auth::KeySet;
///
/// let set = KeySet::from_jwks(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"good"},
///     {"kty":"EC","crv":"P-256","x":"c2hvcnQ","y":"c2hvcnQ","kid":"odd"}
/// ]}"#)?;
/// assert_eq!(set.keys().count(), 1);
/// assert_eq!(set.skipped()[0].to_string(), r#"key "odd": member `x` is not a coordinate of the curve's full length"#);
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeySet(Arc<Inner>);

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    by_id: HashMap<KeyId, Vec<usize>>,
    skipped: Vec<SkippedKey>,
    /// The number of skipped keys that are not in `skipped`.
    unlisted: usize,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// The time from which the key no longer verifies tokens.
    retires: Option<NumericDate>,
}

impl Entry {
    pub(super) fn of(key: Key) -> Self {
        Self { key, retires: None }
    }

    pub(super) fn retires(&self) -> Option<NumericDate> {
        self.retires
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retires.is_some()
    }

    pub(super) fn is_live(&self, now: NumericDate) -> bool {
        self.retires.is_none_or(|at| now < at)
    }

    pub(super) fn end_never(&mut self) {
        self.retires = None;
    }

    /// Sets the end of the key. An earlier end stays.
    pub(super) fn end_at(&mut self, at: NumericDate) {
        self.retires = Some(self.retires.filter(|earlier| *earlier < at).unwrap_or(at));
    }
}

/// The keys with which a token may have been signed.
pub(crate) struct Candidates<'s> {
    entries: &'s [Entry],
    /// Their positions. `None` means all entries.
    positions: Option<&'s [usize]>,
    now: NumericDate,
}

/// A key that may verify a token.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'s> {
    pub(crate) key: &'s Key,
    /// Whether the key has an end, after which it no longer verifies tokens even if the set stays
    /// the same.
    pub(crate) is_retiring: bool,
}

impl<'s> Candidates<'s> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Candidate<'s>> {
        let named = self.positions.unwrap_or_default().iter();
        let named = named.filter_map(|at| self.entries.get(*at));
        let all = self.entries.iter();
        let all = all.take(if self.positions.is_none() {
            usize::MAX
        } else {
            0
        });
        let live = |entry: &&Entry| entry.is_live(self.now);
        named.chain(all).filter(live).map(|entry| Candidate {
            key: &entry.key,
            is_retiring: entry.is_retiring(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// A key of a set that was skipped because it is not usable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedKey {
    position: usize,
    id: Option<String>,
    #[serde(serialize_with = "as_text")]
    reason: KeyError,
}

impl SkippedKey {
    /// The position in the set, from 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The id of the key, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Why the key is not usable.
    #[must_use]
    pub fn reason(&self) -> &KeyError {
        &self.reason
    }

    /// Whether something is wrong with the key. A key that is meant for something else is not a
    /// defect.
    fn is_defect(&self) -> bool {
        !matches!(
            self.reason,
            KeyError::Encryption | KeyError::OtherUse { .. }
        )
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(
                f,
                "key {}: {}",
                crate::error::rejection::Excerpt(id),
                self.reason
            ),
            None => write!(f, "key at position {}: {}", self.position, self.reason),
        }
    }
}

impl KeySet {
    /// Creates a set of these keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySet`] if there is no key.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, ConfigError> {
        let entries = keys.into_iter().map(Entry::of).collect();
        Self::of(entries, Vec::new()).filled()
    }

    /// Reads the public keys of a JSON Web Key Set ([RFC 7517, section 5]), as issuers publish it.
    ///
    /// Keys that are not usable are skipped; [`skipped`](Self::skipped) returns the reasons. Symmetric
    /// and private keys are skipped too, because others can read a key set. For your own secret in a
    /// JWK, use [`Key::from_jwk`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySet`] if the text is not a key set, has duplicate members, or has no usable
    /// key.
    ///
    /// [RFC 7517, section 5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
    pub fn from_jwks(jwks: &[u8]) -> Result<Self, ConfigError> {
        Self::from_jwks_for(jwks, &[])
    }

    /// Same as [`from_jwks`](Self::from_jwks). Also accepts keys whose `use` is one of `uses`.
    pub(super) fn from_jwks_for(jwks: &[u8], uses: &[String]) -> Result<Self, ConfigError> {
        let set = Self::parse(jwks, jwk::KeysWithoutUse::Allowed, usize::MAX, uses)?;
        set.report_skipped();
        Ok(set)
    }

    /// Same as [`from_jwks`](Self::from_jwks), for the set of an issuer. If the set has keys for
    /// encryption, each key must have a `use` (RFC 8414, section 2).
    ///
    /// Takes the first `max_keys` usable keys. The caller reports the skipped keys, because the same
    /// set is loaded repeatedly.
    #[cfg(feature = "remote")]
    pub(crate) fn from_published(
        jwks: &[u8],
        max_keys: usize,
        uses: &[String],
    ) -> Result<Self, ConfigError> {
        Self::parse(
            jwks,
            jwk::KeysWithoutUse::SkippedBesideEncryption,
            max_keys,
            uses,
        )
    }

    fn parse(
        jwks: &[u8],
        keys_without_use: jwk::KeysWithoutUse,
        max_keys: usize,
        uses: &[String],
    ) -> Result<Self, ConfigError> {
        let (mut entries, mut skipped, mut unlisted) = (Vec::new(), Vec::new(), 0_usize);
        for (position, listed) in jwk::parse_set(jwks, keys_without_use)?
            .into_iter()
            .enumerate()
        {
            let entry = if entries.len() < max_keys {
                listed.read(uses)
            } else {
                // The set is full, so this key is not parsed.
                jwk::Entry {
                    id: listed.id(),
                    key: Err(KeyError::Excess { maximum: max_keys }),
                }
            };
            match entry.key {
                Ok(key) => entries.push(Entry::of(key)),
                Err(_) if skipped.len() >= LISTED_MAX => unlisted = unlisted.saturating_add(1),
                Err(reason) => skipped.push(SkippedKey {
                    position,
                    id: entry.id,
                    reason,
                }),
            }
        }
        Self::with_skipped(entries, skipped, unlisted).filled()
    }

    /// The keys, in the order of the set.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.entries.iter().map(|entry| &entry.key)
    }

    /// The keys that were skipped when the set was read, with the reasons. Only the first 64 are
    /// listed, so that a set with thousands of broken keys does not fill the memory or the log.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.0.skipped
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0.entries
    }

    /// The number of keys that were skipped when the set was read.
    #[must_use]
    pub fn skipped_count(&self) -> usize {
        self.0.skipped.len().saturating_add(self.0.unlisted)
    }

    /// Writes events for the skipped keys that are defects.
    pub(super) fn report_skipped(&self) {
        let defects = self.0.skipped.iter().filter(|key| key.is_defect());
        telemetry::keys_skipped(defects, self.0.unlisted);
    }

    fn of(entries: Vec<Entry>, skipped: Vec<SkippedKey>) -> Self {
        Self::with_skipped(entries, skipped, 0)
    }

    /// A set of these keys, and the same skipped keys.
    pub(super) fn with_entries(&self, entries: Vec<Entry>) -> Self {
        Self::with_skipped(entries, self.0.skipped.clone(), self.0.unlisted)
    }

    fn with_skipped(entries: Vec<Entry>, skipped: Vec<SkippedKey>, unlisted: usize) -> Self {
        let mut by_id: HashMap<KeyId, Vec<usize>> = HashMap::with_capacity(entries.len());
        for (position, entry) in entries.iter().enumerate() {
            by_id
                .entry(entry.key.id().clone())
                .or_default()
                .push(position);
        }
        Self(Arc::new(Inner {
            entries,
            by_id,
            skipped,
            unlisted,
        }))
    }

    fn filled(self) -> Result<Self, ConfigError> {
        if !self.0.entries.is_empty() {
            return Ok(self);
        }
        let first = self.0.skipped.iter().take(REASONS_MAX);
        let mut reasons: Vec<_> = first.map(SkippedKey::to_string).collect();
        let more = self.skipped_count().saturating_sub(reasons.len());
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        Err(ConfigError::KeySet {
            reason: if reasons.is_empty() {
                "it has no keys".into()
            } else {
                format!("none of its keys is usable: {}", reasons.join("; "))
            },
        })
    }

    /// A set of keys that may have ends. It may be empty.
    #[cfg(feature = "issue")]
    pub(crate) fn ending(keys: impl IntoIterator<Item = (Key, Option<NumericDate>)>) -> Self {
        let entries = keys
            .into_iter()
            .map(|(key, retires)| Entry { key, retires });
        Self::of(entries.collect(), Vec::new())
    }

    /// A set without keys. No loader creates it. It is what remains when the last key is removed.
    pub(super) fn empty() -> Self {
        Self::of(Vec::new(), Vec::new())
    }

    /// The keys for a token: those with this id, or all keys for a token without an id.
    pub(crate) fn candidates(&self, id: Option<&str>, now: NumericDate) -> Candidates<'_> {
        let positions = id.map(|id| {
            let positions = self.0.by_id.get(id);
            positions.map(Vec::as_slice).unwrap_or_default()
        });
        Candidates {
            entries: &self.0.entries,
            positions,
            now,
        }
    }

    /// Whether a key was not given an id. Used for a hint to the operator.
    pub(crate) fn has_unnamed_keys(&self) -> bool {
        self.keys().any(|key| !key.is_named())
    }

    /// Whether both have the same keys, under the same ids and for the same algorithms.
    #[cfg(feature = "_refresh")]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let identity = |set: &Self| -> Vec<_> {
            let keys = set.0.entries.iter();
            keys.map(|entry| (entry.key.identity(), entry.retires))
                .collect()
        };
        self.0.skipped == other.0.skipped
            && self.0.unlisted == other.0.unlisted
            && identity(self) == identity(other)
    }

    /// This set without the keys that have ended. `None` if no key is left.
    pub(super) fn live(&self, now: NumericDate) -> Option<Self> {
        if self.0.entries.iter().all(|entry| entry.is_live(now)) {
            return (!self.0.entries.is_empty()).then(|| self.clone());
        }
        let live = self.0.entries.iter().filter(|entry| entry.is_live(now));
        let live: Vec<_> = live.cloned().collect();
        (!live.is_empty()).then(|| self.with_entries(live))
    }

    /// The skipped key with this id.
    pub(crate) fn skipped_key(&self, id: &str) -> Option<&SkippedKey> {
        let mut skipped = self.0.skipped.iter();
        skipped.find(|key| key.id() == Some(id))
    }
}

fn as_text<S: Serializer>(reason: &KeyError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}

/// The maximum number of skipped keys that are listed.
const LISTED_MAX: usize = 64;
/// The maximum number of skipped keys in an error.
const REASONS_MAX: usize = 8;

impl From<Key> for KeySet {
    fn from(key: Key) -> Self {
        Self::of(vec![Entry::of(key)], Vec::new())
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.keys().collect::<Vec<_>>())
            .field("skipped", &self.0.skipped)
            .finish()
    }
}
