//! Random histories of instances that share a store: no token is accepted after its mark was acknowledged and
//! `max_lag` has passed, and none is rejected that no mark names. Time is that of the test runtime, so a
//! history of minutes takes milliseconds.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep};

use super::model::{CUT, Data, Link, MUTE, UP, World};
use super::{INSTANCES, ISSUER, MAX_LAG, NOW, TARGETS, at, mark, target, tokens_of};
use crate::claims::Claims;
use crate::revocation::shared::Shared;
use crate::revocation::shared::entry::target_text;
use crate::revocation::shared::near::Near;
use crate::revocation::shared::store::Wish;
use crate::revocation::{RevocationCheck, RevocationStatus, RevokeError};
use crate::test::TestIssuer;

#[derive(Clone, Debug)]
enum Step {
    Revoke(usize, usize),
    Suspend(usize, usize),
    Lift(usize, usize),
    /// Milliseconds.
    Pass(u64),
    Link(usize, u8),
    Trim,
    Backup,
    /// The store loses all, or what came after the backup.
    Lose(bool),
    /// With another run.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (instance, target) = (0..INSTANCES, 0..TARGETS);
    prop_oneof![
        4 => (instance.clone(), target.clone()).prop_map(|(at, target)| Step::Revoke(at, target)),
        2 => (instance.clone(), target.clone()).prop_map(|(at, target)| Step::Suspend(at, target)),
        2 => (instance.clone(), target).prop_map(|(at, target)| Step::Lift(at, target)),
        6 => (1..3_000_u64).prop_map(Step::Pass),
        2 => (1..20_u64).prop_map(Step::Pass),
        2 => (instance.clone(), CUT..=MUTE).prop_map(|(at, state)| Step::Link(at, state)),
        3 => instance.prop_map(|at| Step::Link(at, UP)),
        1 => Just(Step::Trim),
        1 => Just(Step::Backup),
        1 => any::<bool>().prop_map(Step::Lose),
        1 => Just(Step::Restart),
    ]
}

/// What a history has told of one target.
#[derive(Default)]
struct Told {
    /// The first acknowledgement of a revocation.
    revoked: Option<Instant>,
    /// Whether a revocation or a suspension was ever tried.
    was_named: (bool, bool),
    /// The last acknowledgement of a suspension (`true`) or its end, unless a later attempt failed.
    suspension: Option<(Instant, bool)>,
    /// The instances that have known the revocation.
    known: [bool; INSTANCES],
}

struct Run {
    world: Arc<Mutex<World>>,
    links: Vec<Link>,
    instances: Vec<Shared<Link>>,
    tokens: Vec<Claims>,
    told: Vec<Told>,
    last_loss: Option<Instant>,
}

