//! The contents of a store: the set that was given or loaded, and the changes of the application. Both
//! together determine the keys that verify tokens.
//!
//! The two are stored separately, so that a new load of the source does not undo a decision of the
//! application: a removed key stays dead, and an added key stays in use.

use std::fmt;
use std::time::Instant;

use crate::clock::NumericDate;
use crate::error::rejection::Excerpt;
use crate::keys::change::ChangeCause;
use crate::keys::key::{Key, KeyId};
use crate::keys::set::{Entry, KeySet};

/// Everything that determines which keys verify tokens.
#[derive(Clone, Default)]
pub(super) struct Contents {
    /// Keys that the application added with `rotate`, newest first.
    own: Vec<Entry>,
    /// The last set that was given or loaded. `None` if there was none, or if it was given up.
    base: Option<KeySet>,
    /// Whether the base comes from an issuer or a file. Such a base may have keys that the
    /// application ended.
    is_published: bool,
    /// The last set of the source, even if the application has replaced the base.
    #[cfg(feature = "_refresh")]
    fetched: Option<KeySet>,
    /// The time at which the base is given up if no load succeeds. `None` if the base does not come from
    /// the source.
    fetched_end: Option<Instant>,
    /// Keys that are no longer in the base and still verify tokens, each with its end.
    leaving: Vec<Entry>,
    /// Keys that the application ended, oldest first.
    ended: Vec<Ended>,
    /// Whether the store has a source, from which the base is loaded repeatedly.
    is_loaded: bool,
}

/// A key that the application ended.
#[derive(Clone)]
pub(super) struct Ended {
    pub(super) id: KeyId,
    /// Identifies the key, which is dead under every id.
    pub(super) thumbprint: String,
    /// The key, to recognize its signatures. `None` for a secret, which does not stay in memory.
    public: Option<Key>,
    /// The time from which the key is dead.
    pub(super) at: NumericDate,
    /// [`Remove`](ChangeCause::Remove) or [`Retire`](ChangeCause::Retire).
    pub(super) cause: ChangeCause,
}

/// A dead key that may have signed a token.
pub(crate) struct DeadCandidate<'c> {
    ended: &'c Ended,
    /// `None` for a secret, which is no longer in memory.
    pub(crate) key: Option<&'c Key>,
}

impl fmt::Display for DeadCandidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ended.fmt(f)
    }
}

impl Contents {
    /// The contents of a store without a source.
    pub(super) fn given(base: Option<KeySet>) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The contents of a store with a source. The first set is given up at its end.
    #[cfg(feature = "_refresh")]
    pub(super) fn fetched(first: Option<(KeySet, Instant)>) -> Self {
        let (base, fetched_end) = first.unzip();
        Self {
            fetched: base.clone(),
            fetched_end,
            base,
            is_published: true,
            is_loaded: true,
            ..Self::default()
        }
    }

    /// The keys that verify tokens now. `None` if there is no base and no added key.
    pub(super) fn set(&self, now: NumericDate) -> Option<KeySet> {
        let base = match &self.base {
            None if self.own.is_empty() => return None,
            None => KeySet::empty(),
            Some(base) => base.clone(),
        };
        if self.own.is_empty() && self.leaving.is_empty() && self.ended.is_empty() {
            return Some(base);
        }
        let is_own = |entry: &&Entry| !self.own.iter().any(|own| own.key.is_same(&entry.key));
        let others = base.entries().iter().chain(&self.leaving);
        let others = others.filter(is_own).cloned().map(|mut entry| {
            if let Some(ended) = self
                .ended(entry.key.thumbprint())
                .filter(|_| self.is_published)
            {
                entry.end_at(ended.end());
            }
            entry
        });
        let entries = self.own.iter().cloned().chain(others);
        let entries = entries.filter(|entry| entry.is_live(now));
        Some(base.with_entries(entries.collect()))
    }

    /// Whether this is the last set of the source.
    #[cfg(feature = "_refresh")]
    pub(super) fn is_base(&self, set: &KeySet) -> bool {
        self.fetched.as_ref().is_some_and(|last| last.is_same(set))
    }

    #[cfg(feature = "_refresh")]
    pub(super) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// The time at which the base is given up if no load succeeds. `None` if the base does not come from
    /// the source.
    pub(super) fn fetched_end(&self) -> Option<Instant> {
        self.fetched_end
    }

    /// Postpones the end of the base, because the source still has the same set. Returns `false` if the
    /// base was given up.
    #[cfg(feature = "_refresh")]
    pub(super) fn extend(&mut self, end: Instant) -> bool {
        self.fetched_end = self.fetched_end.map(|_| end);
        self.base.is_some()
    }

