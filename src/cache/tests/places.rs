//! Which token gets a place.

use super::*;

/// The values in the cache, sorted.
fn values(cache: &Cache<u32>) -> Vec<u32> {
    let inner = cache.inner.get();
    inner.map(|inner| inner.table.values()).unwrap_or_default()
}

#[test]
fn evicts_expired_entries_first_and_then_one_that_was_used_once() {
    let cache = cache(3);
    let values = || values(&cache);
    put(&cache, 1, at(1));
    put(&cache, 2, at(2));
    let soon = Lifetime {
        until: at(90),
        ..ALWAYS
    };
    cache.put(token(3).as_bytes(), at(3), soon, 0, 3, 100);
    assert_eq!(get(&cache, 1, at(10)), Some(1));
    assert_eq!(get(&cache, 3, at(80)), Some(3));
    assert_eq!(values(), [1, 2, 3]);
    put(&cache, 4, at(100));
    assert_eq!(values(), [1, 2, 4], "3 is past its end, though used last");
    put(&cache, 5, at(101));
    assert_eq!(values(), [1, 2, 4], "5 may be one that never comes again");
    put(&cache, 5, at(101));
    let kept = values();
    assert!(
        kept == [1, 2, 5] || kept == [1, 4, 5],
        "{kept:?}: 2 and 4 were used once"
    );
}

#[test]
fn evicts_the_entry_that_was_unused_for_longest_and_none_that_is_in_use() {
    let cache = cache(3);
    let values = || values(&cache);
    put(&cache, 1, at(9));
    assert_eq!(get(&cache, 1, at(10)), Some(1));
    put(&cache, 6, at(102));
    put(&cache, 7, at(103));
    assert_eq!(values(), [1, 6, 7]);
    for number in [6, 7] {
        assert_eq!(get(&cache, number, at(104)), Some(number));
    }
    put(&cache, 8, at(105));
    put(&cache, 8, at(105));
    assert_eq!(values(), [6, 7, 8], "1 was used long ago");
    assert_eq!(get(&cache, 6, at(120)), Some(6));
    assert_eq!(get(&cache, 8, at(120)), Some(8));
    put(&cache, 9, at(164));
    put(&cache, 9, at(164));
    assert_eq!(values(), [6, 7, 8], "all are in use");
    put(&cache, 9, at(165));
    assert_eq!(values(), [6, 8, 9], "7 is not any more");
}

#[test]
fn valid_tokens_that_are_used_once_evict_none_that_are_in_use() {
    let cache = cache(1_000);
    for number in 0..500 {
        put(&cache, number, NOW);
        get(&cache, number, NOW);
    }
    let hot: Vec<u32> = (0..500)
        .filter(|&number| get(&cache, number, NOW).is_some())
        .collect();
    assert!(hot.len() > 490, "{}", hot.len());
    for number in 1_000..20_000 {
        put(&cache, number, at(59));
    }
    // These tokens come ten times, each time with other tokens in between.
    for turn in 0..10 {
        for number in 20_000..20_400 {
            put(&cache, number, at(59));
            put(&cache, 30_000 + 1_000 * turn + number, at(59));
        }
    }
    assert!(held(&cache).0 <= 1_000);
    for number in hot {
        assert_eq!(get(&cache, number, at(59)), Some(number));
    }
    let count = |numbers: std::ops::Range<u32>| {
        let found = numbers.filter(|&number| get(&cache, number, at(59)).is_some());
        found.count()
    };
    assert!(count(20_000..20_400) > 100);
    assert!(count(5_000..20_000) < 150, "they came once");
}

#[test]
fn a_token_that_finds_a_full_cache_has_to_come_again_before_the_next_one_like_it() {
    let cache = cache(2);
    let found = |number| get(&cache, number, at(1)).is_some();
    put(&cache, 1, NOW);
    put(&cache, 2, NOW);
    for number in [3, 4, 3, 4] {
        put(&cache, number, NOW);
    }
    assert!(found(1) && found(2) && !found(3) && !found(4));
    put(&cache, 4, at(100));
    assert!(!found(1) || !found(2));
    assert!(found(4));
    assert_eq!(held(&cache).0, 2);
}

#[test]
fn a_token_whose_bucket_is_full_has_to_come_again_although_the_cache_has_room() {
    let cache = cache(1_000);
    put(&cache, 0, NOW);
    let Some(Inner { key, table }) = cache.inner.get() else {
        panic!("nothing was put in");
    };
    let bucket = |number: u32| {
        let place = key.place(token(number).as_bytes()).unwrap();
        std::ptr::from_ref(table.bucket(place).unwrap())
    };
    let mut neighbours = (1..).filter(|number| std::ptr::eq(bucket(*number), bucket(0)));
    neighbours
        .by_ref()
        .take(6)
        .for_each(|number| put(&cache, number, NOW));
    assert_eq!(held(&cache).0, 7);
    let next = neighbours.next().unwrap();
    let found = || {
        cache
            .get(token(next).as_bytes(), NOW, |_| Some(()))
            .is_some()
    };
    put(&cache, next, NOW);
    assert!(!found());
    put(&cache, next, NOW);
    assert!(found());
    assert_eq!(held(&cache).0, 7);
}

#[test]
fn unknown_tokens_change_nothing() {
    let cache = cache(10);
    put(&cache, 1, NOW);
    for number in 2..1_000 {
        assert_eq!(get(&cache, number, NOW), None);
    }
    assert_eq!(held(&cache), (1, 100));
    assert_eq!(get(&cache, 1, NOW), Some(1));
}

#[test]
fn a_full_cache_has_almost_as_many_entries_as_allowed() {
    let cache = cache(1_000);
    for number in 0..1_000 {
        put(&cache, number, NOW);
    }
    let entries = held(&cache).0;
    assert!((950..=1_000).contains(&entries), "{entries}");
}

#[test]
fn stores_no_more_bytes_than_the_limit() {
    let cache = cache_of(Limits {
        entries: 100,
        bytes: 1_000,
    });
    let put = |number, weight| cache.put(token(number).as_bytes(), NOW, ALWAYS, 0, number, weight);
    put(1, 1_001);
    assert_eq!(held(&cache), (0, 0), "too heavy");
    for number in 0..10 {
        put(number, 90);
    }
    assert_eq!(held(&cache), (10, 900));
    put(20, 100);
    assert_eq!(held(&cache), (11, 1_000));
    for _ in 0..2 {
        put(21, usize::MAX);
    }
    assert_eq!(held(&cache), (11, 1_000));
    put(22, 10);
    assert_eq!(get(&cache, 22, NOW), None, "it may never come again");
    put(22, 10);
    assert!(held(&cache).1 <= 1_000);
    assert_eq!(get(&cache, 22, NOW), Some(22));
}

#[test]
fn a_cache_of_size_zero_stores_nothing() {
    for limits in [
        Limits {
            entries: 0,
            ..ROOMY
        },
        Limits { bytes: 0, ..ROOMY },
    ] {
        let cache = Cache::new(limits);
        put(&cache, 1, NOW);
        assert_eq!(get(&cache, 1, NOW), None);
        assert_eq!(held(&cache), (0, 0));
    }
}

#[test]
fn the_largest_cache_is_bounded() {
    let cache: Cache<u32> = Cache::new(Limits {
        entries: usize::MAX,
        bytes: usize::MAX,
    });
    assert_eq!(cache.limits.entries, MAX_ENTRIES);
}
