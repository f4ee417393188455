//! Simulates browsers that refresh, lost responses and thieves, with the crate's own `Logins` and a simulated clock.
//!
//! Assumptions:
//!
//! - A session is used for 14 days, 8 hours a day, with three breaks a day of 1 to 60 minutes. In two of them, and
//!   at night, the machine sleeps. In the third one the network fails, and the response in transit is lost.
//! - Access tokens live 10 minutes, and each tab refreshes after 8. Its timer is up to 30 s late, like that of a
//!   background tab. After each break, the tabs refresh within 2 s.
//! - The tabs share only the cookie. As with `LoginCookies`, a response sets no cookie if the token is the
//!   one that was sent.
//! - A request and a response take 20 to 300 ms each. Some responses are lost. A tab waits 3 s, and retries.
//! - A thief copies the cookie while the owner is at work, at least a day before the end. The thief uses it within a
//!   minute or within a day, and then refreshes like a tab, without breaks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use tower_jwt_auth::issue::{
    Login, Logins, MemoryLogins, RefreshError, RefreshKeys, SigningKeys, TokenIssuer,
};
use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer};

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) tabs: usize,
    /// Per 1 000 responses.
    pub(crate) lost: u64,
    pub(crate) grace: Duration,
    pub(crate) has_thief: bool,
}

/// The results of the sessions.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) sessions: u64,
    /// Ended without a theft, because an honest token counted as reused.
    pub(crate) honest_ended: u64,
    pub(crate) thefts: u64,
    pub(crate) caught: u64,
}