    /// Replaces all keys by a set of the application. Ended keys of this set are valid again.
    pub(super) fn replace(&mut self, set: &KeySet) {
        self.ended.retain(|ended| {
            let mut entries = set.entries().iter();
            !entries.any(|entry| entry.key.thumbprint() == ended.thumbprint && !entry.is_retiring())
        });
        self.replace_published(set);
        self.is_published = false;
    }

    /// Replaces all keys by a set of an issuer. Ended keys stay dead.
    pub(super) fn replace_published(&mut self, set: &KeySet) {
        self.own.clear();
        self.leaving.clear();
        self.base = Some(set.clone());
        self.is_published = true;
        self.fetched_end = None;
    }

    /// Replaces all keys by the set of an issuer in this process. Keys that are no longer in it are dead.
    /// Keys that have come back are not.
    #[cfg(feature = "issue")]
    pub(super) fn follow(&mut self, set: &KeySet, now: NumericDate) {
        let has = |thumbprint: &str| set.keys().any(|key| key.thumbprint() == thumbprint);
        let old = self.base.iter().flat_map(KeySet::entries);
        let gone = old.filter(|entry| entry.is_live(now) && !has(entry.key.thumbprint()));
        let gone: Vec<_> = gone.map(|entry| entry.key.clone()).collect();
        for key in &gone {
            self.end(key, now, ChangeCause::Remove);
        }
        self.ended.retain(|ended| !has(&ended.thumbprint));
        self.replace(set);
    }

    /// Stores a loaded set, which is given up at `end`. Keys that are no longer in it verify tokens
    /// until `overlap_end`.
    #[cfg(feature = "_refresh")]
    pub(super) fn refresh(
        &mut self,
        set: &KeySet,
        end: Instant,
        now: NumericDate,
        overlap_end: Option<NumericDate>,
    ) {
        let old = self.base.iter().flat_map(KeySet::entries);
        let is_new = |key: &Key| set.keys().any(|new| new.identity() == key.identity());
        let leaving = old
            .chain(&self.leaving)
            .filter(|entry| !is_new(&entry.key) && entry.is_live(now))
            .filter_map(|entry| {
                let mut entry = entry.clone();
                entry.end_at(overlap_end?);
                Some(entry)
            });
        self.leaving = leaving.collect();
        self.base = Some(set.clone());
        self.fetched = Some(set.clone());
        self.is_published = true;
        self.fetched_end = Some(end);
    }

    /// Stores the saved set of an earlier run, unless a set was loaded. Returns whether it did.
    #[cfg(feature = "remote")]
    pub(super) fn begin_with(&mut self, kept: &KeySet, end: Instant, now: NumericDate) -> bool {
        if self.base.is_some() {
            return false;
        }
        self.refresh(kept, end, now, None);
        true
    }

    /// Gives up the base. The changes of the application stay.
    pub(super) fn give_up(&mut self) {
        self.base = None;
        #[cfg(feature = "_refresh")]
        {
            self.fetched = None;
        }
        self.fetched_end = None;
        self.leaving.clear();
    }

    /// Adds a key. If it was dead, it is valid again.
    pub(super) fn rotate(&mut self, key: &Key, now: NumericDate) {
        self.ended
            .retain(|ended| ended.thumbprint != key.thumbprint());
        self.own
            .retain(|own| !own.key.is_same(key) && own.is_live(now));
        self.own.insert(0, Entry::of(key.clone()));
        if !self.is_loaded {
            self.base.get_or_insert_with(KeySet::empty);
        }
        self.edit_given(|entry| entry.is_live(now).then_some(entry));
    }

    /// Ends the keys with this id or thumbprint. See [`KeyStore::retire`](crate::KeyStore::retire).
    pub(super) fn retire(&mut self, name: &str, at: NumericDate, now: NumericDate) -> bool {
        let mut named = self.named(name, now);
        let is_known = !named.is_empty();
        // The newest key with this id is the successor of the others, so it does not retire.
        let newest = self.own.iter().map(|own| &own.key);
        let newest = newest.filter(|_| named.len() > 1);
        let newest = newest.filter(|key| key.id().as_str() == name);
        let newest = newest
            .into_iter()
            .find(|own| is_same_as_one_of(&named, own))
            .cloned();
        if let Some(newest) = newest {
            named.retain(|key| !key.is_same_material(&newest));
        }
        let retired = |mut entry: Entry| {
            if is_same_as_one_of(&named, &entry.key) {
                entry.end_at(at);
            }
            Some(entry)
        };
        self.own = self.own.drain(..).filter_map(retired).collect();
        self.edit_given(retired);
        for key in &named {
            self.end(key, at, ChangeCause::Retire);
        }
        is_known
    }

