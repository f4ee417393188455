//! Concurrent threads, and random histories.

use super::*;

#[test]
fn threads_find_the_value_of_their_token_or_none() {
    let cache = cache(64);
    let hits = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (cache, hits) = (&cache, &hits);
            scope.spawn(move || {
                for step in 0..5_000_u32 {
                    let number = step.wrapping_mul(thread + 3) % 200;
                    let now = at(step / 10);
                    match step % 5 {
                        0 | 1 => put(cache, number, now),
                        2 if step % 100 == 2 => {
                            cache.get(token(number).as_bytes(), now, |_| None::<()>);
                        }
                        _ => {
                            if let Some(value) = get(cache, number, now) {
                                assert_eq!(value, number);
                                hits.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(hits.into_inner() > 0);
    assert!(held(&cache).0 <= 64);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Get(u32),
    /// The number of the token, its lifetime in seconds, its weight.
    Put(u32, u32, usize),
    Reject(u32),
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..40_u32).prop_map(Step::Get),
        4 => (0..40_u32, 0..200_u32, 0..300_usize).prop_map(|(number, end, weight)| Step::Put(number, end, weight)),
        1 => (0..40_u32).prop_map(Step::Reject),
        1 => (0..100_u32).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A look-up finds only the value that was stored last, and only while it is valid. The cache
    /// never exceeds its limits.
    #[test]
    fn a_random_history_keeps_the_bounds_and_finds_only_what_holds(
        steps in steps(),
        entries in 0..30_usize,
        bytes in 0..3_000_usize,
    ) {
        let cache = Cache::new(Limits { entries, bytes });
        let mut model = std::collections::HashMap::new();
        let mut now = 0;
        for (version, step) in (0..).zip(steps) {
            match step {
                Step::Get(number) => {
                    if let Some(found) = get(&cache, number, at(now)) {
                        let Some((value, until)) = model.get(&number) else {
                            panic!("{number} was never put in, or refused");
                        };
                        prop_assert_eq!(found, *value);
                        prop_assert!(now < *until);
                    }
                }
                Step::Put(number, end, weight) => {
                    let until = now + end;
                    let lifetime = Lifetime { from: NOW, until: at(until) };
                    cache.put(token(number).as_bytes(), at(now), lifetime, 0, version, weight);
                    if end > 0 && weight <= bytes {
                        model.insert(number, (version, until));
                    }
                }
                Step::Reject(number) => {
                    cache.get(token(number).as_bytes(), at(now), |_| None::<()>);
                    model.remove(&number);
                }
                Step::Wait(seconds) => now += seconds,
            }
            let (count, weight) = held(&cache);
            prop_assert!(count <= entries && weight <= bytes);
        }
    }
}