/// Runs a number of sessions, each with its own random numbers.
pub(crate) fn run(scenario: Scenario, sessions: u64, seed: u64) -> Result<Outcome, ConfigError> {
    let mut outcome = Outcome::default();
    for number in 0..sessions {
        let random = Random(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let (is_stolen, is_ended) = Simulation::new(scenario, random)?.run();
        outcome.sessions += 1;
        outcome.thefts += u64::from(is_stolen);
        outcome.caught += u64::from(is_stolen && is_ended);
        outcome.honest_ended += u64::from(!is_stolen && is_ended);
    }
    Ok(outcome)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A tab, or the thief (the last index), sends the token from its jar.
    Send(usize),
    Arrive(usize, String),
    /// With the refresh token, if it is a new one.
    Answer(usize, Option<String>),
    Theft,
}

/// When nothing is sent and no answer arrives.
#[derive(Clone, Copy)]
struct Break {
    from: u64,
    until: u64,
    /// The response in transit is lost.
    is_abrupt: bool,
}

struct Simulation {
    scenario: Scenario,
    random: Random,
    clock: Arc<AtomicU64>,
    logins: Logins,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// The cookie of the browser, and the token of the thief.
    jars: [String; 2],
    breaks: Vec<Break>,
}

impl Simulation {
    fn new(scenario: Scenario, mut random: Random) -> Result<Self, ConfigError> {
        let clock = Arc::new(AtomicU64::new(START));
        let time = Arc::clone(&clock);
        let now = move || UNIX_EPOCH + Duration::from_millis(time.load(Ordering::Relaxed));
        let keys = SigningKeys::from_secret(Algorithm::HS256, SECRET)?.with_clock(now.clone());
        let (issuer, audience) = (Issuer::new("https://login.example")?, Audience::new("api")?);
        let tokens = TokenIssuer::new(issuer, audience, keys).clock(now.clone());
        let store = MemoryLogins::default().with_clock(now);
        let logins = Logins::new(tokens, RefreshKeys::from_secret(SECRET)?, store);
        let mut breaks = Vec::new();
        for day in 0..DAYS {
            let morning = START + day * DAY;
            for is_abrupt in [false, false, true] {
                let from = morning + random.below(WORK);
                let until = from + MINUTE + random.below(59 * MINUTE);
                breaks.push(Break {
                    from,
                    until,
                    is_abrupt,
                });
            }
            let (from, until) = (morning + WORK, morning + DAY);
            breaks.push(Break {
                from,
                until,
                is_abrupt: false,
            });
        }
        Ok(Self {
            scenario,
            random,
            clock,
            logins: logins.grace(scenario.grace)?,
            events: BinaryHeap::new(),
            jars: Default::default(),
            breaks,
        })
    }

    /// Whether the token was stolen, and whether the session was ended by a reused token.
    fn run(mut self) -> (bool, bool) {
        let mut is_stolen = false;
        let first = now(self.logins.begin(Login::new("alice", "web"))).expect("memory is there");
        self.jars[0] = first.refresh_token().to_owned();
        for tab in 0..self.scenario.tabs {
            self.after(START, PERIOD, LATE, Event::Send(tab));
        }
        if self.scenario.has_thief {
            let day = self.random.below(DAYS - 1);
            let mut at = START + day * DAY + self.random.below(WORK);
            at = self.off(at).map_or(at, |off| off.until);
            self.events.push(Reverse((at, Event::Theft)));
        }
        while let Some(Reverse((at, event))) = self.events.pop() {
            if at >= START + DAYS * DAY {
                break;
            }
            match event {
                Event::Send(who) => match self.off_for(who, at) {
                    Some(off) => self.after(off.until, 0, WAKE, Event::Send(who)),
                    None => {
                        let token = self.jars[self.jar(who)].clone();
                        self.travel(at, Event::Arrive(who, token));
                    }
                },
                Event::Arrive(who, token) => {
                    self.clock.store(at, Ordering::Relaxed);
                    match now(self.logins.refresh((&*token, "web"))) {
                        Err(RefreshError::Reused | RefreshError::Ended) => {
                            return (is_stolen, true);
                        }
                        Err(error) => panic!("{error}"),
                        Ok(_) if self.random.below(1_000) < self.scenario.lost => {
                            self.after(at, PATIENCE, 500, Event::Send(who));
                        }
                        Ok(tokens) => {
                            let token = tokens.has_new_refresh_token();
                            let token = token.then(|| tokens.refresh_token().to_owned());
                            self.travel(at, Event::Answer(who, token));
                        }
                    }
                }
                Event::Answer(who, token) => {
                    let off = self.off_for(who, at);
                    if off.is_some_and(|off| off.is_abrupt) {
                        self.after(at, PATIENCE, 500, Event::Send(who));
                    } else {
                        let jar = self.jar(who);
                        if let Some(token) = token {
                            self.jars[jar] = token;
                        }
                        self.after(at, PERIOD, LATE, Event::Send(who));
                    }
                }
                Event::Theft => {
                    is_stolen = true;
                    self.jars[1] = self.jars[0].clone();
                    let soon = self.random.below(2) == 0;
                    let wait = self.random.below(if soon { MINUTE } else { DAY });
                    self.after(at, wait, 1, Event::Send(self.scenario.tabs));
                }
            }
        }
        (is_stolen, false)
    }

    fn jar(&self, who: usize) -> usize {
        usize::from(who == self.scenario.tabs)
    }

    /// The thief has no breaks.
    fn off_for(&self, who: usize, at: u64) -> Option<Break> {
        self.off(at).filter(|_| who < self.scenario.tabs)
    }

    fn off(&self, at: u64) -> Option<Break> {
        let off = self
            .breaks
            .iter()
            .filter(|one| (one.from..one.until).contains(&at));
        off.copied().max_by_key(|one| (one.is_abrupt, one.until))
    }

    fn travel(&mut self, at: u64, event: Event) {
        let time = 20 + self.random.below(280);
        self.events.push(Reverse((at + time, event)));
    }

    fn after(&mut self, at: u64, wait: u64, late: u64, event: Event) {
        let late = self.random.below(late);
        self.events.push(Reverse((at + wait + late, event)));
    }
}

/// Memory and keys in memory never wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing waits"),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const SECRET: &[u8] = b"3q2-7wvTqK0_jJmYt5rXz8LhGfDsA1oP";
const START: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;
const WORK: u64 = 8 * 60 * MINUTE;
const DAYS: u64 = 14;
const PERIOD: u64 = 8 * MINUTE;
/// How late a timer can be, and how late a tab can be after a break.
const LATE: u64 = 30_000;
const WAKE: u64 = 2_000;
/// How long a tab waits for a response.
const PATIENCE: u64 = 3_000;