    /// Ends the keys with this id or thumbprint at once.
    pub(super) fn remove(&mut self, name: &str, now: NumericDate) -> bool {
        let named = self.named(name, now);
        self.own.retain(|own| !is_same_as_one_of(&named, &own.key));
        self.edit_given(|entry| (!is_same_as_one_of(&named, &entry.key)).then_some(entry));
        for key in &named {
            self.end(key, now, ChangeCause::Remove);
        }
        !named.is_empty()
    }

    /// Forgets that the keys with this id or thumbprint were ended. See
    /// [`KeyStore::reinstate`](crate::KeyStore::reinstate).
    pub(super) fn reinstate(&mut self, name: &str, now: NumericDate) -> bool {
        let is_named = |ended: &Ended| ended.id.as_str() == name || ended.thumbprint == name;
        let (named, others) = self.ended.drain(..).partition::<Vec<_>, _>(is_named);
        self.ended = others;
        // An added key that is dead would hide the same key of the source.
        let reinstated = |mut entry: Entry| {
            let thumbprint = entry.key.thumbprint();
            if named.iter().any(|ended| ended.thumbprint == thumbprint) {
                if !entry.is_live(now) {
                    return None;
                }
                entry.end_never();
            }
            Some(entry)
        };
        self.own = self.own.drain(..).filter_map(reinstated).collect();
        self.edit_given(reinstated);
        !named.is_empty()
    }

    /// The dead keys that may have signed a token with this id: those that had the id, and those that the
    /// source publishes under it. Without an id: all dead keys that are in memory. Newest first.
    pub(super) fn dead<'c>(&'c self, id: Option<&str>, now: NumericDate) -> Vec<DeadCandidate<'c>> {
        if self.ended.is_empty() {
            return Vec::new();
        }
        let published = || {
            let base = self.base.as_ref().filter(|_| self.is_published);
            base.into_iter().flat_map(KeySet::keys)
        };
        let named: Vec<_> = published()
            .filter(|key| id.is_some_and(|id| key.id().as_str() == id))
            .collect();
        let may_be_meant = |ended: &&Ended| {
            id.is_none_or(|id| {
                ended.id.as_str() == id
                    || named.iter().any(|key| key.thumbprint() == ended.thumbprint)
            })
        };
        let dead = self.ended.iter().rev();
        let dead = dead.filter(|ended| ended.is_over(now)).filter(may_be_meant);
        let candidates = dead.map(|ended| DeadCandidate {
            ended,
            key: ended
                .public
                .as_ref()
                .or_else(|| published().find(|key| key.thumbprint() == ended.thumbprint)),
        });
        candidates
            .filter(|dead| id.is_some() || dead.key.is_some())
            .collect()
    }

    /// All dead keys, and whether the source still publishes them.
    pub(super) fn all_dead(&self, now: NumericDate) -> impl Iterator<Item = (&Ended, bool)> {
        let dead = self.ended.iter().filter(move |ended| ended.is_over(now));
        dead.map(|ended| (ended, self.is_published(&ended.thumbprint)))
    }

    /// The live keys with this id or thumbprint.
    fn named(&self, name: &str, now: NumericDate) -> Vec<Key> {
        let set = self.set(now).unwrap_or_else(KeySet::empty);
        let keys = set.keys();
        keys.filter(|key| key.id().as_str() == name || key.thumbprint() == name)
            .cloned()
            .collect()
    }

    fn ended(&self, thumbprint: &str) -> Option<&Ended> {
        let mut ended = self.ended.iter();
        ended.find(|ended| ended.thumbprint == thumbprint)
    }

    /// Records the end of a key. If it already has an earlier end, that end stays.
    fn end(&mut self, key: &Key, at: NumericDate, cause: ChangeCause) {
        let mut ended = self.ended.iter_mut();
        if let Some(ended) = ended.find(|ended| ended.thumbprint == key.thumbprint()) {
            if cause == ChangeCause::Remove || at < ended.at {
                ended.at = at;
            }
            if cause == ChangeCause::Remove {
                ended.cause = cause;
            }
            return;
        }
        if self.ended.len() >= ENDED_MAX {
            let mut ended = self.ended.iter();
            let forgotten = ended.position(|ended| !self.is_published(&ended.thumbprint));
            self.ended.remove(forgotten.unwrap_or(0));
        }
        self.ended.push(Ended {
            id: key.id().clone(),
            thumbprint: key.thumbprint().to_owned(),
            public: key.is_public().then(|| key.clone()),
            at,
            cause,
        });
    }

    fn is_published(&self, thumbprint: &str) -> bool {
        let mut keys = self.base.iter().flat_map(KeySet::keys);
        keys.any(|key| key.thumbprint() == thumbprint)
    }

    /// Edits the base if the application gave it, so that it does not grow and no secret stays in memory.
    /// A base of the source does not change, because it is compared with the next load.
    fn edit_given(&mut self, edit: impl Fn(Entry) -> Option<Entry>) {
        if let Some(base) = self.base.as_mut().filter(|_| !self.is_published) {
            let entries = base.entries().iter().cloned().filter_map(edit);
            *base = base.with_entries(entries.collect());
        }
    }
}

