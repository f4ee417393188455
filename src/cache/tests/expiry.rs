//! When entries expire, and when their places become free.

use super::*;

#[test]
fn a_verdict_holds_from_its_beginning_until_before_its_end() {
    let lifetime = Lifetime {
        from: at(10),
        until: at(20),
    };
    let cache = cache(10);
    let put = |now| cache.put(token(1).as_bytes(), now, lifetime, 0, 1, 1);
    put(at(9));
    put(at(20));
    put(NumericDate(f64::NAN));
    assert_eq!(held(&cache).0, 0);
    put(at(10));
    assert_eq!(get(&cache, 1, at(10)), Some(1));
    assert_eq!(get(&cache, 1, NumericDate(at(20).0 - 0.001)), Some(1));
    assert_eq!(get(&cache, 1, NumericDate(f64::NAN)), None);
    assert_eq!(get(&cache, 1, at(9)), None, "the clock was set back");
    assert_eq!(held(&cache).0, 1);
    assert_eq!(get(&cache, 1, at(20)), None);
    assert_eq!(held(&cache).0, 0, "removed when met");
    put(at(19));
    assert_eq!(get(&cache, 1, at(19)), Some(1));
}

#[test]
fn a_verdict_without_an_end_in_numbers_is_not_kept() {
    let cache = cache(10);
    for (from, until) in [(f64::NAN, 1e10), (0.0, f64::NAN), (1e10, 0.0)] {
        let (from, until) = (NumericDate(from), NumericDate(until));
        cache.put(token(1).as_bytes(), NOW, Lifetime { from, until }, 0, 1, 1);
    }
    assert_eq!(held(&cache).0, 0);
}

#[test]
fn an_entry_that_is_not_accepted_is_gone() {
    let cache = cache(10);
    put(&cache, 1, NOW);
    put(&cache, 2, NOW);
    assert_eq!(cache.get(token(1).as_bytes(), NOW, |_| None::<()>), None);
    assert_eq!(get(&cache, 1, NOW), None);
    assert_eq!(get(&cache, 2, NOW), Some(2));
    assert_eq!(held(&cache), (1, 100));
}

#[test]
fn a_late_request_does_not_set_the_generation_back() {
    let cache = cache(10);
    cache.put(token(1).as_bytes(), NOW, ALWAYS, 5, 1, 1);
    let confirm = |generation| {
        cache.get(token(1).as_bytes(), NOW, |entry| {
            entry.confirm(generation);
            Some(entry.generation())
        })
    };
    assert_eq!(confirm(5), Some(5));
    assert_eq!(confirm(7), Some(7));
    assert_eq!(confirm(6), Some(7));
}

/// Expired entries are freed by sweeps, even if no other token needs their places.
#[test]
fn entries_past_their_end_are_given_back_while_requests_come() {
    for entries in [3, 1_000, 10_000, 32_000] {
        let cache = cache_of(Limits {
            entries,
            bytes: usize::MAX,
        });
        let (dead, alive) = (Arc::new(()), Arc::new(()));
        let put = |number: u32, until, value: &Arc<()>| {
            let lifetime = Lifetime {
                from: NOW,
                until: at(until),
            };
            let token = token(number);
            cache.put(token.as_bytes(), NOW, lifetime, 0, Arc::clone(value), 1);
        };
        for number in 0..u32::try_from(entries / 2).unwrap() {
            put(number, 10, &dead);
        }
        put(1_000_000, 1_000, &alive);
        assert!(Arc::strong_count(&dead) > 1);
        let request = |number: u32, now| {
            cache
                .get(token(number).as_bytes(), now, |_| Some(()))
                .is_some()
        };
        // The expired tokens are not looked up, and no new token needs their places.
        for second in 10..75 {
            // Alternates between an unknown token and a known token that was not used within the
            // last second.
            let is_known = second % 2 == 0;
            let number = if is_known { 1_000_000 } else { 2_000_000 };
            assert_eq!(request(number, at(second)), is_known);
        }
        assert_eq!(Arc::strong_count(&dead), 1, "{entries}");
        assert_eq!(Arc::strong_count(&alive), 2);
        let (count, _) = cache.inner.get().unwrap().table.held().unwrap();
        assert_eq!(count, 1);
    }
}

#[test]
fn a_sweep_comes_once_in_a_second_whichever_way_the_clock_goes() {
    let cache = cache(1);
    let swept = || cache.inner.get().unwrap().table.held().unwrap().0 == 0;
    let soon = Lifetime {
        from: NumericDate(0.0),
        until: at(10),
    };
    let put = || cache.put(token(1).as_bytes(), NOW, soon, 0, 1, 1);
    put();
    get(&cache, 2, NumericDate(at(9).0 + 0.5));
    get(&cache, 2, at(10));
    assert!(!swept());
    get(&cache, 2, NumericDate(at(10).0 + 0.5));
    assert!(swept());
    put();
    get(&cache, 2, NumericDate(f64::NAN));
    get(&cache, 2, NOW);
    assert!(!swept(), "it is alive at this time");
    get(&cache, 2, at(10));
    assert!(swept());
}
