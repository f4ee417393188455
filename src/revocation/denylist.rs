//! [`Denylist`]: marks in the memory of this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::claims::{Claims, SubjectId};
use crate::clock::{Clock, SystemClock};
use crate::revocation::table::{Marks, Table};
use crate::revocation::{
    Revocation, RevocationCheck, RevocationMark, RevocationStatus, RevocationTarget,
    RevocationWriter, RevokeError, RevokeFuture,
};

/// List of revoked tokens, sessions, subjects, clients and issuers in the memory of this process.
///
/// A mark is kept until its tokens have expired, and for the longest
/// [`Leeway`](crate::policy::Leeway) after that, which is 300 s. A mark is in force when the method that
/// makes it returns, for tokens that are cached too. A request takes no lock.
///
/// A clone is cheap: keep one to revoke with, and give one to
/// [`JwtAuth::revocation`](crate::JwtAuth::revocation). The list is for one instance of a service.
///
/// # Example: log out
///
/// ```
/// use tower_jwt_auth::Claims;
/// use tower_jwt_auth::revocation::Denylist;
///
/// # #[derive(Clone)] struct State { denylist: Denylist }
/// async fn log_out(state: State, token: Claims) -> Result<(), &'static str> {
///     state.denylist.revoke(&token).map_err(|_| "cannot be revoked")
/// }
/// ```
#[derive(Clone)]
pub struct Denylist(Arc<Lists>);

struct Lists {
    capacity: usize,
    clock: Arc<dyn Clock>,
    /// Requests read it without a lock. One writer at a time adds issuers.
    issuers: ArcSwap<HashMap<Box<str>, Arc<OfIssuer>>>,
    /// How often the marks have changed.
    epoch: AtomicU64,
    /// How many marks there are of each kind. Its lock is that of the writers.
    counts: Mutex<[usize; KINDS]>,
}

/// The marks that are about one issuer.
struct OfIssuer {
    all: ArcSwapOption<Marks>,
    clients: Table,
    sessions: Table,
    subjects: Table,
    tokens: Table,
}

impl Denylist {
    /// An empty list for this number of tokens, and as many sessions, subjects, clients and issuers.
    /// Default: 100 000.
    ///
    /// A full list returns [`RevokeError::Full`] and forgets no mark whose tokens may still be
    /// accepted.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::of(capacity, Arc::new(SystemClock))
    }

    /// An empty list of the same capacity, which forgets marks by this clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::of(self.0.capacity, Arc::new(clock))
    }

    fn of(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Lists {
            capacity,
            clock,
            issuers: ArcSwap::default(),
            epoch: AtomicU64::new(0),
            counts: Mutex::default(),
        }))
    }

    /// Revokes one token, by its issuer and `jti`.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the token has no `jti` or `exp`, or the list is full.
    pub fn revoke<C>(&self, token: &Claims<C>) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::token(token)?)
    }

    /// Revokes the token with this `jti` of this issuer. `expires_at` is its `exp`.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_id(
        &self,
        issuer: &str,
        id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::token_id(issuer, id, expires_at))
    }

    /// Revokes every token of a login, by its `sid`. `expires_at` is the `exp` of the last of them.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_session(
        &self,
        issuer: &str,
        session_id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::session(issuer, session_id, expires_at))
    }

    /// Revokes every token of a subject whose `iat` is not later than `issued_until`, and each one
    /// without `iat`. `expires_at` is the `exp` of the last of them.
    ///
    /// `iat` is a time of the issuer's clock, and no leeway is added to it. If that clock is ahead,
    /// choose a later `issued_until`.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_subject(
        &self,
        subject: SubjectId,
        issued_until: SystemTime,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::subject(subject, issued_until, expires_at))
    }

    /// Stores any mark. Beside an older mark of the same target the later times count. A suspension
    /// and a revocation of one target are kept side by side, and the revocation beats the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn mark(&self, mark: &RevocationMark) -> Result<(), RevokeError> {
        let lists = &*self.0;
        let mut counts = lists.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kind_of(&mark.target);
        let known = lists.find(&mark.target);
        if known.is_none() && count(&counts, kind) >= lists.capacity {
            lists.forget_ended(&mut counts);
            if count(&counts, kind) >= lists.capacity {
                return Err(RevokeError::Full);
            }
        }
        let known = lists.find(&mark.target);
        let marks = known.unwrap_or_default().with(mark);
        lists.put(&mark.target, Some(marks));
        if let (None, Some(count)) = (known, counts.get_mut(kind)) {
            *count = count.saturating_add(1);
        }
        // Behind the change: whoever sees the new number sees the mark.
        lists.epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Ends the suspension of this target. `false` if there is none. A revocation stays: it is final.
    pub fn lift(&self, target: &RevocationTarget) -> bool {
        let lists = &*self.0;
        let mut counts = lists.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut marks) = lists.find(target) else {
            return false;
        };
        if !marks.end_suspension() {
            return false;
        }
        let left = (!marks.is_empty()).then_some(marks);
        lists.put(target, left);
        if let (None, Some(count)) = (left, counts.get_mut(kind_of(target))) {
            *count = count.saturating_sub(1);
        }
        lists.epoch.fetch_add(1, Ordering::Release);
        true
    }

    /// What the marks say about a token.
    fn status(&self, token: &Claims) -> RevocationStatus {
        let issuers = self.0.issuers.load();
        let Some(of_issuer) = issuers.get(token.issuer()) else {
            return RevocationStatus::Active;
        };
        let all = of_issuer.all.load();
        let marks = [
            token.id().and_then(|id| of_issuer.tokens.get(id)),
            token.session_id().and_then(|id| of_issuer.sessions.get(id)),
            token
                .subject()
                .and_then(|name| of_issuer.subjects.get(name)),
            all.as_deref().copied(),
        ];
        // A token that names its client in several claims does not hide it behind one of them.
        let clients = token.registered().clients();
        let clients = clients.filter_map(|id| of_issuer.clients.get(id));
        let mut status = RevocationStatus::Active;
        for marks in marks.into_iter().flatten().chain(clients) {
            if marks.revoke(token) {
                return RevocationStatus::Revoked;
            }
            if marks.suspend(token) {
                status = RevocationStatus::Suspended;
            }
        }
        status
    }
}

