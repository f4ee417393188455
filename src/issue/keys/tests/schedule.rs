//! Single steps of the schedule.

use std::convert::Infallible;

use crate::issue::keys::schedule::{
    Rules, Slot, Times, inserted, is_due, maintained, revoked, signing,
};

const NOW: u64 = 1_700_000_000;
const RULES: Rules = Rules {
    period: Some(86_400),
    lead: 3_600,
    longest_token: 3_600,
};
const GIVEN: Rules = Rules {
    period: None,
    ..RULES
};

fn after(slots: &[Slot<u32>], now: u64, rules: &Rules) -> Vec<Slot<u32>> {
    let mut made = slots.iter().map(|slot| slot.key).max().unwrap_or(0);
    let make = || {
        made += 1;
        Ok::<_, Infallible>(made)
    };
    let Ok(next) = maintained(slots, now, rules, make);
    next
}

fn signs(slots: &[Slot<u32>], now: u64) -> Option<u32> {
    signing(slots, now).map(|position| slots[position].key)
}

#[test]
fn a_successor_is_published_when_a_key_begins_to_sign() {
    let slots = after(&[], NOW, &RULES);
    assert_eq!(slots.len(), 2);
    let first = Times {
        publish: NOW,
        sign: NOW,
        retire: NOW + 86_400,
        remove: NOW + 86_400 + 3_600 + 300 + 3_600,
    };
    assert_eq!(slots[0].times, first);
    assert_eq!(
        (slots[1].times.publish, slots[1].times.sign),
        (NOW, NOW + 86_400)
    );
    assert!(!is_due(&slots, NOW + 86_399, &RULES));
    assert!(is_due(&slots, NOW + 86_400, &RULES));
    assert_eq!(signs(&slots, NOW + 86_399), Some(1));
    assert_eq!(signs(&slots, NOW + 86_400), Some(2));
    let next = after(&slots, NOW + 86_400, &RULES);
    assert_eq!(next.len(), 3);
    assert_eq!(
        (next[2].times.publish, next[2].times.sign),
        (NOW + 86_400, NOW + 2 * 86_400)
    );
}

/// ROT-D1: a key is removed after its last token and the longest leeway, and never sooner than before.
#[test]
fn rot_d1_a_key_is_removed_after_its_last_token() {
    let slots = after(&[], NOW, &RULES);
    let remove = slots[0].times.remove;
    let longer = Rules {
        longest_token: 86_000,
        ..RULES
    };
    assert!(is_due(&slots, NOW + 1, &longer));
    let next = after(&slots, NOW + 1, &longer);
    assert_eq!(next[0].times.remove, remove + 86_000 - 3_600);
    // A shorter lifetime later does not bring the removal forward.
    assert_eq!(
        after(&next, NOW + 2, &RULES)[0].times.remove,
        next[0].times.remove
    );
    // A rotation by hand ends the key sooner, and does not remove it sooner.
    let rotated = inserted(&slots, NOW + 10, &RULES, 9);
    assert_eq!(rotated[0].times.retire, NOW + 10 + 3_600);
    assert_eq!(rotated[0].times.remove, remove);
}

#[test]
fn a_key_that_is_rotated_to_signs_after_the_lead_and_the_rotation_goes_on() {
    let slots = after(&[], NOW, &RULES);
    let slots = inserted(&slots, NOW + 100, &RULES, 9);
    let order: Vec<_> = slots.iter().map(|slot| slot.key).collect();
    assert_eq!(order, [1, 9, 2]);
    assert_eq!(signs(&slots, NOW + 3_699), Some(1));
    assert_eq!(signs(&slots, NOW + 3_700), Some(9));
    assert_eq!(signs(&slots, NOW + 3_700 + 86_400), Some(2));
    let given = inserted(&[], NOW, &GIVEN, 1);
    let given = inserted(&given, NOW + 100, &GIVEN, 2);
    let given = inserted(&given, NOW + 200, &GIVEN, 3);
    assert_eq!(signs(&given, NOW + 3_699), Some(1));
    assert_eq!(signs(&given, NOW + 3_700), Some(2));
    assert_eq!(signs(&given, NOW + 3_800), Some(3));
    assert_eq!(signs(&given, u64::MAX - 1), Some(3));
    // Without the one that signs, the next one begins, and the one after it when it was meant to.
    let given = revoked(&given, 0, NOW + 300, &GIVEN);
    assert_eq!(signs(&given, NOW + 300), Some(2));
    assert_eq!(signs(&given, NOW + 3_800), Some(3));
    let given = revoked(&given, 1, NOW + 300, &GIVEN);
    assert_eq!(signs(&given, u64::MAX - 1), Some(2));
    assert!(revoked(&given, 0, NOW, &GIVEN).is_empty());
}

