//! One copy, and what it is told.

use std::sync::Arc;

use super::{MAX_LAG, NOW, at, mark, target, tokens_of};
use crate::revocation::RevocationStatus;
use crate::revocation::marks::Marks;
use crate::revocation::shared::entry::{Entry, Row};
use crate::revocation::shared::near::Near;
use crate::revocation::shared::store::{Beat, Change, Head, Outcome, Wish, Written};
use crate::revocation::{RevocationMark, RevocationTarget};
use crate::test::{FixedClock, TestIssuer};

fn suspended(at: usize) -> Marks {
    Marks::default().with(&mark(at).suspension())
}

fn head(id: &str, number: u64) -> Head {
    let id = id.into();
    Head { id, number }
}

/// A copy that has all of an empty store.
fn empty_copy(head: &Head) -> Near {
    let near = Near::new(Arc::new(|| at(NOW)), MAX_LAG, false, 1_000);
    read_all(&near, head, Vec::new());
    near
}

fn read_all(near: &Near, head: &Head, rows: Vec<Row>) {
    let (head, past) = (head.clone(), Vec::new());
    let beat = Beat { head, past };
    let mut unconfirmed = near.begin(&beat);
    near.apply_rows(rows, &beat.head, &mut unconfirmed).unwrap();
    near.end(&beat.head, unconfirmed);
}

/// A change of this process, after which the first target has these marks.
fn own(near: &Near, wish: Wish, marks: Marks, head: Head) {
    let target = target(0);
    let outcomes = vec![Outcome::Stored {
        marks,
        has_changed: true,
    }];
    near.own(&Change { target, wish }, &Written { head, outcomes });
}

fn status(near: &Near) -> RevocationStatus {
    near.lists.status(&tokens_of(&TestIssuer::new())[0])
}

/// The numbers of two stores cannot be compared.
#[test]
fn a_lift_in_a_lost_store_hides_no_suspension_of_the_next_one() {
    let near = empty_copy(&head("first", 0));
    let is = suspended(0);
    own(&near, Wish::Add(is), is, head("first", 1_000));
    own(&near, Wish::Lift, Marks::default(), head("first", 1_001));
    assert_eq!(status(&near), RevocationStatus::Active);
    read_all(&near, &head("second", 3), vec![Ok((target(0), is))]);
    assert_eq!(status(&near), RevocationStatus::Suspended);
}

/// The store runs again under a second id, gets a mark, and loses both: the mark is written back.
#[test]
fn an_own_change_that_was_not_read_yet_is_missed_after_a_loss() {
    let revoked = Marks::default().with(&mark(0));
    for (past, has_all) in [
        (vec![head("first", 4)], false),
        (vec![head("second", 4), head("first", 4)], false),
        (vec![head("second", 5), head("first", 4)], true),
    ] {
        let near = empty_copy(&head("first", 4));
        own(&near, Wish::Add(revoked), revoked, head("second", 5));
        near.forget_ended();
        let head = head("third", 5);
        let beat = Beat { head, past };
        for _ in 0..2 {
            let mut unconfirmed = near.begin(&beat);
            let rows = vec![Ok((target(0), suspended(0)))];
            near.apply_rows(rows, &beat.head, &mut unconfirmed).unwrap();
            assert_eq!(near.is_home("third"), has_all);
        }
    }
}

/// The answers to two changes may come in the wrong order.
#[test]
fn the_later_of_two_own_changes_counts() {
    let is = suspended(0);
    for (is_lifted, expected) in [
        (true, RevocationStatus::Active),
        (false, RevocationStatus::Suspended),
    ] {
        let near = empty_copy(&head("first", 0));
        let mut changes = [(Wish::Add(is), is, 8), (Wish::Lift, Marks::default(), 9)];
        if !is_lifted {
            changes[0].2 = 10;
        }
        changes.sort_by_key(|(_, _, number)| std::cmp::Reverse(*number));
        for (wish, marks, number) in changes {
            own(&near, wish, marks, head("first", number));
        }
        assert_eq!(status(&near), expected, "{is_lifted}");
    }
}

/// A store that has lost a suspension does not end it, also if it has another mark of the same target. One that
/// has lost nothing does.
#[test]
fn a_row_without_a_suspension_ends_it_only_if_the_store_has_lost_nothing() {
    let RevocationTarget::Subject(subject) = target(0) else {
        panic!("a subject");
    };
    // Older than every token.
    let other = RevocationMark::subject(subject, self::at(0), self::at(NOW + 1_000));
    let other = Marks::default().with(&other);
    for (past, expected) in [
        (Vec::new(), RevocationStatus::Suspended),
        (vec![head("first", 1)], RevocationStatus::Active),
    ] {
        let near = empty_copy(&head("first", 0));
        let is = suspended(0);
        own(&near, Wish::Add(is), is, head("first", 1));
        assert_eq!(status(&near), RevocationStatus::Suspended);
        let head = head("second", 3);
        let beat = Beat {
            head: head.clone(),
            past,
        };
        let mut unconfirmed = near.begin(&beat);
        let rows = vec![Ok((target(0), other))];
        near.apply_rows(rows, &head, &mut unconfirmed).unwrap();
        near.end(&head, unconfirmed);
        assert_eq!(status(&near), expected);
    }
}

