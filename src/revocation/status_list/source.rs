//! [`Source`]: the lists of one issuer, which are fetched when a token names them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::attest::{self, KeyLoads, Step, attest};
use crate::clock::{Clock, NumericDate};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::error::shown_url::ShownUrl;
use crate::fetch::documents::Documents;
use crate::fetch::freshness::{Lifetimes, coding};
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::policy::rules::Rules;
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::policy::{Policy, Trust};
use crate::revocation::status_list::list::{ListToken, StatusList};
use crate::revocation::status_list::reference::is_behind;
use crate::telemetry;
use crate::token::document::{AttestedDocument, Document};
use crate::token::header::{TokenType, is_same_media_type};
use crate::token::known_headers::KnownHeaders;

/// What all sources have in common.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) documents: Documents,
    pub(super) lifetimes: Lifetimes,
    pub(super) max_list: usize,
    pub(super) max_lists: usize,
    pub(super) max_bytes: usize,
    pub(super) clock: Arc<dyn Clock>,
}

pub(super) struct Source {
    pub(super) issuer: Issuer,
    prefixes: Vec<String>,
    /// With one trust: the keys of the lists.
    policy: Policy,
    headers: KnownHeaders,
    /// The beginning of the times in [`Kept::used`].
    start: Instant,
    lists: ArcSwap<HashMap<Arc<str>, Arc<Kept>>>,
    /// Taken if a list is not there, and once for each load.
    flights: Mutex<HashMap<Arc<str>, Flight>>,
}

/// A list, and how long it is used.
pub(super) struct Kept {
    pub(super) list: StatusList,
    refresh_at: Instant,
    fresh_until: Instant,
    expires_at: Option<NumericDate>,
    /// The second of the last use.
    used: AtomicU64,
}

/// A load that is running, or that has failed lately.
enum Flight {
    Running(watch::Receiver<Landed>),
    Failed {
        until: Instant,
        pause: Duration,
        reason: Arc<str>,
    },
}

/// The result of a load, as soon as there is one.
type Landed = Option<Result<Arc<Kept>, Arc<str>>>;

/// A list, or how to get it.
pub(super) enum Found {
    Kept(Arc<Kept>),
    Loading(watch::Receiver<Landed>),
    Failed(Arc<str>),
}

impl Source {
    pub(super) fn new(issuer: Issuer, keys: KeyStore, prefixes: Vec<String>) -> Self {
        // The audience is not looked at: lists are for everybody.
        let trusted = TrustedIssuer::new(issuer.clone(), Audience::insecure_any(), keys);
        Self {
            issuer,
            prefixes,
            policy: Policy::new(&[trusted], &Rules::default()),
            headers: KnownHeaders::default(),
            start: Instant::now(),
            lists: ArcSwap::default(),
            flights: Mutex::default(),
        }
    }

    /// Whether lists may be fetched from this URL.
    pub(super) fn has(&self, uri: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        prefixes.any(|prefix| is_behind(uri, prefix))
    }

    /// The list at this URL, without a lock if it is there. Starts a load if that is needed.
    pub(super) fn find(self: &Arc<Self>, uri: &str, settings: &Arc<Settings>) -> Found {
        let now = Instant::now();
        let clock_now = NumericDate::now(&settings.clock);
        let lists = self.lists.load();
        if let Some(kept) = lists.get(uri).filter(|kept| kept.is_fresh(now, clock_now)) {
            kept.used(now.saturating_duration_since(self.start));
            if now >= kept.refresh_at {
                // The list is still good, so nobody waits for the next one.
                self.load(uri, settings, now);
            }
            return Found::Kept(Arc::clone(kept));
        }
        drop(lists);
        self.load(uri, settings, now)
    }