impl Run {
    fn start(tokens: &[Claims]) -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let link = || Link {
            world: Arc::clone(&world),
            state: Arc::default(),
        };
        let links: Vec<_> = (0..INSTANCES).map(|_| link()).collect();
        let start = |link: &Link| {
            let near = Near::new(Arc::new(|| at(NOW)), MAX_LAG, false, 1_000);
            Shared::start(link.clone(), near, Handle::current())
        };
        Self {
            instances: links.iter().map(start).collect(),
            world,
            links,
            tokens: tokens.to_vec(),
            told: (0..TARGETS).map(|_| Told::default()).collect(),
            last_loss: None,
        }
    }

    async fn make(&mut self, step: &Step) {
        match *step {
            Step::Revoke(instance, target) => {
                self.told[target].was_named.0 = true;
                let result = self.instances[instance].mark(mark(target)).await;
                if result.is_ok() {
                    self.told[target].revoked.get_or_insert(Instant::now());
                    // Here at once.
                    assert!(self.is_known(instance, target), "an own mark");
                    self.told[target].known[instance] = true;
                } else {
                    assert!(matches!(result, Err(RevokeError::Unavailable { .. })));
                }
            }
            Step::Suspend(instance, target) => {
                self.told[target].was_named.1 = true;
                let result = self.instances[instance]
                    .mark(mark(target).suspension())
                    .await;
                self.told[target].suspension = result.ok().map(|()| (Instant::now(), true));
            }
            Step::Lift(instance, target) => {
                let result = self.instances[instance].write(super::target(target), Wish::Lift);
                let result = result.await;
                self.told[target].suspension = result.ok().map(|_| (Instant::now(), false));
            }
            Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
            Step::Link(instance, state) => {
                self.links[instance].state.store(state, Ordering::SeqCst);
            }
            Step::Trim => self.world.lock().unwrap().data.log.clear(),
            Step::Backup => {
                let mut world = self.world.lock().unwrap();
                world.backup = world.data.clone();
            }
            Step::Lose(is_all) => {
                let mut world = self.world.lock().unwrap();
                world.data = if is_all {
                    Data::default()
                } else {
                    world.backup.clone()
                };
                world.run += 1;
                self.last_loss = Some(Instant::now());
            }
            Step::Restart => self.world.lock().unwrap().run += 1,
        }
    }

    fn is_known(&self, instance: usize, target: usize) -> bool {
        let status = self.instances[instance]
            .near
            .lists
            .status(&self.tokens[target]);
        status == RevocationStatus::Revoked
    }

    /// Sends a request with each token to each instance. `has_settled` says that all is up for a long time.
    fn check(&mut self, has_settled: bool) {
        let now = Instant::now();
        for instance in 0..INSTANCES {
            for (target, token) in self.tokens.iter().enumerate() {
                let told = &self.told[target];
                let RevocationCheck::Ready(found) = self.instances[instance].check(token) else {
                    panic!("a request waits");
                };
                let what = format!("instance {instance}, target {target}: {found:?}");
                if has_settled {
                    assert!(found.is_ok(), "{what}");
                }
                // Nothing is rejected that was not named.
                match found {
                    Ok(RevocationStatus::Revoked) => assert!(told.was_named.0, "{what}"),
                    Ok(RevocationStatus::Suspended) => assert!(told.was_named.1, "{what}"),
                    _ => {}
                }
                // A revocation that was known once is known for ever.
                let is_known = matches!(found, Ok(RevocationStatus::Revoked));
                assert!(
                    is_known || !told.known[instance],
                    "{what}, which was revoked"
                );
                // After the time, it is not accepted.
                let is_due = told.revoked.is_some_and(|told| {
                    let had_loss = self.last_loss.is_some_and(|loss| loss >= told);
                    has_settled || (!had_loss && now > told + MAX_LAG)
                });
                let is_accepted = matches!(found, Ok(RevocationStatus::Active));
                assert!(!(is_due && is_accepted), "{what}, acknowledged");
                // So with suspensions, whose end counts too, unless the store has lost it.
                if let Some((since, is_suspended)) = told.suspension {
                    let had_loss = self.last_loss.is_some();
                    if !had_loss && now > since + MAX_LAG {
                        assert!(!(is_suspended && is_accepted), "{what}, suspended");
                        let is_suspension = matches!(found, Ok(RevocationStatus::Suspended));
                        assert!(is_suspended || !is_suspension, "{what}, lifted");
                    }
                }
                if is_known {
                    self.told[target].known[instance] = true;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_history_lets_a_revoked_token_in(steps in vec(step(), 1..60)) {
        no_revoked_token_gets_in(&steps);
    }
}

/// The store goes back twice to one backup, with a mark between that only its writer has read.
#[test]
fn a_second_loss_before_the_first_is_noticed_loses_no_mark() {
    let (lose, revoke) = (Step::Lose(false), Step::Revoke(0, 0));
    no_revoked_token_gets_in(&[
        revoke.clone(),
        revoke,
        Step::Backup,
        lose.clone(),
        Step::Revoke(0, 1),
        lose,
    ]);
}

fn no_revoked_token_gets_in(steps: &[Step]) {
    let issuer = TestIssuer::new();
    let verifier = issuer.auth();
    let tokens: Vec<_> = (0..TARGETS)
        .map(|target| {
            let token = issuer.token().subject(&format!("subject {target}")).mint();
            verifier.verifier().verify_now(&token).unwrap()
        })
        .collect();
    let issuer = tokens[0].issuer().to_owned();
    assert_eq!(issuer, ISSUER);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run::start(&tokens);
        for step in steps {
            run.make(step).await;
            run.check(false);
        }
        for link in &run.links {
            link.state.store(UP, Ordering::SeqCst);
        }
        sleep(Duration::from_secs(30)).await;
        run.check(true);
        // The store has them too, for instances to come.
        let world = run.world.lock().unwrap();
        for (at, told) in run.told.iter().enumerate() {
            if told.revoked.is_some() {
                let row = world.data.rows.get(&target_text(&target(at)).unwrap());
                assert!(row.is_some_and(|(_, marks)| marks.revocation.is_some()));
            }
        }
    });
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

/// Marks that were written back belong to what an instance knows of the store.
#[test]
fn a_store_that_loses_marks_again_gets_them_again() {
    let tokens = tokens_of(&TestIssuer::new());
    paused().block_on(async {
        let mut run = Run::start(&tokens);
        // Nobody else knows the marks.
        for instance in 1..INSTANCES {
            run.make(&Step::Link(instance, CUT)).await;
        }
        run.make(&Step::Revoke(0, 0)).await;
        run.make(&Step::Suspend(0, 1)).await;
        run.make(&Step::Pass(2_000)).await;
        run.world.lock().unwrap().loses_next = true;
        run.make(&Step::Lose(true)).await;
        run.make(&Step::Pass(30_000)).await;
        assert!(!run.world.lock().unwrap().loses_next);
        for instance in 1..INSTANCES {
            run.make(&Step::Link(instance, UP)).await;
        }
        run.make(&Step::Pass(30_000)).await;
        run.check(true);
        for (instance, shared) in run.instances.iter().enumerate() {
            let status = shared.near.lists.status(&tokens[1]);
            assert_eq!(status, RevocationStatus::Suspended, "{instance}");
        }
        let rows = &run.world.lock().unwrap().data.rows;
        for at in 0..2 {
            assert!(
                rows.contains_key(&target_text(&target(at)).unwrap()),
                "{at}"
            );
        }
    });
}

/// An instance that was away does not revive a suspension that was lifted in the new store.
#[test]
fn a_suspension_that_was_lifted_after_a_loss_stays_lifted() {
    let tokens = tokens_of(&TestIssuer::new());
    paused().block_on(async {
        let mut run = Run::start(&tokens);
        run.make(&Step::Suspend(0, 1)).await;
        run.make(&Step::Pass(2_000)).await;
        run.make(&Step::Link(2, CUT)).await;
        run.make(&Step::Lose(true)).await;
        run.make(&Step::Pass(10_000)).await;
        let lifted = run.instances[0].write(target(1), Wish::Lift).await;
        assert_eq!(lifted, Ok(true));
        run.make(&Step::Pass(10_000)).await;
        run.make(&Step::Link(2, UP)).await;
        run.make(&Step::Pass(30_000)).await;
        for (instance, shared) in run.instances.iter().enumerate() {
            let status = shared.near.lists.status(&tokens[1]);
            assert_eq!(status, RevocationStatus::Active, "{instance}");
        }
    });
}