/// Compares the keys without their ids.
fn is_same_as_one_of(keys: &[Key], key: &Key) -> bool {
    keys.iter().any(|other| other.is_same_material(key))
}

impl Ended {
    fn is_over(&self, now: NumericDate) -> bool {
        self.end() <= now
    }

    /// The end of a removed key is earlier than any time, so that the key is dead even if the clock
    /// is set back.
    fn end(&self) -> NumericDate {
        match self.cause {
            ChangeCause::Remove => NumericDate(f64::NEG_INFINITY),
            _ => self.at,
        }
    }
}

/// The reason, for the operator, why a token of this key is rejected.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.cause {
            ChangeCause::Remove => "was removed by the application",
            _ => "was retired by the application and is no longer valid",
        };
        write!(f, "key {} {how}", Excerpt(self.id.as_str()))
    }
}

/// The maximum number of ended keys that are remembered. After that the oldest one that the base does
/// not have is forgotten.
const ENDED_MAX: usize = 1_024;

#[cfg(test)]
#[cfg(feature = "_refresh")]
mod tests {
    use super::*;
    use crate::keys::algorithm::Algorithm;

    fn key(number: u32) -> Key {
        let mut secret = [0x5a; 64];
        for (at, byte) in secret.iter_mut().enumerate() {
            *byte = u8::try_from(at * 3 % 251).unwrap();
        }
        secret[..4].copy_from_slice(&number.to_be_bytes());
        let key = Key::from_secret(Algorithm::HS256, &secret).unwrap();
        key.with_key_id(format!("k{number}"))
    }

    #[test]
    fn remembers_a_bounded_number_of_dead_keys_and_those_first_that_are_published() {
        let now = NumericDate(1.0e9);
        let published = KeySet::new([key(0), key(1)]).unwrap();
        let end = Instant::now();
        let mut contents = Contents::fetched(Some((published.clone(), end)));
        assert!(contents.remove("k0", now));
        for number in 2..3_000 {
            contents.rotate(&key(number), now);
            assert!(contents.remove(&format!("k{number}"), now));
        }
        assert_eq!(contents.ended.len(), ENDED_MAX);
        assert!(contents.own.is_empty());
        assert!(!contents.dead(Some("k0"), now).is_empty());
        assert!(contents.dead(Some("k2"), now).is_empty());
        assert!(!contents.dead(Some("k2999"), now).is_empty());
        contents.refresh(&published, end, now, None);
        let ids: Vec<_> = contents
            .set(now)
            .unwrap()
            .keys()
            .map(|key| key.id().clone())
            .collect();
        assert_eq!(ids, [KeyId::new("k1")]);
    }

    #[test]
    fn a_removed_key_is_dead_on_a_clock_that_is_set_back() {
        let (now, before) = (NumericDate(1.0e9), NumericDate(0.5e9));
        let published = KeySet::new([key(0), key(1)]).unwrap();
        let mut contents = Contents::fetched(Some((published, Instant::now())));
        assert!(contents.remove("k0", now));
        assert!(contents.retire("k1", now, before));
        assert!(!contents.dead(Some("k0"), before).is_empty());
        assert_eq!(contents.set(before).unwrap().keys().count(), 1);
        assert_eq!(contents.set(now).unwrap().keys().count(), 0);
        // Removal has priority over retirement, whichever was first.
        assert!(contents.remove("k1", before));
        assert_eq!(contents.set(before).unwrap().keys().count(), 0);
    }

