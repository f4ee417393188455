//! Runs the contenders in turn, in short rounds, in one process. A disturbance affects all of them.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::Service;

use crate::tokens::request;

/// A service under measurement. One call answers a whole batch of requests.
pub trait Subject: Send {
    /// Answers the requests one after the other.
    fn answer(&mut self, requests: Vec<Request<()>>) -> Answers;

    /// A clone, for another thread.
    fn twin(&self) -> Box<dyn Subject>;
}

/// The results of a batch.
#[derive(Clone, Copy, Default)]
pub struct Answers {
    /// The number of accepted requests.
    pub accepted: usize,
    /// The status of the last response.
    pub status: u16,
}

/// A Tower service under measurement.
#[derive(Clone)]
struct OnTower<S>(S);

/// Makes a [`Subject`] of a service.
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
                    // A peer fetches keys from the issuer. This is rare, and the runtime has
                    // another thread.
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

/// The duration of the measurement.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    /// The time for each contender in each round.
    pub time: Duration,
    /// Runs everything for a short time, for the gate. The figures are not reliable.
    pub quick: bool,
}

/// A contender in a race.
pub trait Lane {
    fn name(&self) -> &str;

    /// Runs for about this time. Returns the seconds per operation.
    fn run(&mut self, time: Duration) -> f64;

    /// The allocations of one operation, and the status of a response.
    fn look(&mut self) -> (f64, Option<u16>);
}

/// A service, and the requests for it.
pub struct Requests {
    name: String,
    subject: Box<dyn Subject>,
    tokens: Tokens,
    /// Allocations and status, from the requests before the race.
    seen: (f64, Option<u16>),
}

/// The tokens of the requests.
pub struct Tokens {
    tokens: Arc<[String]>,
    next: usize,
    /// Each token is used once, this number in each round. `None` if tokens are repeated.
    once: Option<usize>,
}

impl Tokens {
    /// The same token for each request, or none.
    pub fn one(token: Option<String>) -> Self {
        Self::turns(Vec::from_iter(token))
    }

    /// These tokens in turn, repeatedly.
    pub fn turns(tokens: impl Into<Arc<[String]>>) -> Self {
        Self {
            tokens: tokens.into(),
            next: 0,
            once: None,
        }
    }

    /// Each of these tokens once, spread over this number of rounds.
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
        // Allocations that are made once, for the first request, do not count.
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
        // Small batches stay in the caches of the processor, as the requests of a server do.
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

/// A call without HTTP.
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

/// The results of a race for one contender.
pub struct Figures {
    pub name: String,
    /// The seconds per operation, in each round.
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

    /// The median of the ratios of both times in the same round.
    pub fn times(&self, other: &Self) -> f64 {
        let ratios = self.rounds.iter().zip(&other.rounds).map(|(a, b)| a / b);
        median(ratios.collect())
    }
}

/// Runs all lanes in every round. Each round begins with another lane.
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

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A count as a floating-point number.
pub fn amount(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// The number of requests in a batch.
const BATCH: usize = 32;

/// The number of requests before a race: half of them warm up, and the allocations of the others
/// are counted.
const LOOK: usize = 32;
