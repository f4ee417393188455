//! Look-ups, and what the cache stores and prints.

mod expiry;
mod histories;
mod places;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use proptest::prelude::*;

use super::digest::{LONGEST, SHORTEST, TAIL};
use super::table::Bucket;
use super::*;

impl Grow for u32 {
    fn growth(&self) -> Option<&Growth> {
        None
    }
}

impl Grow for Arc<()> {
    fn growth(&self) -> Option<&Growth> {
        None
    }
}

impl Grow for Arc<Growth> {
    fn growth(&self) -> Option<&Growth> {
        Some(self)
    }
}

const NOW: NumericDate = NumericDate(1_700_000_000.0);

const ALWAYS: Lifetime = Lifetime {
    from: NumericDate(0.0),
    until: NumericDate(1e10),
};

fn at(seconds: u32) -> NumericDate {
    NumericDate(NOW.0 + f64::from(seconds))
}

/// Characters that depend only on this number.
fn characters(number: u32, length: usize) -> String {
    let mut state = u64::from(number).wrapping_add(1);
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 58).unwrap();
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[at])
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn token_of(number: u32, signature: usize) -> String {
    let claims = characters(number.wrapping_mul(31), 40);
    format!(
        "eyJhbGciOiJIUzI1NiJ9.{claims}.{}",
        characters(number, signature)
    )
}

fn token(number: u32) -> String {
    token_of(number, 86)
}

fn cache(entries: usize) -> Cache<u32> {
    cache_of(Limits {
        entries,
        bytes: 1 << 20,
    })
}

/// Limits that no test reaches.
const ROOMY: Limits = Limits {
    entries: 10_000,
    bytes: 64 << 20,
};

/// A cache with a fixed key, so that its behaviour is deterministic.
fn cache_of<V: Grow>(limits: Limits) -> Cache<V> {
    let cache = Cache::new(limits);
    let inner = Inner {
        key: Arc::new(Key::fixed().unwrap()),
        table: Table::new(cache.limits),
    };
    assert!(cache.inner.set(inner).is_ok());
    cache
}

fn put(cache: &Cache<u32>, number: u32, now: NumericDate) {
    cache.put(token(number).as_bytes(), now, ALWAYS, 0, number, 100);
}

fn get(cache: &Cache<u32>, number: u32, now: NumericDate) -> Option<u32> {
    cache.get(token(number).as_bytes(), now, |entry| Some(*entry.value()))
}

fn held(cache: &Cache<u32>) -> (usize, usize) {
    let Some(Inner { table, .. }) = cache.inner.get() else {
        return (0, 0);
    };
    let held = table.held().unwrap();
    assert_eq!(held, table.count());
    held
}

#[test]
fn finds_the_tokens_that_were_put_in_and_no_others() {
    let cache = cache(100);
    assert_eq!(get(&cache, 1, NOW), None);
    put(&cache, 1, NOW);
    put(&cache, 2, NOW);
    assert_eq!(get(&cache, 1, NOW), Some(1));
    assert_eq!(get(&cache, 2, NOW), Some(2));
    assert_eq!(get(&cache, 3, NOW), None);
    assert_eq!(held(&cache).0, 2);
}

#[test]
fn misses_a_token_with_any_one_character_changed() {
    for signature in [SHORTEST, 64, 86, 128, 342, 1366] {
        let cache = cache(1);
        let token = token_of(1, signature);
        cache.put(token.as_bytes(), NOW, ALWAYS, 0, 1, 1);
        let found = |token: &str| cache.get(token.as_bytes(), NOW, |_| Some(())).is_some();
        assert!(found(&token));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert!(!found(&String::from_utf8(changed).unwrap()), "{at}");
        }
        assert!(found(&token));
    }
}

#[test]
fn misses_a_token_that_is_cut_lengthened_or_has_its_dots_elsewhere() {
    let cache = cache(1);
    put(&cache, 1, NOW);
    let token = token(1);
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signing_input.split_once('.').unwrap();
    for other in [
        "".into(),
        ".".into(),
        "é".repeat(100),
        signature.into(),
        format!(".{signature}"),
        format!("{claims}.{signature}"),
        format!("{header}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{claims}{signature}"),
        format!("{header}.{claims}..{signature}"),
        format!("{header}{claims}..{signature}"),
        format!("{header}.{claims}.{}", &signature[1..]),
        format!("{header}.{claims}.A{signature}"),
        format!("{header}.{claims}.{}", &signature[..signature.len() - 1]),
        format!("{token}A"),
        format!("{token}="),
        format!(" {token}"),
    ] {
        let found = cache.get(other.as_bytes(), NOW, |_| Some(()));
        assert_eq!(found, None, "{other}");
    }
    assert_eq!(get(&cache, 1, NOW), Some(1));
}

#[test]
fn keeps_no_text_of_a_token() {
    let cache = cache(1);
    put(&cache, 1, NOW);
    let token = token(1);
    let Some(Inner { key, table }) = cache.inner.get() else {
        panic!("nothing was put in");
    };
    let place = key.place(token.as_bytes()).unwrap();
    let mut slots = table.bucket(place).unwrap().candidates(place.tag);
    let kept = slots.find_map(|(_, slot)| (*slot.load()).clone()).unwrap();
    // Names every field, so that a new field has to be added here: all are numbers, except the
    // value of the caller.
    let Entry {
        fingerprint:
            Fingerprint {
                sum: _,
                digest: _,
                length: 148,
            },
        lifetime: ALWAYS,
        used: _,
        generation: _,
        weight: 100,
        value: 1,
    } = *kept
    else {
        panic!("other fields");
    };
}

