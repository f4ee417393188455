//! Random histories of instances that share a store, against a model of the store: no token is accepted
//! after its mark was acknowledged and `max_lag` has passed, and none is rejected that no mark names.
//! Time is that of the test runtime, so a history of minutes takes milliseconds.

#![cfg(feature = "test-util")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests fail by panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep};

use super::Shared;
use super::entry::{Entry, Row, target_text};
use super::near::Near;
use super::store::{Beat, Change, Connect, Head, Outcome, Store, StoreError, Wish, Written};
use crate::claims::{Claims, SubjectId};
use crate::revocation::marks::Marks;
use crate::revocation::{
    RevocationCheck, RevocationMark, RevocationStatus, RevocationTarget, RevokeError,
};
use crate::test::TestIssuer;

/// What the store has.
#[derive(Clone, Default)]
struct Data {
    id: Option<Box<str>>,
    number: u64,
    run: u64,
    past: Vec<Head>,
    rows: BTreeMap<String, (RevocationTarget, Marks)>,
    lifted: BTreeSet<String>,
    log: Vec<(u64, Box<str>, RevocationTarget, Marks)>,
}

/// The model of the store: what the scripts do, in Rust.
#[derive(Default)]
struct World {
    data: Data,
    /// The run of the process, which a restart changes.
    run: u64,
    ids: u64,
    backup: Data,
    /// The store loses the next changes, right after it has confirmed them.
    loses_next: bool,
}

impl World {
    fn new_id(&mut self) -> Box<str> {
        self.ids += 1;
        format!("id{}", self.ids).into()
    }

    /// What `head.lua` does.
    fn wake(&mut self, known: Option<&Head>) {
        let Some(id) = self.data.id.clone() else {
            self.data = Data {
                id: Some(self.new_id()),
                run: self.run,
                ..Data::default()
            };
            return;
        };
        let is_lost = known.is_some_and(|known| known.id == id && known.number > self.data.number);
        if self.data.run != self.run || is_lost {
            let number = self.data.number;
            self.data.past.insert(0, Head { id, number });
            self.data.past.truncate(8);
            self.data.id = Some(self.new_id());
            self.data.run = self.run;
        }
    }

    fn beat(&mut self, known: Option<&Head>) -> Beat {
        self.wake(known);
        Beat {
            head: self.head(),
            past: self.data.past.clone(),
        }
    }

    fn head(&self) -> Head {
        Head {
            id: self.data.id.clone().unwrap(),
            number: self.data.number,
        }
    }

    fn write(&mut self, changes: &[Change]) -> Written {
        self.wake(None);
        let before = self.loses_next.then(|| self.data.clone());
        let mut outcomes = Vec::new();
        for change in changes {
            let text = target_text(&change.target).unwrap();
            let known = self.data.rows.get(&text).map(|(_, marks)| *marks);
            let known = known.unwrap_or_default();
            let mut new = known;
            match &change.wish {
                Wish::Add(marks) | Wish::Restore(marks) => {
                    new = new.with_revocation(marks.revocation);
                    if matches!(change.wish, Wish::Add(_)) && marks.suspension.is_some() {
                        self.data.lifted.remove(&text);
                    }
                    let is_lifted = self.data.lifted.contains(&text);
                    if let Some(mark) = marks.suspension.filter(|_| !is_lifted) {
                        let later = new.suspension.map_or(mark, |known| known.later(mark));
                        new.suspension = Some(later);
                    }
                }
                Wish::Lift => {
                    new.suspension = None;
                    self.data.lifted.insert(text.clone());
                }
            }
            if new != known {
                self.data.number += 1;
                let id = self.data.id.clone().unwrap();
                let target = change.target.clone();
                self.data
                    .log
                    .push((self.data.number, id, target.clone(), new));
                self.data.rows.insert(text.clone(), (target, new));
                if new.end().is_none() {
                    self.data.rows.remove(&text);
                }
            }
            outcomes.push(Outcome::Stored {
                marks: new,
                has_changed: new != known,
            });
        }
        let written = Written {
            head: self.head(),
            outcomes,
        };
        if let Some(before) = before {
            (self.data, self.loses_next) = (before, false);
            self.run += 1;
        }
        written
    }
}

