//! Contenders in turn, in short rounds, in one process: what disturbs one disturbs all.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::Service;

use crate::tokens::request;

/// A service under measurement, behind one call for a whole batch of requests.
pub trait Subject: Send {
    /// Answers the requests one after the other.
    fn answer(&mut self, requests: Vec<Request<()>>) -> Answers;

    /// A clone, for another thread.
    fn twin(&self) -> Box<dyn Subject>;
}

/// What came out of a batch.
#[derive(Clone, Copy, Default)]
pub struct Answers {
    /// Requests that were let through.
    pub accepted: usize,
    /// The status of the last answer.
    pub status: u16,
}

/// Any Tower service.
#[derive(Clone)]
struct OnTower<S>(S);

/// Puts a service under measurement.
pub fn subject<S, B>(service: S) -> Box<dyn Subject>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
{
    Box::new(OnTower(service))
}

impl<S, B> Subject for OnTower<S>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
{
    fn answer(&mut self, requests: Vec<Request<()>>) -> Answers {
        let mut context = Context::from_waker(Waker::noop());
        let mut answers = Answers::default();
        for request in requests {
            assert!(self.0.poll_ready(&mut context).is_ready());
            let mut future = pin!(self.0.call(black_box(request)));
            let response = loop {
                match future.as_mut().poll(&mut context) {
                    Poll::Ready(Ok(response)) => break response,
                    Poll::Ready(Err(never)) => match never {},
                    // A peer that asks its issuer: rare, and the runtime works on another thread.
                    Poll::Pending => std::thread::yield_now(),
                }
            };
            answers.accepted += usize::from(response.status().is_success());
            answers.status = response.status().as_u16();
            black_box(response);
        }
        answers
    }

    fn twin(&self) -> Box<dyn Subject> {
        Box::new(self.clone())
    }
}

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    /// Of each contender in each round.
    pub time: Duration,
    /// For quick looks and for the gate: everything is run, nothing is measured well.
    pub quick: bool,
}

/// A contender in a race.
pub trait Lane {
    fn name(&self) -> &str;

    /// Runs for about this long; gives seconds per operation.
    fn run(&mut self, time: Duration) -> f64;

    /// Allocations of one operation, and the status of a request.
    fn look(&mut self) -> (f64, Option<u16>);
}

/// A service that is sent requests.
pub struct Requests {
    name: String,
    subject: Box<dyn Subject>,
    tokens: Tokens,
    /// Allocations and status of requests that were spent on a look.
    seen: (f64, Option<u16>),
}

/// The tokens of the requests, in turn.
pub struct Tokens {
    tokens: Arc<[String]>,
    next: usize,
    /// Each token only once: so many of them in a round.
    once: Option<usize>,
}

impl Tokens {
    /// One token again and again, or no token.
    pub fn one(token: Option<String>) -> Self {
        Self::turns(Vec::from_iter(token))
    }

    /// These in turn, again and again.
    pub fn turns(tokens: impl Into<Arc<[String]>>) -> Self {
        Self {
            tokens: tokens.into(),
            next: 0,
            once: None,
        }
    }

    /// Each of these once, spread over so many rounds.
    pub fn once(tokens: impl Into<Arc<[String]>>, rounds: usize) -> Self {
        let tokens = tokens.into();
        let share = tokens.len().saturating_sub(LOOK) / rounds.max(1);
        Self {
            once: Some(share),
            ..Self::turns(tokens)
        }
    }

    pub fn requests(&mut self, count: usize) -> Vec<Request<()>> {
        (0..count).map(|_| request(self.next())).collect()
    }

    fn next(&mut self) -> Option<&str> {
        let at = self.next;
        self.next += 1;
        if self.once.is_some() {
            return Some(self.tokens.get(at).expect("the pool is large enough"));
        }
        let token = at
            .checked_rem(self.tokens.len())
            .and_then(|at| self.tokens.get(at));
        token.map(String::as_str)
    }
}

impl Requests {
    pub fn new(name: impl Into<String>, mut subject: Box<dyn Subject>, mut tokens: Tokens) -> Self {
        // What is made at the first request counts for none.
        let first = if tokens.once.is_some() { LOOK / 2 } else { 4 };
        subject.answer(tokens.requests(first));
        let requests = tokens.requests(LOOK / 2);
        let count = amount(requests.len());
        let ((new, again, _), answers) = alloc_counter::count_alloc(|| subject.answer(requests));
        Self {
            name: name.into(),
            subject,
            tokens,
            seen: (amount(new + again) / count, Some(answers.status)),
        }
    }
}

impl Lane for Requests {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&mut self, time: Duration) -> f64 {
        let (mut spent, mut count) = (Duration::ZERO, 0);
        let share = self.tokens.once.unwrap_or(usize::MAX);
        // Few requests at a time stay in the cache of the processor, as they do in a server.
        let mut batch = 1;
        while count < share && spent < time {
            let requests = self.tokens.requests(batch.min(share - count));
            count += requests.len();
            let start = Instant::now();
            black_box(self.subject.answer(requests));
            spent += start.elapsed();
            batch = if spent > time / 8 { 4 } else { BATCH };
        }
        spent.as_secs_f64() / amount(count)
    }

    fn look(&mut self) -> (f64, Option<u16>) {
        self.seen
    }
}

/// A call without HTTP around it.
pub struct Calls<'a> {
    name: String,
    call: Box<dyn FnMut() + 'a>,
}

impl<'a> Calls<'a> {
    pub fn new(name: impl Into<String>, call: impl FnMut() + 'a) -> Self {
        Self {
            name: name.into(),
            call: Box::new(call),
        }
    }
}

impl Lane for Calls<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&mut self, time: Duration) -> f64 {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            for _ in 0..BATCH {
                (self.call)();
            }
            count += BATCH;
        }
        start.elapsed().as_secs_f64() / amount(count)
    }

    fn look(&mut self) -> (f64, Option<u16>) {
        (self.call)();
        let ((new, again, _), ()) = alloc_counter::count_alloc(|| (self.call)());
        (amount(new + again), None)
    }
}

/// What came out of a race for one contender.
pub struct Figures {
    pub name: String,
    /// Seconds of one operation, in each round.
    pub rounds: Vec<f64>,
    pub allocations: f64,
    pub status: Option<u16>,
}

impl Figures {
    pub fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    pub fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// How many times the time of `other`: the median over the rounds, each with its own.
    pub fn times(&self, other: &Self) -> f64 {
        let ratios = self.rounds.iter().zip(&other.rounds).map(|(a, b)| a / b);
        median(ratios.collect())
    }
}

/// Runs all lanes in every round, each time another one first.
pub fn race(lanes: &mut [Box<dyn Lane + '_>], plan: &Plan) -> Vec<Figures> {
    let mut figures: Vec<_> = lanes
        .iter_mut()
        .map(|lane| {
            let (allocations, status) = lane.look();
            Figures {
                name: lane.name().to_owned(),
                rounds: Vec::with_capacity(plan.rounds),
                allocations,
                status,
            }
        })
        .collect();
    let count = lanes.len();
    for round in 0..plan.rounds {
        let mut both: Vec<_> = lanes.iter_mut().zip(&mut figures).collect();
        both.rotate_left(round % count.max(1));
        for (lane, figures) in both {
            figures.rounds.push(lane.run(plan.time));
        }
    }
    figures
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A count as a number to calculate with.
pub fn amount(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Requests that are made before they are answered.
const BATCH: usize = 32;

/// Requests before a race: half of them to warm up, half of them to count allocations.
const LOOK: usize = 32;