#[test]
fn keeps_no_token_whose_signature_could_be_guessed() {
    let cache = cache(100);
    for (length, is_kept) in [
        (0, false),
        (SHORTEST - 1, false),
        (SHORTEST, true),
        (1366, true),
        (20_000, true),
    ] {
        let token = format!("{}.{}", "a".repeat(100), characters(9, length));
        cache.put(token.as_bytes(), NOW, ALWAYS, 0, 1, 1);
        let found = cache.get(token.as_bytes(), NOW, |_| Some(())).is_some();
        assert_eq!(found, is_kept, "{length}");
    }
    cache.put(b"short", NOW, ALWAYS, 0, 1, 1);
    assert_eq!(held(&cache).0, 3);
}

#[test]
fn keeps_tokens_of_every_length_that_a_layer_takes() {
    let cache = cache(100);
    for (length, is_kept) in [
        (TAIL + 15, false),
        (TAIL + 16, true),
        (TAIL + 17, true),
        (TAIL + LONGEST, true),
        (TAIL + LONGEST + 16, false),
    ] {
        let token = format!("{}.{}", "a".repeat(length - 44), characters(9, 43));
        assert_eq!(token.len(), length);
        cache.put(token.as_bytes(), NOW, ALWAYS, 0, 1, 1);
        let found = cache.get(token.as_bytes(), NOW, |_| Some(())).is_some();
        assert_eq!(found, is_kept, "{length}");
    }
}

/// The first random bytes of a process take long, so `prepare` draws them before the first request.
#[test]
fn a_cache_that_is_prepared_has_its_key_and_its_table() {
    let cache = Cache::<u32>::new(ROOMY);
    assert!(cache.inner.get().is_none());
    assert!(cache.prepare().is_some());
    let inner: *const _ = cache.inner.get().unwrap();
    put(&cache, 1, NOW);
    assert!(std::ptr::eq(inner, cache.inner.get().unwrap()));
    assert_eq!(get(&cache, 1, NOW), Some(1));
    // A cache that is off needs neither.
    let off = Cache::<u32>::new(Limits {
        entries: 0,
        bytes: 1,
    });
    assert!(off.prepare().is_none() && off.inner.get().is_none());
}

#[test]
fn the_same_token_takes_one_place_and_the_last_value_counts() {
    let cache = cache(10);
    for value in 0..20 {
        cache.put(token(1).as_bytes(), NOW, ALWAYS, 0, value, 100);
        assert_eq!(get(&cache, 1, NOW), Some(value));
    }
    assert_eq!(held(&cache), (1, 100));
}

#[test]
fn a_token_that_comes_again_is_still_in_use() {
    let cache = cache(1);
    put(&cache, 1, NOW);
    assert_eq!(get(&cache, 1, NOW), Some(1));
    put(&cache, 1, at(1)); // for instance because its time limit had passed
    for _ in 0..2 {
        put(&cache, 2, at(2));
    }
    assert_eq!(get(&cache, 2, at(2)), None);
    assert_eq!(get(&cache, 1, at(2)), Some(1));
}

#[test]
fn debug_shows_counts_only() {
    let cache = cache(10);
    put(&cache, 77, NOW);
    assert_eq!(
        format!("{cache:?}"),
        "Cache { entries: 1, bytes: 100, limits: Limits { entries: 10, bytes: 1048576 } }"
    );
}

#[test]
fn a_token_takes_up_little_beside_its_value() {
    assert!(Cache::<Arc<()>>::weight() <= 160);
    assert!(size_of::<Entry<Arc<()>>>() <= 88);
    assert_eq!(
        size_of::<Bucket<Arc<()>>>(),
        64,
        "a line of the cache, for two tokens"
    );
}

#[test]
fn values_are_freed_when_their_entries_go() {
    let (value, cache) = (Arc::new(()), Cache::new(ROOMY));
    let put = |now| cache.put(token(1).as_bytes(), now, ALWAYS, 0, Arc::clone(&value), 1);
    put(NOW);
    put(NOW);
    assert_eq!(Arc::strong_count(&value), 2);
    cache.get(token(1).as_bytes(), NOW, |_| None::<()>);
    assert_eq!(Arc::strong_count(&value), 1);
    put(NOW);
    drop(cache);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn bytes_that_a_value_adds_later_are_counted_and_given_back() {
    let cache = cache_of(Limits {
        entries: 10,
        bytes: 1_000,
    });
    let held = || {
        let held = cache.inner.get().unwrap().table.held().unwrap().1;
        assert_eq!(held, cache.inner.get().unwrap().table.bytes());
        held
    };
    let values: Vec<_> = (0..4).map(|_| Arc::new(Growth::new())).collect();
    assert!(values[0].try_add(50), "before it comes here");
    let put = |number: u32| {
        let value = Arc::clone(&values[usize::try_from(number).unwrap()]);
        cache.put(token(number).as_bytes(), NOW, ALWAYS, 0, value, 100);
    };
    put(0);
    put(1);
    assert_eq!(held(), 250);
    assert!(values[0].try_add(700) && !values[1].try_add(51) && values[1].try_add(50));
    assert_eq!(held(), 1_000);
    // A third value evicts one of the two. The bytes that the evicted value added are released too.
    put(2);
    put(2);
    assert!(held() <= 1_000 && cache.get(token(2).as_bytes(), NOW, |_| Some(())).is_some());
    // Removed entries.
    for number in 0..3 {
        cache.get(token(number).as_bytes(), NOW, |_| None::<()>);
    }
    assert_eq!(held(), 0);
    // A value that is too large before it is stored.
    assert!(values[3].try_add(901));
    put(3);
    assert_eq!(held(), 0);
}