/// The way of one instance to the store.
#[derive(Clone)]
struct Link {
    world: Arc<Mutex<World>>,
    state: Arc<AtomicU8>,
}

const UP: u8 = 0;
/// Errors at once.
const CUT: u8 = 1;
/// No answers.
const HUNG: u8 = 2;
/// The store gets what it is sent, but its answers are lost.
const MUTE: u8 = 3;

impl Link {
    /// Some time on the way, which is other for each part of an operation.
    async fn pass(&self, is_answer: bool) -> Result<(), StoreError> {
        sleep(Duration::from_millis(1)).await;
        match self.state.load(Ordering::SeqCst) {
            CUT => Err(StoreError("cut".to_owned())),
            HUNG => std::future::pending().await,
            MUTE if is_answer => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("model")
    }
}

impl Connect for Link {
    type Store = Self;

    async fn connect(&self) -> Result<Self, StoreError> {
        self.pass(true).await?;
        Ok(self.clone())
    }
}

impl Store for Link {
    async fn beat(&mut self, known: Option<&Head>) -> Result<Beat, StoreError> {
        self.pass(false).await?;
        let beat = self.world().beat(known);
        self.pass(true).await?;
        Ok(beat)
    }

    /// Two rows at a time, so that changes come between the pages.
    async fn page(&mut self, cursor: u64) -> Result<(u64, Vec<Row>), StoreError> {
        self.pass(false).await?;
        let at = usize::try_from(cursor).unwrap();
        let (rows, is_end) = {
            let world = self.world();
            let rows: Vec<_> = world
                .data
                .rows
                .values()
                .skip(at)
                .take(2)
                .cloned()
                .map(Ok)
                .collect();
            (rows, at + 2 >= world.data.rows.len())
        };
        self.pass(true).await?;
        Ok((if is_end { 0 } else { cursor + 2 }, rows))
    }

    async fn read(&mut self, after: u64, wait: Option<Duration>) -> Result<Vec<Entry>, StoreError> {
        let end = Instant::now() + wait.unwrap_or_default();
        loop {
            self.pass(false).await?;
            let entries: Vec<_> = {
                let world = self.world();
                let log = world.data.log.iter().filter(|(number, ..)| *number > after);
                log.take(3)
                    .map(|(number, store, target, marks)| Entry {
                        store: store.clone(),
                        number: *number,
                        row: Ok((target.clone(), *marks)),
                    })
                    .collect()
            };
            if !entries.is_empty() || Instant::now() >= end {
                self.pass(true).await?;
                return Ok(entries);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn write(&mut self, changes: &[Change]) -> Result<Written, StoreError> {
        self.pass(false).await?;
        let written = self.world().write(changes);
        self.pass(true).await?;
        Ok(written)
    }
}

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
                let result = self.instances[instance].write(self::target(target), Wish::Lift);
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

fn paused() -> tokio::runtime::Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

fn tokens_of(issuer: &TestIssuer) -> Vec<Claims> {
    let verifier = issuer.auth();
    let tokens = (0..TARGETS).map(|target| {
        let token = issuer.token().subject(&format!("subject {target}")).mint();
        verifier.verifier().verify_now(&token).unwrap()
    });
    tokens.collect()
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

fn target(at: usize) -> RevocationTarget {
    RevocationTarget::Subject(SubjectId::new(ISSUER, &format!("subject {at}")))
}

fn mark(at: usize) -> RevocationMark {
    let RevocationTarget::Subject(subject) = target(at) else {
        panic!("a subject");
    };
    let end = self::at(NOW + 1_000_000);
    // Later than every token.
    RevocationMark::subject(subject, end, end)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

const INSTANCES: usize = 3;
const TARGETS: usize = 5;
const MAX_LAG: Duration = Duration::from_secs(5);
const NOW: u64 = 4_000_000_000;
const ISSUER: &str = "https://as.example";