    #[test]
    fn only_the_named_key_counts_again() {
        let now = NumericDate(1.0e9);
        let live = |contents: &Contents| -> Vec<_> {
            let set = contents.set(now).unwrap();
            set.keys().map(|key| key.id().to_string()).collect()
        };
        let published = KeySet::new([key(0), key(1), key(2)]).unwrap();
        let mut contents = Contents::fetched(Some((published, Instant::now())));
        for id in ["k0", "k1", "k2"] {
            assert!(contents.remove(id, now), "{id}");
        }
        assert!(live(&contents).is_empty());
        assert!(!contents.reinstate("unknown", now));
        assert!(live(&contents).is_empty());
        assert!(contents.reinstate(key(0).thumbprint(), now));
        assert_eq!(live(&contents), ["k0"]);
        assert!(contents.reinstate("k2", now));
        assert_eq!(live(&contents), ["k0", "k2"]);
        assert!(!contents.reinstate("k2", now));
        assert!(!contents.dead(Some("k1"), now).is_empty());
    }

    /// `reinstate` cancels a pending retirement. A dead key comes back only if its source still has
    /// it.
    #[test]
    fn a_reinstated_key_has_no_end() {
        let (now, later) = (NumericDate(1.0e9), NumericDate(1.1e9));
        let live = |contents: &Contents, at| -> Vec<_> {
            let set = contents.set(at).unwrap();
            set.keys().map(|key| key.id().to_string()).collect()
        };
        let both = || KeySet::new([key(0), key(1)]).unwrap();
        let mut given = Contents::given(Some(both()));
        let mut fetched = Contents::fetched(Some((both(), Instant::now())));
        for (contents, dead_then) in [(&mut given, &["k1"][..]), (&mut fetched, &["k0", "k1"])] {
            contents.rotate(&key(0), now);
            assert!(contents.retire("k0", later, now));
            assert_eq!(live(contents, later), ["k1"]);
            assert!(contents.reinstate("k0", now));
            assert_eq!(live(contents, later), ["k0", "k1"]);

            assert!(contents.retire("k0", now, now));
            assert_eq!(live(contents, now), ["k1"]);
            assert!(contents.reinstate("k0", now));
            assert_eq!(live(contents, now), dead_then);
        }
    }

    /// If the set of the application itself has a retiring key, its end still applies when the
    /// source returns the key again. Every other key of the set is valid again.
    #[test]
    fn an_end_in_the_set_of_the_application_stays() {
        let (now, end) = (NumericDate(1.0e9), NumericDate(1.1e9));
        let published = KeySet::new([key(0), key(1)]).unwrap();
        let fetched_end = Instant::now();
        let mut contents = Contents::fetched(Some((published.clone(), fetched_end)));
        assert!(contents.retire("k0", end, now));
        let retiring = contents.set(now).unwrap();
        for (set, expected) in [(&retiring, 1), (&published, 2)] {
            contents.replace(set);
            contents.refresh(&published, fetched_end, now, None);
            assert_eq!(contents.set(now).unwrap().keys().count(), 2);
            assert_eq!(contents.set(end).unwrap().keys().count(), expected);
        }
    }

    #[test]
    fn the_earlier_end_wins_and_a_removal_over_both() {
        let at = |seconds: f64| NumericDate(1.0e9 + seconds);
        let published = KeySet::new([key(0), key(1)]).unwrap();
        let mut contents = Contents::fetched(Some((published, Instant::now())));
        let live = |contents: &Contents, seconds| contents.set(at(seconds)).unwrap().keys().count();
        for (end, expected) in [(50.0, 50.0), (90.0, 50.0), (20.0, 20.0)] {
            assert!(contents.retire("k0", at(end), at(0.0)));
            assert_eq!(live(&contents, expected - 1.0), 2, "{end}");
            assert_eq!(live(&contents, expected), 1, "{end}");
        }
        assert!(contents.remove("k0", at(0.0)));
        assert_eq!(live(&contents, -1.0), 1);
    }

    #[test]
    fn keys_in_their_overlap_end_when_the_application_replaces_the_set() {
        let (now, end) = (NumericDate(1.0e9), NumericDate(1.1e9));
        let live = |contents: &Contents| -> Vec<_> {
            let set = contents.set(now).unwrap();
            set.keys().map(|key| key.id().to_string()).collect()
        };
        let [first, second, other] = [[0, 1], [1, 2], [3, 4]].map(|ids| {
            let set = KeySet::new(ids.map(key));
            set.unwrap()
        });
        for replace in [Contents::replace, Contents::replace_published] {
            let fetched_end = Instant::now();
            let mut contents = Contents::fetched(Some((first.clone(), fetched_end)));
            contents.refresh(&second, fetched_end, now, Some(end));
            assert_eq!(live(&contents), ["k1", "k2", "k0"]);
            replace(&mut contents, &other);
            assert_eq!(live(&contents), ["k3", "k4"]);
        }
    }
}
