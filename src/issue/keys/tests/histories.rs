//! Rotation over thousands of simulated days, and over random histories.

use proptest::prelude::*;

use super::world::World;
use crate::issue::keys::schedule::Rules;

const DAY: i64 = 86_400;

fn rules(period: u64, lead: u64) -> Rules {
    Rules {
        period: Some(period),
        lead,
        longest_token: 3_600,
    }
}

/// OIDC-CORE-10.1.1-3, ROT-D1: two instances with clocks 20 s apart and one stored set. No verifier with a cache
/// is ever without the key of a token, and no key is removed while a token of it lives.
#[test]
fn oidc_core_10_1_1_3_and_rot_d1_hold_over_thousands_of_days() {
    let mut world = World::new(rules(86_400, 3_600), 3_600, 2, 6);
    world.instances[0].skew = -10;
    world.instances[1].skew = 10;
    let begin = world.now;
    while world.now < begin + 2_000 * DAY {
        world.pass(397);
    }
    assert_eq!(world.starts, 1);
    assert_eq!(world.signed.len(), 2_000);
}

/// The shortest period and lead that settings allow.
#[test]
fn the_shortest_settings_hold_too() {
    let mut world = World::new(rules(4_200, 600), 3_600, 3, 6);
    world.instances[0].skew = -10;
    world.instances[2].skew = 10;
    let begin = world.now;
    while world.now < begin + 100 * DAY {
        world.pass(37);
    }
    assert_eq!(world.starts, 1);
    assert!(world.signed.len() > 2_000, "{}", world.signed.len());
}

/// What happens in a random history, and for how long.
#[derive(Clone, Debug)]
enum Event {
    /// Nothing but time.
    Pass(i64),
    /// A clock is set, up to an eighth of the lead from the true time.
    Skew(usize, i64),
    /// The store cannot be reached from one instance, or from all.
    Outage(Option<usize>, i64),
    /// An instance stands still, or all of them.
    Still(Option<usize>, i64),
    Revoke(usize),
    Rotate(usize),
}

fn event(period: i64, lead: i64) -> impl Strategy<Value = Event> {
    let who = || prop::option::of(0..3_usize);
    prop_oneof![
        4 => (0..2 * period).prop_map(Event::Pass),
        2 => (0..3_usize, -lead / 8..=lead / 8).prop_map(|(at, skew)| Event::Skew(at, skew)),
        2 => (who(), 0..period - 2 * lead).prop_map(|(at, time)| Event::Outage(at, time)),
        2 => (who(), 0..4 * period).prop_map(|(at, time)| Event::Still(at, time)),
        1 => (0..3_usize).prop_map(Event::Revoke),
        1 => (0..3_usize).prop_map(Event::Rotate),
    ]
}

fn pass(world: &mut World, seconds: i64, step: i64) {
    let end = world.now + seconds;
    while world.now < end {
        world.pass(step.min(end - world.now));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Random periods and leads, clocks that are set forward and back, outages of nearly a period, instances
    /// that stand still for several periods, revocations and rotations by hand.
    #[test]
    fn random_histories_keep_every_promise(
        lead in 600..7_200_i64,
        periods in 4..20_i64,
        events in prop::collection::vec(event(36_000, 2_000), 1..24),
    ) {
        let period = lead * periods + 3_600;
        let rules = rules(period.unsigned_abs(), lead.unsigned_abs());
        let mut world = World::new(rules, 3_600, 3, 4);
        let step = lead / 9;
        // The events were drawn for a period of 36 000 s and a lead of 2 000 s.
        let scaled = |time: i64| time * period / 36_000;
        pass(&mut world, 4 * lead, step);
        for event in events {
            match event {
                Event::Pass(time) => pass(&mut world, scaled(time), step),
                Event::Skew(at, skew) => world.instances[at].skew = skew * lead / 2_000,
                Event::Outage(at, time) => {
                    set(&mut world, at, |instance| instance.store_is_down = true);
                    pass(&mut world, scaled(time).min(period - 2 * lead), step);
                    set(&mut world, at, |instance| instance.store_is_down = false);
                    pass(&mut world, lead, step);
                }
                Event::Still(at, time) => {
                    set(&mut world, at, |instance| instance.is_still = true);
                    pass(&mut world, scaled(time), step);
                    set(&mut world, at, |instance| instance.is_still = false);
                    world.look();
                    pass(&mut world, lead, step);
                }
                Event::Revoke(at) => {
                    world.revoke(at);
                    pass(&mut world, 2 * lead, step);
                }
                Event::Rotate(at) => {
                    world.rotate(at);
                    pass(&mut world, 2 * lead, step);
                }
            }
        }
    }

    /// One instance whose clock is set forward and back by less than half of the time between the retirement
    /// and the removal of a key: every verifier has every key.
    #[test]
    fn a_clock_may_be_set_by_most_of_an_hour(
        steps in prop::collection::vec((-3_000..=3_000_i64, 0..200_000_i64), 1..12),
    ) {
        let mut world = World::new(rules(86_400, 3_600), 600, 1, 3);
        pass(&mut world, 2 * DAY, 600);
        for (skew, time) in steps {
            world.instances[0].skew = skew;
            pass(&mut world, time, 600);
        }
        prop_assert_eq!(world.starts, 1);
    }

    /// One whose clock is set by nearly a period always has a key, and publishes each key whose tokens live.
    #[test]
    fn a_clock_may_be_set_by_nearly_a_period(
        steps in prop::collection::vec((0..=82_800_i64, 0..200_000_i64), 1..12),
    ) {
        let mut world = World::new(rules(86_400, 3_600), 600, 1, 3);
        world.has_wild_clocks = true;
        pass(&mut world, 2 * DAY, 600);
        for (skew, time) in steps {
            world.instances[0].skew = skew;
            pass(&mut world, time, 600);
        }
        prop_assert_eq!(world.starts, 1);
    }
}

fn set(world: &mut World, at: Option<usize>, change: impl Fn(&mut super::world::Instance)) {
    match at {
        Some(at) => change(&mut world.instances[at]),
        None => world.instances.iter_mut().for_each(change),
    }
}
