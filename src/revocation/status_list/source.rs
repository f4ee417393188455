//! [`Source`]: the lists of one issuer, which are fetched when a token names them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
use crate::revocation::status_list::kept::{Kept, KeptLists, Room};
use crate::revocation::status_list::list::ListToken;
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
    pub(super) lists: KeptLists,
    /// Taken if a list is not there, and once for each load.
    flights: Mutex<HashMap<Arc<str>, Flight>>,
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
            lists: KeptLists::new(),
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
        let now = self.lists.moment(&settings.clock);
        let Some(kept) = self.lists.find(uri, now) else {
            return self.load(uri, settings, None);
        };
        // The list is still good, so nobody waits for the next one.
        if kept.begins_load(now)
            && let Found::Failed(_) = self.load(uri, settings, Some(&kept))
        {
            self.lists.load_again(uri, FIRST_PAUSE, now);
        }
        Found::Kept(kept)
    }

    /// Starts a load, unless one is running. `old` is the list that it replaces.
    fn load(
        self: &Arc<Self>,
        uri: &str,
        settings: &Arc<Settings>,
        old: Option<&Arc<Kept>>,
    ) -> Found {
        let now = Instant::now();
        let mut flights = self.flights();
        match flights.get(uri) {
            Some(Flight::Running(landed)) => return Found::Loading(landed.clone()),
            Some(Flight::Failed { until, reason, .. }) if now < *until => {
                return Found::Failed(Arc::clone(reason));
            }
            _ => {}
        }
        // Another load may have landed since the list was looked for.
        let known = self.lists.find(uri, self.lists.moment(&settings.clock));
        let is_old = |known: &Arc<Kept>| old.is_some_and(|old| Arc::ptr_eq(old, known));
        if let Some(kept) = known.filter(|known| !is_old(known)) {
            return Found::Kept(kept);
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
        // Made here, so that a task that never begins has an end too.
        let landing = Landing {
            source: Arc::clone(self),
            uri,
            settings: Arc::clone(settings),
            sender,
            has_landed: false,
        };
        runtime.spawn(landing.fly(pause));
        Found::Loading(landed)
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
        let (list, issued_at) = (token.list, token.issued_at);
        Ok(self.lists.kept(list, issued_at, expires_at, lifetime))
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
                match attest(
                    document,
                    &trust.issuer_keys(),
                    now,
                    key_loads,
                    &self.headers,
                )? {
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

    fn keep(&self, uri: &Arc<str>, kept: Kept, settings: &Settings) -> Result<Arc<Kept>, String> {
        let room = Room {
            lists: settings.max_lists,
            bytes: settings.max_bytes,
        };
        let (kept, now) = (Arc::new(kept), self.lists.moment(&settings.clock));
        self.lists.insert(uri, Arc::clone(&kept), &room, now)?;
        Ok(kept)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn counts(&self, now: Instant) -> bool {
        match self {
            Self::Running(_) => true,
            Self::Failed { until, .. } => now < *until,
        }
    }
}

/// A load that is running. Its end lets others begin, also if its task was dropped or has panicked.
struct Landing {
    source: Arc<Source>,
    uri: Arc<str>,
    settings: Arc<Settings>,
    sender: watch::Sender<Landed>,
    has_landed: bool,
}

impl Landing {
    /// Loads a list, and tells all who wait for it.
    async fn fly(mut self, pause: Duration) {
        let (source, uri, settings) = (&self.source, &self.uri, &self.settings);
        let shown = ShownUrl(uri).to_string();
        let fetched = timeout(LONGEST_LOAD, source.fetched(uri, settings)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("no answer in 5 s".into()));
        let landed = match fetched.and_then(|kept| source.keep(uri, kept, settings)) {
            Ok(kept) => {
                telemetry::status_list_loaded(&shown, kept.list.size());
                source.flights().remove(uri);
                Ok(kept)
            }
            Err(reason) => {
                let reason: Arc<str> = format!("status list {shown}: {reason}").into();
                telemetry::status_list_failed(&&*reason, pause == FIRST_PAUSE);
                // When the list that is in use ends, the next load does not wait.
                let now = source.lists.moment(&settings.clock);
                let is_in_use = source.lists.load_again(uri, pause, now);
                let failed = Flight::Failed {
                    until: Instant::now() + if is_in_use { Duration::ZERO } else { pause },
                    pause,
                    reason: Arc::clone(&reason),
                };
                source.flights().insert(Arc::clone(uri), failed);
                Err(reason)
            }
        };
        self.has_landed = true;
        self.sender.send_replace(Some(landed));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.has_landed {
            self.source.flights().remove(&self.uri);
            let now = self.source.lists.moment(&self.settings.clock);
            self.source.lists.load_again(&self.uri, FIRST_PAUSE, now);
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
/// The maximum time of a load, with its keys.
const LONGEST_LOAD: Duration = Duration::from_secs(5);
/// The time after a failure in which a list is not fetched. Doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of loads that run, or have failed lately.
const MAX_FLIGHTS: usize = 64;

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::fetch::FetchError;
    use crate::revocation::status_list::packed::Packed;

    /// The lock of the loads is held by the test. A request that takes it never ends.
    #[tokio::test(start_paused = true)]
    async fn a_request_takes_no_lock_while_a_list_is_fetched_again() {
        let fetch = async |_: Request<Vec<u8>>, _: usize| {
            std::future::pending::<Result<Response<Vec<u8>>, FetchError>>().await
        };
        let settings = Arc::new(Settings {
            documents: Documents {
                fetch: Arc::new(fetch),
                timeout: Duration::from_secs(5),
                max_body: 1_000,
            },
            lifetimes: Lifetimes::default(),
            max_list: 1_000,
            max_lists: 10,
            max_bytes: 1_000,
            clock: Arc::new(|| std::time::UNIX_EPOCH),
        });
        let issuer = Issuer::new("https://as.example").unwrap();
        let prefixes = vec!["https://as.example/".to_owned()];
        let source = Arc::new(Source::new(issuer, KeyStore::pending(), prefixes));
        let uri: Arc<str> = "https://as.example/1".into();
        let list = Packed::new(1, vec![0]).unwrap();
        let lifetime = Duration::from_secs(100);
        let kept = source.lists.kept(list, NumericDate(0.0), None, lifetime);
        source.keep(&uri, kept, &settings).unwrap();
        advance(Duration::from_secs(80)).await;
        let is_there = || matches!(source.find(&uri, &settings), Found::Kept(_));
        assert!(is_there(), "this request starts the load");
        assert_eq!(source.flights().len(), 1);
        let flights = source.flights();
        for _ in 0..10 {
            assert!(is_there());
            assert!(source.lists.epoch(&settings.clock).is_some());
        }
        drop(flights);
    }
}