/// A mark for the token with this number, until this second.
fn numbered(number: u64, end: u64) -> (RevocationTarget, Marks) {
    let mark = RevocationMark::token_id(super::ISSUER, &number.to_string(), self::at(end));
    (mark.target().clone(), Marks::default().with(&mark))
}

/// Whoever writes to the store can write more marks than an instance has memory for. Each attempt reads
/// again from where the last one ended.
#[test]
fn a_store_with_too_many_marks_takes_no_more_memory_with_each_attempt() {
    const LIMIT: usize = 10_000;
    let clock = FixedClock::at(NOW);
    let near = Near::new(Arc::new(clock.clone()), MAX_LAG, false, 100);
    read_all(&near, &head("first", 0), Vec::new());
    let page = |after: u64| {
        let entry = |number| Entry {
            store: "first".into(),
            number,
            row: Ok(numbered(number, NOW + 60)),
        };
        (after + 1..=after + 1_000).map(entry).collect::<Vec<_>>()
    };
    let mut attempts = Vec::new();
    for _ in 0..15 {
        let after = near.position().unwrap().number;
        attempts.push(near.apply(page(after)).map_err(|error| error.0));
        assert!(near.len() <= LIMIT, "{}", near.len());
    }
    let failed = |attempt: &&Result<bool, String>| attempt.is_err();
    assert_eq!(attempts.iter().filter(failed).count(), 5);
    assert!(attempts[14].as_ref().unwrap_err().contains("10000"));
    // What was not applied is not passed over.
    assert_eq!(near.position(), Some(head("first", 10_000)));
    // A change of a known target needs no room, and neither does one that has ended.
    let change = |number, target| Entry {
        store: "first".into(),
        number,
        row: Ok(numbered(target, NOW + 90)),
    };
    assert_eq!(near.apply(vec![change(10_001, 5)]).ok(), Some(true));
    let ended = Entry {
        store: "first".into(),
        number: 10_002,
        row: Ok(numbered(77_777, NOW - 1_000)),
    };
    assert_eq!(near.apply(vec![ended]).ok(), Some(true));
    // The same for rows.
    let head = head("first", 20_000);
    let rows = (50_000..51_000).map(|number| Ok(numbered(number, NOW + 60)));
    let rows: Vec<Row> = rows.collect();
    let mut unconfirmed = None;
    assert!(
        near.apply_rows(rows.clone(), &head, &mut unconfirmed)
            .is_err()
    );
    assert!(near.len() <= LIMIT);
    // Twin: there is room as soon as marks end.
    clock.set(NOW + 60 + 300);
    assert!(near.apply(vec![change(10_003, 77_777)]).is_ok());
    assert!(near.len() < 10);
}

/// A clock that was ahead for a while. The store keeps its marks, because its own clock was right.
#[test]
fn marks_that_ended_by_a_clock_that_is_set_back_are_read_again() {
    let id = || Box::<str>::from("first");
    let row = || Ok((target(0), Marks::default().with(&mark(0))));
    let far = NOW + 1_000_000 + 300;
    for is_known in [true, false] {
        let clock = FixedClock::at(NOW);
        let near = Near::new(Arc::new(clock.clone()), MAX_LAG, false, 1_000);
        read_all(&near, &head("first", 0), Vec::new());
        if !is_known {
            clock.set(far);
        }
        let (store, number) = (id(), 1);
        let entry = Entry {
            store,
            number,
            row: row(),
        };
        assert_eq!(near.apply(vec![entry]).ok(), Some(true));
        // The twin: nothing was dropped, or the clock goes on.
        near.heed_clock();
        assert!(near.position().is_some());
        clock.set(far);
        near.forget_ended();
        clock.set(far + 1);
        near.heed_clock();
        assert_eq!((near.len(), near.position().is_some()), (0, true));

        clock.set(NOW + 1);
        assert_eq!(status(&near), RevocationStatus::Active);
        near.heed_clock();
        assert!(near.position().is_none(), "{is_known}");
        read_all(&near, &head("first", 1), vec![row()]);
        assert_eq!(status(&near), RevocationStatus::Revoked, "{is_known}");
        near.heed_clock();
        assert!(near.position().is_some(), "once");
    }
}