impl Lists {
    fn find(&self, target: &RevocationTarget) -> Option<Marks> {
        let issuers = self.issuers.load();
        let of_issuer = issuers.get(target.issuer())?;
        match of_issuer.table(target) {
            Some((table, name)) => table.get(name),
            None => of_issuer.all.load().as_deref().copied(),
        }
    }

    /// Stores the marks of a target, or takes them away.
    fn put(&self, target: &RevocationTarget, marks: Option<Marks>) {
        let of_issuer = self.of_issuer(target.issuer());
        match of_issuer.table(target) {
            Some((table, name)) => table.put(name, marks),
            None => of_issuer.all.store(marks.map(Arc::new)),
        }
        if of_issuer.is_empty() {
            let mut issuers = HashMap::clone(&self.issuers.load());
            issuers.remove(target.issuer());
            issuers.shrink_to_fit();
            self.issuers.store(Arc::new(issuers));
        }
    }

    /// The marks about an issuer, which has a place from now on.
    fn of_issuer(&self, issuer: &str) -> Arc<OfIssuer> {
        if let Some(of_issuer) = self.issuers.load().get(issuer) {
            return Arc::clone(of_issuer);
        }
        let new = Arc::new(OfIssuer::new());
        let mut issuers = HashMap::clone(&self.issuers.load());
        issuers.insert(issuer.into(), Arc::clone(&new));
        self.issuers.store(Arc::new(issuers));
        new
    }

    /// Forgets marks whose tokens are not accepted any more, and issuers without marks.
    fn forget_ended(&self, counts: &mut [usize; KINDS]) {
        let now = self.clock.now();
        *counts = [0; KINDS];
        let mut issuers = HashMap::clone(&self.issuers.load());
        issuers.retain(|_, of_issuer| {
            let all = of_issuer.all.load_full();
            if all.is_some_and(|marks| marks.have_ended(now)) {
                of_issuer.all.store(None);
            }
            let has_all = usize::from(of_issuer.all.load().is_some());
            let tables = of_issuer.tables();
            let left = tables.map(|table| table.forget_ended(now));
            let left = [left[0], left[1], left[2], left[3], has_all];
            for (count, left) in counts.iter_mut().zip(left) {
                *count = count.saturating_add(left);
            }
            left.iter().any(|left| *left > 0)
        });
        self.issuers.store(Arc::new(issuers));
    }
}

impl OfIssuer {
    fn new() -> Self {
        Self {
            all: ArcSwapOption::empty(),
            clients: Table::new(),
            sessions: Table::new(),
            subjects: Table::new(),
            tokens: Table::new(),
        }
    }

    fn is_empty(&self) -> bool {
        let mut tables = self.tables().into_iter();
        self.all.load().is_none() && tables.all(|table| table.is_empty())
    }

    fn tables(&self) -> [&Table; KINDS - 1] {
        [&self.clients, &self.sessions, &self.subjects, &self.tokens]
    }

    /// The table that a target belongs into, and its name there; `None` for the issuer itself.
    fn table<'t>(&self, target: &'t RevocationTarget) -> Option<(&Table, &'t str)> {
        match target {
            RevocationTarget::Client { client_id, .. } => Some((&self.clients, client_id)),
            RevocationTarget::Issuer { .. } => None,
            RevocationTarget::Session { session_id, .. } => Some((&self.sessions, session_id)),
            RevocationTarget::Subject(subject) => Some((&self.subjects, subject.subject())),
            RevocationTarget::Token { id, .. } => Some((&self.tokens, id)),
        }
    }
}

/// Prints how much is on it.
impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = f.debug_struct("Denylist");
        for (name, count) in ["clients", "sessions", "subjects", "tokens", "issuers"]
            .into_iter()
            .zip(*counts)
        {
            out.field(name, &count);
        }
        out.finish()
    }
}

/// A list for 100 000 tokens.
impl Default for Denylist {
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl Revocation for Denylist {
    fn check(&self, token: &Claims) -> RevocationCheck {
        RevocationCheck::Ready(Ok(self.status(token)))
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.0.epoch.load(Ordering::Acquire))
    }
}

impl RevocationWriter for Denylist {
    fn write(&self, mark: RevocationMark) -> RevokeFuture {
        Box::pin(std::future::ready(self.mark(&mark)))
    }

    fn lift(&self, target: RevocationTarget) -> RevokeFuture {
        self.lift(&target);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn count(counts: &[usize; KINDS], kind: usize) -> usize {
    counts.get(kind).copied().unwrap_or_default()
}

/// The place of a kind among the counts, in the order of [`OfIssuer::tables`].
fn kind_of(target: &RevocationTarget) -> usize {
    match target {
        RevocationTarget::Client { .. } => 0,
        RevocationTarget::Session { .. } => 1,
        RevocationTarget::Subject(_) => 2,
        RevocationTarget::Token { .. } => 3,
        RevocationTarget::Issuer { .. } => 4,
    }
}

/// Kinds of targets.
const KINDS: usize = 5;