    fn load(self: &Arc<Self>, uri: &str, settings: &Arc<Settings>, now: Instant) -> Found {
        let mut flights = self.flights();
        match flights.get(uri) {
            Some(Flight::Running(landed)) if is_flying(landed) => {
                return Found::Loading(landed.clone());
            }
            Some(Flight::Failed { until, reason, .. }) if now < *until => {
                return Found::Failed(Arc::clone(reason));
            }
            _ => {}
        }
        // Another load may have landed since the list was looked for.
        if let Some(kept) = self.lists.load().get(uri) {
            let is_new = now < kept.refresh_at;
            if is_new && kept.is_fresh(now, NumericDate::now(&settings.clock)) {
                return Found::Kept(Arc::clone(kept));
            }
        }
        let Ok(runtime) = Handle::try_current() else {
            return Found::Failed("it can be fetched inside of a tokio runtime only".into());
        };
        if flights.len() >= MAX_FLIGHTS {
            flights.retain(|_, flight| flight.counts(now));
            if flights.len() >= MAX_FLIGHTS {
                return Found::Failed("too many lists are being fetched".into());
            }
        }
        let (sender, landed) = watch::channel(None);
        let uri: Arc<str> = uri.into();
        let pause = match flights.insert(Arc::clone(&uri), Flight::Running(landed.clone())) {
            Some(Flight::Failed { pause, .. }) => pause.saturating_mul(2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        drop(flights);
        let (source, settings) = (Arc::clone(self), Arc::clone(settings));
        runtime.spawn(async move { source.fly(&uri, &settings, pause, &sender).await });
        Found::Loading(landed)
    }

    /// Loads a list, and tells all who wait for it.
    async fn fly(
        &self,
        uri: &Arc<str>,
        settings: &Settings,
        pause: Duration,
        sender: &watch::Sender<Landed>,
    ) {
        let mut landing = Landing {
            source: self,
            uri,
            has_landed: false,
        };
        let shown = ShownUrl(uri).to_string();
        let fetched = timeout(LONGEST_LOAD, self.fetched(uri, settings)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("no answer in 5 s".into()));
        let landed = match fetched.and_then(|kept| self.keep(uri, kept, settings)) {
            Ok(kept) => {
                telemetry::status_list_loaded(&shown, kept.list.size());
                self.flights().remove(uri);
                Ok(kept)
            }
            Err(reason) => {
                let reason: Arc<str> = format!("status list {shown}: {reason}").into();
                telemetry::status_list_failed(&&*reason, pause == FIRST_PAUSE);
                let failed = Flight::Failed {
                    until: Instant::now() + pause,
                    pause,
                    reason: Arc::clone(&reason),
                };
                self.flights().insert(Arc::clone(uri), failed);
                Err(reason)
            }
        };
        landing.has_landed = true;
        sender.send_replace(Some(landed));
    }

    async fn fetched(&self, uri: &str, settings: &Settings) -> Result<Kept, String> {
        let request = Request::get(uri)
            .header(ACCEPT, MEDIA_TYPE)
            .body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        let response = settings.documents.send(uri, request).await;
        // The URL is added for every reason.
        let response = response.map_err(|error| {
            let prefix = format!("{}: ", ShownUrl(uri));
            let reason = error.reason;
            reason
                .strip_prefix(&prefix)
                .map_or(reason.clone(), String::from)
        })?;
        check_response(&response)?;
        let document = self.verified(response.body(), settings).await;
        let document = document.map_err(|rejection| rejection.to_string())?;
        let is_list = match &document.typ {
            TokenType::Other(typ) => is_same_media_type(typ, "statuslist+jwt"),
            TokenType::Absent | TokenType::AccessToken | TokenType::Jwt => false,
        };
        if !is_list {
            return Err("`typ` is not `statuslist+jwt`".into());
        }
        let payload = String::from_utf8(document.payload).map_err(|_| "payload is not UTF-8")?;
        let token = ListToken::read(&payload, settings.max_list)?;
        if token.subject != uri {
            return Err("`sub` is not the URL of the list".into());
        }
        if token
            .issuer
            .is_some_and(|issuer| issuer != self.issuer.as_str())
        {
            return Err("`iss` is another issuer".into());
        }
        let leeway = Rules::default().leeway();
        let now = NumericDate::now(&settings.clock);
        if now.plus(leeway) < token.issued_at {
            return Err("`iat` is in the future".into());
        }
        let expires_at = token.expires_at.map(|end| end.plus(leeway));
        if expires_at.is_some_and(|end| now >= end) {
            return Err("it has expired".into());
        }
        let lifetimes = &settings.lifetimes;
        let (shortest, longest) = lifetimes.within;
        let lifetime = match token.ttl {
            Some(ttl) => ttl.clamp(shortest, longest),
            None => lifetimes.of(response.headers()),
        };
        let now = Instant::now();
        Ok(Kept {
            list: token.list,
            refresh_at: now + lifetime.mul_f64(REFRESH_AHEAD),
            fresh_until: now + lifetime,
            expires_at,
            used: AtomicU64::new(now.saturating_duration_since(self.start).as_secs()),
        })
    }

    /// Verifies the signature, with the same machinery as that of a token.
    async fn verified(
        &self,
        text: &[u8],
        settings: &Settings,
    ) -> Result<AttestedDocument, Rejection> {
        let text = text.trim_ascii();
        let decide = |key_loads| {
            let trust = self.trust()?;
            let now = NumericDate::now(&settings.clock);
            let document = Document::parse(text)?;
            Ok(
                match attest(document, trust, now, key_loads, &self.headers)? {
                    Step::Done(proven) => Step::Done(proven.attested),
                    Step::Loading(load) => Step::Loading(load),
                },
            )
        };
        match decide(KeyLoads::Allowed(None))? {
            Step::Done(document) => Ok(document),
            Step::Loading(load) => attest::after(load, decide).await,
        }
    }

    fn trust(&self) -> Result<&Trust, Rejection> {
        let trust = self.policy.trust(0);
        trust.ok_or_else(|| Rejection::of(RejectionKind::IssuerMismatch))
    }

    /// Keeps a list. Others make room for it: those that are no longer fresh, and then those that were
    /// not used for the longest time.
    fn keep(&self, uri: &Arc<str>, kept: Kept, settings: &Settings) -> Result<Arc<Kept>, String> {
        let size = kept.list.size();
        if size > settings.max_bytes {
            return Err("it is larger than the memory for all lists".into());
        }
        let kept = Arc::new(kept);
        // The lock of the flights orders the changes.
        let _flights = self.flights();
        let mut lists = HashMap::clone(&self.lists.load());
        let (now, clock_now) = (Instant::now(), NumericDate::now(&settings.clock));
        lists.retain(|other, kept| other != uri && kept.is_fresh(now, clock_now));
        loop {
            let bytes: usize = lists.values().map(|kept| kept.list.size()).sum();
            let has_room = bytes.saturating_add(size) <= settings.max_bytes
                && lists.len() < settings.max_lists.max(1);
            let oldest = lists
                .iter()
                .min_by_key(|(_, kept)| kept.used.load(Ordering::Relaxed))
                .map(|(uri, _)| Arc::clone(uri));
            match oldest.filter(|_| !has_room) {
                Some(oldest) => lists.remove(&oldest),
                None => break,
            };
        }
        lists.insert(Arc::clone(uri), Arc::clone(&kept));
        self.lists.store(Arc::new(lists));
        Ok(kept)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_fresh(&self, now: Instant, clock_now: NumericDate) -> bool {
        now < self.fresh_until && self.expires_at.is_none_or(|end| clock_now < end)
    }

    /// Notes a use. At most once in a second, so that requests do not write all the time.
    fn used(&self, since_start: Duration) {
        let second = since_start.as_secs();
        if self.used.load(Ordering::Relaxed) != second {
            self.used.store(second, Ordering::Relaxed);
        }
    }
}

impl Flight {
    fn counts(&self, now: Instant) -> bool {
        match self {
            Self::Running(landed) => is_flying(landed),
            Self::Failed { until, .. } => now < *until,
        }
    }
}

/// Whether the task of a flight exists. A runtime that has ended may have dropped it before it began.
fn is_flying(landed: &watch::Receiver<Landed>) -> bool {
    landed.has_changed().is_ok()
}

/// Ends a flight that does not land: its task was dropped, or has panicked.
struct Landing<'f> {
    source: &'f Source,
    uri: &'f Arc<str>,
    has_landed: bool,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !self.has_landed {
            self.source.flights().remove(self.uri);
        }
    }
}

fn check_response(response: &Response<Vec<u8>>) -> Result<(), String> {
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()));
    }
    if coding(response.headers()).is_some() {
        return Err("content has a coding, expected none".into());
    }
    let essence = |value: &HeaderValue| {
        let essence = value.to_str().ok()?.split(';').next()?;
        Some(essence.trim().eq_ignore_ascii_case(MEDIA_TYPE))
    };
    match response.headers().get(CONTENT_TYPE).and_then(essence) {
        Some(true) => Ok(()),
        _ => Err(format!("content is not {MEDIA_TYPE}")),
    }
}

const MEDIA_TYPE: &str = "application/statuslist+jwt";
/// The part of the lifetime after which a list is fetched again.
const REFRESH_AHEAD: f64 = 0.8;
/// The maximum time of a load, with its keys.
const LONGEST_LOAD: Duration = Duration::from_secs(5);
/// The time after a failure in which a list is not fetched. Doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of loads that run, or have failed lately.
const MAX_FLIGHTS: usize = 64;