/// ROT-D3: the successor signs at once, for a whole period.
#[test]
fn rot_d3_the_successor_of_a_revoked_key_signs_at_once() {
    let slots = after(&[], NOW, &RULES);
    let left = after(&revoked(&slots, 0, NOW + 50, &RULES), NOW + 50, &RULES);
    assert_eq!(signs(&left, NOW + 50), Some(2));
    assert_eq!(left[0].times.retire, NOW + 50 + 86_400);
    assert_eq!(left.len(), 2);
    // A key that waits: the one that signs goes on until the next one is published for the lead.
    let late = NOW + 86_000;
    let left = after(&revoked(&slots, 1, late, &RULES), late, &RULES);
    assert_eq!((left[0].key, left[0].times.retire), (1, late + 3_600));
    assert_eq!(left[1].times.sign, late + 3_600);
    // Without any key, a new one signs at once.
    let left = after(&revoked(&left[..1], 0, late, &RULES), late, &RULES);
    assert_eq!(left[0].times.sign, late);
}

/// ROT-D3: a key that has retired is taken out, and the instants of the others stay.
#[test]
fn rot_d3_a_retired_key_that_is_revoked_changes_no_other() {
    let mut slots = after(&[], NOW, &RULES);
    for day in 1..=2 {
        slots = after(&slots, NOW + day * 86_400, &RULES);
    }
    let now = NOW + 2 * 86_400;
    assert_eq!((slots.len(), signs(&slots, now)), (4, Some(3)));
    for position in [0, 1] {
        let left = revoked(&slots, position, now, &RULES);
        let mut expected = slots.clone();
        expected.remove(position);
        let times = |slots: &[Slot<u32>]| -> Vec<_> {
            slots.iter().map(|slot| (slot.key, slot.times)).collect()
        };
        assert_eq!(times(&left), times(&expected));
    }
}

/// ROT-D1: a key that is given has no end until its successor is known, and again if that one is revoked.
#[test]
fn rot_d1_a_given_key_ends_after_its_last_token() {
    let first = inserted(&[], NOW, &GIVEN, 1);
    assert_eq!(first[0].times.remove, u64::MAX);
    let both = inserted(&first, NOW, &GIVEN, 2);
    let retire = NOW + 3_600;
    let remove = retire + 3_600 + 300 + 3_600;
    assert_eq!(
        (both[0].times.retire, both[0].times.remove),
        (retire, remove)
    );
    assert_eq!(after(&both, remove - 1, &GIVEN).len(), 2);
    let left = after(&both, remove, &GIVEN);
    assert_eq!((left.len(), left[0].key), (1, 2));
    let again = revoked(&both, 1, NOW + 60, &GIVEN);
    assert_eq!(
        (again[0].times.retire, again[0].times.remove),
        (u64::MAX, u64::MAX)
    );
    // It ends when the next one is named, however long that takes.
    let late = NOW + 1_000_000;
    let next = inserted(&again, late, &GIVEN, 3);
    assert_eq!(next[0].times.remove, late + 3_600 + 7_500);
}

#[test]
fn after_a_stand_still_a_key_that_is_still_published_goes_on() {
    let slots = after(&[], NOW, &RULES);
    let retired = NOW + 2 * 86_400;
    for (late, starts) in [(0, false), (3_900, false), (3_901, true), (400_000, true)] {
        let now = retired + late;
        let next = after(&slots, now, &RULES);
        assert_eq!(signs(&next, now) == Some(2), !starts, "{late}");
        assert!(signs(&next, now).is_some());
        let last = next.last().unwrap();
        assert!(last.times.sign >= now + 3_600);
        assert!(!is_due(&next, now, &RULES));
    }
}

/// A key stays in the set for a period after its removal: it verifies again if the clock is set back.
#[test]
fn a_removed_key_is_kept_for_a_period() {
    let slots = after(&[], NOW, &RULES);
    let slots = after(&slots, NOW + 86_400, &RULES);
    let remove = slots[0].times.remove;
    assert_eq!(after(&slots, remove + 78_000, &RULES)[0].key, 1);
    assert_ne!(after(&slots, remove + 86_400, &RULES)[0].key, 1);
}

#[test]
fn keys_of_a_clock_that_was_far_ahead_do_not_stop_the_rotation() {
    let slots = after(&[], NOW + 10 * 86_400, &RULES);
    assert_eq!(
        signs(&slots, NOW + 9 * 86_400),
        Some(1),
        "set back by a period"
    );
    assert!(!is_due(&slots, NOW + 9 * 86_400, &RULES));
    let next = after(&slots, NOW, &RULES);
    assert_eq!((next[0].key, next[0].times.sign), (3, NOW));
}
